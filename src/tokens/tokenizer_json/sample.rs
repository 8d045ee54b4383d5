//! Small files for the tests of this folder.

use std::path::Path;

use super::write::quoted;
use crate::tokens::{Tokenizer, byte_alphabet};

/// Read without a complaint.
pub(super) fn accepted(json: &str) -> Tokenizer {
    Tokenizer::from_json(json.as_bytes(), Path::new("t.json")).unwrap()
}

/// Refused with a message.
pub(super) fn refused(json: &str) -> String {
    let error = Tokenizer::from_json(json.as_bytes(), Path::new("t.json")).unwrap_err().to_string();
    assert!(error.starts_with("t.json: "), "{error}");
    error
}

/// A file with all bytes, and more to put into its model.
pub(super) fn file(more_vocab: &str, merges: &str, more: &str) -> String {
    let bytes: Vec<String> = byte_alphabet::bytes_in_order()
        .enumerate()
        .map(|(id, byte)| format!("{}:{id}", quoted(&byte_alphabet::spell(&[byte]))))
        .collect();
    format!(
        r#"{{"version":"1.0","pre_tokenizer":{{"type":"ByteLevel","add_prefix_space":false}},
        "model":{{"type":"BPE","vocab":{{{}{more_vocab}}},"merges":{merges}}}{more}}}"#,
        bytes.join(",")
    )
}

/// A file whose text is cut by these steps first.
pub(super) fn cut(steps: &str) -> String {
    let bare = r#"{"type":"ByteLevel","add_prefix_space":false}"#;
    let bytes = r#"{"type":"ByteLevel","add_prefix_space":false,"use_regex":false}"#;
    file("", "[]", "").replace(bare, &format!(r#"{{"type":"Sequence","pretokenizers":[{steps},{bytes}]}}"#))
}

/// A template in which `x` has this id.
pub(super) fn template(single: &str, id: u64) -> String {
    format!(
        r#","post_processor":{{"type":"TemplateProcessing","single":{single},"pair":[],
        "special_tokens":{{"x":{{"id":"x","ids":[{id}],"tokens":["x"]}}}}}}"#
    )
}
