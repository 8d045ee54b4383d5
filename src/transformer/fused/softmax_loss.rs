//! The output layer and its loss in one: hidden rows against a table of tokens, softmax, −ln P of the targets.
//!
//! The logits, N · V numbers, are the largest thing in a step, so they never exist as a whole: rows come in blocks, each
//! worker owns a part of the table, and the gradients are computed on the way forward, while a block's logits are at hand.
//! The backward pass multiplies them by the one number that the loss is multiplied by later.

use std::sync::Mutex;

use candle_core::{CpuStorage, CustomOp2, CustomOp3, D, DType, Device, Layout, Shape, Tensor};
use rayon::prelude::*;

use super::slices::{Floats, floats, fusible, result, share, tracked};
use crate::error::{Error, Result};
use crate::math::{Before, View, ViewMut, add, exp_and_sum, largest, multiply, scale};

/// Rows that are taken together. Their logits stay in the cache between the forward and the backward product, and the
/// table is prepared for the products once for all of them.
pub(crate) const LOGIT_ROWS: usize = 256;

/// The mean of −ln softmax(hidden · tableᵀ + bias)\[target\] over the rows whose target is not `ignore`, in nats.
///
/// 0 when every target is ignored.
///
/// # Shapes
/// `hidden` `[N, C]`, `table` `[V, C]`, `bias` `[V]`, `targets` u32 `[N]` → a scalar.
///
/// # Errors
/// [`Error::Config`] when a target that is not ignored is not below V.
pub fn softmax_loss(
    hidden: &Tensor,
    table: &Tensor,
    bias: Option<&Tensor>,
    targets: &Tensor,
    ignore: Option<u32>,
) -> Result<Tensor> {
    let (n_tokens, width) = table.dims2()?;
    let list = targets.to_device(&Device::Cpu)?.to_vec1::<u32>()?;
    if let Some(target) = list.iter().find(|&&target| target as usize >= n_tokens && Some(target) != ignore) {
        return Err(Error::config("targets", format!("token {target}, the table has {n_tokens} rows")));
    }
    let fits = hidden.dims() == [list.len(), width] && bias.is_none_or(|bias| bias.dims() == [n_tokens]);
    let all = [Some(hidden), Some(table), bias];
    let all: Vec<&Tensor> = all.into_iter().flatten().collect();
    if !(fits && fusible(&all) && hidden.elem_count() > 0 && n_tokens > 0) {
        return composite(hidden, table, bias, targets, ignore);
    }
    let (asked, table_asked) = (tracked(&all), tracked(&[table]));
    let op = SoftmaxLoss { targets: list, ignore, asked, table_asked, gradients: Mutex::new(None) };
    let (hidden, table) = (hidden.contiguous()?, table.contiguous()?);
    Ok(match bias {
        Some(bias) => hidden.apply_op3(&table, &bias.contiguous()?, op)?,
        None => hidden.apply_op2(&table, op)?,
    })
}

fn composite(
    hidden: &Tensor,
    table: &Tensor,
    bias: Option<&Tensor>,
    targets: &Tensor,
    ignore: Option<u32>,
) -> Result<Tensor> {
    let logits = super::linear(hidden, table, bias)?;
    let centered = logits.broadcast_sub(&logits.max_keepdim(D::Minus1)?.detach())?;
    let log_sums = centered.exp()?.sum_keepdim(D::Minus1)?.log()?;
    let counted = match ignore {
        Some(ignore) => targets.ne(ignore)?,
        None => targets.ones_like()?.to_dtype(DType::U8)?,
    };
    let chosen = counted.where_cond(targets, &targets.zeros_like()?)?;
    let counted = counted.to_dtype(hidden.dtype())?;
    let nats = (log_sums - centered.gather(&chosen.unsqueeze(1)?, 1)?)?.squeeze(1)?;
    let n_counted = counted.sum_all()?.to_dtype(DType::F64)?.to_scalar::<f64>()?.max(1.0);
    Ok(((nats * counted)?.sum_all()? / n_counted)?)
}

