//! Positions as sines and cosines.
//!
//! In: how many positions and how wide. Out: one row to add per position. Pair i of numbers turns like the hand of a clock
//! that goes round once in 2π · 10000^(2i/C) positions, so a shift by any distance is the same rotation everywhere.

use candle_core::{Device, Tensor};

use crate::error::Result;

/// Where the two numbers of a pair lie in a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SineLayout {
    /// Side by side: sine, cosine, sine, cosine, … (Vaswani et al. 2017, §3.5).
    Interleaved,
    /// All sines before all cosines (Marian, fairseq).
    Halves,
}

/// Sine or cosine.
type Wave = fn(f64) -> f64;

/// Rows for the positions `first` up to `first + n`: `[n, C]`.
///
/// Number 2i of a row is sin(position / 10000^(2i/C)) and number 2i + 1 the cosine of the same; with [`SineLayout::Halves`] they
/// are numbers i and ⌈C/2⌉ + i.
///
/// # Example
/// With C = 4 position 1 is sin 1, cos 1, sin 0.01, cos 0.01.
pub(crate) fn sinusoids(layout: SineLayout, first: usize, n: usize, d_model: usize) -> Result<Tensor> {
    let n_sines = d_model.div_ceil(2);
    let columns: Vec<(f64, Wave)> = (0..d_model)
        .map(|column| {
            let (pair, is_sine) = match layout {
                SineLayout::Interleaved => (column / 2, column % 2 == 0),
                SineLayout::Halves if column < n_sines => (column, true),
                SineLayout::Halves => (column - n_sines, false),
            };
            let frequency = 10_000_f64.powf(-2.0 * pair as f64 / d_model as f64);
            (frequency, if is_sine { f64::sin as Wave } else { f64::cos })
        })
        .collect();
    let row = |position: usize| columns.iter().map(move |(frequency, wave)| wave(position as f64 * frequency) as f32);
    let rows: Vec<f32> = (first..first + n).flat_map(row).collect();
    Ok(Tensor::from_vec(rows, (n, d_model), &Device::Cpu)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(layout: SineLayout, first: usize, n: usize, d_model: usize) -> Vec<Vec<f32>> {
        sinusoids(layout, first, n, d_model).unwrap().to_vec2().unwrap()
    }

    #[test]
    fn both_forms_hold_the_same_numbers_in_another_order() {
        let expected = [1f64.sin(), 1f64.cos(), 0.01f64.sin(), 0.01f64.cos()].map(|x| x as f32);
        assert_eq!(rows(SineLayout::Interleaved, 1, 1, 4), [expected]);
        let [a, b, c, d] = expected;
        assert_eq!(rows(SineLayout::Halves, 1, 1, 4), [[a, c, b, d]]);
        assert_eq!(rows(SineLayout::Halves, 0, 1, 5), [[0.0, 0.0, 0.0, 1.0, 1.0]], "one sine more where C is odd");
    }

    #[test]
    fn a_later_start_continues_the_table() {
        for layout in [SineLayout::Interleaved, SineLayout::Halves] {
            assert_eq!(rows(layout, 7, 3, 6), rows(layout, 0, 10, 6)[7..]);
        }
    }
}
