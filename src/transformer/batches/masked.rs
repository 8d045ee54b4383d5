//! Lines in which some tokens are hidden.
//!
//! In: the sentences of an [`IdStream`]. Out: batches for an encoder. Of each sentence 15 % of the tokens are asked for;
//! of these 80 % read as the mask, 10 % as any other token and 10 % as themselves (Devlin et al. 2019, §3.1), so that the
//! model cannot rely on seeing what is not asked for. What is hidden changes from epoch to epoch.

use std::ops::Range;
use std::sync::Arc;

use rand::RngExt;
use rand::seq::SliceRandom;

use crate::error::{Error, Result};
use crate::tokens::{IdStream, TokenId};
use crate::transformer::batches::{Arranged, Batch, Examples, NOT_ASKED, Order, PaddedIds, stream_fingerprint};

/// The share of the tokens that is asked for.
const ASKED: f64 = 0.15;

/// Lines of fewer tokens have one asked for in any case.
const SHORT: usize = 7;

/// Batches are made of lines that are sorted by length within groups of this many batches.
const BATCHES_PER_GROUP: usize = 50;

/// The marks that an encoder needs, and what may stand in for a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MaskMarks {
    /// Stands where a token is hidden.
    pub mask: TokenId,
    /// Fills rows up.
    pub pad: TokenId,
    /// Tokens below this number may stand in for another.
    pub n_plain: u32,
}

/// Batches of lines with hidden tokens.
#[derive(Debug)]
pub struct MaskedExamples {
    stream: Arc<IdStream>,
    /// Where each piece begins and how long it is.
    pieces: Vec<(usize, u32)>,
    n_ids: u64,
    marks: MaskMarks,
    batch_size: usize,
    order: Order,
    arranged: Arranged<Vec<Vec<u32>>>,
}

impl MaskedExamples {
    /// Lines from `cells` of a stream, `batch_size` of them in a batch; longer ones than `context_len` are cut into
    /// pieces. A single token has nothing to be told from, so pieces of one are left out.
    ///
    /// # Errors
    /// [`Error::TooFew`] without a piece of two tokens; [`Error::Config`] for a `context_len` below 2.
    pub fn new(
        stream: Arc<IdStream>,
        cells: Range<usize>,
        marks: MaskMarks,
        context_len: usize,
        batch_size: usize,
        order: Order,
    ) -> Result<MaskedExamples> {
        assert!(batch_size > 0);
        if context_len < 2 {
            let reason = format!("{context_len}, expected 2 or more: a hidden token is told from those beside it");
            return Err(Error::config("context-len", reason));
        }
        let (mut pieces, mut ids, mut at) = (Vec::new(), Vec::new(), cells.start);
        while at < cells.end {
            ids.clear();
            let passed = stream.stretch(at..cells.end.min(at + context_len), &mut ids);
            if ids.len() > 1 {
                pieces.push((at, ids.len() as u32));
            }
            at += passed;
        }
        if pieces.is_empty() {
            return Err(Error::TooFew {
                what: "lines of two tokens to learn from".into(),
                found: 0,
                needed: 1,
                advice: "give a longer text, or hold out less of it".into(),
            });
        }
        let n_ids = pieces.iter().map(|&(_, len)| u64::from(len)).sum();
        Ok(MaskedExamples { stream, pieces, n_ids, marks, batch_size, order, arranged: Arranged::default() })
    }

    /// The pieces of every batch of an epoch.
    fn arrange(&self, epoch: u64) -> Vec<Vec<u32>> {
        let mut order = self.order.arrange(self.pieces.len(), epoch);
        let mut batches = Vec::with_capacity(self.n_batches());
        for group in order.chunks_mut(BATCHES_PER_GROUP * self.batch_size) {
            group.sort_by_key(|&piece| self.pieces[piece as usize].1);
            batches.extend(group.chunks(self.batch_size).map(<[u32]>::to_vec));
        }
        if let Order::Shuffled(_) = self.order {
            batches.shuffle(&mut self.order.generator(epoch, 1));
        }
        batches
    }
}

impl Examples for MaskedExamples {
    fn n_batches(&self) -> usize {
        self.pieces.len().div_ceil(self.batch_size)
    }

    fn n_ids(&self) -> u64 {
        self.n_ids
    }

    fn fingerprint(&self) -> u64 {
        let (first, last) = (self.pieces[0], self.pieces[self.pieces.len() - 1]);
        stream_fingerprint(&self.stream, first.0..last.0 + last.1 as usize)
    }

