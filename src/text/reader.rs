//! Sources → chunks, batch by batch.
//!
//! In: the sources of a corpus. Out: their text in order, cut. Plain text stays where it is mapped; of a compressed one,
//! no more is decompressed than the next cut needs.

use crate::error::Result;
use crate::text::chunks::{Chunk, ChunkSizes, ChunkText, LongLines, chunk_end};
use crate::text::recognize::UTF8_BYTE_ORDER_MARK;
use crate::text::source::{Source, Text};

/// Chunks that are handed out together.
#[derive(Default)]
pub(super) struct Batch {
    pub chunks: Vec<Chunk>,
    /// How many bytes of the files on disk are read with it.
    pub end: u64,
    /// The number of a file with a line in these chunks that is cut and should not be.
    pub torn: Option<usize>,
}

/// Cuts one source after the other.
pub(super) struct ChunkReader<'a> {
    sources: std::slice::Iter<'a, Source>,
    long_lines: LongLines,
    sizes: ChunkSizes,
    current: Option<(&'a Source, Cutter)>,
    /// Bytes on disk of the sources that are done, and how many these are.
    done_bytes: u64,
    n_done: usize,
}

impl<'a> ChunkReader<'a> {
    pub fn new(sources: &'a [Source], long_lines: LongLines, sizes: ChunkSizes) -> ChunkReader<'a> {
        ChunkReader { sources: sources.iter(), long_lines, sizes, current: None, done_bytes: 0, n_done: 0 }
    }

    /// The next chunks, about as many as keep all threads busy; none at the end of the last source.
    pub fn next_batch(&mut self) -> Result<Batch> {
        // Two chunks for every thread: who is done early takes another one.
        let enough_bytes = 2 * rayon::current_num_threads() * self.sizes.target;
        // Every small file is a chunk and an open file of its own; two batches stay far below the usual limit of 1024.
        let enough_chunks = 128;
        let mut batch = Batch::default();
        let mut n_bytes = 0;
        while n_bytes < enough_bytes && batch.chunks.len() < enough_chunks {
            let Some((chunk, tears)) = self.next_chunk()? else { break };
            n_bytes += chunk.bytes().len();
            batch.torn = tears.then_some(chunk.file).or(batch.torn);
            batch.chunks.push(chunk);
        }
        batch.end = self.done_bytes + self.current.as_ref().map_or(0, |(_, cutter)| cutter.position());
        Ok(batch)
    }

    /// The next chunk, and whether its last line is cut and should not be.
    fn next_chunk(&mut self) -> Result<Option<(Chunk, bool)>> {
        loop {
            let (source, cutter) = match &mut self.current {
                Some(current) => current,
                none => {
                    let Some(source) = self.sources.next() else { return Ok(None) };
                    none.insert((source, Cutter::new(source.open()?)))
                }
            };
            if let Some((mut chunk, tears)) = cutter.next_chunk(self.long_lines, self.sizes)? {
                chunk.file = self.n_done;
                return Ok(Some((chunk, tears)));
            }
            self.done_bytes += source.size_bytes;
            self.n_done += 1;
            self.current = None;
        }
    }
}

/// A text that is being cut, and how far.
struct Cutter {
    text: Text,
    /// Where the next chunk of a plain text begins.
    at: usize,
    /// What is decompressed and not yet handed out.
    buffer: Vec<u8>,
    buffer_is_last: bool,
    /// Nothing is decompressed yet.
    is_start: bool,
}

impl Cutter {
    fn new(text: Text) -> Cutter {
        Cutter { text, at: 0, buffer: Vec::new(), buffer_is_last: false, is_start: true }
    }

    /// The next chunk, and whether its last line is cut and should not be.
    fn next_chunk(&mut self, long_lines: LongLines, sizes: ChunkSizes) -> Result<Option<(Chunk, bool)>> {
        match &mut self.text {
            Text::Plain(text) => {
                text.check()?;
                if self.at == 0 && text.starts_with(UTF8_BYTE_ORDER_MARK) {
                    self.at = UTF8_BYTE_ORDER_MARK.len();
                }
                let Some(end) = chunk_end(&text[self.at..], true, long_lines, sizes).filter(|end| end.len > 0) else {
                    return Ok(None);
                };
                let range = self.at..self.at + end.len;
                self.at = range.end;
                let goes_on = range.end < text.len();
                Ok(Some((Chunk::new(ChunkText::Mapped(text.clone(), range), goes_on), end.tears)))
            }
            Text::Compressed(text) => loop {
                if let Some(end) = chunk_end(&self.buffer, self.buffer_is_last, long_lines, sizes) {
                    if end.len == 0 {
                        return Ok(None);
                    }
                    let rest = self.buffer[end.len..].to_vec();
                    self.buffer.truncate(end.len);
                    let chunk = std::mem::replace(&mut self.buffer, rest);
                    let goes_on = !(self.buffer_is_last && self.buffer.is_empty());
                    return Ok(Some((Chunk::new(ChunkText::Owned(chunk), goes_on), end.tears)));
                }
                // Twice as much when that was not enough, so that long lines are searched twice at most.
                let wanted = (2 * self.buffer.len()).max(sizes.target + UTF8_BYTE_ORDER_MARK.len() + 1);
                let missing = wanted - self.buffer.len();
                self.buffer_is_last = text.read(missing, &mut self.buffer)? < missing;
                if std::mem::take(&mut self.is_start) && self.buffer.starts_with(UTF8_BYTE_ORDER_MARK) {
                    self.buffer.drain(..UTF8_BYTE_ORDER_MARK.len());
                }
            },
        }
    }

    /// How many bytes on disk are read.
    fn position(&self) -> u64 {
        match &self.text {
            Text::Plain(_) => self.at as u64,
            Text::Compressed(text) => text.position(),
        }
    }
}
