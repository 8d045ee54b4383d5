//! `tokenizer.json` → tokenizer.
//!
//! The file is cut into its parts first, and each part is read by itself, so that a message can name it.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::model::{read_bpe, read_words};
use super::normalizer::read_normalizer;
use super::post_processor::read_frame;
use super::splitting::{read_bpe_splitting, read_word_splitting};
use super::vocab::for_each_entry;
use crate::text::Normalizer;
use crate::tokens::open::without_bom;
use crate::tokens::{TokenId, Tokenizer};

/// Reads a file; the error says what in it cannot be used.
pub(in crate::tokens) fn read(json: &[u8]) -> Result<Tokenizer, String> {
    read_parts(json).map_err(shortened)
}

/// A message from which the middle is left out where it is too long: it may quote what the file has, of any length.
pub(super) fn shortened(mut message: String) -> String {
    const MOST: usize = 1000;
    if message.len() > MOST {
        let (start, end) =
            (message.floor_char_boundary(MOST / 2), message.ceil_char_boundary(message.len() - MOST / 2));
        message.replace_range(start..end, " … ");
        message.shrink_to_fit();
    }
    message
}

fn read_parts(json: &[u8]) -> Result<Tokenizer, String> {
    let json = without_bom(json);
    let json = std::str::from_utf8(json).map_err(|error| format!("is not UTF-8: {error}"))?;
    let file: File = serde_json::from_str(json).map_err(|error| {
        match for_each_entry(json, |error| error.to_string(), |_, _| Ok(())) {
            Ok(()) => "is a vocabulary without merges: give the folder that holds it and its merges.txt".to_string(),
            Err(_) => format!("is no tokenizer.json: {error}"),
        }
    })?;
    if let Some(version) = file.version.as_deref()
        && !["1.0", "2.0"].contains(&version)
    {
        return Err(format!("has version {version:?}, expected \"1.0\" or \"2.0\""));
    }
    for (name, part) in [("truncation", file.truncation), ("padding", file.padding)] {
        if part.is_some() {
            return Err(format!("asks for {name}, which is not done here; set it to null"));
        }
    }
    let normalizer = match file.normalizer {
        None => Normalizer::default(),
        Some(part) => read_normalizer(parse("normalizer", part)?)?,
    };
    let added: Vec<Added> = file.added_tokens.map_or(Ok(Vec::new()), |part| parse("added_tokens", part))?;
    let kind: ModelKind = parse("model", file.model)?;
    let mut tokenizer = match (kind.r#type.as_deref(), kind.merges.is_some()) {
        (Some("BPE"), _) | (None, true) => {
            // Files of version 1.0 say it with their pre-tokenizer.
            let is_byte_level = kind.byte_level == Some(true) && file.version.as_deref() == Some("2.0");
            let pattern = read_bpe_splitting(file.pre_tokenizer, file.decoder, is_byte_level)?;
            let (bpe, added) = read_bpe(file.model, &added, pattern, normalizer)?;
            Tokenizer::from_bpe(bpe, added, normalizer)
        }
        (Some("WordLevel"), _) => {
            let split = read_word_splitting(file.pre_tokenizer, file.decoder)?;
            let (words, added) = read_words(file.model, &added, split, normalizer)?;
            Tokenizer::from_word_model(words, added, normalizer)
        }
        (Some(kind), _) => return Err(format!("has a model of type {kind:?}, expected \"BPE\" or \"WordLevel\"")),
        (None, false) => return Err("has a model without a type, expected \"BPE\" or \"WordLevel\"".into()),
    };
    let is_used = |id: TokenId| id.index() < tokenizer.n_tokens() && !tokenizer.is_unused(id);
    tokenizer.frame = read_frame(file.post_processor, is_used)?;
    Ok(tokenizer)
}

/// The parts of a file; `null` reads as `None`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File<'a> {
    version: Option<String>,
    #[serde(borrow)]
    truncation: Option<&'a RawValue>,
    padding: Option<&'a RawValue>,
    added_tokens: Option<&'a RawValue>,
    normalizer: Option<&'a RawValue>,
    pre_tokenizer: Option<&'a RawValue>,
    post_processor: Option<&'a RawValue>,
    decoder: Option<&'a RawValue>,
    model: &'a RawValue,
}

pub(super) fn parse<'a, T: Deserialize<'a>>(part: &str, json: &'a RawValue) -> Result<T, String> {
    serde_json::from_str(json.get()).map_err(|error| in_part(part, error))
}

