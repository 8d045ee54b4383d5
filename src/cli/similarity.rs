//! `wordgrove similarity`: the cosine of two words.

use std::io::Write;

use clap::Args;
use wordgrove::query::similarity;

use super::failure::Outcome;
use super::model::ModelArguments;
use super::output::{escaped, out, print_json};
use super::query::print_how;

/// What `similarity` is told.
#[derive(Args)]
pub struct Arguments {
    #[command(flatten)]
    model: ModelArguments,
    /// The first word
    a: String,
    /// The second word
    b: String,
    /// Print a JSON object
    #[arg(long)]
    json: bool,
}

pub fn run(arguments: &Arguments) -> Outcome {
    let embeddings = arguments.model.open()?.embeddings;
    let found = similarity(&embeddings, &arguments.a, &arguments.b)?;
    if arguments.json {
        return Ok(print_json(&found)?);
    }
    let mut out = out();
    writeln!(out, "cosine({}, {}) = {:.4}", escaped(&found.words[0]), escaped(&found.words[1]), found.cosine)?;
    for (word, how) in found.words.iter().zip(&found.how) {
        print_how(&mut out, word, how)?;
    }
    Ok(out.flush()?)
}
