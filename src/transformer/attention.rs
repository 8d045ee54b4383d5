//! Each position asks all that it may see.
//!
//! In: `[B, T, C]`; out: the same shape. A linear layer makes queries, keys and values, heads attend, another linear layer
//! joins what they bring:  softmax(Q Kᵀ / √D) V  in each head of D = C / H numbers (Vaswani et al. 2017, §3.2).
//!
//! The attention itself is one of three ways to one answer: plain or tiled over whole sequences (`fused`), or one position
//! after another over a [cache](crate::transformer::cache).

use candle_core::{D, Device, Tensor};

use crate::error::Result;
use crate::transformer::cache::Remembered;
use crate::transformer::config::{Positions, TransformerConfig};
use crate::transformer::fused::{self, Mask, rotary, self_attention};
use crate::transformer::linear::Linear;
use crate::transformer::parameters::Parameters;
use crate::transformer::pass::Pass;

/// What heads are: how many, and how much of their probabilities is dropped.
#[derive(Debug, Clone, Copy)]
struct Heads {
    n_heads: usize,
    dropout: f64,
}

/// A sequence asks itself.
#[derive(Debug, Clone)]
pub(crate) struct SelfAttention {
    qkv: Linear,
    output: Linear,
    heads: Heads,
    positions: Positions,
}

impl SelfAttention {
    pub fn new(parameters: &Parameters, config: &TransformerConfig, at: &str) -> SelfAttention {
        SelfAttention {
            qkv: Linear::new(parameters, &format!("{at}.qkv")),
            output: Linear::new(parameters, &format!("{at}.output")),
            heads: Heads { n_heads: config.n_heads, dropout: config.dropout },
            positions: config.positions,
        }
    }

    /// `[B, T, C]` → `[B, T, C]`.
    pub fn forward(&self, x: &Tensor, mask: &Mask, pass: &mut Pass<'_>, at: &str) -> Result<Tensor> {
        let qkv = self.qkv.forward(x, pass)?;
        let n_heads = self.heads.n_heads;
        let joined = if self.positions == Positions::Rotary {
            let [q, k, v] = parts(&qkv)?;
            if pass.is_watched() {
                pass.show(at, "query_unturned", &by_head(&q, n_heads)?);
                pass.show(at, "key_unturned", &by_head(&k, n_heads)?);
            }
            self.heads.attend([&rotary(&q, n_heads, 0)?, &rotary(&k, n_heads, 0)?, &v], mask, pass, at)?
        } else if pass.is_watched() {
            let [q, k, v] = parts(&qkv)?;
            self.heads.attend([&q, &k, &v], mask, pass, at)?
        } else {
            // Nothing is to be turned or shown, so the three need not be taken apart.
            let kind = pass.attention();
            self_attention(&qkv, n_heads, mask, kind, pass.dropout(self.heads.dropout))?
        };
        let x = self.output.forward(&joined, pass)?;
        pass.show(at, "output", &x);
        Ok(x)
    }

    /// The same for the positions that come after those in `before`, `[B, T, C]` → `[B, T, C]`; they are remembered, too.
    pub fn forward_next(&self, x: &Tensor, before: &mut Remembered, pass: &Pass<'_>) -> Result<Tensor> {
        let [q, k, v] = parts(&self.qkv.forward(x, pass)?)?;
        let joined = before.attend([&q, &k, &v], self.heads.n_heads, self.positions)?;
        self.output.forward(&joined, pass)
    }
}

/// A target asks its source.
#[derive(Debug, Clone)]
pub(crate) struct CrossAttention {
    query: Linear,
    key_value: Linear,
    output: Linear,
    heads: Heads,
}

impl CrossAttention {
    pub fn new(parameters: &Parameters, config: &TransformerConfig, at: &str) -> CrossAttention {
        CrossAttention {
            query: Linear::new(parameters, &format!("{at}.query")),
            key_value: Linear::new(parameters, &format!("{at}.key_value")),
            output: Linear::new(parameters, &format!("{at}.output")),
            heads: Heads { n_heads: config.n_heads, dropout: config.dropout },
        }
    }

