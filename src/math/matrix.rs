//! Rows of numbers.
//!
//! Rows start at multiples of 64 bytes and are padded with zeros to a multiple of 16 numbers, so that a row is a whole
//! number of cache lines and of the widest vector registers.

use crate::math::zeroed::Zeroed;

/// A row-major table of `f32`, `[n_rows, dim]`, with aligned rows.
#[derive(Clone)]
pub struct Matrix {
    blocks: Zeroed<Block>,
    n_rows: usize,
    dim: usize,
    blocks_per_row: usize,
}

/// One cache line of numbers.
#[derive(Debug, Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(C, align(64))]
struct Block([f32; BLOCK]);

const BLOCK: usize = 16;

impl Matrix {
    /// A table of zeros.
    pub fn zeros(n_rows: usize, dim: usize) -> Matrix {
        let blocks_per_row = dim.div_ceil(BLOCK);
        Matrix { blocks: Zeroed::new(n_rows * blocks_per_row), n_rows, dim, blocks_per_row }
    }

    /// How many rows.
    pub fn n_rows(&self) -> usize {
        self.n_rows
    }

    /// How many numbers a row has.
    pub fn dim(&self) -> usize {
        self.dim
    }

    /// Row `row`, `[dim]`.
    pub fn row(&self, row: usize) -> &[f32] {
        &self.padded_row(row)[..self.dim]
    }

    /// Row `row` for writing, `[dim]`.
    pub fn row_mut(&mut self, row: usize) -> &mut [f32] {
        let (start, dim) = (row * self.stride(), self.dim);
        &mut self.as_mut_slice()[start..start + dim]
    }

    /// Row `row` with its padding, `[stride]`.
    pub fn padded_row(&self, row: usize) -> &[f32] {
        &self.as_slice()[row * self.stride()..(row + 1) * self.stride()]
    }

    /// Numbers from the start of one row to the start of the next: `dim` rounded up to a multiple of 16.
    pub fn stride(&self) -> usize {
        self.blocks_per_row * BLOCK
    }

    /// All rows with their padding, `[n_rows, stride]`.
    pub fn as_slice(&self) -> &[f32] {
        bytemuck::cast_slice(self.blocks.as_slice())
    }

    /// All rows with their padding for writing, `[n_rows, stride]`.
    pub fn as_mut_slice(&mut self) -> &mut [f32] {
        bytemuck::cast_slice_mut(self.blocks.as_mut_slice())
    }
}

impl std::fmt::Debug for Matrix {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Matrix [{}, {}]", self.n_rows, self.dim)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_aligned_padded_and_apart() {
        for dim in [1, 15, 16, 17, 100] {
            let mut matrix = Matrix::zeros(3, dim);
            for row in 0..3 {
                matrix.row_mut(row).fill(row as f32 + 1.0);
            }
            for row in 0..3 {
                assert_eq!(matrix.row(row), vec![row as f32 + 1.0; dim]);
                assert_eq!(matrix.padded_row(row).as_ptr() as usize % 64, 0);
                assert!(matrix.padded_row(row)[dim..].iter().all(|&x| x == 0.0));
            }
        }
    }
}
