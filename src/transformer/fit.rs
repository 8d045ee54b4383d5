//! Batches → what a transformer has learned.
//!
//! In: a transformer, where batches come from, and settings. Out: the same transformer, better at it. A step draws nothing
//! from what came before it: its batch and its dropout are functions of the seed and its number. So a [`Run`] is all there is
//! to it, and one that goes on from a folder ends with the very numbers of one that was never interrupted.

use std::time::{Duration, Instant};

use candle_core::{Device, Tensor, Var};
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::progress::{Event, FitReport, FitStatus, Progress};
use crate::transformer::batches::{Batch, Examples, NOT_ASKED, PaddedIds, generator};
use crate::transformer::config::Shape;
use crate::transformer::model::Transformer;
use crate::transformer::optimizer::AdamWConfig;
use crate::transformer::pass::Pass;
use crate::transformer::run::{Run, RunState, copy};
use crate::transformer::schedule::Schedule;

/// How often a report is made.
const REPORT_EVERY: Duration = Duration::from_millis(250);

/// How to train. Two runs with the same settings, data, starting parameters and number of threads have the same results.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FitConfig {
    /// Batches to learn from, 1 or more.
    pub steps: u64,
    /// Sequences in a batch, 1 to 65,536.
    pub batch_size: usize,
    /// The highest learning rate, above 0 and at most 1.
    pub learning_rate: f64,
    /// Steps over which the rate grows to it.
    pub warmup_steps: u64,
    /// Where the rate ends, as a share of the highest, 0 to 1; on its way down it follows a cosine.
    pub final_rate: f64,
    /// What a step at rate r takes from every matrix is r times this share of it, 0 to 1.
    pub weight_decay: f64,
    /// How much of the mean gradient stays from step to step, 0 to below 1.
    pub beta1: f64,
    /// How much of the mean squared gradient stays, 0 to below 1.
    pub beta2: f64,
    /// Gradients longer than this are shortened to it, above 0.
    pub clip_norm: f64,
    /// The loss on what was held out is measured, and the state is saved, every so many steps, and at the end.
    pub validate_every: u64,
    /// For so many steps the token table, and the tree's nodes, are left as they were planted. Then their rate grows over
    /// `warmup_steps` like all others' did at first.
    pub freeze_embeddings: u64,
    /// Where batches and dropout come from.
    pub seed: u64,
}

impl Default for FitConfig {
    /// The rates of small GPT-2 models: 1e-3 for a d_model of some hundreds, betas 0.9 and 0.95, weight decay 0.1.
    fn default() -> FitConfig {
        FitConfig {
            steps: 2_000,
            batch_size: 16,
            learning_rate: 1e-3,
            warmup_steps: 100,
            final_rate: 0.1,
            weight_decay: 0.1,
            beta1: 0.9,
            beta2: 0.95,
            clip_norm: 1.0,
            validate_every: 250,
            freeze_embeddings: 0,
            seed: 1,
        }
    }
}

impl FitConfig {
    /// Refuses settings outside their ranges.
    ///
    /// # Errors
    /// [`Error::Config`] with the range that is allowed.
    pub fn check(&self) -> Result<()> {
        fn at_least_one(field: &'static str, value: u64) -> Result<()> {
            if value > 0 { Ok(()) } else { Err(Error::config(field, "0, expected 1 or more")) }
        }
        at_least_one("steps", self.steps)?;
        at_least_one("validate-every", self.validate_every)?;
        if !(1..=1 << 16).contains(&self.batch_size) {
            return Err(Error::config("batch-size", format!("{}, expected 1 to 65536", self.batch_size)));
        }
        if !(0.0..=1.0).contains(&self.final_rate) {
            return Err(Error::config("final-rate", format!("{}, expected 0 to 1", self.final_rate)));
        }
        if !(self.clip_norm > 0.0 && self.clip_norm.is_finite()) {
            return Err(Error::config("clip-norm", format!("{}, expected above 0", self.clip_norm)));
        }
        self.schedule().check()?;
        self.adamw().check()
    }

    /// The learning rate of a step, counted from 0.
    pub fn rate(&self, step: u64) -> f64 {
        self.schedule().rate(step)
    }

    /// How much of the rate the planted tables take: nothing while they are frozen; then less at first, because moments
    /// that begin at zero make the first steps the longest ones.
    fn share_of_planted(&self, step: u64) -> f64 {
        if self.freeze_embeddings == 0 {
            return 1.0;
        }
        match step.checked_sub(self.freeze_embeddings) {
            None => 0.0,
            Some(since) if since < self.warmup_steps => (since + 1) as f64 / self.warmup_steps as f64,
            Some(_) => 1.0,
        }
    }