    /// Keys and values of a source, both `[B, S, C]`: the same for every position of the target.
    pub fn keys_values(&self, source: &Tensor, pass: &Pass<'_>) -> Result<[Tensor; 2]> {
        parts(&self.key_value.forward(source, pass)?)
    }

    /// `[B, T, C]` → `[B, T, C]`.
    pub fn forward(
        &self,
        x: &Tensor,
        [k, v]: &[Tensor; 2],
        mask: &Mask,
        pass: &mut Pass<'_>,
        at: &str,
    ) -> Result<Tensor> {
        let q = self.query.forward(x, pass)?;
        let joined = self.heads.attend([&q, k, v], mask, pass, at)?;
        let x = self.output.forward(&joined, pass)?;
        pass.show(at, "output", &x);
        Ok(x)
    }
}

impl Heads {
    fn attend(&self, [q, k, v]: [&Tensor; 3], mask: &Mask, pass: &mut Pass<'_>, at: &str) -> Result<Tensor> {
        if pass.is_watched() {
            show_steps([q, k, v], self.n_heads, mask, pass, at)?;
        }
        let kind = pass.attention();
        let joined = fused::attention(q, k, v, self.n_heads, mask, kind, pass.dropout(self.dropout))?;
        pass.show(at, "heads", &joined);
        Ok(joined)
    }
}

/// `[.., N·C]` → N tensors `[.., C]`.
fn parts<const N: usize>(joined: &Tensor) -> Result<[Tensor; N]> {
    let width = joined.dim(D::Minus1)? / N;
    let mut parts = Vec::with_capacity(N);
    for part in 0..N {
        parts.push(joined.narrow(D::Minus1, part * width, width)?.contiguous()?);
    }
    Ok(parts.try_into().expect("N were made"))
}

/// `[B, T, C]` → `[B, H, T, D]`.
fn by_head(x: &Tensor, n_heads: usize) -> Result<Tensor> {
    let (n_batch, time, d_model) = x.dims3()?;
    Ok(x.reshape((n_batch, time, n_heads, d_model / n_heads))?.transpose(1, 2)?.contiguous()?)
}

/// Computes the matrices of the definition one by one, for someone to look at.
fn show_steps([q, k, v]: [&Tensor; 3], n_heads: usize, mask: &Mask, pass: &mut Pass<'_>, at: &str) -> Result<()> {
    let (n_batch, n_queries, d_model) = q.dims3()?;
    let n_keys = k.dim(1)?;
    for (part, x) in [("query", q), ("key", k), ("value", v)] {
        pass.show(at, part, &by_head(x, n_heads)?);
    }
    let scores = by_head(q, n_heads)?.matmul(&by_head(k, n_heads)?.transpose(2, 3)?.contiguous()?)?;
    pass.show(at, "scores", &scores);
    let scaled = (scores / ((d_model / n_heads) as f64).sqrt())?;
    pass.show(at, "scaled", &scaled);
    let mut hidden = vec![0.0_f32; n_batch * n_queries * n_keys];
    for (row, keys) in hidden.chunks_exact_mut(n_keys).enumerate() {
        keys[mask.n_seen(row / n_queries, row % n_queries, n_queries, n_keys)..].fill(f32::NEG_INFINITY);
    }
    let hidden = Tensor::from_vec(hidden, (n_batch, 1, n_queries, n_keys), &Device::Cpu)?;
    let masked = scaled.broadcast_add(&hidden)?;
    pass.show(at, "masked", &masked);
    // A row that sees nothing has −∞ for its largest score, and zeros for its probabilities.
    let largest = masked.max_keepdim(D::Minus1)?.maximum(f64::from(f32::MIN))?;
    let weights = masked.broadcast_sub(&largest)?.exp()?;
    let sums = weights.sum_keepdim(D::Minus1)?.maximum(f64::from(f32::MIN_POSITIVE))?;
    pass.show(at, "probabilities", &weights.broadcast_div(&sums)?);
    Ok(())
}
