//! Pairs of words that people have scored: do the vectors see the same likeness?
//!
//! In: a file of pairs, `word1 word2 score` a line, parted by TABs or by white space. Out: Spearman's rank correlation
//! between the people's scores and the cosines.
//!
//! A word that is no row as it stands is tried in lower case. A pair counts when both words have a vector; whether words
//! that are composed from several tokens count is the caller's choice ([`ComposedWords`]). With them a byte-level BPE
//! answers every pair, as its users do; without them the pairs are those that a table of whole words could answer.

use std::path::Path;

use rayon::prelude::*;
use serde::Serialize;

use crate::error::{Error, Result};
use crate::files::FileBytes;
use crate::query::lookup::{Found, find};
use crate::query::question_set::text;
use crate::query::similarity::cosine;
use crate::vectors::Embeddings;

/// Pairs of words with scores.
#[derive(Debug, Clone, PartialEq)]
pub struct WordPairs {
    /// What it is called in reports: the path of the file.
    pub name: String,
    /// The pairs, in the order of the file.
    pub pairs: Vec<ScoredPair>,
}

/// Two words and how alike people find them.
#[derive(Debug, Clone, PartialEq)]
pub struct ScoredPair {
    /// The words.
    pub words: [String; 2],
    /// On any scale: only its order counts.
    pub score: f64,
}

/// Whether words that are composed from several tokens take part.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ComposedWords {
    /// They do.
    #[default]
    Include,
    /// Only rows do.
    Skip,
}

/// How a set of pairs was answered.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PairReport {
    /// The set.
    pub file: String,
    /// Pairs in the file.
    pub asked: usize,
    /// Those of which both words have a vector.
    pub answered: usize,
    /// Those of the answered in which at least one vector was composed.
    pub composed: usize,
    /// Spearman's rank correlation, −1 to 1; `None` when fewer than two pairs are answered or one side is all ties.
    pub spearman: Option<f64>,
}

impl WordPairs {
    /// Reads a file of scored pairs. Lines that begin with `#` and a first line that is a heading are passed over.
    ///
    /// # Errors
    /// [`Error::Format`] with the line that is not two words and a number.
    pub fn read(path: &Path) -> Result<WordPairs> {
        let bytes = FileBytes::open(path)?;
        let text = text(&bytes).map_err(|reason| Error::format(path, reason))?;
        let mut pairs = Vec::new();
        for (line, fields) in text.lines().enumerate() {
            if fields.trim().is_empty() || fields.starts_with('#') {
                continue;
            }
            match pair(fields) {
                Some(pair) => pairs.push(pair),
                None if line == 0 => {}
                None => {
                    let reason = format!("line {}: expected two words and a number, parted by TABs", line + 1);
                    return Err(Error::format(path, reason));
                }
            }
        }
        Ok(WordPairs { name: path.display().to_string(), pairs })
    }
}

fn pair(line: &str) -> Option<ScoredPair> {
    let fields: Vec<&str> = match line.contains('\t') {
        true => line.split('\t').map(str::trim).collect(),
        false => line.split_whitespace().collect(),
    };
    let [a, b, score, ..] = fields[..] else { return None };
    let score = score.parse().ok().filter(|score: &f64| score.is_finite())?;
    (!a.is_empty() && !b.is_empty()).then(|| ScoredPair { words: [a.to_string(), b.to_string()], score })
}