    fn schedule(&self) -> Schedule {
        Schedule {
            peak: self.learning_rate,
            warmup_steps: self.warmup_steps,
            total_steps: self.steps,
            floor: self.final_rate,
        }
    }

    pub(crate) fn adamw(&self) -> AdamWConfig {
        AdamWConfig {
            beta1: self.beta1,
            beta2: self.beta2,
            weight_decay: self.weight_decay,
            clip_norm: Some(self.clip_norm),
            ..AdamWConfig::default()
        }
    }
}

/// Trains until `run.config.steps` are done.
///
/// `save` is called after every measurement and when the run is interrupted, with the run as it is then.
///
/// # Errors
/// [`Error::Config`]; [`Error::Diverged`] when the loss or a gradient is not finite, before any parameter has moved by it;
/// [`Error::Interrupted`] when `progress` asks to stop, after saving; the errors of `save`.
pub fn fit(
    run: &mut Run,
    train: &mut dyn Examples,
    mut validation: Option<&mut dyn Examples>,
    save: &mut dyn FnMut(&Run) -> Result<()>,
    progress: &dyn Progress,
) -> Result<()> {
    run.config.check()?;
    let config = run.config.clone();
    let n_batches = train.n_batches() as u64;
    let planted: Vec<Var> = PLANTED.iter().filter_map(|name| run.transformer.parameters().get(name)).cloned().collect();
    let mut clock = Clock::start(&run.state);
    while run.state.step < config.steps {
        let step = run.state.step;
        if progress.stop_requested() {
            run.state.seconds = clock.seconds();
            save(run)?;
            return Err(Error::Interrupted(format!(
                " after step {step} of {}; the state is saved, --resume goes on from it",
                config.steps
            )));
        }
        let share = config.share_of_planted(step);
        run.optimizer.set_shares(|name| if PLANTED.contains(&name) { share } else { 1.0 });
        let batch = train.batch(step / n_batches, (step % n_batches) as usize);
        // Batches draw from their own epochs' generators, counted from 0.
        let mut random = generator(config.seed, u64::MAX - 1, step);
        let mut pass = Pass::learning(&mut random);
        if share == 0.0 {
            pass = pass.without(&planted);
        }
        let loss = batch_loss(&run.transformer, &batch, &mut pass)?;
        let nats = f64::from(loss.to_scalar::<f32>()?);
        if !nats.is_finite() {
            return Err(diverged(step, &config, "the loss is not finite"));
        }
        let rate = config.rate(step);
        run.optimizer.step(&loss.backward()?, rate).map_err(|error| match error {
            Error::Diverged(reason) => diverged(step, &config, &reason),
            other => other,
        })?;
        let n_targets = batch.n_targets() as u64;
        run.state.step += 1;
        run.state.nats += nats * n_targets as f64;
        run.state.n_targets += n_targets;
        clock.count(&batch);
        if clock.is_report_due() {
            progress.report(&Event::Fitting(&clock.status(run, n_batches, rate)));
        }
        if run.state.step.is_multiple_of(config.validate_every) || run.state.step == config.steps {
            let status = clock.status(run, n_batches, rate);
            clock.pause();
            run.state.seconds = status.seconds;
            let validation_loss = match &mut validation {
                Some(examples) => Some(mean_loss(&run.transformer, *examples)?),
                None => None,
            };
            if validation_loss.is_some_and(|loss| !loss.is_finite()) {
                return Err(diverged(step, &config, "the held-out loss is not finite"));
            }
            let report = FitReport {
                step: run.state.step,
                epoch: status.epoch,
                train_loss: run.state.train_loss().unwrap_or(0.0),
                validation_loss,
                perplexity: validation_loss.map(f64::exp),
                learning_rate: rate,
                tokens_per_second: status.tokens_per_second,
                seconds: status.seconds,
            };
            (run.state.nats, run.state.n_targets) = (0.0, 0);
            run.state.reports.push(report);
            if run.state.best().is_some_and(|best| best.step == run.state.step) {
                run.best = copy(&run.transformer)?;
            }
            save(run)?;
            progress.report(&Event::Validated(run.state.reports.last().expect("pushed above")));
            clock.go_on();
        }
    }
    Ok(())
}

/// The parameters that word vectors are planted in.
const PLANTED: [&str; 2] = ["tokens.weight", "output.nodes"];

