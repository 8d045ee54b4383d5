//! One pass, watched.
//!
//! In: what is read, and which matrices are wanted. Out: these, by the names under which the layers show them. Attention's
//! matrices are squares of the text's length, so how much there will be is found out before the pass.

use std::collections::BTreeMap;

use candle_core::{Device, Tensor};

use crate::error::{Error, Result};
use crate::transformer::config::{Shape, TransformerConfig};
use crate::transformer::look::reading::{ReadToken, Reading};
use crate::transformer::model::Transformer;
use crate::transformer::pass::Pass;

/// The most numbers that are kept of a pass: 256 MB of them.
const MOST_NUMBERS: u64 = 64 << 20;

/// The matrices of a pass.
pub(super) struct Seen {
    by_name: BTreeMap<String, Vec<f32>>,
    /// The positions whose next, or hidden, token is predicted.
    pub asked: Vec<usize>,
}

impl Seen {
    /// Goes through the layers, and to the logits of the positions that are asked: the last one of what a decoder reads,
    /// those that are hidden from an encoder.
    ///
    /// # Errors
    /// [`Error::Config`] when the pass would need too much memory, or nothing is read where something must be.
    pub fn pass(transformer: &Transformer, reading: &Reading, wanted: impl Fn(&str) -> bool) -> Result<Seen> {
        let is_complete = match transformer.config().shape {
            Shape::Decoder => !reading.target.is_empty(),
            Shape::Encoder => !reading.source.is_empty(),
            Shape::EncoderDecoder => !reading.source.is_empty() && !reading.target.is_empty(),
        };
        if !is_complete {
            return Err(Error::config("text", "has no token to look at, expected some words"));
        }
        check_size(transformer.config(), reading)?;
        let (mut by_name, mut failed) = (BTreeMap::new(), None);
        let mut watch = |name: &str, x: &Tensor| {
            if wanted(name) {
                match x.flatten_all().and_then(|x| x.to_vec1::<f32>()) {
                    Ok(numbers) => drop(by_name.insert(name.to_string(), numbers)),
                    Err(error) => failed = Some(error),
                }
            }
        };
        let pass = &mut Pass::watched(&mut watch);
        let (source, target) = (&reading.source, &reading.target);
        let (hidden, asked) = match transformer.config().shape {
            Shape::Decoder => (transformer.decode(&row(target)?, pass)?, vec![target.len() - 1]),
            Shape::Encoder => {
                let mask = transformer.config().mask_id;
                let asked = (0..source.len()).filter(|&at| Some(source[at].id) == mask).collect();
                (transformer.encode(&row(source)?, None, pass)?.hidden, asked)
            }
            Shape::EncoderDecoder => {
                let encoded = transformer.encode(&row(source)?, None, pass)?;
                (transformer.decode_with(&encoded, &row(target)?, pass)?, vec![target.len() - 1])
            }
        };
        if !asked.is_empty() {
            let rows: Vec<u32> = asked.iter().map(|&at| at as u32).collect();
            let rows = Tensor::from_vec(rows, asked.len(), &Device::Cpu)?;
            transformer.logits(&hidden.squeeze(0)?.index_select(&rows, 0)?, pass)?;
        }
        match failed {
            Some(error) => Err(error.into()),
            None => Ok(Seen { by_name, asked }),
        }
    }

    /// The numbers of a matrix, row by row; `None` where the model has no such step.
    pub fn get(&self, name: &str) -> Option<&[f32]> {
        self.by_name.get(name).map(Vec::as_slice)
    }

    /// The numbers of a matrix that there must be.
    pub fn expect(&self, name: &str) -> &[f32] {
        self.get(name).unwrap_or_else(|| panic!("{name} was not shown"))
    }
}

/// Ids as the model takes them: `[1, T]`.
fn row(tokens: &[ReadToken]) -> Result<Tensor> {
    let ids: Vec<u32> = tokens.iter().map(|token| token.id).collect();
    let n = ids.len();
    Ok(Tensor::from_vec(ids, (1, n), &Device::Cpu)?)
}

fn check_size(config: &TransformerConfig, reading: &Reading) -> Result<()> {
    let [source, target] = [&reading.source, &reading.target].map(|tokens| tokens.len() as u64);
    // Four squares a head: scores, scaled, masked, probabilities; and about fourteen rows of d_model, two of d_ff.
    let squares = source * source + target * target + source * target;
    let rows = (source + target) * (14 * config.d_model as u64 + 2 * config.d_ff as u64);
    let numbers = (4 * config.n_heads as u64 * squares).saturating_add(rows).saturating_mul(config.n_layers as u64);
    if numbers <= MOST_NUMBERS {
        return Ok(());
    }
    let reason = format!(
        "{} tokens are {numbers} numbers to look at, expected at most {MOST_NUMBERS}: give a shorter one",
        source + target
    );
    Err(Error::config("text", reason))
}
