//! The encoded corpus: every sentence's ids, one after the other.
//!
//! In: sentences of ids. Out: a flat array of 16- or 32-bit numbers, in memory or mapped from a temporary file, that
//! the trainer reads once per epoch. 16 bits hold vocabularies below 65,535 tokens, the largest number marks the end of
//! a sentence, so a corpus of 14 million words is 28 MB.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::files::{FileBytes, Hashed};
use crate::tokens::TokenId;

/// Streams up to this size stay in memory; longer ones go to a temporary file.
const IN_MEMORY_BYTES: usize = 1 << 26;

/// What goes to the temporary file at once, when there is one.
const PART_BYTES: usize = 1 << 20;

/// A corpus as ids, with the count of each.
#[derive(Debug)]
pub struct IdStream {
    cells: Cells,
    counts: Vec<u64>,
    n_ids: u64,
    n_sentences: u64,
}

#[derive(Debug)]
enum Cells {
    Narrow(FileBytes),
    Wide(FileBytes),
}

impl IdStream {
    /// Occurrences of each token, by [`TokenId`].
    pub fn counts(&self) -> &[u64] {
        &self.counts
    }

    /// How many ids the corpus has.
    pub fn n_ids(&self) -> u64 {
        self.n_ids
    }

    /// How many sentences have at least one id.
    pub fn n_sentences(&self) -> u64 {
        self.n_sentences
    }

    /// Ids and sentence ends together: the length that [`stretch`](Self::stretch) counts in.
    pub fn n_cells(&self) -> usize {
        match &self.cells {
            Cells::Narrow(bytes) => bytes.len() / 2,
            Cells::Wide(bytes) => bytes.len() / 4,
        }
    }

    /// Size of the stream in bytes.
    pub fn size_bytes(&self) -> usize {
        match &self.cells {
            Cells::Narrow(bytes) | Cells::Wide(bytes) => bytes.len(),
        }
    }

    /// A checksum of all ids, sentence ends and counts: streams that have it in common are the same.
    pub fn fingerprint(&self) -> String {
        let (cells, width) = match &self.cells {
            Cells::Narrow(bytes) => (bytes, 2),
            Cells::Wide(bytes) => (bytes, 4),
        };
        let mut all = Hashed::new(io::sink());
        let mut put = |bytes: &[u8]| all.write_all(bytes).expect("a sink takes everything");
        put(&[width]);
        put(&(self.counts.len() as u64).to_le_bytes());
        self.counts.iter().for_each(|count| put(&count.to_le_bytes()));
        // Bit by bit, so that a stream in a file does not count as memory in use.
        for start in (0..cells.len()).step_by(1 << 22) {
            let end = cells.len().min(start + (1 << 22));
            put(&cells[start..end]);
            cells.release(start..end);
        }
        all.finish().1
    }

    /// Says that `cells` will not be read again soon, so that a stream in a file does not count as memory in use.
    pub fn release(&self, cells: Range<usize>) {
        match &self.cells {
            Cells::Narrow(bytes) => bytes.release(2 * cells.start..2 * cells.end),
            Cells::Wide(bytes) => bytes.release(4 * cells.start..4 * cells.end),
        }
    }

    /// Appends the ids of `cells` up to the first sentence end or the end of the range; returns how many cells were
    /// passed, the end mark included.
    ///
    /// # Panics
    /// When the range reaches beyond [`n_cells`](Self::n_cells).
    pub fn stretch(&self, cells: Range<usize>, ids: &mut Vec<TokenId>) -> usize {
        fn until_end<T: bytemuck::Pod + Copy + PartialEq + Into<u32>>(
            cells: &[T],
            end: T,
            ids: &mut Vec<TokenId>,
        ) -> usize {
            let n_ids = cells.iter().position(|&cell| cell == end).unwrap_or(cells.len());
            ids.extend(cells[..n_ids].iter().map(|&cell| TokenId(cell.into())));
            cells.len().min(n_ids + 1)
        }
        match &self.cells {
            Cells::Narrow(bytes) => until_end(&bytemuck::cast_slice(bytes)[cells], u16::MAX, ids),
            Cells::Wide(bytes) => until_end(&bytemuck::cast_slice(bytes)[cells], u32::MAX, ids),
        }
    }
}

/// Collects sentences into an [`IdStream`].
#[derive(Debug)]
pub struct IdStreamBuilder {
    counts: Vec<u64>,
    n_ids: u64,
    n_sentences: u64,
    in_sentence: bool,
    // The part that is not written to a file yet, in whole cells.
    cells: PendingCells,
    spool_folder: PathBuf,
    spool: Option<BufWriter<File>>,
}

#[derive(Debug)]
enum PendingCells {
    Narrow(Vec<u16>),
    Wide(Vec<u32>),
}

impl IdStreamBuilder {
    /// Begins a stream over a vocabulary of `n_tokens`. A long stream goes to an unnamed temporary file in
    /// `spool_folder`, which vanishes with the process, however that ends.
    pub fn new(n_tokens: usize, spool_folder: &Path) -> IdStreamBuilder {
        let cells = if n_tokens <= usize::from(u16::MAX) {
            PendingCells::Narrow(Vec::new())
        } else {
            PendingCells::Wide(Vec::new())
        };
        IdStreamBuilder {
            counts: vec![0; n_tokens],
            n_ids: 0,
            n_sentences: 0,
            in_sentence: false,
            cells,
            spool_folder: spool_folder.to_path_buf(),
            spool: None,
        }
    }

