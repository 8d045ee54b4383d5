//! `wordgrove transformer translate`: a line for a line.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::json;
use wordgrove::transformer::{
    Hypothesis, Shape, Transformer, TransformerConfig, TranslateConfig, is_text, line_ids, translate,
};
use wordgrove::{Error, TokenId, Tokenizer};

use super::{ModelArguments, use_threads};
use crate::cli::failure::{Failure, Outcome};
use crate::cli::number::{real, whole};
use crate::cli::output::{escaped, out};
use crate::cli::tokenizer::each_line;

/// What `transformer translate` is told.
#[derive(Args)]
#[command(
    after_help = "A word that is not in the vocabulary of a model of whole words reads as [UNK], and where the model expects \
    one it writes [UNK]. Of a file, a line that is too long for the model has an empty one for its translation; the exit \
    code is then 3."
)]
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
    let (transformer, tokenizer) = arguments.model.open_to(&[Shape::EncoderDecoder], "translates")?;
    let mut lines = Lines { source: source(&arguments.text), n: 0, too_long: Vec::new() };
    let mut out = out();
    each_line(&arguments.text, &mut |line| {
        let found = lines.translate(&transformer, &tokenizer, line, &config)?;
        let texts: Vec<String> = found
            .iter()
            .map(|hypothesis| text(transformer.config(), &tokenizer, &hypothesis.ids))
            .collect::<Result<_, _>>()?;
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
    })?;
    lines.finish()
}

/// The file whose lines are translated, `-` for standard input; `None` where the text itself is given.
fn source(given: &[String]) -> Option<PathBuf> {
    match given {
        [] => Some(PathBuf::from("-")),
        [one] if one == "-" || Path::new(one).is_file() => Some(PathBuf::from(one)),
        _ => None,
    }
}

/// The lines so far.
struct Lines {
    source: Option<PathBuf>,
    n: usize,
    /// Numbers of lines that have no translation because they are too long, and why the first of them has none.
    too_long: Vec<(usize, String)>,
}

impl Lines {
    /// An empty line has an empty translation, so that lines stay in step. So has one of a file that is too long: the others
    /// are worth having.
    fn translate(
        &mut self,
        transformer: &Transformer,
        tokenizer: &Tokenizer,
        line: &[u8],
        config: &TranslateConfig,
    ) -> Outcome<Vec<Hypothesis>> {
        self.n += 1;
        if line.trim_ascii().is_empty() {
            return Ok(Vec::new());
        }
        let ids = line_ids(transformer.config(), tokenizer, line);
        match (translate(transformer, &ids, config), &self.source) {
            (Err(Error::Config { field: "source", reason }), Some(_)) => {
                self.too_long.push((self.n, reason));
                Ok(Vec::new())
            }
            (Err(Error::Config { field: "source", reason }), None) => Err(Failure::Usage(format!("TEXT: {reason}"))),
            (found, _) => Ok(found?),
        }
    }

    /// Tells which lines have no translation.
    fn finish(self) -> Outcome {
        /// So many are named.
        const SHOWN: usize = 8;
        let (Some(source), Some((first, reason))) = (&self.source, self.too_long.first()) else { return Ok(()) };
        let others: Vec<String> = self.too_long[1..].iter().take(SHOWN).map(|(line, _)| line.to_string()).collect();
        let others = match self.too_long.len() - 1 {
            0 => String::new(),
            n if n <= SHOWN => format!("; so are lines {}", others.join(", ")),
            n => format!("; so are lines {} and {} more", others.join(", "), n - SHOWN),
        };
        let reason =
            format!("line {first} is too long to be translated: {reason}{others}; an empty line stands for each");
        Err(Error::format(source, reason).into())
    }
}

/// The text of a translation; line feeds in it would put later lines out of step.
fn text(config: &TransformerConfig, tokenizer: &Tokenizer, ids: &[TokenId]) -> Result<String, Error> {
    let ids: Vec<TokenId> = ids.iter().copied().filter(|&id| is_text(config, tokenizer, id)).collect();
    Ok(String::from_utf8_lossy(&tokenizer.decode(&ids)?).replace(['\n', '\r'], " "))
}
