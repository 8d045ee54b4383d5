//! Words as text without spaces.
//!
//! In: the bytes of a word. Out: the word as it is, but white space and bytes that are not UTF-8 as `\x20`; and back.

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

    proptest! {
        #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn escaped_words_come_back(word in prop::collection::vec(prop_oneof![
            Just(b'\\'), Just(b'x'), Just(b'2'), Just(b'0'), Just(b' '), Just(0xC3), Just(0xA4), Just(0xE3), Just(0x80)
        ], 0..12)) {
            let spelling = escape(&word);
            prop_assert!(!spelling.contains(char::is_whitespace));
            prop_assert_eq!(unescape(&spelling), Some(word));
        }
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
}
