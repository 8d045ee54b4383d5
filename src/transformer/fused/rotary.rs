//! Positions as rotations: queries and keys turned by an angle that grows with the position.

use candle_core::{CpuStorage, CustomOp1, D, Layout, Shape, Tensor};
use rayon::prelude::*;

use super::slices::{Floats, floats, fusible, result};
use crate::error::{Error, Result};

/// Frequencies fall from 1 to 1 / this.
const BASE: f64 = 10_000.0;

/// Turns each pair of channels (i, i + D/2) of a head by (first_position + t) · 10000^(−2i/D).
///
/// The product of a query and a key so turned depends on the distance of their positions only.
///
/// # Shapes
/// `x` `[B, T, C]` → `[B, T, C]`; D = C / `n_heads` is even. Pairs lie half a head apart, as in Llama's files, not next
/// to each other as in the paper.
///
/// # Errors
/// [`Error::Config`] when the heads do not divide the channels into even widths.
///
/// # Source
/// Su et al. 2021 (RoFormer).
pub fn rotary(x: &Tensor, n_heads: usize, first_position: usize) -> Result<Tensor> {
    let channels = x.dims3()?.2;
    if n_heads == 0 || !channels.is_multiple_of(2 * n_heads) {
        let reason = format!("{n_heads} heads do not divide {channels} channels into even widths, as rotation needs");
        return Err(Error::config("n-heads", reason));
    }
    if fusible(&[x]) && x.elem_count() > 0 {
        return Ok(x.contiguous()?.apply_op1(Rotary { n_heads, first_position })?);
    }
    composite(x, n_heads, first_position)
}

fn composite(x: &Tensor, n_heads: usize, first_position: usize) -> Result<Tensor> {
    let (n_batch, time, channels) = x.dims3()?;
    let half = channels / n_heads / 2;
    let angles = angles(time, half, first_position);
    let table = |f: fn(f64) -> f64| {
        let table: Vec<f64> = angles.iter().map(|&angle| f(angle)).collect();
        Tensor::from_vec(table, (time, 1, half), x.device())?.to_dtype(x.dtype())
    };
    let (cosines, sines) = (table(f64::cos)?, table(f64::sin)?);
    let x = x.reshape((n_batch, time, n_heads, 2 * half))?;
    let (a, b) = (x.narrow(D::Minus1, 0, half)?, x.narrow(D::Minus1, half, half)?);
    let turned_a = (a.broadcast_mul(&cosines)? - b.broadcast_mul(&sines)?)?;
    let turned_b = (b.broadcast_mul(&cosines)? + a.broadcast_mul(&sines)?)?;
    Ok(Tensor::cat(&[turned_a, turned_b], D::Minus1)?.reshape((n_batch, time, channels))?)
}

/// The angle of pair i at time t, at t · half + i.
fn angles(time: usize, half: usize, first_position: usize) -> Vec<f64> {
    let speeds: Vec<f64> = (0..half).map(|i| BASE.powf(-(i as f64) / half as f64)).collect();
    (0..time * half).map(|i| (first_position + i / half) as f64 * speeds[i % half]).collect()
}

struct Rotary {
    n_heads: usize,
    first_position: usize,
}

impl Rotary {
    /// `direction` is 1 to turn, −1 to turn back.
    fn turn(&self, x: &[f32], time: usize, channels: usize, direction: f64) -> Vec<f32> {
        let width = channels / self.n_heads;
        let half = width / 2;
        let turns: Vec<(f32, f32)> = angles(time, half, self.first_position)
            .into_iter()
            .map(|angle| (angle.cos() as f32, (direction * angle.sin()) as f32))
            .collect();
        let mut out = vec![0.0; x.len()];
        let rows = out.par_chunks_mut(channels).zip(x.par_chunks(channels)).enumerate();
        rows.with_min_len(64).for_each(|(row, (out, x))| {
            let turns = &turns[row % time * half..][..half];
            for (out, x) in out.chunks_exact_mut(width).zip(x.chunks_exact(width)) {
                let ((out_a, out_b), (a, b)) = (out.split_at_mut(half), x.split_at(half));
                for (i, &(cosine, sine)) in turns.iter().enumerate() {
                    out_a[i] = a[i] * cosine - b[i] * sine;
                    out_b[i] = b[i] * cosine + a[i] * sine;
                }
            }
        });
        out
    }
}

impl CustomOp1 for Rotary {
    fn name(&self) -> &'static str {
        "rotary positions"
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> candle_core::Result<(CpuStorage, Shape)> {
        let (_, time, channels) = layout.shape().dims3()?;
        result(self.turn(floats(x, layout)?, time, channels, 1.0), layout.shape())
    }

    fn bwd(&self, x: &Tensor, _: &Tensor, gradient: &Tensor) -> candle_core::Result<Option<Tensor>> {
        let gradient = gradient.contiguous()?;
        let (_, time, channels) = x.dims3()?;
        let turned = self.turn(&Floats::of(&gradient)?, time, channels, -1.0);
        Ok(Some(Tensor::from_vec(turned, x.shape(), x.device())?))
    }
}

#[cfg(test)]
mod tests {
    use super::super::gradient_check::check;
    use super::*;

    #[test]
    fn values_and_gradients_are_those_of_the_definition() {
        for (shape, n_heads, first) in [([1, 1, 2], 1, 0), ([2, 3, 12], 2, 5), ([1, 70, 8], 1, 1000)] {
            check(&[&shape], &|x| rotary(&x[0], n_heads, first), &|x| composite(&x[0], n_heads, first));
        }
    }

    #[test]
    fn products_depend_on_the_distance_only() {
        let numbers: Vec<f32> = (0..16).map(|i| (i * 7 % 5) as f32 - 2.0).collect();
        let row = |at: usize| Tensor::from_slice(&numbers[at..at + 8], (1, 1, 8), &candle_core::Device::Cpu).unwrap();
        let product = |a: usize, b: usize| -> f32 {
            let (a, b) = (rotary(&row(0), 2, a).unwrap(), rotary(&row(8), 2, b).unwrap());
            (a * b).unwrap().sum_all().unwrap().to_scalar().unwrap()
        };
        assert!((product(3, 5) - product(103, 105)).abs() < 1e-4);
        assert!((product(3, 5) - product(3, 6)).abs() > 1e-2);
    }

    #[test]
    fn odd_widths_are_refused() {
        let x = Tensor::zeros((1, 1, 6), candle_core::DType::F32, &candle_core::Device::Cpu).unwrap();
        assert!([0, 2, 4].into_iter().all(|n_heads| matches!(rotary(&x, n_heads, 0), Err(Error::Config { .. }))));
    }
}
