//! Tensors as slices, for the fused operations.

use std::ops::{Deref, Range};

use candle_core::{CpuStorage, DType, Layout, Result, Shape, Storage, StorageRef, Tensor, bail};

/// Whether the fused operations can take these: `f32` on the CPU.
pub(super) fn fusible(tensors: &[&Tensor]) -> bool {
    tensors.iter().all(|tensor| tensor.dtype() == DType::F32 && tensor.device().is_cpu())
}

/// Whether a gradient may be asked for: one of these leads to a variable.
pub(super) fn tracked(tensors: &[&Tensor]) -> bool {
    tensors.iter().any(|tensor| !tensor.sorted_nodes().is_empty())
}

/// The numbers of a contiguous tensor, held for reading.
pub(super) struct Floats<'a> {
    storage: StorageRef<'a>,
    range: Range<usize>,
}

impl Floats<'_> {
    pub(super) fn of(tensor: &Tensor) -> Result<Floats<'_>> {
        let (storage, layout) = tensor.storage_and_layout();
        let range = range(layout)?;
        match &*storage {
            Storage::Cpu(CpuStorage::F32(numbers)) if range.end <= numbers.len() => Ok(Floats { storage, range }),
            _ => bail!("a fused operation needs f32 on the CPU"),
        }
    }
}

impl Deref for Floats<'_> {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        match &*self.storage {
            Storage::Cpu(CpuStorage::F32(numbers)) => &numbers[self.range.clone()],
            _ => unreachable!("`of` looked"),
        }
    }
}

/// The numbers that an operation is handed.
pub(super) fn floats<'a>(storage: &'a CpuStorage, layout: &Layout) -> Result<&'a [f32]> {
    match storage {
        CpuStorage::F32(numbers) => Ok(&numbers[range(layout)?]),
        _ => bail!("a fused operation needs f32"),
    }
}

fn range(layout: &Layout) -> Result<Range<usize>> {
    match layout.contiguous_offsets() {
        Some((start, end)) => Ok(start..end),
        None => bail!("a fused operation needs contiguous numbers"),
    }
}

/// A result, as an operation hands it back.
pub(super) fn result(numbers: Vec<f32>, shape: impl Into<Shape>) -> Result<(CpuStorage, Shape)> {
    Ok((CpuStorage::F32(numbers), shape.into()))
}

/// Rows per piece when `n_rows` are shared out among `n_workers`.
pub(super) fn share(n_rows: usize, n_workers: usize) -> usize {
    n_rows.div_ceil(n_workers.max(1)).max(1)
}
