//! Attention in tiles of keys: the fused operation behind both kinds.
//!
//! For a block of queries the keys come tile by tile. What was summed up so far is rescaled when a tile has a higher score
//! than all before (the online softmax), so that only one tile of scores exists at a time. Kept for the backward pass is
//! one number per query, ln Σ e^score; the scores are computed anew there. The plain kind is one tile with all queries
//! and keys of a head.

use std::sync::Mutex;

use candle_core::{CpuStorage, CustomOp1, CustomOp3, Layout, Result, Shape, Tensor, bail};
use rayon::prelude::*;

use super::attention::Mask;
use super::dropout::{Thinning, thin};
use super::slices::{Floats, floats, result};
use crate::math::{Before, View, ViewMut, exp_and_sum, largest, multiply, scale, softmax_back};

/// What is the same for all heads.
#[derive(Debug, Clone)]
pub(super) struct Tiling {
    pub(super) n_heads: usize,
    pub(super) mask: Mask,
    /// Queries that are taken together.
    pub(super) queries: usize,
    /// Keys in a tile.
    pub(super) keys: usize,
    pub(super) thinning: Option<Thinning>,
}

/// Queries, keys and values of a batch, as rows of numbers a stride apart.
#[derive(Clone, Copy)]
struct Inputs<'a> {
    q: &'a [f32],
    k: &'a [f32],
    v: &'a [f32],
    q_stride: usize,
    k_stride: usize,
    n_batch: usize,
    n_queries: usize,
    n_keys: usize,
    /// Channels of one head.
    width: usize,
}

/// One head of one sentence.
#[derive(Clone, Copy)]
struct Head<'a> {
    q: View<'a>,
    k: View<'a>,
    v: View<'a>,
    sentence: usize,
    /// Where its scores begin among all, which names them to the dropout.
    first_place: u64,
}

impl<'a> Inputs<'a> {
    fn head(&self, tiling: &Tiling, index: usize) -> Head<'a> {
        let (sentence, head) = (index / tiling.n_heads, index % tiling.n_heads);
        let view = |numbers: &'a [f32], n_rows: usize, stride: usize| {
            let start = sentence * n_rows * stride + head * self.width;
            View::strided(&numbers[start.min(numbers.len())..], n_rows, self.width, stride)
        };
        Head {
            q: view(self.q, self.n_queries, self.q_stride),
            k: view(self.k, self.n_keys, self.k_stride),
            v: view(self.v, self.n_keys, self.k_stride),
            sentence,
            first_place: (index * self.n_queries * self.n_keys) as u64,
        }
    }

    fn factor(&self) -> f32 {
        1.0 / (self.width as f32).sqrt()
    }

    /// How many keys a query sees.
    fn n_seen(&self, tiling: &Tiling, head: &Head<'_>, query: usize) -> usize {
        tiling.mask.n_seen(head.sentence, query, self.n_queries, self.n_keys)
    }
}

impl Tiling {
    /// The result by heads, `[B, H, Tq, D]`, and ln Σ e^score of each query, `[B, H, Tq]`.
    fn forward(&self, inputs: &Inputs<'_>) -> (Vec<f32>, Vec<f32>) {
        let n = inputs.n_batch * self.n_heads * inputs.n_queries;
        let (mut out, mut log_sums) = (vec![0.0; n * inputs.width], vec![0.0; n]);
        let heads = out.par_chunks_mut(inputs.n_queries * inputs.width).zip(log_sums.par_chunks_mut(inputs.n_queries));
        heads.enumerate().for_each(|(index, (out, log_sums))| {
            let head = inputs.head(self, index);
            let mut scores = vec![0.0; self.queries.min(inputs.n_queries) * self.keys.min(inputs.n_keys)];
            let blocks = out.chunks_mut(self.queries * inputs.width).zip(log_sums.chunks_mut(self.queries));
            for (block, (out, log_sums)) in blocks.enumerate() {
                self.block_forward(inputs, &head, block * self.queries, &mut scores, out, log_sums);
            }
        });
        (out, log_sums)
    }

