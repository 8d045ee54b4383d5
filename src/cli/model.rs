//! Opening what the query verbs ask: a model folder or any file of vectors.

use std::io::Write;
use std::path::PathBuf;

use clap::Args;
use wordgrove::vectors::{Opened, ReadOptions, open};

use super::failure::Outcome;
use super::output::escaped;

/// What is asked, and how a damaged file is read.
#[derive(Args)]
pub struct ModelArguments {
    /// A model folder, or a file of vectors: word2vec text or binary, GloVe
    #[arg(value_name = "MODEL")]
    pub model: PathBuf,
    /// Read what is whole of a damaged file of vectors
    #[arg(long, help_heading = "Damaged files")]
    pub salvage: bool,
    /// Leave out vectors with NaN or infinity instead of refusing the file
    #[arg(long, help_heading = "Damaged files")]
    pub drop_nonfinite: bool,
}

impl ModelArguments {
    /// Opens it; prints what the user should know.
    pub fn open(&self) -> Outcome<Opened> {
        let options = ReadOptions { salvage: self.salvage, drop_nonfinite: self.drop_nonfinite };
        let opened = open(&self.model, options)?;
        for warning in &opened.warnings {
            let line = format!("warning: {}: {}\n", self.model.display(), escaped(warning));
            // A warning that nobody can see is no reason to stop.
            let _ = std::io::stderr().write_all(line.as_bytes());
        }
        Ok(opened)
    }
}
