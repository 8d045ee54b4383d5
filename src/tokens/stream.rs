//! Ids → text, a few at a time.
//!
//! In: ids as they come. Out: text that is never cut inside a character. The one idea: a token may end in the middle of
//! a character; those bytes are held back until the rest comes or cannot come any more.

use crate::error::Result;
use crate::tokens::{TokenId, Tokenizer};

/// Decodes ids one after the other.
///
/// # Example
/// ```
/// # use wordgrove::{Tokenizer, Silent, text::Corpus, tokens::{BpeConfig, StreamDecoder, learn_bpe}};
/// # let mut config = BpeConfig::default();
/// # config.vocab_size = 256;
/// # let tokenizer = learn_bpe(&Corpus::from_text("a\n"), &config, &Silent)?;
/// let ids = tokenizer.encode("né".as_bytes()); // three bytes, three tokens
/// let mut decoder = StreamDecoder::new(&tokenizer);
/// assert_eq!(decoder.push(ids[0])?, "n");
/// assert_eq!(decoder.push(ids[1])?, "");
/// assert_eq!(decoder.push(ids[2])?, "é");
/// assert_eq!(decoder.finish(), "");
/// # Ok::<(), wordgrove::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct StreamDecoder<'t> {
    tokenizer: &'t Tokenizer,
    /// The beginning of a character.
    held: Vec<u8>,
    /// Whether a word has been given out, and so the next needs a space before it.
    in_text: bool,
}

impl<'t> StreamDecoder<'t> {
    /// A decoder at the beginning of a text.
    pub fn new(tokenizer: &'t Tokenizer) -> StreamDecoder<'t> {
        StreamDecoder { tokenizer, held: Vec::new(), in_text: false }
    }

    /// The text that the next id completes. Bytes that can be no character any more become U+FFFD.
    ///
    /// # Errors
    /// [`Error::Config`](crate::Error::Config) names an id that is not in the vocabulary.
    pub fn push(&mut self, id: TokenId) -> Result<String> {
        let bytes = self.tokenizer.decode(&[id])?;
        if self.in_text && self.tokenizer.is_words() {
            self.held.push(b' ');
        }
        self.held.extend_from_slice(&bytes);
        self.in_text = true;
        let mut text = String::new();
        let mut done = 0;
        for chunk in self.held.utf8_chunks() {
            text.push_str(chunk.valid());
            done += chunk.valid().len();
            let bad = chunk.invalid();
            let is_last = done + bad.len() == self.held.len();
            let may_go_on = std::str::from_utf8(bad).is_err_and(|error| error.error_len().is_none());
            if !(bad.is_empty() || is_last && may_go_on) {
                text.push('\u{FFFD}');
                done += bad.len();
            }
        }
        self.held.drain(..done);
        Ok(text)
    }

    /// What is still held back, as U+FFFD.
    pub fn finish(self) -> String {
        String::from_utf8_lossy(&self.held).into_owned()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::progress::Silent;
    use crate::text::Corpus;
    use crate::tokens::{BpeConfig, learn_bpe};

    proptest! {
        #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn a_stream_is_the_lossy_text_and_never_ends_in_half_a_character(
            text in prop_oneof![
                any::<String>().prop_map(String::into_bytes),
                prop::collection::vec(prop::sample::select(&[0x61u8, 0xE4, 0xB8, 0xAD, 0xF0, 0x9F, 0x80, 0xC3, 0xFF]), 0..30),
            ],
        ) {
            let config = BpeConfig { vocab_size: 256, ..BpeConfig::default() };
            let tokenizer = learn_bpe(&Corpus::from_text("中 é"), &config, &Silent).unwrap();
            let mut decoder = StreamDecoder::new(&tokenizer);
            let mut streamed = String::new();
            for id in tokenizer.encode(&text) {
                streamed.push_str(&decoder.push(id).unwrap());
            }
            streamed.push_str(&decoder.finish());
            prop_assert_eq!(streamed, String::from_utf8_lossy(&text));
        }
    }

    #[test]
    fn words_have_spaces_between_them() {
        let tokenizer = Tokenizer::from_words(vec![b"a".to_vec(), b"b".to_vec()]).unwrap();
        let mut decoder = StreamDecoder::new(&tokenizer);
        assert_eq!(decoder.push(TokenId(0)).unwrap(), "a");
        assert_eq!(decoder.push(TokenId(1)).unwrap(), " b");
        assert!(decoder.push(TokenId(2)).is_err());
        assert_eq!(decoder.push(TokenId(0)).unwrap(), " a", "what could not be decoded leaves no trace");
    }
}
