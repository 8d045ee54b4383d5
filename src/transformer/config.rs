//! What a transformer is: its shape, its sizes, its parts.
//!
//! In: a few settings, from flags or from a file. Out: a [`TransformerConfig`] that has been checked, how many parameters
//! it calls for and how much memory that is. Every shape has defaults that the Hugging Face layout of that shape can
//! express; other combinations work as well and are saved under our own names.

use std::fmt;
use std::ops::RangeInclusive;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::error::{Error, Result};
use crate::transformer::fused::{Activation, LOGIT_ROWS};
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
    /// Bytes that training needs at its peak, in [`fit`](crate::transformer::fit()) or when it saves: parameters, now and
    /// at their best, gradients, AdamW's two moments, what the forward pass leaves for the backward pass, and all that on
    /// its way into files. An estimate, high rather than low; the text and the program itself come on top.
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

    /// Parameters and memory, for batches of `batch_size` sequences of `context_len` positions on so many threads.
    pub fn estimate(&self, batch_size: usize, n_threads: usize) -> Estimate {
        let n_parameters = declared(self)
            .iter()
            .map(|parameter| parameter.shape.iter().fold(1, |n: u64, &size| n.saturating_mul(size as u64)))
            .fold(0, u64::saturating_add);
        let [n_tokens, d_model, d_ff, batch_size, time, n_layers, n_threads] =
            [self.n_tokens, self.d_model, self.d_ff, batch_size, self.context_len, self.n_layers, n_threads]
                .map(|n| n as u64);
        let n_rows = batch_size.saturating_mul(time);
        // A layer keeps about twelve rows of d_model (norms, projections, attention, sums, dropout), cross-attention four
        // more, and three rows of d_ff.
        let (n_stacks, cross) = match self.shape {
            Shape::EncoderDecoder => (2, 4),
            Shape::Decoder | Shape::Encoder => (1, 0),
        };
        let layers = n_rows.saturating_mul((12 + cross) * d_model + 3 * d_ff).saturating_mul(n_layers * n_stacks);
        // The gradients on their way back, a few rows at a time, and every thread's sums of one layer's weights.
        let passing = n_rows.saturating_mul(8 * d_model + 2 * d_ff);
        let sums = n_threads.saturating_mul(2 * d_model * d_ff);
        let output = match self.output_layer {
            // The logits of one stretch of rows.
            OutputLayer::Tied | OutputLayer::Free => {
                n_rows.min(LOGIT_ROWS as u64).saturating_mul(n_threads.saturating_mul(d_model).saturating_add(n_tokens))
            }
            // Three numbers for each node on a row's path, and once more while they are sorted.
            OutputLayer::Tree => n_rows.saturating_mul(6 * (u64::from(n_tokens.max(1).ilog2()) + 1)),
        };
        // A step has the parameters, the best ones beside them, gradients, two moments, and the large tables twice more where
        // the parts of their gradients are added up. While a run is saved there are eleven times the parameters: twice
        // themselves, two moments, all of that but the best once more as tensors and once more on its way into the file,
        // and, of the largest table, a copy or two meanwhile.
        let n_tables = if self.output_layer == OutputLayer::Tied { 1 } else { 2 };
        let step = n_parameters.saturating_mul(5).saturating_add(2 * n_tables * n_tokens * d_model);
        let step = [layers, passing, sums, output].into_iter().fold(step, u64::saturating_add);
        let numbers = step.max(n_parameters.saturating_mul(11));
        // What lies idle between them, as memory is kept from step to step.
        let numbers = numbers.saturating_add(numbers / 8);
        Estimate {
            n_parameters,
            parameter_bytes: n_parameters.saturating_mul(4),
            training_bytes: numbers.saturating_mul(4),
        }
    }
}

/// Gives types whose variants have no fields the spelling that they have in a configuration file; `$field` is the setting.
macro_rules! spelled_as_in_a_file {
    ($($type:ty: $field:literal),*) => {$(
        impl FromStr for $type {
            type Err = Error;

            fn from_str(name: &str) -> Result<$type> {
                serde_json::from_value(Value::String(name.to_string()))
                    .map_err(|error| Error::config($field, error.to_string().replace('`', "'")))
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                match serde_json::to_value(self) {
                    Ok(Value::String(name)) => f.write_str(&name),
                    _ => unreachable!("a variant without fields is written as its name"),
                }
            }
        }
    )*};
}

spelled_as_in_a_file!(
    Shape: "shape",
    Positions: "positions",
    Norm: "norm",
    OutputLayer: "output-layer",
    Activation: "activation"
);
