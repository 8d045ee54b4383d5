//! Which pattern cuts a text, and cutting by it.

use std::sync::Arc;

use crate::error::{Error, Result};
use crate::math::ByteClassifier;

use super::cl100k_masks::Rules;
use super::custom::{self, CustomPattern};
use super::{cl100k, cl100k_masks, gpt2, gpt2_masks, o200k};

/// Below so many bytes setting up the masks costs more than they save.
const WORTH_MASKS: usize = 64;

/// How text is cut into pieces before merging.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Pattern {
    /// GPT-2's: `'(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+`
    #[default]
    Gpt2,
    /// GPT-4's: letters with any one character before them, up to three digits, contractions in either case.
    ///
    /// As it was published, and as Llama 3 and the `tokenizer.json` files of others have it.
    Cl100k,
    /// The same as tiktoken has it since 2024: the white space at the end of a text is one piece, line ends or not.
    Cl100kTiktoken,
    /// GPT-4o's: also cut where lower case turns to upper.
    O200k,
    /// Not cut at all.
    Whole,
    /// By a regular expression, see [`Pattern::custom`].
    Custom(Arc<CustomPattern>),
    /// By one pattern after the other, see [`Pattern::sequence`].
    Sequence(Steps),
}

/// Two patterns or more that cut one after the other. None of them is a sequence or [`Pattern::Whole`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Steps(Arc<[Pattern]>);

impl PartialEq for CustomPattern {
    fn eq(&self, other: &CustomPattern) -> bool {
        self.source() == other.source()
    }
}

impl Eq for CustomPattern {}

/// The sources of the patterns that are written out, the first of each as it is written to files.
const SOURCES: [(Pattern, &[&str]); 4] = [
    (
        Pattern::Gpt2,
        &[
            r"'(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+",
            r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+",
        ],
    ),
    (
        Pattern::Cl100k,
        &[
            r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
            r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
        ],
    ),
    (
        Pattern::Cl100kTiktoken,
        &[
            r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s+\z|\s*[\r\n]+|\s+(?!\S)|\s+",
            r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s+\z|\s*[\r\n]|\s+(?!\S)|\s+",
        ],
    ),
    (
        Pattern::O200k,
        &[concat!(
            r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?",
            r"|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?",
            r"|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+",
        )],
    ),
];

/// What a line feed means to the scanner.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LineFeed {
    /// A white character like others: pieces may run on behind it.
    Within,
    /// The end of a text: each line is cut as if it stood alone, its line feed included. This is what Hugging Face's
    /// trainer does with files.
    Ends,
}

/// So many ends the scanners that find them one by one hand over at a time.
const BATCH: usize = 512;

impl Pattern {
    /// The pattern of a regular expression; one of the known ones if it is spelled like it.
    ///
    /// Each match is a piece, and so is what lies between two matches; an empty match cuts, too. The engine takes linear
    /// time, so it has no look-around, but for `|\s+(?!\S)|\s+` at the end, in which most tokenizers' patterns end; and
    /// possessive repetitions only where the plain ones match the same. What Oniguruma, the engine of Hugging Face, reads
    /// differently (`^`, `$`, `\b`, `\pL`, `{1,3}+`) or not at all is refused by name, so that a pattern means the same to
    /// others who read the tokenizer; `\w` is read as there.
    ///
    /// # Errors
    /// [`Error::Config`] says what cannot be done.
    ///
    /// # Example
    /// ```
    /// use wordgrove::tokens::Pattern;
    /// assert_eq!(Pattern::custom(r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+")?, Pattern::Gpt2);
    /// assert!(Pattern::custom(r"\p{Han}|[^\p{Han}]+").is_ok());
    /// assert!(Pattern::custom("a(?=b)").is_err());
    /// # Ok::<(), wordgrove::Error>(())
    /// ```
    pub fn custom(source: &str) -> Result<Pattern> {
        let refuse = |reason| Error::config("pattern", reason);
        let plain = custom::plain(source).map_err(refuse)?;
        match SOURCES.into_iter().find(|(_, sources)| sources.contains(&source) || sources.contains(&&*plain)) {
            Some((pattern, _)) => Ok(pattern),
            None => {
                let custom = CustomPattern::new(source, &plain).map_err(refuse)?;
                Ok(Pattern::Custom(Arc::new(custom)))
            }
        }
    }