/// serde's message, whose line and column count from the beginning of the part.
pub(super) fn in_part(part: &str, error: serde_json::Error) -> String {
    format!("cannot use its {part}: {error} of the {part}")
}

/// A token that is not made by the model.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Added<'a> {
    pub(super) id: u64,
    #[serde(borrow)]
    pub(super) content: Cow<'a, str>,
    #[serde(default)]
    pub(super) single_word: bool,
    #[serde(default)]
    pub(super) lstrip: bool,
    #[serde(default)]
    pub(super) rstrip: bool,
    pub(super) normalized: Option<bool>,
    pub(super) special: bool,
}

/// What decides how the model is read.
#[derive(Deserialize)]
struct ModelKind<'a> {
    r#type: Option<String>,
    byte_level: Option<bool>,
    #[serde(borrow)]
    merges: Option<&'a RawValue>,
}

#[cfg(test)]
mod tests {
    use crate::tokens::Tokenizer;
    use crate::tokens::tokenizer_json::sample::{cut, file, refused, template};
    use std::path::Path;

    #[test]
    fn hostile_files_are_refused_with_the_reason() {
        // A12
        let ok = file("", "[]", "");
        assert!(Tokenizer::from_json(ok.as_bytes(), Path::new("t.json")).is_ok());
        let added = |token: &str| {
            format!(r#","added_tokens":[{{{}}}]"#, token.replace(r#""content""#, r#""special":true,"content""#))
        };
        let bytes_first = r#"{"type":"ByteLevel","add_prefix_space":false},{"type":"Digits"}"#;
        let bytes = r#"{"type":"ByteLevel","add_prefix_space":false}"#;
        let around = r#"[{"SpecialToken":{"id":"x","type_id":0}},{"Sequence":{"id":"A","type_id":0}}]"#;
        let cases = [
            (file("", r#"[["a","b"]]"#, ""), r#"needs the token "ab""#),
            (file("", r#"[["a","xyz"]]"#, ""), r#"needs the token "xyz""#),
            (file(r#","ab":256"#, r#"["a b c"]"#, ""), "is not two tokens"),
            (file(r#","ab":256"#, r#"[["a","b","c"]]"#, ""), "merges"),
            (file(r#","ab":256,"ab":257"#, "[]", ""), r#"token "ab" twice"#),
            (file(r#","ab":255"#, "[]", ""), "the id 255 to two tokens"),
            (file(r#","ab":1000"#, "[]", ""), "the id 1000, but has only 257 tokens"),
            (file(r#","ab":4000000000"#, "[]", ""), "id 4000000000"),
            (file(r#","ab":18446744073709551615"#, "[]", ""), "id 18446744073709551615"),
            (file(r#","ab":-1"#, "[]", ""), "vocab"),
            (file(r#","ab":"256""#, "[]", ""), "vocab"),
            (file(r#","a b":256"#, "[]", ""), "byte-level alphabet"),
            (file("", r#"["a b"]"#, &added(r#""id":256,"content":"ab""#)), r#"needs the token "ab""#),
            (file("", "[]", &added(r#""id":256,"content":"q"},{"id":257,"content":"q""#)), "twice"),
            (file("", "[]", &added(&format!(r#""id":256,"content":"{}""#, "x".repeat(1025)))), "1025 bytes"),
            (file("", r#""ab""#, ""), "merges"),
            (file("", "{}", ""), "merges"),
            (file("", "[1]", ""), "merges"),
            (file("", "[]", r#","extra":1"#), "unknown field `extra`"),
            (file("", "[]", r#","padding":{}"#), "padding"),
            (file("", "[]", r#","truncation":{"max_length":0}"#), "truncation"),
            (file("", "[]", r#","normalizer":{"type":"StripAccents"}"#), "StripAccents"),
            (file("", "[]", r#","decoder":{"type":"WordPiece"}"#), "WordPiece"),
            (file("", "[]", r#","added_tokens":[{"id":3,"content":"xy","special":true}]"#), "the id 3 to two tokens"),
            (file("", "[]", r#","added_tokens":{}"#), "added_tokens"),
            (ok.replace("\"1.0\"", "\"3.0\""), "version \"3.0\""),
            // Only version 2.0 has it.
            (
                ok.replace(bytes, "null").replace("\"BPE\"", "\"BPE\",\"byte_level\":true"),
                "without ByteLevel pre_tokenizer",
            ),
            (ok.replace(r#","add_prefix_space":false"#, ""), "add_prefix_space"),
            (r#"{"!": 0, "\"": 1}"#.into(), "give the folder that holds it and its merges.txt"),
            (ok.replace("\"1.0\"", "1"), "no tokenizer.json"),
            (ok.replace("ByteLevel", "Metaspace"), "Metaspace"),
            (cut(r#"{"type":"Split","pattern":{"Regex":"a$"},"behavior":"Isolated","invert":false}"#), "end of a line"),
            (cut(r#"{"type":"Split","pattern":{"Regex":"a"},"behavior":"Removed","invert":false}"#), "Removed"),
            (cut(r#"{"type":"Punctuation","behavior":"MergedWithNext"}"#), "MergedWithNext"),
            (cut(bytes_first), "behind ByteLevel"),
            (cut(&[r#"{"type":"Digits"}"#; 16].join(",")), "17 steps"),
            (file("", "[]", r#","post_processor":{"type":"Surprise"}"#), "Surprise"),
            (file("", "[]", &template(r#"[{"Sequence":{"id":"B","type_id":0}}]"#, 3)), "\"B\""),
            (file("", "[]", &template(r#"[{"SpecialToken":{"id":"x","type_id":0}}]"#, 3)), "0 times"),
            (
                file("", "[]", &template(r#"[{"SpecialToken":{"id":"y","type_id":0}}]"#, 3)),
                "does not say which ids \"y\"",
            ),
            (file("", "[]", &template(around, 256)), "the id 256 beside a text"),
            (file("", "[]", &template(around, 1 << 40)), "the id 1099511627776"),
            (file(r#","ab":300"#, "[]", &template(around, 299)), "the id 299 beside a text"),
            (ok.replace("\"BPE\"", "\"Unigram\""), "Unigram"),
            (ok.replace("\"a\":64,", ""), "byte 0x61"),
            (ok.replace("\"a\":64", "\"aa\":64"), "byte 0x61"),
            (ok.replace("\"BPE\"", "\"BPE\",\"dropout\":0.1"), "dropout"),
            (ok.replace("\"BPE\"", "\"BPE\",\"end_of_word_suffix\":\"</w>\""), "end_of_word_suffix"),
            (ok.replace("\"BPE\"", "\"BPE\",\"surprise\":1"), "surprise"),
            (ok[..ok.len() / 2].to_string(), "no tokenizer.json"),
            (String::new(), "no tokenizer.json"),
            ("[]".into(), "no tokenizer.json"),
            ("[".repeat(1_000_000), "no tokenizer.json"),
            (
                file("", "[]", &format!(r#","normalizer":{}1{}"#, "[".repeat(100_000), "]".repeat(100_000))),
                "normalizer",
            ),
            (file("", &format!("{}1{}", "[".repeat(100_000), "]".repeat(100_000)), ""), "merges"),
        ];
        for (json, reason) in cases {
            let error = refused(&json);
            assert!(error.contains(reason), "{error:?} does not say {reason:?}");
        }
        assert!(Tokenizer::from_json(b"\xFF\xFE{\0", Path::new("t.json")).unwrap_err().to_string().contains("UTF-8"));
    }

    #[test]
    fn a_byte_order_mark_is_passed_over() {
        let json = format!("\u{FEFF}{}", file("", "[]", ""));
        assert!(Tokenizer::from_json(json.as_bytes(), Path::new("t.json")).is_ok());
    }

    #[test]
    fn messages_do_not_repeat_a_file() {
        let long = "x".repeat(100_000);
        let cases = [
            file("", &format!("{long:?}"), ""),
            file(&format!(",{long:?}:{long:?}"), "[]", ""),
            file(&format!(",{long:?}:7"), "[]", ""),
            file("", "[]", &format!(r#","version":{long:?}"#)),
            file("", "[]", &format!(r#","post_processor":{long:?}"#)),
        ];
        for json in cases {
            assert!(refused(&json).len() < 1100);
        }
    }

    #[test]
    fn every_beginning_of_a_file_is_refused() {
        let json = file(r#","ab":256"#, r#"[["a","b"]]"#, "");
        for end in 0..json.len() {
            if json.is_char_boundary(end) {
                assert!(Tokenizer::from_json(&json.as_bytes()[..end], Path::new("t.json")).is_err());
            }
        }
    }
}
