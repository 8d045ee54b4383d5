//! Texts → ids, with their places where they are asked for, and ids → text.
//!
//! In: the text as it is. The one idea: added tokens are cut out first, as Hugging Face does, those that are found in the
//! raw text before those that are found in the normalised one; the model sees only what lies between them.

use std::ops::Range;

use rayon::prelude::*;

use crate::error::{Error, Result};
use crate::tokens::added::{SpecialTokens, Stretch};
use crate::tokens::frame::Frame;
use crate::tokens::spelling::unescape;
use crate::tokens::tokenizer::Model;
use crate::tokens::{TokenId, Tokenizer};

/// A text and its tokens.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct EncodedText {
    /// The text that the tokens' places are in: the one that was given, as the normalizer spells it.
    pub text: Vec<u8>,
    /// The tokens, in the order of the text.
    pub tokens: Vec<EncodedToken>,
}

/// A token and its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EncodedToken {
    /// Which.
    pub id: TokenId,
    /// Its bytes in [`EncodedText::text`]. The tokens of a BPE follow each other without a gap; between words there may be
    /// gaps. An added token's place includes the white space that it takes; those around the text take none.
    pub range: Range<usize>,
}

impl Tokenizer {
    /// The ids of a text. A BPE encodes any bytes, and line feeds like other characters; words that are not in the
    /// vocabulary become the unknown word's id, or nothing where there is no such id. Special tokens are text.
    pub fn encode(&self, text: &[u8]) -> Vec<TokenId> {
        self.encode_with(text, SpecialTokens::AsText)
    }

    /// The ids of a text in which special tokens are text or not.
    pub fn encode_with(&self, text: &[u8], special: SpecialTokens) -> Vec<TokenId> {
        // Four bytes are a token, about.
        let mut ids = Vec::with_capacity(text.len() / 4 + 8);
        if special == SpecialTokens::Framed {
            ids.extend_from_slice(&self.frame.before);
        }
        self.for_each_stretch(text, special, |stretch, text| match (stretch, &self.model) {
            (Stretch::Token(id, _), _) => ids.push(id),
            (Stretch::Text(range), Model::Bpe(bpe)) => bpe.encode(&text[range], &mut ids),
            (Stretch::Text(range), Model::Words(words)) => {
                words.for_each_id(&text[range], |id| ids.extend(id.or(words.unknown)));
            }
        });
        if special == SpecialTokens::Framed {
            ids.extend_from_slice(&self.frame.after);
        }
        ids
    }

    /// The ids of many texts, on all threads; in the order of the texts.
    pub fn encode_batch<T: AsRef<[u8]> + Sync>(&self, texts: &[T], special: SpecialTokens) -> Vec<Vec<TokenId>> {
        texts.par_iter().map(|text| self.encode_with(text.as_ref(), special)).collect()
    }

