//! The settings of a transformer and of its training: from a file, and from flags, which count for more.

use std::path::{Path, PathBuf};

use clap::Args;
use clap::builder::PossibleValue;
use serde::Serialize;
use serde_json::{Map, Value};
use wordgrove::Error;
use wordgrove::files::FileBytes;
use wordgrove::transformer::{FitConfig, Run, TransformerConfig};

use crate::cli::failure::Outcome;
use crate::cli::number::{real, whole};

/// What the transformer is, and how it is trained. A flag is spelled like its setting in a file, but with dashes.
#[derive(Args, Serialize)]
pub struct SettingArguments {
    /// Take settings from this file, a JSON object like {"d_model": 128, "steps": 500}; flags count for more
    #[arg(long, value_name = "FILE")]
    #[serde(skip)]
    config: Option<PathBuf>,
    /// Goes on with a text (decoder), translates (encoder-decoder), or reads in both directions (encoder) [default:
    /// decoder]
    #[arg(long, value_name = "SHAPE", help_heading = MODEL, value_parser = ["decoder", "encoder-decoder", "encoder"])]
    #[serde(skip_serializing_if = "Option::is_none")]
    shape: Option<String>,
    /// Numbers in the vector of a position, 1 to 16384 [default: 256]
    #[arg(long, value_name = "N", help_heading = MODEL, allow_negative_numbers = true, value_parser = whole(1..=16_384usize))]
    #[serde(skip_serializing_if = "Option::is_none")]
    d_model: Option<usize>,
    /// Attention heads; they share d-model evenly [default: 8]
    #[arg(long, alias = "heads", value_name = "N", help_heading = MODEL, allow_negative_numbers = true, value_parser = whole(1..=16_384usize))]
    #[serde(skip_serializing_if = "Option::is_none")]
    n_heads: Option<usize>,
    /// Layers, of an encoder-decoder in each half, 1 to 1000 [default: 4; encoder-decoder: 3]
    #[arg(long, alias = "layers", value_name = "N", help_heading = MODEL, allow_negative_numbers = true, value_parser = whole(1..=1000usize))]
    #[serde(skip_serializing_if = "Option::is_none")]
    n_layers: Option<usize>,
    /// Numbers inside the feed-forward part, 1 to 262144 [default: 4 times d-model]
    #[arg(long, value_name = "N", help_heading = MODEL, allow_negative_numbers = true, value_parser = whole(1..=1usize << 18))]
    #[serde(skip_serializing_if = "Option::is_none")]
    d_ff: Option<usize>,
    /// The most tokens that are looked at together, 2 to 1048576 [default: 128]
    #[arg(long, alias = "context", alias = "block-size", value_name = "N", help_heading = MODEL, allow_negative_numbers = true, value_parser = whole(2..=1usize << 20))]
    #[serde(skip_serializing_if = "Option::is_none")]
    context_len: Option<usize>,
    /// How positions are told apart; a decoder with rotary ones can write on for ever [default: learned;
    /// encoder-decoder: sinusoidal-halves]
    #[arg(long, value_name = "KIND", help_heading = MODEL, value_parser = ["sinusoidal", "sinusoidal-halves", "learned", "rotary"])]
    #[serde(skip_serializing_if = "Option::is_none")]
    positions: Option<String>,
    /// The bend inside the feed-forward part [default: decoder: gelu-tanh, encoder: gelu, encoder-decoder: relu]
    #[arg(long, value_name = "NAME", help_heading = MODEL, value_parser = [PossibleValue::new("relu"), PossibleValue::new("gelu"), PossibleValue::new("gelu-tanh").alias("gelu_tanh")])]
    #[serde(skip_serializing_if = "Option::is_none")]
    activation: Option<String>,
    /// Layer norms before each part, or after each sum [default: decoder: pre, else: post]
    #[arg(long, value_name = "WHERE", help_heading = MODEL, value_parser = ["pre", "post"])]
    #[serde(skip_serializing_if = "Option::is_none")]
    norm: Option<String>,
    /// The share of numbers that is dropped while learning, 0 to below 1 [default: 0.1]
    #[arg(long, value_name = "SHARE", help_heading = MODEL, allow_negative_numbers = true, value_parser = real("from 0 to below 1"))]
    #[serde(skip_serializing_if = "Option::is_none")]
    dropout: Option<f64>,
    /// How tokens are predicted: a softmax over the token table itself (tied) or a table of its own (free), or the
    /// Huffman tree (tree), which costs less per token [default: tied]
    #[arg(long, value_name = "KIND", help_heading = MODEL, value_parser = ["tied", "free", "tree"])]
    #[serde(skip_serializing_if = "Option::is_none")]
    output_layer: Option<String>,
    /// Batches to learn from [default: 2000]
    #[arg(long, alias = "max-steps", value_name = "N", help_heading = TRAINING, allow_negative_numbers = true, value_parser = whole(1..=u64::MAX))]
    #[serde(skip_serializing_if = "Option::is_none")]
    steps: Option<u64>,
    /// Texts, pairs or lines in a batch, 1 to 65536 [default: 16]
    #[arg(long, alias = "batch", value_name = "N", help_heading = TRAINING, allow_negative_numbers = true, value_parser = whole(1..=65_536usize))]
    #[serde(skip_serializing_if = "Option::is_none")]
    batch_size: Option<usize>,
    /// The highest learning rate, above 0 and at most 1 [default: 0.001]
    #[arg(long, alias = "lr", value_name = "R", help_heading = TRAINING, allow_negative_numbers = true, value_parser = real("above 0 and at most 1"))]
    #[serde(skip_serializing_if = "Option::is_none")]
    learning_rate: Option<f64>,
    /// Steps over which the rate grows to that [default: 100]
    #[arg(long, alias = "warmup", value_name = "N", help_heading = TRAINING, allow_negative_numbers = true, value_parser = whole(0..=u64::MAX))]
    #[serde(skip_serializing_if = "Option::is_none")]
    warmup_steps: Option<u64>,
    /// Where the rate ends, as a share of the highest, 0 to 1 [default: 0.1]
    #[arg(long, value_name = "SHARE", help_heading = TRAINING, allow_negative_numbers = true, value_parser = real("from 0 to 1"))]
    #[serde(skip_serializing_if = "Option::is_none")]
    final_rate: Option<f64>,
    /// AdamW's weight decay, 0 to 1 [default: 0.1]
    #[arg(long, value_name = "SHARE", help_heading = TRAINING, allow_negative_numbers = true, value_parser = real("from 0 to 1"))]
    #[serde(skip_serializing_if = "Option::is_none")]
    weight_decay: Option<f64>,
    /// AdamW's first beta, 0 to below 1 [default: 0.9]
    #[arg(long, value_name = "SHARE", help_heading = TRAINING, allow_negative_numbers = true, value_parser = real("from 0 to below 1"))]
    #[serde(skip_serializing_if = "Option::is_none")]
    beta1: Option<f64>,
    /// AdamW's second beta, 0 to below 1 [default: 0.95]
    #[arg(long, value_name = "SHARE", help_heading = TRAINING, allow_negative_numbers = true, value_parser = real("from 0 to below 1"))]
    #[serde(skip_serializing_if = "Option::is_none")]
    beta2: Option<f64>,
    /// Gradients longer than this are shortened to it, above 0 [default: 1]
    #[arg(long, alias = "grad-clip", value_name = "LENGTH", help_heading = TRAINING, allow_negative_numbers = true, value_parser = real("above 0"))]
    #[serde(skip_serializing_if = "Option::is_none")]
    clip_norm: Option<f64>,
    /// Measure the loss on what is held out, and save, every N steps [default: 250]
    #[arg(long, alias = "eval-interval", value_name = "N", help_heading = TRAINING, allow_negative_numbers = true, value_parser = whole(1..=u64::MAX))]
    #[serde(skip_serializing_if = "Option::is_none")]
    validate_every: Option<u64>,
    /// Leave the planted table as it is for the first N steps [default: 0]
    #[arg(long, value_name = "N", help_heading = TRAINING, allow_negative_numbers = true, value_parser = whole(0..=u64::MAX))]
    #[serde(skip_serializing_if = "Option::is_none")]
    freeze_embeddings: Option<u64>,
    /// Where all random choices come from [default: 1]
    #[arg(long, value_name = "N", help_heading = TRAINING, allow_negative_numbers = true, value_parser = whole(0..=u64::MAX))]
    #[serde(skip_serializing_if = "Option::is_none")]
    seed: Option<u64>,
}

