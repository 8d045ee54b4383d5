//! Sentences → ids.

mod token;
mod tokenizer;

pub use token::TokenId;
pub use tokenizer::Tokenizer;
