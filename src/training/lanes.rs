//! Training that comes out the same however many threads do it.
//!
//! In: a shard of the stream and both matrices. Out: the matrices after it.
//!
//! The work is cut into rounds, and a round into a fixed number of lanes, neither of which depends on the threads. In a
//! round every lane takes the next piece of the text and trains on it alone: it copies the rows that the piece touches
//! into small matrices of its own, gives the sentences the numbers of those copies, and makes the ordinary steps there.
//! When all lanes are done, each row receives what the lanes have changed in their copies of it, in the order of the
//! lanes. Which thread works on which lane, and which on which rows, then makes no difference to any bit.
//!
//! The lanes of a round do not see each other's steps: the sum of their changes is held back as `wear` says.
//!
//! What all this costs is copying, some four rows per token in and out.

use std::ops::Range;
use std::time::Instant;

use rayon::iter::{IndexedParallelIterator, IntoParallelRefMutIterator, ParallelIterator};

use crate::math::{LogisticBlock, Machine, Matrix, SharedMatrix, Step, Work, run};
use crate::tokens::TokenId;
use crate::training::row_set::RowSet;
use crate::training::sentence::{Sentence, generator};
use crate::training::shards::next_segment;
use crate::training::train::{Ended, Lesson, Tally, TrainState, Watch};
use crate::training::wear::{Wear, way};

/// Lanes of a round, and so the most threads that have something to do.
const LANES: usize = 8;

/// Tokens of a piece, about; longer sentences are cut. Shorter pieces touch more rows per token.
const PIECE_TOKENS: usize = 500;

/// A short text gets shorter pieces, down to this, so that an epoch has about so many rounds: each is like one step for
/// the frequent rows.
const LEAST_PIECE_TOKENS: usize = 25;
const ROUNDS: u64 = 500;

/// Below this many changed rows, adding them up is not worth another thread.
const ROWS_PER_TASK: usize = 512;

/// Trains on one shard after the other up to the next pause; must be called in the pool whose threads are to help.
pub(crate) fn train(lesson: &Lesson<'_>, watch: &Watch<'_>, state: &mut TrainState) -> Ended {
    let TrainState { input, output, position, .. } = state;
    let wear = Wear::of(lesson.config);
    let in_a_round = usize::try_from(lesson.stream.n_ids() / ROUNDS).unwrap_or(usize::MAX);
    let piece_tokens = (in_a_round / LANES).clamp(LEAST_PIECE_TOKENS, PIECE_TOKENS);
    let mut lanes: Vec<Lane> = (0..LANES).map(|_| Lane::new(input.n_rows(), output.n_rows())).collect();
    let mut reported = Instant::now();
    while let Some(cells) = lesson.shards.all().get(position.shard) {
        if watch.stop_requested() {
            return Ended::Stopped;
        }
        if watch.pause_requested() {
            return Ended::Paused;
        }
        let mut text = Text::new(lesson, cells.clone(), piece_tokens);
        while !text.is_empty() {
            let rate = lesson.rate(position.tokens_read);
            lanes.iter_mut().for_each(|lane| position.tokens_read += text.next_piece(&mut lane.piece));
            let rows = (&*input, &*output);
            let (epoch, step) = (position.epoch, Step::Learn(rate));
            lanes.par_iter_mut().with_max_len(1).for_each(|lane| run(LaneWork { lesson, lane, epoch, step, rows }));
            rayon::join(
                || add_changes(input, lanes.iter().map(|lane| &lane.input), rate * wear.input),
                || add_changes(output, lanes.iter().map(|lane| &lane.output), rate * wear.output),
            );
            lanes.iter().for_each(|lane| position.tally += lane.tally);
            if !position.tally.bits.is_finite() {
                return Ended::Diverged;
            }
            if watch.stop_requested_at_once() {
                return Ended::Stopped;
            }
            watch.report(&mut reported, lesson, position.tokens_read, position.tally);
        }
        lesson.stream.release(cells.clone());
        position.shard += 1;
    }
    Ended::Paused
}

/// A piece of the text and the rows that it touches.
struct Lane<'a> {
    // Where in the stream the sentences of the piece are.
    piece: Vec<Range<usize>>,
    sentences: Vec<Sentence<'a>>,
    ids: Vec<TokenId>,
    input: Overlay,
    output: Overlay,
    tally: Tally,
}

