//! Text → vector.
//!
//! In: what a person typed. Out: its vector, and whether that is a row of the table or was composed from several.
//!
//! A word that is no row is composed when the tokenizer can cut it into tokens that are: the mean of their rows, raw, so
//! that a model folder gives the same vector here as in model2vec and sentence-transformers, which take that mean. `new
//! york` is composed likewise, in any kind of vectors. What can't be composed is an error that gives near spellings.

use rayon::prelude::*;
use serde::Serialize;

use crate::error::{Error, Result};
use crate::vectors::Embeddings;

/// How many near spellings an error gives.
const SUGGESTIONS: usize = 3;

/// A word with its vector.
#[derive(Debug, Clone, PartialEq)]
pub struct Found {
    /// The word as it was asked.
    pub word: String,
    /// Its vector, `[dim]`, of any length.
    pub vector: Vec<f32>,
    /// The rows that it was made of: one for a word that is whole.
    pub rows: Vec<usize>,
    /// Whether it is in the table, or was composed.
    pub how: How,
}

/// Where a word's vector comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum How {
    /// The word is a row.
    Whole,
    /// The mean of these tokens' rows.
    Composed(Vec<String>),
}

impl Found {
    /// Whether the word is a row of the table.
    pub fn is_whole(&self) -> bool {
        self.how == How::Whole
    }
}

/// Finds the vector of a word, or of several with spaces between.
///
/// # Errors
/// [`Error::UnknownWord`], with near spellings and advice, when the word or a part of it has no vector.
pub fn lookup(embeddings: &Embeddings, word: &str) -> Result<Found> {
    find(embeddings, word).map_err(|missing| unknown(embeddings, missing))
}

/// [`lookup`] without the search for near spellings: the error is the part that has no vector.
pub(crate) fn find<'a>(embeddings: &Embeddings, word: &'a str) -> Result<Found, &'a str> {
    if let Some(row) = embeddings.row_of(word) {
        let vector = embeddings.row(row).to_vec();
        return Ok(Found { word: word.to_string(), vector, rows: vec![row], how: How::Whole });
    }
    let rows = pieces(embeddings, word)?;
    let how = How::Composed(rows.iter().map(|&row| piece_name(embeddings, row)).collect());
    Ok(Found { word: word.to_string(), vector: mean(embeddings, &rows), rows, how })
}

/// The rows that together spell a word that is no row itself; the error is the part that has none.
fn pieces<'a>(embeddings: &Embeddings, word: &'a str) -> Result<Vec<usize>, &'a str> {
    let parts: Vec<&str> = word.split_whitespace().collect();
    let Some(tokenizer) = embeddings.tokenizer() else {
        if parts.len() < 2 {
            return Err(word);
        }
        return parts.iter().map(|part| embeddings.row_of(part).ok_or(*part)).collect();
    };
    let tokens = |word: &str| -> Option<Vec<usize>> {
        let ids = tokenizer.encode_word(word);
        let all_known = !ids.is_empty() && ids.iter().all(|&id| !tokenizer.is_special(id));
        all_known.then(|| ids.iter().map(|id| id.index()).collect())
    };
    // Of several words the error names the one that is missing.
    tokens(word).ok_or_else(|| parts.into_iter().find(|part| tokens(part).is_none()).unwrap_or(word))
}

/// A piece as it is spelled in the tokenizer, where that tells more than its text.
fn piece_name(embeddings: &Embeddings, row: usize) -> String {
    embeddings.spelling(row).unwrap_or_else(|| embeddings.word(row).into_owned())
}

fn mean(embeddings: &Embeddings, rows: &[usize]) -> Vec<f32> {
    let mut sum = vec![0.0f64; embeddings.dim()];
    for &row in rows {
        sum.iter_mut().zip(embeddings.row(row)).for_each(|(sum, &x)| *sum += f64::from(x));
    }
    sum.iter().map(|sum| (sum / rows.len() as f64) as f32).collect()
}

fn unknown(embeddings: &Embeddings, word: &str) -> Error {
    let mut advice = String::new();
    let near = near_spellings(embeddings, word);
    if !near.is_empty() {
        advice.push_str(&format!(" (did you mean {}?)", near.join(", ")));
    }
    if embeddings.tokenizer().is_some() {
        advice.push_str(
            "; it was too rare in the text, or not in it: train with a lower --min-count, or with --tokens bpe",
        );
    } else if near.is_empty() {
        advice.push_str("; check its spelling, and how words are spelled in the file");
    }
    Error::UnknownWord { word: word.to_string(), advice }
}

/// The names nearest to `word`: by Damerau-Levenshtein distance without regard to case, then the more frequent first.
pub fn near_spellings(embeddings: &Embeddings, word: &str) -> Vec<String> {
    let wanted = word.to_lowercase();
    let n_letters = wanted.chars().count();
    // A third of the letters may differ; beyond that a spelling is not near but another word.
    let furthest = (n_letters / 3).max(1);
    let rank = |row: usize| embeddings.counts().map_or(row as u64, |counts| u64::MAX - counts[row]);
    let mut near: Vec<(usize, u64, usize)> = (0..embeddings.n_rows())
        .into_par_iter()
        .with_min_len(1024)
        .filter_map(|row| {
            let name = embeddings.word(row);
            // Letters take one to four bytes, so byte lengths alone rule most names out.
            if name.is_empty() || name.len() > 4 * (n_letters + furthest) || !embeddings.is_answer(row) {
                return None;
            }
            let name = name.to_lowercase();
            let difference = name.chars().count().abs_diff(n_letters);
            let distance = (difference <= furthest).then(|| strsim::damerau_levenshtein(&wanted, &name))?;
            (distance <= furthest).then(|| (distance, rank(row), row))
        })
        .collect();
    near.sort_unstable();
    near.truncate(SUGGESTIONS);
    near.into_iter().map(|(_, _, row)| embeddings.word(row).into_owned()).collect()
}
