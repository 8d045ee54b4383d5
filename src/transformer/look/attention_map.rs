//! Who looks at whom.
//!
//! In: a transformer and what it reads. Out: for each layer and head the probabilities with which each position looks at
//! the others, `[T, T]`; rows sum to 1. An encoder-decoder has three kinds: its encoder's, its decoder's, and the decoder's
//! attention to the source.

use serde::Serialize;

use crate::error::{Error, Result};
use crate::transformer::config::Shape;
use crate::transformer::look::reading::{ReadToken, Reading};
use crate::transformer::look::seen::Seen;
use crate::transformer::model::Transformer;

/// The most cells that maps are made of: a page of more is too much for browsers.
const MOST_CELLS: u64 = 400_000;

/// Which positions ask, and which are asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum AttentionKeys {
    /// The source asks itself, in both directions.
    Encoder,
    /// The target asks itself, and sees nothing that comes later.
    Decoder,
    /// The target asks the source.
    Cross,
}

/// Which layers and heads are wanted, counted from 1; `None`: all.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct AttentionChoice {
    /// One layer.
    pub layer: Option<usize>,
    /// One head.
    pub head: Option<usize>,
}

/// One head of one layer.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct AttentionMap {
    /// Who asks whom.
    pub of: AttentionKeys,
    /// Counted from 1.
    pub layer: usize,
    /// Counted from 1.
    pub head: usize,
    /// For each position that asks, a probability for each that is asked.
    pub probabilities: Vec<Vec<f32>>,
}

/// The attention of a pass.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct AttentionMaps {
    /// What the encoder reads; empty for a decoder.
    pub source: Vec<ReadToken>,
    /// What the decoder reads; empty for an encoder.
    pub target: Vec<ReadToken>,
    /// By kind, layer and head.
    pub maps: Vec<AttentionMap>,
}

impl AttentionMaps {
    /// The positions that ask in maps of this kind, and those that are asked.
    pub fn sides(&self, of: AttentionKeys) -> (&[ReadToken], &[ReadToken]) {
        match of {
            AttentionKeys::Encoder => (&self.source, &self.source),
            AttentionKeys::Decoder => (&self.target, &self.target),
            AttentionKeys::Cross => (&self.target, &self.source),
        }
    }
}

/// Reads, and keeps who looked at whom.
///
/// # Errors
/// [`Error::Config`] for a layer or a head that the model doesn't have, and for more than 400,000 cells.
pub fn attention_maps(transformer: &Transformer, reading: &Reading, choice: AttentionChoice) -> Result<AttentionMaps> {
    let config = transformer.config();
    let layers = chosen("layer", choice.layer, config.n_layers)?;
    let heads = chosen("head", choice.head, config.n_heads)?;
    let kinds: &[AttentionKeys] = match config.shape {
        Shape::Encoder => &[AttentionKeys::Encoder],
        Shape::Decoder => &[AttentionKeys::Decoder],
        Shape::EncoderDecoder => &[AttentionKeys::Encoder, AttentionKeys::Decoder, AttentionKeys::Cross],
    };
    let mut found = AttentionMaps { source: reading.source.clone(), target: reading.target.clone(), maps: Vec::new() };
    let cells = kinds.iter().map(|&of| found.sides(of)).map(|(queries, keys)| queries.len() as u64 * keys.len() as u64);
    let n_cells = cells.sum::<u64>() * layers.len() as u64 * heads.len() as u64;
    if n_cells > MOST_CELLS {
        let reason = format!(
            "{} tokens in {} layers of {} heads are {n_cells} cells, expected at most {MOST_CELLS}: choose a --layer or a \
             --head, or a shorter text",
            found.source.len() + found.target.len(),
            layers.len(),
            heads.len()
        );
        return Err(Error::config("text", reason));
    }
    let seen = Seen::pass(transformer, reading, |name| name.ends_with(".probabilities"))?;
    for &of in kinds {
        let (queries, keys) = found.sides(of);
        let (n_queries, n_keys) = (queries.len(), keys.len());
        for &layer in &layers {
            let name = match of {
                AttentionKeys::Encoder => format!("encoder.{}.attention.probabilities", layer - 1),
                AttentionKeys::Decoder => format!("decoder.{}.attention.probabilities", layer - 1),
                AttentionKeys::Cross => format!("decoder.{}.cross.probabilities", layer - 1),
            };
            let all = seen.expect(&name);
            for &head in &heads {
                let numbers = &all[(head - 1) * n_queries * n_keys..][..n_queries * n_keys];
                let probabilities = numbers.chunks_exact(n_keys).map(<[f32]>::to_vec).collect();
                found.maps.push(AttentionMap { of, layer, head, probabilities });
            }
        }
    }
    Ok(found)
}

/// One of `n`, or all of them; counted from 1.
fn chosen(field: &'static str, one: Option<usize>, n: usize) -> Result<Vec<usize>> {
    match one {
        None => Ok((1..=n).collect()),
        Some(one) if (1..=n).contains(&one) => Ok(vec![one]),
        Some(one) => Err(Error::config(field, format!("{one} is not one of the model's, expected 1 to {n}"))),
    }
}