/// The mean loss over one epoch of `examples`, in nats per target, nothing dropped.
///
/// # Errors
/// [`Error::Tensor`] where memory runs out; [`Error::Config`] for batches that do not fit the transformer's shape.
pub fn mean_loss(transformer: &Transformer, examples: &mut dyn Examples) -> Result<f64> {
    let (mut nats, mut n_targets) = (0.0, 0);
    for number in 0..examples.n_batches() {
        let batch = examples.batch(0, number);
        let loss = batch_loss(transformer, &batch, &mut Pass::answering())?;
        nats += f64::from(loss.to_scalar::<f32>()?) * batch.n_targets() as f64;
        n_targets += batch.n_targets();
    }
    Ok(nats / n_targets.max(1) as f64)
}

/// The mean loss of one batch, in nats per target: a scalar.
///
/// # Errors
/// As [`mean_loss`].
pub fn batch_loss(transformer: &Transformer, batch: &Batch, pass: &mut Pass<'_>) -> Result<Tensor> {
    let input = tensor(&batch.input)?;
    let hidden = match (&batch.source, transformer.config().shape) {
        (Some(source), _) => {
            let encoded = transformer.encode(&tensor(source)?, lengths(source), pass)?;
            transformer.decode_with(&encoded, &input, pass)?
        }
        (None, Shape::Encoder) => transformer.encode(&input, lengths(&batch.input), pass)?.hidden,
        (None, _) => transformer.decode(&input, pass)?,
    };
    let targets = Tensor::from_slice(&batch.targets, (batch.input.n_rows(), batch.input.n_columns), &Device::Cpu)?;
    let ignore = batch.targets.contains(&NOT_ASKED).then_some(NOT_ASKED);
    transformer.loss(&hidden, &targets, ignore, pass)
}

fn tensor(ids: &PaddedIds) -> Result<Tensor> {
    Ok(Tensor::from_slice(&ids.ids, (ids.n_rows(), ids.n_columns), &Device::Cpu)?)
}

fn lengths(ids: &PaddedIds) -> Option<&[usize]> {
    ids.is_padded().then_some(&ids.lengths)
}

fn diverged(step: u64, config: &FitConfig, reason: &str) -> Error {
    Error::Diverged(format!(
        "training diverged at step {} of {}: {reason}, at learning rate {}; what was saved before is untouched; try \
         --learning-rate {}",
        step + 1,
        config.steps,
        config.learning_rate,
        (config.learning_rate / 10.0).min(1e-3)
    ))
}

/// Time spent on steps, measurements left out.
struct Clock {
    first_step: u64,
    /// Seconds of the run before it was taken up.
    earlier: f64,
    before: Duration,
    since: Instant,
    n_ids: u64,
    reported: Instant,
}

impl Clock {
    fn start(state: &RunState) -> Clock {
        let now = Instant::now();
        let (first_step, earlier) = (state.step, state.seconds);
        Clock { first_step, earlier, before: Duration::ZERO, since: now, n_ids: 0, reported: now }
    }

    fn pause(&mut self) {
        self.before += self.since.elapsed();
    }

    fn go_on(&mut self) {
        self.since = Instant::now();
    }

    fn count(&mut self, batch: &Batch) {
        self.n_ids += batch.n_ids() as u64;
    }

    fn is_report_due(&mut self) -> bool {
        let is_due = self.reported.elapsed() >= REPORT_EVERY;
        if is_due {
            self.reported = Instant::now();
        }
        is_due
    }

    /// Of the whole run.
    fn seconds(&self) -> f64 {
        self.earlier + self.seconds_here()
    }

    /// Since the run was taken up.
    fn seconds_here(&self) -> f64 {
        (self.before + self.since.elapsed()).as_secs_f64()
    }

    fn status(&self, run: &Run, n_batches: u64, learning_rate: f64) -> FitStatus {
        let seconds = self.seconds_here();
        let (done, left) = (run.state.step - self.first_step, run.config.steps - run.state.step);
        FitStatus {
            step: run.state.step,
            steps: run.config.steps,
            epoch: run.state.step as f64 / n_batches as f64,
            tokens_per_second: self.n_ids as f64 / seconds.max(1e-9),
            learning_rate,
            train_loss: run.state.train_loss(),
            validation_loss: run.state.reports.last().and_then(|report| report.validation_loss),
            seconds: self.earlier + seconds,
            eta_seconds: seconds * left as f64 / done.max(1) as f64,
        }
    }
}
