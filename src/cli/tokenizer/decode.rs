//! `wordgrove tokenizer decode`: ids → text.

use std::io::Write;

use clap::Args;
use wordgrove::{Error, TokenId};

use super::{TokenizerArguments, each_line};
use crate::cli::failure::Outcome;
use crate::cli::output::out;

/// What `tokenizer decode` is told.
#[derive(Args)]
pub struct Arguments {
    #[command(flatten)]
    tokenizer: TokenizerArguments,
    /// The ids, separated by spaces or commas; without them, the lines of standard input
    #[arg(value_name = "IDS", num_args = 0.., allow_negative_numbers = true)]
    ids: Vec<String>,
}

pub fn run(arguments: &Arguments) -> Outcome {
    let tokenizer = arguments.tokenizer.open()?;
    let mut out = out();
    let mut print = |line: &str| -> Outcome {
        let separators = |c: char| c.is_whitespace() || matches!(c, ',' | '[' | ']');
        let ids = line.split(separators).filter(|word| !word.is_empty()).map(|word| {
            let id = word.parse().ok().filter(|&id| (id as usize) < tokenizer.n_tokens()).map(TokenId);
            id.ok_or_else(|| {
                Error::format("ids", format!("'{word}' is not a token id: expected 0 to {}", tokenizer.n_tokens() - 1))
            })
        });
        out.write_all(&tokenizer.decode(&ids.collect::<Result<Vec<_>, _>>()?)?)?;
        Ok(writeln!(out)?)
    };
    if arguments.ids.is_empty() {
        each_line(&mut |line| print(&String::from_utf8_lossy(line)))?;
    } else {
        print(&arguments.ids.join(" "))?;
    }
    Ok(out.flush()?)
}