    fn batch(&mut self, epoch: u64, number: usize) -> Batch {
        let mut arranged = std::mem::take(&mut self.arranged);
        let picked = &arranged.get(epoch, || self.arrange(epoch))[number];
        let mut ids = Vec::new();
        let rows: Vec<Vec<u32>> = picked
            .iter()
            .map(|&piece| {
                let (start, len) = self.pieces[piece as usize];
                ids.clear();
                self.stream.stretch(start..start + len as usize, &mut ids);
                ids.iter().map(|id| id.0).collect()
            })
            .collect();
        self.arranged = arranged;
        let mut input = PaddedIds::new(rows.iter().map(Vec::as_slice), self.marks.pad.0);
        // Beside the generators of the order, which are 0, 1 and the last.
        let mut random = self.order.generator(epoch, 2 + number as u64);
        let mut targets = vec![NOT_ASKED; input.ids.len()];
        for (row, &length) in input.lengths.iter().enumerate() {
            let places = row * input.n_columns..row * input.n_columns + length;
            // One of each short line at least, or it would teach nothing most of the time.
            let must = (length < SHORT).then(|| random.random_range(places.clone()));
            for place in places {
                let is_asked = random.random_bool(ASKED) || must == Some(place);
                let (how, other) = (random.random_range(0..10), random.random_range(0..self.marks.n_plain));
                if is_asked {
                    targets[place] = input.ids[place];
                    match how {
                        0..8 => input.ids[place] = self.marks.mask.0,
                        8 => input.ids[place] = other,
                        _ => {}
                    }
                }
            }
        }
        if targets.iter().all(|&target| target == NOT_ASKED) {
            targets[0] = std::mem::replace(&mut input.ids[0], self.marks.mask.0);
        }
        Batch { source: None, input, targets }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::tokens::IdStreamBuilder;

    const MARKS: MaskMarks = MaskMarks { mask: TokenId(98), pad: TokenId(97), n_plain: 90 };

    fn stream(sentences: usize, len: impl Fn(usize) -> usize) -> Arc<IdStream> {
        let mut builder = IdStreamBuilder::new(100, Path::new("."));
        for sentence in 0..sentences {
            let ids: Vec<TokenId> =
                (0..len(sentence)).map(|i| TokenId(((sentence * 31 + i * 7) % 90) as u32)).collect();
            builder.push(&ids).unwrap();
            builder.end_sentence().unwrap();
        }
        Arc::new(builder.finish().unwrap())
    }

    fn examples(stream: &Arc<IdStream>, order: Order) -> MaskedExamples {
        MaskedExamples::new(Arc::clone(stream), 0..stream.n_cells(), MARKS, 32, 8, order).unwrap()
    }

    #[test]
    fn fifteen_in_a_hundred_are_asked_and_eight_in_ten_of_those_hidden() {
        let mut examples = examples(&stream(2000, |i| 20 + i % 10), Order::Shuffled(5));
        let (mut n, mut n_asked, mut n_hidden, mut n_same) = (0, 0, 0, 0);
        for number in 0..examples.n_batches() {
            let batch = examples.batch(0, number);
            n += batch.n_ids();
            n_asked += batch.n_targets();
            for (place, &target) in batch.targets.iter().enumerate().filter(|(_, target)| **target != NOT_ASKED) {
                let reads = batch.input.ids[place];
                n_hidden += usize::from(reads == 98);
                n_same += usize::from(reads == target);
                assert!(target < 90 && (reads < 90 || reads == 98));
            }
        }
        // Three standard deviations of a binomial.
        let near = |k: usize, n: usize, p: f64| {
            let (k, n) = (k as f64, n as f64);
            assert!((k - n * p).abs() < 3.0 * (n * p * (1.0 - p)).sqrt(), "{k} of {n}, expected {p}");
        };
        near(n_asked, n, 0.15);
        near(n_hidden, n_asked, 0.8);
        near(n_same, n_asked, 0.1 + 0.1 / 90.0);
    }

    #[test]
    fn what_is_hidden_depends_on_seed_and_epoch_only() {
        let stream = stream(50, |i| 2 + i % 30);
        let mut first = examples(&stream, Order::Shuffled(1));
        let mut second = examples(&stream, Order::Shuffled(1));
        second.batch(9, 3);
        assert_eq!(first.batch(4, 2), second.batch(4, 2));
        assert_ne!(first.batch(4, 2), first.batch(5, 2));
        let mut fixed = examples(&stream, Order::Fixed);
        assert_eq!(fixed.batch(0, 1), fixed.batch(7, 1));
    }

    #[test]
    fn short_lines_ask_for_something_and_long_lines_are_cut() {
        let mut short = examples(&stream(64, |_| 3), Order::Shuffled(1));
        for number in 0..short.n_batches() {
            let batch = short.batch(0, number);
            for row in batch.targets.chunks(3) {
                assert!(row.iter().any(|&target| target != NOT_ASKED), "a row asks for nothing");
            }
        }
        let long = examples(&stream(1, |_| 1000), Order::Fixed);
        assert_eq!((long.pieces.len(), long.n_ids()), (32, 1000));
        let none = MaskedExamples::new(stream(3, |_| 1), 0..6, MARKS, 32, 8, Order::Fixed);
        assert!(matches!(none, Err(Error::TooFew { .. })));
        let alone = MaskedExamples::new(stream(3, |_| 9), 0..30, MARKS, 1, 8, Order::Fixed);
        assert!(matches!(alone, Err(Error::Config { field: "context-len", .. })));
    }
}
