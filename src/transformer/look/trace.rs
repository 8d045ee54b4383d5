//! Every step of one pass, as a person would compute it by hand.
//!
//! In: a transformer and what it reads. Out: sections of steps in the order of the computation, each with its formula, the
//! matrices that come out, and the parameters that go in; in the end the most probable tokens. All numbers are the pass's
//! own, but for what stands beside a norm (mean and deviation) and along a path in the tree, which are computed here.

use std::ops::Range;

use candle_core::Tensor;
use serde::Serialize;

use crate::error::{Error, Result};
use crate::tokens::Tokenizer;
use crate::transformer::config::{Norm, Positions, Shape};
use crate::transformer::look::labelled_matrix::LabelledMatrix;
use crate::transformer::look::layer_steps::tell_layer;
use crate::transformer::look::output_steps::tell_output;
use crate::transformer::look::reading::{ReadToken, Reading};
use crate::transformer::look::seen::Seen;
use crate::transformer::model::Transformer;

/// A pass, step by step.
#[derive(Debug, Clone, Serialize)]
pub struct Trace {
    /// What the model is.
    pub shape: Shape,
    /// What the encoder reads; empty for a decoder.
    pub source: Vec<ReadToken>,
    /// What the decoder reads; empty for an encoder.
    pub target: Vec<ReadToken>,
    /// The steps.
    pub sections: Vec<Section>,
    /// What comes out: one for a model that writes, one for each hidden token of an encoder.
    pub predictions: Vec<Prediction>,
}

/// Steps that belong together.
#[derive(Debug, Clone, Serialize)]
pub struct Section {
    /// Which part of the model this is.
    pub title: String,
    /// In the order of the computation.
    pub steps: Vec<Step>,
}

/// One step of the computation.
#[derive(Debug, Clone, Serialize)]
pub struct Step {
    /// Counted from 1 through all sections.
    pub number: usize,
    /// What it is called: `encoder.0.attention.scores`; with the same names as parameters, layers from 0.
    pub name: String,
    /// What it is, for people.
    pub title: String,
    /// How it is computed.
    pub formula: String,
    /// What comes out: one matrix, or one for each head.
    pub matrices: Vec<LabelledMatrix>,
    /// What goes in that was learned.
    pub learned: Vec<Learned>,
}

/// A parameter, or some rows of one.
#[derive(Debug, Clone, Serialize)]
pub struct Learned {
    /// What the formula calls it.
    pub symbol: &'static str,
    /// Its name in the model.
    pub name: String,
    /// Which of its rows, where it holds more than this step needs.
    pub rows: Range<usize>,
    #[serde(skip)]
    tensor: Tensor,
}

/// What a position is predicted to be, or to be followed by.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Prediction {
    /// The position that tells: the last one of what is written, or the hidden one.
    pub position: usize,
    /// The most probable tokens, best first.
    pub candidates: Vec<Candidate>,
}

/// A token and its probability.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Candidate {
    /// Its id.
    pub id: u32,
    /// What people call it. May hold control characters: escape them before printing.
    pub token: String,
    /// Of all tokens' probabilities, which sum to 1.
    pub probability: f64,
}

impl Learned {
    /// Its numbers: a row for each number that comes out, a column for each that goes in.
    ///
    /// # Errors
    /// [`Error::Tensor`] where memory runs out.
    pub fn matrix(&self) -> Result<LabelledMatrix> {
        let tensor = self.tensor.narrow(0, self.rows.start, self.rows.len())?;
        let numbers = tensor.flatten_all()?.to_vec1::<f32>()?;
        // A vector is one row.
        let rows: Vec<String> = match self.tensor.rank() {
            1 => vec![String::new()],
            _ => self.rows.clone().map(|row| row.to_string()).collect(),
        };
        Ok(LabelledMatrix::new(self.symbol, &rows, numbers))
    }

    /// How many numbers each way: `[6, 6]`, `[6]`.
    pub fn shape(&self) -> Vec<usize> {
        let mut shape = self.tensor.dims().to_vec();
        if let Some(first) = shape.first_mut() {
            *first = self.rows.len();
        }
        shape
    }

