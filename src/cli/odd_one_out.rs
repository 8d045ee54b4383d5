//! `wordgrove odd-one-out`: the word that does not belong.

use std::io::Write;

use clap::Args;
use wordgrove::query::odd_one_out;

use super::failure::Outcome;
use super::model::ModelArguments;
use super::output::{columns, escaped, out, padded, print_json};
use super::query::print_how;

/// What `odd-one-out` is told.
#[derive(Args)]
pub struct Arguments {
    #[command(flatten)]
    model: ModelArguments,
    /// Three words or more
    #[arg(value_name = "WORD", required = true, num_args = 3..)]
    words: Vec<String>,
    /// Print a JSON object
    #[arg(long)]
    json: bool,
}

pub fn run(arguments: &Arguments) -> Outcome {
    let embeddings = arguments.model.open()?.embeddings;
    let found = odd_one_out(&embeddings, &arguments.words)?;
    if arguments.json {
        return Ok(print_json(&found)?);
    }
    let mut out = out();
    writeln!(out, "{} does not belong", escaped(&found.odd))?;
    let width = found.words.iter().map(|word| columns(&escaped(&word.word))).max().unwrap_or(0).max(4);
    writeln!(out, "  {:width$}  cosine to the mean of all", "word")?;
    for word in &found.words {
        writeln!(out, "  {}  {:.4}", padded(&word.word, width), word.cosine)?;
    }
    for word in &found.words {
        print_how(&mut out, &word.word, &word.how)?;
    }
    Ok(out.flush()?)
}
