//! x · weightᵀ + bias.

use candle_core::Tensor;

use crate::error::Result;

/// x · weightᵀ + bias.
///
/// # Shapes
/// `x` `[.., I]`, `weight` `[O, I]`, `bias` `[O]` → `[.., O]`.
pub fn linear(x: &Tensor, weight: &Tensor, bias: Option<&Tensor>) -> Result<Tensor> {
    composite(x, weight, bias)
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
