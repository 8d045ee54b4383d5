//! Epochs over shards over workers.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use rand::Rng;
use rand::rngs::Xoshiro256PlusPlus;

use crate::error::{Error, Result};
use crate::huffman::HuffmanTree;
use crate::math::{LogisticBlock, Machine, Matrix, Replica, SharedMatrix, Step, Work, run};
use crate::progress::{EpochReport, Event, Measure, Progress, TrainingStatus};
use crate::tokens::{IdStream, TokenId};
use crate::training::negative_sampling::Noise;
use crate::training::sentence::{Sentence, Targets, generator};
use crate::training::shards::{Shards, next_segment};
use crate::training::subsample::Subsample;
use crate::training::{Architecture, Loss, TrainConfig, cbow, skip_gram};

/// The learning rate never falls below this share of where it began (word2vec.c).
const LEAST_RATE: f64 = 1e-4;

/// A worker takes the new learning rate after about this many tokens (word2vec.c: 10,000 words).
const TOKENS_PER_RATE: u64 = 10_000;

/// How many of the tree's top nodes each worker has a copy of, when there are several.
pub const REPLICATED_NODES: usize = 256;

/// A worker brings its copies together with the shared rows after about this many tokens.
pub const TOKENS_PER_MERGE: u64 = 1_000;

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
    config.check()?;
    assert_eq!(tree.n_tokens(), stream.counts().len(), "the tree is over the stream's vocabulary");
    if stream.n_ids() < 2 {
        return Err(Error::TooFew {
            what: "tokens to train on".into(),
            found: stream.n_ids(),
            needed: 2,
            advice: "give a longer text, or a lower --min-count".into(),
        });
    }
    let mut input = initial_input(stream.counts(), config);
    let noise = match config.loss {
        Loss::HierarchicalSoftmax => None,
        Loss::NegativeSampling { negatives, exponent } => Some(Noise::new(stream.counts(), negatives, exponent)),
    };
    let targets = noise.as_ref().map_or(Targets::Tree(tree), Targets::Noise);
    let mut output = Matrix::zeros(targets.n_rows(), config.dim);
    let shards = Shards::cut(stream, config.hold_out, config.seed);
    if config.hold_out > 0.0 && shards.held_out().is_empty() {
        progress.report(&Event::Warning("the text is a single short line: nothing is held out to measure the loss on"));
    }
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(config.workers)
        .build()
        .map_err(|error| Error::config("threads", format!("{} could not be started: {error}", config.workers)))?;
    let subsample = Subsample::new(stream.counts(), config.sample);
    let mut epochs: Vec<EpochReport> = Vec::new();
    let started = Instant::now();
    for epoch in 1..=config.epochs {
        let run = Epoch {
            number: epoch,
            stream,
            targets,
            config,
            shards: &shards,
            subsample: &subsample,
            input: SharedMatrix::new(&mut input),
            output: SharedMatrix::new(&mut output),
            progress,
            started,
            epoch_started: Instant::now(),
            last_held_out: epochs.last().and_then(|epoch| epoch.held_out_bits),
            next_piece: AtomicUsize::new(0),
            tokens_read: AtomicU64::new(stream.n_ids() * u64::from(epoch - 1)),
            loss: Mutex::new(Tally::default()),
            merging: Mutex::new(()),
            diverged: AtomicBool::new(false),
            stopped: AtomicBool::new(false),
        };
        let report = run.go(&pool)?;
        progress.report(&Event::Epoch(&report));
        epochs.push(report);
    }
    Ok(Trained { input, output, epochs })
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
#[derive(Debug, Default, Clone, Copy)]
struct Tally {
    bits: f64,
    predictions: u64,
}

impl Tally {
    fn mean(self) -> Option<f64> {
        (self.predictions > 0).then(|| self.bits / self.predictions as f64)
    }
}

/// One pass over the corpus, as all workers see it.
struct Epoch<'a> {
    number: u32,
    stream: &'a IdStream,
    targets: Targets<'a>,
    config: &'a TrainConfig,
    shards: &'a Shards,
    subsample: &'a Subsample,
    input: SharedMatrix<'a>,
    output: SharedMatrix<'a>,
    progress: &'a dyn Progress,
    started: Instant,
    epoch_started: Instant,
    last_held_out: Option<f64>,
    next_piece: AtomicUsize,
    // Over all epochs.
    tokens_read: AtomicU64,
    loss: Mutex<Tally>,
    merging: Mutex<()>,
    diverged: AtomicBool,
    stopped: AtomicBool,
}

