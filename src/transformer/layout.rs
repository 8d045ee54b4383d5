//! Our parameters under other people's names.
//!
//! In: a configuration. Out: which layout of Hugging Face transformers can hold it, and a list that says, tensor by tensor,
//! where our numbers lie in theirs. One list serves writing and reading. `gpt2`, `marian` and `bert` each know one layout.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::transformer::config::{Norm, OutputLayer, Positions, Shape, TransformerConfig};
use crate::transformer::fused::Activation;
use crate::transformer::parameters::declared;
use crate::transformer::{bert, gpt2, marian};

/// Whose names a folder uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Layout {
    /// `GPT2LMHeadModel`.
    Gpt2,
    /// `MarianMTModel`.
    Marian,
    /// `BertForMaskedLM`.
    Bert,
    /// Our own, for all that the others cannot express.
    Wordgrove,
}

/// One of their tensors, and where its numbers belong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    pub theirs: String,
    pub ours: String,
    pub part: Part,
}

/// Which part of our parameter one of their tensors is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    /// All of it.
    Whole,
    /// All of it, with rows and columns exchanged.
    Transposed,
    /// This one of so many blocks of rows.
    Block(usize, usize),
    /// All of it, as the only row of a table.
    OnlyRow,
    /// The first row of theirs is added to every row of ours; we write one row of zeros.
    AddedRow,
}

impl Entry {
    pub fn new(theirs: impl Into<String>, ours: impl Into<String>, part: Part) -> Entry {
        Entry { theirs: theirs.into(), ours: ours.into(), part }
    }

    /// The shape of their tensor, given that of our parameter.
    pub fn their_shape(&self, ours: &[usize]) -> Vec<usize> {
        match (self.part, ours) {
            (Part::Transposed, [rows, columns]) => vec![*columns, *rows],
            (Part::Block(_, n_blocks), [rows, rest @ ..]) => [&[rows / n_blocks], rest].concat(),
            (Part::OnlyRow, [n]) => vec![1, *n],
            (Part::AddedRow, [_, columns]) => vec![1, *columns],
            _ => ours.to_vec(),
        }
    }
}

/// The list of a layout while it is written down.
#[derive(Default)]
pub(crate) struct Entries(pub Vec<Entry>);

impl Entries {
    pub fn add(&mut self, theirs: &str, ours: &str, part: Part) {
        self.0.push(Entry::new(theirs, ours, part));
    }

    /// A linear layer: weight and bias.
    pub fn linear(&mut self, theirs: &str, ours: &str, weight: Part) {
        self.add(&format!("{theirs}.weight"), &format!("{ours}.weight"), weight);
        let bias = if weight == Part::Transposed { Part::Whole } else { weight };
        self.add(&format!("{theirs}.bias"), &format!("{ours}.bias"), bias);
    }

    /// A layer norm; their weight is our gain.
    pub fn norm(&mut self, theirs: &str, ours: &str) {
        self.add(&format!("{theirs}.weight"), &format!("{ours}.gain"), Part::Whole);
        self.add(&format!("{theirs}.bias"), &format!("{ours}.bias"), Part::Whole);
    }
}

impl Layout {
    /// The layout of Hugging Face transformers that holds such a model, or our own.
    pub fn of(config: &TransformerConfig) -> Layout {
        match (Layout::misfit(config), config.shape) {
            (Some(_), _) => Layout::Wordgrove,
            (None, Shape::Decoder) => Layout::Gpt2,
            (None, Shape::EncoderDecoder) => Layout::Marian,
            (None, Shape::Encoder) => Layout::Bert,
        }
    }

    /// Why no layout of Hugging Face transformers holds such a model; `None`: one does.
    pub fn misfit(config: &TransformerConfig) -> Option<String> {
        let (name, reason) = match config.shape {
            Shape::Decoder => ("GPT-2", gpt2::misfit(config)),
            Shape::EncoderDecoder => ("Marian", marian::misfit(config)),
            Shape::Encoder => ("BERT", bert::misfit(config)),
        };
        reason.map(|reason| format!("{name}'s layout cannot say it: {reason}"))
    }

    /// What keeps a configuration out of a layout whose norms and positions are these.
    pub(super) fn other_than(config: &TransformerConfig, norm: Norm, positions: Positions) -> Option<String> {
        if config.norm != norm {
            return Some(match norm {
                Norm::Pre => "its norms stand before each part (--norm pre)".into(),
                Norm::Post => "its norms stand after each residual sum (--norm post)".into(),
            });
        }
        if config.positions != positions {
            return Some(format!("its positions are {positions}, not {}", config.positions));
        }
        (config.output_layer == OutputLayer::Tree).then(|| "its output layer is a softmax, not a tree".into())
    }

