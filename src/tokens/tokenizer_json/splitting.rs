//! `pre_tokenizer` and `decoder` → how text is cut.
//!
//! In: these parts of a file. Out: a [`Pattern`] for a BPE, a [`WordSplit`] for words.

use serde::Deserialize;
use serde_json::value::RawValue;

use super::read::parse;
use crate::tokens::Pattern;
use crate::tokens::words::WordSplit;

/// A pre-tokenizer.
#[derive(Deserialize)]
#[serde(tag = "type", deny_unknown_fields)]
enum PreTokenizer {
    ByteLevel {
        add_prefix_space: bool,
        #[serde(rename = "trim_offsets")]
        _trim_offsets: Option<bool>,
        use_regex: Option<bool>,
    },
    Split {
        pattern: SplitPattern,
        behavior: String,
        #[serde(default)]
        invert: bool,
    },
    Sequence {
        pretokenizers: Vec<PreTokenizer>,
    },
    Digits {
        #[serde(default)]
        individual_digits: bool,
    },
    Punctuation {
        behavior: Option<String>,
    },
    Whitespace {},
    WhitespaceSplit {},
}

#[derive(Deserialize)]
enum SplitPattern {
    Regex(String),
    String(String),
}

/// The most steps of a pre-tokenizer; known files have up to five.
const MAX_STEPS: usize = 16;

/// The characters of the pre-tokenizer `Punctuation`: ASCII's, some of which Unicode calls symbols, and Unicode's. Hugging
/// Face has the list of an older Unicode, to which later punctuation does not belong and two other characters do.
const PUNCTUATION: &str = concat!(
    r"[!-/:-@\[-`{-~\p{P}\x{166D}\x{111C9}&&[^\x{61D}\x{9FD}\x{A76}\x{C77}\x{C84}\x{1B4E}\x{1B4F}\x{1B7D}-\x{1B7F}",
    r"\x{2E43}-\x{2E4F}\x{2E52}-\x{2E5D}\x{10D6E}\x{10EAD}\x{10F55}-\x{10F59}\x{10F86}-\x{10F89}\x{113D4}\x{113D5}",
    r"\x{113D7}\x{113D8}\x{1144B}-\x{1144F}\x{1145A}\x{1145B}\x{1145D}\x{11660}-\x{1166C}\x{116B9}\x{1183B}",
    r"\x{11944}-\x{11946}\x{119E2}\x{11A3F}-\x{11A46}\x{11A9A}-\x{11A9C}\x{11A9E}-\x{11AA2}\x{11B00}-\x{11B09}",
    r"\x{11BE1}\x{11C41}-\x{11C45}\x{11C70}\x{11C71}\x{11EF7}\x{11EF8}\x{11F43}-\x{11F4F}\x{11FFF}\x{12FF1}",
    r"\x{12FF2}\x{16D6D}-\x{16D6F}\x{16E97}-\x{16E9A}\x{16FE2}\x{1E5FF}\x{1E95E}\x{1E95F}]]",
);

/// The characters of the pre-tokenizer `Digits`, which is of a newer Unicode.
const NUMBER: &str = r"[\p{N}\x{11DE0}-\x{11DE9}\x{16FF4}-\x{16FF6}]";

