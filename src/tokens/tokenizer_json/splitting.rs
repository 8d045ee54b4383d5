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
const MAX_CUTS: usize = 16;

/// The characters of the pre-tokenizer `Punctuation`: ASCII's, some of which Unicode calls symbols, and Unicode's.
const PUNCTUATION: &str = r"[!-/:-@\[-`{-~\p{P}]";

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
    if steps.len() > MAX_CUTS {
        return Err(format!("has a pre_tokenizer of {} steps, at most {MAX_CUTS} are done here", steps.len()));
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
                    SplitPattern::String(text) => custom(&regex::escape(&text))?,
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
            PreTokenizer::Digits { individual_digits: true } => r"\p{N}".to_string(),
            PreTokenizer::Digits { individual_digits: false } => r"\p{N}+".to_string(),
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
    use crate::tokens::TokenId;
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
}
