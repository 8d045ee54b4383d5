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
    /// A file of ids, or the ids themselves, with spaces or commas between; without them, standard input
    #[arg(value_name = "IDS", num_args = 0.., allow_negative_numbers = true)]
    ids: Vec<String>,
}

pub fn run(arguments: &Arguments) -> Outcome {
    let tokenizer = arguments.tokenizer.open()?;
    let mut out = out();
    let mut print = |line: &[u8]| -> Outcome {
        let line = String::from_utf8_lossy(line);
        let separators = |c: char| c.is_whitespace() || matches!(c, ',' | '[' | ']');
        let ids = line.split(separators).filter(|word| !word.is_empty()).map(|word| {
            let id = word.parse().ok().map(TokenId).filter(|id| id.index() < tokenizer.n_tokens());
            match id {
                Some(id) if tokenizer.is_unused(id) => {
                    Err(Error::format("ids", format!("'{word}' is an id that no token has")))
                }
                Some(id) => Ok(id),
                None => {
                    let last = tokenizer.n_tokens() - 1;
                    Err(Error::format("ids", format!("'{word}' is not a token id: expected 0 to {last}")))
                }
            }
        });
        out.write_all(&tokenizer.decode(&ids.collect::<Result<Vec<_>, _>>()?)?)?;
        Ok(writeln!(out)?)
    };
    each_line(&arguments.ids, &mut print)?;
    Ok(out.flush()?)
}