    /// Appends ids to the current sentence.
    ///
    /// # Errors
    /// [`Error::Io`] when the temporary file cannot be written.
    ///
    /// # Panics
    /// When an id is not below `n_tokens`.
    pub fn push(&mut self, ids: &[TokenId]) -> Result<()> {
        for id in ids {
            self.counts[id.index()] += 1;
        }
        match &mut self.cells {
            // Lossless: an id is below `n_tokens`, as its count just was found, and that is at most 65,535.
            PendingCells::Narrow(cells) => cells.extend(ids.iter().map(|id| id.0 as u16)),
            PendingCells::Wide(cells) => cells.extend(ids.iter().map(|id| id.0)),
        }
        self.n_ids += ids.len() as u64;
        self.in_sentence |= !ids.is_empty();
        self.spill_above(if self.spool.is_some() { PART_BYTES } else { IN_MEMORY_BYTES })
    }

    /// Ends the current sentence; a sentence without ids leaves no trace.
    ///
    /// # Errors
    /// [`Error::Io`] when the temporary file cannot be written.
    pub fn end_sentence(&mut self) -> Result<()> {
        if std::mem::take(&mut self.in_sentence) {
            self.n_sentences += 1;
            match &mut self.cells {
                PendingCells::Narrow(cells) => cells.push(u16::MAX),
                PendingCells::Wide(cells) => cells.push(u32::MAX),
            }
        }
        Ok(())
    }

    /// The finished stream.
    ///
    /// # Errors
    /// [`Error::Io`] when the temporary file cannot be written or mapped.
    pub fn finish(mut self) -> Result<IdStream> {
        self.end_sentence()?;
        let bytes = if self.spool.is_some() {
            self.spill_above(0)?;
            let error = Error::io(&self.spool_folder);
            let file = self.spool.take().map(BufWriter::into_inner).transpose().map_err(|e| error(e.into_error()))?;
            file.map(|file| FileBytes::map(&file, &self.spool_folder)).transpose()?
        } else {
            None
        };
        let cells = match self.cells {
            PendingCells::Narrow(cells) => Cells::Narrow(bytes.unwrap_or_else(|| cells.into())),
            PendingCells::Wide(cells) => Cells::Wide(bytes.unwrap_or_else(|| cells.into())),
        };
        Ok(IdStream { cells, counts: self.counts, n_ids: self.n_ids, n_sentences: self.n_sentences })
    }

    /// Moves the pending cells to the temporary file when they are more than `limit` bytes.
    fn spill_above(&mut self, limit: usize) -> Result<()> {
        let pending: &[u8] = match &self.cells {
            PendingCells::Narrow(cells) => bytemuck::cast_slice(cells),
            PendingCells::Wide(cells) => bytemuck::cast_slice(cells),
        };
        if pending.len() <= limit {
            return Ok(());
        }
        let spool = match &mut self.spool {
            Some(spool) => spool,
            none => {
                let file = tempfile::tempfile_in(&self.spool_folder).map_err(Error::io(&self.spool_folder))?;
                none.insert(BufWriter::new(file))
            }
        };
        spool.write_all(pending).map_err(Error::io(&self.spool_folder))?;
        // New ones, so that the first part, which is large, does not stay allocated.
        self.cells = match &self.cells {
            PendingCells::Narrow(_) => PendingCells::Narrow(Vec::with_capacity(PART_BYTES / 2)),
            PendingCells::Wide(_) => PendingCells::Wide(Vec::with_capacity(PART_BYTES / 4)),
        };
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sentences(stream: &IdStream) -> Vec<Vec<u32>> {
        let (mut at, mut all) = (0, Vec::new());
        while at < stream.n_cells() {
            let mut ids = Vec::new();
            at += stream.stretch(at..stream.n_cells(), &mut ids);
            all.push(ids.iter().map(|id| id.0).collect());
        }
        all
    }

    #[test]
    fn sentences_come_back_in_both_widths_from_memory_and_from_a_file() {
        let folder = tempfile::tempdir().unwrap();
        for n_tokens in [300, 65_535, 65_536] {
            let last = n_tokens as u32 - 1;
            for spilled in [false, true] {
                let mut builder = IdStreamBuilder::new(n_tokens, folder.path());
                builder.push(&[TokenId(0), TokenId(last)]).unwrap();
                builder.push(&[TokenId(7)]).unwrap();
                builder.end_sentence().unwrap();
                builder.end_sentence().unwrap(); // an empty sentence
                if spilled {
                    builder.spill_above(0).unwrap();
                }
                builder.push(&[TokenId(last)]).unwrap();
                let stream = builder.finish().unwrap();
                assert_eq!(sentences(&stream), [vec![0, last, 7], vec![last]]);
                assert_eq!((stream.n_ids(), stream.n_sentences()), (4, 2));
                assert_eq!((stream.counts()[0], stream.counts()[last as usize]), (1, 2));
                assert_eq!(stream.size_bytes(), 6 * if n_tokens < 65_536 { 2 } else { 4 });
            }
        }
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "the temporary file has no name");
    }

    #[test]
    fn an_empty_stream_is_empty() {
        let stream = IdStreamBuilder::new(5, Path::new(".")).finish().unwrap();
        assert_eq!((stream.n_ids(), stream.n_sentences(), stream.n_cells()), (0, 0, 0));
    }
}
