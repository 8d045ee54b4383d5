//! Files → sentences.
//!
//! A [`Corpus`] is a list of files, folders or standard input. It hands out [`Chunk`]s of about a megabyte, cut at line ends
//! or where the tokenizer does not mind; a chunk hands out [`Line`]s, and a line is a sentence. A [`Normalizer`] changes case and Unicode
//! form where that is asked for.

mod chunks;
mod compression;
mod corpus;
mod normalize;
mod reader;
mod recognize;
mod reporter;
mod source;

pub use chunks::{Chunk, Line, LongLines};
pub use corpus::Corpus;
pub use normalize::{Form, Normalizer};
