//! `wordgrove transformer translate`: a line for a line.

use std::io::{self, Write};

use clap::Args;
use serde_json::json;
use wordgrove::tokens::SpecialTokens;
use wordgrove::transformer::{Hypothesis, Transformer, TranslateConfig, translate};
use wordgrove::{Error, TokenId, Tokenizer};

use super::{ModelArguments, use_threads};
use crate::cli::failure::Outcome;
use crate::cli::number::{real, whole};
use crate::cli::output::{escaped, out};
use crate::cli::tokenizer::each_line;

/// What `transformer translate` is told.
#[derive(Args)]
pub struct Arguments {
    #[command(flatten)]
    model: ModelArguments,
    /// A text file, or the text itself when there is no file of that name; without it, standard input
    #[arg(value_name = "TEXT")]
    text: Vec<String>,
    /// How many hypotheses are followed, 1 to 1024; 1 always takes the most probable token
    #[arg(short, long, alias = "beam-size", alias = "num-beams", value_name = "N", default_value_t = 4, allow_negative_numbers = true, value_parser = whole(1..=1024usize))]
    beam: usize,
    /// Hypotheses of n tokens are judged by the logarithm of their probability / n to this power, 0 to 10
    #[arg(long, value_name = "POWER", default_value_t = 1.0, allow_negative_numbers = true, value_parser = real("from 0 to 10"))]
    length_penalty: f64,
    /// The most tokens of a translation [default: what the context has room for]
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = whole(1..=1usize << 20))]
    max_len: Option<usize>,
    /// Print a JSON object a line, with all hypotheses that were found
    #[arg(long)]
    json: bool,
}

pub fn run(arguments: &Arguments) -> Outcome {
    let Arguments { beam, length_penalty, max_len, .. } = *arguments;
    let config = TranslateConfig { beam, length_penalty, max_len };
    config.check()?;
    use_threads(arguments.model.threads)?;
    let (transformer, tokenizer) = arguments.model.open()?;
    let mut number = 0;
    let mut out = out();
    each_line(&arguments.text, &mut |line| {
        number += 1;
        let found = translate_line(&transformer, &tokenizer, line, &config, number)?;
        let texts: Vec<String> =
            found.iter().map(|hypothesis| text(&tokenizer, &hypothesis.ids)).collect::<Result<_, _>>()?;
        if arguments.json {
            let found = found.iter().zip(&texts).map(|(found, text)| {
                json!({"text": text, "log_probability": found.log_probability, "score": found.score, "ended": found.ended})
            });
            let source = String::from_utf8_lossy(line);
            let line = json!({"source": source, "translations": found.collect::<Vec<_>>()});
            serde_json::to_writer(&mut out, &line).map_err(io::Error::from)?;
            writeln!(out)?;
        } else {
            writeln!(out, "{}", escaped(texts.first().map_or("", String::as_str)))?;
        }
        // A line that has taken a while is worth showing at once.
        Ok(out.flush()?)
    })
}

/// An empty line has an empty translation, so that lines stay in step.
fn translate_line(
    transformer: &Transformer,
    tokenizer: &Tokenizer,
    line: &[u8],
    config: &TranslateConfig,
    number: usize,
) -> Outcome<Vec<Hypothesis>> {
    if line.trim_ascii().is_empty() {
        return Ok(Vec::new());
    }
    let source = tokenizer.encode_with(line, SpecialTokens::AsText);
    translate(transformer, &source, config).map_err(|error| match error {
        Error::Config { field: "source", reason } => Error::format("-", format!("line {number}: {reason}")).into(),
        other => other.into(),
    })
}

/// The text of a translation; line feeds in it would put later lines out of step.
fn text(tokenizer: &Tokenizer, ids: &[TokenId]) -> Result<String, Error> {
    let ids: Vec<TokenId> = ids.iter().copied().filter(|&id| !tokenizer.is_special(id)).collect();
    Ok(String::from_utf8_lossy(&tokenizer.decode(&ids)?).replace(['\n', '\r'], " "))
}
