//! The id stream cut into pieces: segments for the window, shards for the workers, and the segments held out.
//!
//! A segment is a sentence, or 10,000 ids of a longer one, so that a text without line ends has segments too; only
//! windows do not reach across a cut. A shard is about 100,000 ids and ends where a segment ends. Neither depends on
//! how many workers there are.

use std::ops::Range;

use rand::Rng;

use crate::tokens::{IdStream, TokenId};
use crate::training::sentence::generator;

/// The most ids in a segment. word2vec.c cuts at 1,000 words, gensim drops what comes after 10,000.
const SEGMENT_IDS: usize = 10_000;

/// About how many cells of the stream a shard has.
const SHARD_CELLS: usize = 100_000;

/// Where to cut an id stream.
#[derive(Debug)]
pub(crate) struct Shards {
    shards: Vec<Range<usize>>,
    // Sorted by position.
    held_out: Vec<Range<usize>>,
}

impl Shards {
    /// Cuts `stream` and chooses the share `hold_out` of its segments at random.
    ///
    /// When the share is above 0 and there are at least two segments, at least one is held out and one is not.
    pub(crate) fn cut(stream: &IdStream, hold_out: f64, seed: u64) -> Shards {
        let mut shards = Vec::new();
        let mut held_out = Vec::new();
        // The segment with the smallest draw is the one to hold out when chance chose none.
        let mut smallest: Option<(f64, Range<usize>)> = None;
        let mut n_segments = 0u64;
        let mut ids = Vec::new();
        let mut random = generator(seed, u64::MAX, 0);
        let (mut start, mut at) = (0, 0);
        while at < stream.n_cells() {
            let segment = next_segment(stream, at..stream.n_cells(), &mut ids);
            at = segment.end;
            if !ids.is_empty() {
                n_segments += 1;
                let draw = (random.next_u64() >> 11) as f64 / (1u64 << 53) as f64;
                if draw < hold_out {
                    held_out.push(segment.clone());
                } else if smallest.as_ref().is_none_or(|(least, _)| draw < *least) {
                    smallest = Some((draw, segment.clone()));
                }
            }
            if at - start >= SHARD_CELLS || at == stream.n_cells() {
                shards.push(start..at);
                stream.release(start..at);
                start = at;
            }
        }
        if hold_out > 0.0 && held_out.is_empty() && n_segments > 1 {
            held_out.extend(smallest.map(|(_, segment)| segment));
        } else if held_out.len() as u64 == n_segments {
            held_out.pop();
        }
        Shards { shards, held_out }
    }

    /// The shards, in order.
    pub(crate) fn all(&self) -> &[Range<usize>] {
        &self.shards
    }

    /// The segments that are left out of training, in order.
    pub(crate) fn held_out(&self) -> &[Range<usize>] {
        &self.held_out
    }

    /// Whether the segment that begins at `cell` is held out.
    pub(crate) fn is_held_out(&self, cell: usize) -> bool {
        self.held_out.binary_search_by_key(&cell, |segment| segment.start).is_ok()
    }
}

/// Reads the segment at the start of `cells` into `ids`; returns where it lies, its end mark included.
#[inline(always)]
pub(crate) fn next_segment(stream: &IdStream, cells: Range<usize>, ids: &mut Vec<TokenId>) -> Range<usize> {
    ids.clear();
    let limit = cells.end.min(cells.start + SEGMENT_IDS);
    let passed = stream.stretch(cells.start..limit, ids);
    cells.start..cells.start + passed
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::tokens::IdStreamBuilder;

    fn stream(sentence_lengths: &[usize]) -> IdStream {
        let mut builder = IdStreamBuilder::new(10, Path::new("."));
        for &length in sentence_lengths {
            builder.push(&vec![TokenId(3); length]).unwrap();
            builder.end_sentence().unwrap();
        }
        builder.finish().unwrap()
    }

    #[test]
    fn every_id_is_in_one_segment_of_one_shard_also_without_line_ends() {
        for lengths in [&[250_000][..], &[20; 30_000], &[10_000, 1, 9_999, 10_001]] {
            let stream = stream(lengths);
            let shards = Shards::cut(&stream, 0.01, 1);
            let (mut seen, mut ids, mut end) = (0, Vec::new(), 0);
            for shard in shards.all() {
                assert_eq!(shard.start, end);
                end = shard.end;
                let mut at = shard.start;
                while at < shard.end {
                    at = next_segment(&stream, at..shard.end, &mut ids).end;
                    seen += ids.len();
                    assert!(ids.len() <= SEGMENT_IDS);
                }
            }
            assert_eq!((seen, end), (lengths.iter().sum(), stream.n_cells()));
        }
    }

    #[test]
    fn about_the_asked_share_is_held_out_and_never_all_or_nothing() {
        let held = |lengths: &[usize], share| Shards::cut(&stream(lengths), share, 1).held_out().len();
        let n = held(&[20; 30_000], 0.01);
        assert!((220..380).contains(&n), "{n} of 300 expected, standard deviation 17");
        assert_eq!(held(&[20; 30], 0.0), 0);
        assert_eq!(held(&[20; 30], 1e-9), 1);
        assert_eq!(held(&[20; 2], 0.5).clamp(1, 1), held(&[20; 2], 0.5));
        assert_eq!(held(&[20], 0.5), 0);
    }
}
