//! Matrices ↔ files.
//!
//! [`open`] takes a model folder or a file of vectors and gives [`Embeddings`], which is what questions are asked of.
//! A [`Model`] is such a folder with all that training left in it.

pub(crate) mod destination;
mod embeddings;
mod model;
mod names;
mod open;
mod tensors;
mod word2vec;
mod word2vec_binary;
mod word2vec_text;

pub use embeddings::{Embeddings, Rows};
pub use model::{Model, ModelConfig, Verified};
pub use open::{Opened, Source, open};
pub use word2vec::{Layout, ReadOptions, read_word2vec};
pub use word2vec_binary::write_word2vec_binary;
pub use word2vec_text::write_word2vec_text;
