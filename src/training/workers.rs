//! Workers that share both matrices.
//!
//! In: the shards of an epoch that are left. Out: the matrices after them. A worker takes the next shard until none is
//! left or somebody wants a pause; then each finishes what it has taken, so that what is done is always a whole number of
//! shards, from the first on. The same workers measure the loss on what is held out.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Instant;

use crate::math::{LogisticBlock, Machine, Replica, SharedMatrix, Step, Work, run};
use crate::progress::EpochReport;
use crate::tokens::TokenId;
use crate::training::sentence::{Sentence, Targets, generator};
use crate::training::shards::next_segment;
use crate::training::train::{Ended, Lesson, Tally, TrainState, Watch};
use crate::training::wear::{Wear, share};

/// A worker takes the new learning rate after about this many tokens (word2vec.c: 10,000 words).
const TOKENS_PER_RATE: u64 = 10_000;

/// How many of the tree's top nodes each worker has a copy of, when there are several.
pub const REPLICATED_NODES: usize = 256;

/// Workers do not merge all at once, as lanes do: each finds there what others have just brought. So less of the wear of
/// lanes is enough. Found by trial: a tenth to two fifths hold at up to 64 workers that truly run at once.
const ONE_BY_ONE: f32 = 0.2;

/// A worker brings its copies together with the shared rows after about this many tokens.
pub const TOKENS_PER_MERGE: u64 = 1_000;

/// Trains on one shard after the other, in all threads of the pool, up to the next pause.
pub(crate) fn train(lesson: &Lesson<'_>, watch: &Watch<'_>, pool: &rayon::ThreadPool, state: &mut TrainState) -> Ended {
    let leg = Leg {
        lesson,
        watch,
        epoch: state.position.epoch,
        input: SharedMatrix::new(&mut state.input),
        output: SharedMatrix::new(&mut state.output),
        next_shard: AtomicUsize::new(state.position.shard),
        tokens_read: AtomicU64::new(state.position.tokens_read),
        tally: Mutex::new(state.position.tally),
        merging: Mutex::new(()),
        diverged: AtomicBool::new(false),
        stopped: AtomicBool::new(false),
    };
    pool.broadcast(|context| run(TrainWorker { leg: &leg, reports: context.index() == 0 }));
    let ended = if leg.diverged.into_inner() {
        Ended::Diverged
    } else if leg.stopped.into_inner() {
        Ended::Stopped
    } else {
        Ended::Paused
    };
    state.position.shard = leg.next_shard.into_inner().min(lesson.shards.all().len());
    state.position.tokens_read = leg.tokens_read.into_inner();
    state.position.tally = leg.tally.into_inner().expect("no worker panics while it adds two numbers");
    ended
}

/// Measures the loss on the held-out segments, which changes nothing, and reports on the epoch.
///
/// Thinning and radii are drawn as in training, from a seed that is the same after every epoch, so the losses of
/// different epochs, and of training, can be compared.
pub(crate) fn measure(lesson: &Lesson<'_>, pool: &rayon::ThreadPool, state: &mut TrainState) -> EpochReport {
    let (input, output) = (SharedMatrix::new(&mut state.input), SharedMatrix::new(&mut state.output));
    let next = AtomicUsize::new(0);
    let found = pool.broadcast(|_| run(MeasureWorker { lesson, input, output, next: &next }));
    let mut tallies: Vec<(usize, Tally)> = found.into_iter().flatten().collect();
    // In the order of the text, so that the last bit of the sum does not depend on who measured what.
    tallies.sort_by_key(|&(segment, _)| segment);
    let held_out = tallies.iter().fold(Tally::default(), |sum, &(_, tally)| sum + tally);
    let position = &state.position;
    EpochReport {
        epoch: position.epoch,
        measure: lesson.measure(),
        train_bits: position.tally.mean().unwrap_or(0.0),
        held_out_bits: held_out.mean(),
        held_out_predictions: held_out.predictions,
        tokens_per_second: lesson.stream.n_ids() as f64 / position.seconds,
        seconds: position.seconds,
    }
}

/// The way to the next pause, as all workers see it.
struct Leg<'a> {
    lesson: &'a Lesson<'a>,
    watch: &'a Watch<'a>,
    epoch: u32,
    input: SharedMatrix<'a>,
    output: SharedMatrix<'a>,
    next_shard: AtomicUsize,
    tokens_read: AtomicU64,
    tally: Mutex<Tally>,
    merging: Mutex<()>,
    diverged: AtomicBool,
    stopped: AtomicBool,
}

