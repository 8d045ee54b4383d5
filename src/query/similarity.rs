//! How alike two words are, and which of several is least like the others.
//!
//! In: words. Out: cosines, 1 for the same direction, 0 for unrelated ones, −1 for opposite ones.

use serde::Serialize;

use crate::error::{Error, Result};
use crate::math;
use crate::query::lookup::{Found, How, lookup};
use crate::vectors::Embeddings;

/// The answer to `similarity`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Similarity {
    /// The two words.
    pub words: [String; 2],
    /// Where the vector of each comes from.
    pub how: [How; 2],
    /// The cosine between them; 0 when one has no direction.
    pub cosine: f32,
}

/// The cosine between two words.
///
/// # Errors
/// [`Error::UnknownWord`] as [`lookup`].
pub fn similarity(embeddings: &Embeddings, a: &str, b: &str) -> Result<Similarity> {
    let [a, b] = [lookup(embeddings, a)?, lookup(embeddings, b)?];
    let cosine = cosine(&a.vector, &b.vector);
    Ok(Similarity { words: [a.word, b.word], how: [a.how, b.how], cosine })
}

/// The cosine between two vectors; 0 when one has no direction.
pub fn cosine(a: &[f32], b: &[f32]) -> f32 {
    math::dot(&math::unit(a), &math::unit(b)).clamp(-1.0, 1.0)
}

/// The answer to `odd-one-out`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct OddOneOut {
    /// The word that is least like the others.
    pub odd: String,
    /// Each word, from the least to the most like the mean of all.
    pub words: Vec<Likeness>,
}

/// How like the mean of a set of words one of them is.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Likeness {
    /// The word.
    pub word: String,
    /// Where its vector comes from.
    pub how: How,
    /// Its cosine to the mean of all the words' directions.
    pub cosine: f32,
}

/// The word whose direction is furthest from the mean of the directions of all, as in gensim's `doesnt_match`.
///
/// # Errors
/// [`Error::Config`] with fewer than three words: of two none is odd. [`Error::UnknownWord`] as [`lookup`].
pub fn odd_one_out<W: AsRef<str>>(embeddings: &Embeddings, words: &[W]) -> Result<OddOneOut> {
    if words.len() < 3 {
        return Err(Error::config(
            "words",
            format!("found {}, at least three are needed for one to be odd", words.len()),
        ));
    }
    let found: Vec<Found> = words.iter().map(|word| lookup(embeddings, word.as_ref())).collect::<Result<_>>()?;
    let mut mean = vec![0.0; embeddings.dim()];
    for word in &found {
        mean.iter_mut().zip(math::unit(&word.vector)).for_each(|(sum, x)| *sum += x);
    }
    let likeness = |found: Found| {
        let cosine = cosine(&found.vector, &mean);
        Likeness { word: found.word, how: found.how, cosine }
    };
    let mut words: Vec<Likeness> = found.into_iter().map(likeness).collect();
    // A stable sort: between equals the first that was given.
    words.sort_by(|a, b| a.cosine.total_cmp(&b.cosine));
    Ok(OddOneOut { odd: words[0].word.clone(), words })
}
