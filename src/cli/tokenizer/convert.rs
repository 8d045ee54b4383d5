//! `wordgrove tokenizer convert`: a tokenizer in another form.

use std::path::PathBuf;

use clap::Args;
use wordgrove::Tokenizer;
use wordgrove::tokens::Pattern;

use super::form::Form;
use super::pattern;
use crate::cli::failure::Outcome;
use crate::cli::output::grouped;
use crate::cli::terminal::Terminal;

/// What `tokenizer convert` is told.
#[derive(Args)]
pub struct Arguments {
    /// A tokenizer.json, a .tiktoken file, a model folder, or a folder with vocab.json and merges.txt
    #[arg(value_name = "IN")]
    input: PathBuf,
    /// What to write: a file that ends in .tiktoken; vocab.json, with merges.txt beside it, as GPT-2 has them; with any
    /// other name a tokenizer.json. What a form cannot say is refused
    #[arg(value_name = "OUT")]
    output: PathBuf,
    /// Leave added tokens out, special ones and others; their ids stay unused
    #[arg(long)]
    without_added_tokens: bool,
    /// How a .tiktoken file cuts text, which it does not say itself: gpt2, cl100k, o200k,
    /// cl100k-tiktoken (as tiktoken has it now), none or a regular expression
    #[arg(long, value_name = "PATTERN", default_value = "cl100k-tiktoken", value_parser = pattern)]
    pattern: Pattern,
    /// Print nothing but warnings and errors
    #[arg(long, short)]
    quiet: bool,
}

pub fn run(arguments: &Arguments) -> Outcome {
    let Arguments { input, output, .. } = arguments;
    let form = Form::of(output);
    form.check(output)?;
    let terminal = Terminal::new(arguments.quiet, None)?;
    let mut tokenizer = Tokenizer::open(input, arguments.pattern.clone())?;
    if arguments.without_added_tokens {
        tokenizer = tokenizer.without_added_tokens();
    }
    form.save(&tokenizer, output, &terminal)?;
    terminal.say(&format!("saved {}: {} tokens", output.display(), grouped(tokenizer.n_tokens() as u64)));
    Ok(())
}
