//! Arithmetic with words: `father - man + woman`.
//!
//! In: what a person typed. Out: the words nearest to it, and the formula that was computed.
//!
//! The sum is one of directions: each word counts with length 1, as in gensim. 3CosAdd ranks by the cosine to that sum.
//! 3CosMul (Levy and Goldberg 2014) multiplies the cosines to the words that are added and divides by those to the words
//! that are taken away, so that no one of them decides alone; cosines are shifted to 0…1 first.

use std::str::FromStr;

use serde::Serialize;

use crate::error::{Error, Result};
use crate::math;
use crate::query::lookup::{Found, How, lookup};
use crate::query::neighbors::{Candidates, Excluded, Neighbor, Ranking, cosines, rank};
use crate::vectors::Embeddings;

/// Keeps 3CosMul from dividing by zero; gensim's value.
const EPSILON: f32 = 1e-6;

/// How answers are ranked.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Method {
    /// 3CosAdd: by the cosine to the sum.
    #[default]
    Add,
    /// 3CosMul: by the product of shifted cosines.
    Mul,
}

impl FromStr for Method {
    type Err = Error;

    fn from_str(name: &str) -> Result<Method> {
        match name {
            "add" | "3cosadd" => Ok(Method::Add),
            "mul" | "3cosmul" => Ok(Method::Mul),
            _ => Err(Error::config("method", format!("found '{name}', expected add or mul"))),
        }
    }
}

/// Words that are added and taken away.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expression {
    /// At least one of them is added.
    terms: Vec<Term>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Term {
    sign: Sign,
    word: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sign {
    Plus,
    Minus,
}

impl Expression {
    /// Reads arithmetic or a proportion, from one argument or from several.
    ///
    /// - `father - man + woman`, any number of words; the first may have a sign, too
    /// - `man : woman :: father : ?`, the question mark in any of the four places, or left out at the end
    ///
    /// A sign stands on its own or before a word; inside a word it belongs to the word (`well-known`). Several words
    /// within one argument are one term, whose vector is composed (`"new york"`).
    ///
    /// # Errors
    /// [`Error::Config`] that says what is missing.
    ///
    /// # Example
    /// ```
    /// use wordgrove::query::Expression;
    /// let typed = Expression::parse(&["father", "-", "man", "+", "woman"])?;
    /// assert_eq!(typed, Expression::parse(&["man:woman :: father:?"])?);
    /// assert_eq!(typed.to_string(), "father - man + woman");
    /// # Ok::<(), wordgrove::Error>(())
    /// ```
    pub fn parse<A: AsRef<str>>(arguments: &[A]) -> Result<Expression> {
        if arguments.iter().any(|argument| argument.as_ref().contains("::")) {
            let all: Vec<&str> = arguments.iter().map(AsRef::as_ref).collect();
            return proportion(&all.join(" "));
        }
        arithmetic(arguments)
    }
}

impl std::fmt::Display for Expression {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (place, Term { sign, word }) in self.terms.iter().enumerate() {
            match (place, sign) {
                (0, Sign::Plus) => f.write_str(word)?,
                (0, Sign::Minus) => write!(f, "-{word}")?,
                (_, Sign::Plus) => write!(f, " + {word}")?,
                (_, Sign::Minus) => write!(f, " - {word}")?,
            }
        }
        Ok(())
    }
}

/// The answer to `analogy`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Analogy {
    /// What was computed.
    pub query: String,
    /// How it was ranked.
    pub method: Method,
    /// The words of the query that are no rows, and what they were composed of.
    pub composed: Vec<Composed>,
    /// The best words, best first.
    pub results: Vec<Neighbor>,
    /// The rows of the query, and where they would have stood.
    pub excluded: Vec<Excluded>,
}

/// A word of a query that is no row.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Composed {
    /// The word.
    pub word: String,
    /// The tokens that it was composed of.
    pub pieces: Vec<String>,
}

