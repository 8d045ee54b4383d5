//! x · weightᵀ + bias.

use candle_core::{CpuStorage, CustomOp2, CustomOp3, D, Layout, Shape, Tensor};
use rayon::prelude::*;

use super::slices::{Floats, floats, fusible, result, share};
use crate::error::Result;
use crate::math::{Before, View, ViewMut, add, multiply, row_dots};

/// x · weightᵀ + bias.
///
/// # Shapes
/// `x` `[.., I]`, `weight` `[O, I]`, `bias` `[O]` → `[.., O]`.
pub fn linear(x: &Tensor, weight: &Tensor, bias: Option<&Tensor>) -> Result<Tensor> {
    let (outputs, inputs) = weight.dims2()?;
    let fits = x.dim(D::Minus1)? == inputs && bias.is_none_or(|bias| bias.dims() == [outputs] && fusible(&[bias]));
    if !(fits && fusible(&[x, weight]) && x.elem_count() > 0 && outputs > 0) {
        return composite(x, weight, bias);
    }
    let (x, weight) = (x.contiguous()?, weight.contiguous()?);
    Ok(match bias {
        Some(bias) => x.apply_op3(&weight, &bias.contiguous()?, Linear)?,
        None => x.apply_op2(&weight, Linear)?,
    })
}

fn composite(x: &Tensor, weight: &Tensor, bias: Option<&Tensor>) -> Result<Tensor> {
    let (outputs, inputs) = weight.dims2()?;
    let mut shape = x.dims().to_vec();
    let rows = x.reshape(((), inputs))?.matmul(&weight.t()?)?;
    let rows = match bias {
        Some(bias) => rows.broadcast_add(bias)?,
        None => rows,
    };
    if let Some(last) = shape.last_mut() {
        *last = outputs;
    }
    Ok(rows.reshape(shape)?)
}

/// `x` `[n, I]` · `weight`ᵀ `[I, O]` + `bias`.
pub(super) fn forward(x: &[f32], weight: &[f32], bias: Option<&[f32]>, inputs: usize, outputs: usize) -> Vec<f32> {
    let n_rows = x.len() / inputs;
    let n_workers = rayon::current_num_threads();
    let mut out = vec![0.0; n_rows * outputs];
    if n_rows == 1 {
        // One row, as when text is generated: the time is that of reading the weight, so that is what is shared out.
        let piece = share(outputs, if weight.len() < 1 << 16 { 1 } else { n_workers });
        let pieces = out.par_chunks_mut(piece).zip(weight.par_chunks(piece * inputs));
        pieces.for_each(|(out, weight)| row_dots(weight, x, out));
        if let Some(bias) = bias {
            add(&mut out, bias);
        }
        return out;
    }
    let rows = share(n_rows, n_workers);
    let pieces = out.par_chunks_mut(rows * outputs).zip(x.par_chunks(rows * inputs));
    pieces.for_each(|(out, x)| {
        let weight = View::packed(weight, inputs).transposed();
        multiply(View::packed(x, inputs), weight, 1.0, Before::Replaced, ViewMut::packed(out, outputs));
        if let Some(bias) = bias {
            out.chunks_exact_mut(outputs).for_each(|row| add(row, bias));
        }
    });
    out
}

/// The gradients of `x`, of the weight and of the bias, from that of the result, `[n, O]`.
///
/// The two products go on side by side, each on half of the workers: they cost the same.
pub(super) fn backward(
    x: &[f32],
    weight: &[f32],
    gradient: &[f32],
    inputs: usize,
    outputs: usize,
) -> (Vec<f32>, Vec<f32>, Vec<f32>) {
    let n_rows = x.len() / inputs;
    let n_workers = rayon::current_num_threads().div_ceil(2);
    let (mut of_x, mut of_weight, mut of_bias) = (vec![0.0; x.len()], vec![0.0; weight.len()], vec![0.0; outputs]);
    let columns = share(outputs, n_workers);
    let rows = share(n_rows, n_workers);
    rayon::join(
        || {
            let pieces = of_x.par_chunks_mut(rows * inputs).zip(gradient.par_chunks(rows * outputs));
            pieces.for_each(|(of_x, gradient)| {
                let (gradient, weight) = (View::packed(gradient, outputs), View::packed(weight, inputs));
                multiply(gradient, weight, 1.0, Before::Replaced, ViewMut::packed(of_x, inputs));
            });
        },
        || {
            let pieces = of_weight.par_chunks_mut(columns * inputs).zip(of_bias.par_chunks_mut(columns)).enumerate();
            pieces.for_each(|(piece, (of_weight, of_bias))| {
                let first = piece * columns;
                let columns = first..first + of_bias.len();
                let product = View::packed(gradient, outputs).transposed().rows(columns.clone());
                let out = ViewMut::packed(of_weight, inputs);
                multiply(product, View::packed(x, inputs), 1.0, Before::Replaced, out);
                gradient.chunks_exact(outputs).for_each(|row| add(of_bias, &row[columns.clone()]));
            });
        },
    );
    (of_x, of_weight, of_bias)
}

