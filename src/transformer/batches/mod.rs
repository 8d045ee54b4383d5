//! Ids → what one step of training sees.
//!
//! In: an encoded text, or pairs of encoded lines. Out: batches, one after the other, for as many epochs as one likes.
//! The one idea: batch `number` of epoch `epoch` is a pure function of the seed, so a run that was interrupted at any
//! step goes on with the very batches that it would have seen.
//!
//! [`TextExamples`] cuts a stream into windows, and the next token is asked at every place; [`PairExamples`] has a source
//! and a target of their own lengths; [`MaskedExamples`] hides some tokens of a line and asks for those.

mod masked;
mod pairs;
mod text;

use std::ops::Range;

use rand::SeedableRng;
use rand::rngs::Xoshiro256PlusPlus;
use rand::seq::SliceRandom;

use crate::tokens::IdStream;

pub use masked::{MaskMarks, MaskedExamples};
pub use pairs::{PairExamples, PairMarks, Pairs};
pub use text::TextExamples;

/// Rows of ids of different lengths, filled up to the longest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PaddedIds {
    /// `[n_rows, n_columns]`; behind a row's length stands the padding.
    pub ids: Vec<u32>,
    /// How many ids of each row are real.
    pub lengths: Vec<usize>,
    /// The length of the longest row.
    pub n_columns: usize,
}

impl PaddedIds {
    /// Fills `rows` up with `padding`.
    pub fn new<'a>(rows: impl Iterator<Item = &'a [u32]> + Clone, padding: u32) -> PaddedIds {
        let n_columns = rows.clone().map(<[u32]>::len).max().unwrap_or(0);
        let (mut ids, mut lengths) = (Vec::new(), Vec::new());
        for row in rows {
            ids.extend_from_slice(row);
            ids.resize((lengths.len() + 1) * n_columns, padding);
            lengths.push(row.len());
        }
        PaddedIds { ids, lengths, n_columns }
    }

    /// How many rows.
    pub fn n_rows(&self) -> usize {
        self.lengths.len()
    }

    /// Whether any row was filled up.
    pub fn is_padded(&self) -> bool {
        self.lengths.iter().any(|&length| length < self.n_columns)
    }

    /// How many ids are real.
    pub fn n_ids(&self) -> usize {
        self.lengths.iter().sum()
    }
}

/// What one step of training sees.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    /// What is to be translated; `None` for models that read one text.
    pub source: Option<PaddedIds>,
    /// What the model reads, `[n_rows, n_columns]`.
    pub input: PaddedIds,
    /// The token that is right at each place of `input`, or [`NOT_ASKED`].
    pub targets: Vec<u32>,
}

/// Stands among targets where nothing is asked.
pub const NOT_ASKED: u32 = u32::MAX;

impl Batch {
    /// How many ids the model reads, padding left out.
    pub fn n_ids(&self) -> usize {
        self.input.n_ids() + self.source.as_ref().map_or(0, PaddedIds::n_ids)
    }

    /// At how many places a token is asked for.
    pub fn n_targets(&self) -> usize {
        self.targets.iter().filter(|&&target| target != NOT_ASKED).count()
    }

    /// Asks, at every real place of `input`, for the id of `answers` at the same place.
    fn asking_everywhere(source: Option<PaddedIds>, input: PaddedIds, answers: &PaddedIds) -> Batch {
        let n_columns = input.n_columns;
        let is_real = |place: usize| place % n_columns < input.lengths[place / n_columns];
        let targets = answers.ids.iter().enumerate();
        let targets = targets.map(|(place, &id)| if is_real(place) { id } else { NOT_ASKED }).collect();
        Batch { source, input, targets }
    }
}

/// Where batches come from.
pub trait Examples {
    /// How many batches an epoch has; at least one.
    fn n_batches(&self) -> usize;

    /// Batch `number`, below [`n_batches`](Examples::n_batches), of an epoch.
    fn batch(&mut self, epoch: u64, number: usize) -> Batch;

    /// How many ids an epoch reads, about.
    fn n_ids(&self) -> u64;

