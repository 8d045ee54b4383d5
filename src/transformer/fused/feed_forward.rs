//! Up, bend, down: the feed-forward part as one operation.
//!
//! Its inner rows, four times as wide as the model, are most of what a step writes. Here they come in blocks that stay in
//! a core's cache between the products; each worker takes rows of its own all the way through, forward and backward, and
//! sums up weight gradients of its own.

use std::sync::Mutex;

use candle_core::{CpuStorage, CustomOp3, D, Error, Layout, Shape, Tensor};
use rayon::prelude::*;

use super::activation::{Activation, activate};
use super::bundle::Bundle;
use super::linear::linear;
use super::slices::{Floats, floats, fusible, result, share};
use crate::error::Result;
use crate::math::{Before, View, ViewMut, add, bend, bend_back, multiply};

/// Rows that are taken together: with 1024 inner channels they are 1 MB.
const ROWS: usize = 256;

/// linear(activate(linear(x, up)), down), with biases.
///
/// # Shapes
/// `x` `[.., C]`, `up` weight `[F, C]` and bias `[F]`, `down` weight `[C', F]` and bias `[C']` → `[.., C']`.
///
/// # Source
/// Vaswani et al. 2017, §3.3.
pub fn feed_forward(
    x: &Tensor,
    (up, up_bias): (&Tensor, &Tensor),
    (down, down_bias): (&Tensor, &Tensor),
    activation: Activation,
) -> Result<Tensor> {
    let (inner, inputs) = up.dims2()?;
    let (outputs, down_inputs) = down.dims2()?;
    let fits = x.dim(D::Minus1)? == inputs
        && inner == down_inputs
        && up_bias.dims() == [inner]
        && down_bias.dims() == [outputs]
        && [inner, outputs, x.elem_count()].iter().all(|&n| n > 0);
    // One row, as when text is generated, is shared out better layer by layer.
    if !(fits && fusible(&[x, up, up_bias, down, down_bias])) || x.elem_count() == inputs {
        return composite(x, (up, up_bias), (down, down_bias), activation);
    }
    let (up, up_handle) = Bundle::new(up, up_bias)?;
    let (down, down_handle) = Bundle::new(down, down_bias)?;
    let op = FeedForward { up, down, activation, inner: Mutex::new(Vec::new()) };
    Ok(x.contiguous()?.apply_op3(&up_handle, &down_handle, op)?)
}

fn composite(
    x: &Tensor,
    (up, up_bias): (&Tensor, &Tensor),
    (down, down_bias): (&Tensor, &Tensor),
    activation: Activation,
) -> Result<Tensor> {
    linear(&activate(&linear(x, up, Some(up_bias))?, activation)?, down, Some(down_bias))
}

struct FeedForward {
    up: Bundle,
    down: Bundle,
    activation: Activation,
    /// `[N, F]` before the bend, for the backward pass.
    inner: Mutex<Vec<f32>>,
}

/// One worker's sums.
struct Sums {
    up: Vec<f32>,
    up_bias: Vec<f32>,
    down: Vec<f32>,
    down_bias: Vec<f32>,
}

