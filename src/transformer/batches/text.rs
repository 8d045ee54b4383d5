//! A text as windows, each asked for its next tokens.
//!
//! In: a stretch of an [`IdStream`]. Out: windows of `context_len` ids; at every place of a window the token that follows
//! is asked for. In each epoch the windows begin somewhere else, so that no token is always first in its window, and come
//! in another order.

use std::ops::Range;
use std::sync::Arc;

use rand::RngExt;

use crate::error::{Error, Result};
use crate::tokens::{IdStream, TokenId};
use crate::transformer::batches::{Arranged, Batch, Examples, Order, PaddedIds, stream_fingerprint};

/// Batches of windows of a text.
#[derive(Debug)]
pub struct TextExamples {
    stream: Arc<IdStream>,
    cells: Range<usize>,
    line_end: TokenId,
    context_len: usize,
    batch_size: usize,
    order: Order,
    arranged: Arranged<Windows>,
}

/// The windows of one epoch: where the first begins, and the order in which they come.
#[derive(Debug, Default)]
struct Windows {
    start: usize,
    order: Vec<u32>,
}

impl TextExamples {
    /// Windows of `context_len` over `cells` of a stream, `batch_size` of them in a batch. `line_end` stands where a
    /// sentence of the stream ends. A stretch that is shorter than one window makes one shorter window.
    ///
    /// # Errors
    /// [`Error::TooFew`] for less than two ids.
    pub fn new(
        stream: Arc<IdStream>,
        cells: Range<usize>,
        line_end: TokenId,
        context_len: usize,
        batch_size: usize,
        order: Order,
    ) -> Result<TextExamples> {
        assert!(context_len > 0 && batch_size > 0);
        assert!(cells.end <= stream.n_cells());
        if cells.len() < 2 {
            return Err(Error::TooFew {
                what: "tokens to learn from".into(),
                found: cells.len() as u64,
                needed: 2,
                advice: "give a longer text, or hold out less of it".into(),
            });
        }
        let context_len = context_len.min(cells.len() - 1);
        Ok(TextExamples { stream, cells, line_end, context_len, batch_size, order, arranged: Arranged::default() })
    }

    /// Where windows may begin and end is decided by their number: of a shuffled order one less than fit, so that there
    /// is room to begin elsewhere.
    fn n_windows(&self) -> usize {
        let fit = (self.cells.len() - 1) / self.context_len;
        match self.order {
            Order::Shuffled(_) => fit.saturating_sub(1).max(1),
            // The last window may be shorter, and is read too.
            Order::Fixed => (self.cells.len() - 1).div_ceil(self.context_len),
        }
    }

    /// Reads cells as ids, sentence ends as `line_end`.
    fn read(&self, cells: Range<usize>, row: &mut Vec<TokenId>) {
        row.clear();
        let (mut at, n) = (cells.start, cells.len());
        while at < cells.end {
            let passed = self.stream.stretch(at..cells.end, row);
            at += passed;
            if row.len() < n - (cells.end - at) {
                row.push(self.line_end);
            }
        }
        assert_eq!(row.len(), n);
    }
}

impl Examples for TextExamples {
    fn n_batches(&self) -> usize {
        self.n_windows().div_ceil(self.batch_size)
    }

    fn n_ids(&self) -> u64 {
        (self.n_windows() * self.context_len) as u64
    }

    fn fingerprint(&self) -> u64 {
        stream_fingerprint(&self.stream, self.cells.clone())
    }

