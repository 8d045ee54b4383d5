//! Rows with mean 0 and variance 1, then a gain and a bias per channel.

use candle_core::{CpuStorage, CustomOp3, D, Layout, Shape, Tensor};
use rayon::prelude::*;

use super::slices::{Floats, floats, fusible, result, share};
use crate::error::Result;
use crate::math::{add, norm_rows, norm_rows_back};

/// (x − mean) / √(variance + epsilon) · gain + bias, over the last dimension.
///
/// # Shapes
/// `x` `[.., C]`, `gain` `[C]`, `bias` `[C]` → `[.., C]`. The variance is the mean of squares (divided by C).
///
/// # Source
/// Ba, Kiros & Hinton 2016.
pub fn layer_norm(x: &Tensor, gain: &Tensor, bias: &Tensor, epsilon: f64) -> Result<Tensor> {
    let width = x.dim(D::Minus1)?;
    if fusible(&[x, gain, bias]) && gain.dims() == [width] && bias.dims() == [width] && x.elem_count() > 0 {
        let (x, gain, bias) = (x.contiguous()?, gain.contiguous()?, bias.contiguous()?);
        return Ok(x.apply_op3(&gain, &bias, LayerNorm { epsilon: epsilon as f32 })?);
    }
    composite(x, gain, bias, epsilon)
}

fn composite(x: &Tensor, gain: &Tensor, bias: &Tensor, epsilon: f64) -> Result<Tensor> {
    let centered = x.broadcast_sub(&x.mean_keepdim(D::Minus1)?)?;
    let deviation = (centered.sqr()?.mean_keepdim(D::Minus1)? + epsilon)?.sqrt()?;
    Ok(centered.broadcast_div(&deviation)?.broadcast_mul(gain)?.broadcast_add(bias)?)
}

struct LayerNorm {
    epsilon: f32,
}

impl CustomOp3 for LayerNorm {
    fn name(&self) -> &'static str {
        "layer norm"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_layout: &Layout,
        gain: &CpuStorage,
        gain_layout: &Layout,
        bias: &CpuStorage,
        bias_layout: &Layout,
    ) -> candle_core::Result<(CpuStorage, Shape)> {
        let (x, gain, bias) = (floats(x, x_layout)?, floats(gain, gain_layout)?, floats(bias, bias_layout)?);
        let mut out = vec![0.0; x.len()];
        let piece = gain.len() * share(x.len() / gain.len(), rayon::current_num_threads());
        let pieces = x.par_chunks(piece).zip(out.par_chunks_mut(piece));
        pieces.for_each(|(x, out)| norm_rows(x, gain, bias, self.epsilon, out));
        result(out, x_layout.shape())
    }

    fn bwd(
        &self,
        x: &Tensor,
        gain: &Tensor,
        bias: &Tensor,
        _: &Tensor,
        gradient: &Tensor,
    ) -> candle_core::Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let gradient = gradient.contiguous()?;
        let (numbers, gains, gradients) = (Floats::of(x)?, Floats::of(gain)?, Floats::of(&gradient)?);
        let (numbers, gains, gradients) = (&*numbers, &*gains, &*gradients);
        let width = gains.len();
        let mut x_gradient = vec![0.0; numbers.len()];
        let piece = width * share(numbers.len() / width, rayon::current_num_threads());
        let pieces = numbers.par_chunks(piece).zip(gradients.par_chunks(piece)).zip(x_gradient.par_chunks_mut(piece));
        let sums = pieces.map(|((x, gradient), x_gradient)| {
            let (mut of_gain, mut of_bias) = (vec![0.0; width], vec![0.0; width]);
            norm_rows_back(x, gains, self.epsilon, gradient, x_gradient, &mut of_gain, &mut of_bias);
            (of_gain, of_bias)
        });
        // Collected in order, so that the sums do not depend on which piece is ready first.
        let sums: Vec<(Vec<f32>, Vec<f32>)> = sums.collect();
        let (mut of_gain, mut of_bias) = (vec![0.0; width], vec![0.0; width]);
        for (gain_sums, bias_sums) in &sums {
            add(&mut of_gain, gain_sums);
            add(&mut of_bias, bias_sums);
        }
        Ok((
            Some(Tensor::from_vec(x_gradient, x.shape(), x.device())?),
            Some(Tensor::from_vec(of_gain, gain.shape(), x.device())?),
            Some(Tensor::from_vec(of_bias, bias.shape(), x.device())?),
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::super::gradient_check::check;
    use super::*;

    #[test]
    fn values_and_gradients_are_those_of_the_definition() {
        for shape in [&[1, 1, 2][..], &[2, 3, 5], &[70, 17]] {
            let width = shape[shape.len() - 1];
            let fused = |x: &[Tensor]| layer_norm(&x[0], &x[1], &x[2], 1e-2);
            let defined = |x: &[Tensor]| composite(&x[0], &x[1], &x[2], 1e-2);
            check(&[shape, &[width], &[width]], &fused, &defined);
        }
    }

    #[test]
    fn a_row_of_equal_numbers_is_the_bias() {
        let x = Tensor::full(7f32, (2, 4), &candle_core::Device::Cpu).unwrap();
        let ones = Tensor::ones(4, candle_core::DType::F32, &candle_core::Device::Cpu).unwrap();
        let y = layer_norm(&x, &ones, &(&ones * 3.0).unwrap(), 1e-5).unwrap();
        assert_eq!(y.to_vec2::<f32>().unwrap(), [[3.0; 4]; 2]);
    }
}
