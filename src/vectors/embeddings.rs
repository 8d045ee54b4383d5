//! Rows of numbers with names: what every question is asked of.
//!
//! In: a table over mapped or owned memory, and names: a file's own, or a tokenizer's. Out: the row of a word, the word
//! of a row, lengths, counts. Who asks need not know where the table came from.
//!
//! # Two tokens for one word
//! A byte-level BPE has two tokens for many a word: ` mother` inside a sentence, `mother` at the start of a line or inside
//! a word. People mean the first, which is seen far more often; it is called `mother`, the other one `##mother` (see
//! [`Tokenizer::name`]). The other one is never an answer ([`is_answer`](Embeddings::is_answer)): it would be the nearest
//! neighbour of many a word without telling anything. A token that has no such twin keeps its place among the answers,
//! for in scripts that don't put spaces between words all words are such tokens.

use std::borrow::Cow;
use std::ops::Range;
use std::sync::OnceLock;

use byteorder::{ByteOrder, LittleEndian};
use rayon::prelude::*;

use crate::files::FileBytes;
use crate::math;
use crate::tokens::{TokenId, Tokenizer};
use crate::vectors::names::Names;

/// A table of `f32`, `[n_rows, dim]`, packed, over a mapped file or owned memory.
#[derive(Debug, Clone)]
pub struct Rows {
    numbers: Numbers,
    n_rows: usize,
    dim: usize,
}

#[derive(Debug, Clone)]
enum Numbers {
    /// Checked by [`Rows::from_file`]: [`FileBytes::floats`] gives this range.
    Mapped(FileBytes, Range<usize>),
    Owned(Vec<f32>),
}

impl Rows {
    /// A table in memory; `numbers` is `[n_rows, dim]`.
    pub fn new(numbers: Vec<f32>, n_rows: usize, dim: usize) -> Rows {
        assert_eq!(Some(numbers.len()), n_rows.checked_mul(dim));
        Rows { numbers: Numbers::Owned(numbers), n_rows, dim }
    }

    /// A table of little-endian numbers at `range` of a file: used where they lie, or copied where the machine cannot.
    pub(crate) fn from_file(bytes: &FileBytes, range: Range<usize>, n_rows: usize, dim: usize) -> Rows {
        assert_eq!(Some(range.len()), n_rows.checked_mul(dim).and_then(|n| n.checked_mul(4)));
        let numbers = if bytes.floats(range.clone()).is_some() {
            Numbers::Mapped(bytes.clone(), range)
        } else {
            let mut numbers = vec![0.0; n_rows * dim];
            LittleEndian::read_f32_into(&bytes[range], &mut numbers);
            Numbers::Owned(numbers)
        };
        Rows { numbers, n_rows, dim }
    }

    /// How many rows.
    pub fn n_rows(&self) -> usize {
        self.n_rows
    }

    /// How many numbers a row has.
    pub fn dim(&self) -> usize {
        self.dim
    }

    /// All rows, `[n_rows, dim]`.
    pub fn as_slice(&self) -> &[f32] {
        match &self.numbers {
            Numbers::Mapped(bytes, range) => bytes.floats(range.clone()).expect("checked when it was made"),
            Numbers::Owned(numbers) => numbers,
        }
    }

    /// One row, `[dim]`.
    pub fn row(&self, row: usize) -> &[f32] {
        &self.as_slice()[row * self.dim..(row + 1) * self.dim]
    }
}

/// Where names come from.
#[derive(Debug, Clone)]
enum Naming {
    Own(Names),
    Tokens(Tokenizer),
}

/// Vectors with names.
#[derive(Debug, Clone)]
pub struct Embeddings {
    rows: Rows,
    naming: Naming,
    counts: Option<Vec<u64>>,
    norms: OnceLock<Vec<f32>>,
    answers: OnceLock<Vec<bool>>,
}

impl Embeddings {
    /// Vectors that bring their own names; row i has name i.
    pub(crate) fn from_names(names: Names, rows: Rows) -> Embeddings {
        assert_eq!(names.len(), rows.n_rows());
        Embeddings::new(Naming::Own(names), rows, None)
    }

