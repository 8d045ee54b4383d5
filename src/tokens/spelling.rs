//! Tokens as text without spaces, and back.
//!
//! In: the bytes of a token. Out: those of a BPE in the byte-level alphabet; words as they are, but white space and bytes
//! that are not UTF-8 as `\x20`.

use std::borrow::Cow;

use crate::tokens::tokenizer::Model;
use crate::tokens::{TokenId, Tokenizer, byte_alphabet, names};

impl Tokenizer {
    /// A printable, reversible, unique spelling without spaces: BPE tokens in the byte-level alphabet, words as they are.
    ///
    /// In words, white space and bytes that are not UTF-8 are written `\x20`.
    pub fn spelling(&self, id: TokenId) -> String {
        let bytes = self.bytes(id);
        match &self.model {
            _ if self.is_unused(id) => self.unused_spelling(id),
            Model::Bpe(bpe) if bpe.tokens.find(bytes) == Some(id.0) => byte_alphabet::spell(bytes),
            _ => escape(self.added.get(id).map_or(bytes, |token| token.content.as_bytes())),
        }
    }

    /// The token of a spelling.
    pub fn id_of_spelling(&self, spelling: &str) -> Option<TokenId> {
        let of_text = match &self.model {
            Model::Bpe(bpe) => byte_alphabet::bytes_of(spelling).and_then(|bytes| bpe.tokens.find(&bytes)),
            Model::Words(words) => unescape(spelling).and_then(|bytes| words.words.find(&bytes)),
        };
        let of_added = || Some(self.added.find(&String::from_utf8(unescape(spelling)?).ok()?)?.id);
        of_text.or_else(of_added).map(TokenId).or_else(|| {
            let id = TokenId(spelling.trim_start_matches('∅').parse().ok()?);
            let is_it = id.index() < self.n_tokens() && self.is_unused(id) && self.spelling(id) == spelling;
            is_it.then_some(id)
        })
    }

    /// `∅` and the number, with more `∅` before it while an added token is called that.
    fn unused_spelling(&self, id: TokenId) -> String {
        let mut spelling = names::unused(id.0);
        while self.added.find(&spelling).is_some() {
            spelling.insert(0, '∅');
        }
        spelling
    }
}

/// A word with white space and bad bytes as `\x20`. A backslash that would read as such an escape is one itself, so that
/// [`unescape`] gives the word back.
pub(crate) fn escape(word: &[u8]) -> String {
    use std::fmt::Write;
    let mut spelling = String::with_capacity(word.len());
    let hex = |spelling: &mut String, byte: u8| write!(spelling, "\\x{byte:02X}").expect("a String takes all");
    for chunk in word.utf8_chunks() {
        let text = chunk.valid();
        for (at, character) in text.char_indices() {
            if character.is_whitespace() || (character == '\\' && hex_escape(&text.as_bytes()[at..]).is_some()) {
                character.encode_utf8(&mut [0; 4]).bytes().for_each(|byte| hex(&mut spelling, byte));
            } else {
                spelling.push(character);
            }
        }
        chunk.invalid().iter().for_each(|&byte| hex(&mut spelling, byte));
    }
    spelling
}

/// The bytes of a spelling; `None` if it is as [`escape`] would never write it.
pub(crate) fn unescape(spelling: &str) -> Option<Vec<u8>> {
    let mut word = Vec::with_capacity(spelling.len());
    let mut rest = spelling.as_bytes();
    while let [first, ..] = *rest {
        let (byte, len) = hex_escape(rest).map_or((first, 1), |byte| (byte, 4));
        word.push(byte);
        rest = &rest[len..];
    }
    (escape(&word) == spelling).then_some(word)
}