    /// The ids of a text and where each token stands.
    ///
    /// # Example
    /// ```
    /// # use wordgrove::{Tokenizer, tokens::SpecialTokens};
    /// let tokenizer = Tokenizer::from_words(vec![b"the".to_vec(), b"king".to_vec()])?;
    /// let encoded = tokenizer.encode_with_offsets(b"the old king", SpecialTokens::AsText);
    /// assert_eq!(encoded.text, b"the old king");
    /// assert_eq!(encoded.tokens[1].range, 8..12); // `old` is not in the vocabulary
    /// # Ok::<(), wordgrove::Error>(())
    /// ```
    pub fn encode_with_offsets(&self, text: &[u8], special: SpecialTokens) -> EncodedText {
        let mut encoded = EncodedText::default();
        let frame = if special == SpecialTokens::Framed { &self.frame } else { &Frame::default() };
        encoded.tokens.extend(frame.before.iter().map(|&id| EncodedToken { id, range: 0..0 }));
        self.for_each_stretch(text, special, |stretch, text| {
            let start = encoded.text.len();
            match (stretch, &self.model) {
                (Stretch::Token(id, range), _) => {
                    encoded.text.extend_from_slice(&text[range]);
                    encoded.tokens.push(EncodedToken { id, range: start..encoded.text.len() });
                }
                (Stretch::Text(range), Model::Bpe(bpe)) => {
                    encoded.text.extend_from_slice(&text[range.clone()]);
                    let mut ids = Vec::new();
                    bpe.encode(&text[range], &mut ids);
                    let mut at = start;
                    for id in ids {
                        let end = at + self.bytes(id).len();
                        encoded.tokens.push(EncodedToken { id, range: at..end });
                        at = end;
                    }
                }
                (Stretch::Text(range), Model::Words(words)) => {
                    let text = words.for_each_word(&text[range], |id, range| {
                        let range = start + range.start..start + range.end;
                        encoded.tokens.extend(id.or(words.unknown).map(|id| EncodedToken { id, range }));
                    });
                    encoded.text.extend_from_slice(text.as_bytes());
                }
            }
        });
        let end = encoded.text.len();
        encoded.tokens.extend(frame.after.iter().map(|&id| EncodedToken { id, range: end..end }));
        encoded
    }

    /// Hands the added tokens of a text and what lies between them, normalised, to `stretch`.
    pub(super) fn for_each_stretch(
        &self,
        text: &[u8],
        special: SpecialTokens,
        mut stretch: impl FnMut(Stretch, &[u8]),
    ) {
        if !self.added.finds_any(special) {
            let text = self.normalizer.apply(text);
            return stretch(Stretch::Text(0..text.len()), &text);
        }
        for part in self.added.cut_raw(text, special) {
            match part {
                Stretch::Token(..) => stretch(part, text),
                Stretch::Text(range) => {
                    let text = self.normalizer.apply(&text[range]);
                    for part in self.added.cut_normalized(&text, special) {
                        stretch(part, &text);
                    }
                }
            }
        }
    }

    /// The ids of a word as it stands inside a sentence: for BPE with the space before it.
    ///
    /// Empty when the vocabulary lacks the word or, where it is cut into several, one of them. A word of the vocabulary
    /// is found as it is spelled there, even if a text would be cut within it.
    pub fn encode_word(&self, word: &str) -> Vec<TokenId> {
        match &self.model {
            Model::Bpe(_) if word.is_empty() => Vec::new(),
            Model::Bpe(_) => self.encode(format!(" {word}").as_bytes()),
            Model::Words(words) => {
                if let Some(id) = words.find(word.as_bytes()).or_else(|| words.find(&unescape(word)?)) {
                    return vec![id];
                }
                let mut ids = Some(Vec::new());
                words.for_each_id(&self.normalizer.apply(word.as_bytes()), |id| {
                    ids = ids.take().zip(id).map(|(mut ids, id)| {
                        ids.push(id);
                        ids
                    });
                });
                ids.unwrap_or_default()
            }
        }
    }

    /// The bytes that ids stand for; words with a space between them.
    ///
    /// # Errors
    /// [`Error::Config`] names an id that is not in the vocabulary, or [unused](Tokenizer::is_unused).
    pub fn decode(&self, ids: &[TokenId]) -> Result<Vec<u8>> {
        let tokens = self.tokens();
        let unknown = |place: usize| {
            let id = ids[place].0;
            let reason = match tokens.len() {
                n_tokens if ids[place].index() < n_tokens => "is an id that no token has".to_string(),
                n_tokens => format!("is not one of the {n_tokens} tokens"),
            };
            Error::config("id", format!("{id} (number {} of the ids) {reason}", place + 1))
        };
        if !self.is_words() {
            return tokens.join(ids.iter().map(|id| id.index())).map_err(unknown);
        }
        let mut text = Vec::with_capacity(ids.len() * 8);
        for (place, id) in ids.iter().enumerate() {
            if id.index() >= tokens.len() || tokens.is_unused(id.index()) {
                return Err(unknown(place));
            }
            if place > 0 {
                text.push(b' ');
            }
            text.extend_from_slice(tokens.get(id.index()));
        }
        Ok(text)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::tokens::sample::small_bpe;

    proptest! {
        #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn decoding_gives_any_bytes_back(text in prop::collection::vec(any::<u8>(), 0..400)) {
            let tokenizer = small_bpe();
            prop_assert_eq!(tokenizer.decode(&tokenizer.encode(&text)).unwrap(), text);
        }
    }

