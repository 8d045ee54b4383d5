//! Vectors in word2vec's binary form: a word, a space, its numbers as little-endian `f32`.
//!
//! In: the bytes of a file, its header known; out: [`Embeddings`]. And back. Some programs put a line end after each
//! vector and some don't, so one line end before a word is not part of it.

use std::path::Path;

use byteorder::{ByteOrder, LittleEndian, WriteBytesExt};

use crate::error::Result;
use crate::files::replace_file;
use crate::vectors::embeddings::Embeddings;
use crate::vectors::word2vec::{
    self, Header, Intake, LONGEST_WORD, ReadOptions, Reading, rows_to_write, shortened, written_name,
};

/// Reads the rows after `header`.
pub(crate) fn read(bytes: &[u8], header: Header, options: ReadOptions) -> Result<Reading, String> {
    read_rows(bytes, header, options).map_err(|fault| match walk::<8>(bytes, header) {
        // Nothing but the size tells how wide the numbers are; only when four bytes don't fit is eight worth a look.
        Some(()) => format!(
            "holds 64-bit numbers, which is not word2vec's form: write them as 32-bit ({} rows of {} numbers)",
            header.n_rows, header.dim
        ),
        None => fault,
    })
}

fn read_rows(bytes: &[u8], header: Header, options: ReadOptions) -> Result<Reading, String> {
    let body = &bytes[header.body..];
    let row_bytes = header.dim.saturating_mul(4);
    if !options.salvage {
        word2vec::check_room(header, body.len(), row_bytes.saturating_add(1))?;
    }
    let room = body.len() / row_bytes.saturating_add(1);
    let mut intake = Intake::new(header.dim, header.n_rows.min(room), options);
    let mut numbers = vec![0.0; if room == 0 { 0 } else { header.dim }];
    let (mut row, mut offset) = (0, header.body);
    while row < header.n_rows && offset < bytes.len() {
        let (word, vector, next) = match cut_row::<4>(bytes, offset, header.dim) {
            Ok(found) => found,
            Err(fault) => {
                // After a row of unknown length there is no telling where the next one begins.
                intake.broken(format!("row {} of {} (at byte {offset}) {fault}", row + 1, header.n_rows))?;
                break;
            }
        };
        row += 1;
        LittleEndian::read_f32_into(vector, &mut numbers);
        intake.take(row, word, &numbers)?;
        offset = next;
    }
    let surplus = &bytes[offset..];
    if row < header.n_rows {
        intake.inconsistent(format!("the header says {} rows, found {row} whole ones", header.n_rows))?;
    } else if !surplus.trim_ascii().is_empty() {
        let (surplus, n_rows) = (surplus.len(), header.n_rows);
        intake.inconsistent(format!(
            "{surplus} bytes follow the {n_rows} rows that the header says, at byte {offset}: two files in one?"
        ))?;
    }
    intake.finish()
}

/// The word and the bytes of the vector that begin at `offset`, and where they end, with numbers of `WIDTH` bytes.
fn cut_row<const WIDTH: usize>(bytes: &[u8], offset: usize, dim: usize) -> Result<(&[u8], &[u8], usize), String> {
    let row = &bytes[offset..];
    let row = row.strip_prefix(b"\n").unwrap_or(row);
    let Some(space) = row.iter().take(LONGEST_WORD + 1).position(|&byte| byte == b' ') else {
        if row.len() > LONGEST_WORD {
            return Err(format!("has a word without an end within {LONGEST_WORD} bytes"));
        }
        return Err("ends inside the word (is the file cut short? --salvage keeps the complete rows)".to_string());
    };
    let (word, rest) = (&row[..space], &row[space + 1..]);
    if word.contains(&b'\n') {
        let word = shortened(word);
        return Err(format!("has a word with a line end in it, '{word}': the rows are out of step with the header"));
    }
    let Some(vector) = dim.checked_mul(WIDTH).and_then(|n_bytes| rest.get(..n_bytes)) else {
        let (word, found) = (shortened(word), rest.len() / WIDTH);
        return Err(format!(
            "('{word}') ends after {found} of {dim} numbers (is the file cut short? --salvage keeps the complete rows)"
        ));
    };
    Ok((word, vector, bytes.len() - rest.len() + vector.len()))
}

/// Whether all the rows that the header says, with numbers of `WIDTH` bytes, are just what the file holds.
fn walk<const WIDTH: usize>(bytes: &[u8], header: Header) -> Option<()> {
    let mut offset = header.body;
    for _ in 0..header.n_rows {
        (_, _, offset) = cut_row::<WIDTH>(bytes, offset, header.dim).ok()?;
    }
    bytes[offset..].trim_ascii().is_empty().then_some(())
}

/// Writes vectors in word2vec's binary form, with the line end after each vector that word2vec writes.
///
/// Rows, names, result and errors are those of [`write_word2vec_text`](crate::vectors::write_word2vec_text).
pub fn write_word2vec_binary(embeddings: &Embeddings, path: &Path) -> Result<usize> {
    let rows = rows_to_write(embeddings, path)?;
    replace_file(path, |out| {
        writeln!(out, "{} {}", rows.len(), embeddings.dim())?;
        let mut bytes = vec![0; 4 * embeddings.dim()];
        for &row in &rows {
            out.write_all(&written_name(embeddings, row as usize))?;
            out.write_u8(b' ')?;
            LittleEndian::write_f32_into(embeddings.row(row as usize), &mut bytes);
            out.write_all(&bytes)?;
            out.write_u8(b'\n')?;
        }
        Ok(())
    })?;
    Ok(rows.len())
}
