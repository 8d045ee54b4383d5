//! `wordgrove tokenizer`: learn a tokenizer, and use it.

use std::io::{self, BufRead, Write};
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use serde_json::json;
use wordgrove::files::{check_replaceable, replace_file};
use wordgrove::text::{Corpus, Normalizer};
use wordgrove::tokens::{BpeConfig, learn_bpe};
use wordgrove::{Error, TokenId, Tokenizer};

use super::failure::Outcome;
use super::inputs::spare;
use super::number::whole;
use super::output::{grouped, out, print_json};
use super::terminal::Terminal;

/// What `tokenizer` is told.
#[derive(Args)]
pub struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Learn a byte-level BPE from text
    Train(TrainArguments),
    /// Text → ids, a line for a line
    Encode(EncodeArguments),
    /// Ids → text, a line for a line
    Decode(DecodeArguments),
}

#[derive(Args)]
struct TrainArguments {
    /// Text files or folders; - is standard input. Plain, .gz, .zst or .xz
    #[arg(value_name = "TEXT", required = true)]
    texts: Vec<PathBuf>,
    /// The tokenizer.json to write
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
    /// How many tokens to learn, the 256 bytes included
    #[arg(long, value_name = "N", default_value_t = 32_000, allow_negative_numbers = true, value_parser = whole(256..=1usize << 30))]
    vocab_size: usize,
    /// Merge only pairs that occur this often
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = whole(1..=u64::MAX))]
    min_frequency: Option<u64>,
    /// Turn the text into lower case
    #[arg(long)]
    lowercase: bool,
    /// Print a JSON object at the end
    #[arg(long)]
    json: bool,
    /// Print nothing but warnings and errors
    #[arg(long, short)]
    quiet: bool,
}

#[derive(Args)]
struct EncodeArguments {
    /// A tokenizer.json, or a model folder
    #[arg(long, value_name = "FILE")]
    tokenizer: PathBuf,
    /// The text itself; without it, the lines of standard input
    #[arg(value_name = "TEXT")]
    text: Vec<String>,
    /// Print JSON, an object a line: ids and tokens
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
struct DecodeArguments {
    /// A tokenizer.json, or a model folder
    #[arg(long, value_name = "FILE")]
    tokenizer: PathBuf,
    /// The ids, separated by spaces or commas; without them, the lines of standard input
    #[arg(value_name = "IDS", num_args = 0.., allow_negative_numbers = true)]
    ids: Vec<String>,
}

pub fn run(arguments: &Arguments) -> Outcome {
    match &arguments.verb {
        Verb::Train(arguments) => train(arguments),
        Verb::Encode(arguments) => encode(arguments),
        Verb::Decode(arguments) => decode(arguments),
    }
}

fn train(arguments: &TrainArguments) -> Outcome {
    let default = BpeConfig::default();
    let config = BpeConfig {
        vocab_size: arguments.vocab_size,
        min_frequency: arguments.min_frequency.unwrap_or(default.min_frequency),
        normalizer: Normalizer { lowercase: arguments.lowercase, form: None },
        ..default
    };
    config.check()?;
    spare(&arguments.texts, "--output", &arguments.output)?;
    check_replaceable(&arguments.output)?;
    let terminal = Terminal::new(arguments.quiet, None)?;
    let corpus = Corpus::open_with(&arguments.texts, &terminal)?;
    let tokenizer = learn_bpe(&corpus, &config, &terminal)?;
    replace_file(&arguments.output, |out| out.write_all(tokenizer.to_json().as_bytes()))?;
    terminal.say(&format!("saved {}: {} tokens", arguments.output.display(), grouped(tokenizer.n_tokens() as u64)));
    if arguments.json {
        print_json(&json!({"tokenizer": arguments.output.display().to_string(), "tokens": tokenizer.n_tokens()}))?;
    }
    Ok(())
}

/// A tokenizer.json, or the one of a model folder.
pub fn open(path: &Path) -> Outcome<Tokenizer> {
    let file = if path.is_dir() { path.join("tokenizer.json") } else { path.to_path_buf() };
    Ok(Tokenizer::read(&file)?)
}

fn encode(arguments: &EncodeArguments) -> Outcome {
    let tokenizer = open(&arguments.tokenizer)?;
    let mut out = out();
    let mut print = |line: &[u8]| -> Outcome {
        let ids = tokenizer.encode(line);
        if arguments.json {
            let numbers: Vec<u32> = ids.iter().map(|id| id.0).collect();
            let tokens: Vec<String> = ids.iter().map(|&id| tokenizer.spelling(id)).collect();
            serde_json::to_writer(&mut out, &json!({"ids": numbers, "tokens": tokens})).map_err(io::Error::from)?;
        } else {
            for (i, id) in ids.iter().enumerate() {
                write!(out, "{}{}", if i == 0 { "" } else { " " }, id.0)?;
            }
        }
        Ok(writeln!(out)?)
    };
    if arguments.text.is_empty() {
        each_line(&mut print)?;
    } else {
        print(arguments.text.join(" ").as_bytes())?;
    }
    Ok(out.flush()?)
}

fn decode(arguments: &DecodeArguments) -> Outcome {
    let tokenizer = open(&arguments.tokenizer)?;
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

/// The lines of standard input, without their ends.
fn each_line(work: &mut dyn FnMut(&[u8]) -> Outcome) -> Outcome {
    let mut input = io::stdin().lock();
    let mut line = Vec::new();
    while input.read_until(b'\n', &mut line).map_err(Error::io("-"))? > 0 {
        work(line.strip_suffix(b"\n").unwrap_or(&line))?;
        line.clear();
    }
    Ok(())
}