    /// Where its numbers are: `encoder.0.attention.qkv.weight`, and which rows where that is not all.
    pub fn place(&self) -> String {
        match self.tensor.dims().first() {
            Some(&n) if self.rows.len() < n => format!("{}[{}..{}]", self.name, self.rows.start, self.rows.end),
            _ => self.name.clone(),
        }
    }
}

/// Reads, and tells every step up to the `n_candidates` most probable tokens.
///
/// # Errors
/// [`Error::Config`] when there would be too many numbers to look at, and for a tokenizer of another model.
pub fn trace(
    transformer: &Transformer,
    tokenizer: &Tokenizer,
    reading: &Reading,
    n_candidates: usize,
) -> Result<Trace> {
    let (found, wanted) = (tokenizer.n_tokens(), transformer.config().n_tokens);
    if found != wanted {
        return Err(Error::config(
            "tokenizer",
            format!("has {found} tokens, the model has {wanted}: it belongs to another"),
        ));
    }
    let seen = Seen::pass(transformer, reading, |_| true)?;
    let mut story = Story { transformer, seen: &seen, sections: Vec::new(), n_steps: 0, x: Vec::new() };
    let config = transformer.config();
    let (source, target) = (&reading.source, &reading.target);
    if !source.is_empty() {
        tell_stack(&mut story, "encoder", source, None);
    }
    if !target.is_empty() {
        let keys = (config.shape == Shape::EncoderDecoder).then_some(source.as_slice());
        tell_stack(&mut story, "decoder", target, keys);
    }
    let read = if target.is_empty() { source } else { target };
    let predictions = tell_output(&mut story, tokenizer, read, n_candidates)?;
    Ok(Trace {
        shape: config.shape,
        source: source.clone(),
        target: target.clone(),
        sections: story.sections,
        predictions,
    })
}

/// What has been told so far.
pub(super) struct Story<'a> {
    pub transformer: &'a Transformer,
    pub seen: &'a Seen,
    sections: Vec<Section>,
    n_steps: usize,
    /// What the last part has left: a row for each position.
    pub x: Vec<f32>,
}

impl Story<'_> {
    pub fn begin(&mut self, title: String) {
        self.sections.push(Section { title, steps: Vec::new() });
    }

    pub fn tell(
        &mut self,
        name: String,
        title: &str,
        formula: impl Into<String>,
        matrices: Vec<LabelledMatrix>,
        learned: Vec<Learned>,
    ) {
        self.n_steps += 1;
        let (number, title, formula) = (self.n_steps, title.to_string(), formula.into());
        let section = self.sections.last_mut().expect("a section was begun");
        section.steps.push(Step { number, name, title, formula, matrices, learned });
    }

    /// Tells a step that is one matrix of the pass, a row for each token.
    pub fn tell_seen(
        &mut self,
        name: String,
        title: &str,
        formula: impl Into<String>,
        rows: &[String],
        learned: Vec<Learned>,
    ) {
        let matrix = LabelledMatrix::new("", rows, self.seen.expect(&name).to_vec());
        self.tell(name, title, formula, vec![matrix], learned);
    }

    /// Some rows of a parameter.
    pub fn part(&self, symbol: &'static str, name: &str, rows: Range<usize>) -> Learned {
        let tensor = self.transformer.parameters().expect(name).as_detached_tensor();
        Learned { symbol, name: name.to_string(), rows, tensor }
    }

    /// A whole parameter.
    pub fn learned(&self, symbol: &'static str, name: &str) -> Learned {
        let n_rows = self.transformer.parameters().expect(name).dims().first().copied().unwrap_or(0);
        self.part(symbol, name, 0..n_rows)
    }

    /// A linear layer's weight and bias.
    pub fn linear(&self, [weight, bias]: [&'static str; 2], name: &str) -> Vec<Learned> {
        vec![self.learned(weight, &format!("{name}.weight")), self.learned(bias, &format!("{name}.bias"))]
    }

    /// Tells a layer norm of `x`, which is then what has been left. `what` is the formula's beginning: `X = norm(X + A)`.
    pub fn tell_norm(&mut self, name: String, parameters: &str, what: &str, rows: &[String], x: &[f32]) {
        let epsilon = self.transformer.config().norm_epsilon;
        let width = self.transformer.config().d_model;
        let aside = x.chunks_exact(width).flat_map(|row| {
            let mean = row.iter().map(|&x| f64::from(x)).sum::<f64>() / width as f64;
            let variance = row.iter().map(|&x| (f64::from(x) - mean).powi(2)).sum::<f64>() / width as f64;
            [mean as f32, (variance + epsilon).sqrt() as f32]
        });
        let columns = ["mean", "√(variance + ε)"].map(str::to_string).to_vec();
        let aside = LabelledMatrix::labelled("aside", rows, columns, aside.collect());
        let normed = self.seen.expect(&name).to_vec();
        let formula = format!("{what} = (x − mean) / √(variance + ε) · gain + bias, ε = {epsilon:e}");
        let learned = ["gain", "bias"].map(|part| self.learned(part, &format!("{parameters}.{part}"))).to_vec();
        self.x = normed.clone();
        self.tell(name, "norm", formula, vec![aside, LabelledMatrix::new("normed", rows, normed)], learned);
    }
}

