//! Logits → a token.
//!
//! In: a number for every token. Out: one of them, drawn from softmax(logits / temperature), cut to the most probable
//! ones when asked. Log-probabilities are as good as logits: what the tree gives is sampled by the same lines.

use std::cmp::Ordering;

use rand::RngExt;
use rand::rngs::Xoshiro256PlusPlus;

use crate::error::{Error, Result};
use crate::tokens::TokenId;

/// How a token is drawn.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sampling {
    /// Logits are divided by this: below 1 the probable becomes more probable, 1 is the model's own distribution. 0 takes
    /// the most probable token always. At most 1,000.
    pub temperature: f64,
    /// Only so many of the most probable tokens may be drawn, 1 or more; `None`: all.
    pub top_k: Option<usize>,
    /// Only the most probable tokens that together have this probability may be drawn, above 0 and at most 1 (Holtzman et
    /// al. 2020, nucleus sampling); the one that crosses the line is among them.
    pub top_p: f64,
}

impl Default for Sampling {
    fn default() -> Sampling {
        Sampling { temperature: 1.0, top_k: None, top_p: 1.0 }
    }
}

impl Sampling {
    /// Always the most probable token.
    pub const GREEDY: Sampling = Sampling { temperature: 0.0, top_k: None, top_p: 1.0 };

    /// Refuses settings outside their ranges.
    ///
    /// # Errors
    /// [`Error::Config`] with the range that is allowed.
    pub fn check(&self) -> Result<()> {
        if !(0.0..=1000.0).contains(&self.temperature) {
            let reason = format!("{}, expected 0 (always the most probable token) to 1000", self.temperature);
            return Err(Error::config("temperature", reason));
        }
        if self.top_k == Some(0) {
            return Err(Error::config("top-k", "0, expected 1 or more: some token must be left to draw"));
        }
        if !(self.top_p > 0.0 && self.top_p <= 1.0) {
            return Err(Error::config("top-p", format!("{}, expected above 0 and at most 1", self.top_p)));
        }
        Ok(())
    }
}

/// A token and what it weighs.
type Weighed = (TokenId, f64);

/// The tokens that may be drawn with their probabilities, most probable first; equal ones by id.
///
/// `logits[i]` belongs to `TokenId(i)`; −∞ is a token that is never drawn.
///
/// # Panics
/// Without logits.
///
/// # Example
/// ```
/// use wordgrove::transformer::{Sampling, distribution};
/// let logits = [0.0, 2f32.ln(), 0.0];
/// let best = distribution(&logits, &Sampling { top_k: Some(2), ..Sampling::default() });
/// assert_eq!((best[0].0.0, best[1].0.0), (1, 0));
/// assert!((best[0].1 - 2.0 / 3.0).abs() < 1e-7); // two of the three that are left
/// ```
pub fn distribution(logits: &[f32], sampling: &Sampling) -> Vec<(TokenId, f64)> {
    let mut weights = candidates(logits, sampling);
    weights.sort_unstable_by(by_falling_weight);
    let total = sum(&weights);
    weights.iter_mut().for_each(|(_, weight)| *weight /= total);
    weights
}

/// Draws a token: the first, in the order of [`distribution`], up to which the probabilities come to a number that is drawn
/// evenly from 0 to 1. It is found without sorting them all.
///
/// # Panics
/// Without logits.
pub fn draw(logits: &[f32], sampling: &Sampling, random: &mut Xoshiro256PlusPlus) -> TokenId {
    let mut weights = candidates(logits, sampling);
    let enough = random.random::<f64>() * sum(&weights);
    let place = crossing(&mut weights, enough);
    // The weights add up to their sum but for rounding.
    place.map_or_else(|| most_probable(logits), |place| weights[place].0)
}

/// The tokens that may be drawn with weights in proportion to their probabilities, in any order.
fn candidates(logits: &[f32], sampling: &Sampling) -> Vec<Weighed> {
    assert!(!logits.is_empty(), "some token must be left to draw");
    if sampling.temperature == 0.0 {
        return vec![(most_probable(logits), 1.0)];
    }
    let most = f64::from(logits.iter().copied().fold(f32::NEG_INFINITY, f32::max));
    if most == f64::NEG_INFINITY {
        return vec![(TokenId(0), 1.0)];
    }
    // Less the largest, so that no exponential overflows.
    let weigh = |logit: f32| ((f64::from(logit) - most) / sampling.temperature).exp();
    let mut weights: Vec<Weighed> =
        logits.iter().enumerate().map(|(id, &logit)| (TokenId(id as u32), weigh(logit))).collect();
    if let Some(k) = sampling.top_k.filter(|&k| k < weights.len()) {
        weights.select_nth_unstable_by(k - 1, by_falling_weight);
        weights.truncate(k);
    }
    if sampling.top_p < 1.0 {
        let enough = sampling.top_p * sum(&weights);
        if let Some(last) = crossing(&mut weights, enough) {
            weights.truncate(last + 1);
        }
    }
    weights
}