impl Lane<'_> {
    /// One for matrices of so many rows.
    fn new(n_inputs: usize, n_outputs: usize) -> Lane<'static> {
        Lane {
            piece: Vec::new(),
            sentences: Vec::new(),
            ids: Vec::new(),
            input: Overlay::new(n_inputs),
            output: Overlay::new(n_outputs),
            tally: Tally::default(),
        }
    }
}

/// What is left of a shard.
struct Text<'a> {
    lesson: &'a Lesson<'a>,
    cells: Range<usize>,
    // Of a segment that is longer than a piece: what is left of it.
    segment: Range<usize>,
    ids: Vec<TokenId>,
    piece_tokens: usize,
}

impl<'a> Text<'a> {
    fn new(lesson: &'a Lesson<'a>, cells: Range<usize>, piece_tokens: usize) -> Text<'a> {
        Text { lesson, cells, segment: 0..0, ids: Vec::new(), piece_tokens }
    }

    fn is_empty(&self) -> bool {
        self.cells.is_empty() && self.segment.is_empty()
    }

    /// Fills `piece` with the next sentences; returns how many tokens were passed, those held out among them.
    fn next_piece(&mut self, piece: &mut Vec<Range<usize>>) -> u64 {
        piece.clear();
        let (mut n_cells, mut tokens_read) = (0, 0);
        while n_cells < self.piece_tokens && !self.is_empty() {
            if self.segment.is_empty() {
                self.segment = next_segment(self.lesson.stream, self.cells.clone(), &mut self.ids);
                self.cells.start = self.segment.end;
                tokens_read += self.ids.len() as u64;
                if self.lesson.shards.is_held_out(self.segment.start) {
                    self.segment = 0..0;
                    continue;
                }
            }
            let end = self.segment.end.min(self.segment.start + self.piece_tokens);
            n_cells += end - self.segment.start;
            piece.push(self.segment.start..end);
            self.segment.start = end;
        }
        tokens_read
    }
}

/// What a lane does in a round.
struct LaneWork<'w, 'a> {
    lesson: &'w Lesson<'a>,
    lane: &'w mut Lane<'a>,
    epoch: u32,
    step: Step,
    // Both matrices, as they are at the start of the round.
    rows: (&'w Matrix, &'w Matrix),
}

impl Work for LaneWork<'_, '_> {
    type Output = ();

    #[inline(always)]
    fn run<M: Machine>(self, m: M) {
        let LaneWork { lesson, lane, epoch, step, rows } = self;
        let Lane { piece, sentences, ids, input, output, tally } = lane;
        if sentences.len() < piece.len() {
            sentences.resize_with(piece.len(), Sentence::default);
        }
        input.rows.clear();
        output.rows.clear();
        let sentences = &mut sentences[..piece.len()];
        for (cells, sentence) in piece.iter().zip(&mut *sentences) {
            ids.clear();
            lesson.stream.stretch(cells.clone(), ids);
            let mut random = generator(lesson.config.seed, u64::from(epoch), cells.start as u64);
            sentence.draw(ids, lesson.subsample, lesson.config.window, &mut random);
            sentence.find_classifiers(m, lesson.targets, &mut random);
            for center in 0..sentence.len() {
                input.rows.insert(sentence.ids()[center]);
                sentence.classifiers(center).nodes.iter().for_each(|&node| output.rows.insert(node));
            }
        }
        input.copy(m, rows.0);
        output.copy(m, rows.1);
        for sentence in &mut *sentences {
            sentence.renumber(|id| input.visit(id), |node| output.visit(node));
        }
        *tally = Tally::default();
        let (inputs, outputs) = (SharedMatrix::new(&mut input.matrix), SharedMatrix::new(&mut output.matrix));
        let mut block = LogisticBlock::new(inputs, outputs, None);
        for sentence in sentences {
            tally.predictions += lesson.sweep(m, &mut block, sentence, step);
            tally.bits += block.take_loss();
        }
        input.keep_changes(rows.0);
        output.keep_changes(rows.1);
    }
}

/// A lane's copy of the rows that it touches; after its work, what it has changed in them.
struct Overlay {
    rows: RowSet,
    matrix: Matrix,
    // How often each row is visited.
    visits: Vec<u32>,
}

impl Overlay {
    fn new(n_rows: usize) -> Overlay {
        Overlay { rows: RowSet::none_of(n_rows), matrix: Matrix::zeros(0, 1), visits: Vec::new() }
    }