    fn block_forward(
        &self,
        inputs: &Inputs<'_>,
        head: &Head<'_>,
        first_query: usize,
        scores: &mut [f32],
        out: &mut [f32],
        log_sums: &mut [f32],
    ) {
        let n = log_sums.len();
        let (mut peaks, mut sums) = (vec![f32::NEG_INFINITY; n], vec![0.0; n]);
        let seen: Vec<usize> = (0..n).map(|i| inputs.n_seen(self, head, first_query + i)).collect();
        let last = seen.iter().copied().max().unwrap_or(0);
        for first_key in (0..last).step_by(self.keys.max(1)) {
            let keys = first_key..last.min(first_key + self.keys);
            let scores = &mut scores[..n * keys.len()];
            let k = head.k.rows(keys.clone()).transposed();
            let q = head.q.rows(first_query..first_query + n);
            multiply(q, k, inputs.factor(), Before::Replaced, ViewMut::packed(scores, keys.len()));
            for (i, scores) in scores.chunks_exact_mut(keys.len()).enumerate() {
                let (visible, hidden) = scores.split_at_mut(seen[i].saturating_sub(first_key).min(keys.len()));
                hidden.fill(0.0);
                if visible.is_empty() {
                    continue;
                }
                let peak = largest(visible).max(peaks[i]);
                // The first time it is e^−∞ = 0.
                let fade = (peaks[i] - peak).exp();
                sums[i] = sums[i] * fade + exp_and_sum(visible, peak);
                if fade != 1.0 {
                    scale(&mut out[i * inputs.width..][..inputs.width], fade);
                }
                peaks[i] = peak;
                if let Some(thinning) = self.thinning {
                    thin(thinning, place(inputs, head, first_query + i, first_key), visible);
                }
            }
            let p = View::packed(scores, keys.len());
            multiply(p, head.v.rows(keys), 1.0, Before::AddedTo, ViewMut::packed(out, inputs.width));
        }
        for (i, log_sum) in log_sums.iter_mut().enumerate() {
            if seen[i] > 0 {
                scale(&mut out[i * inputs.width..][..inputs.width], 1.0 / sums[i]);
            }
            *log_sum = peaks[i] + sums[i].ln();
        }
    }

    /// The gradients of queries, keys and values by heads, from the result and its gradient, `[B, Tq, C]`.
    fn backward(
        &self,
        inputs: &Inputs<'_>,
        log_sums: &[f32],
        out: &[f32],
        gradient: &[f32],
    ) -> (Vec<f32>, Vec<f32>, Vec<f32>) {
        let (n_heads, width, channels) = (inputs.n_batch * self.n_heads, inputs.width, inputs.width * self.n_heads);
        let (of_queries, of_keys) = (inputs.n_queries * width, inputs.n_keys * width);
        let mut of_q = vec![0.0; n_heads * of_queries];
        let (mut of_k, mut of_v) = (vec![0.0; n_heads * of_keys], vec![0.0; n_heads * of_keys]);
        let heads = of_q
            .par_chunks_mut(of_queries.max(1))
            .zip(of_k.par_chunks_mut(of_keys.max(1)))
            .zip(of_v.par_chunks_mut(of_keys.max(1)));
        heads.enumerate().for_each(|(index, ((of_q, of_k), of_v))| {
            let head = inputs.head(self, index);
            let start = head.sentence * inputs.n_queries * channels + index % self.n_heads * width;
            let rows = |numbers| View::strided(numbers, inputs.n_queries, width, channels);
            let (out, gradient) = (&out[start..], &gradient[start..]);
            let alongs: Vec<f32> = (0..inputs.n_queries)
                .map(|i| crate::math::dot(&out[i * channels..][..width], &gradient[i * channels..][..width]))
                .collect();
            let log_sums = &log_sums[index * inputs.n_queries..][..inputs.n_queries];
            let size = self.queries.min(inputs.n_queries) * self.keys.min(inputs.n_keys);
            let (mut p, mut of_p) = (vec![0.0; size], vec![0.0; size]);
            // The probabilities as the values saw them, where that is something else.
            let mut thinned = vec![0.0; if self.thinning.is_some() { size } else { 0 }];
            for first_query in (0..inputs.n_queries).step_by(self.queries) {
                let queries = first_query..inputs.n_queries.min(first_query + self.queries);
                let n = queries.len();
                let seen: Vec<usize> = queries.clone().map(|query| inputs.n_seen(self, &head, query)).collect();
                let last = seen.iter().copied().max().unwrap_or(0);
                let (q, gradient) = (head.q.rows(queries.clone()), rows(gradient).rows(queries.clone()));
                for first_key in (0..last).step_by(self.keys.max(1)) {
                    let keys = first_key..last.min(first_key + self.keys);
                    let (p, of_p) = (&mut p[..n * keys.len()], &mut of_p[..n * keys.len()]);
                    let (k, v) = (head.k.rows(keys.clone()), head.v.rows(keys.clone()));
                    multiply(q, k.transposed(), inputs.factor(), Before::Replaced, ViewMut::packed(p, keys.len()));
                    multiply(gradient, v.transposed(), 1.0, Before::Replaced, ViewMut::packed(of_p, keys.len()));
                    for (i, p) in p.chunks_exact_mut(keys.len()).enumerate() {
                        let (visible, hidden) = p.split_at_mut(seen[i].saturating_sub(first_key).min(keys.len()));
                        hidden.fill(0.0);
                        exp_and_sum(visible, log_sums[queries.start + i]);
                    }
                    let mut seen_by_values = &*p;
                    if let Some(thinning) = self.thinning {
                        let thinned = &mut thinned[..p.len()];
                        thinned.copy_from_slice(p);
                        let rows = thinned.chunks_exact_mut(keys.len()).zip(of_p.chunks_exact_mut(keys.len()));
                        for (i, (thinned, of_p)) in rows.enumerate() {
                            let first = place(inputs, &head, queries.start + i, first_key);
                            thin(thinning, first, thinned);
                            thin(thinning, first, of_p);
                        }
                        seen_by_values = thinned;
                    }
                    let of_v = ViewMut::packed(&mut of_v[keys.start * width..keys.end * width], width);
                    let seen_by_values = View::packed(seen_by_values, keys.len()).transposed();
                    multiply(seen_by_values, gradient, 1.0, Before::AddedTo, of_v);
                    let rows = p.chunks_exact_mut(keys.len()).zip(of_p.chunks_exact(keys.len()));
                    for ((i, (p, of_p)), along) in rows.enumerate().zip(&alongs[queries.clone()]) {
                        let n_visible = seen[i].saturating_sub(first_key).min(keys.len());
                        softmax_back(&mut p[..n_visible], &of_p[..n_visible], *along, inputs.factor());
                    }
                    let of_scores = View::packed(p, keys.len());
                    let of_q = ViewMut::packed(&mut of_q[queries.start * width..queries.end * width], width);
                    multiply(of_scores, k, 1.0, Before::AddedTo, of_q);
                    let of_k = ViewMut::packed(&mut of_k[keys.start * width..keys.end * width], width);
                    multiply(of_scores.transposed(), q, 1.0, Before::AddedTo, of_k);
                }
            }
        });
        (of_q, of_k, of_v)
    }

