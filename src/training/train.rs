//! Epochs over the stream, from the beginning or from a checkpoint.
//!
//! In: ids, tree, settings. Out: two matrices. An epoch's shards are trained on by `workers`, which share the matrices,
//! or in `lanes`, which give the same bytes for any number of threads. Both stop between shards, where everything that
//! has to be known to go on fits into a [`TrainState`].

use std::ops::{Add, AddAssign};
use std::time::{Duration, Instant};

use rand::Rng;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::huffman::HuffmanTree;
use crate::math::{LogisticBlock, Machine, Matrix, Step};
use crate::progress::{EpochReport, Event, Measure, Progress, TrainingStatus};
use crate::tokens::IdStream;
use crate::training::checkpoint::Checkpoints;
use crate::training::negative_sampling::Noise;
use crate::training::sentence::{Sentence, Targets, generator};
use crate::training::shards::Shards;
use crate::training::subsample::Subsample;
use crate::training::{Architecture, Loss, TrainConfig, cbow, lanes, skip_gram, workers};

/// The learning rate never falls below this share of where it began (word2vec.c).
const LEAST_RATE: f64 = 1e-4;

/// How often a report is made.
const REPORT_EVERY: Duration = Duration::from_millis(250);

/// What training brings.
#[derive(Debug, Clone)]
pub struct Trained {
    /// One row per token, `[n_tokens, dim]`: the word vectors. Tokens that never occur have zeros.
    pub input: Matrix,
    /// One row per inner node of the tree, `[n_tokens - 1, dim]`; with negative sampling one per token, `[n_tokens, dim]`.
    pub output: Matrix,
    /// One report per epoch.
    pub epochs: Vec<EpochReport>,
}

/// Where a training stands between two shards: all that is needed to go on.
#[derive(Debug, Clone)]
pub struct TrainState {
    pub(crate) input: Matrix,
    pub(crate) output: Matrix,
    /// Of the epochs that are complete.
    pub(crate) epochs: Vec<EpochReport>,
    pub(crate) position: Position,
}

/// How far a training has come.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) struct Position {
    /// The current epoch, from 1.
    pub epoch: u32,
    /// The next shard of it.
    pub shard: usize,
    /// Over all epochs.
    pub tokens_read: u64,
    /// Of this epoch so far.
    pub tally: Tally,
    /// Wall-clock seconds of this epoch so far.
    pub seconds: f64,
}

impl TrainState {
    /// Before the first epoch.
    ///
    /// # Errors
    /// [`Error::Config`] for a setting out of its range, [`Error::TooFew`] for a corpus without two tokens.
    pub fn begin(stream: &IdStream, config: &TrainConfig) -> Result<TrainState> {
        config.check()?;
        if stream.n_ids() < 2 {
            return Err(Error::TooFew {
                what: "tokens to train on".into(),
                found: stream.n_ids(),
                needed: 2,
                advice: "give a longer text, or a lower --min-count".into(),
            });
        }
        Ok(TrainState {
            input: initial_input(stream.counts(), config),
            output: Matrix::zeros(config.loss.n_outputs(stream.counts().len()), config.dim),
            epochs: Vec::new(),
            position: Position { epoch: 1, shard: 0, tokens_read: 0, tally: Tally::default(), seconds: 0.0 },
        })
    }

    /// The current epoch, from 1; one more than there are when all are complete.
    pub fn epoch(&self) -> u32 {
        self.position.epoch
    }

    /// Whether all numbers are finite.
    pub(crate) fn is_finite(&self) -> bool {
        // Without a branch for each number.
        let all = |numbers: &[f32]| numbers.iter().fold(true, |all, x| all & x.is_finite());
        let is_finite = |matrix: &Matrix| matrix.as_slice().chunks(4096).all(all);
        is_finite(&self.input) && is_finite(&self.output)
    }
}

/// Learns vectors from an encoded corpus.
///
/// `tree` is over the stream's vocabulary. The loss that is reported is a mean over (center, context) pairs for skip-gram
/// and over centers for CBOW, in bits. With hierarchical softmax it is exact: −log₂ P(center | context). With negative
/// sampling, which does not use the tree, it is the objective: −log₂ σ(z) of the center − Σ log₂ σ(−z) of its negatives.
///
/// # Errors
/// [`Error::Config`] for a setting out of its range, [`Error::TooFew`] for a corpus without two neighbouring tokens,
/// [`Error::Diverged`] when numbers stop being finite, [`Error::Interrupted`] when `progress` asks to stop.
///
/// # Panics
/// When `tree` does not have one leaf per token of the stream.
pub fn train(stream: &IdStream, tree: &HuffmanTree, config: &TrainConfig, progress: &dyn Progress) -> Result<Trained> {
    train_from(TrainState::begin(stream, config)?, stream, tree, config, None, progress)
}

