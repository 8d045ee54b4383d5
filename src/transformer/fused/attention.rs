//! Every position looks at others and takes a weighted mean of what they offer.

use candle_core::{D, DType, Tensor};

use super::attention_tiles::{Attention, Tiling};
use super::dropout::{Dropout, Thinning};
use super::slices::fusible;
use crate::error::{Error, Result};

/// How far a position sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// Every query sees every key.
    All,
    /// The queries are the last Tq of the Tk positions: query i sees keys up to i + (Tk − Tq).
    Past,
}

/// Which keys a query sees.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mask {
    /// Whether later keys are hidden.
    pub reach: Reach,
    /// For each sentence of the batch, the number of keys that are no padding; the rest is hidden.
    pub key_lengths: Option<Vec<usize>>,
}

impl Mask {
    /// Everything is seen.
    pub const NONE: Mask = Mask { reach: Reach::All, key_lengths: None };
    /// Later keys are hidden.
    pub const CAUSAL: Mask = Mask { reach: Reach::Past, key_lengths: None };

    /// How many keys, from the first, query `query` of sentence `sentence` sees.
    pub(crate) fn n_seen(&self, sentence: usize, query: usize, n_queries: usize, n_keys: usize) -> usize {
        let present = self.key_lengths.as_ref().map_or(n_keys, |lengths| lengths[sentence].min(n_keys));
        match self.reach {
            Reach::All => present,
            Reach::Past => present.min((query + 1 + n_keys).saturating_sub(n_queries)),
        }
    }
}

/// How attention is computed; the answer is the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AttentionKind {
    /// By its definition: all Tq · Tk scores of a head are held.
    Plain,
    /// Flash attention: keys in tiles with an online softmax, and the scores anew in the backward pass. No memory that
    /// grows with Tq · Tk.
    Tiled,
}

impl AttentionKind {
    /// Queries and keys whose scores are held at a time.
    fn tile(self, n_queries: usize, n_keys: usize) -> (usize, usize) {
        match self {
            AttentionKind::Plain => (n_queries, n_keys),
            // 32 kB of scores, which a core's first cache holds.
            AttentionKind::Tiled => (64, 128),
        }
    }
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
    check(n_batch, channels, n_heads, mask)?;
    let thinning = Thinning::draw(dropout)?;
    if fusible(&[q, k, v]) && q.elem_count() > 0 && k.elem_count() > 0 && k.shape() == v.shape() {
        let (queries, keys) = kind.tile(q.dim(1)?, k.dim(1)?);
        let tiling = Tiling { n_heads, mask: mask.clone(), queries, keys, thinning };
        return Ok(q.contiguous()?.apply_op3(&k.contiguous()?, &v.contiguous()?, Attention::new(tiling))?);
    }
    composite(q, k, v, n_heads, mask, thinning)
}

/// [`attention`] of each sentence to itself, with queries, keys and values side by side in the channels.
///
/// # Shapes
/// `qkv` `[B, T, 3 C]` → `[B, T, C]`: one product makes all three, and none of them is copied out.
///
/// # Errors
/// As [`attention`].
pub fn self_attention(
    qkv: &Tensor,
    n_heads: usize,
    mask: &Mask,
    kind: AttentionKind,
    dropout: Option<Dropout<'_>>,
) -> Result<Tensor> {
    let (n_batch, time, three) = qkv.dims3()?;
    if !three.is_multiple_of(3) {
        return Err(Error::config("channels", format!("{three} channels are not queries, keys and values")));
    }
    check(n_batch, three / 3, n_heads, mask)?;
    let thinning = Thinning::draw(dropout)?;
    if fusible(&[qkv]) && qkv.elem_count() > 0 {
        let (queries, keys) = kind.tile(time, time);
        let tiling = Tiling { n_heads, mask: mask.clone(), queries, keys, thinning };
        return Ok(qkv.contiguous()?.apply_op1(Attention::new(tiling))?);
    }
    let part = |place: usize| qkv.narrow(2, place * three / 3, three / 3);
    composite(&part(0)?, &part(1)?, &part(2)?, n_heads, mask, thinning)
}

