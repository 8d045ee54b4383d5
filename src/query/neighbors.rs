//! The k nearest by cosine.
//!
//! In: vectors and a direction. Out: the rows whose direction is nearest, exactly, by looking at all of them.
//!
//! Rows without a direction (all zeros) have cosine 0 to everything and are never an answer, nor are special tokens, nor
//! the words of the question; but where those would have ranked is told, because it says how far the answer leans on
//! the question itself.

use std::cmp::Ordering;

use binary_heap_plus::BinaryHeap;
use rayon::prelude::*;
use serde::Serialize;

use crate::error::Result;
use crate::math;
use crate::query::lookup::{Found, How, lookup};
use crate::vectors::Embeddings;

/// Rows whose products one worker computes at a time.
const ROWS_PER_WORKER: usize = 1024;

/// What may be an answer, and how many.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Candidates {
    /// How many answers are wanted; there may be fewer.
    pub k: usize,
    /// Only the most frequent rows, this many; `None` for all. Vectors without counts are taken in the order of the
    /// file, which in word2vec's files is by falling count.
    pub top_vocab: Option<usize>,
    /// Whether the words of the question may be answers.
    pub query_words: QueryWords,
}

impl Default for Candidates {
    fn default() -> Candidates {
        Candidates { k: 10, top_vocab: None, query_words: QueryWords::Exclude }
    }
}

impl Candidates {
    /// The same for a question with this vector, `[dim]`: none where it is zero, because all words are equally near to
    /// what has no direction.
    pub(crate) fn of_question(self, vector: &[f32]) -> Candidates {
        if math::is_direction(math::norm(vector)) { self } else { Candidates { k: 0, ..self } }
    }
}

/// What happens to the words of the question.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum QueryWords {
    /// They are no answers, as everywhere in the field.
    Exclude,
    /// They are answers like others.
    Include,
}

/// One answer.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Neighbor {
    /// The word.
    pub word: String,
    /// Its token's spelling in `tokenizer.json`, where that is another: `Ġmother`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token: Option<String>,
    /// Cosine of the angle to what was asked, −1 to 1.
    pub cosine: f32,
    /// What the answers are ordered by, where that is not the cosine.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub score: Option<f32>,
    /// Its row.
    #[serde(skip)]
    pub row: usize,
}

/// A word of the question, and where it would have stood among the answers.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Excluded {
    /// The word.
    pub word: String,
    /// Its cosine to what was asked.
    pub cosine: f32,
    /// Its place, from 1, had no word been excluded.
    pub rank: usize,
}

/// The answer to `nearest`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Nearest {
    /// The word that was asked.
    pub query: String,
    /// Where its vector comes from.
    pub how: How,
    /// The nearest words, nearest first.
    pub results: Vec<Neighbor>,
    /// The rows of the query, and where they would have stood.
    pub excluded: Vec<Excluded>,
}

/// The words nearest to a word.
///
/// # Errors
/// [`Error::UnknownWord`](crate::Error::UnknownWord) as [`lookup`].
pub fn nearest(embeddings: &Embeddings, word: &str, candidates: Candidates) -> Result<Nearest> {
    let Found { word: query, vector, rows, how } = lookup(embeddings, word)?;
    let cosines = cosines(embeddings, &vector);
    let (results, excluded) = rank(embeddings, Ranking::by_cosine(&cosines), &rows, candidates.of_question(&vector));
    Ok(Nearest { query, how, results, excluded })
}

/// The words nearest to a vector, `[dim]`.
///
/// # Panics
/// If the vector has another number of numbers than the rows.
pub fn nearest_to(embeddings: &Embeddings, vector: &[f32], candidates: Candidates) -> Vec<Neighbor> {
    let cosines = cosines(embeddings, vector);
    rank(embeddings, Ranking::by_cosine(&cosines), &[], candidates.of_question(vector)).0
}

