//! `wordgrove tokenizer decode`: ids → text.

use std::io::Write;

use clap::Args;
use wordgrove::{Error, TokenId};

use super::{TokenizerArguments, each_line_of_files, each_line_of_input};
use crate::cli::failure::Outcome;
use crate::cli::output::out;

/// What `tokenizer decode` is told.
#[derive(Args)]
pub struct Arguments {
    #[command(flatten)]
    tokenizer: TokenizerArguments,
    /// Ids with spaces or commas between, or a file or folder of such lines; without any, standard input
    #[arg(value_name = "IDS", num_args = 0.., allow_negative_numbers = true)]
    ids: Vec<String>,
}

/// What may stand between ids.
fn separators(c: char) -> bool {
    c.is_whitespace() || matches!(c, ',' | '[' | ']')
}

pub fn run(arguments: &Arguments) -> Outcome {
    let tokenizer = arguments.tokenizer.open()?;
    let mut out = out();
    let mut print = |line: &[u8]| -> Outcome {
        let line = String::from_utf8_lossy(line);
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
    match &arguments.ids[..] {
        [] => each_line_of_input(&mut print)?,
        [one] if one == "-" => each_line_of_input(&mut print)?,
        [one] if !one.chars().all(|c| c.is_ascii_digit() || c == '-' || separators(c)) => {
            each_line_of_files(&[one.into()], &mut print)?;
        }
        ids => print(ids.join(" ").as_bytes())?,
    }
    Ok(out.flush()?)
}