    /// Cuts by one pattern after the other: the pieces of each are texts to the next.
    ///
    /// # Example
    /// ```
    /// use wordgrove::tokens::Pattern;
    /// let digits = Pattern::custom(r"\p{N}{1,3}")?;
    /// assert_eq!(Pattern::sequence([digits.clone(), Pattern::Whole]), digits); // whole: not cut further
    /// # Ok::<(), wordgrove::Error>(())
    /// ```
    pub fn sequence(patterns: impl IntoIterator<Item = Pattern>) -> Pattern {
        let steps: Vec<Pattern> = patterns.into_iter().flat_map(|pattern| pattern.steps().to_vec()).collect();
        match &steps[..] {
            [] => Pattern::Whole,
            [one] => one.clone(),
            _ => Pattern::Sequence(Steps(steps.into())),
        }
    }

    /// The patterns that cut one after the other; none if text is not cut.
    pub fn steps(&self) -> &[Pattern] {
        match self {
            Pattern::Whole => &[],
            Pattern::Sequence(steps) => &steps.0,
            one => std::slice::from_ref(one),
        }
    }

    /// Whether it is one of the patterns that are written out here, of which more is known than that they cut.
    pub fn is_known(&self) -> bool {
        matches!(self, Pattern::Gpt2 | Pattern::Cl100k | Pattern::Cl100kTiktoken | Pattern::O200k)
    }

    /// The regular expression; `None` if text is not cut, or by several.
    pub fn source(&self) -> Option<&str> {
        match self {
            Pattern::Whole | Pattern::Sequence(_) => None,
            Pattern::Custom(custom) => Some(custom.source()),
            known => SOURCES.iter().find(|(pattern, _)| pattern == known).map(|(_, sources)| sources[0]),
        }
    }

    /// Hands the ends of the pieces of `text` to `ends`, ascending, many at a time; the last is the end of the text.
    pub(crate) fn for_each_batch(&self, text: &[u8], line_feed: LineFeed, mut ends: impl FnMut(&[usize])) {
        match self {
            Pattern::Gpt2 | Pattern::Cl100k | Pattern::Cl100kTiktoken | Pattern::O200k => {
                match ByteClassifier::chosen() {
                    Some(classifier) if text.len() >= WORTH_MASKS => self.scan_masks(text, line_feed, classifier, ends),
                    _ => self.scan_characters(text, line_feed, ends),
                }
            }
            Pattern::Sequence(steps) => cut_in_turn(&steps.0, text, 0, line_feed, &mut ends),
            Pattern::Whole | Pattern::Custom(_) => {
                let mut start = 0;
                let by_line = line_feed == LineFeed::Ends;
                for part in text.split_inclusive(|&byte| by_line && byte == b'\n') {
                    match self {
                        Pattern::Custom(custom) => custom.scan(part, |end| ends(&[start + end])),
                        _ => ends(&[start + part.len()]),
                    }
                    start += part.len();
                }
            }
        }
    }

    /// One of the patterns that are written out, 64 bytes at a time.
    fn scan_masks(&self, text: &[u8], line_feed: LineFeed, classifier: ByteClassifier, ends: impl FnMut(&[usize])) {
        match self {
            Pattern::Cl100k => cl100k_masks::scan(text, Rules::Cl100k, line_feed, classifier, ends),
            // Each line would have an end of its own to look at.
            Pattern::Cl100kTiktoken if line_feed == LineFeed::Ends => self.scan_characters(text, line_feed, ends),
            Pattern::Cl100kTiktoken => cl100k::with_white_end_whole(text, ends, |ends| {
                cl100k_masks::scan(text, Rules::Cl100k, line_feed, classifier, ends);
            }),
            Pattern::O200k => cl100k_masks::scan(text, Rules::O200k, line_feed, classifier, ends),
            _ => gpt2_masks::scan(text, line_feed, classifier, ends),
        }
    }

