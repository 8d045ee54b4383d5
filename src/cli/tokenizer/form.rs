//! The forms in which a tokenizer is written, by the name of the file.

use std::path::{Path, PathBuf};

use wordgrove::files::{check_replaceable, replace_file, replace_pair};
use wordgrove::tokens::Pattern;
use wordgrove::{Error, Event, Progress, Tokenizer};

use crate::cli::failure::{Failure, Outcome};
use crate::cli::terminal::Terminal;

/// What a file is written as.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Form {
    Json,
    Tiktoken,
    /// `vocab.json`, with `merges.txt` beside it.
    Gpt2,
}

impl Form {
    /// The form of a file of this name.
    pub fn of(path: &Path) -> Form {
        if path.file_name().is_some_and(|name| name == "vocab.json") {
            return Form::Gpt2;
        }
        if path.extension().is_some_and(|ending| ending == "tiktoken") { Form::Tiktoken } else { Form::Json }
    }

    /// How a tokenizer cuts text unless something else is asked for: as a file of this form is read.
    pub fn pattern(self) -> Pattern {
        match self {
            Form::Tiktoken => super::TIKTOKEN,
            Form::Json | Form::Gpt2 => Pattern::default(),
        }
    }

    /// Finds out before any work whether such a file can be written.
    pub fn check(self, path: &Path) -> Outcome {
        if self == Form::Gpt2 {
            check_replaceable(&beside(path))?;
        }
        Ok(check_replaceable(path)?)
    }

    /// Writes the tokenizer, or nothing.
    pub fn save(self, tokenizer: &Tokenizer, path: &Path, terminal: &Terminal) -> Outcome {
        let (text, merges) = self.texts(tokenizer, path)?;
        match merges {
            // Without vocab.json nobody takes the merges for anything.
            Some(merges) => replace_pair((path, text.as_bytes()), (&beside(path), merges.as_bytes()))?,
            None => replace_file(path, |out| out.write_all(text.as_bytes()))?,
        }
        let pattern = tokenizer.pattern().filter(|&pattern| self == Form::Tiktoken && *pattern != super::TIKTOKEN);
        if let Some(pattern) = pattern {
            terminal.report(&Event::Warning(&format!(
                "{} does not say how text is cut: give {} with it wherever it is used",
                path.display(),
                flag(pattern)
            )));
        }
        Ok(())
    }

    /// What to write to `path`, and to `merges.txt` beside it; what the form cannot say is refused.
    pub fn texts(self, tokenizer: &Tokenizer, path: &Path) -> Outcome<(String, Option<String>)> {
        let usage = |error: Error| match error {
            Error::Config { reason, .. } => Failure::Usage(format!("{}: {reason}", path.display())),
            other => other.into(),
        };
        match self {
            Form::Json => Ok((tokenizer.to_json(), None)),
            Form::Tiktoken => Ok((tokenizer.to_tiktoken().map_err(usage)?, None)),
            Form::Gpt2 => {
                let (vocab, merges) = tokenizer.to_gpt2_files().map_err(usage)?;
                Ok((vocab, Some(merges)))
            }
        }
    }
}

/// Where the merges are that belong to a `vocab.json`.
fn beside(path: &Path) -> PathBuf {
    path.with_file_name("merges.txt")
}

/// The flag that says how text is cut, as a shell reads it.
fn flag(pattern: &Pattern) -> String {
    match &super::pattern_names(pattern)[..] {
        [name] if pattern.is_known() || *pattern == Pattern::Whole => format!("--pattern {name}"),
        [source] => format!("--pattern '{}'", source.replace('\'', r"'\''")),
        _ => "the same patterns, which no --pattern can say,".into(),
    }
}
