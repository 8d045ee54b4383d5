//! Vectors of one length → vectors of another, with as little lost as can be.
//!
//! In: a table `[n_rows, dim]`. Out: a matrix `[dim, d_model]` to multiply it with. Where there is more room than the
//! vectors need, they are turned into it by a random rotation: products between vectors stay what they are, and no channel
//! of the transformer begins empty. Where there is less, the directions in which the vectors differ most are kept (the
//! principal components), which loses the least squared length.

use rand::rngs::Xoshiro256PlusPlus;
use rayon::prelude::*;

use crate::transformer::batches::generator;
use crate::transformer::parameters::normal;

/// Rounds of the power iteration. The spectra of word vectors fall slowly, so single components are not found exactly, but
/// the space they span is what counts, and its share of the variance is settled after some dozen rounds.
const ROUNDS: usize = 24;

/// A linear map from `dim` to `d_model` numbers.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Projection {
    /// `[dim, d_model]`; `None` where both are the same and nothing is to be done.
    matrix: Option<Vec<f64>>,
    dim: usize,
    d_model: usize,
}

impl Projection {
    /// The map for these rows, which are `dim` numbers each.
    pub(crate) fn for_rows<'a>(
        rows: impl Iterator<Item = &'a [f32]> + Clone,
        dim: usize,
        d_model: usize,
        seed: u64,
    ) -> Projection {
        // Apart from the draws of batches, which begin with epoch 0.
        let mut random = generator(seed, u64::MAX, dim as u64);
        let matrix = match dim.cmp(&d_model) {
            std::cmp::Ordering::Equal => None,
            std::cmp::Ordering::Less => {
                let mut matrix = drawn(dim * d_model, &mut random);
                make_orthonormal(&mut matrix, d_model);
                Some(matrix)
            }
            std::cmp::Ordering::Greater => Some(principal(&covariance(rows, dim), dim, d_model, &mut random)),
        };
        Projection { matrix, dim, d_model }
    }

    /// The image of one row: `[dim]` → `[d_model]`.
    pub(crate) fn apply(&self, row: &[f32]) -> Vec<f64> {
        assert_eq!(row.len(), self.dim);
        let Some(matrix) = &self.matrix else {
            return row.iter().map(|&x| f64::from(x)).collect();
        };
        let mut image = vec![0.0; self.d_model];
        for (&x, directions) in row.iter().zip(matrix.chunks_exact(self.d_model)) {
            for (image, direction) in image.iter_mut().zip(directions) {
                *image += f64::from(x) * direction;
            }
        }
        image
    }
}

fn drawn(n: usize, random: &mut Xoshiro256PlusPlus) -> Vec<f64> {
    normal(random, n, 1.0).into_iter().map(f64::from).collect()
}

/// Makes rows of `len` numbers orthogonal and of length 1, one after the other (Gram & Schmidt), twice for each so that
/// rounding does no harm. There are no more rows than numbers in a row.
fn make_orthonormal(rows: &mut [f64], len: usize) {
    assert!(rows.len() <= len * len);
    for at in 0..rows.len() / len {
        let (before, rest) = rows.split_at_mut(at * len);
        let row = &mut rest[..len];
        for _ in 0..2 {
            for other in before.chunks_exact(len) {
                let product: f64 = row.iter().zip(other).map(|(x, y)| x * y).sum();
                row.iter_mut().zip(other).for_each(|(x, y)| *x -= product * y);
            }
            let norm = row.iter().map(|x| x * x).sum::<f64>().sqrt();
            if norm > 1e-12 {
                row.iter_mut().for_each(|x| *x /= norm);
            } else {
                // A direction that is nothing but a mixture of the others: any other does, the axes in turn.
                row.fill(0.0);
                row[at] = 1.0;
            }
        }
    }
}

