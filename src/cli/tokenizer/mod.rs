//! `wordgrove tokenizer`: learn a tokenizer, use it, look into it.

mod compare;
mod convert;
mod decode;
mod encode;
mod form;
mod info;
mod train;

use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use wordgrove::tokens::Pattern;
use wordgrove::{Error, Tokenizer};

use super::failure::Outcome;

/// What `tokenizer` is told.
#[derive(Args)]
pub struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Learn a byte-level BPE from text
    Train(train::Arguments),
    /// Text → ids, a line for a line
    Encode(encode::Arguments),
    /// Ids → text, a line for a line
    Decode(decode::Arguments),
    /// What a tokenizer is, and how it fares on a text
    Info(info::Arguments),
    /// Two tokenizers beside each other on a text
    Compare(compare::Arguments),
    /// A tokenizer in another form: tokenizer.json, .tiktoken, vocab.json and merges.txt
    Convert(convert::Arguments),
}

/// A tokenizer, in any form that is read.
#[derive(Args)]
struct TokenizerArguments {
    /// A tokenizer.json, a .tiktoken file, a model folder, or a folder with vocab.json and merges.txt
    #[arg(long, value_name = "FILE")]
    tokenizer: PathBuf,
    /// How a .tiktoken file cuts text, which it does not say itself: gpt2, cl100k, o200k,
    /// cl100k-tiktoken (as tiktoken has it now) or a regular expression
    #[arg(long, value_name = "PATTERN", default_value = "cl100k-tiktoken", value_parser = pattern)]
    pattern: Pattern,
}

/// What tokenizers are tried on, and how that is shown.
#[derive(Args)]
struct SurveyArguments {
    /// Text to try it on
    #[arg(value_name = "TEXT")]
    texts: Vec<PathBuf>,
    /// How a .tiktoken file cuts text: gpt2, cl100k, o200k,
    /// cl100k-tiktoken (as tiktoken has it now) or a regular expression
    #[arg(long, value_name = "PATTERN", default_value = "cl100k-tiktoken", value_parser = pattern)]
    pattern: Pattern,
    /// Print a JSON object
    #[arg(long)]
    json: bool,
}

impl TokenizerArguments {
    fn open(&self) -> Outcome<Tokenizer> {
        Ok(Tokenizer::open(&self.tokenizer, self.pattern.clone())?)
    }
}

pub fn run(arguments: &Arguments) -> Outcome {
    match &arguments.verb {
        Verb::Train(arguments) => train::run(arguments),
        Verb::Encode(arguments) => encode::run(arguments),
        Verb::Decode(arguments) => decode::run(arguments),
        Verb::Info(arguments) => info::run(arguments),
        Verb::Compare(arguments) => compare::run(arguments),
        Verb::Convert(arguments) => convert::run(arguments),
    }
}

/// How a .tiktoken file cuts text unless something else is said.
const TIKTOKEN: Pattern = Pattern::Cl100kTiktoken;

/// A tokenizer that is named without a pattern.
pub fn open(path: &Path) -> Outcome<Tokenizer> {
    Ok(Tokenizer::open(path, TIKTOKEN)?)
}

/// A pattern by its name, or a regular expression.
fn pattern(name: &str) -> Result<Pattern, String> {
    match name {
        "gpt2" => Ok(Pattern::Gpt2),
        "cl100k" => Ok(Pattern::Cl100k),
        "cl100k-tiktoken" => Ok(Pattern::Cl100kTiktoken),
        "o200k" => Ok(Pattern::O200k),
        "none" => Ok(Pattern::Whole),
        // The parser draws its message over several lines.
        source => Pattern::custom(source)
            .map_err(|error| error.to_string().lines().map(str::trim).collect::<Vec<_>>().join(" ")),
    }
}

/// Does the work for what was given: the lines of a file, of standard input when it is `-` or nothing was given, or the
/// given words themselves when no file has that name.
pub fn each_line(given: &[String], work: &mut dyn FnMut(&[u8]) -> Outcome) -> Outcome {
    let path = match given {
        [] => Path::new("-"),
        [one] => Path::new(one),
        words => return work(words.join(" ").as_bytes()),
    };
    let mut input: Box<dyn BufRead> = if path == Path::new("-") {
        Box::new(io::stdin().lock())
    } else if path.is_file() {
        Box::new(BufReader::new(File::open(path).map_err(Error::io(path))?))
    } else {
        return work(path.as_os_str().as_encoded_bytes());
    };
    let mut line = Vec::new();
    while input.read_until(b'\n', &mut line).map_err(Error::io(path))? > 0 {
        // Line ends are no text here, as they are none in training.
        let text = line.strip_suffix(b"\n").unwrap_or(&line);
        work(text.strip_suffix(b"\r").unwrap_or(text))?;
        line.clear();
    }
    Ok(())
}
