//! Pairs of a source and its target.
//!
//! In: lines of a source, a tab and a target. Out: batches for an encoder-decoder. The encoder reads the source and the
//! end mark; the decoder reads the start mark and the target, and is asked for the target and the end mark. Pairs of
//! like lengths share a batch, so that little is filled up.

use rand::seq::SliceRandom;

use crate::error::{Error, Result};
use crate::progress::{Event, Progress};
use crate::text::Corpus;
use crate::tokens::{SpecialTokens, TokenId, Tokenizer};
use crate::transformer::batches::{Arranged, Batch, Examples, Order, PaddedIds, fingerprint};

/// Batches are made of pairs that are sorted by length within groups of this many batches: sorted enough to save the
/// filling up, few enough that the batches of two epochs are different ones.
const BATCHES_PER_GROUP: usize = 50;

/// The marks that an encoder-decoder needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PairMarks {
    /// Stands before the target.
    pub start: TokenId,
    /// Stands behind the source and the target.
    pub end: TokenId,
    /// Fills rows up.
    pub pad: TokenId,
}

/// Encoded pairs, without marks.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Pairs {
    ids: Vec<u32>,
    /// Of pair i the source ends at `ends[2i]` and the target at `ends[2i + 1]`.
    ends: Vec<usize>,
}

impl Pairs {
    /// Reads lines of a source, a tab and a target. Empty lines are passed over; pairs of which a side, with its mark,
    /// is longer than `context_len` are left out with a warning. A word that is not in the vocabulary is the unknown word,
    /// in the source and in the target.
    ///
    /// # Errors
    /// [`Error::Format`] names the file and the line that has no tab, or two, or nothing on one side.
    pub fn read(corpus: &Corpus, tokenizer: &Tokenizer, context_len: usize, progress: &dyn Progress) -> Result<Pairs> {
        let mut pairs = Pairs::default();
        let mut line = Vec::new();
        let (mut file, mut number, mut n_long) = (0, 0u64, 0u64);
        let mut add = |line: &[u8], file: usize, number: u64| -> Result<()> {
            let wrong = |reason: &str| Error::format(corpus.path(file), format!("line {number}: {reason}"));
            if line.trim_ascii().is_empty() {
                return Ok(());
            }
            let mut sides = line.split(|&byte| byte == b'\t');
            let (source, target) = match (sides.next(), sides.next(), sides.next()) {
                (Some(source), Some(target), None) => (source, target),
                (_, None, _) => return Err(wrong("no tab, expected `source TAB target`")),
                _ => return Err(wrong("more than one tab, expected `source TAB target`")),
            };
            let sides = [source, target].map(|side| tokenizer.encode_with(side, SpecialTokens::AsText));
            if source.trim_ascii().is_empty() || target.trim_ascii().is_empty() || sides.iter().any(Vec::is_empty) {
                return Err(wrong("nothing on one side of the tab, or no known word, expected `source TAB target`"));
            }
            if sides.iter().any(|side| side.len() >= context_len) {
                n_long += 1;
                return Ok(());
            }
            for side in sides {
                pairs.ids.extend(side.iter().map(|id| id.0));
                pairs.ends.push(pairs.ids.len());
            }
            Ok(())
        };
        corpus.for_each_chunk(
            "encoding",
            progress,
            |chunk| {
                let lines = chunk.lines().map(|line| (line.text.to_vec(), line.ends));
                (chunk.file(), lines.collect::<Vec<_>>())
            },
            |(of, lines)| {
                if file != of {
                    (file, number) = (of, 0);
                }
                for (piece, ends) in lines {
                    line.extend_from_slice(&piece);
                    if ends {
                        number += 1;
                        add(&line, file, number)?;
                        line.clear();
                    }
                }
                Ok(())
            },
        )?;
        if n_long > 0 {
            let all = n_long + pairs.len() as u64;
            progress.report(&Event::Warning(&format!(
                "{n_long} of {all} pairs are longer than {} tokens and were left out; a larger --context-len keeps them",
                context_len - 1
            )));
        }
        Ok(pairs)
    }

