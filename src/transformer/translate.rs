//! A source → its translation.
//!
//! In: the ids of a source. Out: the most probable targets that a beam search finds. The source is read once; of what was
//! written the keys and values are kept, for every hypothesis.

use candle_core::{D, Device, Tensor};

use crate::error::{Error, Result};
use crate::tokens::TokenId;
use crate::transformer::beam::{BeamConfig, Hypothesis, beam_search};
use crate::transformer::cache::Memory;
use crate::transformer::config::TransformerConfig;
use crate::transformer::model::Transformer;
use crate::transformer::pass::Pass;

/// How a translation is searched for.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TranslateConfig {
    /// How many hypotheses go on, 1 to 1,024; 1 is greedy.
    pub beam: usize,
    /// Hypotheses of n tokens are judged by ln P / n to this power, 0 to 10.
    pub length_penalty: f64,
    /// The most tokens of a translation; `None`: what the context has room for.
    pub max_len: Option<usize>,
}

impl Default for TranslateConfig {
    fn default() -> TranslateConfig {
        TranslateConfig { beam: 4, length_penalty: 1.0, max_len: None }
    }
}

impl TranslateConfig {
    /// Refuses settings outside their ranges.
    ///
    /// # Errors
    /// [`Error::Config`] with the range that is allowed.
    pub fn check(&self) -> Result<()> {
        if !(1..=1024).contains(&self.beam) {
            return Err(Error::config("beam", format!("{}, expected 1 to 1024", self.beam)));
        }
        if !(0.0..=10.0).contains(&self.length_penalty) {
            return Err(Error::config("length-penalty", format!("{}, expected 0 to 10", self.length_penalty)));
        }
        if self.max_len == Some(0) {
            return Err(Error::config("max-len", "0, expected 1 or more"));
        }
        Ok(())
    }
}

/// The most probable translations of `source`, best first; at most as many as the beam is wide.
///
/// `source` has no marks; they are added here.
///
/// # Errors
/// [`Error::Config`] for settings out of their range, for a transformer that is no encoder-decoder or has no marks for
/// start and end, and for a source that is longer than the context.
pub fn translate(transformer: &Transformer, source: &[TokenId], config: &TranslateConfig) -> Result<Vec<Hypothesis>> {
    config.check()?;
    let TransformerConfig { start_id: Some(start), end_id: Some(end), pad_id, context_len, .. } = *transformer.config()
    else {
        return Err(Error::config(
            "model",
            "has no marks for the start and the end of a text: it was not made to translate",
        ));
    };
    if source.len() >= context_len {
        let reason = format!("the source has {} tokens, the model has room for {}", source.len(), context_len - 1);
        return Err(Error::config("source", reason));
    }
    let ids: Vec<u32> = source.iter().map(|id| id.0).chain([end]).collect();
    let n = ids.len();
    let encoded = transformer.encode(&Tensor::from_vec(ids, (1, n), &Device::Cpu)?, None, &mut Pass::answering())?;
    let mut cache = transformer.cache_with(Memory::All, &encoded)?;
    let max_len = config.max_len.unwrap_or(context_len).min(context_len);
    let search = BeamConfig { width: config.beam, max_len, length_penalty: config.length_penalty };
    // Marks that no target has inside it.
    let never: Vec<usize> =
        [Some(start), pad_id].into_iter().flatten().map(|id| id as usize).filter(|&id| id != end as usize).collect();
    beam_search(&search, TokenId(start), TokenId(end), |hypotheses| {
        let parents: Vec<usize> = hypotheses.iter().map(|hypothesis| hypothesis.parent).collect();
        cache.select(&parents)?;
        let last: Vec<u32> = hypotheses.iter().map(|hypothesis| hypothesis.last.0).collect();
        let n = last.len();
        let hidden = transformer.decode_next(&Tensor::from_vec(last, (n, 1), &Device::Cpu)?, &mut cache)?;
        let rows = transformer.log_probabilities(&hidden, &mut Pass::answering())?;
        let n_tokens = rows.dim(D::Minus1)?;
        let mut rows = rows.reshape((n, n_tokens))?.to_vec2::<f32>()?;
        for row in &mut rows {
            never.iter().for_each(|&id| row[id] = f32::NEG_INFINITY);
        }
        Ok(rows)
    })
}