struct Linear;

impl Linear {
    fn gradients(x: &Tensor, weight: &Tensor, gradient: &Tensor) -> candle_core::Result<(Tensor, Tensor, Tensor)> {
        let gradient = gradient.contiguous()?;
        let (outputs, inputs) = weight.dims2()?;
        let (of_x, of_weight, of_bias) =
            backward(&Floats::of(x)?, &Floats::of(weight)?, &Floats::of(&gradient)?, inputs, outputs);
        Ok((
            Tensor::from_vec(of_x, x.shape(), x.device())?,
            Tensor::from_vec(of_weight, weight.shape(), x.device())?,
            Tensor::from_vec(of_bias, outputs, x.device())?,
        ))
    }
}

fn out_shape(x: &Layout, outputs: usize) -> Shape {
    let mut shape = x.dims().to_vec();
    if let Some(last) = shape.last_mut() {
        *last = outputs;
    }
    shape.into()
}

impl CustomOp2 for Linear {
    fn name(&self) -> &'static str {
        "linear"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_layout: &Layout,
        weight: &CpuStorage,
        weight_layout: &Layout,
    ) -> candle_core::Result<(CpuStorage, Shape)> {
        let (outputs, inputs) = weight_layout.shape().dims2()?;
        let out = forward(floats(x, x_layout)?, floats(weight, weight_layout)?, None, inputs, outputs);
        result(out, out_shape(x_layout, outputs))
    }

    fn bwd(
        &self,
        x: &Tensor,
        weight: &Tensor,
        _: &Tensor,
        gradient: &Tensor,
    ) -> candle_core::Result<(Option<Tensor>, Option<Tensor>)> {
        let (of_x, of_weight, _) = Linear::gradients(x, weight, gradient)?;
        Ok((Some(of_x), Some(of_weight)))
    }
}

impl CustomOp3 for Linear {
    fn name(&self) -> &'static str {
        "linear with bias"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_layout: &Layout,
        weight: &CpuStorage,
        weight_layout: &Layout,
        bias: &CpuStorage,
        bias_layout: &Layout,
    ) -> candle_core::Result<(CpuStorage, Shape)> {
        let (outputs, inputs) = weight_layout.shape().dims2()?;
        let bias = floats(bias, bias_layout)?;
        let out = forward(floats(x, x_layout)?, floats(weight, weight_layout)?, Some(bias), inputs, outputs);
        result(out, out_shape(x_layout, outputs))
    }

    fn bwd(
        &self,
        x: &Tensor,
        weight: &Tensor,
        _: &Tensor,
        _: &Tensor,
        gradient: &Tensor,
    ) -> candle_core::Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let (of_x, of_weight, of_bias) = Linear::gradients(x, weight, gradient)?;
        Ok((Some(of_x), Some(of_weight), Some(of_bias)))
    }
}

#[cfg(test)]
mod tests {
    use super::super::gradient_check::check;
    use super::*;

    #[test]
    fn values_and_gradients_are_those_of_the_definition() {
        for (rows, inputs, outputs) in [(&[1][..], 3, 2), (&[2, 3], 4, 5), (&[37], 5, 33)] {
            let shape = [rows, &[inputs]].concat();
            let with_bias = |x: &[Tensor]| linear(&x[0], &x[1], Some(&x[2]));
            check(&[&shape, &[outputs, inputs], &[outputs]], &with_bias, &|x| composite(&x[0], &x[1], Some(&x[2])));
            let without = |x: &[Tensor]| linear(&x[0], &x[1], None);
            check(&[&shape, &[outputs, inputs]], &without, &|x| composite(&x[0], &x[1], None));
        }
    }

    #[test]
    fn inputs_that_are_not_contiguous_are_taken_all_the_same() {
        let fused = |x: &[Tensor]| linear(&x[0].t()?, &x[1].t()?, None);
        check(&[&[4, 3], &[4, 5]], &fused, &|x| composite(&x[0].t()?, &x[1].t()?, None));
    }

    #[test]
    fn one_row_against_a_large_weight_is_shared_out_right() {
        let fill = |n: usize| (0..n).map(|i| ((i * 37) % 101) as f32 / 101.0).collect::<Vec<f32>>();
        let (x, weight, bias) = (fill(130), fill(130 * 1001), fill(1001));
        let one = forward(&x, &weight, Some(&bias), 130, 1001);
        let two = forward(&[&x[..], &x[..]].concat(), &weight, Some(&bias), 130, 1001);
        // 130 products of at most 1.
        assert!(one.iter().zip(&two).all(|(a, b)| (a - b).abs() < 2e-5));
    }
}
