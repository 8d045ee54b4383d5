//! Pieces: the stretches of text that merges may not cross.
//!
//! In: any bytes. Out: the ends of the pieces, which join up to the whole text again. The one idea: the patterns of the
//! field are written out as scanners that look at each character once, so that there is no regex engine to blow up on
//! a long run. Each scanner is checked against its regex.

mod class_table;
pub(crate) mod classes;
mod gpt2;

/// How text is cut into pieces before merging.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Pattern {
    /// GPT-2's: `'(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+`
    #[default]
    Gpt2,
}

/// What a line feed means to the scanner.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LineFeed {
    /// A white character like others: pieces may run on behind it.
    Within,
    /// The end of a text: each line is cut as if it stood alone, its line feed included. This is what Hugging Face's
    /// trainer does with files.
    Ends,
}

impl Pattern {
    /// Hands the pieces of `text` to `piece`, in order.
    pub(crate) fn for_each_piece<'t>(self, text: &'t [u8], line_feed: LineFeed, mut piece: impl FnMut(&'t [u8])) {
        let mut start = 0;
        while start < text.len() {
            let end = self.piece_end(text, start, line_feed);
            piece(&text[start..end]);
            start = end;
        }
    }

    /// The end of the piece that begins at `start`, which must lie inside the text.
    fn piece_end(self, text: &[u8], start: usize, line_feed: LineFeed) -> usize {
        match self {
            Pattern::Gpt2 => gpt2::piece_end(text, start, line_feed),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::LazyLock;

    use fancy_regex::Regex;
    use proptest::prelude::*;

    use super::*;

    static GPT2: LazyLock<Regex> = LazyLock::new(|| Regex::new(GPT2_PATTERN).unwrap());

    const GPT2_PATTERN: &str = r"'(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+";

    fn pieces(text: &[u8], line_feed: LineFeed) -> Vec<&[u8]> {
        let mut pieces = Vec::new();
        Pattern::Gpt2.for_each_piece(text, line_feed, |piece| pieces.push(piece));
        pieces
    }

    fn regex_pieces<'t>(regex: &Regex, text: &'t str) -> Vec<&'t [u8]> {
        regex.find_iter(text).map(|found| found.unwrap().as_str().as_bytes()).collect()
    }

    /// Characters at which the patterns decide something, each kind in one, two, three and four bytes where it exists.
    const ALPHABET: &[char] = &[
        ' ', ' ', '\n', '\r', '\t', '\u{B}', '\u{85}', '\u{A0}', '\u{3000}', '\u{2028}', '\'', '\'', 's', 't', 'd',
        'm', 'l', 'v', 'e', 'r', 'S', 'T', 'L', 'a', 'Z', 'é', 'ſ', '中', '𝒜', 'ǅ', 'ʰ', '0', '9', '²', '٣', 'Ⅷ', '𝟘',
        '!', '-', '_', '/', '€', '\u{301}', '\u{200D}', '\u{FFFD}', '😀', '\0', '\u{1F}', '\u{7F}', 'K', 'İ',
    ];

    fn hostile_text() -> impl Strategy<Value = String> {
        prop_oneof![
            prop::collection::vec(prop::sample::select(ALPHABET), 0..200).prop_map(String::from_iter),
            prop::collection::vec((prop::sample::select(ALPHABET), 1..90usize), 0..12)
                .prop_map(|runs| runs.into_iter().flat_map(|(c, n)| std::iter::repeat_n(c, n)).collect()),
            any::<String>(),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 1000, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn pieces_are_those_of_the_regex(text in hostile_text()) {
            prop_assert_eq!(pieces(text.as_bytes(), LineFeed::Within), regex_pieces(&GPT2, &text));
            let by_line: Vec<&[u8]> = text.split_inclusive('\n').flat_map(|line| regex_pieces(&GPT2, line)).collect();
            prop_assert_eq!(pieces(text.as_bytes(), LineFeed::Ends), by_line);
        }

        #[test]
        fn pieces_join_up_to_any_bytes(text in prop::collection::vec(any::<u8>(), 0..300)) {
            prop_assert_eq!(pieces(&text, LineFeed::Within).concat(), text.clone());
            prop_assert_eq!(pieces(&text, LineFeed::Ends).concat(), text);
        }

        /// Each bad byte becomes one U+FFFD here; then the pieces must correspond.
        #[test]
        fn bad_bytes_are_cut_like_replacement_characters(text in prop::collection::vec(prop_oneof![
            Just(b' '), Just(b'a'), Just(b'1'), Just(b'\''), Just(b's'), Just(b'\n'), Just(0xFF), Just(0xC0), Just(0x80)
        ], 0..60)) {
            let mut decoded = String::new();
            for &byte in &text {
                decoded.push(if byte < 128 { char::from(byte) } else { '\u{FFFD}' });
            }
            let characters = |pieces: Vec<&[u8]>| -> Vec<usize> { pieces.iter().map(|piece| piece.len()).collect() };
            let expected: Vec<usize> =
                GPT2.find_iter(&decoded).map(|found| found.unwrap().as_str().chars().count()).collect();
            prop_assert_eq!(characters(pieces(&text, LineFeed::Within)), expected);
        }
    }

    #[test]
    fn a_sentence_is_cut_before_spaces_and_apostrophes() {
        let text = "I can't wait: 12 more  days!\n";
        let expected = ["I", " can", "'t", " wait", ":", " 12", " more", " ", " days", "!", "\n"];
        assert_eq!(pieces(text.as_bytes(), LineFeed::Within), expected.map(str::as_bytes));
    }
}