    /// The layout that a `config.json` names.
    pub(crate) fn named(all: &Map<String, Value>) -> Result<Layout, String> {
        match all.get("model_type").and_then(Value::as_str) {
            Some("gpt2") => Ok(Layout::Gpt2),
            Some("marian") => Ok(Layout::Marian),
            Some("bert") => Ok(Layout::Bert),
            Some("wordgrove") => Ok(Layout::Wordgrove),
            Some("model2vec") => Err("holds word vectors, expected a transformer: train one from them".into()),
            Some(other) => Err(format!("is of type '{other}', expected gpt2, marian, bert or wordgrove")),
            None => Err("has no 'model_type', expected gpt2, marian, bert or wordgrove".into()),
        }
    }

    /// Their settings of such a model.
    pub(crate) fn config_json(self, config: &TransformerConfig) -> Value {
        match self {
            Layout::Gpt2 => gpt2::config_json(config),
            Layout::Marian => marian::config_json(config),
            Layout::Bert => bert::config_json(config),
            Layout::Wordgrove => serde_json::json!({ "model_type": "wordgrove" }),
        }
    }

    /// Our settings from theirs.
    pub(crate) fn read_config(self, all: &Map<String, Value>) -> Result<TransformerConfig, String> {
        match self {
            Layout::Gpt2 => gpt2::read_config(all),
            Layout::Marian => marian::read_config(all),
            Layout::Bert => bert::read_config(all),
            Layout::Wordgrove => Err("has no settings under 'wordgrove'".into()),
        }
    }

    /// Where each parameter lies.
    pub(crate) fn entries(self, config: &TransformerConfig) -> Vec<Entry> {
        match self {
            Layout::Gpt2 => gpt2::entries(config),
            Layout::Marian => marian::entries(config),
            Layout::Bert => bert::entries(config),
            Layout::Wordgrove => {
                declared(config).into_iter().map(|d| Entry::new(&d.name, &d.name, Part::Whole)).collect()
            }
        }
    }

    /// Other names that a tensor of this layout goes by.
    pub(crate) fn aliases(self, name: &str) -> Vec<String> {
        match self {
            // Written by the model without its head.
            Layout::Gpt2 => name.strip_prefix("transformer.").map(str::to_string).into_iter().collect(),
            // Written before transformers 4.
            Layout::Bert => {
                let old = [("LayerNorm.weight", "LayerNorm.gamma"), ("LayerNorm.bias", "LayerNorm.beta")];
                old.iter().filter(|(new, _)| name.ends_with(new)).map(|(new, old)| name.replace(new, old)).collect()
            }
            Layout::Marian | Layout::Wordgrove => Vec::new(),
        }
    }

    /// Whether a tensor that is not on the list is known, and says nothing that the others do not.
    pub(crate) fn is_redundant(self, name: &str) -> bool {
        let endings: &[&str] = match self {
            // The triangle of the mask; the tied table once more.
            Layout::Gpt2 => &[".attn.bias", ".attn.masked_bias", "lm_head.weight"],
            // The tied table, the formula's positions.
            Layout::Marian => &["embed_tokens.weight", "embed_positions.weight", "lm_head.weight"],
            // The tied table and its bias; what classifies pairs of sentences.
            Layout::Bert => &[
                "cls.predictions.decoder.weight",
                "cls.predictions.decoder.bias",
                "position_ids",
                "pooler.dense.weight",
                "pooler.dense.bias",
                "cls.seq_relationship.weight",
                "cls.seq_relationship.bias",
            ],
            Layout::Wordgrove => &[],
        };
        endings.iter().any(|ending| name.ends_with(ending))
    }
}

/// Hugging Face's name of the bend.
pub(crate) fn activation_name(activation: Activation) -> &'static str {
    match activation {
        Activation::Relu => "relu",
        Activation::Gelu => "gelu",
        Activation::GeluTanh => "gelu_new",
    }
}

/// The bend of Hugging Face's name.
pub(crate) fn activation_named(name: &str) -> Result<Activation, String> {
    match name {
        "relu" => Ok(Activation::Relu),
        "gelu" => Ok(Activation::Gelu),
        "gelu_new" | "gelu_pytorch_tanh" => Ok(Activation::GeluTanh),
        _ => Err(format!("has activation '{name}', expected relu, gelu or gelu_new")),
    }
}

/// An id from a configuration file, where it is one of the `n_tokens`: defaults of larger vocabularies stay behind in many.
pub(crate) fn token(id: Option<&Value>, n_tokens: usize) -> Option<u32> {
    id.and_then(Value::as_u64).filter(|&id| id < n_tokens as u64).and_then(|id| u32::try_from(id).ok())
}

/// What many of their settings are that a file leaves out.
pub(crate) fn yes() -> bool {
    true
}

/// Settings as one of their structures.
pub(crate) fn parsed<T: serde::de::DeserializeOwned>(all: &Map<String, Value>) -> Result<T, String> {
    serde_json::from_value(Value::Object(all.clone())).map_err(|error| error.to_string())
}
