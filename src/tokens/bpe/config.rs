//! What is asked of a BPE before it is learned.

use super::MAX_TOKENS;
use crate::error::{Error, Result};
use crate::text::Normalizer;
use crate::tokens::added::{AddedToken, AddedTokens};
use crate::tokens::byte_alphabet;
use crate::tokens::pretokenize::Pattern;

/// How a BPE is learned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BpeConfig {
    /// How many tokens to have in the end, the 256 bytes and the special tokens included. Default 32,000, which is
    /// customary.
    ///
    /// There are fewer when the text has no more pairs that occur often enough; that is reported.
    pub vocab_size: usize,
    /// Pairs that occur less often are not merged. Default 2: what occurs once teaches nothing about the next text.
    /// (0 and 1, the default of Hugging Face's `BpeTrainer`, mean the same: merge everything that occurs.)
    pub min_frequency: u64,
    /// Tokens that stand for no text (`<|endoftext|>`); they get the first ids, in this order. Default none.
    pub special_tokens: Vec<String>,
    /// The longest token, in bytes; at least 2. Default: any length.
    pub max_token_length: Option<usize>,
    /// How the text is cut into pieces, which merges do not cross.
    pub pattern: Pattern,
    /// What is done to each line before it is cut.
    pub normalizer: Normalizer,
    /// Whose rules to follow where Hugging Face's trainer is odd.
    pub rules: TrainerRules,
}

/// Where Hugging Face's `BpeTrainer` is odd, and one may or may not want the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum TrainerRules {
    /// The text is cut at special tokens, so that nothing is learned from their letters. Tokens are at most
    /// `max_token_length` bytes long.
    #[default]
    Ours,
    /// Special tokens in the text are learned from as if they were words. Tokens of more than two bytes are shorter than
    /// `max_token_length`.
    HuggingFace,
}

impl Default for BpeConfig {
    fn default() -> BpeConfig {
        BpeConfig {
            vocab_size: 32_000,
            min_frequency: 2,
            special_tokens: Vec::new(),
            max_token_length: None,
            pattern: Pattern::default(),
            normalizer: Normalizer::default(),
            rules: TrainerRules::default(),
        }
    }
}

impl BpeConfig {
    /// Whether every setting is within its range.
    ///
    /// # Errors
    /// [`Error::Config`] names the setting and its range.
    pub fn check(&self) -> Result<()> {
        let least = 256 + self.special_tokens.len();
        if !(least..=MAX_TOKENS).contains(&self.vocab_size) {
            let reason = format!(
                "is {}, must be from {least} to {MAX_TOKENS}: each of the 256 bytes and each special token has a token",
                self.vocab_size
            );
            return Err(Error::config("vocab-size", reason));
        }
        if self.max_token_length.is_some_and(|len| len < 2) {
            return Err(Error::config("max-token-length", "must be at least 2, the length of the shortest merge"));
        }
        for (at, token) in self.special_tokens.iter().enumerate() {
            if token.is_empty() || self.special_tokens[..at].contains(token) {
                return Err(Error::config("special-token", format!("'{token}' is empty or there twice")));
            }
            let spelled = byte_alphabet::bytes_of(token);
            if spelled.as_ref().is_some_and(|bytes| bytes.len() == 1) {
                return Err(Error::config("special-token", format!("'{token}' is already the name of a byte's token")));
            }
            let spelled = spelled.and_then(|bytes| String::from_utf8(bytes).ok());
            if let Some(text) = spelled.filter(|text| text != token) {
                let reason = format!("'{token}' is what the text {text:?} is called in files; give another");
                return Err(Error::config("special-token", reason));
            }
        }
        Ok(())
    }

    /// The special tokens, which have the first ids.
    pub(super) fn added_tokens(&self) -> Result<AddedTokens> {
        let tokens = self.special_tokens.iter().enumerate();
        let tokens = tokens.map(|(id, content)| AddedToken::special(id as u32, content)).collect();
        AddedTokens::new(tokens, self.normalizer).map_err(|reason| Error::config("special-token", reason))
    }
}
