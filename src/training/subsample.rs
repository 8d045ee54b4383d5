//! Frequent tokens, thinned.
//!
//! In: how often each token occurs. Out: for each the probability to stay when a sentence is read.
//!
//! With share f of the corpus and threshold t a token stays with probability √(t/f) + t/f. This is word2vec.c; the
//! paper (Mikolov et al. 2013b, §2.3) has √(t/f) alone. At t = 0.001 a token that is 1 % of the corpus stays 42 % of
//! the time. The window then slides over what stayed, so that it reaches farther where tokens fell out.

use crate::tokens::TokenId;

/// Decides which tokens stay.
#[derive(Debug)]
pub(crate) struct Subsample {
    // A token stays when 32 random bits are below its threshold; `u32::MAX` always stays.
    thresholds: Vec<u32>,
}

impl Subsample {
    /// With threshold `sample`; 0 keeps everything.
    pub(crate) fn new(counts: &[u64], sample: f64) -> Subsample {
        let total: f64 = counts.iter().map(|&count| count as f64).sum();
        let threshold = |&count: &u64| {
            let ratio = sample * total / count as f64;
            let keep = ratio.sqrt() + ratio;
            if sample == 0.0 || keep >= 1.0 { u32::MAX } else { (keep * f64::from(u32::MAX)) as u32 }
        };
        Subsample { thresholds: counts.iter().map(threshold).collect() }
    }

    /// Whether a token stays, given 32 random bits.
    #[inline(always)]
    pub(crate) fn keeps(&self, token: TokenId, random: u32) -> bool {
        random <= self.thresholds[token.index()]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_percent_stays_42_percent_of_the_time() {
        let subsample = Subsample::new(&[1, 99], 1e-3);
        let keep = |id: usize| f64::from(subsample.thresholds[id]) / f64::from(u32::MAX);
        assert!((keep(0) - 0.41623).abs() < 1e-5);
        assert!(keep(1) < keep(0));
    }

    #[test]
    fn rare_tokens_always_stay_and_so_do_all_without_a_threshold() {
        assert!(Subsample::new(&[1, 1_000_000], 1e-3).keeps(TokenId(0), u32::MAX));
        assert!(Subsample::new(&[1, 1_000_000], 0.0).keeps(TokenId(1), u32::MAX));
    }
}