/// The words nearest to a sum of words.
///
/// # Errors
/// [`Error::UnknownWord`] as [`lookup`], for each word of the expression.
pub fn analogy(
    embeddings: &Embeddings,
    expression: &Expression,
    method: Method,
    candidates: Candidates,
) -> Result<Analogy> {
    let found: Vec<Found> =
        expression.terms.iter().map(|term| look_up_term(embeddings, term)).collect::<Result<_>>()?;
    let signs = expression.terms.iter().map(|term| term.sign);
    let units: Vec<(Sign, Vec<f32>)> = signs.zip(found.iter().map(|found| math::unit(&found.vector))).collect();

    let mut sum = vec![0.0; embeddings.dim()];
    for (sign, unit) in &units {
        let sign = if *sign == Sign::Plus { 1.0 } else { -1.0 };
        sum.iter_mut().zip(unit).for_each(|(sum, x)| *sum += sign * x);
    }
    let cosines = cosines(embeddings, &sum);
    let candidates = candidates.of_question(&sum);
    let rows: Vec<usize> = found.iter().flat_map(|found| found.rows.iter().copied()).collect();
    let (results, excluded) = match method {
        Method::Add => rank(embeddings, Ranking::by_cosine(&cosines), &rows, candidates),
        Method::Mul => {
            let scores = multiplied(embeddings, &units);
            rank(embeddings, Ranking::by_score(&scores, &cosines), &rows, candidates)
        }
    };
    let composed = found.into_iter().filter_map(|found| match found.how {
        How::Whole => None,
        How::Composed(pieces) => Some(Composed { word: found.word, pieces }),
    });
    Ok(Analogy { query: expression.to_string(), method, composed: composed.collect(), results, excluded })
}

fn look_up_term(embeddings: &Embeddings, term: &Term) -> Result<Found> {
    lookup(embeddings, &term.word).map_err(|error| match error {
        Error::UnknownWord { word, advice } if word.contains(['+', '-', ':']) => Error::UnknownWord {
            word,
            advice: format!("{advice}; put spaces around + and -, and two colons between pairs"),
        },
        error => error,
    })
}

/// 3CosMul of each row, `[n_rows]`.
fn multiplied(embeddings: &Embeddings, units: &[(Sign, Vec<f32>)]) -> Vec<f32> {
    let product = |wanted: Sign| {
        let mut product = vec![1.0f32; embeddings.n_rows()];
        for (_, unit) in units.iter().filter(|(sign, _)| *sign == wanted) {
            product.iter_mut().zip(cosines(embeddings, unit)).for_each(|(product, cosine)| *product *= shifted(cosine));
        }
        product
    };
    let added = product(Sign::Plus);
    added.iter().zip(product(Sign::Minus)).map(|(&added, taken)| quotient(added, taken)).collect()
}

/// A cosine, −1…1, brought to 0…1.
pub(crate) fn shifted(cosine: f32) -> f32 {
    (1.0 + cosine) / 2.0
}

/// What [`Method::Mul`] ranks by, for `added` over `taken`, both products of [`shifted`] cosines.
pub(crate) fn quotient(added: f32, taken: f32) -> f32 {
    added / (taken + EPSILON)
}

fn fault(reason: impl Into<String>) -> Error {
    Error::config("expression", reason)
}

/// `father - man + woman`
fn arithmetic<A: AsRef<str>>(arguments: &[A]) -> Result<Expression> {
    let mut terms: Vec<Term> = Vec::new();
    let mut sign = Some(Sign::Plus);
    for argument in arguments {
        // Words that follow each other belong together within one argument only.
        let mut open = false;
        for piece in argument.as_ref().split_whitespace() {
            let (own_sign, word) = split_sign(piece);
            if own_sign.is_some() {
                if sign.is_some() && !terms.is_empty() {
                    return Err(fault(format!("there is a word missing before '{piece}'")));
                }
                sign = own_sign;
                open = false;
            }
            if word.is_empty() {
                continue;
            }
            match (sign.take(), terms.last_mut()) {
                (Some(sign), _) => terms.push(Term { sign, word: word.to_string() }),
                (None, Some(last)) if open => last.word = format!("{} {word}", last.word),
                (None, last) => {
                    let before = last.map_or("", |term| &term.word);
                    return Err(fault(format!(
                        "expected + or - between '{before}' and '{word}', as in father - man + woman"
                    )));
                }
            }
            open = true;
        }
    }
    if terms.is_empty() {
        return Err(fault("there is no word in it, expected something like father - man + woman"));
    }
    if sign.is_some() {
        return Err(fault("ends with a sign, expected a word after it"));
    }
    if terms.iter().all(|term| term.sign == Sign::Minus) {
        return Err(fault("every word is taken away, at least one must be added"));
    }
    Ok(Expression { terms })
}

/// The sign that a piece begins with, and the rest of it.
fn split_sign(piece: &str) -> (Option<Sign>, &str) {
    for (spelling, sign) in [("+", Sign::Plus), ("-", Sign::Minus), ("−", Sign::Minus)] {
        if let Some(word) = piece.strip_prefix(spelling) {
            return (Some(sign), word);
        }
    }
    (None, piece)
}

