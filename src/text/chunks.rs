//! Text cut into pieces for the workers.
//!
//! In: the text of a file, as much of it as is at hand. Out: how long the next chunk is; and, of a chunk, its lines.
//!
//! A chunk ends after a line end if it can. A line that is longer than a chunk is cut before a space that follows
//! something else than white space: every pre-tokenizer here starts a new piece at such a space, so the cut changes
//! nothing. Only a line with no such space for [`ChunkSizes::most`] bytes is cut between any two characters.

use std::ops::Range;
use std::sync::Arc;

use crate::error::Result;
use crate::text::source::PlainText;

/// How long chunks are, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ChunkSizes {
    /// The usual length.
    pub target: usize,
    /// Where a line without a single good place to cut is cut all the same.
    pub most: usize,
}

/// A megabyte keeps a worker busy for tens of milliseconds, long against what handing it out costs, and is little memory
/// per worker. Sixteen megabytes without a space are not prose.
pub(super) const CHUNK_SIZES: ChunkSizes = ChunkSizes { target: 1 << 20, most: 16 << 20 };

/// A piece of a corpus, about a megabyte; never of two files.
#[derive(Debug)]
pub struct Chunk {
    text: ChunkText,
    /// The file goes on behind this chunk.
    goes_on: bool,
    /// Which of the corpus's files it is of, counted from 0.
    pub(super) file: usize,
}

#[derive(Debug)]
pub(super) enum ChunkText {
    Mapped(Arc<PlainText>, Range<usize>),
    Owned(Vec<u8>),
}

/// A line, or the part of a very long line that lies in one chunk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Line<'a> {
    /// The text without its line end (`\n` or `\r\n`; nothing else ends a line).
    pub text: &'a [u8],
    /// `false`: the line goes on in the next chunk.
    pub ends: bool,
}

impl Chunk {
    pub(super) fn new(text: ChunkText, goes_on: bool) -> Chunk {
        Chunk { text, goes_on, file: 0 }
    }

    /// Which of the corpus's files it is of, for [`Corpus::path`](crate::text::Corpus::path).
    pub fn file(&self) -> usize {
        self.file
    }

    /// The text as it is in the file, line ends included. The chunks of a file, one after the other, are the file.
    pub fn bytes(&self) -> &[u8] {
        match &self.text {
            ChunkText::Mapped(text, range) => &text[range.clone()],
            ChunkText::Owned(text) => text,
        }
    }

    /// The lines, without their ends. A last line that has no line end counts; what follows the last line end does
    /// not when it is empty.
    pub fn lines(&self) -> impl Iterator<Item = Line<'_>> {
        let mut rest = self.bytes();
        std::iter::from_fn(move || {
            if rest.is_empty() {
                return None;
            }
            let Some(end) = rest.iter().position(|&byte| byte == b'\n') else {
                let text = std::mem::take(&mut rest);
                return Some(Line { text, ends: !self.goes_on });
            };
            let text = &rest[..end];
            rest = &rest[end + 1..];
            Some(Line { text: text.strip_suffix(b"\r").unwrap_or(text), ends: true })
        })
    }

    /// Lets the memory of a mapped chunk go, until it is read again.
    pub(super) fn release(&self) {
        if let ChunkText::Mapped(text, range) = &self.text {
            text.release(range.clone());
        }
    }

    /// Fails when the file behind a mapped chunk has become shorter, so that its bytes may no longer be there.
    pub(super) fn check(&self) -> Result<()> {
        match &self.text {
            ChunkText::Mapped(text, _) => text.check(),
            ChunkText::Owned(_) => Ok(()),
        }
    }
}

/// The length of the first chunk of `text`, or `None` when more of the text must be at hand to tell.
///
/// `text_is_whole`: nothing follows `text` in its file. Then the answer is never `None`.
pub(super) fn chunk_len(text: &[u8], text_is_whole: bool, sizes: ChunkSizes) -> Option<usize> {
    let ChunkSizes { target, most } = sizes;
    if text.len() <= target {
        return text_is_whole.then_some(text.len());
    }
    if let Some(end) = text[..target].iter().rposition(|&byte| byte == b'\n') {
        return Some(end + 1);
    }
    if let Some(cut) = (1..target).rev().find(|&at| is_good_cut(text, at)) {
        return Some(cut);
    }
    for at in target..text.len().min(most) {
        if text[at] == b'\n' {
            return Some(at + 1);
        }
        if is_good_cut(text, at) {
            return Some(at);
        }
    }
    if text.len() <= most {
        return text_is_whole.then_some(text.len());
    }
    if text[most] == b'\n' {
        // Also keeps `\r` and `\n` together.
        return Some(most + 1);
    }
    let is_continuation = |at: usize| text[at] & 0b1100_0000 == 0b1000_0000;
    // Four bytes are the longest character; what has more continuation bytes in a row is no UTF-8 and has no borders.
    Some((most.saturating_sub(3).max(1)..=most).rev().find(|&at| !is_continuation(at)).unwrap_or(most))
}