    #[test]
    fn a_word_is_encoded_with_the_space_before_it() {
        let tokenizer = small_bpe();
        let ids = tokenizer.encode_word("king");
        assert_eq!(tokenizer.decode(&ids).unwrap(), b" king");
        assert_eq!(ids, tokenizer.encode(b"the king")[1..]);
        assert_eq!(tokenizer.name(ids[0]), "king");
        assert_eq!(tokenizer.encode_word(""), []);
    }

    #[test]
    fn a_listed_word_is_found_whole_and_an_unknown_one_is_not() {
        let words = ["New York", "new", "u.s.", "york"].map(|word| word.as_bytes().to_vec());
        let tokenizer = Tokenizer::from_words(words.to_vec()).unwrap();
        assert_eq!(tokenizer.encode_word("New York"), [TokenId(0)]);
        assert_eq!(tokenizer.encode_word("New\\x20York"), [TokenId(0)]);
        assert_eq!(tokenizer.encode_word("new york"), [TokenId(1), TokenId(3)]);
        assert_eq!(tokenizer.encode_word("new jersey"), []);
        assert_eq!(tokenizer.encode(b"new jersey york"), [TokenId(1), TokenId(3)]);
        let twice = Tokenizer::from_words(vec![b"a".to_vec(), b"b".to_vec(), b"a".to_vec()]).unwrap_err();
        assert_eq!(twice.to_string(), "words: row 2 repeats the word of row 0, 'a'");
    }

    #[test]
    fn a_batch_is_encoded_text_by_text() {
        let tokenizer = small_bpe();
        let texts: Vec<String> = (0..100).map(|i| format!("the {i} kings; 中文{i}")).collect();
        let batch = tokenizer.encode_batch(&texts, SpecialTokens::AsText);
        assert!(batch.iter().zip(&texts).all(|(ids, text)| *ids == tokenizer.encode(text.as_bytes())));
        assert_eq!(batch.len(), 100);
    }

    #[test]
    fn tokens_know_their_places() {
        let tokenizer = small_bpe();
        let text = "the king's 中文 — x\n".as_bytes();
        let encoded = tokenizer.encode_with_offsets(text, SpecialTokens::AsText);
        assert_eq!(encoded.text, text);
        let ids: Vec<TokenId> = encoded.tokens.iter().map(|token| token.id).collect();
        assert_eq!(ids, tokenizer.encode(text));
        let mut at = 0;
        for token in &encoded.tokens {
            assert_eq!((token.range.start, &text[token.range.clone()]), (at, tokenizer.bytes(token.id)));
            at = token.range.end;
        }
        assert_eq!(at, text.len());
        let words = Tokenizer::from_words(vec!["中文".into(), "x".into()]).unwrap();
        let encoded = words.encode_with_offsets(" x  y \u{3000}中文".as_bytes(), SpecialTokens::AsText);
        let places: Vec<Range<usize>> = encoded.tokens.into_iter().map(|token| token.range).collect();
        assert_eq!(places, [1..2, 9..15]);
    }

    #[test]
    fn an_id_beyond_the_vocabulary_is_named() {
        // A13
        let tokenizer = small_bpe();
        for id in [tokenizer.n_tokens() as u32, u32::MAX] {
            let error = tokenizer.decode(&[TokenId(0), TokenId(id)]).unwrap_err().to_string();
            assert!(error.contains(&format!("id: {id} (number 2")), "{error}");
        }
    }
}
