//! Any bytes are a tokenizer.json or an error, and what is read can be used and written. The first byte says whether the rest
//! is the file itself, or how to build one; see `skeleton`.
#![no_main]

mod skeleton;

use std::path::Path;

use libfuzzer_sys::fuzz_target;
use serde_json::{Value, json};
use skeleton::{Skeleton, byte, field};
use wordgrove::tokens::SpecialTokens;
use wordgrove::{TokenId, Tokenizer};

/// Pre-tokenizers before the one for bytes.
const SPLITS: [&str; 8] = [
    "",
    r#"{"type": "Digits", "individual_digits": true}"#,
    r#"{"type": "Punctuation", "behavior": "Contiguous"}"#,
    r#"{"type": "Split", "pattern": {"Regex": "\\p{N}{1,3}"}, "behavior": "Isolated", "invert": false}"#,
    r#"{"type": "Split", "pattern": {"Regex": " ?\\p{L}+|\\s+(?!\\S)|\\s+"}, "behavior": "Isolated", "invert": false}"#,
    r#"{"type": "Split", "pattern": {"String": "a"}, "behavior": "Isolated", "invert": false}"#,
    concat!(
        r#"{"type": "Split", "pattern": {"Regex": "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}"#,
        r#"| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"}, "behavior": "Isolated", "invert": false}"#
    ),
    r#"{"type": "Split", "pattern": {"Regex": "\\d+\\n|\\d"}, "behavior": "Isolated", "invert": false}"#,
];

const NORMALIZERS: [&str; 4] = [
    "null",
    r#"{"type": "Lowercase"}"#,
    r#"{"type": "NFC"}"#,
    r#"{"type": "Sequence", "normalizers": [{"type": "NFKC"}, {"type": "Lowercase"}]}"#,
];

fuzz_target!(|data: &[u8]| {
    let mut data = data;
    let settings = byte(&mut data);
    if settings & 3 == 0 {
        check(data, data, false);
    } else if settings & 3 == 1 {
        let file = around_parts(&mut data);
        check(file.as_bytes(), data, false);
    } else {
        let (file, gives_back) = around_merges(settings, &mut data);
        check(file.to_string().as_bytes(), data, gives_back);
    }
});

/// A file in which the parts themselves are any text.
fn around_parts(data: &mut &[u8]) -> String {
    let vocab = Value::from(Skeleton::grow(&mut &[][..]).vocab()).to_string();
    let mut part = |otherwise: &str| match String::from_utf8_lossy(field(data)) {
        part if part.is_empty() => otherwise.to_string(),
        part => part.into_owned(),
    };
    format!(
        r#"{{"version": "1.0", "added_tokens": [{}], "normalizer": {}, "pre_tokenizer": {}, "post_processor": {}, "decoder": {},
            "model": {{"type": "BPE", {} "vocab": {}{}}}, "merges": [{}]}}}}"#,
        part(""),
        part("null"),
        part(r#"{"type": "ByteLevel", "add_prefix_space": false}"#),
        part("null"),
        part("null"),
        part(""),
        &vocab[..vocab.len() - 1],
        part(""),
        part(""),
    )
}

/// A file that can be read, most likely; and whether it gives every text back.
fn around_merges(settings: u8, data: &mut &[u8]) -> (Value, bool) {
    let parsed = |text: &str| serde_json::from_str::<Value>(text).expect("written above");
    let (split, normalizer) = (settings >> 2 & 7, settings >> 5 & 3);
    let skeleton = Skeleton::grow(data);
    let more = byte(data);
    let mut added = Vec::new();
    for id in 0..more & 3 {
        let flags = byte(data);
        let flag = |bit: u8| flags >> bit & 1 == 1;
        // Without angle brackets they might be what merges make.
        let content = format!("<{}>", String::from_utf8_lossy(field(data)));
        added.push(json!({
            "id": skeleton.tokens.len() + usize::from(id), "content": content, "single_word": flag(0), "lstrip": flag(1),
            "rstrip": flag(2), "normalized": flag(3), "special": flag(4),
        }));
    }
    let gives_back = normalizer == 0 && added.iter().all(|token| token["special"] == true);
    let mut steps: Vec<Value> = Vec::new();
    if split > 0 {
        steps.push(parsed(SPLITS[usize::from(split)]));
    }
    steps.push(
        json!({"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": more >> 2 & 1 == 1}),
    );
    let mut merges: Vec<Value> = skeleton.spelled_merges().into_iter().map(Value::from).collect();
    if more >> 3 & 1 == 1 {
        merges.iter_mut().for_each(|merge| *merge = merge.as_str().expect("just made").split(' ').collect());
    }
    let file = json!({
        "version": "1.0", "truncation": null, "padding": null, "added_tokens": added,
        "normalizer": parsed(NORMALIZERS[usize::from(normalizer)]),
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": steps}, "post_processor": null,
        "decoder": {"type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true, "use_regex": true},
        "model": {
            "type": "BPE", "dropout": null, "unk_token": null, "continuing_subword_prefix": null, "end_of_word_suffix": null,
            "fuse_unk": false, "byte_fallback": false, "ignore_merges": more >> 4 & 1 == 1, "vocab": skeleton.vocab(),
            "merges": merges,
        },
    });
    (file, gives_back)
}

/// Reads a file and uses it; `gives_back`: it is known that texts come back as they are.
fn check(json: &[u8], text: &[u8], gives_back: bool) {
    let Ok(tokenizer) = Tokenizer::from_json(json, Path::new("fuzz")) else { return };
    let ids = tokenizer.encode_with(text, SpecialTokens::Framed);
    tokenizer.decode(&ids).expect("its own ids are in the vocabulary");
    let plain = tokenizer.encode(text);
    if gives_back {
        assert_eq!(tokenizer.decode(&plain).expect("its own ids"), text);
    }
    let encoded = tokenizer.encode_with_offsets(text, SpecialTokens::AsText);
    assert!(encoded.tokens.iter().map(|token| token.id).eq(plain));
    assert!(encoded.tokens.iter().all(|token| token.range.end <= encoded.text.len()));
    let written = tokenizer.to_json();
    let again = Tokenizer::from_json(written.as_bytes(), Path::new("again")).expect("what is written can be read");
    assert_eq!(again.to_json(), written);
    assert_eq!(again.encode_with(text, SpecialTokens::Framed), ids);
    for id in (0..tokenizer.n_tokens() as u32).map(TokenId) {
        assert_eq!(tokenizer.decode(&[id]).is_err(), tokenizer.is_unused(id));
    }
}
