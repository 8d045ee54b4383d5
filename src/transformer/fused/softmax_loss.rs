//! The output layer and its loss in one: hidden rows against a table of tokens, softmax, −ln P of the targets.

use candle_core::{D, DType, Tensor};

use crate::error::Result;

/// The mean of −ln softmax(hidden · tableᵀ + bias)[target] over the rows whose target is not `ignore`, in nats.
///
/// 0 when every target is ignored.
///
/// # Shapes
/// `hidden` `[N, C]`, `table` `[V, C]`, `bias` `[V]`, `targets` u32 `[N]` → a scalar.
///
/// # Errors
/// When a target that is not ignored is not below V.
pub fn softmax_loss(
    hidden: &Tensor,
    table: &Tensor,
    bias: Option<&Tensor>,
    targets: &Tensor,
    ignore: Option<u32>,
) -> Result<Tensor> {
    composite(hidden, table, bias, targets, ignore)
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
