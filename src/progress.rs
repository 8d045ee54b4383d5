//! How long work reports, and how it is asked to stop. The library itself never prints.

/// Receives the reports of long work and may ask it to stop.
///
/// Every method has a default that does nothing, so a caller implements what it cares for.
pub trait Progress: Sync {
    /// Called from the thread that drives the work, a few times a second at most.
    fn report(&self, _event: &Event<'_>) {}

    /// Asked often; `true` makes the work end soon with [`Error::Interrupted`](crate::Error::Interrupted).
    fn stop_requested(&self) -> bool {
        false
    }
}

/// Hears nothing and never asks to stop.
#[derive(Debug, Clone, Copy, Default)]
pub struct Silent;

impl Progress for Silent {}

/// One report.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Event<'a> {
    /// A stage of work has come this far.
    Step {
        /// What is being done: `counting words`, `learning merges`, `encoding`.
        stage: &'static str,
        /// How far it has come, in `unit`.
        done: u64,
        /// How far it goes, where that is known.
        total: Option<u64>,
        /// What is counted: `bytes`, `merges`.
        unit: &'static str,
    },
    /// Training has come this far.
    Training(&'a TrainingStatus),
    /// An epoch is complete.
    Epoch(&'a EpochReport),
    /// Training of a transformer has come this far.
    Fitting(&'a FitStatus),
    /// A transformer was measured on what was held out.
    Validated(&'a FitReport),
    /// Something that the user should know although the work goes on.
    Warning(&'a str),
}

/// What the bits that training reports are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Measure {
    /// −log₂ P(token | context), exactly: hierarchical softmax. Over all tokens, P sums to 1.
    #[default]
    Loss,
    /// The objective of negative sampling: how well a token is told from drawn ones. It depends on how many are drawn
    /// and how, and says nothing about the probability of a token.
    NsObjective,
}

impl std::fmt::Display for Measure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Measure::Loss => "loss",
            Measure::NsObjective => "ns objective",
        })
    }
}

/// A moment of training.
#[derive(Debug, Clone, PartialEq)]
pub struct TrainingStatus {
    /// The current epoch, from 1.
    pub epoch: u32,
    /// How many epochs there will be.
    pub epochs: u32,
    /// Share of all the work that is done, 0 to 1.
    pub done: f64,
    /// Tokens read per second of wall-clock time, over all workers.
    pub tokens_per_second: f64,
    /// The learning rate now.
    pub learning_rate: f32,
    /// What the bits below are.
    pub measure: Measure,
    /// Mean loss of this epoch so far, in bits per prediction; `None` before the first.
    pub train_bits: Option<f64>,
    /// The held-out loss after the last complete epoch, in bits per prediction.
    pub held_out_bits: Option<f64>,
    /// Estimated seconds to the end.
    pub eta_seconds: f64,
}

/// What one epoch brought.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct EpochReport {
    /// From 1.
    pub epoch: u32,
    /// What the bits below are; models from before there was a choice have the loss.
    #[serde(default)]
    pub measure: Measure,
    /// The mean over the predictions of this epoch, each taken before its own step.
    pub train_bits: f64,
    /// The same over the held-out lines, after the epoch; `None` when nothing was held out.
    pub held_out_bits: Option<f64>,
    /// Predictions that `held_out_bits` is the mean of.
    pub held_out_predictions: u64,
    /// Tokens read per second of wall-clock time.
    pub tokens_per_second: f64,
    /// Wall-clock seconds of the epoch's training, without the held-out evaluation.
    pub seconds: f64,
}

/// A moment of a transformer's training.
#[derive(Debug, Clone, PartialEq)]
pub struct FitStatus {
    /// Steps that are done.
    pub step: u64,
    /// How many there will be.
    pub steps: u64,
    /// Passes over the data that are done, with fractions.
    pub epoch: f64,
    /// Tokens read per second of wall-clock time, measurements left out.
    pub tokens_per_second: f64,
    /// The learning rate of the last step.
    pub learning_rate: f64,
    /// Mean loss since the last measurement, in nats per token that was asked for.
    pub train_loss: Option<f64>,
    /// The loss on what was held out, when it was last measured.
    pub validation_loss: Option<f64>,
    /// Wall-clock seconds of this run's steps, measurements left out.
    pub seconds: f64,
    /// Estimated seconds to the end.
    pub eta_seconds: f64,
}

/// What a transformer's training has brought so far.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct FitReport {
    /// Steps that are done.
    pub step: u64,
    /// Passes over the data that are done, with fractions.
    pub epoch: f64,
    /// Mean of −ln P(token) over the tokens asked for since the report before, each taken before its own step.
    pub train_loss: f64,
    /// The same over what was held out, with nothing dropped; `None` when nothing was.
    pub validation_loss: Option<f64>,
    /// e to the power of `validation_loss`: among how many equally probable tokens the choice would be as hard.
    pub perplexity: Option<f64>,
    /// The learning rate of the last step.
    pub learning_rate: f64,
    /// Tokens read per second of wall-clock time, measurements left out.
    pub tokens_per_second: f64,
    /// Wall-clock seconds of this run's steps, measurements left out.
    pub seconds: f64,
}
