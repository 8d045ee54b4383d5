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

use std::path::PathBuf;

use clap::{Args, Subcommand};
use wordgrove::transformer::{Checkpoint, Transformer, leave_threads_to_rayon};
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
    leave_threads_to_rayon();
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
}

/// From here on all work is done by so many threads.
fn use_threads(threads: Option<usize>) -> Outcome {
    let Some(threads) = threads else { return Ok(()) };
    rayon::ThreadPoolBuilder::new()
        .num_threads(threads)
        .build_global()
        .map_err(|error| Failure::Usage(format!("--threads: {threads} could not be started: {error}")))
}
