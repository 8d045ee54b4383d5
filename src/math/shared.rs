//! A matrix that all workers read and write at the same time, without locks (Recht et al. 2011, "Hogwild!").
//!
//! Two workers that step on the same row at once may each lose numbers of the other's step; the method survives that.
//! What it must not be is undefined: every access while the matrix is shared is a relaxed atomic one, made by
//! `Machine::load_shared` and `store_shared`, and nobody ever holds a reference into it.

use std::marker::PhantomData;

use crate::math::Matrix;

/// A [`Matrix`] lent to many workers for a while.
#[derive(Clone, Copy)]
pub(crate) struct SharedMatrix<'a> {
    base: *mut f32,
    n_rows: usize,
    stride: usize,
    // Exclusive as long as it is shared: no one can look at the matrix from outside.
    matrix: PhantomData<&'a mut Matrix>,
}

// SAFETY: the pointer is only dereferenced by relaxed atomic accesses (see the module), which any thread may make.
unsafe impl Send for SharedMatrix<'_> {}
// SAFETY: as above.
unsafe impl Sync for SharedMatrix<'_> {}

impl<'a> SharedMatrix<'a> {
    /// Lends `matrix` out.
    pub(crate) fn new(matrix: &'a mut Matrix) -> SharedMatrix<'a> {
        SharedMatrix {
            n_rows: matrix.n_rows(),
            stride: matrix.stride(),
            base: matrix.as_mut_slice().as_mut_ptr(),
            matrix: PhantomData,
        }
    }

    /// Numbers from row to row, a multiple of 16.
    #[inline(always)]
    pub(crate) fn stride(&self) -> usize {
        self.stride
    }

    /// Where row `row` begins: `stride` numbers, aligned to 64 bytes, to be accessed as shared ones.
    ///
    /// # Panics
    /// When there is no such row.
    #[inline(always)]
    pub(crate) fn row(&self, row: usize) -> *mut f32 {
        assert!(row < self.n_rows, "row {row} of {}", self.n_rows);
        // SAFETY: in bounds, as just asserted.
        unsafe { self.base.add(row * self.stride) }
    }
}
