//! Analogy questions by the thousand: how many does a table answer?
//!
//! In: a file of questions, `a b c d` a line, in sections that begin with `: name`. Out: for each section and in all how
//! many were asked, could be answered, and were answered rightly.
//!
//! # The rules
//! These are word2vec's and gensim's. A question is answered when all its four words are rows, among the `top_vocab`
//! most frequent where that is asked; a word that is no row as it stands is tried in lower case. The answer is the best
//! row but for a, b and c, and it is right when it is d. Words composed from pieces take no part: an answer is a row.
//! Accuracy is told of the questions that were answered, as everywhere in the field, and of all, which nobody can raise
//! by knowing fewer words.

use std::path::Path;

use rayon::prelude::*;
use serde::Serialize;

use crate::error::{Error, Result};
use crate::files::FileBytes;
use crate::math::{self, Matrix};
use crate::query::analogy::{Method, quotient, shifted};
use crate::query::neighbors::allowed_rows;
use crate::vectors::Embeddings;

/// Questions whose scores are computed together, and rows for which they are: the block of scores stays in the cache.
const QUESTIONS_AT_ONCE: usize = 64;
const ROWS_AT_ONCE: usize = 256;

/// Analogy questions in sections.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QuestionSet {
    /// What it is called in reports: the path of the file.
    pub name: String,
    /// The sections, in the order of the file.
    pub sections: Vec<Section>,
}

/// Questions of one kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Section {
    /// What stands after the colon; empty before the first.
    pub name: String,
    /// `a b c d`: a is to b as c is to d.
    pub questions: Vec<[String; 4]>,
}

impl QuestionSet {
    /// Reads a file in the form of word2vec's `questions-words.txt`.
    ///
    /// # Errors
    /// [`Error::Format`] with the line that has not four words.
    pub fn read(path: &Path) -> Result<QuestionSet> {
        let bytes = FileBytes::open(path)?;
        let text = text(&bytes).map_err(|reason| Error::format(path, reason))?;
        let mut sections: Vec<Section> = Vec::new();
        for (line, words) in text.lines().enumerate() {
            if let Some(name) = words.strip_prefix(':') {
                sections.push(Section { name: name.trim().to_string(), questions: Vec::new() });
                continue;
            }
            let words: Vec<&str> = words.split_whitespace().collect();
            if words.is_empty() {
                continue;
            }
            let Ok(question) = <[&str; 4]>::try_from(words) else {
                let reason = format!("line {}: expected four words, or ': ' and the name of a section", line + 1);
                return Err(Error::format(path, reason));
            };
            if sections.is_empty() {
                sections.push(Section { name: String::new(), questions: Vec::new() });
            }
            sections.last_mut().expect("there is one now").questions.push(question.map(str::to_string));
        }
        Ok(QuestionSet { name: path.display().to_string(), sections })
    }
}

/// The text of a file of questions or pairs: UTF-8, a byte order mark left out.
pub(crate) fn text(bytes: &[u8]) -> Result<&str, String> {
    let text = std::str::from_utf8(bytes).map_err(|error| {
        let line = bytes[..error.valid_up_to()].iter().filter(|&&byte| byte == b'\n').count() + 1;
        format!("line {line}: is not UTF-8 text (is it compressed, or in another encoding?)")
    })?;
    Ok(text.strip_prefix('\u{feff}').unwrap_or(text))
}

/// How a set of analogy questions was answered.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct QuestionReport {
    /// The set.
    pub file: String,
    /// How answers were ranked.
    pub method: Method,
    /// Only so many of the most frequent rows took part.
    pub top_vocab: Option<usize>,
    /// Section by section.
    pub sections: Vec<SectionReport>,
    /// All sections together.
    pub total: Tally,
}

/// How one section was answered.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SectionReport {
    /// The section.
    pub name: String,
    /// How it was answered.
    #[serde(flatten)]
    pub tally: Tally,
}

