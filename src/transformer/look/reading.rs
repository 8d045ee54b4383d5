//! What is read in the pass that is looked at.
//!
//! In: texts. Out: their ids with the marks that the model's shape wants around them, checked, so that the pass cannot fail
//! over them.

use serde::Serialize;

use crate::error::{Error, Result};
use crate::tokens::{TokenId, Tokenizer};
use crate::transformer::config::{Shape, TransformerConfig};
use crate::transformer::marks::{line_ids, text_ids};
use crate::transformer::model::Transformer;
use crate::transformer::translate::{TranslateConfig, translate};

/// A token where it is read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ReadToken {
    /// Its id.
    pub id: u32,
    /// What people call it. May hold control characters: escape them before printing.
    pub token: String,
}

/// What is read in one pass, marks included.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reading {
    /// What the encoder reads; empty for a decoder.
    pub source: Vec<ReadToken>,
    /// What the decoder reads; empty for an encoder.
    pub target: Vec<ReadToken>,
}

impl Reading {
    /// What a transformer reads of `text`.
    ///
    /// - a decoder: the text itself; of an empty one, the mark that lines begin after;
    /// - an encoder: the text, in which the spelling of its mark (`<mask>`) stands for a hidden token;
    /// - an encoder-decoder: the text and the end mark, and for its decoder the start mark and `target`, what has been
    ///   written so far.
    ///
    /// Words that are not in the vocabulary are read as in [`line_ids`].
    ///
    /// # Errors
    /// [`Error::Config`] names `text` or `target`: nothing to read, more than the context has room for, ids that the model
    /// has no row for, or a target for a model that has no use for one.
    pub fn new(transformer: &Transformer, tokenizer: &Tokenizer, text: &str, target: Option<&str>) -> Result<Reading> {
        let config = transformer.config();
        if target.is_some() && config.shape != Shape::EncoderDecoder {
            let reason = format!("the model is of shape {}, and only an encoder-decoder has a target", config.shape);
            return Err(Error::config("target", reason));
        }
        let (source, target) = match config.shape {
            Shape::Decoder => (Vec::new(), text_ids(config, tokenizer, text)),
            Shape::Encoder => (masked_ids(config, tokenizer, text), Vec::new()),
            Shape::EncoderDecoder => {
                let (start, end) = text_marks(config)?;
                let mut source = line_ids(config, tokenizer, text.as_bytes());
                // A source that is only an end mark is no source.
                if !source.is_empty() {
                    source.push(end);
                }
                let target = target.map_or(Vec::new(), |target| line_ids(config, tokenizer, target.as_bytes()));
                (source, [start].into_iter().chain(target).collect())
            }
        };
        if source.is_empty() && target.is_empty() || config.shape == Shape::EncoderDecoder && source.is_empty() {
            return Err(Error::config("text", "has no token to look at, expected some words"));
        }
        check(config, "text", &source)?;
        check(config, if config.shape == Shape::Decoder { "text" } else { "target" }, &target)?;
        let named = |ids: Vec<TokenId>| ids.into_iter().map(|id| named(tokenizer, id)).collect();
        Ok(Reading { source: named(source), target: named(target) })
    }

    /// The same source, with the most probable translation (token by token) for a target.
    ///
    /// # Errors
    /// As [`translate`].
    pub fn translated(self, transformer: &Transformer, tokenizer: &Tokenizer) -> Result<Reading> {
        let config = transformer.config();
        let (start, _) = text_marks(config)?;
        let source: Vec<TokenId> = self.source.iter().map(|token| TokenId(token.id)).collect();
        let (_, without_end) = source.split_last().expect("a source has its end mark");
        let greedy = TranslateConfig { beam: 1, max_len: Some(config.context_len), ..TranslateConfig::default() };
        let found = translate(transformer, without_end, &greedy)?;
        let mut target = vec![start];
        target.extend(found.first().iter().flat_map(|best| &best.ids));
        target.truncate(config.context_len);
        Ok(Reading { target: target.into_iter().map(|id| named(tokenizer, id)).collect(), ..self })
    }
}

fn named(tokenizer: &Tokenizer, id: TokenId) -> ReadToken {
    ReadToken { id: id.0, token: tokenizer.name(id).into_owned() }
}

fn text_marks(config: &TransformerConfig) -> Result<(TokenId, TokenId)> {
    match (config.start_id, config.end_id) {
        (Some(start), Some(end)) => Ok((TokenId(start), TokenId(end))),
        _ => Err(Error::config("model", "has no marks for the start and the end of a text")),
    }
}

/// The ids of a text in which the mask's spelling is the mask, with the space before it, as tokens have theirs.
fn masked_ids(config: &TransformerConfig, tokenizer: &Tokenizer, text: &str) -> Vec<TokenId> {
    let Some(mask) = config.mask_id.map(TokenId).filter(|mask| mask.index() < tokenizer.n_tokens()) else {
        return line_ids(config, tokenizer, text.as_bytes());
    };
    let spelling = tokenizer.spelling(mask);
    let mut pieces = text.split(spelling.as_str()).peekable();
    let mut ids = Vec::new();
    while let Some(piece) = pieces.next() {
        let is_masked_next = pieces.peek().is_some();
        let piece = if is_masked_next { piece.trim_end() } else { piece };
        ids.extend(line_ids(config, tokenizer, piece.as_bytes()));
        ids.extend(is_masked_next.then_some(mask));
    }
    ids
}

fn check(config: &TransformerConfig, field: &'static str, ids: &[TokenId]) -> Result<()> {
    if ids.len() > config.context_len {
        let reason = format!("{} tokens with their marks, the model has room for {}", ids.len(), config.context_len);
        return Err(Error::config(field, reason));
    }
    match ids.iter().find(|id| id.index() >= config.n_tokens) {
        Some(id) => {
            let reason = format!(
                "id {} is not one of the model's {} tokens: the tokenizer belongs to another",
                id.0, config.n_tokens
            );
            Err(Error::config(field, reason))
        }
        None => Ok(()),
    }
}