impl Epoch<'_> {
    fn go(&self, pool: &rayon::ThreadPool) -> Result<EpochReport> {
        pool.broadcast(|context| run(TrainWorker { epoch: self, reports: context.index() == 0 }));
        let seconds = self.epoch_started.elapsed().as_secs_f64();
        self.check()?;
        let train = self.take_loss();
        self.next_piece.store(0, Ordering::Relaxed);
        pool.broadcast(|_| run(MeasureWorker { epoch: self }));
        let held_out = self.take_loss();
        Ok(EpochReport {
            epoch: self.number,
            measure: self.measure(),
            train_bits: train.mean().unwrap_or(0.0),
            held_out_bits: held_out.mean(),
            held_out_predictions: held_out.predictions,
            tokens_per_second: self.stream.n_ids() as f64 / seconds,
            seconds,
        })
    }

    fn check(&self) -> Result<()> {
        if self.diverged.load(Ordering::Relaxed) {
            let rate = self.config.initial_learning_rate();
            return Err(Error::Diverged(format!(
                "training diverged in epoch {} of {}: numbers are no longer finite at learning rate {rate}; nothing \
                 was saved, an older model is untouched; try --learning-rate {}",
                self.number,
                self.config.epochs,
                self.config.architecture.default_learning_rate().min(rate / 4.0)
            )));
        }
        if self.stopped.load(Ordering::Relaxed) {
            return Err(Error::Interrupted(format!(
                " in epoch {} of {}; nothing was saved, an older model is untouched",
                self.number, self.config.epochs
            )));
        }
        Ok(())
    }

    fn take_loss(&self) -> Tally {
        std::mem::take(&mut *self.loss.lock().expect("no worker panics while it adds two numbers"))
    }

    fn add_loss(&self, bits: f64, predictions: u64) {
        if !bits.is_finite() {
            self.diverged.store(true, Ordering::Relaxed);
        }
        let mut loss = self.loss.lock().expect("no worker panics while it adds two numbers");
        loss.bits += bits;
        loss.predictions += predictions;
    }

    fn is_over(&self) -> bool {
        self.diverged.load(Ordering::Relaxed) || self.stopped.load(Ordering::Relaxed)
    }

    /// Share of all epochs that is done, 0 to 1.
    fn done(&self) -> f64 {
        let total = self.stream.n_ids() as f64 * f64::from(self.config.epochs);
        self.tokens_read.load(Ordering::Relaxed) as f64 / total
    }

    fn measure(&self) -> Measure {
        match self.targets {
            Targets::Tree(_) => Measure::Loss,
            Targets::Noise(_) => Measure::NsObjective,
        }
    }

    fn rate(&self) -> f32 {
        (f64::from(self.config.initial_learning_rate()) * (1.0 - self.done()).max(LEAST_RATE)) as f32
    }

    #[inline(always)]
    fn sweep<'a, M: Machine>(
        &'a self,
        m: M,
        worker: &mut Worker<'a>,
        step: Step,
        random: &mut Xoshiro256PlusPlus,
    ) -> u64 {
        let Worker { block, sentence, .. } = worker;
        sentence.find_classifiers(m, self.targets, random);
        match self.config.architecture {
            Architecture::SkipGram => skip_gram::sweep(m, block, sentence, step),
            Architecture::Cbow => cbow::sweep(m, block, sentence, self.config.cbow_gradient, step),
        }
    }

    fn report(&self) {
        let done = self.done();
        let seconds = self.started.elapsed().as_secs_f64();
        let in_epoch = self.tokens_read.load(Ordering::Relaxed) - self.stream.n_ids() * u64::from(self.number - 1);
        let train_bits = self.loss.lock().expect("no worker panics while it adds two numbers").mean();
        self.progress.report(&Event::Training(&TrainingStatus {
            epoch: self.number,
            epochs: self.config.epochs,
            done,
            tokens_per_second: in_epoch as f64 / self.epoch_started.elapsed().as_secs_f64(),
            learning_rate: self.rate(),
            measure: self.measure(),
            train_bits,
            held_out_bits: self.last_held_out,
            eta_seconds: seconds * (1.0 - done) / done.max(1e-9),
        }));
    }
}

