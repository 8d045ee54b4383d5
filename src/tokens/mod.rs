//! Sentences → ids.
//!
//! A [`Tokenizer`] is a byte-level BPE or a list of whole words. A BPE cuts text into pieces (`pretokenize`), counts the
//! different ones and learns merges from them (`bpe`), and applies the merges to the pieces of any other text. What is
//! learned is kept as `tokenizer.json`, the form of Hugging Face; GPT-2's two files and `.tiktoken` are read and written
//! too. [`encode_corpus`] turns a whole corpus into the [`IdStream`] that training reads; [`survey`] and [`compare`] say how
//! well a tokenizer fits a text.

mod added;
mod bits;
mod bpe;
mod byte_alphabet;
mod encode_corpus;
mod encoding;
mod frame;
mod gpt2_files;
mod id_stream;
mod long_lines;
mod names;
mod open;
mod pretokenize;
#[cfg(test)]
mod sample;
mod spelling;
mod stream;
mod survey;
mod tiktoken;
mod token;
mod token_table;
mod tokenizer;
mod tokenizer_json;
mod words;

pub use added::SpecialTokens;
pub use bpe::{BpeConfig, TrainerRules, learn_bpe, learn_bpe_from_counts};
pub use encode_corpus::encode_corpus;
pub use encoding::{EncodedText, EncodedToken};
pub use id_stream::{IdStream, IdStreamBuilder};
pub use pretokenize::Pattern;
pub use stream::StreamDecoder;
pub use survey::{Comparison, Survey, compare, survey};
pub use token::TokenId;
pub use tokenizer::Tokenizer;
pub use words::{WordSplit, WordsConfig, learn_words};