    /// Copies the rows that were met.
    #[inline(always)]
    fn copy<M: Machine>(&mut self, m: M, from: &Matrix) {
        self.rows.number();
        let n_rows = self.rows.rows().len();
        if self.matrix.n_rows() < n_rows || self.matrix.dim() != from.dim() {
            self.matrix = Matrix::zeros(n_rows + n_rows / 4, from.dim());
        }
        self.visits.clear();
        self.visits.resize(n_rows, 0);
        let stride = from.stride();
        let copies = self.matrix.as_mut_slice().chunks_exact_mut(stride);
        for (i, (&row, copy)) in self.rows.rows().iter().zip(copies).enumerate() {
            if let Some(&next) = self.rows.rows().get(i + 3) {
                let next = from.padded_row(next as usize);
                next.chunks(16).for_each(|line| m.prefetch(line.as_ptr()));
            }
            copy.copy_from_slice(from.padded_row(row as usize));
        }
    }

    /// The place of a row's copy, which is to be visited once more.
    #[inline(always)]
    fn visit(&mut self, row: u32) -> u32 {
        let place = self.rows.place(row);
        self.visits[place as usize] += 1;
        place
    }

    /// Leaves of each copied row only what was added to it.
    #[inline(always)]
    fn keep_changes(&mut self, from: &Matrix) {
        let stride = from.stride();
        for (&row, copy) in self.rows.rows().iter().zip(self.matrix.as_mut_slice().chunks_exact_mut(stride)) {
            copy.iter_mut().zip(from.padded_row(row as usize)).for_each(|(new, old)| *new -= old);
        }
    }
}

/// What one lane has changed in a stretch of a matrix: rising rows, how often it has visited each, and as many rows of
/// changes.
#[derive(Clone, Copy)]
struct Changes<'a> {
    rows: &'a [u32],
    visits: &'a [u32],
    numbers: &'a [f32],
}

impl<'a> Changes<'a> {
    /// The first `n` rows, and the others.
    fn split_at(self, n: usize, stride: usize) -> (Changes<'a>, Changes<'a>) {
        let (rows, visits, numbers) =
            (self.rows.split_at(n), self.visits.split_at(n), self.numbers.split_at(n * stride));
        (
            Changes { rows: rows.0, visits: visits.0, numbers: numbers.0 },
            Changes { rows: rows.1, visits: visits.1, numbers: numbers.1 },
        )
    }
}

/// Adds to each row of `matrix` what the lanes have changed, in their order and as `wear` says.
fn add_changes<'a>(matrix: &mut Matrix, lanes: impl Iterator<Item = &'a Overlay>, wear: f32) {
    let stride = matrix.stride();
    let changes: Vec<Changes> = lanes
        .map(|lane| Changes { rows: lane.rows.rows(), visits: &lane.visits, numbers: lane.matrix.as_slice() })
        .collect();
    add(matrix.as_mut_slice(), 0, stride, &changes, wear);
}

/// Adds `changes` to `numbers`, which begin with row `first`; many rows are halved between threads.
fn add(numbers: &mut [f32], first: u32, stride: usize, changes: &[Changes<'_>], wear: f32) {
    let n_rows: usize = changes.iter().map(|lane| lane.rows.len()).sum();
    let longest = changes.iter().map(|lane| lane.rows).max_by_key(|rows| rows.len()).unwrap_or_default();
    let Some(&middle) = longest.get(longest.len() / 2).filter(|&&middle| middle > first && n_rows > ROWS_PER_TASK)
    else {
        return run(AddInOrder { numbers, first, stride, changes: changes.to_vec(), wear });
    };
    let (low, high) = numbers.split_at_mut((middle - first) as usize * stride);
    let split = changes.iter().map(|lane| lane.split_at(lane.rows.partition_point(|&row| row < middle), stride));
    let (below, above): (Vec<Changes>, Vec<Changes>) = split.unzip();
    rayon::join(|| add(low, first, stride, &below, wear), || add(high, middle, stride, &above, wear));
}

/// Adds changes in one thread.
struct AddInOrder<'a> {
    numbers: &'a mut [f32],
    first: u32,
    stride: usize,
    changes: Vec<Changes<'a>>,
    wear: f32,
}

