//! Negative sampling: a center against tokens that are drawn at random.
//!
//! In: how often each token occurs. Out: for each center its own row of the outputs and those of k others, to be told
//! apart by a classifier per row: the label of the center's is 1, that of the others 0. The k are drawn once for a center
//! and shared by all its contexts, so that the step is the same small dense product as on a path of the tree (Ji et al.
//! 2016).
//!
//! A token is drawn in proportion to count^0.75 (Mikolov et al. 2013b, §2.2). word2vec.c keeps a table of 10⁸ entries for
//! that and waits for memory at each draw; an alias table (Walker 1977, built as in Vose 1991) has one entry per token.

use std::hint::select_unpredictable;

use rand::Rng;
use rand::rngs::Xoshiro256PlusPlus;

/// Draws negatives.
#[derive(Debug)]
pub(crate) struct Noise {
    slots: Vec<Slot>,
    // The center's own classifier, then the negatives'.
    bits: Vec<u8>,
}

/// One part of n equal ones: up to `threshold` / 2³² of it belongs to the token of the same number, the rest to `alias`.
#[derive(Debug, Clone, Copy)]
struct Slot {
    threshold: u32,
    alias: u32,
}

impl Noise {
    /// `negatives` for each center, in proportion to count^`exponent`; a token that never occurs is never drawn.
    pub(crate) fn new(counts: &[u64], negatives: usize, exponent: f64) -> Noise {
        let mut bits = vec![1; negatives + 1];
        bits[0] = 0;
        Noise { slots: alias_table(counts, exponent), bits }
    }

    /// The bit of each classifier of a center: 0 is its own, and 1 the drawn ones'. (A label is `1 - bit`.)
    pub(crate) fn bits(&self) -> &[u8] {
        &self.bits
    }

    /// Appends the row of `center`, then those of the negatives.
    ///
    /// A draw that hits the center itself is skipped, as in word2vec.c. Drawing again, as fastText does, would hang where
    /// one token is almost all of the text.
    #[inline(always)]
    pub(crate) fn draw(&self, center: u32, random: &mut Xoshiro256PlusPlus, rows: &mut Vec<u32>) {
        let mut end = rows.len() + 1;
        rows.resize(end + self.bits.len() - 1, center);
        for _ in 1..self.bits.len() {
            // Written always, kept or overwritten.
            let token = self.token(random.next_u64());
            rows[end] = token;
            end += usize::from(token != center);
        }
        rows.truncate(end);
    }

    /// The token that 64 random bits stand for: the upper half chooses the slot, the lower half the side of it.
    #[inline(always)]
    fn token(&self, bits: u64) -> u32 {
        let place = ((bits >> 32) * self.slots.len() as u64) >> 32;
        let slot = self.slots[place as usize];
        // A branch would be guessed wrong every second time.
        select_unpredictable((bits as u32) < slot.threshold, place as u32, slot.alias)
    }
}

