//! What a transformer is: its shape, its sizes, its parts.
//!
//! In: a few settings, from flags or from a file. Out: a [`TransformerConfig`] that has been checked, how many parameters
//! it calls for and how much memory that is. Every shape has defaults that the Hugging Face layout of that shape can
//! express; other combinations work as well and are saved under our own names.

use std::fmt;
use std::ops::RangeInclusive;
use std::str::FromStr;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::error::{Error, Result};
use crate::transformer::fused::{Activation, AttentionKind};
use crate::transformer::parameters::declared;

/// Which stacks of layers there are, and what each position may see.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Shape {
    /// A source is read in both directions, a target is written from left to right and looks at the source (Vaswani et
    /// al. 2017). Trained on pairs.
    EncoderDecoder,
    /// A text is continued from left to right (GPT-2; Radford et al. 2019).
    Decoder,
    /// A text is read in both directions, and hidden tokens are guessed (BERT; Devlin et al. 2019).
    Encoder,
}

/// How a position becomes part of a vector.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Positions {
    /// Added sines and cosines, interleaved: the paper's form (Vaswani et al. 2017, §3.5).
    Sinusoidal,
    /// The same numbers, all sines before all cosines: Marian's form.
    SinusoidalHalves,
    /// An added row per position that is learned like any other parameter.
    Learned,
    /// Queries and keys turned by an angle that grows with the position (Su et al. 2021). Only differences of positions
    /// count, which is what generating beyond the context needs.
    Rotary,
}

/// Where the layer norms stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Norm {
    /// Before each part, with one more at the end of each stack: x + part(norm(x)).
    Pre,
    /// After each residual sum: norm(x + part(x)).
    Post,
}

/// How a hidden vector becomes the probabilities of tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OutputLayer {
    /// Softmax of the products with the token table's own rows (Press & Wolf 2017).
    Tied,
    /// Softmax of the products with a table of its own.
    Free,
    /// The Huffman tree of the token counts: a product of sigmoids along the path to the token. O(log n) a token to
    /// train, and still exact probabilities.
    Tree,
}

/// Everything that decides which function a transformer's parameters stand for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TransformerConfig {
    /// Which stacks there are.
    pub shape: Shape,
    /// Rows of the token table, 1 to 16,777,216: as many as the tokenizer has tokens.
    pub n_tokens: usize,
    /// Numbers in the vector of a position, 1 to 16,384. Typical: 64 to 1,024.
    pub d_model: usize,
    /// Attention heads, each of d_model / n_heads numbers, which must come out even.
    pub n_heads: usize,
    /// Layers in each stack, 1 to 1,000. Typical: 2 to 12.
    pub n_layers: usize,
    /// Numbers inside the feed-forward part, 1 to 262,144. Typical: 4 × d_model.
    pub d_ff: usize,
    /// The most positions in one pass, 1 to 1,048,576.
    pub context_len: usize,
    /// How positions are told apart.
    pub positions: Positions,
    /// The bend inside the feed-forward part.
    pub activation: Activation,
    /// Where the layer norms stand.
    pub norm: Norm,
    /// The share of numbers that is dropped while learning, 0 to below 1: of the embeddings, of what attention and
    /// feed-forward add, and of the attention's probabilities.
    pub dropout: f64,
    /// How tokens are predicted.
    pub output_layer: OutputLayer,
    /// Whether rows of the token table are multiplied by √d_model on their way in, as in the paper.
    pub scale_embedding: bool,
    /// What layer norm adds to the variance, above 0 and at most 0.1.
    pub norm_epsilon: f64,
    /// The token that fills up short sequences.
    pub pad_id: Option<u32>,
    /// The token that a target, or a text, begins with.
    pub start_id: Option<u32>,
    /// The token that ends one.
    pub end_id: Option<u32>,
    /// The token that stands for a hidden one.
    pub mask_id: Option<u32>,
}

/// How much a model asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Estimate {
    /// Numbers that are learned.
    pub n_parameters: u64,
    /// Bytes of them, at four each.
    pub parameter_bytes: u64,
    /// Bytes that a training step needs at its peak: parameters, gradients, AdamW's two moments, and what the forward
    /// pass leaves for the backward pass. An estimate, high rather than low.
    pub training_bytes: u64,
}