fn by_falling_weight(a: &Weighed, b: &Weighed) -> Ordering {
    b.1.total_cmp(&a.1).then(a.0.cmp(&b.0))
}

fn sum(weights: &[Weighed]) -> f64 {
    weights.iter().map(|(_, weight)| weight).sum()
}

/// The place, by falling weight, up to which the weights come to `enough`; those before it and it itself are put first.
/// `None` when all together do not.
///
/// Of what is left a part of the heaviest is parted from the rest; then the search goes on in the one in which the sum
/// crosses the line. Sorting them all would take several times as long.
fn crossing(weights: &mut [Weighed], enough: f64) -> Option<usize> {
    /// So few are sorted.
    const FEW: usize = 32;
    let (mut first, mut end, mut so_far) = (0, weights.len(), 0.0);
    while end - first > FEW {
        // An eighth, since few tokens have most of the probability, as a rule; a half where they have not.
        let n = (end - first) / if first == 0 { 8 } else { 2 };
        weights[first..end].select_nth_unstable_by(n - 1, by_falling_weight);
        let heaviest = sum(&weights[first..first + n]);
        if so_far + heaviest >= enough {
            end = first + n;
        } else {
            so_far += heaviest;
            first += n;
        }
    }
    weights[first..end].sort_unstable_by(by_falling_weight);
    (first..end).find(|&place| {
        so_far += weights[place].1;
        so_far >= enough
    })
}

