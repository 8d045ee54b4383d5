//! How to train.

use std::fmt;
use std::ops::RangeInclusive;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// The most negatives of one center: with them a step is still within what the sum of the losses takes at once.
const MAX_NEGATIVES: usize = 100;

/// Which way the prediction goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Architecture {
    /// The mean of the context rows predicts the center.
    Cbow,
    /// Each context row for itself predicts the center. This is word2vec.c's direction (fastText feeds the center and
    /// predicts the context); in it all contexts of a center share the center's path in the tree.
    SkipGram,
}

impl Architecture {
    /// The learning rate that word2vec.c begins with: 0.05 for CBOW, 0.025 for skip-gram.
    pub fn default_learning_rate(self) -> f32 {
        match self {
            Architecture::Cbow => 0.05,
            Architecture::SkipGram => 0.025,
        }
    }
}

impl fmt::Display for Architecture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Architecture::Cbow => "cbow",
            Architecture::SkipGram => "skip-gram",
        })
    }
}

impl FromStr for Architecture {
    type Err = Error;

    fn from_str(name: &str) -> Result<Architecture> {
        match name {
            "cbow" => Ok(Architecture::Cbow),
            "skip-gram" | "skipgram" | "sg" => Ok(Architecture::SkipGram),
            _ => Err(Error::config("architecture", format!("'{name}', expected cbow or skip-gram"))),
        }
    }
}

/// What a prediction is measured by, and so what the output rows are.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Loss {
    /// −log P(token | context), exactly: one classifier per branch on the token's path in the Huffman tree. Output rows
    /// belong to the inner nodes, `[n_tokens - 1, dim]`.
    HierarchicalSoftmax,
    /// Telling the token from others that are drawn at random (Mikolov et al. 2013b, §2.2): one classifier per token.
    /// Output rows belong to the tokens, `[n_tokens, dim]`. What is reported is this objective, which is no probability
    /// of anything.
    NegativeSampling {
        /// How many are drawn for each center, 1 to 100. Typical: 5 to 20 for small texts, 2 to 5 for large ones.
        negatives: usize,
        /// A token is drawn in proportion to its count to this power, −2 to 2. Typical: 0.75; 1 draws them as they
        /// occur, 0 all alike.
        exponent: f64,
    },
}

impl Loss {
    /// How many negatives word2vec.c draws when it is not told.
    pub const DEFAULT_NEGATIVES: usize = 5;

    /// The power of the count that the paper and word2vec.c draw by.
    pub const DEFAULT_EXPONENT: f64 = 0.75;

    /// How many rows the outputs have over a vocabulary of `n_tokens`.
    pub(crate) fn n_outputs(self, n_tokens: usize) -> usize {
        match self {
            Loss::HierarchicalSoftmax => n_tokens.saturating_sub(1),
            Loss::NegativeSampling { .. } => n_tokens,
        }
    }

    /// Negative sampling as word2vec.c does it: 5 negatives, drawn by count^0.75.
    pub fn negative_sampling() -> Loss {
        Loss::NegativeSampling { negatives: Loss::DEFAULT_NEGATIVES, exponent: Loss::DEFAULT_EXPONENT }
    }
}

/// How much of the gradient of their mean each context of CBOW receives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CbowGradient {
    /// All of it, as in word2vec.c, gensim and fastText: a center with ten contexts moves them ten times as far as the
    /// true gradient would.
    Whole,
    /// Its share, 1 / contexts: the true gradient of the loss (Irsoy et al. 2021), which wants a higher learning rate.
    Mean,
}

impl fmt::Display for CbowGradient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            CbowGradient::Whole => "whole",
            CbowGradient::Mean => "mean",
        })
    }
}

impl fmt::Display for Loss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Loss::HierarchicalSoftmax => "hs",
            Loss::NegativeSampling { .. } => "ns",
        })
    }
}

/// Everything that decides what is learned. The defaults are word2vec.c's, except that it samples negatives and has no
/// held-out part.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct TrainConfig {
    /// CBOW or skip-gram.
    pub architecture: Architecture,
    /// Hierarchical softmax or negative sampling.
    pub loss: Loss,
    /// What each context receives under CBOW; skip-gram does not ask.
    pub cbow_gradient: CbowGradient,
    /// Numbers in a vector, 1 to 16,384. Typical: 100 to 300.
    pub dim: usize,
    /// The farthest that a context may be from its center, in tokens, 1 to 1,000; the radius is drawn evenly from
    /// 1 to this for each center, so near contexts weigh more.
    pub window: usize,
    /// Passes over the corpus, 1 to 100,000.
    pub epochs: u32,
    /// The learning rate at the start, above 0 and at most 10. It falls with the tokens read, linearly, down to a
    /// ten-thousandth of itself. `None`: [`Architecture::default_learning_rate`].
    pub learning_rate: Option<f32>,
    /// The share of the corpus above which a token is thinned out, 0 to 1; 0 keeps every token.
    pub sample: f64,
    /// Threads, 1 to 1,024. With one, the same seed gives the same bytes.
    pub workers: usize,
    /// Where all random choices come from.
    pub seed: u64,
    /// The same bytes for any number of threads, at the price of some speed.
    pub deterministic: bool,
    /// The share of the sentences that is left out of training to measure the loss on, 0 to 0.5.
    pub hold_out: f64,
}