struct SoftmaxLoss {
    targets: Vec<u32>,
    ignore: Option<u32>,
    /// Whether gradients are computed on the way forward.
    asked: bool,
    /// Whether that of the table is among them; it is a third of the work.
    table_asked: bool,
    gradients: Mutex<Option<Gradients>>,
}

/// For a loss that counts once.
#[derive(Clone)]
struct Gradients {
    hidden: Vec<f32>,
    table: Vec<f32>,
    bias: Vec<f32>,
}

/// A worker's part of the table, and what it finds out about a block of rows.
struct Part<'a> {
    first_token: usize,
    table: &'a [f32],
    bias: Option<&'a [f32]>,
    of_table: &'a mut [f32],
    of_bias: &'a mut [f32],
    /// `[LOGIT_ROWS, tokens of this part]`.
    logits: Vec<f32>,
    /// Of each row: the largest logit, the sum of e^(logit − largest), and the target's logit where it lies here.
    peaks: Vec<f32>,
    sums: Vec<f32>,
    target_logits: Vec<f32>,
    /// This part's share of the gradient of the rows, `[LOGIT_ROWS, C]`.
    of_rows: Vec<f32>,
}

impl Part<'_> {
    fn n_tokens(&self, width: usize) -> usize {
        self.table.len() / width
    }

    fn forward(&mut self, rows: &[f32], targets: &[u32], width: usize) {
        let n = self.n_tokens(width);
        let logits = &mut self.logits[..targets.len() * n];
        let table = View::packed(self.table, width).transposed();
        multiply(View::packed(rows, width), table, 1.0, Before::Replaced, ViewMut::packed(logits, n));
        for (row, logits) in logits.chunks_exact_mut(n).enumerate() {
            if let Some(bias) = self.bias {
                add(logits, bias);
            }
            self.target_logits[row] = match (targets[row] as usize).checked_sub(self.first_token) {
                Some(at) if at < n => logits[at],
                _ => 0.0,
            };
            self.peaks[row] = largest(logits);
            self.sums[row] = exp_and_sum(logits, self.peaks[row]);
        }
    }

    /// `weights` are what each row's loss counts; `log_sums` are ln Σ e^logit over all parts.
    fn backward(&mut self, rows: &[f32], targets: &[u32], weights: &[f32], log_sums: &[f32], width: usize) {
        let n = self.n_tokens(width);
        let logits = &mut self.logits[..targets.len() * n];
        for (row, gradient) in logits.chunks_exact_mut(n).enumerate() {
            scale(gradient, weights[row] * (self.peaks[row] - log_sums[row]).exp());
            if let Some(at) = (targets[row] as usize).checked_sub(self.first_token)
                && at < n
            {
                gradient[at] -= weights[row];
            }
            if self.bias.is_some() {
                add(self.of_bias, gradient);
            }
        }
        let (logits, rows) = (View::packed(logits, n), View::packed(rows, width));
        let of_rows = ViewMut::packed(&mut self.of_rows[..targets.len() * width], width);
        multiply(logits, View::packed(self.table, width), 1.0, Before::Replaced, of_rows);
        if !self.of_table.is_empty() {
            let of_table = ViewMut::packed(self.of_table, width);
            multiply(logits.transposed(), rows, 1.0, Before::AddedTo, of_table);
        }
    }
}

