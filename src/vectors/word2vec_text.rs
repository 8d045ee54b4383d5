//! Vectors as lines of text: a word, then its numbers.
//!
//! In: the bytes of a file, read in parallel blocks of lines; out: [`Embeddings`]. And back: rows by falling count, each
//! number in the fewest digits that read back as the same bits.
//!
//! A word may hold spaces (GloVe's `. . .`): the last `dim` fields of a line are its numbers. That would hide a line
//! with a number too many, so a line whose surplus fields are numbers, too, is refused.

use std::io::Write;
use std::path::Path;

use rayon::prelude::*;

use crate::error::Result;
use crate::files::replace_file;
use crate::vectors::embeddings::Embeddings;
use crate::vectors::word2vec::{
    self, Header, Intake, LONGEST_WORD, ReadOptions, Reading, fields, rows_to_write, shortened, text_start,
    written_name,
};

/// Bytes of text that one worker parses at a time.
const BLOCK: usize = 1 << 20;

/// Blocks that are parsed before their rows are collected: bounds the memory beside the table itself.
const BLOCKS_AT_ONCE: usize = 64;

/// Lines that are looked at to learn how many numbers a row has, where no header says it.
const SAMPLE_LINES: usize = 100;

/// Reads the lines after `header`, or the whole file when there is none.
pub(crate) fn read(bytes: &[u8], header: Option<Header>, options: ReadOptions) -> Result<Reading, String> {
    let start = header.map_or(text_start(bytes), |header| header.body);
    let body = bytes[start..].trim_ascii_end();
    let dim = match header {
        Some(header) => header.dim,
        None => sampled_dim(body)?,
    };
    if let Some(header) = header
        && !options.salvage
    {
        // A space and a digit for each number, and a line end, which the trimmed last line lacks; the word may be empty.
        word2vec::check_room(header, body.len() + 1, 2 * dim + 1)?;
    }
    let expected = header.map_or(0, |header| header.n_rows.min((body.len() + 1) / (2 * dim + 1)));
    let mut intake = Intake::new(dim, expected, options);
    let of_all = header.map_or(String::new(), |header| format!(" of {}", header.n_rows));
    let mut n_lines = 0;
    let mut rest = body;
    while !rest.is_empty() {
        let mut blocks = Vec::with_capacity(BLOCKS_AT_ONCE);
        while !rest.is_empty() && blocks.len() < BLOCKS_AT_ONCE {
            let (block, after) = cut(rest);
            blocks.push(block);
            rest = after;
        }
        let parsed: Vec<ParsedBlock> = blocks.par_iter().map(|block| parse_block(block, dim)).collect();
        for block in &parsed {
            let mut rows = block.numbers.chunks_exact(dim);
            for line in &block.lines {
                n_lines += 1;
                match line {
                    Ok(word) => intake.take(n_lines, word, rows.next().expect("one row per word"))?,
                    Err((line, fault)) => {
                        let offset = line.as_ptr() as usize - bytes.as_ptr() as usize;
                        let word = shortened(line.split(|&byte| byte == b' ').next().unwrap_or_default());
                        intake.broken(format!("row {n_lines}{of_all} ('{word}', at byte {offset}) {fault}"))?;
                    }
                }
            }
        }
    }
    if let Some(header) = header
        && header.n_rows != n_lines
    {
        intake.inconsistent(format!("the header says {} rows, found {n_lines}", header.n_rows))?;
    }
    if !bytes.ends_with(b"\n") {
        intake.warn("the last line has no line end: the file may be cut short".to_string());
    }
    intake.finish()
}

/// A block of lines, and what follows it. Lines are whole, without the line end between the two.
fn cut(text: &[u8]) -> (&[u8], &[u8]) {
    let from = text.len().min(BLOCK);
    match text[from..].iter().position(|&byte| byte == b'\n') {
        Some(end) => (&text[..from + end], &text[from + end + 1..]),
        None => (text, &[]),
    }
}

/// A line's word, or the line and what is wrong with it.
type ParsedLine<'a> = Result<&'a [u8], (&'a [u8], String)>;

/// The rows of one block.
struct ParsedBlock<'a> {
    lines: Vec<ParsedLine<'a>>,
    /// The numbers of the good lines, `[n_good, dim]`.
    numbers: Vec<f32>,
}