/// Compares the cosines of all pairs with their scores.
pub fn correlate(embeddings: &Embeddings, set: &WordPairs, composed: ComposedWords) -> PairReport {
    let look_up = |word: &String| -> Option<Found> {
        let usable = |found: &Found| found.is_whole() || composed == ComposedWords::Include;
        let whole = |word: &str| find(embeddings, word).ok().filter(Found::is_whole);
        // A row in lower case is worth more than a composition of the word as it stands.
        whole(word).or_else(|| whole(&word.to_lowercase())).or_else(|| find(embeddings, word).ok().filter(usable))
    };
    let answers: Vec<(f64, f64, bool)> = set
        .pairs
        .par_iter()
        .filter_map(|pair| {
            let [a, b] = [look_up(&pair.words[0])?, look_up(&pair.words[1])?];
            let is_composed = !(a.is_whole() && b.is_whole());
            Some((pair.score, f64::from(cosine(&a.vector, &b.vector)), is_composed))
        })
        .collect();
    let (scores, cosines): (Vec<f64>, Vec<f64>) = answers.iter().map(|&(score, cosine, _)| (score, cosine)).unzip();
    PairReport {
        file: set.name.clone(),
        asked: set.pairs.len(),
        answered: answers.len(),
        composed: answers.iter().filter(|(.., is_composed)| *is_composed).count(),
        spearman: spearman(&scores, &cosines),
    }
}

/// Spearman's rank correlation: Pearson's of the ranks, equals sharing the mean of their ranks.
///
/// # Example
/// ```
/// # use wordgrove::query::spearman;
/// assert_eq!(spearman(&[1.0, 2.0, 3.0], &[0.1, 0.5, 0.9]), Some(1.0));
/// assert_eq!(spearman(&[1.0, 2.0, 3.0], &[5.0, 5.0, 5.0]), None);
/// ```
pub fn spearman(a: &[f64], b: &[f64]) -> Option<f64> {
    assert_eq!(a.len(), b.len());
    let (a, b) = (ranks(a), ranks(b));
    let mean = (a.len() as f64 + 1.0) / 2.0;
    let product = |a: &[f64], b: &[f64]| -> f64 { a.iter().zip(b).map(|(a, b)| (a - mean) * (b - mean)).sum() };
    let spread = (product(&a, &a) * product(&b, &b)).sqrt();
    (spread > 0.0).then(|| product(&a, &b) / spread)
}

/// The rank of each number, from 1; equals share the mean of their ranks.
fn ranks(numbers: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..numbers.len()).collect();
    order.sort_by(|&a, &b| numbers[a].total_cmp(&numbers[b]));
    let mut ranks = vec![0.0; numbers.len()];
    let mut before = 0;
    for equals in order.chunk_by(|&a, &b| numbers[a] == numbers[b]) {
        let rank = before as f64 + (equals.len() as f64 + 1.0) / 2.0;
        equals.iter().for_each(|&place| ranks[place] = rank);
        before += equals.len();
    }
    ranks
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equals_share_the_mean_of_their_ranks() {
        assert_eq!(ranks(&[3.0, 1.0, 3.0, 2.0, 3.0]), [4.0, 1.0, 4.0, 2.0, 4.0]);
        assert_eq!(ranks(&[0.0, -0.0]), [1.5, 1.5]);
    }

    #[test]
    fn the_correlation_is_that_of_scipy() {
        // scipy.stats.spearmanr([1, 2, 2, 4, 5, 6, 7], [2, 1, 4, 3, 7, 7, 6]).
        let found = spearman(&[1.0, 2.0, 2.0, 4.0, 5.0, 6.0, 7.0], &[2.0, 1.0, 4.0, 3.0, 7.0, 7.0, 6.0]).unwrap();
        assert!((found - 0.763636363636363).abs() < 1e-12, "{found}");
        assert_eq!(spearman(&[], &[]), None);
        assert_eq!(spearman(&[1.0], &[1.0]), None);
    }

    #[test]
    fn a_line_is_two_words_and_a_number() {
        let words = |line: &str| pair(line).map(|pair| (pair.words.concat(), pair.score));
        assert_eq!(words("tiger\tcat\t7.35\r"), Some(("tigercat".into(), 7.35)));
        assert_eq!(words("tiger cat 7.35"), Some(("tigercat".into(), 7.35)));
        assert_eq!(words("new york\tcity\t7"), Some(("new yorkcity".into(), 7.0)));
        assert_eq!(words("Word 1\tWord 2\tHuman (mean)"), None);
        assert_eq!(words("a b nan"), None);
        assert_eq!(words("a b"), None);
    }
}
