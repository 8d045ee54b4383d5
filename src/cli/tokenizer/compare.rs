//! `wordgrove tokenizer compare`: two tokenizers beside each other.

use std::collections::HashSet;
use std::io::Write;
use std::path::PathBuf;

use clap::Args;
use serde_json::json;
use wordgrove::text::Corpus;
use wordgrove::tokens::Pattern;
use wordgrove::{TokenId, Tokenizer};

use super::info::{Fare, fare};
use super::pattern;
use crate::cli::failure::Outcome;
use crate::cli::output::{escaped, grouped, out, print_json};
use crate::cli::terminal::Terminal;

/// What `tokenizer compare` is told.
#[derive(Args)]
pub struct Arguments {
    /// A tokenizer
    a: PathBuf,
    /// Another one
    b: PathBuf,
    /// Text to try both on
    #[arg(value_name = "TEXT")]
    texts: Vec<PathBuf>,
    /// How a .tiktoken file cuts text: gpt2, cl100k, o200k or a regular expression
    #[arg(long, value_name = "PATTERN", default_value = "cl100k", value_parser = pattern)]
    pattern: Pattern,
    /// Print a JSON object
    #[arg(long)]
    json: bool,
}

pub fn run(arguments: &Arguments) -> Outcome {
    let open = |path: &PathBuf| Tokenizer::open(path, arguments.pattern.clone());
    let both = [open(&arguments.a)?, open(&arguments.b)?];
    let tokens = both.each_ref().map(|tokenizer| {
        (0..tokenizer.n_tokens() as u32).map(|id| tokenizer.bytes(TokenId(id))).collect::<HashSet<_>>()
    });
    let shared = tokens[0].intersection(&tokens[1]).count();
    let mut fares: Option<[Fare; 2]> = None;
    if !arguments.texts.is_empty() {
        let terminal = Terminal::new(false, None)?;
        let corpus = Corpus::open_with(&arguments.texts, &terminal)?;
        fares = Some([fare(&both[0], &corpus, &terminal)?, fare(&both[1], &corpus, &terminal)?]);
    }
    let names = [&arguments.a, &arguments.b].map(|path| path.display().to_string());
    if arguments.json {
        let side = |i: usize| {
            json!({
                "tokenizer": names[i], "tokens": both[i].n_tokens(),
                "text_tokens": fares.map(|fares| fares[i].tokens),
                "tokens_per_word": fares.and_then(|fares| fares[i].fertility()),
                "bytes_per_token": fares.and_then(|fares| fares[i].bytes_per_token()),
            })
        };
        print_json(&json!({"shared": shared, "tokenizers": [side(0), side(1)]}))?;
        return Ok(());
    }
    let mut out = out();
    for i in [0, 1] {
        let only = tokens[i].len() - shared;
        let n_tokens = grouped(both[i].n_tokens() as u64);
        writeln!(out, "{}: {n_tokens} tokens, {} that the other has not", escaped(&names[i]), grouped(only as u64))?;
        if let Some(fares) = fares {
            let number = |number: Option<f64>| number.map_or("–".to_string(), |number| format!("{number:.3}"));
            let (per_word, per_token) = (number(fares[i].fertility()), number(fares[i].bytes_per_token()));
            writeln!(
                out,
                "  on the text: {} tokens, {per_word} tokens per word, {per_token} bytes per token",
                grouped(fares[i].tokens)
            )?;
        }
    }
    writeln!(out, "shared: {} tokens", grouped(shared as u64))?;
    Ok(out.flush()?)
}