    fn batch(&mut self, epoch: u64, number: usize) -> Batch {
        let (n_windows, len, order) = (self.n_windows(), self.context_len, self.order);
        let room = (self.cells.len() - 1).saturating_sub(n_windows * len).min(len - 1);
        let windows = self.arranged.get(epoch, || Windows {
            start: match order {
                Order::Shuffled(_) => order.generator(epoch, 0).random_range(0..=room),
                Order::Fixed => 0,
            },
            order: order.arrange(n_windows, epoch),
        });
        let start = self.cells.start + windows.start;
        let picked = number * self.batch_size..((number + 1) * self.batch_size).min(n_windows);
        let picked: Vec<usize> = windows.order[picked].iter().map(|&window| window as usize).collect();
        let mut row = Vec::new();
        let rows: Vec<Vec<u32>> = picked
            .into_iter()
            .map(|window| {
                let first = start + window * len;
                self.read(first..(first + len + 1).min(self.cells.end), &mut row);
                row.iter().map(|id| id.0).collect()
            })
            .collect();
        let padding = self.line_end.0;
        let input = PaddedIds::new(rows.iter().map(|row| &row[..row.len() - 1]), padding);
        let answers = PaddedIds::new(rows.iter().map(|row| &row[1..]), padding);
        Batch::asking_everywhere(None, input, &answers)
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::tokens::IdStreamBuilder;
    use crate::transformer::batches::NOT_ASKED;

    const LINE_END: u32 = 99;

    /// A stream of sentences of 0, 1, 2 … and what it reads as.
    fn stream(sentence_lengths: &[u32]) -> (Arc<IdStream>, Vec<u32>) {
        let mut builder = IdStreamBuilder::new(100, Path::new("."));
        let mut all = Vec::new();
        for &length in sentence_lengths {
            let ids: Vec<TokenId> = (0..length).map(TokenId).collect();
            builder.push(&ids).unwrap();
            builder.end_sentence().unwrap();
            all.extend(ids.iter().map(|id| id.0));
            all.push(LINE_END);
        }
        (Arc::new(builder.finish().unwrap()), all)
    }

    fn examples(stream: &Arc<IdStream>, cells: Range<usize>, len: usize, order: Order) -> TextExamples {
        TextExamples::new(Arc::clone(stream), cells, TokenId(LINE_END), len, 4, order).unwrap()
    }

    #[test]
    fn in_fixed_order_every_token_but_the_first_is_asked_once() {
        let (stream, all) = stream(&[5, 1, 30, 7, 2, 2]);
        for (cells, len) in [(0..all.len(), 8), (3..all.len() - 2, 5), (0..9, 100), (0..all.len(), 1), (1..3, 4)] {
            let mut examples = examples(&stream, cells.clone(), len, Order::Fixed);
            let mut asked = Vec::new();
            for number in 0..examples.n_batches() {
                let batch = examples.batch(0, number);
                for (place, &target) in batch.targets.iter().enumerate() {
                    let (row, column) = (place / batch.input.n_columns, place % batch.input.n_columns);
                    assert_eq!(target != NOT_ASKED, column < batch.input.lengths[row]);
                    if target != NOT_ASKED {
                        asked.push(target);
                        assert_eq!(batch.input.ids[place], all[cells.start + asked.len() - 1]);
                    }
                }
                assert_eq!(batch, examples.batch(5, number), "the same in every epoch");
            }
            assert_eq!(asked, all[cells.start + 1..cells.end], "{cells:?} in windows of {len}");
        }
    }

    #[test]
    fn a_shuffled_epoch_has_each_window_once_and_the_next_one_begins_elsewhere() {
        let (stream, all) = stream(&[60, 60, 60, 60, 60]);
        let mut examples = examples(&stream, 0..all.len(), 16, Order::Shuffled(3));
        let epoch = |examples: &mut TextExamples, epoch| -> Vec<Vec<u32>> {
            let batches = (0..examples.n_batches()).map(|number| examples.batch(epoch, number)).collect::<Vec<_>>();
            batches.iter().flat_map(|batch| batch.input.ids.chunks(16).map(<[u32]>::to_vec)).collect()
        };
        let (first, second) = (epoch(&mut examples, 0), epoch(&mut examples, 1));
        assert_eq!(first, epoch(&mut examples, 0), "going back gives the same again");
        assert_ne!(first, second);
        for windows in [&first, &second] {
            assert_eq!(windows.len(), 18);
            let starts: std::collections::BTreeSet<usize> = windows
                .iter()
                .map(|window| all.windows(16).position(|at| at == window).expect("a piece of the text"))
                .collect();
            // The sentences are alike, so some windows are found at an earlier place than theirs; none is twice there.
            assert!(starts.len() > 10);
        }
    }

    #[test]
    fn less_than_two_tokens_are_refused() {
        let (stream, _) = stream(&[5]);
        let error = TextExamples::new(stream, 2..3, TokenId(LINE_END), 4, 1, Order::Fixed).unwrap_err();
        assert!(matches!(error, Error::TooFew { found: 1, needed: 2, .. }));
    }
}
