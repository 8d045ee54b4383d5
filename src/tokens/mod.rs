//! Sentences → ids.

mod id_stream;
mod token;
mod tokenizer;

pub use id_stream::{IdStream, IdStreamBuilder};
pub use token::TokenId;
pub use tokenizer::Tokenizer;