fn parse_block(block: &[u8], dim: usize) -> ParsedBlock<'_> {
    let mut parsed = ParsedBlock { lines: Vec::new(), numbers: Vec::new() };
    for line in block.split(|&byte| byte == b'\n') {
        let before = parsed.numbers.len();
        let word = parse_line(line, dim, &mut parsed.numbers);
        if word.is_err() {
            parsed.numbers.truncate(before);
        }
        parsed.lines.push(word.map_err(|fault| (line, fault)));
    }
    parsed
}

/// Appends the numbers of a line to `numbers` and gives its word.
fn parse_line<'a>(line: &'a [u8], dim: usize, numbers: &mut Vec<f32>) -> Result<&'a [u8], String> {
    let word = word_of(line, dim, numbers)?;
    if word.len() > LONGEST_WORD {
        return Err(format!("has a word of {} bytes, longer than {LONGEST_WORD}", word.len()));
    }
    Ok(word)
}

fn word_of<'a>(line: &'a [u8], dim: usize, numbers: &mut Vec<f32>) -> Result<&'a [u8], String> {
    let before = numbers.len();
    // The usual case first: everything after the first space is a number.
    if let Some(space) = line.iter().position(|&byte| byte == b' ') {
        let all_read = fields(&line[space + 1..]).all(|field| match number(field) {
            Some(x) if numbers.len() < before + dim => {
                numbers.push(x);
                true
            }
            _ => false,
        });
        if all_read && numbers.len() == before + dim {
            return Ok(&line[..space]);
        }
        numbers.truncate(before);
    }
    let all: Vec<&[u8]> = fields(line).collect();
    let Some(first_number) = all.len().checked_sub(dim).filter(|&surplus| surplus > 0) else {
        let found = all.len().saturating_sub(1);
        return Err(format!(
            "has {found} numbers, expected {dim} (is the file cut short? --salvage leaves such rows out)"
        ));
    };
    for (place, field) in all[first_number..].iter().enumerate() {
        let Some(x) = number(field) else {
            let hint = if field.contains(&b',') { " (decimals need a point, not a comma)" } else { "" };
            let (place, field) = (place + 1, shortened(field));
            return Err(format!("has '{field}' where number {place} of {dim} should be{hint}"));
        };
        numbers.push(x);
    }
    let surplus = &all[1..first_number];
    if !surplus.is_empty() && surplus.iter().all(|field| number(field).is_some()) {
        return Err(format!("has {} numbers, expected {dim}", all.len() - 1));
    }
    let end = all[first_number].as_ptr() as usize - line.as_ptr() as usize;
    Ok(line[..end].trim_ascii())
}

/// Whether a line is a word and `dim` numbers.
pub(crate) fn is_row(line: &[u8], dim: usize) -> bool {
    parse_line(line, dim, &mut Vec::new()).is_ok()
}

/// A number in any form that Rust reads: `1`, `-0.5`, `4e-05`, `nan`; rounded once, to the nearest `f32`.
pub(crate) fn number(field: &[u8]) -> Option<f32> {
    std::str::from_utf8(field).ok()?.parse().ok()
}

/// How many numbers a row has, by what most of the first lines have.
fn sampled_dim(body: &[u8]) -> Result<usize, String> {
    let mut votes: Vec<(usize, usize)> = Vec::new();
    for line in body.split(|&byte| byte == b'\n').take(SAMPLE_LINES) {
        let line: Vec<&[u8]> = fields(line).skip(1).collect();
        let dim = line.iter().rev().take_while(|field| number(field).is_some()).count();
        match votes.iter_mut().find(|(voted, _)| *voted == dim) {
            Some((_, n)) => *n += 1,
            None => votes.push((dim, 1)),
        }
    }
    // Between equals the longer: a line is cut short more often than it grows.
    match votes.into_iter().max_by_key(|&(dim, n)| (n, dim)) {
        Some((dim @ 1.., _)) => Ok(dim),
        _ => {
            Err("is not a file of vectors that wordgrove knows: expected lines of a word and its numbers, word2vec's \
                  binary form, or a model folder"
                .to_string())
        }
    }
}

