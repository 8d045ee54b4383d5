//! What the verbs that ask have in common: a word list of answers, and questions on standard input.

use std::io::{self, BufRead, IsTerminal, Write};

use wordgrove::Error;
use wordgrove::query::{Candidates, Excluded, How, Neighbor, QueryWords};

use super::failure::{Failure, Outcome};
use super::number::whole;
use super::output::{columns, escaped, padded};

/// What may be an answer, and how answers are shown.
#[derive(clap::Args)]
pub struct AnswerArguments {
    /// How many answers
    #[arg(short, value_name = "K", default_value_t = 10, allow_negative_numbers = true, value_parser = whole(1..=usize::MAX))]
    k: usize,
    /// Only the N most frequent words may be answers
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = whole(1..=usize::MAX))]
    top_vocab: Option<usize>,
    /// Words of the question may be answers too
    #[arg(long)]
    include_query: bool,
    /// Print a JSON object a question
    #[arg(long)]
    pub json: bool,
}

impl AnswerArguments {
    /// The same for the library.
    pub fn candidates(&self) -> Candidates {
        Candidates {
            k: self.k,
            top_vocab: self.top_vocab,
            query_words: if self.include_query { QueryWords::Include } else { QueryWords::Exclude },
        }
    }
}

/// Answers the question on the command line or, when there is none, every line of standard input.
///
/// A line that cannot be answered is told of and the next one is read; the first such failure decides the exit code.
pub fn each_question(question: &[String], answer: &mut dyn FnMut(&[String]) -> Outcome) -> Outcome {
    if !question.is_empty() {
        return answer(question);
    }
    if io::stdin().is_terminal() {
        let _ = io::stderr().write_all(b"(a question a line; Ctrl-D ends)\n");
    }
    let mut first = Ok(());
    let mut input = io::stdin().lock();
    let mut line = Vec::new();
    while input.read_until(b'\n', &mut line).map_err(Error::io("-"))? > 0 {
        let words: Vec<String> = String::from_utf8_lossy(&line).split_whitespace().map(str::to_string).collect();
        line.clear();
        if words.is_empty() {
            continue;
        }
        match answer(&words) {
            Err(failure @ Failure::Library(_)) => {
                let code = failure.tell();
                if first.is_ok() {
                    first = Err(Failure::Told(code));
                }
            }
            other => other?,
        }
    }
    first
}

/// Prints answers as a table, and where the question's own words would have stood.
pub fn print_answers(out: &mut dyn Write, results: &[Neighbor], excluded: &[Excluded]) -> io::Result<()> {
    if results.is_empty() {
        writeln!(out, "  (no answer)")?;
    }
    let width = results.iter().map(|result| columns(&escaped(&result.word))).max().unwrap_or(0).max(4);
    if !results.is_empty() {
        let score = if results[0].score.is_some() { "   score" } else { "" };
        writeln!(out, "  rank  {:width$}  cosine{score}", "word")?;
    }
    for (i, result) in results.iter().enumerate() {
        let score = result.score.map_or(String::new(), |score| format!("  {score:.4}"));
        writeln!(out, "  {:>4}  {}  {:.4}{score}", i + 1, padded(&result.word, width), result.cosine)?;
    }
    for word in excluded {
        let (name, cosine, rank) = (escaped(&word.word), word.cosine, word.rank);
        writeln!(out, "  left out as part of the question: {name} (cosine {cosine:.4}, would be rank {rank})")?;
    }
    Ok(())
}

/// Says of a word that is not in the vocabulary as a whole how its vector came about.
pub fn print_how(out: &mut dyn Write, word: &str, how: &How) -> io::Result<()> {
    match how {
        How::Whole => Ok(()),
        How::Composed(pieces) => print_composed(out, word, pieces),
    }
}

/// The same, from the pieces.
pub fn print_composed(out: &mut dyn Write, word: &str, pieces: &[String]) -> io::Result<()> {
    let pieces: Vec<_> = pieces.iter().map(|piece| escaped(piece)).collect();
    writeln!(out, "  {} is composed of {}", escaped(word), pieces.join(" + "))
}
