//! A small tokenizer for the tests of this folder.

use crate::progress::Silent;
use crate::text::Corpus;
use crate::tokens::{BpeConfig, Tokenizer, learn_bpe};

/// Some merges of English and Chinese.
pub(super) fn small_bpe() -> Tokenizer {
    let text = "the king and the queen of the kings; 中文 中文字 'tis don't — naïve\r\n".repeat(3);
    let config = BpeConfig { vocab_size: 320, ..BpeConfig::default() };
    learn_bpe(&Corpus::from_text(text), &config, &Silent).unwrap()
}