/// The cosine of each row to a vector, `[n_rows]`; 0 where one of the two has no direction.
pub(crate) fn cosines(embeddings: &Embeddings, vector: &[f32]) -> Vec<f32> {
    let dim = embeddings.dim();
    assert_eq!(vector.len(), dim);
    let (unit, norms) = (math::unit(vector), embeddings.norms());
    let mut cosines = vec![0.0; embeddings.n_rows()];
    cosines.par_chunks_mut(ROWS_PER_WORKER).enumerate().for_each(|(chunk, cosines)| {
        let first = chunk * ROWS_PER_WORKER;
        let rows = &embeddings.as_slice()[first * dim..(first + cosines.len()) * dim];
        math::row_dots(rows, &unit, cosines);
        for (cosine, &norm) in cosines.iter_mut().zip(&norms[first..]) {
            // Adding zero makes −0 a plain 0, so that ties are ties.
            *cosine = if math::is_direction(norm) { (*cosine / norm).clamp(-1.0, 1.0) + 0.0 } else { 0.0 };
        }
    });
    cosines
}

/// What rows are ordered by.
#[derive(Clone, Copy)]
pub(crate) struct Ranking<'a> {
    cosines: &'a [f32],
    /// In place of the cosines, `[n_rows]`.
    scores: Option<&'a [f32]>,
}

impl<'a> Ranking<'a> {
    /// Greatest cosine first.
    pub fn by_cosine(cosines: &'a [f32]) -> Ranking<'a> {
        Ranking { cosines, scores: None }
    }

    /// Greatest score first; cosines are told along with it.
    pub fn by_score(scores: &'a [f32], cosines: &'a [f32]) -> Ranking<'a> {
        Ranking { cosines, scores: Some(scores) }
    }

    /// Whether row `a` stands before row `b`: the greater number, between equals the smaller row.
    fn before(self, a: usize, b: usize) -> Ordering {
        let order = self.scores.unwrap_or(self.cosines);
        order[b].total_cmp(&order[a]).then(a.cmp(&b))
    }
}

/// The first `k` candidates, and where the rows of the question would stand among the candidates.
pub(crate) fn rank(
    embeddings: &Embeddings,
    ranking: Ranking<'_>,
    query_rows: &[usize],
    candidates: Candidates,
) -> (Vec<Neighbor>, Vec<Excluded>) {
    let allowed = allowed_rows(embeddings, candidates.top_vocab);
    let excludes = candidates.query_words == QueryWords::Exclude;
    // The worst of the best so far lies on top, where it is compared and replaced.
    let mut best = BinaryHeap::new_by(|&a: &usize, &b: &usize| ranking.before(a, b));
    for row in (0..embeddings.n_rows()).filter(|&row| allowed[row]) {
        if excludes && query_rows.contains(&row) {
            continue;
        }
        if best.len() < candidates.k {
            best.push(row);
        } else if let Some(mut worst) = best.peek_mut()
            && ranking.before(row, *worst).is_lt()
        {
            *worst = row;
        }
    }
    let neighbor = |row: usize| Neighbor {
        word: embeddings.word(row).into_owned(),
        token: embeddings.spelling(row),
        cosine: ranking.cosines[row],
        score: ranking.scores.map(|scores| scores[row]),
        row,
    };
    let results = best.into_sorted_vec().into_iter().map(neighbor).collect();
    let place = |row: usize| {
        let before = (0..embeddings.n_rows()).filter(|&other| allowed[other] && ranking.before(other, row).is_lt());
        Excluded { word: embeddings.word(row).into_owned(), cosine: ranking.cosines[row], rank: before.count() + 1 }
    };
    let mut excluded: Vec<usize> = query_rows.iter().copied().filter(|&row| excludes && allowed[row]).collect();
    excluded.sort_unstable_by(|&a, &b| ranking.before(a, b));
    excluded.dedup();
    (results, excluded.into_iter().map(place).collect())
}

/// Which rows may be answers, `[n_rows]`: those of [`Embeddings::is_answer`] among the `top_vocab` most frequent.
pub(crate) fn allowed_rows(embeddings: &Embeddings, top_vocab: Option<usize>) -> Vec<bool> {
    let n_rows = embeddings.n_rows();
    let Some(top_vocab) = top_vocab.filter(|&top_vocab| top_vocab < n_rows) else {
        return (0..n_rows).map(|row| embeddings.is_answer(row)).collect();
    };
    let mut allowed = vec![false; n_rows];
    for row in embeddings.by_falling_count().into_iter().take(top_vocab) {
        allowed[row as usize] = embeddings.is_answer(row as usize);
    }
    allowed
}