/// Writes vectors as word2vec's text, which everyone reads.
///
/// Rows stand by falling count, special tokens are left out, and a token of a byte-level BPE is written in the spelling
/// of `tokenizer.json` (`Ġmother`). Numbers are as short as can be and read back bit for bit.
/// Returns how many rows were written.
///
/// # Errors
/// [`Error::Format`](crate::Error::Format) when a word holds a space or a line end, which the format cannot carry, or
/// a number is NaN or infinite.
pub fn write_word2vec_text(embeddings: &Embeddings, path: &Path) -> Result<usize> {
    let rows = rows_to_write(embeddings, path)?;
    replace_file(path, |out| {
        writeln!(out, "{} {}", rows.len(), embeddings.dim())?;
        for rows in rows.chunks(ROWS_AT_ONCE) {
            let lines: Vec<Vec<u8>> =
                rows.par_chunks(ROWS_PER_WORKER).map(|rows| format_rows(embeddings, rows)).collect();
            lines.iter().try_for_each(|lines| out.write_all(lines))?;
        }
        Ok(())
    })?;
    Ok(rows.len())
}

/// Rows that one worker formats at a time, and that are in memory as text at once.
const ROWS_PER_WORKER: usize = 256;
const ROWS_AT_ONCE: usize = 64 * ROWS_PER_WORKER;

fn format_rows(embeddings: &Embeddings, rows: &[u32]) -> Vec<u8> {
    let mut text = Vec::with_capacity(rows.len() * (16 + 12 * embeddings.dim()));
    for &row in rows {
        text.extend_from_slice(&written_name(embeddings, row as usize));
        for x in embeddings.row(row as usize) {
            write!(text, " {x}").expect("memory takes every write");
        }
        text.push(b'\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str, dim: usize) -> Result<(String, Vec<f32>), String> {
        let mut numbers = Vec::new();
        let word = parse_line(line.as_bytes(), dim, &mut numbers)?;
        Ok((String::from_utf8(word.to_vec()).unwrap(), numbers))
    }

    #[test]
    fn a_line_is_a_word_and_its_numbers() {
        assert_eq!(parse("the 1 -0.5", 2), Ok(("the".into(), vec![1.0, -0.5])));
        assert_eq!(parse("the 1 -0.5 \r", 2), Ok(("the".into(), vec![1.0, -0.5])));
        assert_eq!(parse("the\t1\t-5e-1", 2), Ok(("the".into(), vec![1.0, -0.5])));
        assert_eq!(parse("a\tb 1 2", 2), Ok(("a\tb".into(), vec![1.0, 2.0])));
        assert_eq!(parse("3 1 2", 2), Ok(("3".into(), vec![1.0, 2.0])));
        assert_eq!(parse(" 1 2", 2), Ok(("".into(), vec![1.0, 2.0])));
    }

    #[test]
    fn a_word_with_spaces_is_not_a_line_with_a_number_too_many() {
        assert_eq!(parse(". . . 1 2", 2), Ok((". . .".into(), vec![1.0, 2.0])));
        assert_eq!(parse("at 1 name@domain.com 1 2", 2), Ok(("at 1 name@domain.com".into(), vec![1.0, 2.0])));
        assert_eq!(parse("the 0.5 1 2", 2).unwrap_err(), "has 3 numbers, expected 2");
    }

    #[test]
    fn a_faulty_line_is_described() {
        assert!(parse("the 1", 2).unwrap_err().starts_with("has 1 numbers, expected 2"));
        assert!(parse("", 2).unwrap_err().starts_with("has 0 numbers, expected 2"));
        assert_eq!(parse("the 1 one", 2).unwrap_err(), "has 'one' where number 2 of 2 should be");
        assert!(parse("the 0,5 1", 2).unwrap_err().contains("not a comma"));
        assert!(parse(&format!("{} 1 2", "x".repeat(LONGEST_WORD + 1)), 2).unwrap_err().contains("65537 bytes"));
    }

    #[test]
    fn the_sample_decides_how_many_numbers_a_row_has() {
        assert_eq!(sampled_dim(b"a 1 2\nb 1 2\nc 1"), Ok(2));
        assert_eq!(sampled_dim(b"a 1 2\nb 1"), Ok(2));
        assert_eq!(sampled_dim(b". . 1 2\n3 1 2"), Ok(2));
        assert!(sampled_dim(b"just words here").is_err());
    }
}