/// Questions asked, answered and right. Shares are 0 to 1, `None` of nothing.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Tally {
    /// Questions in the file.
    pub asked: usize,
    /// Those whose four words were there.
    pub answered: usize,
    /// Those that were answered rightly.
    pub correct: usize,
    /// The share of right answers among the answered.
    pub accuracy: Option<f64>,
    /// The share of right answers among all questions.
    pub accuracy_of_all: Option<f64>,
    /// The share of questions that were answered.
    pub coverage: Option<f64>,
    /// Where `accuracy` lies with 95 % confidence (Wilson): smaller differences between two tables mean nothing.
    pub interval: Option<[f64; 2]>,
}

impl Tally {
    fn new(asked: usize, answered: usize, correct: usize) -> Tally {
        let share = |part: usize, of: usize| (of > 0).then(|| part as f64 / of as f64);
        Tally {
            asked,
            answered,
            correct,
            accuracy: share(correct, answered),
            accuracy_of_all: share(correct, asked),
            coverage: share(answered, asked),
            interval: wilson(correct, answered),
        }
    }
}

/// The 95 % interval of a share: those shares p for which the observed one lies within 1.96 √(p(1 − p)/n) of p
/// (Wilson 1927). It stays within 0 and 1, and is sound for few and for none right.
fn wilson(correct: usize, n: usize) -> Option<[f64; 2]> {
    // The 97.5 % point of the normal distribution.
    const Z: f64 = 1.959963984540054;
    if n == 0 {
        return None;
    }
    let (share, n) = (correct as f64 / n as f64, n as f64);
    let center = (share + Z * Z / (2.0 * n)) / (1.0 + Z * Z / n);
    let half = Z / (1.0 + Z * Z / n) * (share * (1.0 - share) / n + Z * Z / (4.0 * n * n)).sqrt();
    Some([(center - half).max(0.0), (center + half).min(1.0)])
}

/// Answers every question of a set.
pub fn answer(embeddings: &Embeddings, set: &QuestionSet, method: Method, top_vocab: Option<usize>) -> QuestionReport {
    let allowed = allowed_rows(embeddings, top_vocab);
    let row = |word: &String| {
        let allowed = |word: &str| embeddings.row_of(word).filter(|&row| allowed[row]);
        allowed(word).or_else(|| allowed(&word.to_lowercase()))
    };
    let rows = |[a, b, c, d]: &[String; 4]| Some([row(a)?, row(b)?, row(c)?, row(d)?]);
    let answerable: Vec<Vec<[usize; 4]>> =
        set.sections.iter().map(|section| section.questions.par_iter().filter_map(rows).collect()).collect();
    let answers = best_rows(embeddings, &answerable.concat(), method, &allowed);
    let mut answers = answers.into_iter();
    let sections: Vec<SectionReport> = set
        .sections
        .iter()
        .zip(&answerable)
        .map(|(section, answered)| {
            let right = answered.iter().zip(answers.by_ref()).filter(|([.., wanted], answer)| *answer == Some(*wanted));
            let tally = Tally::new(section.questions.len(), answered.len(), right.count());
            SectionReport { name: section.name.clone(), tally }
        })
        .collect();
    let sum = |part: fn(&Tally) -> usize| sections.iter().map(|section| part(&section.tally)).sum();
    let total = Tally::new(sum(|tally| tally.asked), sum(|tally| tally.answered), sum(|tally| tally.correct));
    QuestionReport { file: set.name.clone(), method, top_vocab, sections, total }
}