/// The token of the largest logit; of equal ones the first.
fn most_probable(logits: &[f32]) -> TokenId {
    let mut best = 0;
    for (id, &logit) in logits.iter().enumerate() {
        if logit > logits[best] || logits[best].is_nan() {
            best = id;
        }
    }
    TokenId(best as u32)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transformer::batches::generator;

    const LOGITS: [f32; 8] = [0.3, -1.0, 2.0, 1.1, 0.0, -0.4, 1.7, -2.5];

    fn plain_softmax(temperature: f64) -> Vec<f64> {
        let weights: Vec<f64> = LOGITS.iter().map(|&logit| (f64::from(logit) / temperature).exp()).collect();
        weights.iter().map(|weight| weight / weights.iter().sum::<f64>()).collect()
    }

    /// χ² of 100,000 draws against `expected`; tokens of probability 0 must not be drawn.
    fn chi_squared(sampling: &Sampling, expected: &[f64]) -> f64 {
        const N: usize = 100_000;
        let mut random = generator(11, 0, 0);
        let mut counts = [0u32; LOGITS.len()];
        for _ in 0..N {
            counts[draw(&LOGITS, sampling, &mut random).index()] += 1;
        }
        let mut sum = 0.0;
        for (&count, &p) in counts.iter().zip(expected) {
            if p == 0.0 {
                assert_eq!(count, 0);
            } else {
                sum += (f64::from(count) - N as f64 * p).powi(2) / (N as f64 * p);
            }
        }
        sum
    }

    /// The 99.9 % point of χ² with 7 degrees of freedom.
    const UNLIKELY: f64 = 24.32;

    #[test]
    fn frequencies_follow_softmax_of_logits_over_temperature() {
        for temperature in [0.3, 1.0, 1.8, 50.0] {
            let found = chi_squared(&Sampling { temperature, ..Sampling::default() }, &plain_softmax(temperature));
            assert!(found < UNLIKELY, "temperature {temperature}: {found}");
        }
        // The test can fail: the frequencies of one temperature are not those of another.
        assert!(chi_squared(&Sampling::default(), &plain_softmax(1.1)) > UNLIKELY);
    }

    #[test]
    fn top_k_and_top_p_cut_and_what_is_left_keeps_its_proportions() {
        let all = plain_softmax(1.0);
        let left = |kept: &[usize]| -> Vec<f64> {
            let total: f64 = kept.iter().map(|&id| all[id]).sum();
            (0..all.len()).map(|id| if kept.contains(&id) { all[id] / total } else { 0.0 }).collect()
        };
        let top_3 = Sampling { top_k: Some(3), ..Sampling::default() };
        assert!(chi_squared(&top_3, &left(&[2, 6, 3])) < UNLIKELY);
        // 2, 6 and 3 have 0.361 + 0.267 + 0.147: the third crosses 0.7.
        let nucleus = Sampling { top_p: 0.7, ..Sampling::default() };
        assert!(chi_squared(&nucleus, &left(&[2, 6, 3])) < UNLIKELY);
        let both = Sampling { top_k: Some(2), top_p: 0.999, temperature: 1.0 };
        assert!(chi_squared(&both, &left(&[2, 6])) < UNLIKELY);
        let tiny = Sampling { top_p: 1e-9, ..Sampling::default() };
        assert_eq!(distribution(&LOGITS, &tiny), [(TokenId(2), 1.0)]);
        let large = Sampling { top_k: Some(1000), ..Sampling::default() };
        assert_eq!(distribution(&LOGITS, &large), distribution(&LOGITS, &Sampling::default()));
    }

    /// What `draw` comes to when everything is sorted.
    fn naive_draw(logits: &[f32], sampling: &Sampling, random: &mut Xoshiro256PlusPlus) -> TokenId {
        let candidates = distribution(logits, sampling);
        let mut left: f64 = random.random();
        for &(id, probability) in &candidates {
            if left < probability {
                return id;
            }
            left -= probability;
        }
        candidates[0].0
    }

    #[test]
    fn what_is_drawn_is_what_a_walk_along_the_sorted_tokens_finds() {
        let mut random = generator(5, 0, 0);
        for n in [1, 2, 31, 33, 300, 5000] {
            // Flat, as before training; steep; and many of the same weight.
            for spread in [0.01f32, 4.0, 0.0] {
                let logits: Vec<f32> = (0..n).map(|_| spread * (random.random::<f32>() - 0.5) * 2.0).collect();
                for (top_k, top_p) in [(None, 1.0), (Some(n / 3 + 1), 1.0), (None, 0.6), (Some(50), 0.9)] {
                    let sampling = Sampling { temperature: 0.8, top_k, top_p };
                    let (mut ours, mut theirs) = (generator(7, 0, n as u64), generator(7, 0, n as u64));
                    for _ in 0..20 {
                        let found = draw(&logits, &sampling, &mut ours);
                        assert_eq!(found, naive_draw(&logits, &sampling, &mut theirs), "{n} {spread} {sampling:?}");
                    }
                }
            }
        }
    }

    #[test]
    fn temperature_zero_is_greedy_and_small_ones_come_close() {
        let mut random = generator(1, 0, 0);
        for temperature in [0.0, 1e-3, 1e-300] {
            let sampling = Sampling { temperature, ..Sampling::default() };
            assert!((0..100).all(|_| draw(&LOGITS, &sampling, &mut random) == TokenId(2)), "{temperature}");
        }
        assert_eq!(draw(&[1.0, 1.0], &Sampling::GREEDY, &mut random), TokenId(0), "of equal ones the first");
    }

    #[test]
    fn entropy_rises_with_temperature() {
        let entropy = |temperature| -> f64 {
            let candidates = distribution(&LOGITS, &Sampling { temperature, ..Sampling::default() });
            candidates.iter().map(|(_, p)| if *p > 0.0 { -p * p.ln() } else { 0.0 }).sum()
        };
        let found: Vec<f64> = [0.1, 0.5, 1.0, 2.0, 10.0, 1000.0].map(entropy).to_vec();
        assert!(found.is_sorted() && found[5] < 8f64.ln() && found[5] > 2.07, "{found:?}");
    }

    #[test]
    fn odd_logits_are_no_trouble() {
        let sampling = Sampling::default();
        assert_eq!(distribution(&[5.0], &sampling), [(TokenId(0), 1.0)]);
        let far = distribution(&[1e30, -1e30, f32::NEG_INFINITY], &sampling);
        assert_eq!((far[0], far[1].1), ((TokenId(0), 1.0), 0.0));
        assert_eq!(distribution(&[f32::NEG_INFINITY; 2], &sampling).len(), 1);
    }

    #[test]
    fn settings_out_of_range_are_refused_by_name() {
        // D2
        let good = Sampling::default();
        assert!(good.check().is_ok() && Sampling::GREEDY.check().is_ok());
        for (field, wrong) in [
            ("temperature", Sampling { temperature: -1.0, ..good }),
            ("temperature", Sampling { temperature: f64::NAN, ..good }),
            ("temperature", Sampling { temperature: f64::INFINITY, ..good }),
            ("top-k", Sampling { top_k: Some(0), ..good }),
            ("top-p", Sampling { top_p: 0.0, ..good }),
            ("top-p", Sampling { top_p: 1.1, ..good }),
            ("top-p", Sampling { top_p: f64::NAN, ..good }),
        ] {
            assert!(matches!(wrong.check(), Err(Error::Config { field: found, .. }) if found == field), "{wrong:?}");
        }
    }
}
