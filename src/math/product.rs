//! Many rows times many rows: what a batch of questions costs.

/// Numbers that are summed side by side; rows are padded to a multiple of it (see [`Matrix`](crate::math::Matrix)).
const LANES: usize = 16;

/// Rows of each side whose products are summed at the same time: each number that is loaded is used so many times.
const TILE: usize = 4;

/// The inner product of each row of `a` with each row of `b`: `out[i * n_b + j] = a_i · b_j`.
///
/// `a` is `[n_a, stride]`, `b` `[n_b, stride]`, `out` `[n_a, n_b]`; `stride` is a multiple of 16, as the rows of
/// [`Matrix`](crate::math::Matrix) are padded to.
pub fn row_products(a: &[f32], b: &[f32], stride: usize, out: &mut [f32]) {
    assert!(stride > 0 && stride.is_multiple_of(LANES), "stride {stride}");
    let (n_a, n_b) = (a.len() / stride, b.len() / stride);
    assert_eq!((a.len(), b.len(), out.len()), (n_a * stride, n_b * stride, n_a * n_b));
    for first_a in (0..n_a).step_by(TILE) {
        for first_b in (0..n_b).step_by(TILE) {
            // At the edges the last row stands in for those that aren't there, and its products are not kept.
            let a_rows: [&[f32]; TILE] = std::array::from_fn(|i| row(a, (first_a + i).min(n_a - 1), stride));
            let b_rows: [&[f32]; TILE] = std::array::from_fn(|j| row(b, (first_b + j).min(n_b - 1), stride));
            let products = tile(&a_rows, &b_rows);
            for i in 0..TILE.min(n_a - first_a) {
                let kept = TILE.min(n_b - first_b);
                let start = (first_a + i) * n_b + first_b;
                out[start..start + kept].copy_from_slice(&products[i][..kept]);
            }
        }
    }
}

fn row(rows: &[f32], row: usize, stride: usize) -> &[f32] {
    &rows[row * stride..(row + 1) * stride]
}

fn tile(a: &[&[f32]; TILE], b: &[&[f32]; TILE]) -> [[f32; TILE]; TILE] {
    const STEP: usize = 4;
    let mut sums = [[[0.0f32; STEP]; TILE]; TILE];
    let n = a[0].len();
    let mut at = 0;
    while at < n {
        let a: [&[f32; STEP]; TILE] = std::array::from_fn(|i| a[i][at..at + STEP].try_into().expect("STEP divides the stride"));
        for j in 0..TILE {
            let b: &[f32; STEP] = b[j][at..at + STEP].try_into().expect("STEP divides the stride");
            for i in 0..TILE {
                for lane in 0..STEP {
                    sums[i][j][lane] += a[i][lane] * b[lane];
                }
            }
        }
        at += STEP;
    }
    std::array::from_fn(|i| std::array::from_fn(|j| sums[i][j].iter().sum()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::math::{Matrix, dot};

    #[test]
    fn products_are_those_of_single_rows_at_every_edge() {
        for (n_a, n_b, dim) in [(1, 1, 1), (4, 4, 16), (3, 5, 17), (9, 1, 31), (1, 9, 100), (8, 7, 33), (0, 3, 5), (3, 0, 5)] {
            let fill = |n_rows: usize, seed: usize| {
                let mut matrix = Matrix::zeros(n_rows, dim);
                for row in 0..n_rows {
                    let numbers = matrix.row_mut(row).iter_mut().enumerate();
                    numbers.for_each(|(i, x)| *x = ((row * 31 + i * 7 + seed) % 23) as f32 / 23.0 - 0.5);
                }
                matrix
            };
            let (a, b) = (fill(n_a, 1), fill(n_b, 5));
            let mut out = vec![f32::NAN; n_a * n_b];
            row_products(a.as_slice(), b.as_slice(), a.stride(), &mut out);
            for i in 0..n_a {
                for j in 0..n_b {
                    let (found, wanted) = (out[i * n_b + j], dot(a.row(i), b.row(j)));
                    // The order of the sums differs; each of 100 terms is below 0.25.
                    assert!((found - wanted).abs() < 1e-5, "{n_a} {n_b} {dim} [{i}, {j}]: {found} {wanted}");
                }
            }
        }
    }
}