/// What a pre-tokenizer of a BPE amounts to: cuts by patterns, then bytes.
pub(super) fn read_bpe_splitting(
    pre_tokenizer: Option<&RawValue>,
    decoder: Option<&RawValue>,
    mut is_byte_level: bool,
) -> Result<Pattern, String> {
    let steps = match pre_tokenizer.map(|part| parse("pre_tokenizer", part)).transpose()? {
        None => Vec::new(),
        Some(PreTokenizer::Sequence { pretokenizers }) => pretokenizers,
        Some(step) => vec![step],
    };
    let custom = |source: &str| Pattern::custom(source).map_err(|error| format!("cannot use its {error}"));
    if steps.len() > MAX_STEPS {
        return Err(format!("has a pre_tokenizer of {} steps, at most {MAX_STEPS} are done here", steps.len()));
    }
    let mut patterns = Vec::new();
    let mut is_spelled = false;
    for step in steps {
        if is_spelled {
            return Err("has a pre_tokenizer that goes on behind ByteLevel, where the text is spelled in another \
                alphabet; that is not done here"
                .into());
        }
        let source = match step {
            PreTokenizer::ByteLevel { add_prefix_space: true, .. } => {
                return Err("has a pre_tokenizer with add_prefix_space, which is not done here".into());
            }
            PreTokenizer::ByteLevel { use_regex, .. } => {
                (is_byte_level, is_spelled) = (true, true);
                if use_regex != Some(false) {
                    patterns.push(Pattern::Gpt2);
                }
                continue;
            }
            PreTokenizer::Split { pattern, behavior, invert } => {
                let pattern = match pattern {
                    SplitPattern::Regex(source) => custom(&source)?,
                    SplitPattern::String(text) => custom(&regex_syntax::escape(&text))?,
                };
                // Between the matches of the patterns that are known there is nothing, so they may as well be removed.
                let keeps_all = behavior == "Isolated" && !invert
                    || behavior == "Removed" && invert && !matches!(pattern, Pattern::Custom(_));
                if !keeps_all {
                    let how = if invert { ", inverted" } else { "" };
                    return Err(format!("has a Split with behavior {behavior:?}{how}, expected \"Isolated\""));
                }
                patterns.push(pattern);
                continue;
            }
            PreTokenizer::Digits { individual_digits: true } => NUMBER.to_string(),
            PreTokenizer::Digits { individual_digits: false } => format!("{NUMBER}+"),
            PreTokenizer::Punctuation { behavior } => match behavior.as_deref() {
                None | Some("Isolated") => PUNCTUATION.to_string(),
                Some("Contiguous") => format!("{PUNCTUATION}+"),
                Some(other) => {
                    return Err(format!(
                        "has a Punctuation with behavior {other:?}, expected \"Isolated\" or \"Contiguous\""
                    ));
                }
            },
            PreTokenizer::Sequence { .. } | PreTokenizer::Whitespace {} | PreTokenizer::WhitespaceSplit {} => {
                return Err("has a pre_tokenizer for a BPE other than ByteLevel, Split, Digits and Punctuation".into());
            }
        };
        patterns.push(custom(&source)?);
    }
    if !is_byte_level {
        return Err("has a BPE without ByteLevel pre_tokenizer: only byte-level BPE is done here".into());
    }
    read_decoder(decoder, Some("ByteLevel"))?;
    Ok(Pattern::sequence(patterns))
}

pub(super) fn read_word_splitting(
    pre_tokenizer: Option<&RawValue>,
    decoder: Option<&RawValue>,
) -> Result<WordSplit, String> {
    let split = match pre_tokenizer.map(|part| parse("pre_tokenizer", part)).transpose()? {
        Some(PreTokenizer::Whitespace {}) => WordSplit::Words,
        Some(PreTokenizer::WhitespaceSplit {}) => WordSplit::WhiteSpace,
        _ => return Err("has whole words without a pre_tokenizer Whitespace or WhitespaceSplit".into()),
    };
    read_decoder(decoder, None)?;
    Ok(split)
}

