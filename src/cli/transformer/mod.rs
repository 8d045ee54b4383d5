//! `wordgrove transformer`: train a small transformer, and use it.

mod attention;
mod data;
mod embed;
mod generate;
mod look;
mod settings;
mod trace;
mod train;
mod translate;

use std::io::{self, Read};
use std::path::PathBuf;

use clap::{Args, Subcommand};
use wordgrove::transformer::{Checkpoint, Shape, Transformer, settle_environment};
use wordgrove::{Error, Tokenizer};

use super::failure::{Failure, Outcome};
use super::number::whole;

/// What `transformer` is told.
#[derive(Args)]
pub struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Train a transformer on text, or on pairs of texts; it can start from a model of word vectors
    Train(Box<train::Arguments>),
    /// Go on with a text
    #[command(visible_alias = "write")]
    Generate(generate::Arguments),
    /// Translate, a line for a line
    Translate(translate::Arguments),
    /// Sentences → vectors, a line for a line
    Embed(embed::Arguments),
    /// Which tokens look at which, in every layer and head: a page, or a picture
    Attention(attention::Arguments),
    /// Every step from the tokens to the predicted one, with the model's own numbers
    Trace(trace::Arguments),
}

pub fn run(arguments: &Arguments) -> Outcome {
    settle_environment();
    match &arguments.verb {
        Verb::Train(arguments) => train::run(arguments),
        Verb::Generate(arguments) => generate::run(arguments),
        Verb::Translate(arguments) => translate::run(arguments),
        Verb::Embed(arguments) => embed::run(arguments),
        Verb::Attention(arguments) => attention::run(arguments),
        Verb::Trace(arguments) => trace::run(arguments),
    }
}

/// A trained transformer, and on how many threads it works.
#[derive(Args)]
struct ModelArguments {
    /// A folder that `transformer train` wrote, or one with a GPT-2, Marian or BERT model in the layout of Hugging Face
    #[arg(value_name = "MODEL")]
    model: PathBuf,
    /// Threads, 1 to 1024 [default: all cores]
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = whole(1..=1024usize))]
    threads: Option<usize>,
}

impl ModelArguments {
    /// What its folder is called.
    fn name(&self) -> String {
        self.model.file_name().unwrap_or(self.model.as_os_str()).to_string_lossy().into_owned()
    }

    /// Opens it.
    fn open(&self) -> Outcome<(Transformer, Tokenizer)> {
        let Checkpoint { transformer, tokenizer, .. } = Checkpoint::open(&self.model)?;
        let tokenizer = tokenizer.ok_or_else(|| {
            Error::format(&self.model, "has no tokenizer.json: put the one it was trained with there")
        })?;
        Ok((transformer, tokenizer))
    }

    /// Opens it for something that only these shapes do; `what` says what that is.
    fn open_to(&self, shapes: &[Shape], what: &str) -> Outcome<(Transformer, Tokenizer)> {
        let (transformer, tokenizer) = self.open()?;
        let shape = transformer.config().shape;
        if shapes.contains(&shape) {
            return Ok((transformer, tokenizer));
        }
        let (path, verb) = (self.model.display(), usual_verb(shape));
        let wanted: Vec<String> = shapes.iter().map(Shape::to_string).collect();
        Err(Failure::Usage(format!(
            "{path}: is of shape {shape}, and only {} {what}; try: wordgrove transformer {verb} {path}",
            wanted.join(" or ")
        )))
    }
}

/// What a transformer of this shape is for.
fn usual_verb(shape: Shape) -> &'static str {
    match shape {
        Shape::Decoder => "generate",
        Shape::EncoderDecoder => "translate",
        Shape::Encoder => "embed",
    }
}

/// A text that is given as words, or comes through standard input for `-`, without the line ends behind it.
fn text(given: &[String]) -> Outcome<String> {
    if given != ["-"] {
        return Ok(given.join(" "));
    }
    let mut bytes = Vec::new();
    io::stdin().lock().read_to_end(&mut bytes).map_err(Error::io("-"))?;
    Ok(String::from_utf8_lossy(&bytes).trim_end_matches(['\n', '\r']).to_string())
}

/// From here on all work is done by so many threads, or as many as there are cores; returns how many that is.
fn use_threads(threads: Option<usize>) -> Outcome<usize> {
    if let Some(threads) = threads {
        rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .build_global()
            .map_err(|error| Failure::Usage(format!("--threads: {threads} could not be started: {error}")))?;
    }
    Ok(rayon::current_num_threads())
}