/// Slots in which each token has a share in proportion to count^`exponent`.
fn alias_table(counts: &[u64], exponent: f64) -> Vec<Slot> {
    let weights: Vec<f64> =
        counts.iter().map(|&count| if count == 0 { 0.0 } else { (count as f64).powf(exponent) }).collect();
    let mean = weights.iter().sum::<f64>() / weights.len() as f64;
    // What is left of each token, in slots; those that fill their own give the rest to those that do not.
    let mut left: Vec<f64> = weights.iter().map(|weight| weight / mean).collect();
    // A slot of its own token alone, until another fills it up: its alias is itself.
    let mut slots: Vec<Slot> = (0..counts.len() as u32).map(|alias| Slot { threshold: 0, alias }).collect();
    let (mut small, mut large): (Vec<usize>, Vec<usize>) = (0..counts.len()).partition(|&token| left[token] < 1.0);
    while let (Some(&token), Some(&giver)) = (small.last(), large.last()) {
        small.pop();
        slots[token] = Slot { threshold: (left[token] * (1u64 << 32) as f64) as u32, alias: giver as u32 };
        left[giver] -= 1.0 - left[token];
        if left[giver] < 1.0 {
            large.pop();
            small.push(giver);
        }
    }
    // Rounding may leave slots that nobody is left to fill: they are full but for that, unless their token never occurs.
    let most = (0..counts.len()).max_by(|&a, &b| weights[a].total_cmp(&weights[b])).unwrap_or(0);
    for token in small.into_iter().filter(|&token| weights[token] == 0.0) {
        slots[token].alias = most as u32;
    }
    slots
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::math::{Classifiers, Inputs, LogisticBlock, Machine, Matrix, SharedMatrix, Step, Work, run};
    use crate::training::sentence::generator;

    /// The exact share of each token: half-open parts of slots, in units of 2⁻³² of a slot.
    fn shares(slots: &[Slot]) -> Vec<f64> {
        let mut shares = vec![0.0; slots.len()];
        for (token, slot) in slots.iter().enumerate() {
            let own = f64::from(slot.threshold) / (1u64 << 32) as f64;
            shares[token] += own / slots.len() as f64;
            shares[slot.alias as usize] += (1.0 - own) / slots.len() as f64;
        }
        shares
    }

    #[test]
    fn every_token_has_its_share_and_one_that_never_occurs_has_none() {
        let ascending: Vec<u64> = (0..1000).map(|i| i * i).collect();
        let mut descending: Vec<u64> = (1..3000).map(|rank| 10_000_000 / rank).collect();
        descending.extend([0; 500]);
        for counts in [&[7][..], &[0, 3], &[3, 0], &[1, 1, 1], &[u64::MAX, 1, 0], &ascending, &descending] {
            for exponent in [0.75, 1.0, 0.0, -0.5] {
                let weight = |&count: &u64| if count == 0 { 0.0 } else { (count as f64).powf(exponent) };
                let total: f64 = counts.iter().map(weight).sum();
                for (token, share) in shares(&alias_table(counts, exponent)).into_iter().enumerate() {
                    let wanted = weight(&counts[token]) / total;
                    // Each of n slots rounds down by less than 2^-32 of itself; sums of f64 do the rest.
                    assert!((share - wanted).abs() < 1e-9, "{exponent} token {token}: {share} {wanted}");
                    assert!(counts[token] > 0 || share == 0.0, "{exponent} token {token} never occurs: {share}");
                }
            }
        }
    }

    #[test]
    fn draws_follow_the_shares_and_never_are_the_center() {
        let counts = [5000, 1000, 100, 0, 10];
        let noise = Noise::new(&counts, 5, 0.75);
        let mut random = generator(1, 2, 3);
        let mut rows = Vec::new();
        let mut seen = [0u32; 5];
        for _ in 0..100_000 {
            rows.clear();
            noise.draw(1, &mut random, &mut rows);
            assert!(rows[0] == 1 && rows.len() <= noise.bits().len() && !rows[1..].contains(&1));
            rows[1..].iter().for_each(|&row| seen[row as usize] += 1);
        }
        let shares = shares(&noise.slots);
        for token in [0, 2, 3, 4] {
            // 500,000 draws; five standard deviations are at most 1,800.
            let expected = 500_000.0 * shares[token];
            assert!((f64::from(seen[token]) - expected).abs() < 1_800.0, "{token}: {} {expected}", seen[token]);
        }
    }

    /// A step of one input, `[dim]`, against the rows and bits of a center; returns the objective before it, in bits.
    struct StepOfOne<'a> {
        input: &'a mut Matrix,
        output: &'a mut Matrix,
        classifiers: Classifiers<'a>,
    }

    impl Work for StepOfOne<'_> {
        type Output = f64;

        #[inline(always)]
        fn run<M: Machine>(self, m: M) -> f64 {
            let mut block = LogisticBlock::new(SharedMatrix::new(self.input), SharedMatrix::new(self.output), None);
            // The window is the center, whose row is not looked at, and one context.
            block.step_inputs(m, self.classifiers, Inputs::around(&[0, 0], 0), Step::Learn(1.0));
            block.take_loss()
        }
    }

    /// −ln σ(x·first) − Σ ln σ(−x·other).
    fn nats(x: &[f64], rows: &[Vec<f64>]) -> f64 {
        let dot = |row: &[f64]| x.iter().zip(row).map(|(a, b)| a * b).sum::<f64>();
        (-dot(&rows[0])).exp().ln_1p() + rows[1..].iter().map(|row| dot(row).exp().ln_1p()).sum::<f64>()
    }

    #[test]
    fn a_step_goes_down_the_objective_of_the_center_and_its_negatives() {
        const DIM: usize = 20;
        let wave = |n_rows: usize, pitch: usize| {
            let mut matrix = Matrix::zeros(n_rows, DIM);
            for row in 0..n_rows {
                matrix
                    .row_mut(row)
                    .iter_mut()
                    .enumerate()
                    .for_each(|(i, x)| *x = ((row * pitch + i) as f32).sin() / 3.0);
            }
            matrix
        };
        let floats = |row: &[f32]| row.iter().map(|&x| f64::from(x)).collect::<Vec<f64>>();
        let noise = Noise::new(&(1..=50).collect::<Vec<u64>>(), 5, 0.75);
        let mut drawn = Vec::new();
        noise.draw(3, &mut generator(1, 2, 3), &mut drawn);
        let mut distinct = drawn.clone();
        distinct.sort();
        distinct.dedup();
        assert_eq!((drawn.len(), distinct.len()), (6, 6), "a draw to test with: differences take each row once");
        let (mut input, mut output) = (wave(1, 1), wave(50, 7));
        let x = floats(input.row(0));
        let rows: Vec<Vec<f64>> = drawn.iter().map(|&row| floats(output.row(row as usize))).collect();
        let classifiers = Classifiers { nodes: &drawn, bits: noise.bits() };
        let bits = run(StepOfOne { input: &mut input, output: &mut output, classifiers });
        assert!((bits - nats(&x, &rows) / std::f64::consts::LN_2).abs() < 1e-5);
        // Central differences, of one number at a time.
        let slope = |nudged: &dyn Fn(f64) -> f64| (nudged(1e-5) - nudged(-1e-5)) / 2e-5;
        for i in 0..DIM {
            let of_input = slope(&|h| {
                let mut x = x.clone();
                x[i] += h;
                nats(&x, &rows)
            });
            let moved = f64::from(input.row(0)[i]) - x[i];
            assert!((moved + of_input).abs() < 1e-6, "input {i}: {moved} {of_input}");
            for (place, &row) in drawn.iter().enumerate() {
                let of_row = slope(&|h| {
                    let mut rows = rows.clone();
                    rows[place][i] += h;
                    nats(&x, &rows)
                });
                let moved = f64::from(output.row(row as usize)[i]) - rows[place][i];
                assert!((moved + of_row).abs() < 1e-6, "row {row}, number {i}: {moved} {of_row}");
            }
        }
    }

    #[test]
    fn the_only_token_has_no_negatives() {
        let mut rows = Vec::new();
        Noise::new(&[7], 5, 0.75).draw(0, &mut generator(1, 2, 3), &mut rows);
        assert_eq!(rows, [0]);
    }
}
