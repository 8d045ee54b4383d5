//! Rows with mean 0 and variance 1, then a gain and a bias per channel.

use candle_core::{D, Tensor};

use crate::error::Result;

/// (x − mean) / √(variance + epsilon) · gain + bias, over the last dimension.
///
/// # Shapes
/// `x` `[.., C]`, `gain` `[C]`, `bias` `[C]` → `[.., C]`. The variance is the mean of squares (divided by C).
///
/// # Source
/// Ba, Kiros & Hinton 2016.
pub fn layer_norm(x: &Tensor, gain: &Tensor, bias: &Tensor, epsilon: f64) -> Result<Tensor> {
    composite(x, gain, bias, epsilon)
}

fn composite(x: &Tensor, gain: &Tensor, bias: &Tensor, epsilon: f64) -> Result<Tensor> {
    let centered = x.broadcast_sub(&x.mean_keepdim(D::Minus1)?)?;
    let deviation = (centered.sqr()?.mean_keepdim(D::Minus1)? + epsilon)?.sqrt()?;
    Ok(centered.broadcast_div(&deviation)?.broadcast_mul(gain)?.broadcast_add(bias)?)
}
