//! Positions as rotations: queries and keys turned by an angle that grows with the position.

use candle_core::{D, Tensor};

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
    if n_heads == 0 || channels % n_heads != 0 || (channels / n_heads) % 2 != 0 {
        let reason = format!("{n_heads} heads do not divide {channels} channels into even widths, as rotation needs");
        return Err(Error::config("n-heads", reason));
    }
    composite(x, n_heads, first_position)
}

fn composite(x: &Tensor, n_heads: usize, first_position: usize) -> Result<Tensor> {
    let (n_batch, time, channels) = x.dims3()?;
    let half = channels / n_heads / 2;
    let angles: Vec<f64> = (0..time * half)
        .map(|i| (first_position + i / half) as f64 * BASE.powf(-((i % half) as f64) / half as f64))
        .collect();
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