/// The best row for each question `[a, b, c, _]`: the first by `method` among `allowed`, but for a, b and c.
fn best_rows(
    embeddings: &Embeddings,
    questions: &[[usize; 4]],
    method: Method,
    allowed: &[bool],
) -> Vec<Option<usize>> {
    // For 3CosAdd b − a + c, for 3CosMul each of the three.
    let queries: Vec<Matrix> = match method {
        Method::Add => vec![unit_sums(embeddings, questions, |[a, b, c, _]| [(b, 1.0), (a, -1.0), (c, 1.0)])],
        Method::Mul => [0, 1, 2].map(|place| unit_sums(embeddings, questions, |rows| [(rows[place], 1.0)])).to_vec(),
    };
    let candidates: Vec<usize> = (0..allowed.len()).filter(|&row| allowed[row]).collect();
    let nothing = || vec![(f32::NEG_INFINITY, usize::MAX); questions.len()];
    let best = candidates.par_chunks(ROWS_AT_ONCE).fold(nothing, |mut best, rows| {
        let units = unit_rows(embeddings, rows);
        let mut blocks: Vec<Vec<f32>> = queries.iter().map(|_| vec![0.0; QUESTIONS_AT_ONCE * rows.len()]).collect();
        for first in (0..questions.len()).step_by(QUESTIONS_AT_ONCE) {
            let last = questions.len().min(first + QUESTIONS_AT_ONCE);
            for (block, queries) in blocks.iter_mut().zip(&queries) {
                let stride = queries.stride();
                let queries = &queries.as_slice()[first * stride..last * stride];
                math::row_products(queries, units.as_slice(), stride, &mut block[..(last - first) * rows.len()]);
            }
            for place in first..last {
                let [a, b, c, _] = questions[place];
                let start = (place - first) * rows.len();
                for (i, &row) in rows.iter().enumerate() {
                    let score = match &blocks[..] {
                        [a, b, c] => quotient(shifted(b[start + i]) * shifted(c[start + i]), shifted(a[start + i])),
                        blocks => blocks[0][start + i],
                    };
                    // Rows come in rising order, so of equals the smallest stays.
                    if score > best[place].0 && row != a && row != b && row != c {
                        best[place] = (score, row);
                    }
                }
            }
        }
        best
    });
    let best = best.reduce(nothing, |mut best, others| {
        for (best, other) in best.iter_mut().zip(others) {
            if other.0 > best.0 || (other.0 == best.0 && other.1 < best.1) {
                *best = other;
            }
        }
        best
    });
    best.into_iter().map(|(_, row)| (row != usize::MAX).then_some(row)).collect()
}

/// For each question the sum of signed unit vectors, `[n_questions, dim]`.
fn unit_sums<const N: usize>(
    embeddings: &Embeddings,
    questions: &[[usize; 4]],
    terms: impl Fn([usize; 4]) -> [(usize, f32); N],
) -> Matrix {
    let mut sums = Matrix::zeros(questions.len(), embeddings.dim());
    for (place, &question) in questions.iter().enumerate() {
        for (row, sign) in terms(question) {
            let scale = sign / embeddings.norms()[row];
            sums.row_mut(place).iter_mut().zip(embeddings.row(row)).for_each(|(sum, x)| *sum += scale * x);
        }
    }
    sums
}

/// The directions of some rows, `[rows.len(), dim]`.
fn unit_rows(embeddings: &Embeddings, rows: &[usize]) -> Matrix {
    let mut units = Matrix::zeros(rows.len(), embeddings.dim());
    for (place, &row) in rows.iter().enumerate() {
        let norm = embeddings.norms()[row];
        units.row_mut(place).iter_mut().zip(embeddings.row(row)).for_each(|(unit, x)| *unit = x / norm);
    }
    units
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_interval_is_wilsons_and_never_leaves_0_to_1() {
        // 8 of 10: 0.4902 to 0.9433, as in Agresti and Coull's tables.
        let [low, high] = wilson(8, 10).unwrap();
        assert!((low - 0.490_162).abs() < 1e-5 && (high - 0.943_318).abs() < 1e-5, "{low} {high}");
        assert_eq!(wilson(0, 10).unwrap()[0], 0.0);
        assert!((wilson(10, 10).unwrap()[1] - 1.0).abs() < 1e-12);
        assert_eq!(wilson(0, 0), None);
    }

    #[test]
    fn nothing_asked_is_no_accuracy() {
        let tally = Tally::new(0, 0, 0);
        assert_eq!((tally.accuracy, tally.accuracy_of_all, tally.coverage, tally.interval), (None, None, None, None));
        assert_eq!(serde_json::to_value(&tally).unwrap()["accuracy"], serde_json::Value::Null);
    }
}
