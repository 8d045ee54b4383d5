//! Many rows times many rows: what a batch of questions costs.

use crate::math::machine::{Machine, Work, run};

/// Rows of `a` and of `b` whose products are summed side by side: each number that is loaded is used so many times, and
/// the sums with the loaded rows just fill the sixteen registers of AVX2.
const TILE_A: usize = 3;
const TILE_B: usize = 4;

/// What rows are padded to a multiple of (see [`Matrix`](crate::math::Matrix)).
const PADDED: usize = 16;

/// The inner product of each row of `a` with each row of `b`: `out[i * n_b + j] = a_i · b_j`.
///
/// `a` is `[n_a, stride]`, `b` `[n_b, stride]`, `out` `[n_a, n_b]`; `stride` is a multiple of 16, as the rows of
/// [`Matrix`](crate::math::Matrix) are padded to.
///
/// # Panics
/// When the lengths contradict this.
pub fn row_products(a: &[f32], b: &[f32], stride: usize, out: &mut [f32]) {
    assert!(stride > 0 && stride.is_multiple_of(PADDED), "a stride of {stride}");
    let (n_a, n_b) = (a.len() / stride, b.len() / stride);
    assert_eq!((a.len(), b.len(), out.len()), (n_a * stride, n_b * stride, n_a * n_b));
    run(RowProducts { a, b, stride, out });
}

struct RowProducts<'a> {
    a: &'a [f32],
    b: &'a [f32],
    stride: usize,
    out: &'a mut [f32],
}

impl Work for RowProducts<'_> {
    type Output = ();

    #[inline(always)]
    fn run<M: Machine>(self, m: M) {
        let RowProducts { a, b, stride, out } = self;
        let (n_a, n_b) = (a.len() / stride, b.len() / stride);
        for first_a in (0..n_a).step_by(TILE_A) {
            for first_b in (0..n_b).step_by(TILE_B) {
                // At the edges the last row stands in for those that aren't there, and its products are not kept.
                let a_rows = std::array::from_fn(|i| row(a, (first_a + i).min(n_a - 1), stride));
                let b_rows = std::array::from_fn(|j| row(b, (first_b + j).min(n_b - 1), stride));
                let products = tile(m, a_rows, b_rows);
                let kept = TILE_B.min(n_b - first_b);
                for i in 0..TILE_A.min(n_a - first_a) {
                    let start = (first_a + i) * n_b + first_b;
                    out[start..start + kept].copy_from_slice(&products[i][..kept]);
                }
            }
        }
    }
}

#[inline(always)]
fn row(rows: &[f32], row: usize, stride: usize) -> &[f32] {
    &rows[row * stride..(row + 1) * stride]
}

#[inline(always)]
fn tile<M: Machine>(m: M, a: [&[f32]; TILE_A], b: [&[f32]; TILE_B]) -> [[f32; TILE_B]; TILE_A] {
    let n = a[0].len();
    assert!(n.is_multiple_of(M::LANES) && a.iter().chain(&b).all(|row| row.len() == n));
    let mut sums = [[m.splat(0.0); TILE_B]; TILE_A];
    for at in (0..n).step_by(M::LANES) {
        // SAFETY: `at` is a multiple of LANES below `n`, which is one, too, and every row has `n` numbers.
        let a: [M::V; TILE_A] = std::array::from_fn(|i| unsafe { m.load(a[i].as_ptr().add(at)) });
        for j in 0..TILE_B {
            // SAFETY: as above.
            let b = unsafe { m.load(b[j].as_ptr().add(at)) };
            for i in 0..TILE_A {
                sums[i][j] = m.fma(a[i], b, sums[i][j]);
            }
        }
    }
    std::array::from_fn(|i| std::array::from_fn(|j| m.sum(sums[i][j])))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::math::machine::Detected;
    use crate::math::{Matrix, dot};

    #[test]
    fn products_are_those_of_single_rows_at_every_edge_on_every_machine() {
        for (n_a, n_b, dim) in
            [(1, 1, 1), (4, 4, 16), (3, 5, 17), (9, 1, 31), (1, 9, 100), (8, 7, 33), (0, 3, 5), (3, 0, 5)]
        {
            let fill = |n_rows: usize, seed: usize| {
                let mut matrix = Matrix::zeros(n_rows, dim);
                for row in 0..n_rows {
                    let numbers = matrix.row_mut(row).iter_mut().enumerate();
                    numbers.for_each(|(i, x)| *x = ((row * 31 + i * 7 + seed) % 23) as f32 / 23.0 - 0.5);
                }
                matrix
            };
            let (a, b) = (fill(n_a, 1), fill(n_b, 5));
            for machine in Detected::all() {
                let mut out = vec![f32::NAN; n_a * n_b];
                machine.run(RowProducts { a: a.as_slice(), b: b.as_slice(), stride: a.stride(), out: &mut out });
                for (place, found) in out.into_iter().enumerate() {
                    let wanted = dot(a.row(place / n_b), b.row(place % n_b));
                    // The order of the sums differs; each of 100 terms is below 0.25.
                    let name = machine.name();
                    assert!((found - wanted).abs() < 1e-5, "{name} {n_a} {n_b} {dim} {place}: {found} {wanted}");
                }
            }
        }
    }
}