impl Work for AddInOrder<'_> {
    type Output = ();

    #[inline(always)]
    fn run<M: Machine>(self, _: M) {
        let AddInOrder { numbers, first, stride, mut changes, wear } = self;
        while let Some(row) = changes.iter().filter_map(|lane| lane.rows.first()).min().copied() {
            let touches = |lane: &&mut Changes<'_>| lane.rows.first() == Some(&row);
            let (mut visits, mut ways) = (0.0, 0.0);
            for lane in changes.iter_mut().filter(touches) {
                visits += lane.visits[0] as f32;
                ways += way(wear, lane.visits[0] as f32);
            }
            // A rate of almost nothing moves nothing, and its ways may be 0.
            let share = if ways > 0.0 { way(wear, visits) / ways } else { 1.0 };
            let at = (row - first) as usize * stride;
            for lane in changes.iter_mut().filter(touches) {
                let (change, rest) = lane.split_at(1, stride);
                let numbers = numbers[at..at + stride].iter_mut();
                numbers.zip(change.numbers).for_each(|(number, change)| *number += share * change);
                *lane = rest;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tokens::IdStreamBuilder;
    use crate::training::TrainConfig;
    use crate::training::shards::Shards;
    use crate::training::subsample::Subsample;

    /// An overlay of `rows`, each visited so often, in which every number has changed by `change`.
    fn overlay(n_rows: usize, rows: &[u32], visits: u32, change: f32) -> Overlay {
        let mut overlay = Overlay::new(n_rows);
        rows.iter().for_each(|&row| overlay.rows.insert(row));
        overlay.rows.number();
        overlay.visits = vec![visits; rows.len()];
        overlay.matrix = Matrix::zeros(rows.len() + 3, 20);
        overlay.matrix.as_mut_slice().fill(change);
        overlay
    }

    #[test]
    fn what_one_lane_changed_is_added_whole_and_what_all_did_as_a_mean_where_they_did_all_there_was_to_do() {
        let all: Vec<u32> = (0..4000).collect();
        let lanes = [overlay(4000, &all, 1_000_000, 0.5), overlay(4000, &[0, 7, 3999], 1_000_000, 1.5)];
        let mut matrix = Matrix::zeros(4000, 20);
        matrix.row_mut(5).fill(2.0);
        let mut seldom = matrix.clone();
        add_changes(&mut matrix, lanes.iter(), 1.0);
        assert_eq!((matrix.row(1)[0], matrix.row(5)[19]), (0.5, 2.5));
        for row in [0, 7, 3999] {
            assert!((matrix.row(row)[3] - 1.0).abs() < 1e-5, "{}", matrix.row(row)[3]);
        }
        add_changes(&mut seldom, lanes.iter(), 1e-15);
        assert!((seldom.row(7)[0] - 2.0).abs() < 1e-5, "{}", seldom.row(7)[0]);
        let mut still = Matrix::zeros(4000, 20);
        add_changes(&mut still, lanes.iter(), 0.0);
        assert_eq!(still.row(7)[0], 2.0);
    }

    #[test]
    fn pieces_hold_every_sentence_once_and_are_never_long() {
        let mut builder = IdStreamBuilder::new(10, std::path::Path::new("."));
        for length in [3, 700, 20, 12_345, 1, 499, 500, 501] {
            builder.push(&vec![TokenId(3); length]).unwrap();
            builder.end_sentence().unwrap();
        }
        let stream = builder.finish().unwrap();
        let config = TrainConfig { hold_out: 0.0, ..TrainConfig::default() };
        let (shards, subsample) = (Shards::cut(&stream, 0.0, 1), Subsample::new(stream.counts(), 0.0));
        let tree = crate::HuffmanTree::from_counts(stream.counts()).unwrap();
        let targets = crate::training::sentence::Targets::Tree(&tree);
        let lesson = Lesson { stream: &stream, targets, config: &config, shards: &shards, subsample: &subsample };
        let mut text = Text::new(&lesson, 0..stream.n_cells(), PIECE_TOKENS);
        let (mut piece, mut ids, mut end, mut passed, mut seen) = (Vec::new(), Vec::new(), 0, 0, 0);
        while !text.is_empty() {
            passed += text.next_piece(&mut piece);
            assert!(piece.iter().map(|cells| cells.len()).sum::<usize>() < 2 * PIECE_TOKENS);
            for cells in &piece {
                assert_eq!(cells.start, end);
                end = cells.end;
                ids.clear();
                stream.stretch(cells.clone(), &mut ids);
                seen += ids.len() as u64;
            }
        }
        assert_eq!((end, passed, seen), (stream.n_cells(), stream.n_ids(), stream.n_ids()));
    }
}