    /// Vectors of tokens; row i is token i, and `counts[i]` how often it occurred.
    pub(crate) fn from_tokens(tokenizer: Tokenizer, rows: Rows, counts: Option<Vec<u64>>) -> Embeddings {
        assert_eq!(tokenizer.n_tokens(), rows.n_rows());
        Embeddings::new(Naming::Tokens(tokenizer), rows, counts)
    }

    fn new(naming: Naming, rows: Rows, counts: Option<Vec<u64>>) -> Embeddings {
        assert!(counts.as_ref().is_none_or(|counts| counts.len() == rows.n_rows()));
        Embeddings { rows, naming, counts, norms: OnceLock::new(), answers: OnceLock::new() }
    }

    /// How many rows.
    pub fn n_rows(&self) -> usize {
        self.rows.n_rows()
    }

    /// How many numbers a row has.
    pub fn dim(&self) -> usize {
        self.rows.dim()
    }

    /// One row, `[dim]`.
    pub fn row(&self, row: usize) -> &[f32] {
        self.rows.row(row)
    }

    /// All rows, `[n_rows, dim]`, packed.
    pub fn as_slice(&self) -> &[f32] {
        self.rows.as_slice()
    }

    /// How often each row's token occurred in the text, where that is known.
    pub fn counts(&self) -> Option<&[u64]> {
        self.counts.as_deref()
    }

    /// The tokenizer that numbered the rows, for vectors from a model folder.
    pub fn tokenizer(&self) -> Option<&Tokenizer> {
        match &self.naming {
            Naming::Own(_) => None,
            Naming::Tokens(tokenizer) => Some(tokenizer),
        }
    }

    /// What a row is called, uniquely: a token's [name](Tokenizer::name), or the name in the file, with bytes that are
    /// not UTF-8 written as `\xE9`.
    pub fn word(&self, row: usize) -> Cow<'_, str> {
        match &self.naming {
            Naming::Own(names) => printable(names.get(row)),
            Naming::Tokens(tokenizer) => tokenizer.name(token(row)),
        }
    }

    /// The bytes that a row stands for: those of its name in the file, or of its token.
    pub fn bytes(&self, row: usize) -> &[u8] {
        match &self.naming {
            Naming::Own(names) => names.get(row),
            Naming::Tokens(tokenizer) => tokenizer.bytes(token(row)),
        }
    }

    /// The spelling of a row's token in `tokenizer.json`, where it differs from what the row is called: `Ġmother`.
    pub fn spelling(&self, row: usize) -> Option<String> {
        let spelling = self.tokenizer()?.spelling(token(row));
        (spelling != self.word(row)).then_some(spelling)
    }

    /// The row of a word that is one row as a whole.
    ///
    /// With a tokenizer that is the token that the word becomes inside a sentence, else the one of that name, else the
    /// one of that spelling. A file that was made from such a model spells that token `Ġking`, and the token `king`, which
    /// stands inside of words, is not what a person means by it.
    pub fn row_of(&self, word: &str) -> Option<usize> {
        match &self.naming {
            Naming::Own(names) => names
                .find(format!("Ġ{word}").as_bytes())
                .or_else(|| names.find(word.as_bytes()))
                .or_else(|| names.find(&escaped_bytes(word)?)),
            Naming::Tokens(tokenizer) => {
                let in_a_sentence = match tokenizer.encode_word(word)[..] {
                    [id] => Some(id),
                    _ => None,
                };
                let is_text = |id: &TokenId| !tokenizer.is_special(*id);
                in_a_sentence
                    .filter(is_text)
                    .or_else(|| tokenizer.id_of_name(word).filter(is_text))
                    .or_else(|| tokenizer.id_of_spelling(word).filter(is_text))
                    .map(TokenId::index)
            }
        }
    }

    /// The Euclidean length of each row, `[n_rows]`, computed when first asked for.
    pub fn norms(&self) -> &[f32] {
        self.norms.get_or_init(|| {
            let dim = self.dim();
            if dim == 0 {
                return vec![0.0; self.n_rows()];
            }
            self.as_slice().par_chunks_exact(dim).with_min_len(1024).map(math::norm).collect()
        })
    }

    /// Whether a row may be the answer to a question: it has a direction, stands for text, and is not the lesser
    /// of two tokens for one word: `##mother` beside `mother`.
    pub fn is_answer(&self, row: usize) -> bool {
        self.answers.get_or_init(|| self.find_answers())[row]
    }

    fn find_answers(&self) -> Vec<bool> {
        let has_direction = |row: usize| math::is_direction(self.norms()[row]);
        let Naming::Tokens(tokenizer) = &self.naming else {
            return (0..self.n_rows()).map(has_direction).collect();
        };
        // A part of a character is no word, nor is the second token of the same name.
        let is_name = |row: usize| match std::str::from_utf8(tokenizer.bytes(token(row))) {
            Ok(text) if !tokenizer.is_words() && !text.starts_with(' ') => {
                tokenizer.id_of_name(text).is_none_or(|id| id.index() == row)
            }
            text => tokenizer.is_words() || text.is_ok(),
        };
        let is_answer = |row: usize| has_direction(row) && !tokenizer.is_special(token(row)) && is_name(row);
        (0..self.n_rows()).into_par_iter().with_min_len(1024).map(is_answer).collect()
    }

    /// The rows from the most to the least frequent token; rows whose counts are unknown keep their order, which in
    /// word2vec's files is by falling count. Special tokens are left out.
    pub fn by_falling_count(&self) -> Vec<u32> {
        let is_text = |row: usize| self.tokenizer().is_none_or(|tokenizer| !tokenizer.is_special(token(row)));
        let mut rows: Vec<u32> = (0..self.n_rows() as u32).filter(|&row| is_text(row as usize)).collect();
        if let Some(counts) = &self.counts {
            rows.sort_by_key(|&row| std::cmp::Reverse(counts[row as usize]));
        }
        rows
    }
}

