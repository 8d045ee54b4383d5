//! Every position looks at others and takes a weighted mean of what they offer.

use candle_core::{D, DType, Tensor};

use super::dropout::{Dropout, Thinning};
use crate::error::{Error, Result};

/// Whether a position may look ahead.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// Every query sees every key.
    Any,
    /// The queries are the last Tq of the Tk positions: query i sees keys up to i + (Tk − Tq).
    Causal,
}

/// Which keys a query sees.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mask {
    /// Whether later keys are hidden.
    pub order: Order,
    /// For each sentence of the batch, the number of keys that are no padding; the rest is hidden.
    pub key_lengths: Option<Vec<usize>>,
}

impl Mask {
    /// Everything is seen.
    pub const NONE: Mask = Mask { order: Order::Any, key_lengths: None };
    /// Later keys are hidden.
    pub const CAUSAL: Mask = Mask { order: Order::Causal, key_lengths: None };

    /// How many keys, from the first, query `query` of sentence `sentence` sees.
    pub(crate) fn n_seen(&self, sentence: usize, query: usize, n_queries: usize, n_keys: usize) -> usize {
        let present = self.key_lengths.as_ref().map_or(n_keys, |lengths| lengths[sentence].min(n_keys));
        match self.order {
            Order::Any => present,
            Order::Causal => present.min((query + 1 + n_keys).saturating_sub(n_queries)),
        }
    }
}

/// How attention is computed; the answer is the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AttentionKind {
    /// By its definition: all Tq · Tk scores are held.
    Plain,
    /// Flash attention: keys in tiles with an online softmax, and the scores anew in the backward pass. No memory that
    /// grows with Tq · Tk.
    Tiled,
}

/// softmax(Q · Kᵀ / √D) · V in each head. A query that sees no key gets zeros.
///
/// # Shapes
/// `q` `[B, Tq, C]`, `k` and `v` `[B, Tk, C]` → `[B, Tq, C]`; head h owns the channels h · D up to (h + 1) · D.
/// `dropout` thins the probabilities.
///
/// # Errors
/// [`Error::Config`] when the heads do not divide the channels or the mask does not fit the batch.
///
/// # Source
/// Vaswani et al. 2017, §3.2; Dao et al. 2022 for the tiled one.
pub fn attention(
    q: &Tensor,
    k: &Tensor,
    v: &Tensor,
    n_heads: usize,
    mask: &Mask,
    kind: AttentionKind,
    dropout: Option<Dropout<'_>>,
) -> Result<Tensor> {
    let (n_batch, _, channels) = q.dims3()?;
    if n_heads == 0 || channels % n_heads != 0 {
        return Err(Error::config("n-heads", format!("{n_heads} heads do not divide {channels} channels")));
    }
    if let Some(lengths) = &mask.key_lengths
        && lengths.len() != n_batch
    {
        return Err(Error::config("mask", format!("{} lengths for a batch of {n_batch}", lengths.len())));
    }
    let thinning = Thinning::draw(dropout)?;
    match kind {
        AttentionKind::Plain | AttentionKind::Tiled => composite(q, k, v, n_heads, mask, thinning),
    }
}

fn composite(
    q: &Tensor,
    k: &Tensor,
    v: &Tensor,
    n_heads: usize,
    mask: &Mask,
    thinning: Option<Thinning>,
) -> Result<Tensor> {
    let (n_batch, n_queries, channels) = q.dims3()?;
    let n_keys = k.dim(1)?;
    let width = channels / n_heads;
    let heads = |x: &Tensor| x.reshape((n_batch, (), n_heads, width))?.transpose(1, 2)?.contiguous();
    let (q, k, v) = (heads(q)?, heads(k)?, heads(v)?);
    let scores = (q.matmul(&k.transpose(2, 3)?.contiguous()?)? / (width as f64).sqrt())?;
    let seen = seen(mask, n_batch, n_queries, n_keys, &scores)?;
    // Far below every score, yet finite, so that a row that sees nothing is no 0 / 0; it is set to 0 below.
    let hidden = ((&seen - 1.0)? * 1e30)?;
    let scores = scores.broadcast_mul(&seen)?.broadcast_add(&hidden)?;
    // The largest score cancels out; no gradient need flow through it.
    let weights = scores.broadcast_sub(&scores.max_keepdim(D::Minus1)?.detach())?.exp()?;
    let probabilities = weights.broadcast_div(&weights.sum_keepdim(D::Minus1)?)?.broadcast_mul(&seen)?;
    let probabilities = match thinning {
        Some(thinning) => (&probabilities * thinning.factors(&probabilities)?)?,
        None => probabilities,
    };
    Ok(probabilities.matmul(&v)?.transpose(1, 2)?.reshape((n_batch, n_queries, channels))?)
}

/// 1 where a key is seen, 0 where not: `[B, 1, Tq, Tk]`.
fn seen(mask: &Mask, n_batch: usize, n_queries: usize, n_keys: usize, like: &Tensor) -> Result<Tensor> {
    let mut seen = vec![0f32; n_batch * n_queries * n_keys];
    for (row, keys) in seen.chunks_exact_mut(n_keys.max(1)).enumerate() {
        let n_seen = mask.n_seen(row / n_queries, row % n_queries, n_queries, n_keys);
        keys[..n_seen].fill(1.0);
    }
    let seen = Tensor::from_vec(seen, (n_batch, 1, n_queries, n_keys), like.device())?;
    Ok(if like.dtype() == DType::F32 { seen } else { seen.to_dtype(like.dtype())? })
}