    fn n_keys_and_shape(&self, q: &[usize], k: &[usize]) -> Result<(usize, usize, usize, usize)> {
        match (q, k) {
            (&[n_batch, n_queries, channels], &[k_batch, n_keys, k_channels])
                if n_batch == k_batch && channels == k_channels && channels.is_multiple_of(self.n_heads) =>
            {
                Ok((n_batch, n_queries, n_keys, channels))
            }
            _ => bail!("queries {q:?} and keys {k:?} do not fit"),
        }
    }
}

fn place(inputs: &Inputs<'_>, head: &Head<'_>, query: usize, key: usize) -> u64 {
    head.first_place + (query * inputs.n_keys + key) as u64
}

/// `[B, H, T, D]` → the channels from `first` on of rows `[B, T, stride]`.
fn join_heads(heads: &[f32], n_heads: usize, time: usize, width: usize, first: usize, stride: usize, out: &mut [f32]) {
    let sentence = n_heads * time * width;
    if sentence == 0 {
        return;
    }
    out.par_chunks_mut(time * stride).zip(heads.par_chunks(sentence)).for_each(|(out, heads)| {
        for (head, rows) in heads.chunks_exact(time * width).enumerate() {
            for (row, numbers) in rows.chunks_exact(width).enumerate() {
                out[row * stride + first + head * width..][..width].copy_from_slice(numbers);
            }
        }
    });
}

/// Attention of queries to the keys and values of others.
pub(super) struct Attention {
    pub(super) tiling: Tiling,
    pub(super) log_sums: Mutex<Vec<f32>>,
}

impl Attention {
    pub(super) fn new(tiling: Tiling) -> Attention {
        Attention { tiling, log_sums: Mutex::new(Vec::new()) }
    }

    fn run(&self, inputs: &Inputs<'_>) -> Result<(CpuStorage, Shape)> {
        let (heads, log_sums) = self.tiling.forward(inputs);
        let (time, width, n_heads) = (inputs.n_queries, inputs.width, self.tiling.n_heads);
        let mut out = vec![0.0; heads.len()];
        join_heads(&heads, n_heads, time, width, 0, n_heads * width, &mut out);
        *self.log_sums.lock().map_err(|_| candle_core::Error::Msg("attention panicked before".into()))? = log_sums;
        result(out, (inputs.n_batch, time, n_heads * width))
    }