const MODEL: &str = "The transformer";
const TRAINING: &str = "Training";

/// What was asked for, by name; the rest is as it is by default.
pub struct Settings {
    transformer: Map<String, Value>,
    fit: Map<String, Value>,
    /// Where settings came from, for messages.
    path: Option<PathBuf>,
}

impl SettingArguments {
    /// Reads the file, if there is one, and puts the flags over it.
    pub fn read(&self) -> Outcome<Settings> {
        let mut all = match &self.config {
            Some(path) => read_file(path)?,
            None => Map::new(),
        };
        let flags = serde_json::to_value(self).expect("flags are numbers and names");
        if let Value::Object(flags) = flags {
            all.extend(flags);
        }
        let of_fit = written(&FitConfig::default());
        let (fit, transformer) = all.into_iter().partition(|(name, _)| of_fit.contains_key(name));
        Ok(Settings { transformer, fit, path: self.config.clone() })
    }
}

impl Settings {
    /// How it is trained.
    pub fn fit(&self) -> Outcome<FitConfig> {
        let config = self.fit_over(&FitConfig::default())?;
        config.check()?;
        Ok(config)
    }

    /// `config`, but for what was asked for.
    pub fn fit_over(&self, config: &FitConfig) -> Outcome<FitConfig> {
        let all = Value::Object(with(&written(config), &self.fit));
        Ok(serde_json::from_value(all).map_err(|error| self.wrong(error.to_string()))?)
    }