/// `a : b :: c : d` with one of the four unknown: a − b = c − d.
fn proportion(text: &str) -> Result<Expression> {
    let mut words = Vec::with_capacity(4);
    let mut pairs = text.split("::");
    let (Some(left), Some(right), None) = (pairs.next(), pairs.next(), pairs.next()) else {
        return Err(fault("expected one '::', as in man : woman :: father : ?"));
    };
    for (pair, may_be_short) in [(left, false), (right, true)] {
        let pair: Vec<String> =
            pair.split(':').map(|word| word.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
        match &pair[..] {
            [first, second] => words.extend([first.clone(), second.clone()]),
            [first] if may_be_short => words.extend([first.clone(), String::new()]),
            _ => {
                return Err(fault(
                    "expected two words with ':' between on each side of '::', as in man : woman :: father : ?",
                ));
            }
        }
    }
    let unknown: Vec<usize> = (0..4).filter(|&place| matches!(&words[place][..], "" | "?")).collect();
    let [unknown] = unknown[..] else {
        return Err(fault(format!(
            "{} of the four words are unknown, expected one, as in man : woman :: father : ?",
            unknown.len()
        )));
    };
    // d = c − a + b, and so on for each of the four; the word beside the unknown comes first.
    let [first, taken, added] = [[1, 3, 2], [0, 2, 3], [3, 1, 0], [2, 0, 1]][unknown];
    let terms = [(Sign::Plus, first), (Sign::Minus, taken), (Sign::Plus, added)];
    Ok(Expression { terms: terms.map(|(sign, place)| Term { sign, word: words[place].clone() }).to_vec() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(arguments: &[&str]) -> String {
        match Expression::parse(arguments) {
            Ok(expression) => expression.to_string(),
            Err(error) => format!("error: {error}"),
        }
    }

    #[test]
    fn arithmetic_is_read_from_one_argument_or_many() {
        for arguments in [
            &["father", "-", "man", "+", "woman"][..],
            &["father - man + woman"],
            &["+ father", "- man", "+ woman"],
            &["father", "-man", "+woman"],
            &["father", "− man", "+woman"],
        ] {
            assert_eq!(parsed(arguments), "father - man + woman");
        }
        assert_eq!(parsed(&["well-known", "-", "e-mail"]), "well-known - e-mail");
        assert_eq!(parsed(&["new york", "-", "usa", "+", "france"]), "new york - usa + france");
        assert_eq!(parsed(&["new york - usa + france"]), "new york - usa + france");
        assert_eq!(parsed(&["- man", "+", "woman", "+ father"]), "-man + woman + father");
        assert_eq!(parsed(&["12:30"]), "12:30");
        assert_eq!(parsed(&["a + b + c + d - e"]), "a + b + c + d - e");
    }

    #[test]
    fn a_proportion_is_solved_for_any_of_its_words() {
        for arguments in [
            &["man", ":", "woman", "::", "father", ":", "?"][..],
            &["man:woman::father:?"],
            &["man : woman :: father"],
            &["man:woman", "::", "father:"],
        ] {
            assert_eq!(parsed(arguments), "father - man + woman");
        }
        assert_eq!(parsed(&["? : woman :: father : mother"]), "woman - mother + father");
        assert_eq!(parsed(&["man : ? :: father : mother"]), "man - father + mother");
        assert_eq!(parsed(&["man : woman :: ? : mother"]), "mother - woman + man");
    }

    #[test]
    fn what_cannot_be_read_is_explained() {
        for (arguments, wanted) in [
            (&[][..], "no word"),
            (&["", " "], "no word"),
            (&["father", "man"], "between 'father' and 'man'"),
            (&["father", "-"], "ends with a sign"),
            (&["father", "-", "+", "man"], "missing before '+'"),
            (&["-", "man"], "taken away"),
            (&["+"], "no word"),
            (&["man : woman :: ? : ?"], "2 of the four"),
            (&["man : woman :: father : mother"], "0 of the four"),
            (&["man :: father : ?"], "two words"),
            (&["a:b::c:d::e"], "one '::'"),
            (&["a:b:c::d:?"], "two words"),
        ] {
            assert!(parsed(arguments).contains(wanted), "{arguments:?}: {}", parsed(arguments));
        }
    }
}
