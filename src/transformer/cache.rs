//! What attention remembers, so that one more position costs one position's work.
//!
//! In: keys and values of positions as they come. Out: for each new position the same answer that attention over all of
//! them gives.
//!
//! # Going on for ever
//! A cache may be bounded: the first few positions stay (attention sinks), of the rest the most recent ones (Xiao et al.
//! 2024, StreamingLLM). Positions are then told by their place in the cache, not in the text, so that no distance is
//! larger than the cache. With rotary positions that needs no second rotation of remembered keys: recent positions keep
//! their distances to each other, so keys are turned once by where they stand in the text; for the sinks alone, which
//! have come nearer, the query is turned a second time, by its place in the cache.

use candle_core::{Device, Tensor};
use rayon::prelude::*;

use crate::error::{Error, Result};
use crate::math::row_dots;
use crate::transformer::config::Positions;
use crate::transformer::fused::{Mask, rotary};
use crate::transformer::parameters::numbers;

/// How much is remembered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Memory {
    /// Every position, up to the context length.
    All,
    /// The first `n_sinks` positions and the `window` most recent ones: for ever, in bounded memory. Rotary positions
    /// only, as added ones cannot be taken out again.
    SinksAndWindow {
        /// Positions at the start that stay; four are usual.
        n_sinks: usize,
        /// The most recent positions, the current one among them; at least 1.
        window: usize,
    },
}

/// What the layers remember of the positions so far.
#[derive(Debug, Clone)]
pub struct Cache {
    pub(crate) memory: Memory,
    pub(crate) n_passed: usize,
    pub(crate) layers: Vec<Remembered>,
    /// Of each layer, keys and values of the sources; and which of them are padding. Empty without a source.
    pub(crate) sources: Vec<[Tensor; 2]>,
    pub(crate) source_mask: Mask,
    /// Which of the first sources each sentence's is.
    source_of: Vec<usize>,
}

impl Cache {
    pub(crate) fn new(memory: Memory, n_layers: usize, n_sentences: usize, n_heads: usize) -> Cache {
        let layer =
            Remembered { memory, n_passed: 0, sentences: vec![vec![HeadMemory::default(); n_heads]; n_sentences] };
        let (layers, source_of) = (vec![layer; n_layers], (0..n_sentences).collect());
        Cache { memory, n_passed: 0, layers, sources: Vec::new(), source_mask: Mask::NONE, source_of }
    }

    /// How many positions have passed, remembered still or not.
    pub fn n_passed(&self) -> usize {
        self.n_passed
    }

    /// Bytes of the keys and values of all positions that are remembered, without the source's.
    pub fn size_bytes(&self) -> usize {
        let heads = self.layers.iter().flat_map(|layer| layer.sentences.iter().flatten());
        heads.map(|head| size_of_val(&head.keys[..]) + size_of_val(&head.values[..])).sum()
    }

    /// How many sentences go on side by side.
    pub fn n_sentences(&self) -> usize {
        self.layers.first().map_or(0, |layer| layer.sentences.len())
    }

    /// Goes on with these sentences, in this order; one may be named several times, as in a beam search.
    ///
    /// # Errors
    /// [`Error::Config`] when there is no such sentence, or none at all is named.
    pub fn select(&mut self, sentences: &[usize]) -> Result<()> {
        let n = self.n_sentences();
        if let Some(wrong) = sentences.iter().find(|&&sentence| sentence >= n) {
            return Err(Error::config("sentences", format!("{wrong} is not among the {n} of the cache")));
        }
        if sentences.is_empty() {
            return Err(Error::config("sentences", "none is left, expected at least one"));
        }
        for layer in &mut self.layers {
            layer.sentences = picked(std::mem::take(&mut layer.sentences), sentences);
        }
        let source_of: Vec<usize> = sentences.iter().map(|&sentence| self.source_of[sentence]).collect();
        // In a beam search all sentences have one source, and which of them go on changes nothing about it.
        if source_of != self.source_of {
            let rows: Vec<u32> = sentences.iter().map(|&sentence| sentence as u32).collect();
            let rows = Tensor::from_vec(rows, sentences.len(), &Device::Cpu)?;
            for [keys, values] in &mut self.sources {
                *keys = keys.index_select(&rows, 0)?;
                *values = values.index_select(&rows, 0)?;
            }
            if let Some(lengths) = &mut self.source_mask.key_lengths {
                *lengths = sentences.iter().map(|&sentence| lengths[sentence]).collect();
            }
            self.source_of = source_of;
        }
        Ok(())
    }
}

/// The items at these places, which may be named several times; only what is named again is copied.
fn picked<T: Clone>(items: Vec<T>, places: &[usize]) -> Vec<T> {
    let mut n_uses = vec![0; items.len()];
    places.iter().for_each(|&place| n_uses[place] += 1);
    let mut items: Vec<Option<T>> = items.into_iter().map(Some).collect();
    let pick = |&place: &usize| {
        n_uses[place] -= 1;
        let item = if n_uses[place] == 0 { items[place].take() } else { items[place].clone() };
        item.expect("it stays until its last use")
    };
    places.iter().map(pick).collect()
}

/// What one layer remembers.
#[derive(Debug, Clone)]
pub(crate) struct Remembered {
    memory: Memory,
    n_passed: usize,
    /// `[B][H]`
    sentences: Vec<Vec<HeadMemory>>,
}

/// Keys and values of one head, each `[n_held, D]`. With a window, a new one takes the slot of the oldest.
#[derive(Debug, Clone, Default)]
struct HeadMemory {
    keys: Vec<f32>,
    values: Vec<f32>,
}