/// Learns vectors like [`train`], from the beginning or from where a checkpoint was made, and keeps checkpoints where
/// they are wanted.
///
/// With one worker, and in deterministic mode, what comes out does not depend on where a run was interrupted. A
/// checkpoint that cannot be written is reported as a warning, and the work goes on.
///
/// # Errors
/// As [`train`]; when it is interrupted, a last checkpoint has been written.
///
/// # Panics
/// When `tree` or `state` does not have the sizes of the stream's vocabulary.
pub fn train_from(
    mut state: TrainState,
    stream: &IdStream,
    tree: &HuffmanTree,
    config: &TrainConfig,
    mut checkpoints: Option<&mut Checkpoints<'_>>,
    progress: &dyn Progress,
) -> Result<Trained> {
    config.check()?;
    assert_eq!(tree.n_tokens(), stream.counts().len(), "the tree is over the stream's vocabulary");
    let n_rows = (tree.n_tokens(), config.loss.n_outputs(tree.n_tokens()));
    assert_eq!((state.input.n_rows(), state.output.n_rows()), n_rows, "rows of the matrices");
    let noise = match config.loss {
        Loss::HierarchicalSoftmax => None,
        Loss::NegativeSampling { negatives, exponent } => Some(Noise::new(stream.counts(), negatives, exponent)),
    };
    let targets = noise.as_ref().map_or(Targets::Tree(tree), Targets::Noise);
    let shards = Shards::cut(stream, config.hold_out, config.seed);
    if config.hold_out > 0.0 && shards.held_out().is_empty() {
        progress.report(&Event::Warning("the text is a single short line: nothing is held out to measure the loss on"));
    }
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(config.workers)
        .build()
        .map_err(|error| Error::config("threads", format!("{} could not be started: {error}", config.workers)))?;
    let subsample = Subsample::new(stream.counts(), config.sample);
    let lesson = Lesson { stream, targets, config, shards: &shards, subsample: &subsample };
    let started = Instant::now();
    let done_at_start = lesson.done(state.position.tokens_read);
    while state.position.epoch <= config.epochs {
        while state.position.shard < shards.all().len() {
            let watch = Watch {
                progress,
                epoch: state.position.epoch,
                started,
                done_at_start,
                leg_started: Instant::now(),
                tokens_before: state.position.tokens_read,
                last_held_out: state.epochs.last().and_then(|epoch| epoch.held_out_bits),
                pause_at: checkpoints.as_ref().map(|checkpoints| checkpoints.due()),
            };
            let ended = if config.deterministic {
                pool.install(|| lanes::train(&lesson, &watch, &mut state))
            } else {
                workers::train(&lesson, &watch, &pool, &mut state)
            };
            state.position.seconds += watch.leg_started.elapsed().as_secs_f64();
            if ended == Ended::Diverged || !state.is_finite() {
                return Err(diverged(&lesson, &state));
            }
            let all_read = state.position.shard == shards.all().len();
            if let Some(checkpoints) = &mut checkpoints
                && (ended == Ended::Stopped || !all_read)
            {
                checkpoints.save(&state, progress);
            }
            if ended == Ended::Stopped {
                return Err(interrupted(&lesson, &state, checkpoints.as_deref()));
            }
        }
        let report = workers::measure(&lesson, &pool, &mut state);
        progress.report(&Event::Epoch(&report));
        state.epochs.push(report);
        let Position { epoch, tokens_read, .. } = state.position;
        state.position = Position { epoch: epoch + 1, shard: 0, tokens_read, tally: Tally::default(), seconds: 0.0 };
    }
    Ok(Trained { input: state.input, output: state.output, epochs: state.epochs })
}

fn diverged(lesson: &Lesson<'_>, state: &TrainState) -> Error {
    let config = lesson.config;
    let rate = config.initial_learning_rate();
    Error::Diverged(format!(
        "training diverged in epoch {} of {}: numbers are no longer finite at learning rate {rate}; nothing was saved, \
         an older model is untouched; try --learning-rate {}",
        state.position.epoch,
        config.epochs,
        config.architecture.default_learning_rate().min(rate / 4.0)
    ))
}

fn interrupted(lesson: &Lesson<'_>, state: &TrainState, checkpoints: Option<&Checkpoints<'_>>) -> Error {
    let kept = match checkpoints.and_then(Checkpoints::newest) {
        Some(newest) => format!("what is learned so far is kept in {}", newest.display()),
        None => "nothing was saved, an older model is untouched".to_string(),
    };
    let (epoch, done) = (state.position.epoch, 100.0 * lesson.done(state.position.tokens_read));
    Error::Interrupted(format!(" in epoch {epoch} of {}, at {done:.0} %; {kept}", lesson.config.epochs))
}

