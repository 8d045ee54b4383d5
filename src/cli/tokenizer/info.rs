//! `wordgrove tokenizer info`: what a tokenizer is, and how it fares on a text.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::{Value, json};
use wordgrove::text::{Corpus, Form, Normalizer};
use wordgrove::tokens::{Survey, survey};
use wordgrove::{TokenId, Tokenizer};

use super::{SurveyArguments, pattern_names};
use crate::cli::failure::Outcome;
use crate::cli::output::{escaped, grouped, out, print_json};
use crate::cli::terminal::Terminal;

/// How many of the longest tokens are shown.
const LONGEST: usize = 10;

/// What `tokenizer info` is told.
#[derive(Args)]
pub struct Arguments {
    /// A tokenizer.json, a .tiktoken file, a model folder, or a folder with vocab.json and merges.txt
    #[arg(value_name = "TOKENIZER")]
    tokenizer: PathBuf,
    #[command(flatten)]
    survey: SurveyArguments,
}

pub fn run(arguments: &Arguments) -> Outcome {
    let tokenizer = arguments.survey.cutting.open(&arguments.tokenizer)?;
    let special = (0..tokenizer.n_tokens() as u32).map(TokenId).filter(|&id| tokenizer.is_special(id));
    let (unused, special): (Vec<TokenId>, Vec<TokenId>) = special.partition(|&id| tokenizer.is_unused(id));
    let longest = tokenizer.longest(LONGEST);
    let patterns = tokenizer.pattern().map(pattern_names);
    let Normalizer { lowercase, form } = tokenizer.normalizer();
    let form = form.map(|form| match form {
        Form::Nfc => "NFC",
        Form::Nfkc => "NFKC",
    });
    let survey = surveyed(&[&tokenizer], &arguments.survey.texts)?.and_then(|surveys| surveys.into_iter().next());
    let kind = if tokenizer.is_words() { "whole words" } else { "byte-level BPE" };
    if arguments.survey.json {
        let longest: Vec<String> = longest.iter().map(|&id| tokenizer.spelling(id)).collect();
        print_json(&json!({
            "kind": kind, "tokens": tokenizer.n_tokens(), "special": special.len(), "unused": unused.len(),
            "merges": tokenizer.n_merges(), "patterns": patterns,
            "normalizer": {"form": form, "lowercase": lowercase},
            "longest": longest, "text": survey.as_ref().map(as_json),
        }))?;
        return Ok(());
    }
    let mut out = out();
    let (n_tokens, n_special) = (grouped(tokenizer.n_tokens() as u64), grouped(special.len() as u64));
    writeln!(out, "{}: {kind}", escaped(&arguments.tokenizer.display().to_string()))?;
    writeln!(out, "  tokens            {n_tokens}, {n_special} of them special")?;
    if !unused.is_empty() {
        writeln!(out, "  ids without token {}, among these", grouped(unused.len() as u64))?;
    }
    if tokenizer.n_merges() > 0 {
        writeln!(out, "  merges            {}", grouped(tokenizer.n_merges() as u64))?;
    }
    for (step, name) in patterns.iter().flatten().enumerate() {
        writeln!(out, "  {:16}  {}", if step == 0 { "pattern" } else { "  then" }, escaped(name))?;
    }
    let becomes: Vec<&str> = form.into_iter().chain(lowercase.then_some("lower case")).collect();
    if !becomes.is_empty() {
        writeln!(out, "  text becomes      {}", becomes.join(", then "))?;
    }
    writeln!(out, "  longest tokens")?;
    for &id in &longest {
        let spelling = tokenizer.spelling(id);
        writeln!(out, "    {:>8}  {:>3} bytes  {}", id.0, tokenizer.bytes(id).len(), escaped(&spelling))?;
    }
    if let Some(survey) = survey {
        print(&mut out, &survey)?;
    }
    Ok(out.flush()?)
}

/// What each tokenizer makes of the texts; `None` without texts.
pub fn surveyed(tokenizers: &[&Tokenizer], texts: &[impl AsRef<Path>]) -> Outcome<Option<Vec<Survey>>> {
    if texts.is_empty() {
        return Ok(None);
    }
    let terminal = Terminal::new(false, None)?;
    let texts: Vec<PathBuf> = texts.iter().map(|text| text.as_ref().to_path_buf()).collect();
    let corpus = Corpus::open_with(&texts, &terminal)?;
    let surveys = tokenizers.iter().map(|tokenizer| survey(&corpus, tokenizer, &terminal));
    Ok(Some(surveys.collect::<Result<_, _>>()?))
}

/// A survey as it is printed in JSON.
pub fn as_json(survey: &Survey) -> Value {
    json!({
        "bytes": survey.n_bytes, "characters": survey.n_characters, "words": survey.n_words, "tokens": survey.n_ids,
        "used": survey.n_used(), "tokens_per_word": survey.tokens_per_word(), "bytes_per_token": survey.bytes_per_token(),
        "characters_per_token": survey.characters_per_token(),
    })
}

/// A survey for people.
pub fn print(out: &mut dyn Write, survey: &Survey) -> io::Result<()> {
    let number = |number: Option<f64>| number.map_or("–".to_string(), |number| format!("{number:.3}"));
    let (words, tokens) = (grouped(survey.n_words), grouped(survey.n_ids));
    writeln!(out, "  on the text       {} bytes, {words} words, {tokens} tokens", grouped(survey.n_bytes))?;
    writeln!(out, "  different tokens  {}", grouped(survey.n_used() as u64))?;
    writeln!(out, "  tokens per word   {}", number(survey.tokens_per_word()))?;
    writeln!(out, "  bytes per token   {}", number(survey.bytes_per_token()))?;
    writeln!(out, "  characters        {} per token", number(survey.characters_per_token()))
}
