//! Ids → rows of a table.

use candle_core::{CpuStorage, CustomOp1, Device, Layout, Shape, Tensor};

use super::slices::{Floats, floats, fusible, result};
use crate::error::{Error, Result};
use crate::math::add;

/// The rows of `table` that `ids` name.
///
/// # Shapes
/// `table` `[V, C]`, `ids` u32 of any shape `[..]` → `[.., C]`.
///
/// # Errors
/// [`Error::Config`] when an id is not below V.
pub fn embedding(table: &Tensor, ids: &Tensor) -> Result<Tensor> {
    let (n_rows, _) = table.dims2()?;
    let list = ids.to_device(&Device::Cpu)?.flatten_all()?.to_vec1::<u32>()?;
    if let Some(id) = list.iter().find(|&&id| id as usize >= n_rows) {
        return Err(Error::config("ids", format!("token {id}, the table has {n_rows} rows")));
    }
    if fusible(&[table]) && table.elem_count() > 0 {
        return Ok(table.contiguous()?.apply_op1(Rows { ids: list, shape: ids.dims().to_vec() })?);
    }
    composite(table, ids)
}

fn composite(table: &Tensor, ids: &Tensor) -> Result<Tensor> {
    let mut shape = ids.dims().to_vec();
    shape.push(table.dim(1)?);
    Ok(table.index_select(&ids.flatten_all()?, 0)?.reshape(shape)?)
}

struct Rows {
    ids: Vec<u32>,
    shape: Vec<usize>,
}

impl CustomOp1 for Rows {
    fn name(&self) -> &'static str {
        "embedding"
    }

    fn cpu_fwd(&self, table: &CpuStorage, layout: &Layout) -> candle_core::Result<(CpuStorage, Shape)> {
        let (table, width) = (floats(table, layout)?, layout.dims()[1]);
        let mut out = Vec::with_capacity(self.ids.len() * width);
        for &id in &self.ids {
            out.extend_from_slice(&table[id as usize * width..][..width]);
        }
        let mut shape = self.shape.clone();
        shape.push(width);
        result(out, shape)
    }

    fn bwd(&self, table: &Tensor, _: &Tensor, gradient: &Tensor) -> candle_core::Result<Option<Tensor>> {
        let gradient = gradient.contiguous()?;
        let width = table.dim(1)?;
        // Pages of zeros that no row is added to are never touched here.
        let mut of_table = vec![0.0; table.elem_count()];
        for (&id, row) in self.ids.iter().zip(Floats::of(&gradient)?.chunks_exact(width)) {
            add(&mut of_table[id as usize * width..][..width], row);
        }
        Ok(Some(Tensor::from_vec(of_table, table.shape(), table.device())?))
    }
}

#[cfg(test)]
mod tests {
    use super::super::gradient_check::check;
    use super::*;

    #[test]
    fn values_and_gradients_are_those_of_the_definition_also_when_a_token_stands_twice() {
        let ids = Tensor::new(&[[4u32, 0, 4], [1, 2, 2]], &Device::Cpu).unwrap();
        check(&[&[5, 3]], &|x| embedding(&x[0], &ids), &|x| composite(&x[0], &ids));
    }

    #[test]
    fn an_id_beyond_the_table_is_refused() {
        let table = Tensor::zeros((5, 3), candle_core::DType::F32, &Device::Cpu).unwrap();
        let error = embedding(&table, &Tensor::new(&[5u32], &Device::Cpu).unwrap()).unwrap_err();
        assert_eq!(error.to_string(), "ids: token 5, the table has 5 rows");
    }
}
