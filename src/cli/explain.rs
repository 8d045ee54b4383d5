//! `wordgrove explain`: a word's pieces, its path in the tree, its most probable contexts.

use std::io::Write;
use std::path::PathBuf;

use clap::Args;
use wordgrove::query::explain;
use wordgrove::vectors::Model;

use super::failure::Outcome;
use super::number::whole;
use super::output::{escaped, grouped, out, print_json};

/// What `explain` is told.
#[derive(Args)]
pub struct Arguments {
    /// A model folder
    #[arg(value_name = "MODEL")]
    model: PathBuf,
    /// The word to explain
    #[arg(value_name = "WORD")]
    word: String,
    /// The context that the probabilities along the path are for [default: the most probable one]
    #[arg(long, value_name = "CONTEXT")]
    given: Option<String>,
    /// How many contexts to show
    #[arg(short, value_name = "K", default_value_t = 10, allow_negative_numbers = true, value_parser = whole(1..=usize::MAX))]
    k: usize,
    /// Print a JSON object
    #[arg(long)]
    json: bool,
}

pub fn run(arguments: &Arguments) -> Outcome {
    let model = Model::open(&arguments.model)?;
    let found = explain(&model, &arguments.word, arguments.given.as_deref(), arguments.k)?;
    if arguments.json {
        return Ok(print_json(&found)?);
    }
    let mut out = out();
    let pieces: Vec<_> = found.tokens.iter().map(|token| token.token.as_deref().unwrap_or(&token.name)).collect();
    let pieces = escaped(&pieces.join(" + ")).into_owned();
    match found.tokens.len() {
        1 => writeln!(out, "{} is one token: {pieces}", escaped(&found.word))?,
        n => writeln!(out, "{} is {n} tokens: {pieces}", escaped(&found.word))?,
    }
    for token in &found.tokens {
        let (name, given) = (escaped(&token.name), escaped(&token.given));
        writeln!(out, "\n{name}: id {}, {} times in the text", token.id, grouped(token.count))?;
        writeln!(
            out,
            "  path of {} branches; P({name} | {given}) = {:.3e}, {:.3} bits",
            token.path.len(),
            (-token.bits).exp2(),
            token.bits
        )?;
        writeln!(out, "  {:>8}  bit  probability", "node")?;
        for branch in &token.path {
            writeln!(out, "  {:>8}  {:>3}  {:.4}", branch.node, branch.bit, branch.probability)?;
        }
        writeln!(out, "  most probable after or before")?;
        for context in &token.contexts {
            writeln!(out, "    {:<20} {:.3e}  {:.2} bits", escaped(&context.word), context.probability, context.bits)?;
        }
    }
    Ok(out.flush()?)
}
