//! `wordgrove tokenizer train`: text, or words with their counts → a tokenizer.

use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::json;
use wordgrove::files::{check_replaceable, replace_file};
use wordgrove::text::{Corpus, Normalizer};
use wordgrove::tokens::{BpeConfig, Pattern, TrainerRules, learn_bpe, learn_bpe_from_counts};
use wordgrove::{Error, Tokenizer};

use super::pattern;
use crate::cli::failure::{Failure, Outcome};
use crate::cli::inputs::spare;
use crate::cli::number::whole;
use crate::cli::output::{grouped, print_json};
use crate::cli::terminal::Terminal;

/// What `tokenizer train` is told.
#[derive(Args)]
pub struct Arguments {
    /// Text files or folders; - is standard input. Plain, .gz, .zst or .xz
    #[arg(value_name = "TEXT", required_unless_present = "word_counts")]
    texts: Vec<PathBuf>,
    /// What to write: a file that ends in .tiktoken; vocab.json, with merges.txt beside it, as GPT-2 has them; with any
    /// other name a tokenizer.json
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
    /// How many tokens to learn, the 256 bytes and the special tokens included
    #[arg(long, value_name = "N", default_value_t = 32_000, allow_negative_numbers = true, value_parser = whole(256..=1usize << 22))]
    vocab_size: usize,
    /// Merge only pairs that occur this often
    #[arg(long, value_name = "N", default_value_t = 2, allow_negative_numbers = true, value_parser = whole(1..=u64::MAX))]
    min_frequency: u64,
    /// A token that stands for no text, like <|endoftext|>; may be given several times
    #[arg(long, value_name = "TOKEN")]
    special_token: Vec<String>,
    /// The longest token, in bytes
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = whole(2..=1usize << 30))]
    max_token_length: Option<usize>,
    /// How text is cut into pieces: gpt2, cl100k, cl100k-tiktoken, o200k, none or a regular expression
    #[arg(long, value_name = "PATTERN", default_value = "gpt2", value_parser = pattern)]
    pattern: Pattern,
    /// Learn from a file of words and counts, `word TAB count` a line, instead of text
    #[arg(long, value_name = "FILE", conflicts_with = "texts")]
    word_counts: Option<PathBuf>,
    /// Follow Hugging Face's trainer also where it is odd: special tokens in the text count as words, and tokens stay
    /// below --max-token-length
    #[arg(long)]
    like_hugging_face: bool,
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

pub fn run(arguments: &Arguments) -> Outcome {
    let config = BpeConfig {
        vocab_size: arguments.vocab_size,
        min_frequency: arguments.min_frequency,
        special_tokens: arguments.special_token.clone(),
        max_token_length: arguments.max_token_length,
        pattern: arguments.pattern.clone(),
        normalizer: Normalizer { lowercase: arguments.lowercase, form: None },
        rules: if arguments.like_hugging_face { TrainerRules::HuggingFace } else { TrainerRules::Ours },
    };
    config.check()?;
    let inputs: Vec<PathBuf> = arguments.texts.iter().chain(&arguments.word_counts).cloned().collect();
    spare(&inputs, "--output", &arguments.output)?;
    check_output(&arguments.output)?;
    let terminal = Terminal::new(arguments.quiet, None)?;
    let tokenizer = match &arguments.word_counts {
        Some(path) => {
            learn_bpe_from_counts(&Corpus::open_with(std::slice::from_ref(path), &terminal)?, &config, &terminal)?
        }
        None => learn_bpe(&Corpus::open_with(&arguments.texts, &terminal)?, &config, &terminal)?,
    };
    save(&tokenizer, &arguments.output)?;
    terminal.say(&format!("saved {}: {} tokens", arguments.output.display(), grouped(tokenizer.n_tokens() as u64)));
    if arguments.json {
        print_json(&json!({"tokenizer": arguments.output.display().to_string(), "tokens": tokenizer.n_tokens()}))?;
    }
    Ok(())
}

/// Finds out before learning whether the result can be written.
fn check_output(path: &Path) -> Outcome {
    if is_gpt2(path) {
        check_replaceable(&path.with_file_name("merges.txt"))?;
    }
    Ok(check_replaceable(path)?)
}

fn is_gpt2(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name == "vocab.json")
}

fn save(tokenizer: &Tokenizer, path: &Path) -> Outcome {
    let write = |path: &Path, text: &str| replace_file(path, |out| out.write_all(text.as_bytes()));
    // What the format cannot say is found out here, with nothing written yet.
    let usage = |error: Error| Failure::Usage(format!("--output {}: {error}", path.display()));
    if is_gpt2(path) {
        let (vocab, merges) = tokenizer.to_gpt2_files().map_err(usage)?;
        write(&path.with_file_name("merges.txt"), &merges)?;
        return Ok(write(path, &vocab)?);
    }
    if path.extension().is_some_and(|ending| ending == "tiktoken") {
        return Ok(write(path, &tokenizer.to_tiktoken().map_err(usage)?)?);
    }
    Ok(write(path, &tokenizer.to_json())?)
}
