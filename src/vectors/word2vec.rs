//! word2vec's files, text and binary, and GloVe's: what they share, and how they are told apart.
//!
//! In: bytes. Out: [`Embeddings`] and warnings, or an error that names the row.
//!
//! ```text
//! text      3 4\n             rows and numbers per row; GloVe leaves this line out
//!           the 0.1 -0.2 3 4e-5\n
//! binary    3 4\n
//!           the <4 little-endian f32>\n     gensim leaves the line end out
//! ```
//!
//! Nothing in these files says how long they are, so everything is held against the bytes that are there: the header
//! before anything is allocated, then row by row.

use std::borrow::Cow;
use std::path::Path;

use crate::error::{Error, Result};
use crate::files::FileBytes;
use crate::tokens::TokenId;
use crate::vectors::embeddings::{Embeddings, Rows, printable};
use crate::vectors::names::Names;
use crate::vectors::{word2vec_binary, word2vec_text};

/// The longest word that is read, in bytes; whatever is longer is a file that is not what it seems.
pub(crate) const LONGEST_WORD: usize = 1 << 16;

/// What to do about rows that are not as they should be.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ReadOptions {
    /// Leave out rows that are cut short or unreadable, and don't ask for as many as the header says, instead of
    /// refusing the file.
    pub salvage: bool,
    /// Leave out rows that hold NaN or infinity instead of refusing the file.
    pub drop_nonfinite: bool,
}

/// How the bytes are laid out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layout {
    /// Lines of text after a line `rows dim`.
    TextWithHeader,
    /// Lines of text and nothing else, as GloVe writes them.
    TextWithoutHeader,
    /// Words and little-endian `f32` after a line `rows dim`.
    Binary,
}

/// What the header says, checked against the size of the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Header {
    pub n_rows: usize,
    pub dim: usize,
    /// Where the first row begins.
    pub body: usize,
}

/// What was read.
pub(crate) struct Reading {
    pub embeddings: Embeddings,
    pub warnings: Vec<String>,
}

/// Tells which of the layouts these bytes have, and reads them.
pub(crate) fn read(bytes: &[u8], path: &Path, options: ReadOptions) -> Result<(Layout, Reading)> {
    let fault = |reason: String| Error::format(path, reason);
    if bytes[text_start(bytes)..].trim_ascii().is_empty() {
        return Err(fault("is empty, expected vectors".to_string()));
    }
    let header = header(bytes).map_err(fault)?;
    let layout = match header {
        Some(header) if is_text(&bytes[header.body..], header.dim) => Layout::TextWithHeader,
        Some(_) => Layout::Binary,
        None => Layout::TextWithoutHeader,
    };
    let reading = match (layout, header) {
        (Layout::Binary, Some(header)) => word2vec_binary::read(bytes, header, options),
        (_, header) => word2vec_text::read(bytes, header, options),
    };
    Ok((layout, reading.map_err(fault)?))
}

/// Reads a file of vectors in any of word2vec's layouts or GloVe's.
pub fn read_word2vec(path: &Path, options: ReadOptions) -> Result<(Embeddings, Vec<String>)> {
    let bytes = FileBytes::open(path)?;
    let (_, reading) = read(&bytes, path, options)?;
    Ok((reading.embeddings, reading.warnings))
}

/// The line `rows dim`, if the file begins with one.
///
/// A first line of two fields with a digit in them is a header, a faulty one if they are not both whole numbers; unless
/// it reads as a word with one number and the second line has two fields as well: that is GloVe's layout in one dimension.
fn header(bytes: &[u8]) -> Result<Option<Header>, String> {
    let start = text_start(bytes);
    // A first line without an end within so many bytes is no header.
    let window = &bytes[start..bytes.len().min(start + (1 << 12))];
    let mut lines = window.splitn(3, |&byte| byte == b'\n');
    let (first, second) = (lines.next().unwrap_or_default(), lines.next());
    let mut fields = fields(first);
    let (Some(rows), Some(dim), None) = (fields.next(), fields.next(), fields.next()) else {
        return Ok(None);
    };
    if ![rows, dim].iter().any(|field| field.iter().any(u8::is_ascii_digit)) {
        return Ok(None);
    }
    let has_digits_only = |field: &[u8]| field.iter().all(u8::is_ascii_digit);
    let looks_like_a_row = !(has_digits_only(rows) && has_digits_only(dim))
        && word2vec_text::number(dim).is_some()
        && second.is_none_or(|line| matches!(self::fields(line).count(), 0 | 2));
    if looks_like_a_row {
        return Ok(None);
    }
    let shown = shortened(first);
    let whole = |field: &[u8]| {
        let digits = std::str::from_utf8(field).ok().filter(|_| has_digits_only(field))?;
        // Digits that don't fit are a number all the same, as large as can be.
        Some(digits.parse::<usize>().unwrap_or(usize::MAX))
    };
    let (Some(n_rows @ 1..), Some(dim @ 1..)) = (whole(rows), whole(dim)) else {
        return Err(format!("the first line '{shown}' is not two numbers of at least 1: rows, numbers per row"));
    };
    let body = (start + first.len() + 1).min(bytes.len());
    // In text a number takes two bytes at least, in binary four.
    if dim > (bytes.len() - body) / 2 {
        let available = bytes.len() - body;
        return Err(format!(
            "the header '{shown}' says {dim} numbers per row, but only {available} bytes follow (is the file cut short?)"
        ));
    }
    Ok(Some(Header { n_rows, dim, body }))
}