impl SoftmaxLoss {
    /// The loss, and its gradients where they are `asked` for.
    fn compute(&self, hidden: &[f32], table: &[f32], bias: Option<&[f32]>, asked: bool) -> (f64, Option<Gradients>) {
        let width = hidden.len() / self.targets.len();
        let n_tokens = table.len() / width;
        let counts = |target: u32| Some(target) != self.ignore;
        let n_counted = self.targets.iter().filter(|&&target| counts(target)).count();
        let weight = 1.0 / n_counted.max(1) as f32;
        let size = |n: usize| if asked { n } else { 0 };
        let mut gradients = Gradients {
            hidden: vec![0.0; size(hidden.len())],
            table: vec![0.0; if self.table_asked { size(table.len()) } else { 0 }],
            bias: vec![0.0; size(bias.map_or(0, <[f32]>::len))],
        };
        let piece = share(n_tokens, rayon::current_num_threads());
        let mut tables = gradients.table.chunks_mut(piece * width);
        let mut biases = gradients.bias.chunks_mut(piece);
        let rows = LOGIT_ROWS.min(self.targets.len());
        let mut parts: Vec<Part<'_>> = table
            .chunks(piece * width)
            .enumerate()
            .map(|(part, table)| Part {
                first_token: part * piece,
                table,
                bias: bias.map(|bias| &bias[part * piece..][..table.len() / width]),
                of_table: tables.next().unwrap_or_default(),
                of_bias: biases.next().unwrap_or_default(),
                logits: vec![0.0; rows * (table.len() / width)],
                peaks: vec![0.0; rows],
                sums: vec![0.0; rows],
                target_logits: vec![0.0; rows],
                of_rows: vec![0.0; size(rows * width)],
            })
            .collect();
        let mut nats = 0.0;
        for (block, (targets, rows)) in
            self.targets.chunks(LOGIT_ROWS).zip(hidden.chunks(LOGIT_ROWS * width)).enumerate()
        {
            parts.par_iter_mut().for_each(|part| part.forward(rows, targets, width));
            let weights: Vec<f32> = targets.iter().map(|&target| if counts(target) { weight } else { 0.0 }).collect();
            let log_sums: Vec<f32> = (0..targets.len())
                .map(|row| {
                    let peak = parts.iter().map(|part| part.peaks[row]).fold(f32::NEG_INFINITY, f32::max);
                    let sum: f32 = parts.iter().map(|part| part.sums[row] * (part.peaks[row] - peak).exp()).sum();
                    peak + sum.ln()
                })
                .collect();
            for (row, &target) in targets.iter().enumerate() {
                if counts(target) {
                    let target_logit: f32 = parts.iter().map(|part| part.target_logits[row]).sum();
                    nats += f64::from(log_sums[row]) - f64::from(target_logit);
                }
            }
            if asked {
                parts.par_iter_mut().for_each(|part| part.backward(rows, targets, &weights, &log_sums, width));
                let of_rows = &mut gradients.hidden[block * LOGIT_ROWS * width..][..rows.len()];
                parts.iter().for_each(|part| add(of_rows, &part.of_rows[..rows.len()]));
            }
        }
        (nats / n_counted.max(1) as f64, asked.then_some(gradients))
    }

    fn run(&self, hidden: &[f32], table: &[f32], bias: Option<&[f32]>) -> candle_core::Result<(CpuStorage, Shape)> {
        let (loss, gradients) = self.compute(hidden, table, bias, self.asked);
        *self.gradients.lock().map_err(|_| candle_core::Error::Msg("a loss panicked before".into()))? = gradients;
        result(vec![loss as f32], ())
    }

    /// The kept gradients times that of the loss; computed anew when they are asked for a second time.
    fn take(
        &self,
        hidden: &Tensor,
        table: &Tensor,
        bias: Option<&Tensor>,
        gradient: &Tensor,
    ) -> candle_core::Result<(Tensor, Option<Tensor>, Option<Tensor>)> {
        let factor = gradient.to_scalar::<f32>()?;
        let kept = self.gradients.lock().map_err(|_| candle_core::Error::Msg("a loss panicked before".into()))?.take();
        let gradients = match kept {
            Some(gradients) => Some(gradients),
            None => {
                let numbers = bias.map(Floats::of).transpose()?;
                self.compute(&Floats::of(hidden)?, &Floats::of(table)?, numbers.as_deref(), true).1
            }
        };
        let Some(mut gradients) = gradients else { candle_core::bail!("a loss has no gradient") };
        if factor != 1.0 {
            for numbers in [&mut gradients.hidden, &mut gradients.table, &mut gradients.bias] {
                scale(numbers, factor);
            }
        }
        Ok((
            Tensor::from_vec(gradients.hidden, hidden.shape(), hidden.device())?,
            self.table_asked.then(|| Tensor::from_vec(gradients.table, table.shape(), table.device())).transpose()?,
            bias.map(|bias| Tensor::from_vec(gradients.bias, bias.shape(), bias.device())).transpose()?,
        ))
    }
}

