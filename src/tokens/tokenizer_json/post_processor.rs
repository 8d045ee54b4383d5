//! `post_processor` → [`Frame`].
//!
//! In: that part of a file. Out: the ids it puts before and behind one text. What it does to offsets, type ids and pairs
//! of texts has no bearing here, and is written again as it was.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;

use super::read::parse;
use crate::tokens::TokenId;
use crate::tokens::frame::Frame;

#[derive(Deserialize)]
#[serde(tag = "type", deny_unknown_fields)]
enum PostProcessor {
    /// Trims offsets.
    ByteLevel {
        #[serde(rename = "add_prefix_space")]
        _add_prefix_space: Option<IgnoredAny>,
        #[serde(rename = "trim_offsets")]
        _trim_offsets: Option<IgnoredAny>,
        #[serde(rename = "use_regex")]
        _use_regex: Option<IgnoredAny>,
    },
    BertProcessing {
        sep: (String, u64),
        cls: (String, u64),
    },
    RobertaProcessing {
        sep: (String, u64),
        cls: (String, u64),
        #[serde(rename = "trim_offsets")]
        _trim_offsets: Option<IgnoredAny>,
        #[serde(rename = "add_prefix_space")]
        _add_prefix_space: Option<IgnoredAny>,
    },
    TemplateProcessing {
        single: Vec<Piece>,
        #[serde(rename = "pair")]
        _pair: IgnoredAny,
        special_tokens: BTreeMap<String, Special>,
    },
    Sequence {
        processors: Vec<PostProcessor>,
    },
}

/// A piece of a template: the text, or a special token by its name in the template.
#[derive(Deserialize)]
enum Piece {
    Sequence { id: String },
    SpecialToken { id: String },
}

/// What a name in a template stands for.
#[derive(Deserialize)]
struct Special {
    ids: Vec<u64>,
}

/// The frame that this part of a file asks for; `is_used` knows the ids that there are.
///
/// # Errors
/// What in it cannot be honoured.
pub(super) fn read_frame(part: Option<&RawValue>, is_used: impl Fn(TokenId) -> bool) -> Result<Frame, String> {
    let Some(part) = part else { return Ok(Frame::default()) };
    let mut frame = frame(parse("post_processor", part)?)?;
    if let Some(id) = frame.before.iter().chain(&frame.after).find(|&&id| !is_used(id)) {
        return Err(format!("has a post_processor that puts the id {} beside a text, which no token has", id.0));
    }
    frame.source = Some(part.get().into());
    Ok(frame)
}

fn frame(processor: PostProcessor) -> Result<Frame, String> {
    let ids = |ids: &[u64]| -> Result<Vec<TokenId>, String> {
        let id =
            |&id: &u64| u32::try_from(id).map(TokenId).map_err(|_| format!("has a post_processor with the id {id}"));
        ids.iter().map(id).collect()
    };
    match processor {
        PostProcessor::ByteLevel { .. } => Ok(Frame::default()),
        PostProcessor::BertProcessing { sep, cls } | PostProcessor::RobertaProcessing { sep, cls, .. } => {
            Ok(Frame { before: ids(&[cls.1])?, after: ids(&[sep.1])?, source: None })
        }
        PostProcessor::TemplateProcessing { single, special_tokens, .. } => {
            let mut frame = Frame::default();
            let mut n_texts = 0;
            for piece in single {
                match piece {
                    Piece::Sequence { id } if id == "A" => n_texts += 1,
                    Piece::Sequence { id } => {
                        return Err(format!("has a post_processor whose template for one text has the text {id:?}"));
                    }
                    Piece::SpecialToken { id } => {
                        let Some(special) = special_tokens.get(&id) else {
                            return Err(format!("has a post_processor that does not say which ids {id:?} has"));
                        };
                        let side = if n_texts == 0 { &mut frame.before } else { &mut frame.after };
                        side.extend(ids(&special.ids)?);
                    }
                }
            }
            if n_texts != 1 {
                return Err(format!("has a post_processor whose template has one text {n_texts} times, expected once"));
            }
            Ok(frame)
        }
        PostProcessor::Sequence { processors } => {
            let mut all = Frame::default();
            for processor in processors {
                all = all.within(frame(processor)?);
            }
            Ok(all)
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::tokens::tokenizer_json::sample::{accepted, file, template};
    use crate::tokens::{SpecialTokens, TokenId};

    #[test]
    fn a_frame_is_put_around_a_text_where_it_is_asked_for() {
        let ends = r#""sep":["b",65],"cls":["a",64]"#;
        let single = r#"[{"SpecialToken":{"id":"x","type_id":0}},{"Sequence":{"id":"A","type_id":0}},{"SpecialToken":{"id":"x","type_id":0}}]"#;
        let bytes = r#"{"type":"ByteLevel","add_prefix_space":true,"trim_offsets":false,"use_regex":true}"#;
        let roberta = format!(r#"{{"type":"RobertaProcessing",{ends},"trim_offsets":true,"add_prefix_space":false}}"#);
        let of_template = template(single, 66);
        let of_template = of_template.strip_prefix(r#","post_processor":"#).unwrap();
        let cases = [
            (format!(r#"{{"type":"BertProcessing",{ends}}}"#), vec![64], vec![65]),
            (roberta.clone(), vec![64], vec![65]),
            (of_template.to_string(), vec![66], vec![66]),
            (bytes.to_string(), vec![], vec![]),
            ("null".into(), vec![], vec![]),
            (
                format!(r#"{{"type":"Sequence","processors":[{bytes},{roberta},{of_template}]}}"#),
                vec![66, 64],
                vec![65, 66],
            ),
        ];
        for (part, before, after) in cases {
            let json = file("", "[]", &format!(r#","post_processor":{part}"#));
            let tokenizer = accepted(&json);
            let (before, after): (Vec<TokenId>, Vec<TokenId>) =
                (before.into_iter().map(TokenId).collect(), after.into_iter().map(TokenId).collect());
            let expected = [before, tokenizer.encode(b"xyz"), after].concat();
            assert_eq!(tokenizer.encode_with(b"xyz", SpecialTokens::Framed), expected, "{part}");
            assert_eq!(tokenizer.encode_with(b"xyz", SpecialTokens::Found).len(), 3);
            let placed = tokenizer.encode_with_offsets(b"xyz", SpecialTokens::Framed);
            assert!(placed.tokens.iter().map(|token| token.id).eq(expected), "{part}");
            assert_eq!(placed.tokens.iter().map(|token| token.range.len()).sum::<usize>(), 3);
            let again = accepted(&tokenizer.to_json());
            assert_eq!(
                again.encode_with(b"xyz", SpecialTokens::Framed),
                tokenizer.encode_with(b"xyz", SpecialTokens::Framed)
            );
            assert_eq!(again.to_json(), tokenizer.to_json());
        }
    }
}