/// Refuses a header that says more rows than there is room for; `smallest_row` is the fewest bytes that a row takes.
pub(crate) fn check_room(header: Header, available: usize, smallest_row: usize) -> Result<(), String> {
    let room = available / smallest_row;
    if header.n_rows > room {
        return Err(format!(
            "the header says {} rows of {} numbers, the file has room for {room} at most (is it cut short? --salvage \
             keeps the complete rows)",
            header.n_rows, header.dim
        ));
    }
    Ok(())
}

/// Whether what follows the header is text: its first lines are rows, or the first looks like one with a fault.
///
/// What follows the first word is either numbers in digits or the bytes of `f32`: of the bytes up to the line end, and
/// at most `4 dim`, nearly all, or about one in sixteen, can stand in a decimal number. A few bytes may look like a
/// number by chance, so nothing further on may be a control character, as every ninth byte of an `f32` is.
fn is_text(body: &[u8], dim: usize) -> bool {
    let body = body.trim_ascii_start();
    let mut first_lines = body.trim_ascii_end().split(|&byte| byte == b'\n').take(3);
    if first_lines.all(|line| word2vec_text::is_row(line, dim)) {
        return true;
    }
    let is_control = |byte: &u8| byte.is_ascii_control() && !matches!(byte, b'\t' | b'\n' | b'\r');
    if body.iter().take(1 << 12).any(is_control) {
        return false;
    }
    let Some(space) = body.iter().take(LONGEST_WORD).position(|&byte| byte == b' ') else {
        return false;
    };
    let numbers = &body[space + 1..];
    let numbers = &numbers[..numbers.len().min(dim.saturating_mul(4)).min(1024)];
    let numbers = numbers.split(|&byte| byte == b'\n').next().unwrap_or_default();
    let decimal = |byte: &&u8| matches!(byte, b'0'..=b'9' | b'.' | b'e' | b'E' | b'+' | b'-' | b' ');
    2 * numbers.iter().filter(decimal).count() > numbers.len()
}

/// Where the text begins: after a byte order mark, if there is one.
pub(crate) fn text_start(bytes: &[u8]) -> usize {
    if bytes.starts_with(b"\xef\xbb\xbf") { 3 } else { 0 }
}

/// The fields of a line, parted by blanks.
pub(crate) fn fields(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    line.split(|byte| matches!(byte, b' ' | b'\t' | b'\r')).filter(|field| !field.is_empty())
}

/// Bytes as text, at most some sixty characters of it, for messages.
pub(crate) fn shortened(bytes: &[u8]) -> String {
    let text = printable(&bytes[..bytes.len().min(240)]);
    let text = text.trim_end();
    match text.char_indices().nth(60) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None if bytes.len() > 240 => format!("{text}…"),
        None => text.to_string(),
    }
}

/// The rows in the order in which they are written, once it is certain that they can be.
pub(crate) fn rows_to_write(embeddings: &Embeddings, path: &Path) -> Result<Vec<u32>> {
    let rows = embeddings.by_falling_count();
    if rows.is_empty() || embeddings.dim() == 0 {
        return Err(Error::format(path, "there are no vectors to write"));
    }
    let cannot_stand = |&&row: &&u32| {
        let name = written_name(embeddings, row as usize);
        name.len() > LONGEST_WORD || name.iter().any(|byte| matches!(byte, b' ' | b'\n'))
    };
    if let Some(&row) = rows.iter().find(cannot_stand) {
        let others = rows.iter().filter(cannot_stand).count() - 1;
        return Err(Error::format(
            path,
            format!(
                "the word '{}' (and {others} more) holds a space or a line end or is longer than {LONGEST_WORD} bytes: \
                 word2vec's files cannot carry it; write a model folder instead",
                shortened(embeddings.bytes(row as usize))
            ),
        ));
    }
    if let Some(&row) = rows.iter().find(|&&row| embeddings.row(row as usize).iter().any(|x| !x.is_finite())) {
        let word = shortened(embeddings.bytes(row as usize));
        return Err(Error::format(path, format!("the vector of '{word}' has NaN or infinity: no file is written")));
    }
    Ok(rows)
}