impl Remembered {
    /// Remembers one position after another, and lets each ask those that are remembered then, itself among them.
    ///
    /// # Shapes
    /// All `[B, T, C]`; keys and queries as they leave their layer.
    pub fn attend(&mut self, [q, k, v]: [&Tensor; 3], n_heads: usize, positions: Positions) -> Result<Tensor> {
        let (n_sentences, n_new, d_model) = q.dims3()?;
        assert_eq!(n_sentences, self.sentences.len(), "the model checks it");
        let first = self.n_passed;
        let turn = |x: &Tensor, position: usize| match positions {
            Positions::Rotary => rotary(x, n_heads, position),
            _ => Ok(x.clone()),
        };
        let queries = numbers(&turn(q, first)?)?;
        let (keys, values) = (numbers(&turn(k, first)?)?, numbers(v)?);
        // From where the cache is full, queries stand at its last place for the sinks, which stay at the first ones.
        let to_sinks = match (self.memory, positions) {
            (Memory::SinksAndWindow { n_sinks, window }, Positions::Rotary) if first + n_new > n_sinks + window => {
                Some(self.turned_to_sinks(q, n_heads, n_sinks + window - 1)?)
            }
            _ => None,
        };
        let queries_to_sinks = to_sinks.as_ref().unwrap_or(&queries);

        let dim = d_model / n_heads;
        let memory = self.memory;
        // `[B, H, T, D]`, as each head works for itself.
        let mut by_head = vec![0.0_f32; n_sentences * n_new * d_model];
        let heads = self.sentences.iter_mut().flatten().collect::<Vec<_>>();
        let answer = |(index, (head, out)): (usize, (&mut HeadMemory, &mut [f32]))| {
            let (sentence, at_head) = (index / n_heads, index % n_heads);
            let mut scores = Vec::new();
            for (new, out) in out.chunks_exact_mut(dim).enumerate() {
                let at = (sentence * n_new + new) * d_model + at_head * dim;
                let at = at..at + dim;
                let n_sinks = head.remember(&keys[at.clone()], &values[at.clone()], memory, first + new);
                head.answer([&queries_to_sinks[at.clone()], &queries[at]], n_sinks, &mut scores, out);
            }
        };
        let jobs = heads.into_iter().zip(by_head.chunks_mut(n_new * dim)).enumerate();
        // A few thousand products are done before another thread has woken up.
        if n_sentences * n_new * d_model * (first + n_new) < 1 << 20 {
            jobs.for_each(answer);
        } else {
            jobs.collect::<Vec<_>>().into_par_iter().for_each(answer);
        }
        self.n_passed += n_new;
        let by_head = Tensor::from_vec(by_head, (n_sentences, n_heads, n_new, dim), &Device::Cpu)?;
        Ok(by_head.transpose(1, 2)?.contiguous()?.reshape((n_sentences, n_new, d_model))?)
    }

    /// Queries as the sinks see them: turned by their place in the cache, which is `last` once it is full.
    fn turned_to_sinks(&self, q: &Tensor, n_heads: usize, last: usize) -> Result<Vec<f32>> {
        let (n_sentences, n_new, d_model) = q.dims3()?;
        let n_before = last.saturating_sub(self.n_passed).min(n_new);
        let mut turned = Vec::with_capacity(n_new);
        if n_before > 0 {
            turned.push(rotary(&q.narrow(1, 0, n_before)?.contiguous()?, n_heads, self.n_passed)?);
        }
        if n_before < n_new {
            let n_rest = n_new - n_before;
            // All at one place: as if each were a sentence of one position.
            let rest = q.narrow(1, n_before, n_rest)?.contiguous()?.reshape((n_sentences * n_rest, 1, d_model))?;
            turned.push(rotary(&rest, n_heads, last)?.reshape((n_sentences, n_rest, d_model))?);
        }
        numbers(&Tensor::cat(&turned, 1)?)
    }
}

impl HeadMemory {
    /// Takes in a key and a value; returns how many slots, from the first, hold sinks.
    fn remember(&mut self, key: &[f32], value: &[f32], memory: Memory, position: usize) -> usize {
        let (slot, n_sinks) = match memory {
            Memory::SinksAndWindow { n_sinks, window } if position >= n_sinks + window => {
                (Some(n_sinks + (position - n_sinks) % window), n_sinks)
            }
            Memory::SinksAndWindow { n_sinks, .. } => (None, n_sinks.min(position + 1)),
            Memory::All => (None, 0),
        };
        match slot {
            Some(slot) => {
                let at = slot * key.len()..(slot + 1) * key.len();
                self.keys[at.clone()].copy_from_slice(key);
                self.values[at].copy_from_slice(value);
            }
            None => {
                self.keys.extend_from_slice(key);
                self.values.extend_from_slice(value);
            }
        }
        n_sinks
    }

    /// softmax(q Kᵀ / √D) V over all that is held. The first query is for the first `n_sinks` keys, the other for the rest.
    fn answer(&self, [to_sinks, to_rest]: [&[f32]; 2], n_sinks: usize, scores: &mut Vec<f32>, out: &mut [f32]) {
        let dim = out.len();
        let n_held = self.keys.len() / dim;
        scores.resize(n_held, 0.0);
        let (sink_scores, rest_scores) = scores.split_at_mut(n_sinks);
        row_dots(&self.keys[..n_sinks * dim], to_sinks, sink_scores);
        row_dots(&self.keys[n_sinks * dim..], to_rest, rest_scores);
        let scale = 1.0 / (dim as f32).sqrt();
        let largest = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let mut sum = 0.0;
        for score in scores.iter_mut() {
            *score = ((*score - largest) * scale).exp();
            sum += *score;
        }
        out.fill(0.0);
        for (&weight, value) in scores.iter().zip(self.values.chunks_exact(dim)) {
            let share = weight / sum;
            out.iter_mut().zip(value).for_each(|(out, value)| *out += share * value);
        }
    }
}
