//! Ids → rows of a table.

use candle_core::Tensor;

use crate::error::Result;

/// The rows of `table` that `ids` name.
///
/// # Shapes
/// `table` `[V, C]`, `ids` u32 of any shape `[..]` → `[.., C]`.
///
/// # Errors
/// When an id is not below V.
pub fn embedding(table: &Tensor, ids: &Tensor) -> Result<Tensor> {
    composite(table, ids)
}

fn composite(table: &Tensor, ids: &Tensor) -> Result<Tensor> {
    let mut shape = ids.dims().to_vec();
    shape.push(table.dim(1)?);
    Ok(table.index_select(&ids.flatten_all()?, 0)?.reshape(shape)?)
}