    /// How many.
    pub fn len(&self) -> usize {
        self.ends.len() / 2
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// The source and the target of one.
    pub fn get(&self, pair: usize) -> (&[u32], &[u32]) {
        let start = if pair == 0 { 0 } else { self.ends[2 * pair - 1] };
        let (middle, end) = (self.ends[2 * pair], self.ends[2 * pair + 1]);
        (&self.ids[start..middle], &self.ids[middle..end])
    }

    /// How often each of `n_tokens` tokens is read or asked for, the marks counted in.
    pub fn counts(&self, n_tokens: usize, marks: PairMarks) -> Vec<u64> {
        let mut counts = vec![0; n_tokens];
        for &id in &self.ids {
            counts[id as usize] += 1;
        }
        counts[marks.start.index()] += self.len() as u64;
        counts[marks.end.index()] += 2 * self.len() as u64;
        counts
    }

    /// Takes the last `n` away from these.
    pub fn split_off(&mut self, n: usize) -> Pairs {
        let first = self.len() - n;
        let cut = if first == 0 { 0 } else { self.ends[2 * first - 1] };
        let ids = self.ids.split_off(cut);
        let ends = self.ends.split_off(2 * first).into_iter().map(|end| end - cut).collect();
        Pairs { ids, ends }
    }
}

/// Batches of pairs.
#[derive(Debug)]
pub struct PairExamples {
    pairs: Pairs,
    marks: PairMarks,
    batch_size: usize,
    order: Order,
    arranged: Arranged<Vec<Vec<u32>>>,
}

impl PairExamples {
    /// Batches of `batch_size` pairs.
    ///
    /// # Errors
    /// [`Error::TooFew`] without a pair.
    pub fn new(pairs: Pairs, marks: PairMarks, batch_size: usize, order: Order) -> Result<PairExamples> {
        assert!(batch_size > 0);
        if pairs.is_empty() {
            return Err(Error::TooFew {
                what: "pairs to learn from".into(),
                found: 0,
                needed: 1,
                advice: "give lines of `source TAB target`, or hold out fewer".into(),
            });
        }
        Ok(PairExamples { pairs, marks, batch_size, order, arranged: Arranged::default() })
    }

    /// The pairs of every batch of an epoch.
    fn arrange(&self, epoch: u64) -> Vec<Vec<u32>> {
        let mut order = self.order.arrange(self.pairs.len(), epoch);
        let mut batches = Vec::with_capacity(self.n_batches());
        for group in order.chunks_mut(BATCHES_PER_GROUP * self.batch_size) {
            // Stable, so that it is the same everywhere.
            group.sort_by_key(|&pair| {
                let (source, target) = self.pairs.get(pair as usize);
                (target.len(), source.len())
            });
            batches.extend(group.chunks(self.batch_size).map(<[u32]>::to_vec));
        }
        if let Order::Shuffled(_) = self.order {
            batches.shuffle(&mut self.order.generator(epoch, 1));
        }
        batches
    }
}

impl Examples for PairExamples {
    fn n_batches(&self) -> usize {
        // Groups are whole numbers of batches, so only the last batch can be short.
        self.pairs.len().div_ceil(self.batch_size)
    }

    fn n_ids(&self) -> u64 {
        (self.pairs.ids.len() + 2 * self.pairs.len()) as u64
    }

    fn fingerprint(&self) -> u64 {
        let ends = self.pairs.ends.iter().map(|&end| end as u64);
        fingerprint(ends.chain(self.pairs.ids.iter().map(|&id| u64::from(id))))
    }

