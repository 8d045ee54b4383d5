//! The tokenizer: bytes → ids → bytes.

use std::path::Path;

use crate::error::Result;
use crate::tokens::TokenId;

/// A byte-level BPE, or whole words.
#[derive(Debug, Clone)]
pub struct Tokenizer {}

impl Tokenizer {
    /// Reads a `tokenizer.json`.
    pub fn read(_path: &Path) -> Result<Tokenizer> {
        todo!()
    }
    /// Reads the bytes of a `tokenizer.json`; `path` is for messages.
    pub fn from_json(_json: &[u8], _path: &Path) -> Result<Tokenizer> {
        todo!()
    }
    /// The `tokenizer.json`, as text.
    pub fn to_json(&self) -> String {
        todo!()
    }
    /// A tokenizer of whole words from a word list; row i is word i.
    pub fn from_words(_words: Vec<Vec<u8>>) -> Result<Tokenizer> {
        todo!()
    }
    /// How many tokens: ids are `0..n_tokens`.
    pub fn n_tokens(&self) -> usize {
        todo!()
    }
    /// The ids of a text.
    pub fn encode(&self, _text: &[u8]) -> Vec<TokenId> {
        todo!()
    }
    /// The ids of a word as it stands inside a sentence: for BPE with the space before it.
    pub fn encode_word(&self, _word: &str) -> Vec<TokenId> {
        todo!()
    }
    /// The bytes that ids stand for.
    pub fn decode(&self, _ids: &[TokenId]) -> Result<Vec<u8>> {
        todo!()
    }
    /// The bytes of one token.
    pub fn bytes(&self, _id: TokenId) -> &[u8] {
        todo!()
    }
    /// A printable, reversible, unique spelling without spaces: BPE tokens in the byte-level alphabet, words as they are.
    pub fn spelling(&self, _id: TokenId) -> String {
        todo!()
    }
    /// The token of a spelling.
    pub fn id_of_spelling(&self, _spelling: &str) -> Option<TokenId> {
        todo!()
    }
    /// Tokens that stand for no text: the unknown word, added special tokens.
    pub fn is_special(&self, _id: TokenId) -> bool {
        todo!()
    }
}
