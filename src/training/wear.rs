//! What many who learned the same at once have learned together.
//!
//! Workers that each step on a copy of a row do not see each other's steps. Where few of them touch the row, what they
//! have changed adds up. But eight that each bring the root of the tree to where they want it would together carry it
//! eight times as far, and farther the next time, until numbers are infinite. Had they worked one after the other, the
//! later ones would have found less left to do. So the sum of their changes is multiplied by
//!
//! ```text
//! s(v₁ + v₂ + …) / (s(v₁) + s(v₂) + …),    s(v) = w·v / (1 + w·v)
//! ```
//!
//! where worker i has visited the row vᵢ times, and s(v) says how much of the way v visits go: 1 for rows that are seldom
//! visited or by one alone, and one part in so many workers for the root, which makes the sum a mean.

use crate::training::{Architecture, TrainConfig};

/// How fast visits use up what there is to be learned from them, per visit and learning rate.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wear {
    pub(crate) input: f32,
    pub(crate) output: f32,
}

impl Wear {
    /// Found by trial on English text, at windows 5 and 10 and at rates up to four times the default, and on a text of 40
    /// words that repeats itself, with CBOW: a tenth of it, and lanes overshoot together until numbers are infinite; ten
    /// times as much, and frequent rows learn too slowly.
    pub(crate) fn of(config: &TrainConfig) -> Wear {
        // On average a token is in so many windows, and with skip-gram a center makes so many steps.
        let windows = config.window as f32 + 1.0;
        match config.architecture {
            Architecture::SkipGram => Wear { input: 0.15 * windows, output: 0.06 * windows },
            Architecture::Cbow => Wear { input: 0.15 * windows, output: 0.36 },
        }
    }
}

/// How much of the way to where the steps lead so many visits go; `wear` is that of one visit.
#[inline(always)]
pub(crate) fn way(wear: f32, visits: f32) -> f32 {
    // 1 - exp(-x) would be the way of equal steps; this bends alike, and is the same to the last bit on every system.
    wear * visits / (1.0 + wear * visits)
}

/// What the change of one of `workers` counts for, when each has visited the row so often.
#[inline(always)]
pub(crate) fn share(wear: f32, visits: f32, workers: usize) -> f32 {
    let one = way(wear, visits);
    // A rate of almost nothing moves nothing, and the way may be 0.
    if one > 0.0 { way(wear, visits * workers as f32) / (one * workers as f32) } else { 1.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seldom_visited_rows_count_whole_and_the_root_as_a_mean() {
        assert!((share(0.01, 0.01, 16) - 1.0).abs() < 0.01);
        assert!((share(0.01, 1e6, 16) - 1.0 / 16.0).abs() < 1e-3);
        assert_eq!(share(0.01, 500.0, 1), 1.0);
        assert_eq!(share(0.0, 500.0, 16), 1.0);
    }
}