    /// What is trained, over this many tokens. It is not checked yet: marks may come.
    pub fn transformer(&self, n_tokens: usize) -> Outcome<TransformerConfig> {
        let config =
            TransformerConfig::from_settings(&self.transformer, n_tokens).map_err(|reason| self.wrong(reason))?;
        match config.context_len {
            // As the flag; an encoder has nothing to tell a single token from.
            1 => Err(self.wrong("context_len is 1, expected 2 to 1048576".to_string()).into()),
            _ => Ok(config),
        }
    }

    /// What was asked for otherwise than a run has it, as `d-model is 16, not 32`; settings that are `free` may differ.
    pub fn differences(&self, run: &Run, free: &[&str]) -> Outcome<Vec<String>> {
        // Both are read as settings before they are compared, so that it does not matter how a value is spelled.
        let config = run.transformer.config();
        let asked = with(&config.settings(), &self.transformer);
        let asked = TransformerConfig::from_settings(&asked, config.n_tokens).map_err(|reason| self.wrong(reason))?;
        let asked = with(&asked.settings(), &written(&self.fit_over(&run.config)?));
        let ours = with(&config.settings(), &written(&run.config));
        let both = ours.iter().zip(asked.values()).filter(|((name, _), _)| !free.contains(&name.as_str()));
        let other = both.filter(|((_, known), asked)| known != asked);
        Ok(other.map(|((name, known), asked)| format!("{} is {known}, not {asked}", name.replace('_', "-"))).collect())
    }

    fn wrong(&self, reason: String) -> Error {
        match &self.path {
            Some(path) => Error::format(path, reason.replace('`', "'")),
            None => Error::config("config", reason.replace('`', "'")),
        }
    }
}

/// Settings by name.
fn written(config: &FitConfig) -> Map<String, Value> {
    match serde_json::to_value(config) {
        Ok(Value::Object(settings)) => settings,
        _ => unreachable!("a struct is written as an object"),
    }
}

/// `settings`, with those of `over` over them.
fn with(settings: &Map<String, Value>, over: &Map<String, Value>) -> Map<String, Value> {
    settings.iter().chain(over).map(|(name, value)| (name.clone(), value.clone())).collect()
}

/// A file of settings; names may be spelled with dashes, as flags are.
fn read_file(path: &Path) -> Outcome<Map<String, Value>> {
    let bytes = FileBytes::open(path)?;
    let settings: Map<String, Value> = serde_json::from_slice(&bytes)
        .map_err(|error| Error::format(path, format!("is no JSON object of settings: {error}")))?;
    Ok(settings.into_iter().map(|(name, value)| (name.replace('-', "_"), value)).collect())
}
