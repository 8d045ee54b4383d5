//! Byte-level BPE: any bytes have tokens, and the frequent strings of the text it learned from have tokens of their own.
//!
//! Learned by [`learn`] in two steps, [`count`] and [`merges`], as [`config`] says; the result is a [`model`], and applied by
//! [`encode`].

mod backtrack;
mod cache;
mod characters;
mod config;
mod count;
mod cut;
mod encode;
mod learn;
mod merge;
mod merges;
mod model;
mod pair_table;
mod trie;

pub use config::{BpeConfig, TrainerRules};
pub use learn::{learn_bpe, learn_bpe_from_counts};
pub(crate) use model::{Bpe, MAX_TOKENS};
pub(crate) use pair_table::Merge;
