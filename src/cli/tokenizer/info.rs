//! `wordgrove tokenizer info`: what a tokenizer is, and how it fares on a text.

use std::io::Write;
use std::path::PathBuf;

use clap::Args;
use serde_json::json;
use wordgrove::text::Corpus;
use wordgrove::{TokenId, Tokenizer};

use super::pattern;
use crate::cli::failure::Outcome;
use crate::cli::output::{escaped, grouped, out, print_json};
use crate::cli::terminal::Terminal;
use wordgrove::tokens::Pattern;

/// What `tokenizer info` is told.
#[derive(Args)]
pub struct Arguments {
    /// A tokenizer.json, a .tiktoken file, a model folder, or a folder with vocab.json and merges.txt
    #[arg(value_name = "TOKENIZER")]
    tokenizer: PathBuf,
    /// Text to try it on
    #[arg(value_name = "TEXT")]
    texts: Vec<PathBuf>,
    /// How a .tiktoken file cuts text: gpt2, cl100k, o200k or a regular expression
    #[arg(long, value_name = "PATTERN", default_value = "cl100k", value_parser = pattern)]
    pattern: Pattern,
    /// Print a JSON object
    #[arg(long)]
    json: bool,
}

/// How many tokens a text becomes.
#[derive(Debug, Default, Clone, Copy, PartialEq)]
pub struct Fare {
    /// Bytes of the text, line ends left out.
    pub bytes: u64,
    /// Runs of anything but white space.
    pub words: u64,
    /// Tokens.
    pub tokens: u64,
}

impl Fare {
    /// Tokens per word.
    pub fn fertility(&self) -> Option<f64> {
        (self.words > 0).then(|| self.tokens as f64 / self.words as f64)
    }

    /// Bytes per token.
    pub fn bytes_per_token(&self) -> Option<f64> {
        (self.tokens > 0).then(|| self.bytes as f64 / self.tokens as f64)
    }
}

/// Encodes a text and counts.
pub fn fare(tokenizer: &Tokenizer, corpus: &Corpus, terminal: &Terminal) -> Outcome<Fare> {
    let mut total = Fare::default();
    corpus.for_each_chunk(
        "encoding",
        terminal,
        |chunk| {
            let mut fare = Fare::default();
            for line in chunk.lines() {
                fare.bytes += line.text.len() as u64;
                fare.words += line.text.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty()).count() as u64;
                fare.tokens += tokenizer.encode(line.text).len() as u64;
            }
            fare
        },
        |fare| {
            total.bytes += fare.bytes;
            total.words += fare.words;
            total.tokens += fare.tokens;
            Ok(())
        },
    )?;
    Ok(total)
}

pub fn run(arguments: &Arguments) -> Outcome {
    const LONGEST: usize = 10;
    let tokenizer = Tokenizer::open(&arguments.tokenizer, arguments.pattern.clone())?;
    let ids = || (0..tokenizer.n_tokens() as u32).map(TokenId);
    let n_special = ids().filter(|&id| tokenizer.is_special(id)).count();
    let mut longest: Vec<TokenId> = ids().filter(|&id| !tokenizer.is_special(id)).collect();
    longest.sort_by_key(|&id| (std::cmp::Reverse(tokenizer.bytes(id).len()), id));
    longest.truncate(LONGEST);
    let fare = match arguments.texts.is_empty() {
        true => None,
        false => {
            let terminal = Terminal::new(false, None)?;
            Some(fare(&tokenizer, &Corpus::open_with(&arguments.texts, &terminal)?, &terminal)?)
        }
    };
    let kind = if tokenizer.is_words() { "whole words" } else { "byte-level BPE" };
    if arguments.json {
        let longest: Vec<String> = longest.iter().map(|&id| tokenizer.spelling(id)).collect();
        let text = fare.map(|fare| {
            json!({
                "bytes": fare.bytes, "words": fare.words, "tokens": fare.tokens, "tokens_per_word": fare.fertility(),
                "bytes_per_token": fare.bytes_per_token(),
            })
        });
        let (tokens, lowercase) = (tokenizer.n_tokens(), tokenizer.normalizer().lowercase);
        print_json(&json!({
            "kind": kind, "tokens": tokens, "special": n_special, "lowercase": lowercase, "longest": longest, "text": text,
        }))?;
        return Ok(());
    }
    let mut out = out();
    writeln!(out, "{}: {kind}", arguments.tokenizer.display())?;
    writeln!(
        out,
        "  tokens           {}, {} of them special",
        grouped(tokenizer.n_tokens() as u64),
        grouped(n_special as u64)
    )?;
    if !tokenizer.normalizer().is_identity() {
        writeln!(
            out,
            "  text becomes     {}",
            if tokenizer.normalizer().lowercase { "lower case" } else { "normalised" }
        )?;
    }
    writeln!(out, "  longest tokens")?;
    for &id in &longest {
        let spelling = tokenizer.spelling(id);
        writeln!(out, "    {:>8}  {:>3} bytes  {}", id.0, tokenizer.bytes(id).len(), escaped(&spelling))?;
    }
    if let Some(fare) = fare {
        writeln!(
            out,
            "  on the text      {} bytes, {} words, {} tokens",
            grouped(fare.bytes),
            grouped(fare.words),
            grouped(fare.tokens)
        )?;
        let number = |number: Option<f64>| number.map_or("–".to_string(), |number| format!("{number:.3}"));
        writeln!(out, "  tokens per word  {}", number(fare.fertility()))?;
        writeln!(out, "  bytes per token  {}", number(fare.bytes_per_token()))?;
    }
    Ok(out.flush()?)
}