impl CustomOp2 for SoftmaxLoss {
    fn name(&self) -> &'static str {
        "softmax loss"
    }

    fn cpu_fwd(
        &self,
        hidden: &CpuStorage,
        hidden_layout: &Layout,
        table: &CpuStorage,
        table_layout: &Layout,
    ) -> candle_core::Result<(CpuStorage, Shape)> {
        self.run(floats(hidden, hidden_layout)?, floats(table, table_layout)?, None)
    }

    fn bwd(
        &self,
        hidden: &Tensor,
        table: &Tensor,
        _: &Tensor,
        gradient: &Tensor,
    ) -> candle_core::Result<(Option<Tensor>, Option<Tensor>)> {
        let (of_hidden, of_table, _) = self.take(hidden, table, None, gradient)?;
        Ok((Some(of_hidden), of_table))
    }
}

impl CustomOp3 for SoftmaxLoss {
    fn name(&self) -> &'static str {
        "softmax loss with bias"
    }

    fn cpu_fwd(
        &self,
        hidden: &CpuStorage,
        hidden_layout: &Layout,
        table: &CpuStorage,
        table_layout: &Layout,
        bias: &CpuStorage,
        bias_layout: &Layout,
    ) -> candle_core::Result<(CpuStorage, Shape)> {
        let bias = floats(bias, bias_layout)?;
        self.run(floats(hidden, hidden_layout)?, floats(table, table_layout)?, Some(bias))
    }

    fn bwd(
        &self,
        hidden: &Tensor,
        table: &Tensor,
        bias: &Tensor,
        _: &Tensor,
        gradient: &Tensor,
    ) -> candle_core::Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let (of_hidden, of_table, of_bias) = self.take(hidden, table, Some(bias), gradient)?;
        Ok((Some(of_hidden), of_table, of_bias))
    }
}

#[cfg(test)]
mod tests {
    use super::super::gradient_check::check;
    use super::*;

    #[test]
    fn values_and_gradients_are_those_of_the_definition() {
        for (targets, n_tokens) in [(vec![0u32], 1), (vec![4, 0, 2, 2, 9, 1], 5), ((0..40).collect(), 41)] {
            let targets_list: Vec<u32> = targets.clone();
            let targets = Tensor::new(&targets[..], &Device::Cpu).unwrap();
            let ignore = targets_list.contains(&9).then_some(9).filter(|_| n_tokens == 5);
            let (n, width) = (targets_list.len(), 3);
            if n_tokens == 1 {
                // One token has probability 1: the loss is 0, and so are all gradients.
                let x = Tensor::ones((1, width), DType::F32, &Device::Cpu).unwrap();
                let loss = softmax_loss(&x, &x, None, &targets, None).unwrap();
                assert!(loss.to_scalar::<f32>().unwrap().abs() < 1e-6);
                continue;
            }
            let fused = |x: &[Tensor]| softmax_loss(&x[0], &x[1], Some(&x[2]), &targets, ignore);
            let defined = |x: &[Tensor]| composite(&x[0], &x[1], Some(&x[2]), &targets, ignore);
            check(&[&[n, width], &[n_tokens, width], &[n_tokens]], &fused, &defined);
            let fused = |x: &[Tensor]| softmax_loss(&x[0], &x[1], None, &targets, ignore);
            let defined = |x: &[Tensor]| composite(&x[0], &x[1], None, &targets, ignore);
            check(&[&[n, width], &[n_tokens, width]], &fused, &defined);
        }
    }