/// A word as a key in the `vocab` of a file: itself, so that other programs find it in a text.
///
/// A file is UTF-8, and a word of other people's vectors may not be. Such a word is its [`escape`] and a space behind it,
/// which no word of a text has.
pub(crate) fn key_of_word(word: &[u8]) -> Cow<'_, str> {
    match std::str::from_utf8(word) {
        Ok(word) if word_of_marked_key(word).is_none() => Cow::Borrowed(word),
        _ => Cow::Owned(escape(word) + " "),
    }
}

/// The word of a key.
pub(crate) fn word_of_key(key: &str) -> Cow<'_, [u8]> {
    word_of_marked_key(key).map_or(Cow::Borrowed(key.as_bytes()), Cow::Owned)
}

/// The word of a key that [`key_of_word`] had to mark: one that is not UTF-8, or itself reads as such a key.
fn word_of_marked_key(key: &str) -> Option<Vec<u8>> {
    let word = unescape(key.strip_suffix(' ')?)?;
    let is_plain = std::str::from_utf8(&word).is_ok_and(|word| word_of_marked_key(word).is_none());
    (!is_plain).then_some(word)
}

/// The byte of the `\x20` that `text` begins with.
fn hex_escape(text: &[u8]) -> Option<u8> {
    match text {
        [b'\\', b'x', high, low, ..] => {
            let digit = |byte: u8| match byte {
                b'0'..=b'9' => Some(byte - b'0'),
                b'A'..=b'F' => Some(byte - b'A' + 10),
                _ => None,
            };
            Some(digit(*high)? << 4 | digit(*low)?)
        }
        _ => None,
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
        fn escaped_words_come_back(word in prop::collection::vec(prop_oneof![
            Just(b'\\'), Just(b'x'), Just(b'2'), Just(b'0'), Just(b' '), Just(0xC3), Just(0xA4), Just(0xE3), Just(0x80)
        ], 0..12)) {
            let spelling = escape(&word);
            prop_assert!(!spelling.contains(char::is_whitespace));
            prop_assert_eq!(unescape(&spelling), Some(word.clone()));
            prop_assert_eq!(word_of_key(&key_of_word(&word)).into_owned(), word);
        }
    }

    #[test]
    fn words_are_their_own_keys_unless_they_cannot_be() {
        for word in ["a b", "\\x20", "\\x5Cx20", "\\xE4", "a ", ""] {
            assert_eq!(key_of_word(word.as_bytes()), word);
        }
        assert_eq!(key_of_word(b"\xE4"), "\\xE4 ");
        assert_eq!(key_of_word(b"\\xE4 "), "\\x5CxE4\\x20 ");
    }

    #[test]
    fn only_what_must_be_is_escaped() {
        for (word, spelling) in [
            (&b"a b"[..], "a\\x20b"),
            (b"\\x20", "\\x5Cx20"),
            (b"\\n", "\\n"),
            (b"\xE4", "\\xE4"),
            ("\u{3000}é".as_bytes(), "\\xE3\\x80\\x80é"),
        ] {
            assert_eq!(escape(word), spelling);
        }
        assert_eq!(unescape("\\x41"), None, "a letter is never escaped");
    }

    #[test]
    fn spellings_and_names_lead_back_to_their_token() {
        let words = [&b"a b"[..], b"a", b"\xE4", b"\\x20", b"", "\u{3000}".as_bytes(), b"\\xE4", b"[UNK]"];
        let words = Tokenizer::from_words(words.map(<[u8]>::to_vec).to_vec()).unwrap();
        for tokenizer in [small_bpe(), words] {
            let mut spellings = hashbrown::HashSet::new();
            for id in (0..tokenizer.n_tokens() as u32).map(TokenId) {
                let spelling = tokenizer.spelling(id);
                assert_eq!(tokenizer.id_of_spelling(&spelling), Some(id), "{spelling}");
                assert_eq!(tokenizer.id_of_name(&tokenizer.name(id)), Some(id), "{spelling}");
                assert!(!spelling.contains(char::is_whitespace));
                assert!(spellings.insert(spelling));
            }
        }
    }
}