fn read_decoder(decoder: Option<&RawValue>, allowed: Option<&str>) -> Result<(), String> {
    let Some(decoder) = decoder else { return Ok(()) };
    let step: Decoder = parse("decoder", decoder)?;
    if allowed == Some(step.r#type.as_str()) {
        return Ok(());
    }
    Err(format!("has a decoder of type {:?}, expected {}", step.r#type, allowed.unwrap_or("none")))
}

#[derive(Deserialize)]
struct Decoder {
    r#type: String,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tokens::TokenId;
    use crate::tokens::pretokenize::LineFeed;
    use crate::tokens::tokenizer_json::sample::{accepted, cut, file};

    #[test]
    fn splits_whole_pieces_and_version_2_are_read() {
        let split = r#"{"type":"Split","pattern":{"Regex":" ?[a-z]+"},"behavior":"Isolated","invert":false}"#;
        let bare = r#"{"type":"ByteLevel","add_prefix_space":false}"#;
        let unsplit = r#"{"type":"ByteLevel","add_prefix_space":false,"use_regex":false}"#;
        let first = file(r#","ab":256,"bc":257,"abc":258"#, r#"["b c","a bc"]"#, "");
        let two = first.replace(bare, split).replace("\"1.0\"", "\"2.0\"");
        let two = two.replace("\"type\":\"BPE\"", "\"type\":\"BPE\",\"byte_level\":true");
        let one = first.replace(bare, &format!(r#"{{"type":"Sequence","pretokenizers":[{split},{unsplit}]}}"#));
        for json in [one, two] {
            let tokenizer = accepted(&json);
            assert_eq!(tokenizer.encode(b"abc"), [TokenId(258)]);
            assert_eq!(accepted(&tokenizer.to_json()).to_json(), tokenizer.to_json());
        }
        let whole =
            first.replace(bare, unsplit).replace("\"abc\"", "\"b Ġ\"").replace("a bc", "bc Ġ").replace("b Ġ", "bcĠ");
        let tokenizer = accepted(&whole);
        assert_eq!(tokenizer.encode(b"bc "), [TokenId(258)]);
        // ab is no merge, but it is a token.
        let ignoring = first.replace("\"type\":\"BPE\"", "\"type\":\"BPE\",\"ignore_merges\":true");
        let tokenizer = accepted(&ignoring);
        assert_eq!((tokenizer.encode(b"ab").len(), tokenizer.encode(b"abb").len()), (1, 3));
        assert!(tokenizer.to_json().contains("\"ignore_merges\": true"));
    }

    #[test]
    fn several_cuts_are_read_and_written() {
        let steps = concat!(
            r#"{"type":"Digits","individual_digits":true},{"type":"Punctuation","behavior":"Contiguous"},"#,
            r#"{"type":"Split","pattern":{"String":"."},"behavior":"Isolated","invert":false},"#,
            r#"{"type":"Split","pattern":{"Regex":" ?\\p{L}+|\\s+(?!\\S)|\\s+"},"behavior":"Isolated","invert":false}"#
        );
        let json = cut(steps).replace(r#""merges":[]"#, r#""merges":["1 2","! !","a b","Ġ ab"]"#);
        let json = json.replace(r#""vocab":{"#, r#""vocab":{"12":256,"!!":257,"ab":258,"Ġab":259,"#);
        let tokenizer = accepted(&json);
        let ids = |id: &[u32]| id.iter().copied().map(TokenId).collect::<Vec<_>>();
        assert_eq!(tokenizer.encode(b"12!! ab"), [ids(&[16, 17, 257]), ids(&[259])].concat());
        let again = accepted(&tokenizer.to_json());
        assert_eq!(again.to_json(), tokenizer.to_json());
        assert_eq!(again.encode(b"12!! ab"), tokenizer.encode(b"12!! ab"));
    }

    /// How many characters are cut out of what is around them, and the sum of their numbers, so that the list is known.
    #[test]
    fn punctuation_and_digits_are_those_of_hugging_face() {
        // By tokenizers 0.23: Punctuation("isolated") and Digits(individual_digits = True) on "a", the character, "b".
        for (pattern, n, sum) in [(PUNCTUATION, 726, 20_675_981), (NUMBER, 1924, 111_666_371)] {
            let pattern = Pattern::custom(pattern).unwrap();
            let is_cut = |character: &char| {
                let text = format!("a{character}b");
                let mut n_ends = 0;
                pattern.for_each_batch(text.as_bytes(), LineFeed::Within, |ends| n_ends += ends.len());
                n_ends > 1
            };
            let cut: Vec<u64> = ('\0'..=char::MAX).filter(is_cut).map(|character| character as u64).collect();
            assert_eq!((cut.len(), cut.iter().sum::<u64>()), (n, sum));
        }
    }
}