    /// The same, one character after the other.
    fn scan_characters(&self, text: &[u8], line_feed: LineFeed, ends: impl FnMut(&[usize])) {
        match self {
            Pattern::Cl100k => one_by_one(text, |at| cl100k::piece_end(text, at, line_feed), ends),
            Pattern::Cl100kTiktoken => one_by_one(text, |at| cl100k::tiktoken_piece_end(text, at, line_feed), ends),
            Pattern::O200k => one_by_one(text, |at| o200k::piece_end(text, at, line_feed), ends),
            _ => one_by_one(text, |at| gpt2::piece_end(text, at, line_feed), ends),
        }
    }

    /// Hands the pieces of `text` to `piece`, in order.
    #[cfg(test)]
    pub(crate) fn for_each_piece<'t>(&self, text: &'t [u8], line_feed: LineFeed, mut piece: impl FnMut(&'t [u8])) {
        let mut start = 0;
        self.for_each_batch(text, line_feed, |ends| {
            for &end in ends {
                piece(&text[start..end]);
                start = end;
            }
        });
    }
}

/// Cuts `text`, which begins at `offset`, by the first of the patterns, and each piece by the others.
fn cut_in_turn(steps: &[Pattern], text: &[u8], offset: usize, line_feed: LineFeed, ends: &mut dyn FnMut(&[usize])) {
    let Some((first, others)) = steps.split_first() else { return ends(&[offset + text.len()]) };
    let mut start = 0;
    first.for_each_batch(text, line_feed, |batch| {
        for &end in batch {
            cut_in_turn(others, &text[start..end], offset + start, line_feed, ends);
            start = end;
        }
    });
}

/// Hands over the ends that `piece_end` finds, each from the one before.
fn one_by_one(text: &[u8], piece_end: impl Fn(usize) -> usize, mut ends: impl FnMut(&[usize])) {
    let mut batch = [0; BATCH];
    let (mut n, mut at) = (0, 0);
    while at < text.len() {
        at = piece_end(at);
        batch[n] = at;
        n += 1;
        if n == BATCH {
            ends(&batch);
            n = 0;
        }
    }
    ends(&batch[..n]);
}

#[cfg(test)]
mod tests {
    use std::sync::LazyLock;

    use fancy_regex::Regex;
    use proptest::prelude::*;

    use super::*;
    use crate::tokens::pretokenize::windows;

    static REGEXES: LazyLock<Vec<(Pattern, Regex)>> = LazyLock::new(|| {
        let regexes = SOURCES.into_iter().flat_map(|(pattern, sources)| {
            sources.iter().map(move |source| (pattern.clone(), Regex::new(source).unwrap()))
        });
        // Through the engine: known patterns with another spelling, and some that leave gaps.
        let custom = [
            r"(?:'s|'t|'re|'ve|'m|'ll|'d)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+",
            r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
            r" ?\p{L}+|\s+(?!\S)|\s+",
            r"\p{L}+|\s\d",
            r"[a-z]+|x+",
            // With possessive repetitions, which fancy-regex has.
            r"(?i:'s|'t)|[^\r\n\p{L}\p{N}]?+\p{L}++|\p{N}| ?[^\s\p{L}\p{N}]++[\r\n]*+|\s++$|\s*[\r\n]|\s+(?!\S)|\s",
            r" ?\p{L}++|\s++$|\s+(?!\S)|\s",
            r"'(?:[sdmt]|ll|ve|re)| ?\p{L}++| ?\p{N}++| ?[^\s\p{L}\p{N}]++|\s++$|\s+(?!\S)|\s",
        ];
        let custom = custom.map(|source| (Pattern::custom(source).unwrap(), Regex::new(source).unwrap()));
        regexes.chain(custom).collect()
    });

