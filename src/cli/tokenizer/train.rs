//! `wordgrove tokenizer train`: text, or words with their counts → a tokenizer.

use std::path::PathBuf;

use clap::Args;
use serde_json::json;
use wordgrove::Silent;
use wordgrove::text::{Corpus, Normalizer};
use wordgrove::tokens::{BpeConfig, Pattern, TrainerRules, learn_bpe, learn_bpe_from_counts};

use super::form::Form;
use super::pattern;
use crate::cli::failure::Outcome;
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
    /// other name a tokenizer.json. What a form cannot say is refused
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
    /// How text is cut into pieces: gpt2, cl100k, cl100k-tiktoken, o200k, none or a regular expression [default: gpt2; for
    /// a .tiktoken file, which does not say it, cl100k-tiktoken, as it is read]
    #[arg(long, value_name = "PATTERN", value_parser = pattern)]
    pattern: Option<Pattern>,
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
    let form = Form::of(&arguments.output);
    let config = BpeConfig {
        vocab_size: arguments.vocab_size,
        min_frequency: arguments.min_frequency,
        special_tokens: arguments.special_token.clone(),
        max_token_length: arguments.max_token_length,
        pattern: arguments.pattern.clone().unwrap_or_else(|| form.pattern()),
        normalizer: Normalizer { lowercase: arguments.lowercase, form: None },
        rules: if arguments.like_hugging_face { TrainerRules::HuggingFace } else { TrainerRules::Ours },
    };
    config.check()?;
    let inputs: Vec<PathBuf> = arguments.texts.iter().chain(&arguments.word_counts).cloned().collect();
    spare(&inputs, "--output", &arguments.output)?;
    form.check(&arguments.output)?;
    // What the form cannot say of such a tokenizer, it cannot say of one without merges.
    let least = BpeConfig { vocab_size: 256 + config.special_tokens.len(), ..config.clone() };
    form.texts(&learn_bpe(&Corpus::from_text("a"), &least, &Silent)?, &arguments.output)?;
    let terminal = Terminal::new(arguments.quiet, None)?;
    let tokenizer = match &arguments.word_counts {
        Some(path) => {
            learn_bpe_from_counts(&Corpus::open_with(std::slice::from_ref(path), &terminal)?, &config, &terminal)?
        }
        None => learn_bpe(&Corpus::open_with(&arguments.texts, &terminal)?, &config, &terminal)?,
    };
    form.save(&tokenizer, &arguments.output, &terminal)?;
    terminal.say(&format!("saved {}: {} tokens", arguments.output.display(), grouped(tokenizer.n_tokens() as u64)));
    if arguments.json {
        print_json(&json!({"tokenizer": arguments.output.display().to_string(), "tokens": tokenizer.n_tokens()}))?;
    }
    Ok(())
}
