//! `wordgrove tokenizer encode`: text → ids.

use std::io::{self, IsTerminal, Write};

use clap::Args;
use serde_json::json;
use wordgrove::tokens::SpecialTokens;
use wordgrove::{TokenId, Tokenizer};

use super::{TokenizerArguments, each_line};
use crate::cli::failure::Outcome;
use crate::cli::output::{escaped, out};

/// What `tokenizer encode` is told.
#[derive(Args)]
pub struct Arguments {
    #[command(flatten)]
    tokenizer: TokenizerArguments,
    /// A text file, or the text itself when there is no file of that name; without it, standard input
    #[arg(value_name = "TEXT")]
    text: Vec<String>,
    /// Take special tokens in the text for what they are, not for plain characters
    #[arg(long)]
    special_tokens: bool,
    /// The same, and put those around the text that the tokenizer's file wants there, as Hugging Face's encode does
    #[arg(long)]
    add_special_tokens: bool,
    /// Show the pieces, with the id and the bytes of each
    #[arg(long, conflicts_with = "json")]
    show: bool,
    /// Print JSON, an object a line: ids and tokens
    #[arg(long)]
    json: bool,
}

pub fn run(arguments: &Arguments) -> Outcome {
    let tokenizer = arguments.tokenizer.open()?;
    let special = match (arguments.special_tokens, arguments.add_special_tokens) {
        (_, true) => SpecialTokens::Framed,
        (true, false) => SpecialTokens::Found,
        (false, false) => SpecialTokens::AsText,
    };
    let mut out = out();
    let is_colored = io::stdout().is_terminal()
        && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
        && std::env::var_os("TERM").is_none_or(|term| term != "dumb");
    let mut print = |line: &[u8]| -> Outcome {
        let ids = tokenizer.encode_with(line, special);
        if arguments.show {
            show(&mut out, &tokenizer, &ids, is_colored)?;
        } else if arguments.json {
            let numbers: Vec<u32> = ids.iter().map(|id| id.0).collect();
            let tokens: Vec<String> = ids.iter().map(|&id| tokenizer.spelling(id)).collect();
            serde_json::to_writer(&mut out, &json!({"ids": numbers, "tokens": tokens})).map_err(io::Error::from)?;
            writeln!(out)?;
        } else {
            let numbers: Vec<String> = ids.iter().map(|id| id.0.to_string()).collect();
            writeln!(out, "{}", numbers.join(" "))?;
        }
        Ok(())
    };
    each_line(&arguments.text, &mut print)?;
    Ok(out.flush()?)
}

/// The text with its pieces side by side, in turning colours where there are any, then a line for each piece.
fn show(out: &mut dyn Write, tokenizer: &Tokenizer, ids: &[TokenId], is_colored: bool) -> Outcome {
    const BACKGROUNDS: [u8; 5] = [44, 42, 45, 46, 43];
    for (i, &id) in ids.iter().enumerate() {
        let text = String::from_utf8_lossy(tokenizer.bytes(id)).into_owned();
        let text = escaped(&text);
        if is_colored {
            write!(out, "\x1b[{};30m{text}\x1b[0m", BACKGROUNDS[i % BACKGROUNDS.len()])?;
        } else {
            write!(out, "{}{text}", if i == 0 { "" } else { "|" })?;
        }
    }
    writeln!(out)?;
    let width = ids.iter().map(|&id| tokenizer.spelling(id).chars().count()).max().unwrap_or(0);
    for &id in ids {
        let bytes: Vec<String> = tokenizer.bytes(id).iter().map(|byte| format!("{byte:02x}")).collect();
        let spelling = tokenizer.spelling(id);
        writeln!(out, "  {:>8}  {:width$}  {}", id.0, escaped(&spelling), bytes.join(" "))?;
    }
    Ok(())
}