impl Default for TrainConfig {
    fn default() -> TrainConfig {
        TrainConfig {
            architecture: Architecture::Cbow,
            loss: Loss::HierarchicalSoftmax,
            cbow_gradient: CbowGradient::Whole,
            dim: 100,
            window: 5,
            epochs: 5,
            learning_rate: None,
            sample: 1e-3,
            workers: std::thread::available_parallelism().map_or(1, |n| n.get()),
            seed: 1,
            deterministic: false,
            hold_out: 0.001,
        }
    }
}

impl TrainConfig {
    /// The learning rate at the start.
    pub fn initial_learning_rate(&self) -> f32 {
        self.learning_rate.unwrap_or(self.architecture.default_learning_rate())
    }

    /// A dimension for a vocabulary of `n_tokens`: the entropy argument n > 8.33·ln N, rounded up to a multiple of 16.
    ///
    /// # Example
    /// ```
    /// assert_eq!(wordgrove::TrainConfig::auto_dim(32_000), 96);
    /// ```
    pub fn auto_dim(n_tokens: usize) -> usize {
        ((8.33 * (n_tokens.max(2) as f64).ln()) as usize + 1).next_multiple_of(16)
    }

    /// Refuses settings outside their ranges.
    ///
    /// # Errors
    /// [`Error::Config`] with the range that is allowed.
    pub fn check(&self) -> Result<()> {
        fn within<T: PartialOrd + fmt::Display>(field: &'static str, value: T, range: RangeInclusive<T>) -> Result<()> {
            if range.contains(&value) {
                return Ok(());
            }
            Err(Error::config(field, format!("{value} is out of range, expected {} to {}", range.start(), range.end())))
        }
        within("dim", self.dim, 1..=16_384)?;
        within("window", self.window, 1..=1_000)?;
        within("epochs", self.epochs, 1..=100_000)?;
        within("sample", self.sample, 0.0..=1.0)?;
        within("threads", self.workers, 1..=1_024)?;
        within("hold-out", self.hold_out, 0.0..=0.5)?;
        if let Loss::NegativeSampling { negatives, exponent } = self.loss {
            within("negative", negatives, 1..=MAX_NEGATIVES)?;
            within("ns-exponent", exponent, -2.0..=2.0)?;
        }
        let rate = self.initial_learning_rate();
        if rate > 0.0 && rate <= 10.0 {
            return Ok(());
        }
        Err(Error::config("learning-rate", format!("{rate} is out of range, expected above 0 and at most 10")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_out_of_range_are_refused_by_name() {
        let good = TrainConfig::default();
        assert!(good.check().is_ok());
        let bad = [
            ("dim", TrainConfig { dim: 0, ..good.clone() }),
            ("window", TrainConfig { window: 0, ..good.clone() }),
            ("epochs", TrainConfig { epochs: 0, ..good.clone() }),
            ("threads", TrainConfig { workers: 10_000, ..good.clone() }),
            ("sample", TrainConfig { sample: 2.0, ..good.clone() }),
            ("sample", TrainConfig { sample: f64::NAN, ..good.clone() }),
            ("hold-out", TrainConfig { hold_out: 0.9, ..good.clone() }),
            ("negative", TrainConfig { loss: Loss::NegativeSampling { negatives: 0, exponent: 0.75 }, ..good.clone() }),
            (
                "negative",
                TrainConfig { loss: Loss::NegativeSampling { negatives: 101, exponent: 0.75 }, ..good.clone() },
            ),
            (
                "ns-exponent",
                TrainConfig { loss: Loss::NegativeSampling { negatives: 5, exponent: f64::NAN }, ..good.clone() },
            ),
            ("learning-rate", TrainConfig { learning_rate: Some(0.0), ..good.clone() }),
            ("learning-rate", TrainConfig { learning_rate: Some(f32::NAN), ..good.clone() }),
            ("learning-rate", TrainConfig { learning_rate: Some(1000.0), ..good.clone() }),
        ];
        for (name, config) in bad {
            match config.check() {
                Err(Error::Config { field, .. }) => assert_eq!(field, name),
                other => panic!("{name}: {other:?}"),
            }
        }
    }
}