impl CustomOp3 for FeedForward {
    fn name(&self) -> &'static str {
        "feed-forward"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        layout: &Layout,
        _: &CpuStorage,
        _: &Layout,
        _: &CpuStorage,
        _: &Layout,
    ) -> candle_core::Result<(CpuStorage, Shape)> {
        let x = floats(x, layout)?;
        let (up, up_bias) = (Floats::of(&self.up.weight)?, Floats::of(&self.up.bias)?);
        let (down, down_bias) = (Floats::of(&self.down.weight)?, Floats::of(&self.down.bias)?);
        let (up, up_bias, down, down_bias) = (&*up, &*up_bias, &*down, &*down_bias);
        let (inner, outputs) = (up_bias.len(), down_bias.len());
        let inputs = up.len() / inner;
        let n_rows = x.len() / inputs;
        let mut before = vec![0.0; n_rows * inner];
        let mut out = vec![0.0; n_rows * outputs];
        let rows = share(n_rows, rayon::current_num_threads());
        let pieces = x.par_chunks(rows * inputs).zip(before.par_chunks_mut(rows * inner));
        pieces.zip(out.par_chunks_mut(rows * outputs)).for_each(|((x, before), out)| {
            let mut bent = vec![0.0; ROWS.min(rows) * inner];
            let blocks = x.chunks(ROWS * inputs).zip(before.chunks_mut(ROWS * inner));
            for ((x, before), out) in blocks.zip(out.chunks_mut(ROWS * outputs)) {
                let bent = &mut bent[..before.len()];
                let weight = View::packed(up, inputs).transposed();
                multiply(View::packed(x, inputs), weight, 1.0, Before::Replaced, ViewMut::packed(before, inner));
                before.chunks_exact_mut(inner).for_each(|row| add(row, up_bias));
                bend(self.activation.bend(), before, bent);
                let weight = View::packed(down, inner).transposed();
                multiply(View::packed(bent, inner), weight, 1.0, Before::Replaced, ViewMut::packed(out, outputs));
                out.chunks_exact_mut(outputs).for_each(|row| add(row, down_bias));
            }
        });
        *self.inner.lock().map_err(|_| Error::Msg("a feed-forward part panicked before".into()))? = before;
        let mut shape = layout.dims().to_vec();
        if let Some(last) = shape.last_mut() {
            *last = outputs;
        }
        result(out, shape)
    }

    fn bwd(
        &self,
        x: &Tensor,
        _: &Tensor,
        _: &Tensor,
        _: &Tensor,
        gradient: &Tensor,
    ) -> candle_core::Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let gradient = gradient.contiguous()?;
        let (numbers, gradient, up, down) =
            (Floats::of(x)?, Floats::of(&gradient)?, Floats::of(&self.up.weight)?, Floats::of(&self.down.weight)?);
        let (numbers, gradient, up, down) = (&*numbers, &*gradient, &*up, &*down);
        let (inner, outputs) = (self.up.bias.elem_count(), self.down.bias.elem_count());
        let inputs = up.len() / inner;
        let before = self.inner.lock().map_err(|_| Error::Msg("a feed-forward part panicked before".into()))?;
        let mut of_x = vec![0.0; numbers.len()];
        let rows = share(numbers.len() / inputs, rayon::current_num_threads());
        let pieces = numbers.par_chunks(rows * inputs).zip(of_x.par_chunks_mut(rows * inputs));
        let pieces = pieces.zip(before.par_chunks(rows * inner).zip(gradient.par_chunks(rows * outputs)));
        let sums = pieces.map(|((x, of_x), (before, gradient))| {
            let mut sums = Sums {
                up: vec![0.0; up.len()],
                up_bias: vec![0.0; inner],
                down: vec![0.0; down.len()],
                down_bias: vec![0.0; outputs],
            };
            let (mut bent, mut of_inner) = (vec![0.0; ROWS.min(rows) * inner], vec![0.0; ROWS.min(rows) * inner]);
            let blocks = x.chunks(ROWS * inputs).zip(of_x.chunks_mut(ROWS * inputs));
            let blocks = blocks.zip(before.chunks(ROWS * inner).zip(gradient.chunks(ROWS * outputs)));
            for (block, ((x, of_x), (before, gradient))) in blocks.enumerate() {
                // The first block need not be added to anything.
                let sum = if block == 0 { Before::Replaced } else { Before::AddedTo };
                let (bent, of_inner) = (&mut bent[..before.len()], &mut of_inner[..before.len()]);
                let gradients = View::packed(gradient, outputs);
                bend(self.activation.bend(), before, bent);
                let of_down = ViewMut::packed(&mut sums.down, inner);
                multiply(gradients.transposed(), View::packed(bent, inner), 1.0, sum, of_down);
                gradient.chunks_exact(outputs).for_each(|row| add(&mut sums.down_bias, row));
                let product = ViewMut::packed(of_inner, inner);
                multiply(gradients, View::packed(down, inner), 1.0, Before::Replaced, product);
                bend_back(self.activation.bend(), before, of_inner);
                of_inner.chunks_exact(inner).for_each(|row| add(&mut sums.up_bias, row));
                let of_up = ViewMut::packed(&mut sums.up, inputs);
                multiply(View::packed(of_inner, inner).transposed(), View::packed(x, inputs), 1.0, sum, of_up);
                let of_x = ViewMut::packed(of_x, inputs);
                multiply(View::packed(of_inner, inner), View::packed(up, inputs), 1.0, Before::Replaced, of_x);
            }
            sums
        });
        // Collected in order, so that the sums do not depend on which piece is ready first.
        let mut sums: Vec<Sums> = sums.collect();
        let Some((all, others)) = sums.split_first_mut() else { candle_core::bail!("a feed-forward part has no rows") };
        for other in others {
            rayon::join(|| add(&mut all.up, &other.up), || add(&mut all.down, &other.down));
            add(&mut all.up_bias, &other.up_bias);
            add(&mut all.down_bias, &other.down_bias);
        }
        let all = sums.swap_remove(0);
        let (up, down) = (self.up.leave(all.up, all.up_bias)?, self.down.leave(all.down, all.down_bias)?);
        Ok((Some(Tensor::from_vec(of_x, x.shape(), x.device())?), up, down))
    }
}

