//! Text cut into pieces for the workers.
//!
//! In: the text of a file, as much of it as is at hand. Out: how long the next chunk is; and, of a chunk, its lines.
//!
//! A chunk ends after a line end if it can. A line that is longer than a chunk may be cut before a space that follows
//! something else than white space, where whoever works on the chunks begins anew at such a space anyhow; [`LongLines`]
//! says whether they do. Only a line with no place to cut it for [`ChunkSizes::most`] bytes is cut between any two
//! characters: memory goes before it, and the corpus says so.

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
/// per worker. Sixty-four megabytes are a long line even for a genome or for all the books of a language without spaces,
/// and memory that a machine has.
pub(super) const CHUNK_SIZES: ChunkSizes = ChunkSizes { target: 1 << 20, most: 64 << 20 };

/// What becomes of a line that is longer than a chunk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LongLines {
    /// It is cut before a space that follows something else than white space. Right for words between spaces, and for
    /// patterns that begin a new piece at every such space.
    Cut,
    /// It is one chunk, up to 64 MiB.
    Whole,
}

/// Where a chunk ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ChunkEnd {
    /// The length of the chunk.
    pub len: usize,
    /// Whether a line is cut there that should not be.
    pub tears: bool,
}

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

/// Where the first chunk of `text` ends, or `None` when more of the text must be at hand to tell.
///
/// `text_is_whole`: nothing follows `text` in its file. Then the answer is never `None`.
pub(super) fn chunk_end(
    text: &[u8],
    text_is_whole: bool,
    long_lines: LongLines,
    sizes: ChunkSizes,
) -> Option<ChunkEnd> {
    let ChunkSizes { target, most } = sizes;
    let whole = |len| Some(ChunkEnd { len, tears: false });
    let all_that_there_is = if text_is_whole { whole(text.len()) } else { None };
    if text.len() <= target {
        return all_that_there_is;
    }
    if let Some(end) = text[..target].iter().rposition(|&byte| byte == b'\n') {
        return whole(end + 1);
    }
    let is_cut = |at: usize| long_lines == LongLines::Cut && is_good_cut(text, at);
    if let Some(cut) = (1..target).rev().find(|&at| is_cut(at)) {
        return whole(cut);
    }
    let place = (target..text.len().min(most)).find(|&at| text[at] == b'\n' || is_cut(at));
    if let Some(at) = place {
        return whole(if text[at] == b'\n' { at + 1 } else { at });
    }
    if text.len() <= most {
        return all_that_there_is;
    }
    if text[most] == b'\n' {
        // Also keeps `\r` and `\n` together.
        return whole(most + 1);
    }
    let is_continuation = |at: usize| text[at] & 0b1100_0000 == 0b1000_0000;
    // Four bytes are the longest character; what has more continuation bytes in a row is no UTF-8 and has no borders.
    let len = (most.saturating_sub(3).max(1)..=most).rev().find(|&at| !is_continuation(at)).unwrap_or(most);
    Some(ChunkEnd { len, tears: true })
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

    /// Where a chunk ends whose lines may be cut.
    fn cut(text: &[u8], text_is_whole: bool) -> Option<ChunkEnd> {
        chunk_end(text, text_is_whole, LongLines::Cut, SMALL)
    }

    fn at(len: usize) -> Option<ChunkEnd> {
        Some(ChunkEnd { len, tears: false })
    }

    fn torn(len: usize) -> Option<ChunkEnd> {
        Some(ChunkEnd { len, tears: true })
    }

    #[test]
    fn chunks_end_after_a_line_else_before_a_word_else_between_characters() {
        assert_eq!(cut(b"ab\ncd\nefgh ijk", true), at(6));
        assert_eq!(cut(b"abc de fgh ijk", true), at(6));
        assert_eq!(cut(b"abcdefghijk lm", true), at(11));
        assert_eq!(cut(b"abcdefghijk\nlm", true), at(12));
        assert_eq!(cut("日本語日本語日本語".as_bytes(), true), torn(24));
        assert_eq!(cut("a日本語日本語日本語".as_bytes(), true), torn(22));
        assert_eq!(cut(&[0x80; 100], true), torn(24));
    }

    #[test]
    fn lines_that_must_stay_whole_are_cut_only_where_they_are_too_long() {
        let whole = |text: &[u8]| chunk_end(text, true, LongLines::Whole, SMALL);
        assert_eq!(whole(b"ab\ncd\nefgh ijk"), at(6));
        assert_eq!(whole(b"abc de fgh ijk"), at(14));
        assert_eq!(whole(b"abc de fgh ijk\nl"), at(15));
        assert_eq!(whole(b"abc de fgh ijk lm nop qr s"), torn(24));
    }

    #[test]
    fn a_space_after_white_space_of_any_kind_is_no_place_to_cut() {
        for white in [" ", "\t", "\u{b}", "\u{85}", "\u{a0}", "\u{2003}", "\u{3000}"] {
            let text = format!("abcde{white} fg");
            assert_ne!(cut(text.as_bytes(), false), at(5 + white.len()), "{white:?}");
        }
        assert_eq!(cut("abc\u{e9} fghi".as_bytes(), true), at(5));
        assert_eq!(cut(b"abc\xff fghij", true), at(4));
    }

    #[test]
    fn more_text_is_asked_for_until_the_cut_is_certain() {
        assert_eq!(cut(b"a\nb", false), None);
        assert_eq!(cut(b"abcdefghijklmn", false), None);
        assert_eq!(cut(b"abcdefghijklmnopqrstuvwx", false), None);
        assert_eq!(cut(b"abcdefghijklmnopqrstuvwx", true), at(24));
        assert_eq!(cut(b"abcdefghijklmnopqrstuvwxy", false), torn(24));
        assert_eq!(cut(b"abcdefghijklmnopqrstuvw\r\n", false), at(25));
    }
}