/// One worker's own things.
struct Worker<'a> {
    block: LogisticBlock<'a>,
    ids: Vec<TokenId>,
    sentence: Sentence<'a>,
}

impl<'a> Worker<'a> {
    fn new<M: Machine>(m: M, epoch: &'a Epoch<'a>) -> Worker<'a> {
        // Only the tree has rows that every step touches.
        let replica = match epoch.targets {
            Targets::Tree(tree) if epoch.config.workers > 1 => {
                let n_replicated = tree.n_nodes().min(REPLICATED_NODES);
                Some(Replica::new(m, epoch.output, n_replicated, &epoch.merging))
            }
            _ => None,
        };
        Worker {
            block: LogisticBlock::new(epoch.input, epoch.output, replica),
            ids: Vec::new(),
            sentence: Sentence::default(),
        }
    }
}

/// Trains on one shard after the other until none is left.
struct TrainWorker<'a> {
    epoch: &'a Epoch<'a>,
    reports: bool,
}

impl Work for TrainWorker<'_> {
    type Output = ();

    #[inline(always)]
    fn run<M: Machine>(self, m: M) {
        let epoch = self.epoch;
        let mut worker = Worker::new(m, epoch);
        let mut reported = Instant::now();
        let mut since_merge = 0;
        loop {
            let shard = epoch.next_piece.fetch_add(1, Ordering::Relaxed);
            let Some(cells) = epoch.shards.all().get(shard) else { break };
            let mut random = generator(epoch.config.seed, u64::from(epoch.number), shard as u64);
            let mut step = Step::Learn(epoch.rate());
            let (mut tokens, mut bits, mut predictions) = (0, 0.0, 0);
            let mut at = cells.start;
            while at < cells.end {
                let segment = next_segment(epoch.stream, at..cells.end, &mut worker.ids);
                at = segment.end;
                tokens += worker.ids.len() as u64;
                since_merge += worker.ids.len() as u64;
                if !epoch.shards.is_held_out(segment.start) {
                    worker.sentence.draw(&worker.ids, epoch.subsample, epoch.config.window, &mut random);
                    predictions += epoch.sweep(m, &mut worker, step, &mut random);
                    bits += worker.block.take_loss();
                }
                if since_merge >= TOKENS_PER_MERGE || at == cells.end {
                    since_merge = 0;
                    worker.block.merge(m);
                }
                if tokens >= TOKENS_PER_RATE || at == cells.end {
                    epoch.tokens_read.fetch_add(tokens, Ordering::Relaxed);
                    epoch.add_loss(bits, predictions);
                    (tokens, bits, predictions) = (0, 0.0, 0);
                    step = Step::Learn(epoch.rate());
                    if epoch.progress.stop_requested() {
                        epoch.stopped.store(true, Ordering::Relaxed);
                    }
                    if epoch.is_over() {
                        return;
                    }
                    if self.reports && reported.elapsed() >= REPORT_EVERY {
                        reported = Instant::now();
                        epoch.report();
                    }
                }
            }
        }
    }
}

/// Measures the loss on the held-out segments.
///
/// Thinning and radii are drawn as in training, from a seed that is the same after every epoch, so the losses of
/// different epochs, and of training, can be compared.
struct MeasureWorker<'a> {
    epoch: &'a Epoch<'a>,
}

impl Work for MeasureWorker<'_> {
    type Output = ();

    #[inline(always)]
    fn run<M: Machine>(self, m: M) {
        let epoch = self.epoch;
        let mut worker = Worker::new(m, epoch);
        loop {
            let number = epoch.next_piece.fetch_add(1, Ordering::Relaxed);
            let Some(cells) = epoch.shards.held_out().get(number) else { break };
            next_segment(epoch.stream, cells.clone(), &mut worker.ids);
            let mut random = generator(epoch.config.seed, u64::MAX, cells.start as u64);
            worker.sentence.draw(&worker.ids, epoch.subsample, epoch.config.window, &mut random);
            let predictions = epoch.sweep(m, &mut worker, Step::Measure, &mut random);
            epoch.add_loss(worker.block.take_loss(), predictions);
        }
    }
}