/// From ids to what the last layer of a stack leaves.
fn tell_stack(story: &mut Story<'_>, stack: &str, tokens: &[ReadToken], keys: Option<&[ReadToken]>) {
    let rows: Vec<String> = tokens.iter().map(|token| token.token.clone()).collect();
    let config = story.transformer.config();
    story.begin(format!("{stack}: tokens become vectors"));
    tell_embedding(story, stack, tokens, &rows);
    let keys: Option<Vec<String>> = keys.map(|keys| keys.iter().map(|token| token.token.clone()).collect());
    for layer in 0..config.n_layers {
        tell_layer(story, stack, layer, &rows, keys.as_deref());
    }
    if config.norm == Norm::Pre {
        story.begin(format!("{stack}: after the last layer"));
        let x = std::mem::take(&mut story.x);
        story.tell_norm(format!("{stack}.hidden"), &format!("{stack}.norm"), "norm(X)", &rows, &x);
    }
}

fn tell_embedding(story: &mut Story<'_>, stack: &str, tokens: &[ReadToken], rows: &[String]) {
    let config = story.transformer.config();
    let name = |part: &str| format!("{stack}.{part}");
    let ids = tokens.iter().map(|token| token.id as f32).collect();
    let ids = LabelledMatrix { is_whole: true, ..LabelledMatrix::labelled("", rows, vec!["id".to_string()], ids) };
    story.tell(name("ids"), "token ids", "each token's number in the vocabulary", vec![ids], Vec::new());
    let width = config.d_model;
    let later = match config.positions {
        Positions::Rotary => " = X; positions will turn queries and keys",
        _ => "",
    };
    let (scaled, unscaled) = if config.scale_embedding { (later, "") } else { ("", later) };
    let formula = format!("E = the token table's row of each id (tokens.weight){unscaled}");
    story.tell_seen(name("tokens"), "embedding", formula, rows, Vec::new());
    let mut embedding = "E".to_string();
    if config.scale_embedding {
        let formula = format!("E · √d_model = E · √{width}{scaled}");
        story.tell_seen(name("tokens_scaled"), "embedding, scaled", formula, rows, Vec::new());
        embedding = format!("E · √{width}");
    }
    let formula = match config.positions {
        Positions::Rotary => None,
        Positions::Learned => Some("P = a row for each position (positions.weight)".to_string()),
        Positions::Sinusoidal => Some(format!(
            "P[p, 2i] = sin(p / 10000^(2i/{width})), P[p, 2i+1] = cos(p / 10000^(2i/{width})), p = 0, 1, 2, …"
        )),
        Positions::SinusoidalHalves => Some(format!(
            "P[p, i] = sin(p / 10000^(2i/{width})), P[p, {}+i] = cos(p / 10000^(2i/{width})), p = 0, 1, 2, …",
            width.div_ceil(2)
        )),
    };
    if let Some(formula) = formula {
        story.tell_seen(name("positions"), "position", formula, rows, Vec::new());
        story.tell_seen(name("embedded"), "sum", format!("X = {embedding} + P"), rows, Vec::new());
    }
    story.x = story.seen.expect(&name("embedded")).to_vec();
    if config.has_embedding_norm() {
        let x = std::mem::take(&mut story.x);
        story.tell_norm(name("embedding_norm"), "embedding_norm", "X = norm(X)", rows, &x);
    }
}