/// What a row is called in word2vec's files: a token's spelling in `tokenizer.json`, another name as it is.
pub(crate) fn written_name(embeddings: &Embeddings, row: usize) -> Cow<'_, [u8]> {
    match embeddings.tokenizer() {
        Some(tokenizer) => Cow::Owned(tokenizer.spelling(TokenId(row as u32)).into_bytes()),
        None => Cow::Borrowed(embeddings.bytes(row)),
    }
}

/// Rows as they are read: takes the good ones, counts the others.
pub(crate) struct Intake {
    names: Names,
    numbers: Vec<f32>,
    dim: usize,
    options: ReadOptions,
    duplicates: Skipped,
    nonfinite: Skipped,
    broken: Skipped,
    warnings: Vec<String>,
}

/// Rows that were left out, and the first of them.
#[derive(Default)]
struct Skipped {
    count: usize,
    first: Option<String>,
}

impl Skipped {
    fn add(&mut self, describe: impl FnOnce() -> String) {
        self.count += 1;
        self.first.get_or_insert_with(describe);
    }

    fn warning(&self, what: &str) -> Option<String> {
        let first = self.first.as_ref()?;
        let rows = if self.count == 1 { "row" } else { "rows" };
        Some(format!("left out {} {rows} {what}; the first: {first}", self.count))
    }
}

impl Intake {
    /// `expected` rows that the file is known to have room for.
    pub fn new(dim: usize, expected: usize, options: ReadOptions) -> Intake {
        let numbers = Vec::with_capacity(expected.saturating_mul(dim));
        let [duplicates, nonfinite, broken] = std::array::from_fn(|_| Skipped::default());
        Intake { names: Names::default(), numbers, dim, options, duplicates, nonfinite, broken, warnings: Vec::new() }
    }

    /// Takes row number `row` (from 1) of the file.
    ///
    /// # Errors
    /// NaN or infinity, unless [`ReadOptions::drop_nonfinite`].
    pub fn take(&mut self, row: usize, word: &[u8], numbers: &[f32]) -> Result<(), String> {
        assert_eq!(numbers.len(), self.dim);
        if let Some(place) = numbers.iter().position(|x| !x.is_finite()) {
            let (word, x) = (shortened(word), numbers[place]);
            let describe = || format!("row {row} ('{word}') has {x} at number {}", place + 1);
            if !self.options.drop_nonfinite {
                return Err(format!("{}, expected finite numbers (--drop-nonfinite leaves such rows out)", describe()));
            }
            self.nonfinite.add(describe);
        } else if self.names.len() >= u32::MAX as usize {
            return Err(format!("has more than {} rows, more than wordgrove can number", u32::MAX));
        } else if self.names.push(word) {
            self.numbers.extend_from_slice(numbers);
        } else {
            self.duplicates.add(|| format!("row {row} ('{}')", shortened(word)));
        }
        Ok(())
    }

    /// Hears of a row that cannot be read: an error, unless [`ReadOptions::salvage`].
    pub fn broken(&mut self, fault: String) -> Result<(), String> {
        if !self.options.salvage {
            return Err(fault);
        }
        self.broken.add(|| fault);
        Ok(())
    }

    /// Hears of something wrong with the whole of the rows: an error, unless [`ReadOptions::salvage`].
    pub fn inconsistent(&mut self, fault: String) -> Result<(), String> {
        if !self.options.salvage {
            return Err(format!("{fault} (--salvage keeps the complete rows)"));
        }
        self.warn(fault);
        Ok(())
    }

    /// Notes something that the user should know.
    pub fn warn(&mut self, warning: String) {
        self.warnings.push(warning);
    }

    /// The table, when there is a row in it.
    pub fn finish(mut self) -> Result<Reading, String> {
        if self.names.len() == 0 {
            return Err(match self.broken.first.or(self.nonfinite.first) {
                Some(first) => format!("no row can be used; the first: {first}"),
                None => "has no rows".to_string(),
            });
        }
        let skipped = [
            self.duplicates.warning("whose word had come before"),
            self.nonfinite.warning("with NaN or infinity"),
            self.broken.warning("that cannot be read"),
        ];
        self.warnings.extend(skipped.into_iter().flatten());
        self.numbers.shrink_to_fit();
        let rows = Rows::new(self.numbers, self.names.len(), self.dim);
        Ok(Reading { embeddings: Embeddings::from_names(self.names, rows), warnings: self.warnings })
    }
}