    #[test]
    fn a_table_that_is_left_alone_has_no_gradient_and_changes_none() {
        let var = |shape: &[usize], seed: u64| {
            let numbers = super::super::gradient_check::numbers(shape.iter().product(), seed);
            let numbers: Vec<f32> = numbers.iter().map(|&x| x as f32).collect();
            candle_core::Var::from_tensor(&Tensor::from_vec(numbers, shape, &Device::Cpu).unwrap()).unwrap()
        };
        let (hidden, table, bias) = (var(&[5, 3], 1), var(&[7, 3], 2), var(&[7], 3));
        let targets = Tensor::new(&[0u32, 6, 3, 3, 1], &Device::Cpu).unwrap();
        let gradients =
            |table: &Tensor| softmax_loss(&hidden, table, Some(&bias), &targets, None).unwrap().backward().unwrap();
        let (all, without) = (gradients(&table), gradients(&table.as_detached_tensor()));
        for var in [&hidden, &bias] {
            let numbers = |gradients: &candle_core::backprop::GradStore| {
                gradients.get(var).unwrap().flatten_all().unwrap().to_vec1::<f32>().unwrap()
            };
            assert_eq!(numbers(&all), numbers(&without));
        }
        assert!(all.get(&table).is_some() && without.get(&table).is_none());
    }

    #[test]
    fn many_blocks_of_rows_give_what_the_definition_gives_and_so_does_a_second_backward() {
        let (n, n_tokens, width) = (2 * LOGIT_ROWS + 7, 50, 8);
        let fill = |n: usize, seed: u64| -> Vec<f32> {
            super::super::gradient_check::numbers(n, seed).iter().map(|&x| x as f32).collect()
        };
        let var = |n: usize, seed: u64| {
            let tensor = Tensor::from_vec(fill(n * width, seed), (n, width), &Device::Cpu).unwrap();
            candle_core::Var::from_tensor(&tensor).unwrap()
        };
        let (hidden, table) = (var(n, 1), var(n_tokens, 2));
        let targets: Vec<u32> = (0..n as u32).map(|i| i * 7 % n_tokens as u32).collect();
        let targets = Tensor::new(targets, &Device::Cpu).unwrap();
        let fused = (softmax_loss(&hidden, &table, None, &targets, Some(3)).unwrap() * 5.0).unwrap();
        let defined = (composite(&hidden, &table, None, &targets, Some(3)).unwrap() * 5.0).unwrap();
        let wanted = defined.backward().unwrap();
        for _ in 0..2 {
            let found = fused.backward().unwrap();
            for var in [&hidden, &table] {
                let difference = (found.get(var).unwrap() - wanted.get(var).unwrap()).unwrap().abs().unwrap();
                assert!(difference.max_all().unwrap().to_scalar::<f32>().unwrap() < 1e-6);
            }
        }
        let evaluated =
            softmax_loss(&hidden.as_detached_tensor(), &table.as_detached_tensor(), None, &targets, Some(3));
        let (a, b) = (evaluated.unwrap().to_scalar::<f32>().unwrap(), fused.to_scalar::<f32>().unwrap());
        assert!((5.0 * a - b).abs() < 1e-5);
    }

    #[test]
    fn when_all_targets_are_ignored_the_loss_is_0_and_a_target_beyond_the_table_is_refused() {
        let x = candle_core::Var::ones((2, 3), DType::F32, &Device::Cpu).unwrap();
        let loss =
            |targets: &[u32], ignore| softmax_loss(&x, &x, None, &Tensor::new(targets, &Device::Cpu).unwrap(), ignore);
        assert_eq!(loss(&[8, 8], Some(8)).unwrap().to_scalar::<f32>().unwrap(), 0.0);
        let gradients = loss(&[8, 8], Some(8)).unwrap().backward().unwrap();
        assert_eq!(gradients.get(&x).unwrap().to_vec2::<f32>().unwrap(), [[0.0; 3]; 2]);
        assert!(matches!(loss(&[0, 2], Some(8)), Err(Error::Config { .. })));
    }
}