fn check(n_batch: usize, channels: usize, n_heads: usize, mask: &Mask) -> Result<()> {
    if n_heads == 0 || !channels.is_multiple_of(n_heads) {
        return Err(Error::config("n-heads", format!("{n_heads} heads do not divide {channels} channels")));
    }
    if let Some(lengths) = &mask.key_lengths
        && lengths.len() != n_batch
    {
        return Err(Error::config("mask", format!("{} lengths for a batch of {n_batch}", lengths.len())));
    }
    Ok(())
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

#[cfg(test)]
mod tests {
    use candle_core::Device;
    use rand::SeedableRng;
    use rand::rngs::Xoshiro256PlusPlus;

    use super::super::gradient_check::{check, numbers};
    use super::*;

    const KINDS: [AttentionKind; 2] = [AttentionKind::Plain, AttentionKind::Tiled];

    fn rows(shape: (usize, usize, usize), seed: u64) -> Tensor {
        let numbers: Vec<f32> = numbers(shape.0 * shape.1 * shape.2, seed).iter().map(|&x| 3.0 * x as f32).collect();
        Tensor::from_vec(numbers, shape, &Device::Cpu).unwrap()
    }

    fn distance(a: &Tensor, b: &Tensor) -> f32 {
        (a - b).unwrap().abs().unwrap().max_all().unwrap().to_scalar().unwrap()
    }

    #[test]
    fn values_and_gradients_are_those_of_the_definition_under_every_mask() {
        let lengths = Some(vec![2, 3]);
        let padded = Mask { reach: Reach::Past, key_lengths: lengths.clone() };
        for mask in [Mask::NONE, Mask::CAUSAL, padded, Mask { reach: Reach::All, key_lengths: lengths }] {
            for (n_queries, n_keys) in [(4, 4), (2, 4), (4, 3), (1, 4)] {
                for kind in KINDS {
                    let fused = |x: &[Tensor]| attention(&x[0], &x[1], &x[2], 2, &mask, kind, None);
                    let defined = |x: &[Tensor]| composite(&x[0], &x[1], &x[2], 2, &mask, None);
                    check(&[&[2, n_queries, 6], &[2, n_keys, 6], &[2, n_keys, 6]], &fused, &defined);
                }
            }
            let own = |x: &[Tensor]| self_attention(&x[0], 2, &mask, AttentionKind::Plain, None);
            let part = |x: &Tensor, place: usize| x.narrow(2, place * 4, 4);
            let defined =
                |x: &[Tensor]| composite(&part(&x[0], 0)?, &part(&x[0], 1)?, &part(&x[0], 2)?, 2, &mask, None);
            check(&[&[2, 3, 12]], &own, &defined);
        }
    }

    #[test]
    fn dropout_thins_the_same_probabilities_either_way() {
        let seeded = || Xoshiro256PlusPlus::seed_from_u64(3);
        let thinning = || Thinning::draw(Some(Dropout { rate: 0.4, random: &mut seeded() }));
        for kind in KINDS {
            let fused = |x: &[Tensor]| {
                let dropout = Some(Dropout { rate: 0.4, random: &mut seeded() });
                attention(&x[0], &x[1], &x[2], 2, &Mask::CAUSAL, kind, dropout)
            };
            let defined = |x: &[Tensor]| composite(&x[0], &x[1], &x[2], 2, &Mask::CAUSAL, thinning()?);
            check(&[&[2, 5, 4], &[2, 5, 4], &[2, 5, 4]], &fused, &defined);
        }
    }

    #[test]
    fn many_tiles_give_what_one_gives_forward_and_backward() {
        for (n_queries, n_keys, mask) in [
            (300, 300, Mask::CAUSAL),
            (65, 400, Mask::NONE),
            (129, 300, Mask { reach: Reach::Past, key_lengths: Some(vec![300, 150]) }),
        ] {
            let seeded = || Xoshiro256PlusPlus::seed_from_u64(3);
            for rate in [0.0, 0.2] {
                let results = KINDS.map(|kind| {
                    let shapes = [(n_queries, 1), (n_keys, 2), (n_keys, 3)];
                    let inputs = shapes.map(|(n, seed)| candle_core::Var::from_tensor(&rows((2, n, 8), seed)).unwrap());
                    let [q, k, v] = inputs.each_ref().map(|var| var.as_tensor());
                    let dropout = Some(Dropout { rate, random: &mut seeded() });
                    let out = attention(q, k, v, 2, &mask, kind, dropout).unwrap();
                    let gradients = (&out * rows((2, n_queries, 8), 4)).unwrap().backward().unwrap();
                    let mut all = vec![out];
                    all.extend(inputs.iter().map(|var| gradients.get(var).unwrap().clone()));
                    all
                });
                for (plain, tiled) in results[0].iter().zip(&results[1]) {
                    // Sums of up to 400 products of numbers up to 9, in another order.
                    assert!(distance(plain, tiled) < 2e-4, "{}", distance(plain, tiled));
                }
                let thinning = Thinning::draw(Some(Dropout { rate, random: &mut seeded() })).unwrap();
                let [q, k, v] = [(n_queries, 1), (n_keys, 2), (n_keys, 3)].map(|(n, seed)| rows((2, n, 8), seed));
                let defined = composite(&q, &k, &v, 2, &mask, thinning).unwrap();
                assert!(distance(&results[1][0], &defined) < 1e-5, "{}", distance(&results[1][0], &defined));
            }
        }
    }

    #[test]
    fn a_query_that_sees_no_key_gets_zeros_and_no_gradient_is_not_a_number() {
        // F5
        let mask = Mask { reach: Reach::All, key_lengths: Some(vec![0, 2]) };
        for kind in KINDS {
            let x = candle_core::Var::from_tensor(&rows((2, 3, 4), 1)).unwrap();
            let out = attention(&x, &x, &x, 2, &mask, kind, None).unwrap();
            assert_eq!(out.get(0).unwrap().to_vec2::<f32>().unwrap(), [[0.0; 4]; 3]);
            let gradients = out.sum_all().unwrap().backward().unwrap();
            let gradient = gradients.get(&x).unwrap();
            assert_eq!(gradient.get(0).unwrap().to_vec2::<f32>().unwrap(), [[0.0; 4]; 3]);
            assert!(gradient.flatten_all().unwrap().to_vec1::<f32>().unwrap().iter().all(|x| x.is_finite()));
        }
        // With more queries than keys the first of them stand before all keys.
        let (q, k) = (rows((1, 4, 4), 1), rows((1, 2, 4), 2));
        for kind in KINDS {
            let out = attention(&q, &k, &k, 1, &Mask::CAUSAL, kind, None).unwrap();
            assert_eq!(out.to_vec3::<f32>().unwrap()[0][..2], [[0.0; 4]; 2]);
        }
    }

    #[test]
    fn later_keys_change_nothing_earlier_bit_for_bit() {
        let x = rows((1, 200, 8), 1);
        let changed = Tensor::cat(&[x.narrow(1, 0, 150).unwrap(), rows((1, 50, 8), 2)], 1).unwrap();
        for kind in KINDS {
            let [a, b] = [&x, &changed].map(|x| {
                let out = attention(x, x, x, 2, &Mask::CAUSAL, kind, None).unwrap();
                out.narrow(1, 0, 150).unwrap().flatten_all().unwrap().to_vec1::<f32>().unwrap()
            });
            assert_eq!(a, b, "{kind:?}");
        }
    }

    #[test]
    fn heads_that_do_not_divide_and_masks_that_do_not_fit_are_refused() {
        let x = rows((2, 3, 4), 1);
        let short = Mask { reach: Reach::All, key_lengths: Some(vec![1]) };
        for (n_heads, mask) in [(0, Mask::NONE), (3, Mask::NONE), (2, short)] {
            let refused = attention(&x, &x, &x, n_heads, &mask, AttentionKind::Plain, None);
            assert!(matches!(refused, Err(Error::Config { .. })));
        }
    }
}