fn token(row: usize) -> TokenId {
    TokenId(row as u32)
}

/// Bytes as text: what is UTF-8 as it is, other bytes as `\xE9`.
pub(crate) fn printable(bytes: &[u8]) -> Cow<'_, str> {
    if let Ok(text) = std::str::from_utf8(bytes) {
        return Cow::Borrowed(text);
    }
    let mut text = String::with_capacity(bytes.len() + 8);
    for chunk in bytes.utf8_chunks() {
        text.push_str(chunk.valid());
        chunk.invalid().iter().for_each(|byte| text.push_str(&format!("\\x{byte:02X}")));
    }
    Cow::Owned(text)
}

/// The bytes that [`printable`] wrote as `text`; `None` when it holds no `\x..`.
fn escaped_bytes(text: &str) -> Option<Vec<u8>> {
    let mut parts = text.split("\\x");
    let mut bytes = parts.next()?.as_bytes().to_vec();
    let mut found = false;
    for part in parts {
        let byte = part.get(..2).and_then(|digits| u8::from_str_radix(digits, 16).ok())?;
        bytes.push(byte);
        bytes.extend_from_slice(&part.as_bytes()[2..]);
        found = true;
    }
    found.then_some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(words: &[&[u8]], rows: &[[f32; 2]]) -> Embeddings {
        let mut names = Names::default();
        words.iter().for_each(|word| assert!(names.push(word)));
        Embeddings::from_names(names, Rows::new(rows.concat(), rows.len(), 2))
    }

    #[test]
    fn rows_without_a_direction_are_no_answers() {
        let rows = [[3.0, 4.0], [0.0, 0.0], [3e30, 4e30], [3e-30, 4e-30], [f32::NAN, 1.0]];
        let words: [&[u8]; 5] = [b"a", b"b", b"c", b"d", b"e"];
        let embeddings = named(&words, &rows);
        assert_eq!(embeddings.norms()[..4], [5.0, 0.0, 5e30, 5e-30]);
        let answers: Vec<bool> = (0..5).map(|row| embeddings.is_answer(row)).collect();
        assert_eq!(answers, [true, false, true, true, false]);
    }

    #[test]
    fn a_name_that_is_not_utf8_is_shown_escaped_and_found_by_what_is_shown() {
        let embeddings = named(&[b"zee\xc3n", "zeeën".as_bytes()], &[[1.0, 0.0], [0.0, 1.0]]);
        assert_eq!(embeddings.word(0), "zee\\xC3n");
        assert_eq!(embeddings.row_of("zee\\xC3n"), Some(0));
        assert_eq!(embeddings.row_of("zeeën"), Some(1));
        assert_eq!(embeddings.row_of("zee\\xC3"), None);
        assert_eq!(embeddings.row_of("zee\\x"), None);
    }
}
