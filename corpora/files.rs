//! The files that we ship, by name: texts, and questions about the relations that are planted in them.

use std::collections::BTreeMap;
use std::fmt::Write;

use crate::grammar::{Grammar, Random, Script};

/// A word is asked for when the text has it this often.
const OFTEN: usize = 40;

/// So many analogy questions of a section, and so many word pairs of a degree, chosen by chance.
const QUESTIONS: usize = 200;
const PAIRS: usize = 40;

/// Every file's name and content.
pub fn files() -> Vec<(&'static str, String)> {
    let english = Grammar::parse(include_str!("english.grammar"));
    let chinese = Grammar::parse(include_str!("chinese.grammar"));
    let text = english.text(Script::English, &mut Random(1));
    vec![
        ("analogies.txt", analogies(&english, &text, &mut Random(2))),
        ("pairs.txt", pairs(&english, &text, &mut Random(3))),
        ("english.txt", text),
        ("chinese.txt", chinese.text(Script::Chinese, &mut Random(4))),
    ]
}

fn counts(text: &str) -> BTreeMap<&str, usize> {
    let mut counts = BTreeMap::new();
    for word in text.split(|char: char| !char.is_alphabetic()) {
        *counts.entry(word).or_default() += 1;
    }
    counts
}

/// Questions in the form of questions-words.txt: a section's name behind a colon, then lines `a b c d`: a is to b as c
/// is to d.
fn analogies(grammar: &Grammar, text: &str, random: &mut Random) -> String {
    let counts = counts(text);
    let is_often = |word: &String| counts.get(word.as_str()).is_some_and(|&count| count >= OFTEN);
    let mut out = String::new();
    for (name, pairs) in grammar.sections() {
        let pairs: Vec<_> = pairs.iter().filter(|[a, b]| a != b && is_often(a) && is_often(b)).collect();
        let mut questions = Vec::new();
        for [a, b] in &pairs {
            // Words that belong to two pairs would have two answers.
            let others = pairs.iter().filter(|[c, d]| a != c && b != d && a != d && b != c);
            questions.extend(others.map(|[c, d]| [a, b, c, d]));
        }
        random.shuffle(&mut questions);
        questions.truncate(QUESTIONS);
        let _ = writeln!(out, ": {name}");
        for [a, b, c, d] in questions {
            let _ = writeln!(out, "{a} {b} {c} {d}");
        }
    }
    out
}

/// Word pairs and how much they have in common, `word TAB word TAB score`, from 0 to 10.
///
/// The scores are degrees, not measurements: 9 for the two words of a relation whose contexts are all but the same, 7 for
/// two that share their subject, 4 for two of a kind, 0 for two that have nothing to do with each other.
fn pairs(grammar: &Grammar, text: &str, random: &mut Random) -> String {
    let counts = counts(text);
    let is_often = |word: &String| counts.get(word.as_str()).is_some_and(|&count| count >= OFTEN);
    let closeness_and_kind = |section: &str| match section {
        "family" => Some((9, "person")),
        "capital-of-country" => Some((9, "place")),
        "animal-and-young" => Some((7, "animal")),
        "work-and-place" => Some((7, "person")),
        _ => None,
    };
    let mut degrees: BTreeMap<u32, Vec<[String; 2]>> = BTreeMap::new();
    let mut kinds: Vec<(&str, Vec<String>)> = Vec::new();
    for (section, pairs) in grammar.sections() {
        let Some((degree, kind)) = closeness_and_kind(&section) else { continue };
        let pairs: Vec<_> = pairs.into_iter().filter(|[a, b]| a != b && is_often(a) && is_often(b)).collect();
        kinds.push((kind, pairs.iter().map(|[a, _]| a.clone()).collect()));
        degrees.entry(degree).or_default().extend(pairs);
    }
    for _ in 0..2 * PAIRS {
        let [(kind, words), (other_kind, other_words)] = [0, 1].map(|_| &kinds[random.below(kinds.len())]);
        let [a, b] = [0, 1].map(|_| &words[random.below(words.len())]);
        if a != b {
            degrees.entry(4).or_default().push([a.clone(), b.clone()]);
        }
        if kind != other_kind {
            let other = &other_words[random.below(other_words.len())];
            degrees.entry(0).or_default().push([a.clone(), other.clone()]);
        }
    }
    let mut out = String::new();
    for (degree, mut pairs) in degrees.into_iter().rev() {
        random.shuffle(&mut pairs);
        pairs.truncate(PAIRS);
        for [a, b] in pairs {
            let _ = writeln!(out, "{a}\t{b}\t{degree}");
        }
    }
    out
}
