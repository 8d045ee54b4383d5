//! `wordgrove nearest`: the words nearest to a word.

use std::io::Write;

use clap::Args;
use wordgrove::query::nearest;

use super::failure::Outcome;
use super::model::ModelArguments;
use super::output::{escaped, out, print_json};
use super::query::{AnswerArguments, each_question, print_answers, print_how};

/// What `nearest` is told.
#[derive(Args)]
pub struct Arguments {
    #[command(flatten)]
    model: ModelArguments,
    /// The word, or several words for what they have in common; without it, a question a line of standard input
    #[arg(value_name = "WORD")]
    word: Vec<String>,
    #[command(flatten)]
    answers: AnswerArguments,
}

pub fn run(arguments: &Arguments) -> Outcome {
    let candidates = arguments.answers.candidates();
    let embeddings = arguments.model.open()?.embeddings;
    each_question(&arguments.word, &mut |words| {
        let found = nearest(&embeddings, &words.join(" "), candidates)?;
        if arguments.answers.json {
            return Ok(print_json(&found)?);
        }
        let mut out = out();
        writeln!(out, "nearest to {}", escaped(&found.query))?;
        print_how(&mut out, &found.query, &found.how)?;
        print_answers(&mut out, &found.results, &found.excluded)?;
        Ok(out.flush()?)
    })
}
