//! `wordgrove transformer embed`: a vector for each line.

use std::io::{self, Write};

use clap::Args;
use serde_json::json;
use wordgrove::TokenId;
use wordgrove::transformer::{embed, line_ids};

use super::{ModelArguments, use_threads};
use crate::cli::failure::Outcome;
use crate::cli::output::out;
use crate::cli::tokenizer::each_line;

/// So many lines are read, and shown, together.
const LINES: usize = 256;

/// What `transformer embed` is told.
#[derive(Args)]
#[command(
    after_help = "A vector is the mean of the last layer's vectors over the line, of length 1: the product of two is \
    their cosine."
)]
pub struct Arguments {
    #[command(flatten)]
    model: ModelArguments,
    /// A text file, or the text itself when there is no file of that name; without it, standard input
    #[arg(value_name = "TEXT")]
    text: Vec<String>,
    /// Print JSON, an object a line: text and vector
    #[arg(long)]
    json: bool,
}

pub fn run(arguments: &Arguments) -> Outcome {
    use_threads(arguments.model.threads)?;
    let (transformer, tokenizer) = arguments.model.open()?;
    let mut out = out();
    let mut lines: Vec<(String, Vec<TokenId>)> = Vec::new();
    let mut show = |lines: &mut Vec<(String, Vec<TokenId>)>| -> Outcome {
        let (texts, ids): (Vec<String>, Vec<Vec<TokenId>>) = std::mem::take(lines).into_iter().unzip();
        for (text, vector) in texts.iter().zip(embed(&transformer, &ids)?) {
            if arguments.json {
                serde_json::to_writer(&mut out, &json!({"text": text, "vector": vector})).map_err(io::Error::from)?;
            } else {
                // The shortest decimals that read back as the same numbers.
                let numbers: Vec<String> = vector.iter().map(f32::to_string).collect();
                out.write_all(numbers.join(" ").as_bytes())?;
            }
            writeln!(out)?;
        }
        Ok(out.flush()?)
    };
    each_line(&arguments.text, &mut |line| {
        lines.push((String::from_utf8_lossy(line).into_owned(), line_ids(transformer.config(), &tokenizer, line)));
        if lines.len() == LINES { show(&mut lines) } else { Ok(()) }
    })?;
    show(&mut lines)
}