impl Leg<'_> {
    /// Adds what a worker has done; returns the tally of all.
    fn add(&self, tokens: u64, tally: Tally) -> Tally {
        self.tokens_read.fetch_add(tokens, Ordering::Relaxed);
        if !tally.bits.is_finite() {
            self.diverged.store(true, Ordering::Relaxed);
        }
        let mut all = self.tally.lock().expect("no worker panics while it adds two numbers");
        *all += tally;
        *all
    }

    /// Whether no other shard is to be begun.
    fn ends_here(&self) -> bool {
        if self.watch.stop_requested() {
            self.stopped.store(true, Ordering::Relaxed);
        }
        self.diverged.load(Ordering::Relaxed) || self.stopped.load(Ordering::Relaxed) || self.watch.pause_requested()
    }

    /// Whether not even the shard is to be finished.
    fn ends_at_once(&self) -> bool {
        if self.watch.stop_requested_at_once() {
            self.stopped.store(true, Ordering::Relaxed);
            return true;
        }
        self.diverged.load(Ordering::Relaxed)
    }

    fn rate(&self) -> f32 {
        self.lesson.rate(self.tokens_read.load(Ordering::Relaxed))
    }
}

/// Trains on one shard after the other.
struct TrainWorker<'a> {
    leg: &'a Leg<'a>,
    reports: bool,
}

impl Work for TrainWorker<'_> {
    type Output = ();

    #[inline(always)]
    fn run<M: Machine>(self, m: M) {
        let TrainWorker { leg, reports } = self;
        let lesson = leg.lesson;
        // Only the tree has rows that every step touches.
        let replica = match lesson.targets {
            Targets::Tree(tree) if lesson.config.workers > 1 => {
                let n_replicated = tree.n_nodes().min(REPLICATED_NODES);
                Some(Replica::new(m, leg.output, n_replicated, &leg.merging))
            }
            _ => None,
        };
        let mut block = LogisticBlock::new(leg.input, leg.output, replica);
        let wear = Wear::of(lesson.config);
        let (mut ids, mut sentence) = (Vec::<TokenId>::new(), Sentence::default());
        let mut reported = Instant::now();
        let mut since_merge = 0;
        while !leg.ends_here() {
            let shard = leg.next_shard.fetch_add(1, Ordering::Relaxed);
            let Some(cells) = lesson.shards.all().get(shard) else { break };
            let mut random = generator(lesson.config.seed, u64::from(leg.epoch), shard as u64);
            let mut step = Step::Learn(leg.rate());
            let (mut tokens, mut tally) = (0, Tally::default());
            let mut at = cells.start;
            while at < cells.end {
                let segment = next_segment(lesson.stream, at..cells.end, &mut ids);
                at = segment.end;
                tokens += ids.len() as u64;
                since_merge += ids.len() as u64;
                if !lesson.shards.is_held_out(segment.start) {
                    sentence.draw(&ids, lesson.subsample, lesson.config.window, &mut random);
                    sentence.find_classifiers(m, lesson.targets, &mut random);
                    tally.predictions += lesson.sweep(m, &mut block, &sentence, step);
                    tally.bits += block.take_loss();
                }
                if since_merge >= TOKENS_PER_MERGE || at == cells.end {
                    since_merge = 0;
                    let wear = leg.rate() * wear.output * ONE_BY_ONE;
                    block.merge(m, |visits| share(wear, visits as f32, lesson.config.workers));
                }
                if tokens >= TOKENS_PER_RATE || at == cells.end {
                    let all = leg.add(tokens, tally);
                    (tokens, tally) = (0, Tally::default());
                    step = Step::Learn(leg.rate());
                    if leg.ends_at_once() {
                        return;
                    }
                    if reports {
                        leg.watch.report(&mut reported, lesson, leg.tokens_read.load(Ordering::Relaxed), all);
                    }
                }
            }
            lesson.stream.release(cells.clone());
        }
    }
}

/// Measures on one held-out segment after the other; gives the tally of each by its number.
struct MeasureWorker<'a> {
    lesson: &'a Lesson<'a>,
    input: SharedMatrix<'a>,
    output: SharedMatrix<'a>,
    next: &'a AtomicUsize,
}

impl Work for MeasureWorker<'_> {
    type Output = Vec<(usize, Tally)>;

    #[inline(always)]
    fn run<M: Machine>(self, m: M) -> Vec<(usize, Tally)> {
        let MeasureWorker { lesson, input, output, next } = self;
        let mut block = LogisticBlock::new(input, output, None);
        let (mut ids, mut sentence) = (Vec::<TokenId>::new(), Sentence::default());
        let mut tallies = Vec::new();
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            let Some(cells) = lesson.shards.held_out().get(number) else { return tallies };
            next_segment(lesson.stream, cells.clone(), &mut ids);
            let mut random = generator(lesson.config.seed, u64::MAX, cells.start as u64);
            sentence.draw(&ids, lesson.subsample, lesson.config.window, &mut random);
            sentence.find_classifiers(m, lesson.targets, &mut random);
            let predictions = lesson.sweep(m, &mut block, &sentence, Step::Measure);
            lesson.stream.release(cells.clone());
            tallies.push((number, Tally { bits: block.take_loss(), predictions }));
        }
    }
}