/// Whether a space at `at` follows something else than white space.
fn is_good_cut(text: &[u8], at: usize) -> bool {
    text[at] == b' ' && !ends_in_white_space(&text[..at])
}

fn ends_in_white_space(text: &[u8]) -> bool {
    let start = (text.len().saturating_sub(4)..text.len()).rev().find(|&at| text[at] & 0b1100_0000 != 0b1000_0000);
    let last = start.and_then(|start| std::str::from_utf8(&text[start..]).ok()).and_then(|last| last.chars().next());
    last.is_some_and(char::is_whitespace)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SMALL: ChunkSizes = ChunkSizes { target: 8, most: 24 };

    fn owned(text: &[u8], goes_on: bool) -> Chunk {
        Chunk::new(ChunkText::Owned(text.to_vec()), goes_on)
    }

    #[test]
    fn only_line_feeds_end_lines_and_a_carriage_return_before_one_goes_with_it() {
        let chunk = owned("a b\r\n\nc\rd\u{2028}e\u{85}f\r\r\n \0\nlast".as_bytes(), false);
        let lines: Vec<&[u8]> = chunk.lines().map(|line| line.text).collect();
        assert_eq!(lines, [b"a b" as &[u8], b"", "c\rd\u{2028}e\u{85}f\r".as_bytes(), b" \0", b"last"]);
        assert!(chunk.lines().all(|line| line.ends));
    }

    #[test]
    fn a_cut_line_says_so_and_a_line_end_at_the_end_adds_no_line() {
        assert_eq!(owned(b"a\nb", true).lines().map(|line| line.ends).collect::<Vec<_>>(), [true, false]);
        assert_eq!(owned(b"a\nb\n", true).lines().map(|line| line.ends).collect::<Vec<_>>(), [true, true]);
        assert_eq!(owned(b"", false).lines().count(), 0);
    }

    #[test]
    fn chunks_end_after_a_line_else_before_a_word_else_between_characters() {
        assert_eq!(chunk_len(b"ab\ncd\nefgh ijk", true, SMALL), Some(6));
        assert_eq!(chunk_len(b"abc de fgh ijk", true, SMALL), Some(6));
        assert_eq!(chunk_len(b"abcdefghijk lm", true, SMALL), Some(11));
        assert_eq!(chunk_len(b"abcdefghijk\nlm", true, SMALL), Some(12));
        assert_eq!(chunk_len("日本語日本語日本語".as_bytes(), true, SMALL), Some(24));
        assert_eq!(chunk_len("a日本語日本語日本語".as_bytes(), true, SMALL), Some(22));
        assert_eq!(chunk_len(&[0x80; 100], true, SMALL), Some(24));
    }

    #[test]
    fn a_space_after_white_space_of_any_kind_is_no_place_to_cut() {
        for white in [" ", "\t", "\u{b}", "\u{85}", "\u{a0}", "\u{2003}", "\u{3000}"] {
            let text = format!("abcde{white} fg");
            assert_ne!(chunk_len(text.as_bytes(), false, SMALL), Some(5 + white.len()), "{white:?}");
        }
        assert_eq!(chunk_len("abc\u{e9} fghi".as_bytes(), true, SMALL), Some(5));
        assert_eq!(chunk_len(b"abc\xff fghij", true, SMALL), Some(4));
    }

    #[test]
    fn more_text_is_asked_for_until_the_cut_is_certain() {
        assert_eq!(chunk_len(b"a\nb", false, SMALL), None);
        assert_eq!(chunk_len(b"abcdefghijklmn", false, SMALL), None);
        assert_eq!(chunk_len(b"abcdefghijklmnopqrstuvwx", false, SMALL), None);
        assert_eq!(chunk_len(b"abcdefghijklmnopqrstuvwx", true, SMALL), Some(24));
        assert_eq!(chunk_len(b"abcdefghijklmnopqrstuvwxy", false, SMALL), Some(24));
        assert_eq!(chunk_len(b"abcdefghijklmnopqrstuvw\r\n", false, SMALL), Some(25));
    }
}
