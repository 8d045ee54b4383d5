//! Sentences → ids.

pub(crate) mod pretokenize;
mod token;
mod tokenizer;

pub use token::TokenId;
pub use tokenizer::Tokenizer;
