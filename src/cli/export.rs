//! `wordgrove export`: a model → what other people's programs load.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use wordgrove::vectors::Model;

use super::failure::Outcome;
use super::model::ModelArguments;
use super::output::grouped;
use super::terminal::Terminal;

/// What `export` is told.
#[derive(Args)]
pub struct Arguments {
    #[command(flatten)]
    input: ModelArguments,
    /// The folder to write
    #[arg(value_name = "OUT")]
    output: PathBuf,
    /// What to write
    #[arg(long, value_name = "WHAT")]
    to: Target,
    #[cfg(feature = "transformer")]
    #[command(flatten)]
    settings: planted::Settings,
    /// Print nothing but warnings and errors
    #[arg(long, short)]
    quiet: bool,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Target {
    /// A table of vectors that model2vec and sentence-transformers load, and PyTorch as an Embedding; of a transformer,
    /// its token table
    StaticEmbedding,
    /// A transformer that Hugging Face transformers loads and trains on: its token table is the vectors, the rest random
    #[cfg(feature = "transformer")]
    Transformer,
}

pub fn run(arguments: &Arguments) -> Outcome {
    let terminal = Terminal::new(arguments.quiet, None)?;
    match arguments.to {
        Target::StaticEmbedding => export_static(arguments, &terminal),
        #[cfg(feature = "transformer")]
        Target::Transformer => planted::export(arguments, &terminal),
    }
}

fn export_static(arguments: &Arguments, terminal: &Terminal) -> Outcome {
    #[cfg(feature = "transformer")]
    let embeddings = match planted::token_table(&arguments.input.model)? {
        Some(table) => table,
        None => arguments.input.open()?.embeddings,
    };
    #[cfg(not(feature = "transformer"))]
    let embeddings = arguments.input.open()?.embeddings;
    Model::save_vectors(&arguments.output, &embeddings)?;
    let (n, dim) = (grouped(embeddings.n_rows() as u64), embeddings.dim());
    terminal.say(&format!("wrote {}: {n} vectors of {dim}", arguments.output.display()));
    Ok(())
}

#[cfg(feature = "transformer")]
mod planted {
    //! A transformer that begins with the vectors.

    use std::path::Path;

    use clap::Args;
    use serde_json::{Map, json};
    use wordgrove::Error;
    use wordgrove::transformer::{Checkpoint, Layout, Shape, Transformer, TransformerConfig, add_marks, plant};
    use wordgrove::vectors::{Embeddings, Model};

    use crate::cli::failure::{Failure, Outcome};
    use crate::cli::number::whole;
    use crate::cli::output::{grouped, size};
    use crate::cli::terminal::Terminal;

    const TRANSFORMER: &str = "With --to transformer";

    /// What the transformer is.
    #[derive(Args)]
    pub struct Settings {
        /// decoder (GPT-2), encoder-decoder (Marian) or encoder (BERT)
        #[arg(long, value_name = "SHAPE", default_value = "decoder", help_heading = TRANSFORMER)]
        shape: Shape,
        /// Numbers in the vector of a position [default: as many as the vectors have]
        #[arg(long, value_name = "N", help_heading = TRANSFORMER, allow_negative_numbers = true, value_parser = whole(1..=16_384usize))]
        d_model: Option<usize>,
        /// Attention heads; they share d-model evenly [default: 8, or the next fewer that do]
        #[arg(long, value_name = "N", help_heading = TRANSFORMER, allow_negative_numbers = true, value_parser = whole(1..=16_384usize))]
        n_heads: Option<usize>,
        /// Layers, of an encoder-decoder in each half [default: 4; encoder-decoder: 3]
        #[arg(long, value_name = "N", help_heading = TRANSFORMER, allow_negative_numbers = true, value_parser = whole(1..=1000usize))]
        n_layers: Option<usize>,
        /// The most tokens that are looked at together [default: 128]
        #[arg(long, value_name = "N", help_heading = TRANSFORMER, allow_negative_numbers = true, value_parser = whole(1..=1usize << 20))]
        context_len: Option<usize>,
        /// Where all that is random comes from
        #[arg(long, value_name = "N", default_value_t = 1, help_heading = TRANSFORMER, allow_negative_numbers = true, value_parser = whole(0..=u64::MAX))]
        seed: u64,
    }

    impl Settings {
        fn config(&self, n_tokens: usize, dim: usize) -> TransformerConfig {
            let usual = TransformerConfig::new(self.shape, n_tokens);
            let d_model = self.d_model.unwrap_or(dim);
            let n_heads = (1..=usual.n_heads).rev().find(|n| d_model.is_multiple_of(*n)).unwrap_or(1);
            TransformerConfig {
                d_model,
                n_heads: self.n_heads.unwrap_or(n_heads),
                n_layers: self.n_layers.unwrap_or(usual.n_layers),
                d_ff: d_model.saturating_mul(4),
                context_len: self.context_len.unwrap_or(usual.context_len),
                ..usual
            }
        }
    }

    /// The token table of a transformer's folder; `None` where the path is none.
    pub fn token_table(path: &Path) -> Outcome<Option<Embeddings>> {
        if !Checkpoint::is_at(path) {
            return Ok(None);
        }
        match Checkpoint::open(path)?.token_table()? {
            Some(table) => Ok(Some(table)),
            None => Err(Error::format(path, "has no tokenizer.json, so nobody could tell whose rows these are").into()),
        }
    }

    pub fn export(arguments: &super::Arguments, terminal: &Terminal) -> Outcome {
        let path = &arguments.input.model;
        if Checkpoint::is_at(path) {
            let checkpoint = Checkpoint::open(path)?;
            let reason = match Layout::misfit(checkpoint.transformer.config()) {
                None => "is a transformer that others load as it is: copy the folder".to_string(),
                Some(reason) => format!("is a transformer that others cannot load: {reason}"),
            };
            return Err(Error::format(path, reason).into());
        }
        if path.is_file() {
            let reason = "is a file of vectors without a tokenizer: make it a model first (wordgrove convert)";
            return Err(Error::format(path, reason).into());
        }
        let model = Model::open(path)?;
        let Some(tokenizer) = model.embeddings.tokenizer() else {
            return Err(Failure::Usage(format!("{}: has no tokenizer", path.display())));
        };
        let settings = &arguments.settings;
        let mut config = settings.config(tokenizer.n_tokens(), model.embeddings.dim());
        config.check()?;
        let tokenizer = add_marks(tokenizer, &mut config)?;
        let estimate = config.estimate(1, 1);
        Checkpoint::check_destination(&arguments.output, estimate.parameter_bytes, 0)?;
        let transformer = Transformer::new(config, None, settings.seed)?;
        let planted = plant(&model, transformer.config(), transformer.parameters(), None, settings.seed)?;
        let notes = Map::from_iter([(
            "planted".to_string(),
            json!({ "from": path.display().to_string(), "tokens": planted.n_tokens, "seed": settings.seed }),
        )]);
        Checkpoint::save(&arguments.output, &transformer, Some(&tokenizer), &notes, &[])?;
        terminal.say(&format!(
            "wrote {}: {} of {} parameters ({}), {} of {} tokens planted; the rest is random: train it",
            arguments.output.display(),
            transformer.config().shape,
            grouped(estimate.n_parameters),
            size(estimate.parameter_bytes),
            grouped(planted.n_tokens as u64),
            grouped(transformer.config().n_tokens as u64)
        ));
        Ok(())
    }
}
