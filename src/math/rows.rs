//! Products with rows: what queries are made of.

use crate::math::machine::{Machine, Work, run};

/// The inner product of two rows of equal length.
pub fn dot(a: &[f32], b: &[f32]) -> f32 {
    let mut out = [0.0];
    row_dots(a, b, &mut out);
    out[0]
}

/// The inner products of `query` with each of the rows, `[n_rows, dim]` packed without padding; `out` is `[n_rows]`.
///
/// # Panics
/// When `rows` does not have `out.len()` rows of `query.len()` numbers.
pub fn row_dots(rows: &[f32], query: &[f32], out: &mut [f32]) {
    assert_eq!(rows.len(), query.len() * out.len(), "{} rows of {} numbers", out.len(), query.len());
    run(RowDots { rows, query, out });
}

struct RowDots<'a> {
    rows: &'a [f32],
    query: &'a [f32],
    out: &'a mut [f32],
}

impl Work for RowDots<'_> {
    type Output = ();

    #[inline(always)]
    fn run<M: Machine>(self, m: M) {
        let dim = self.query.len();
        if dim == 0 {
            return self.out.fill(0.0);
        }
        for (row, out) in self.rows.chunks_exact(dim).zip(self.out) {
            // Two sums, so that one addition need not wait for the other.
            let (mut even, mut odd) = (m.splat(0.0), m.splat(0.0));
            let mut at = 0;
            // SAFETY: both rows have `dim` numbers, and `at` plus what is loaded stays within them.
            unsafe {
                while at + 2 * M::LANES <= dim {
                    even = m.fma(m.load(row.as_ptr().add(at)), m.load(self.query.as_ptr().add(at)), even);
                    let at_odd = at + M::LANES;
                    odd = m.fma(m.load(row.as_ptr().add(at_odd)), m.load(self.query.as_ptr().add(at_odd)), odd);
                    at += 2 * M::LANES;
                }
                if at + M::LANES <= dim {
                    even = m.fma(m.load(row.as_ptr().add(at)), m.load(self.query.as_ptr().add(at)), even);
                    at += M::LANES;
                }
            }
            let rest: f32 = row[at..].iter().zip(&self.query[at..]).map(|(a, b)| a * b).sum();
            *out = m.sum(m.add(even, odd)) + rest;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::math::machine::Detected;

    #[test]
    fn every_machine_agrees_with_sums_in_f64_at_awkward_lengths() {
        for dim in [0, 1, 7, 8, 9, 15, 16, 17, 31, 32, 33, 100, 300] {
            let numbers: Vec<f32> = (0..4 * dim).map(|i| ((i * 37 % 101) as f32 - 50.0) / 50.0).collect();
            let (query, rows) = numbers.split_at(dim);
            for machine in Detected::all() {
                let mut out = [9.0; 3];
                machine.run(RowDots { rows, query, out: &mut out });
                for (i, &out) in out.iter().enumerate() {
                    let row = &rows[i * dim..(i + 1) * dim];
                    let exact: f64 = row.iter().zip(query).map(|(&a, &b)| f64::from(a) * f64::from(b)).sum();
                    // Up to 300 terms of at most 1: rounding stays within 300 half units in the last place of 100.
                    assert!((f64::from(out) - exact).abs() < 1e-4, "{} {dim}: {out} {exact}", machine.name());
                }
            }
        }
    }
}