/// Input rows: uniform within ±½/dim, as in word2vec.c and at no larger cost to the first epoch; zeros for tokens that
/// never occur, because noise would be a neighbour of something.
fn initial_input(counts: &[u64], config: &TrainConfig) -> Matrix {
    let mut input = Matrix::zeros(counts.len(), config.dim);
    let mut random = generator(config.seed, 0, u64::MAX);
    for (row, &count) in counts.iter().enumerate() {
        if count > 0 {
            for x in input.row_mut(row) {
                let unit = (random.next_u32() >> 8) as f32 / (1 << 24) as f32;
                *x = (unit - 0.5) / config.dim as f32;
            }
        }
    }
    input
}

/// Bits lost and predictions made.
#[derive(Debug, Default, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) struct Tally {
    pub bits: f64,
    pub predictions: u64,
}

impl Tally {
    pub fn mean(self) -> Option<f64> {
        (self.predictions > 0).then(|| self.bits / self.predictions as f64)
    }
}

impl Add for Tally {
    type Output = Tally;

    fn add(self, other: Tally) -> Tally {
        Tally { bits: self.bits + other.bits, predictions: self.predictions + other.predictions }
    }
}

impl AddAssign for Tally {
    fn add_assign(&mut self, other: Tally) {
        *self = *self + other;
    }
}

/// What is learned from, and how: the same from the first epoch to the last.
#[derive(Clone, Copy)]
pub(crate) struct Lesson<'a> {
    pub stream: &'a IdStream,
    pub targets: Targets<'a>,
    pub config: &'a TrainConfig,
    pub shards: &'a Shards,
    pub subsample: &'a Subsample,
}

impl<'a> Lesson<'a> {
    /// Share of all epochs that is done after this many tokens, 0 to 1.
    fn done(&self, tokens_read: u64) -> f64 {
        tokens_read as f64 / (self.stream.n_ids() as f64 * f64::from(self.config.epochs))
    }

    /// The learning rate after this many tokens.
    pub fn rate(&self, tokens_read: u64) -> f32 {
        let done = self.done(tokens_read);
        (f64::from(self.config.initial_learning_rate()) * (1.0 - done).max(LEAST_RATE)) as f32
    }

    /// What the losses are.
    pub fn measure(&self) -> Measure {
        match self.targets {
            Targets::Tree(_) => Measure::Loss,
            Targets::Noise(_) => Measure::NsObjective,
        }
    }

    /// Slides the window over a sentence whose classifiers have been found; returns how many predictions were made.
    #[inline(always)]
    pub fn sweep<M: Machine>(&self, m: M, block: &mut LogisticBlock<'_>, sentence: &Sentence<'_>, step: Step) -> u64 {
        match self.config.architecture {
            Architecture::SkipGram => skip_gram::sweep(m, block, sentence, step),
            Architecture::Cbow => cbow::sweep(m, block, sentence, self.config.cbow_gradient, step),
        }
    }
}

/// How a leg of the way, from one pause to the next, came to its end.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Ended {
    /// Between two shards, or behind the last, whoever asked for it being content.
    Paused,
    /// On request.
    Stopped,
    /// Numbers are no longer finite.
    Diverged,
}

/// One leg of an epoch as those see it who wait for it.
pub(crate) struct Watch<'a> {
    progress: &'a dyn Progress,
    epoch: u32,
    // Of all legs, and how much of the work was done before.
    started: Instant,
    done_at_start: f64,
    leg_started: Instant,
    tokens_before: u64,
    last_held_out: Option<f64>,
    // When it is time for a checkpoint; none are made without.
    pause_at: Option<Instant>,
}

impl Watch<'_> {
    /// Whether to stop between two shards.
    pub fn pause_requested(&self) -> bool {
        self.pause_at.is_some_and(|at| Instant::now() >= at)
    }

    /// Whether to stop for good, between two shards.
    pub fn stop_requested(&self) -> bool {
        self.progress.stop_requested()
    }

    /// Whether to stop for good at once, because a shard that is finished is lost all the same.
    pub fn stop_requested_at_once(&self) -> bool {
        self.pause_at.is_none() && self.progress.stop_requested()
    }

    /// Tells how far it has come, when `reported` was a while ago.
    pub fn report(&self, reported: &mut Instant, lesson: &Lesson<'_>, tokens_read: u64, tally: Tally) {
        if reported.elapsed() < REPORT_EVERY {
            return;
        }
        *reported = Instant::now();
        let done = lesson.done(tokens_read);
        let pace = (done - self.done_at_start).max(1e-9) / self.started.elapsed().as_secs_f64();
        self.progress.report(&Event::Training(&TrainingStatus {
            epoch: self.epoch,
            epochs: lesson.config.epochs,
            measure: lesson.measure(),
            done,
            tokens_per_second: (tokens_read - self.tokens_before) as f64 / self.leg_started.elapsed().as_secs_f64(),
            learning_rate: lesson.rate(tokens_read),
            train_bits: tally.mean(),
            held_out_bits: self.last_held_out,
            eta_seconds: (1.0 - done) / pace,
        }));
    }
}