    fn run_back(&self, inputs: &Inputs<'_>, out: &Tensor, gradient: &Tensor) -> Result<(Vec<f32>, Vec<f32>, Vec<f32>)> {
        let gradient = gradient.contiguous()?;
        let log_sums = self.log_sums.lock().map_err(|_| candle_core::Error::Msg("attention panicked before".into()))?;
        Ok(self.tiling.backward(inputs, &log_sums, &Floats::of(out)?, &Floats::of(&gradient)?))
    }
}

impl CustomOp3 for Attention {
    fn name(&self) -> &'static str {
        "attention"
    }

    fn cpu_fwd(
        &self,
        q: &CpuStorage,
        q_layout: &Layout,
        k: &CpuStorage,
        k_layout: &Layout,
        v: &CpuStorage,
        v_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (q, k, v) = (floats(q, q_layout)?, floats(k, k_layout)?, floats(v, v_layout)?);
        let (n_batch, n_queries, n_keys, channels) = self.tiling.n_keys_and_shape(q_layout.dims(), k_layout.dims())?;
        let width = channels / self.tiling.n_heads;
        self.run(&Inputs { q, k, v, q_stride: channels, k_stride: channels, n_batch, n_queries, n_keys, width })
    }

    fn bwd(
        &self,
        q: &Tensor,
        k: &Tensor,
        v: &Tensor,
        out: &Tensor,
        gradient: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let (n_batch, n_queries, n_keys, channels) = self.tiling.n_keys_and_shape(q.dims(), k.dims())?;
        let (n_heads, width) = (self.tiling.n_heads, channels / self.tiling.n_heads);
        let (q_numbers, k_numbers, v_numbers) = (Floats::of(q)?, Floats::of(k)?, Floats::of(v)?);
        let inputs = Inputs {
            q: &q_numbers,
            k: &k_numbers,
            v: &v_numbers,
            q_stride: channels,
            k_stride: channels,
            n_batch,
            n_queries,
            n_keys,
            width,
        };
        let (of_q, of_k, of_v) = self.run_back(&inputs, out, gradient)?;
        let joined = |heads: Vec<f32>, time: usize, like: &Tensor| {
            let mut out = vec![0.0; heads.len()];
            join_heads(&heads, n_heads, time, width, 0, channels, &mut out);
            Tensor::from_vec(out, like.shape(), like.device()).map(Some)
        };
        Ok((joined(of_q, n_queries, q)?, joined(of_k, n_keys, k)?, joined(of_v, n_keys, v)?))
    }
}

/// Attention of a sentence to itself, with queries, keys and values side by side in each row.
impl CustomOp1 for Attention {
    fn name(&self) -> &'static str {
        "self-attention"
    }

    fn cpu_fwd(&self, qkv: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let (n_batch, time, channels) = layout.shape().dims3()?;
        self.run(&self.of_itself(floats(qkv, layout)?, n_batch, time, channels / 3))
    }

    fn bwd(&self, qkv: &Tensor, out: &Tensor, gradient: &Tensor) -> Result<Option<Tensor>> {
        let (n_batch, time, three) = qkv.dims3()?;
        let numbers = Floats::of(qkv)?;
        let inputs = self.of_itself(&numbers, n_batch, time, three / 3);
        let (of_q, of_k, of_v) = self.run_back(&inputs, out, gradient)?;
        let mut of_qkv = vec![0.0; numbers.len()];
        for (place, heads) in [of_q, of_k, of_v].iter().enumerate() {
            let first = place * three / 3;
            join_heads(heads, self.tiling.n_heads, time, inputs.width, first, three, &mut of_qkv);
        }
        Ok(Some(Tensor::from_vec(of_qkv, qkv.shape(), qkv.device())?))
    }
}

impl Attention {
    fn of_itself<'a>(&self, qkv: &'a [f32], n_batch: usize, time: usize, channels: usize) -> Inputs<'a> {
        let stride = 3 * channels;
        let from = |first: usize| &qkv[first.min(qkv.len())..];
        Inputs {
            q: qkv,
            k: from(channels),
            v: from(2 * channels),
            q_stride: stride,
            k_stride: stride,
            n_batch,
            n_queries: time,
            n_keys: time,
            width: channels / self.tiling.n_heads,
        }
    }
}
