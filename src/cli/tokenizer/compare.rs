//! `wordgrove tokenizer compare`: two tokenizers beside each other.

use std::io::Write;
use std::path::PathBuf;

use clap::Args;
use serde_json::json;
use wordgrove::TokenId;
use wordgrove::tokens::compare;

use super::SurveyArguments;
use super::info::{as_json, print, surveyed};
use crate::cli::failure::Outcome;
use crate::cli::output::{escaped, grouped, out, print_json};

/// How many of the tokens that only one of them has are shown.
const EXAMPLES: usize = 12;

/// What `tokenizer compare` is told.
#[derive(Args)]
pub struct Arguments {
    /// A tokenizer
    a: PathBuf,
    /// Another one
    b: PathBuf,
    #[command(flatten)]
    survey: SurveyArguments,
}

pub fn run(arguments: &Arguments) -> Outcome {
    let (a, b) = (arguments.survey.cutting.open(&arguments.a)?, arguments.survey.cutting.open(&arguments.b)?);
    let found = compare(&a, &b);
    let same_ids = found.shared.iter().filter(|(a, b)| a == b).count();
    let surveys = surveyed(&[&a, &b], &arguments.survey.texts)?;
    let sides = [(&arguments.a, &a, &found.only_first), (&arguments.b, &b, &found.only_second)];
    if arguments.survey.json {
        let sides = sides.iter().enumerate().map(|(i, (path, tokenizer, only))| {
            json!({
                "tokenizer": path.display().to_string(), "tokens": tokenizer.n_tokens(), "only": only.len(),
                "text": surveys.as_ref().map(|surveys| as_json(&surveys[i])),
            })
        });
        let sides: Vec<_> = sides.collect();
        print_json(&json!({"shared": found.shared.len(), "same_ids": same_ids, "tokenizers": sides}))?;
        return Ok(());
    }
    let mut out = out();
    for (i, (path, tokenizer, only)) in sides.into_iter().enumerate() {
        let (n_tokens, n_only) = (grouped(tokenizer.n_tokens() as u64), grouped(only.len() as u64));
        writeln!(out, "{}: {n_tokens} tokens, {n_only} that the other has not", escaped(&path.display().to_string()))?;
        if !only.is_empty() {
            let spelling = |&id: &TokenId| escaped(&tokenizer.spelling(id)).into_owned();
            let examples: Vec<String> = only.iter().take(EXAMPLES).map(spelling).collect();
            writeln!(out, "  the first         {}", examples.join(" "))?;
        }
        if let Some(surveys) = &surveys {
            print(&mut out, &surveys[i])?;
        }
    }
    writeln!(
        out,
        "shared: {} tokens, {} with the same id",
        grouped(found.shared.len() as u64),
        grouped(same_ids as u64)
    )?;
    Ok(out.flush()?)
}
