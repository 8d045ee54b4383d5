//! Products of matrices, over the `gemm` crate: a safe door with its shapes checked.

use std::ops::Range;

use gemm::Parallelism;

/// A matrix in a slice: number (i, j) lies at i · row_stride + j · column_stride.
#[derive(Debug, Clone, Copy)]
pub(crate) struct View<'a> {
    numbers: &'a [f32],
    n_rows: usize,
    n_columns: usize,
    row_stride: usize,
    column_stride: usize,
}

impl<'a> View<'a> {
    /// Rows of `n_columns` numbers, one after another.
    pub(crate) fn packed(numbers: &'a [f32], n_columns: usize) -> View<'a> {
        View::strided(numbers, numbers.len() / n_columns.max(1), n_columns, n_columns)
    }

    /// `n_rows` rows of `n_columns` numbers that begin `row_stride` apart.
    ///
    /// # Panics
    /// When the slice is shorter than that.
    pub(crate) fn strided(numbers: &'a [f32], n_rows: usize, n_columns: usize, row_stride: usize) -> View<'a> {
        assert!(fits(numbers.len(), n_rows, n_columns, row_stride), "{n_rows} x {n_columns} by {row_stride}");
        View { numbers, n_rows, n_columns, row_stride, column_stride: 1 }
    }

    /// Some of the rows of a matrix that is not transposed, or of the columns of one that was before.
    pub(crate) fn rows(self, rows: Range<usize>) -> View<'a> {
        assert!(rows.start <= rows.end && rows.end <= self.n_rows, "{rows:?} of {} rows", self.n_rows);
        let start = (rows.start * self.row_stride).min(self.numbers.len());
        View { numbers: &self.numbers[start..], n_rows: rows.len(), ..self }
    }

    /// Rows as columns.
    pub(crate) fn transposed(self) -> View<'a> {
        let View { numbers, n_rows, n_columns, row_stride, column_stride } = self;
        View { numbers, n_rows: n_columns, n_columns: n_rows, row_stride: column_stride, column_stride: row_stride }
    }
}

/// A matrix to be written: rows that begin `row_stride` apart.
#[derive(Debug)]
pub(crate) struct ViewMut<'a> {
    numbers: &'a mut [f32],
    n_rows: usize,
    n_columns: usize,
    row_stride: usize,
}

impl<'a> ViewMut<'a> {
    /// Rows of `n_columns` numbers, one after another.
    pub(crate) fn packed(numbers: &'a mut [f32], n_columns: usize) -> ViewMut<'a> {
        let n_rows = numbers.len() / n_columns.max(1);
        ViewMut::strided(numbers, n_rows, n_columns, n_columns)
    }

    /// `n_rows` rows of `n_columns` numbers that begin `row_stride` apart.
    ///
    /// # Panics
    /// When the slice is shorter than that, or rows overlap.
    pub(crate) fn strided(numbers: &'a mut [f32], n_rows: usize, n_columns: usize, row_stride: usize) -> ViewMut<'a> {
        assert!(fits(numbers.len(), n_rows, n_columns, row_stride), "{n_rows} x {n_columns} by {row_stride}");
        assert!(n_columns <= row_stride || n_rows <= 1, "rows of {n_columns}, {row_stride} apart");
        ViewMut { numbers, n_rows, n_columns, row_stride }
    }
}

fn fits(len: usize, n_rows: usize, n_columns: usize, row_stride: usize) -> bool {
    if n_rows == 0 || n_columns == 0 {
        return true;
    }
    let end = (n_rows - 1).checked_mul(row_stride).and_then(|start| start.checked_add(n_columns));
    end.is_some_and(|end| end <= len)
}

/// What becomes of the numbers that are there before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Before {
    /// They are replaced.
    Replaced,
    /// The product is added to them.
    AddedTo,
}

/// `out` = (`out` +) scale · `a` · `b`, on this thread.
///
/// # Panics
/// When the shapes do not fit.
pub(crate) fn multiply(a: View<'_>, b: View<'_>, scale: f32, before: Before, out: ViewMut<'_>) {
    assert_eq!((a.n_rows, a.n_columns, b.n_columns), (out.n_rows, b.n_rows, out.n_columns));
    if out.n_rows == 0 || out.n_columns == 0 {
        return;
    }
    // SAFETY: `View` and `ViewMut` are only made where every number that their shape and strides name lies in the slice,
    // and sub-views and transposes keep to the same numbers; the shapes were just checked; `out` is borrowed alone and
    // its rows do not overlap. Without columns in `a` nothing of `a` and `b` is read.
    unsafe {
        gemm::gemm(
            out.n_rows,
            out.n_columns,
            a.n_columns,
            out.numbers.as_mut_ptr(),
            1,
            out.row_stride as isize,
            before == Before::AddedTo,
            a.numbers.as_ptr(),
            a.column_stride as isize,
            a.row_stride as isize,
            b.numbers.as_ptr(),
            b.column_stride as isize,
            b.row_stride as isize,
            1.0,
            scale,
            false,
            false,
            false,
            Parallelism::None,
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn products_of_strided_and_transposed_views_are_sums_in_f64() {
        for (n, m, k) in [(1, 1, 1), (3, 5, 7), (17, 33, 20), (0, 4, 4), (4, 0, 4), (4, 4, 0), (70, 9, 130)] {
            let numbers = |n: usize, seed: usize| -> Vec<f32> {
                (0..n).map(|i| ((i * 37 + seed) % 101) as f32 / 50.0 - 1.0).collect()
            };
            let (a, b, c) = (numbers(n * (k + 2), 1), numbers(m * k, 2), numbers(n * (m + 3), 3));
            for before in [Before::Replaced, Before::AddedTo] {
                let mut out = c.clone();
                let view = View::strided(&a, n, k, k + 2);
                multiply(
                    view,
                    View::strided(&b, m, k, k).transposed(),
                    0.5,
                    before,
                    ViewMut::strided(&mut out, n, m, m + 3),
                );
                for (at, &found) in out.iter().enumerate() {
                    let (i, j) = (at / (m + 3), at % (m + 3));
                    let mut wanted = f64::from(c[at]);
                    if j < m {
                        let sum: f64 = (0..k).map(|l| f64::from(a[i * (k + 2) + l]) * f64::from(b[j * k + l])).sum();
                        wanted = 0.5 * sum + if before == Before::AddedTo { wanted } else { 0.0 };
                    }
                    assert!((f64::from(found) - wanted).abs() < 1e-5, "{n} {m} {k} {at}: {found} {wanted}");
                }
            }
        }
    }

    #[test]
    #[should_panic(expected = "3 x 4")]
    fn a_view_beyond_its_slice_is_refused() {
        View::strided(&[0.0; 11], 3, 4, 4);
    }
}