impl TransformerConfig {
    /// A small model of this shape that trains on a CPU in minutes.
    ///
    /// Sizes are those of a small experiment (d_model 256, 8 heads, 4 layers or 3 + 3, context 128); the rest is that of
    /// the paper (with Marian's order of sines and cosines), GPT-2 and BERT.
    pub fn new(shape: Shape, n_tokens: usize) -> TransformerConfig {
        let gpt2 = TransformerConfig {
            shape,
            n_tokens,
            d_model: 256,
            n_heads: 8,
            n_layers: 4,
            d_ff: 1024,
            context_len: 128,
            positions: Positions::Learned,
            activation: Activation::GeluTanh,
            norm: Norm::Pre,
            dropout: 0.1,
            output_layer: OutputLayer::Tied,
            scale_embedding: false,
            norm_epsilon: 1e-5,
            pad_id: None,
            start_id: None,
            end_id: None,
            mask_id: None,
        };
        match shape {
            Shape::Decoder => gpt2,
            Shape::EncoderDecoder => TransformerConfig {
                n_layers: 3,
                positions: Positions::SinusoidalHalves,
                activation: Activation::Relu,
                norm: Norm::Post,
                scale_embedding: true,
                ..gpt2
            },
            Shape::Encoder => {
                TransformerConfig { activation: Activation::Gelu, norm: Norm::Post, norm_epsilon: 1e-12, ..gpt2 }
            }
        }
    }

    /// Reads settings by name; what is not given is as in [`new`](Self::new) for the shape that is, but `d_ff`, which is four
    /// times `d_model`.
    ///
    /// `n_tokens` is the tokenizer's, for files that do not say it.
    ///
    /// # Errors
    /// A reason that names the setting: an unknown name, or a value of the wrong kind. Ranges are [`check`](Self::check)'s.
    pub fn from_settings(settings: &Map<String, Value>, n_tokens: usize) -> Result<TransformerConfig, String> {
        let shape = settings.get("shape").map_or(Ok(Shape::Decoder), |shape| {
            serde_json::from_value(shape.clone()).map_err(|error| format!("'shape': {error}"))
        })?;
        let mut all = TransformerConfig::new(shape, n_tokens).settings();
        all.extend(settings.iter().map(|(name, value)| (name.clone(), value.clone())));
        if let (Some(d_model), None) = (settings.get("d_model").and_then(Value::as_u64), settings.get("d_ff")) {
            all.insert("d_ff".to_string(), d_model.saturating_mul(4).into());
        }
        // What folders called it before the flag and the setting had one name.
        if let Some(output_layer) = all.remove("output") {
            all.insert("output_layer".to_string(), output_layer);
        }
        serde_json::from_value(Value::Object(all)).map_err(|error| error.to_string())
    }

    /// The settings by name, as [`from_settings`](Self::from_settings) reads them.
    pub fn settings(&self) -> Map<String, Value> {
        match serde_json::to_value(self) {
            Ok(Value::Object(settings)) => settings,
            _ => unreachable!("a struct is written as an object"),
        }
    }

    /// Refuses settings outside their ranges, and those that contradict each other.
    ///
    /// # Errors
    /// [`Error::Config`] with the range that is allowed.
    pub fn check(&self) -> Result<()> {
        fn within(field: &'static str, value: usize, range: RangeInclusive<usize>) -> Result<()> {
            if range.contains(&value) {
                return Ok(());
            }
            Err(Error::config(field, format!("{value} is out of range, expected {} to {}", range.start(), range.end())))
        }
        within("vocab-size", self.n_tokens, 1..=1 << 24)?;
        within("d-model", self.d_model, 1..=16_384)?;
        within("n-heads", self.n_heads, 1..=self.d_model)?;
        within("n-layers", self.n_layers, 1..=1_000)?;
        within("d-ff", self.d_ff, 1..=1 << 18)?;
        within("context-len", self.context_len, 1..=1 << 20)?;
        if !self.d_model.is_multiple_of(self.n_heads) {
            let fitting: Vec<String> =
                (1..=self.d_model.min(64)).filter(|n| self.d_model.is_multiple_of(*n)).map(|n| n.to_string()).collect();
            let reason = format!(
                "{} heads cannot share {} numbers evenly, expected a divisor of d-model: {}",
                self.n_heads,
                self.d_model,
                fitting.join(", ")
            );
            return Err(Error::config("n-heads", reason));
        }
        if self.positions == Positions::Rotary && !self.head_dim().is_multiple_of(2) {
            let reason = format!(
                "rotary turns pairs of numbers, but d-model {} over {} heads is {} a head, which is odd",
                self.d_model,
                self.n_heads,
                self.head_dim()
            );
            return Err(Error::config("positions", reason));
        }
        if self.output_layer == OutputLayer::Tree && self.n_tokens < 2 {
            return Err(Error::config(
                "output-layer",
                "a tree needs at least two tokens to tell apart, expected tied or free",
            ));
        }
        if !(0.0..1.0).contains(&self.dropout) {
            let reason = format!("{} is out of range, expected 0 to below 1", self.dropout);
            return Err(Error::config("dropout", reason));
        }
        if !(self.norm_epsilon > 0.0 && self.norm_epsilon <= 0.1) {
            let reason = format!("{} is out of range, expected above 0 and at most 0.1", self.norm_epsilon);
            return Err(Error::config("norm-epsilon", reason));
        }
        let ids =
            [("pad-id", self.pad_id), ("start-id", self.start_id), ("end-id", self.end_id), ("mask-id", self.mask_id)];
        for (field, id) in ids {
            if let Some(id) = id.filter(|&id| id as usize >= self.n_tokens) {
                let reason = format!("{id} is no token, expected 0 to {}", self.n_tokens - 1);
                return Err(Error::config(field, reason));
            }
        }
        Ok(())
    }