    /// A number that tells these examples from others: a run only goes on with the ones that it began with.
    fn fingerprint(&self) -> u64;
}

/// In which order examples come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// Another one in every epoch, drawn from this seed. For training.
    Shuffled(u64),
    /// As they stand, the same in every epoch. For measuring.
    Fixed,
}

impl Order {
    /// What is drawn for a piece of an epoch; the same for the same seed, epoch and piece.
    fn generator(self, epoch: u64, piece: u64) -> Xoshiro256PlusPlus {
        let (seed, epoch) = match self {
            Order::Shuffled(seed) => (seed, epoch),
            Order::Fixed => (0, 0),
        };
        generator(seed, epoch, piece)
    }

    /// `0..n` in the order of an epoch.
    fn arrange(self, n: usize, epoch: u64) -> Vec<u32> {
        let mut places: Vec<u32> = (0..n as u32).collect();
        if let Order::Shuffled(_) = self {
            places.shuffle(&mut self.generator(epoch, u64::MAX));
        }
        places
    }
}

/// The generator of one piece of work; seeds belong to pieces of work, so that what is drawn does not depend on what was
/// drawn before.
pub(crate) fn generator(seed: u64, epoch: u64, piece: u64) -> Xoshiro256PlusPlus {
    // `seed_from_u64` scrambles its argument; the products keep different triples apart.
    let mixed = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15)
        ^ epoch.wrapping_mul(0xd1b5_4a32_d192_ed03)
        ^ piece.wrapping_mul(0xaef1_7502_108e_f2d9);
    Xoshiro256PlusPlus::seed_from_u64(mixed)
}

/// FNV-1a over numbers instead of bytes.
fn fingerprint(numbers: impl Iterator<Item = u64>) -> u64 {
    numbers.fold(0xcbf2_9ce4_8422_2325, |hash, number| (hash ^ number).wrapping_mul(0x0100_0000_01b3))
}

/// The fingerprint of a stretch of a stream.
fn stream_fingerprint(stream: &IdStream, cells: Range<usize>) -> u64 {
    let (mut at, mut ids, mut hash) = (cells.start, Vec::new(), 0);
    while at < cells.end {
        ids.clear();
        at += stream.stretch(at..cells.end, &mut ids);
        // The length keeps sentences apart.
        hash = fingerprint([hash, ids.len() as u64].into_iter().chain(ids.iter().map(|id| u64::from(id.0))));
    }
    hash
}

/// The order of one epoch, kept until another is asked for.
#[derive(Debug, Default)]
struct Arranged<T> {
    of: Option<(u64, T)>,
}

impl<T> Arranged<T> {
    fn get(&mut self, epoch: u64, arrange: impl FnOnce() -> T) -> &T {
        if self.of.as_ref().is_none_or(|(known, _)| *known != epoch) {
            self.of = Some((epoch, arrange()));
        }
        &self.of.as_ref().expect("set above").1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_filled_up_to_the_longest() {
        let rows: [&[u32]; 3] = [&[1, 2, 3], &[4], &[]];
        let padded = PaddedIds::new(rows.into_iter(), 9);
        assert_eq!(padded.ids, [1, 2, 3, 4, 9, 9, 9, 9, 9]);
        assert_eq!((padded.lengths.clone(), padded.n_columns, padded.n_rows()), (vec![3, 1, 0], 3, 3));
        assert!(padded.is_padded());
        assert_eq!(padded.n_ids(), 4);
        assert!(!PaddedIds::new([&[1u32][..], &[2]].into_iter(), 9).is_padded());
    }

    #[test]
    fn an_order_is_a_permutation_that_depends_on_seed_and_epoch_only() {
        let order = Order::Shuffled(7);
        let mut first = order.arrange(1000, 3);
        assert_eq!(first, order.arrange(1000, 3));
        assert_ne!(first, order.arrange(1000, 4));
        assert_ne!(first, Order::Shuffled(8).arrange(1000, 3));
        first.sort();
        assert_eq!(first, Order::Fixed.arrange(1000, 5));
    }
}
