//! Looking inside: what a transformer does on the way from a text to a word.
//!
//! In: a transformer, and what it is to read. Out: every matrix of one pass, told as steps that a person could compute by
//! hand ([`trace`]), or the attention of every layer and head as maps ([`attention_maps`]). Both are plain numbers with
//! labels, which can be printed, written as JSON, or as a page that needs nothing but itself.
//!
//! [`Reading`] is what is read. [`Pass::watched`](crate::transformer::Pass::watched) shows the matrices.

mod attention_map;
mod attention_page;
mod labelled_matrix;
mod layer_steps;
mod markup;
mod output_steps;
mod reading;
mod seen;
mod trace;
mod trace_page;

pub use attention_map::{AttentionChoice, AttentionKeys, AttentionMap, AttentionMaps, attention_maps};
pub use attention_page::{write_attention_html, write_attention_svg};
pub use labelled_matrix::{LabelledMatrix, Shown, shown};
pub use reading::{ReadToken, Reading};
pub use trace::{Candidate, Learned, Prediction, Section, Step, Trace, trace};
pub use trace_page::{TracePage, write_trace_html};