    /// Numbers in one head.
    pub fn head_dim(&self) -> usize {
        self.d_model / self.n_heads
    }

    /// Whether the sum of token and position goes through a layer norm before the first layer, as in BERT.
    pub(crate) fn has_embedding_norm(&self) -> bool {
        self.shape == Shape::Encoder && self.norm == Norm::Post
    }

    /// The standard deviation that rows of the token table start with: d_model^−½ where they are multiplied by √d_model,
    /// 0.02 elsewhere. Vectors that are planted are rescaled to it.
    pub fn token_spread(&self) -> f64 {
        if self.scale_embedding { (self.d_model as f64).powf(-0.5) } else { 0.02 }
    }

    /// Parameters and memory, for batches of `batch_size` sequences of `context_len` positions.
    pub fn estimate(&self, batch_size: usize, attention: AttentionKind) -> Estimate {
        let n_parameters = declared(self)
            .iter()
            .map(|parameter| parameter.shape.iter().fold(1, |n: u64, &size| n.saturating_mul(size as u64)))
            .fold(0, u64::saturating_add);
        let parameter_bytes = n_parameters.saturating_mul(4);
        let [d_model, d_ff, n_heads, time] =
            [self.d_model, self.d_ff, self.n_heads, self.context_len].map(|n| n as u64);
        let n_rows = (batch_size as u64).saturating_mul(time);
        // A layer keeps about twelve rows of d_model (norms, projections, attention, sums, dropout), cross-attention four
        // more, and three rows of d_ff; plain attention also two squares of scores a head.
        let (n_stacks, cross) = match self.shape {
            Shape::EncoderDecoder => (2, 4),
            Shape::Decoder | Shape::Encoder => (1, 0),
        };
        let squares = match attention {
            AttentionKind::Plain => 2 * n_heads * time * if cross > 0 { 2 } else { 1 },
            AttentionKind::Tiled => 0,
        };
        let per_row = (12 + cross) * d_model + 3 * d_ff + squares;
        let layers = n_rows.saturating_mul(per_row).saturating_mul(self.n_layers as u64 * n_stacks);
        // The gradients on their way back: a few rows at a time, and the logits of one stretch of rows.
        let passing = n_rows.saturating_mul(8 * d_model + 2 * d_ff);
        let activation_bytes = layers.saturating_add(passing).saturating_mul(4);
        let training_bytes = parameter_bytes.saturating_mul(4).saturating_add(activation_bytes);
        Estimate { n_parameters, parameter_bytes, training_bytes }
    }
}

/// The value that is spelled so in a configuration file.
fn from_name<T: DeserializeOwned>(field: &'static str, name: &str) -> Result<T> {
    serde_json::from_value(Value::String(name.to_string()))
        .map_err(|error| Error::config(field, error.to_string().replace('`', "'")))
}

fn write_name(value: &impl Serialize, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    match serde_json::to_value(value) {
        Ok(Value::String(name)) => f.write_str(&name),
        _ => unreachable!("a variant without fields is written as its name"),
    }
}

impl FromStr for Shape {
    type Err = Error;

    fn from_str(name: &str) -> Result<Shape> {
        from_name("shape", name)
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_name(self, f)
    }
}

impl FromStr for Positions {
    type Err = Error;

    fn from_str(name: &str) -> Result<Positions> {
        from_name("positions", name)
    }
}

impl fmt::Display for Positions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_name(self, f)
    }
}

impl FromStr for Norm {
    type Err = Error;

    fn from_str(name: &str) -> Result<Norm> {
        from_name("norm", name)
    }
}

impl fmt::Display for Norm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_name(self, f)
    }
}

impl FromStr for OutputLayer {
    type Err = Error;

    fn from_str(name: &str) -> Result<OutputLayer> {
        from_name("output", name)
    }
}

impl fmt::Display for OutputLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_name(self, f)
    }
}

impl FromStr for Activation {
    type Err = Error;

    fn from_str(name: &str) -> Result<Activation> {
        from_name("activation", name)
    }
}

impl fmt::Display for Activation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_name(self, f)
    }
}