#[cfg(test)]
mod tests {
    use super::super::gradient_check::check;
    use super::*;

    #[test]
    fn values_and_gradients_are_those_of_the_two_layers_one_after_the_other() {
        for (rows, inputs, inner, outputs) in [(&[2][..], 2, 3, 4), (&[3, 5], 4, 6, 4)] {
            let shape = [rows, &[inputs]].concat();
            let shapes: [&[usize]; 5] = [&shape, &[inner, inputs], &[inner], &[outputs, inner], &[outputs]];
            let fused = |x: &[Tensor]| feed_forward(&x[0], (&x[1], &x[2]), (&x[3], &x[4]), Activation::GeluTanh);
            let defined = |x: &[Tensor]| composite(&x[0], (&x[1], &x[2]), (&x[3], &x[4]), Activation::GeluTanh);
            check(&shapes, &fused, &defined);
        }
    }

    #[test]
    fn many_blocks_of_rows_give_what_the_layers_give_also_when_gradients_are_asked_for_twice() {
        let var = |shape: &[usize], seed: u64| {
            let numbers = super::super::gradient_check::numbers(shape.iter().product(), seed);
            let numbers: Vec<f32> = numbers.iter().map(|&x| x as f32).collect();
            candle_core::Var::from_tensor(&Tensor::from_vec(numbers, shape, &candle_core::Device::Cpu).unwrap())
                .unwrap()
        };
        let inputs = [var(&[2000, 8], 1), var(&[16, 8], 2), var(&[16], 3), var(&[8, 16], 4), var(&[8], 5)];
        let [x, up, up_bias, down, down_bias] = inputs.each_ref().map(|var| var.as_tensor());
        let fused = feed_forward(x, (up, up_bias), (down, down_bias), Activation::Relu).unwrap();
        let defined = composite(x, (up, up_bias), (down, down_bias), Activation::Relu).unwrap();
        let difference =
            |a: &Tensor, b: &Tensor| -> f32 { (a - b).unwrap().abs().unwrap().max_all().unwrap().to_scalar().unwrap() };
        assert!(difference(&fused, &defined) < 1e-5);
        let wanted = defined.sqr().unwrap().mean_all().unwrap().backward().unwrap();
        let loss = fused.sqr().unwrap().mean_all().unwrap();
        for _ in 0..2 {
            let found = loss.backward().unwrap();
            for var in &inputs {
                assert!(difference(found.get(var).unwrap(), wanted.get(var).unwrap()) < 1e-5);
            }
        }
    }
}