    /// The pieces, by all scanners there are.
    fn pieces<'t>(pattern: &Pattern, text: &'t [u8], line_feed: LineFeed) -> Vec<&'t [u8]> {
        let cut = |ends: Vec<usize>| {
            let (mut pieces, mut start) = (Vec::new(), 0);
            for end in ends {
                assert!(end > start, "a piece ends at {end} after one that ends at {start}");
                pieces.push(&text[start..end]);
                start = end;
            }
            assert_eq!(start, text.len());
            pieces
        };
        let mut all = Vec::new();
        pattern.for_each_batch(text, line_feed, |ends| all.extend_from_slice(ends));
        if pattern.is_known() {
            let mut plain = Vec::new();
            pattern.scan_characters(text, line_feed, |ends| plain.extend_from_slice(ends));
            assert_eq!(all, plain, "{pattern:?} on {:?}", String::from_utf8_lossy(text));
            for classifier in ByteClassifier::all() {
                let mut fast = Vec::new();
                pattern.scan_masks(text, line_feed, classifier, |ends| fast.extend_from_slice(ends));
                assert_eq!(fast, plain, "{pattern:?} by {classifier:?} on {:?}", String::from_utf8_lossy(text));
            }
        }
        cut(all)
    }

    /// The matches and what lies between them.
    fn regex_pieces<'t>(regex: &Regex, text: &'t str) -> Vec<&'t [u8]> {
        let (mut pieces, mut at) = (Vec::new(), 0);
        for found in regex.find_iter(text).map(Result::unwrap).filter(|found| !found.as_str().is_empty()) {
            pieces.push(&text[at..found.start()]);
            pieces.push(found.as_str());
            at = found.end();
        }
        pieces.push(&text[at..]);
        pieces.into_iter().filter(|piece| !piece.is_empty()).map(str::as_bytes).collect()
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
        #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn pieces_are_those_of_the_regexes(text in hostile_text()) {
            for (pattern, regex) in &*REGEXES {
                let bytes = text.as_bytes();
                prop_assert_eq!(pieces(pattern, bytes, LineFeed::Within), regex_pieces(regex, &text), "{:?}", pattern);
                let by_line: Vec<&[u8]> = text.split_inclusive('\n').flat_map(|line| regex_pieces(regex, line)).collect();
                prop_assert_eq!(pieces(pattern, bytes, LineFeed::Ends), by_line, "{:?}", pattern);
            }
        }

        #[test]
        fn pieces_join_up_to_any_bytes(text in prop::collection::vec(any::<u8>(), 0..300)) {
            for (pattern, _) in &*REGEXES {
                prop_assert_eq!(pieces(pattern, &text, LineFeed::Within).concat(), text.clone());
                prop_assert_eq!(pieces(pattern, &text, LineFeed::Ends).concat(), text.clone());
            }
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
            for (pattern, regex) in REGEXES.iter().filter(|(pattern, _)| !matches!(pattern, Pattern::Custom(_))) {
                let expected = regex_pieces(regex, &decoded);
                let expected: Vec<usize> =
                    expected.into_iter().map(|piece| String::from_utf8_lossy(piece).chars().count()).collect();
                prop_assert_eq!(characters(pieces(pattern, &text, LineFeed::Within)), expected);
            }
        }
    }

    /// Whatever decides something, at every place around the ends of blocks and windows.
    #[test]
    fn pieces_do_not_depend_on_where_blocks_and_windows_end() {
        let cores = [
            "don't",
            "we'll've",
            " 's",
            "''re",
            "'r",
            "'",
            "x' ",
            "a  b",
            " \n b",
            "\n\n",
            "\u{3000}\u{A0} c",
            "é中",
            "中 文",
            "1a!",
            "a\u{2028}",
            "\u{A0}",
            "😀'm😀",
            "I'm's",
            "-'s--a",
            "1234567",
            "٣٣٣٣",
            "!\r\n \n x",
            " \r \r\n\t -a",
            "!\n/a",
            "aBc中Dé",
            "e\u{301}A",
        ];
        for core in cores {
            for filler in ["a", " ", "中", ".", "\u{3000}", "\n", "7"] {
                for around in [64, windows::WINDOW] {
                    for start in around - 12..around + 3 {
                        let mut text = filler.repeat(start / filler.len());
                        text.push_str(core);
                        for tail in ["", "b", " ", "\n  z"] {
                            let text = format!("{text}{tail}");
                            for pattern in [Pattern::Gpt2, Pattern::Cl100k, Pattern::Cl100kTiktoken, Pattern::O200k] {
                                pieces(&pattern, text.as_bytes(), LineFeed::Within);
                                pieces(&pattern, text.as_bytes(), LineFeed::Ends);
                                // And with bytes missing at the front, so that characters are cut.
                                pieces(&pattern, &text.as_bytes()[1..], LineFeed::Within);
                            }
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn a_sentence_is_cut_before_spaces_and_apostrophes() {
        let text = "I can't wait: 12 more  days!\n";
        let expected = ["I", " can", "'t", " wait", ":", " 12", " more", " ", " days", "!", "\n"];
        assert_eq!(pieces(&Pattern::Gpt2, text.as_bytes(), LineFeed::Within), expected.map(str::as_bytes));
        let expected = ["I", " can", "'t", " wait", ":", " ", "12", " more", " ", " days", "!\n"];
        assert_eq!(pieces(&Pattern::Cl100k, text.as_bytes(), LineFeed::Within), expected.map(str::as_bytes));
        assert_eq!(pieces(&Pattern::Cl100k, "wordGrove's".as_bytes(), LineFeed::Within), [&b"wordGrove"[..], b"'s"]);
        let o200k = pieces(&Pattern::O200k, "wordGrove's ÉCLAIRs 2000".as_bytes(), LineFeed::Within);
        assert_eq!(o200k, ["word", "Grove's", " ÉCLAIRs", " ", "200", "0"].map(str::as_bytes));
    }

    #[test]
    fn patterns_that_would_take_too_long_or_too_much_are_refused() {
        for source in
            ["(?=a)b", "a++a", r"[^\p{N}]?+a", r"\p{N}{1,3}+", r"(a)\1", "(?:a{1000}){1000}", "(", r"\p{Nonsense}"]
        {
            let error = Pattern::custom(source).unwrap_err().to_string();
            assert!(error.starts_with("pattern: cannot use the pattern"), "{error}");
        }
    }

    #[test]
    fn patterns_cut_one_after_the_other() {
        let steps =
            [r"\p{N}{1,3}", "[一-龥]+", r" ?\p{L}+|\s+(?!\S)|\s+"].map(|source| Pattern::custom(source).unwrap());
        let pattern = Pattern::sequence(steps.clone());
        let text = "in 12345 年前  x\n".as_bytes();
        let expected = ["in", " ", "123", "45", " ", "年前", " ", " x", "\n"];
        assert_eq!(pieces(&pattern, text, LineFeed::Within), expected.map(str::as_bytes));
        assert_eq!(pieces(&pattern, text, LineFeed::Ends), expected.map(str::as_bytes));
        assert_eq!(pattern.steps(), steps);
        assert_eq!(Pattern::sequence([Pattern::O200k, Pattern::Whole]), Pattern::O200k);
        assert_eq!(Pattern::sequence([]), Pattern::Whole);
        assert_eq!(Pattern::sequence([pattern.clone(), Pattern::Gpt2]).steps().len(), 4);
        assert!(pieces(&pattern, b"", LineFeed::Within).is_empty());
    }

    #[test]
    fn tiktokens_patterns_are_known_but_for_the_one_that_others_read_differently() {
        let gpt2 = r"'(?:[sdmt]|ll|ve|re)| ?\p{L}++| ?\p{N}++| ?[^\s\p{L}\p{N}]++|\s++$|\s+(?!\S)|\s";
        assert_eq!(Pattern::custom(gpt2).unwrap(), Pattern::Gpt2);
        let cl100k = r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}++|\p{N}{1,3}+| ?[^\s\p{L}\p{N}]++[\r\n]*+|\s++$|\s*[\r\n]|\s+(?!\S)|\s";
        assert!(Pattern::custom(cl100k).unwrap_err().to_string().contains("{1,3}+"));
        let agreed = cl100k.replace("{1,3}+", "{1,3}");
        assert_eq!(Pattern::custom(&agreed).unwrap(), Pattern::Cl100kTiktoken);
    }

    #[test]
    fn the_sources_of_known_patterns_lead_back_to_them() {
        for (pattern, sources) in SOURCES {
            assert_eq!(pattern.source(), Some(sources[0]));
            for source in sources {
                assert_eq!(Pattern::custom(source).unwrap(), pattern);
            }
        }
    }
}
