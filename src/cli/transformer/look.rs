//! What `attention` and `trace` share: what is read, and where a page goes.

use std::io::{self, Write};
use std::path::Path;

use clap::Args;
use wordgrove::files::{check_replaceable, replace_file};

use super::text;
use crate::cli::failure::Outcome;
use crate::cli::inputs::spare_model;
use crate::cli::output::out;

/// What is read.
#[derive(Args)]
pub struct ReadingArguments {
    /// The text; - is standard input. In an encoder's, <mask> stands for a hidden token
    #[arg(value_name = "TEXT")]
    text: Vec<String>,
    /// What an encoder-decoder has written so far
    #[arg(long, value_name = "TEXT")]
    pub target: Option<String>,
}

impl ReadingArguments {
    pub fn text(&self) -> Outcome<String> {
        text(&self.text)
    }
}

/// Finds out, before the work begins, whether a page can be written; without a file it goes to standard output.
pub fn check_output(model: &Path, flag: &str, output: Option<&Path>) -> Outcome {
    let Some(path) = output else { return Ok(()) };
    spare_model(model, flag, path)?;
    Ok(check_replaceable(path)?)
}

/// Writes a page to a file, in one step, or to standard output.
pub fn write_output(output: Option<&Path>, write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> Outcome {
    match output {
        Some(path) => Ok(replace_file(path, write)?),
        None => {
            let mut out = out();
            write(&mut out)?;
            Ok(out.flush()?)
        }
    }
}