    fn batch(&mut self, epoch: u64, number: usize) -> Batch {
        let mut arranged = std::mem::take(&mut self.arranged);
        let picked = &arranged.get(epoch, || self.arrange(epoch))[number];
        let PairMarks { start, end, pad } = self.marks;
        let with = |before: Option<TokenId>, ids: &[u32], behind: Option<TokenId>| -> Vec<u32> {
            let mark = |mark: Option<TokenId>| mark.map(|id| id.0);
            mark(before).into_iter().chain(ids.iter().copied()).chain(mark(behind)).collect()
        };
        let pairs: Vec<(&[u32], &[u32])> = picked.iter().map(|&pair| self.pairs.get(pair as usize)).collect();
        let padded = |rows: Vec<Vec<u32>>| PaddedIds::new(rows.iter().map(Vec::as_slice), pad.0);
        let source = padded(pairs.iter().map(|(source, _)| with(None, source, Some(end))).collect());
        let input = padded(pairs.iter().map(|(_, target)| with(Some(start), target, None)).collect());
        let answers = padded(pairs.iter().map(|(_, target)| with(None, target, Some(end))).collect());
        self.arranged = arranged;
        Batch::asking_everywhere(Some(source), input, &answers)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::progress::Silent;
    use crate::transformer::batches::NOT_ASKED;

    const MARKS: PairMarks = PairMarks { start: TokenId(100), end: TokenId(101), pad: TokenId(102) };

    fn tokenizer() -> Tokenizer {
        Tokenizer::from_words("a b c d e f".split(' ').map(|word| word.as_bytes().to_vec()).collect()).unwrap()
    }

    fn read(text: &str) -> Result<Pairs> {
        Pairs::read(&Corpus::from_text(text), &tokenizer(), 5, &Silent)
    }

    #[test]
    fn a_batch_has_its_marks_where_they_belong() {
        let pairs = read("a b\tc\n\nb\td e f\r\n").unwrap();
        let mut examples = PairExamples::new(pairs, MARKS, 2, Order::Fixed).unwrap();
        assert_eq!(examples.n_batches(), 1);
        let batch = examples.batch(0, 0);
        let source = batch.source.unwrap();
        assert_eq!((source.ids, source.lengths), (vec![0, 1, 101, 1, 101, 102], vec![3, 2]));
        assert_eq!(batch.input.ids, [100, 2, 102, 102, 100, 3, 4, 5]);
        assert_eq!(batch.input.lengths, [2, 4]);
        assert_eq!(batch.targets, [2, 101, NOT_ASKED, NOT_ASKED, 3, 4, 5, 101]);
    }

    #[test]
    fn an_epoch_has_every_pair_once_in_batches_of_like_lengths() {
        let text: String =
            (0..997).map(|i| format!("{}\t{}\n", "a ".repeat(1 + i % 4), "b ".repeat(1 + i * 7 % 4))).collect();
        let mut examples = PairExamples::new(read(&text).unwrap(), MARKS, 8, Order::Shuffled(1)).unwrap();
        let mut n = 0;
        let mut n_filled = 0;
        for number in 0..examples.n_batches() {
            let batch = examples.batch(2, number);
            n += batch.input.n_rows();
            n_filled += batch.input.ids.len() - batch.input.n_ids();
        }
        assert_eq!(n, 997);
        assert!(n_filled < 60, "{n_filled}");
        assert_ne!(examples.batch(2, 0), examples.batch(3, 0));
        assert_eq!(examples.batch(2, 5), examples.batch(2, 5));
    }

    #[test]
    fn a_line_that_is_no_pair_is_named() {
        for (text, wanted) in [
            ("a\tb\nno tab\n", "line 2: no tab"),
            ("a\tb\tc\n", "line 1: more than one tab"),
            ("a\tb\n\n\tb\n", "line 3: nothing on one side"),
            ("a\t \n", "line 1: nothing on one side"),
        ] {
            let error = read(text).unwrap_err().to_string();
            assert!(error.contains("text in memory") && error.contains(wanted), "{error}");
        }
    }

    #[test]
    fn long_pairs_are_left_out_and_the_last_ones_can_be_taken_away() {
        let mut pairs = read("a\tb\na b c d e\tb\nc\td e\nf\ta\n").unwrap();
        assert_eq!(pairs.len(), 3);
        let last = pairs.split_off(2);
        assert_eq!((pairs.len(), pairs.get(0)), (1, (&[0u32][..], &[1u32][..])));
        assert_eq!((last.len(), last.get(0), last.get(1).1), (2, (&[2u32][..], &[3u32, 4][..]), &[0u32][..]));
    }
}