/// Σ (x − mean)(x − mean)ᵀ, `[dim, dim]`.
fn covariance<'a>(rows: impl Iterator<Item = &'a [f32]> + Clone, dim: usize) -> Vec<f64> {
    let rows: Vec<&[f32]> = rows.collect();
    let mean: Vec<f64> = (0..dim)
        .map(|column| rows.iter().map(|row| f64::from(row[column])).sum::<f64>() / rows.len().max(1) as f64)
        .collect();
    let mut covariance = vec![0.0; dim * dim];
    covariance.par_chunks_exact_mut(dim).enumerate().for_each(|(i, line)| {
        for row in &rows {
            let x = f64::from(row[i]) - mean[i];
            for ((sum, &y), mean) in line.iter_mut().zip(*row).zip(&mean) {
                *sum += x * (f64::from(y) - mean);
            }
        }
    });
    covariance
}

/// The `d_model` directions of largest variance as columns, `[dim, d_model]`, by orthogonal iteration.
fn principal(covariance: &[f64], dim: usize, d_model: usize, random: &mut Xoshiro256PlusPlus) -> Vec<f64> {
    // As rows, [d_model, dim], until the end.
    let mut directions = drawn(d_model * dim, random);
    make_orthonormal(&mut directions, dim);
    for _ in 0..ROUNDS {
        directions.par_chunks_exact_mut(dim).for_each(|direction| {
            let image: Vec<f64> =
                covariance.chunks_exact(dim).map(|row| row.iter().zip(&*direction).map(|(x, y)| x * y).sum()).collect();
            direction.copy_from_slice(&image);
        });
        make_orthonormal(&mut directions, dim);
    }
    (0..dim * d_model).map(|at| directions[at % d_model * dim + at / d_model]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn product(a: &[f64], b: &[f64]) -> f64 {
        a.iter().zip(b).map(|(x, y)| x * y).sum()
    }

    fn table(n_rows: usize, dim: usize, spread: impl Fn(usize) -> f64) -> Vec<Vec<f32>> {
        let mut random = generator(3, 0, 0);
        (0..n_rows)
            .map(|_| drawn(dim, &mut random).iter().enumerate().map(|(i, x)| (x * spread(i)) as f32).collect())
            .collect()
    }

    #[test]
    fn more_room_keeps_every_product() {
        let table = table(5, 12, |_| 1.0);
        let projection = Projection::for_rows(table.iter().map(Vec::as_slice), 12, 40, 1);
        let images: Vec<Vec<f64>> = table.iter().map(|row| projection.apply(row)).collect();
        for (row, image) in table.iter().zip(&images) {
            for (other, other_image) in table.iter().zip(&images) {
                let wanted: f64 = row.iter().zip(other).map(|(x, y)| f64::from(x * y)).sum();
                assert!((product(image, other_image) - wanted).abs() < 1e-5, "f32 products go in");
            }
        }
        assert!(images[0].iter().all(|x| x.abs() > 1e-9), "every channel has something");
        assert_ne!(Projection::for_rows(table.iter().map(Vec::as_slice), 12, 40, 2), projection);
    }

    #[test]
    fn less_room_keeps_the_directions_of_largest_variance() {
        // Variance in axes 4, 1 and 7 mostly, whatever the mean is.
        let spread = |i: usize| if matches!(i, 1 | 4 | 7) { 3.0 } else { 0.5 };
        let mut table = table(400, 10, spread);
        table.iter_mut().for_each(|row| row[2] += 100.0);
        let projection = Projection::for_rows(table.iter().map(Vec::as_slice), 10, 3, 1);
        for axis in 0..10 {
            let mut unit = [0.0; 10];
            unit[axis] = 1.0;
            let kept = product(&projection.apply(&unit), &projection.apply(&unit));
            assert!(if matches!(axis, 1 | 4 | 7) { kept > 0.95 } else { kept < 0.05 }, "axis {axis}: {kept}");
        }
    }

    #[test]
    fn the_same_length_changes_nothing_and_few_rows_are_no_trouble() {
        let same = Projection::for_rows([].into_iter(), 3, 3, 1);
        assert_eq!(same.apply(&[1.0, -2.0, 0.5]), [1.0, -2.0, 0.5]);
        let one = [1f32, 2.0, 3.0, 4.0];
        let projection = Projection::for_rows([&one[..]].into_iter(), 4, 2, 1);
        assert!(projection.apply(&one).iter().all(|x| x.is_finite()));
    }
}
