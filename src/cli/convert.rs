//! `wordgrove convert`: a model or a file of vectors → another format.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use wordgrove::Error;
use wordgrove::vectors::{Embeddings, Model, write_word2vec_binary, write_word2vec_text};

use super::failure::{Failure, Outcome};
use super::model::ModelArguments;
use super::output::grouped;
use super::terminal::Terminal;

/// What `convert` is told.
#[derive(Args)]
pub struct Arguments {
    #[command(flatten)]
    input: ModelArguments,
    /// The file or model folder to write
    #[arg(value_name = "OUT")]
    output: PathBuf,
    /// The format to write [default: by the name of OUT: .txt and .vec are text, .bin is binary, no ending is a model]
    #[arg(long, value_name = "FORMAT")]
    to: Option<Format>,
    /// Print nothing but warnings and errors
    #[arg(long, short)]
    quiet: bool,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Format {
    /// Text that word2vec, gensim and fastText read; every number reads back bit for bit
    Word2vecText,
    /// word2vec's binary form
    Word2vecBin,
    /// A model folder
    Model,
}

impl Arguments {
    fn format(&self) -> Outcome<Format> {
        match (self.to, self.output.extension().and_then(|ending| ending.to_str())) {
            (Some(format), _) => Ok(format),
            (None, Some("txt" | "vec" | "text")) => Ok(Format::Word2vecText),
            (None, Some("bin")) => Ok(Format::Word2vecBin),
            (None, None) => Ok(Format::Model),
            (None, Some(other)) => Err(Failure::Usage(format!(
                "the ending '.{other}' of OUT names no format: give --to word2vec-text, word2vec-bin or model"
            ))),
        }
    }
}

pub fn run(arguments: &Arguments) -> Outcome {
    let format = arguments.format()?;
    let embeddings = arguments.input.open()?.embeddings;
    let n_written = match format {
        Format::Word2vecText => write_word2vec_text(&embeddings, &arguments.output)?,
        Format::Word2vecBin => write_word2vec_binary(&embeddings, &arguments.output)?,
        Format::Model => save_model(&embeddings, arguments)?,
    };
    let (n, dim) = (grouped(n_written as u64), embeddings.dim());
    Terminal::new(arguments.quiet, None)?.say(&format!("wrote {}: {n} vectors of {dim}", arguments.output.display()));
    Ok(())
}

/// Vectors from elsewhere become a model of whole words, without a tree.
fn save_model(embeddings: &Embeddings, arguments: &Arguments) -> Outcome<usize> {
    if embeddings.tokenizer().is_some() {
        return Err(Failure::Library(Error::config("to", "is 'model', but IN is a model already: copy the folder")));
    }
    Model::save_vectors(&arguments.output, embeddings)?;
    Ok(embeddings.n_rows())
}
