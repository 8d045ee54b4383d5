//! The numbers that are learned, by name.
//!
//! In: a configuration, and a seed or somebody's tensors. Out: one variable per name, always in the order of the names, so
//! that sums over all of them, and files, come out alike from run to run.
//!
//! [`declared`] is the one list of what there is. Weights of linear layers are `[out, in]`; a self-attention's queries,
//! keys and values are three blocks of rows in one weight, so that one product makes all three, and likewise keys and
//! values of a cross-attention.
//!
//! ```text
//! tokens.weight                     [V, C]        the token table
//! positions.weight                  [context, C]  learned positions
//! embedding_norm.{gain,bias}        [C]           encoder with post-norm
//! STACK.N.attention.qkv             [3C, C]       STACK is encoder or decoder; .weight and .bias [3C]
//! STACK.N.attention.output          [C, C]
//! STACK.N.attention_norm.{gain,bias}
//! decoder.N.cross.query             [C, C]        encoder-decoder only
//! decoder.N.cross.key_value         [2C, C]
//! decoder.N.cross.output            [C, C]
//! decoder.N.cross_norm.{gain,bias}
//! STACK.N.feed_forward.up           [F, C]
//! STACK.N.feed_forward.down         [C, F]
//! STACK.N.feed_forward_norm.{gain,bias}
//! STACK.norm.{gain,bias}            [C]           pre-norm
//! output.transform                  [C, C]        encoder: one more layer before tokens are guessed
//! output.norm.{gain,bias}           [C]
//! output.bias                       [V]           encoder, encoder-decoder: with a softmax
//! output.weight                     [V, C]        free softmax
//! output.nodes                      [V − 1, C]    Huffman tree
//! ```

use std::collections::BTreeMap;

use candle_core::{Device, Tensor, Var};
use rand::rngs::Xoshiro256PlusPlus;
use rand::{Rng, RngExt, SeedableRng};

use crate::error::Result;
use crate::transformer::config::{Norm, OutputLayer, Positions, Shape, TransformerConfig};

/// One entry of the list of parameters.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Declared {
    pub name: String,
    pub shape: Vec<usize>,
    pub start: Start,
}

/// What a parameter is before anything is learned.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Start {
    Zeros,
    Ones,
    /// Normal around 0 with this standard deviation.
    Normal(f64),
    /// Even from −bound to bound.
    Even(f64),
}

/// The standard deviation that the tree's nodes start with. Nothing multiplies them, whatever the shape.
pub(crate) const NODE_SPREAD: f64 = 0.02;

/// Every parameter that `config` calls for, in the order of the layers.
pub(crate) fn declared(config: &TransformerConfig) -> Vec<Declared> {
    let mut list = List { config, declared: Vec::new() };
    let [v, c] = [config.n_tokens, config.d_model];
    list.add("tokens.weight", &[v, c], Start::Normal(config.token_spread()));
    if config.positions == Positions::Learned {
        list.add("positions.weight", &[config.context_len, c], Start::Normal(0.02));
    }
    if config.has_embedding_norm() {
        list.norm("embedding_norm");
    }
    if config.shape != Shape::Decoder {
        list.stack("encoder", false);
    }
    if config.shape != Shape::Encoder {
        list.stack("decoder", config.shape == Shape::EncoderDecoder);
    }
    if config.shape == Shape::Encoder {
        list.linear("output.transform", c, c, 1.0);
        list.norm("output.norm");
    }
    if config.shape != Shape::Decoder && config.output_layer != OutputLayer::Tree {
        list.add("output.bias", &[v], Start::Zeros);
    }
    match config.output_layer {
        OutputLayer::Tied => {}
        OutputLayer::Free => list.add("output.weight", &[v, c], Start::Normal(config.token_spread())),
        // Not zeros as in word2vec: then nothing below them would get a gradient from the first step.
        OutputLayer::Tree => list.add("output.nodes", &[v.saturating_sub(1), c], Start::Normal(NODE_SPREAD)),
    }
    list.declared
}

struct List<'a> {
    config: &'a TransformerConfig,
    declared: Vec<Declared>,
}

impl List<'_> {
    fn add(&mut self, name: &str, shape: &[usize], start: Start) {
        self.declared.push(Declared { name: name.to_string(), shape: shape.to_vec(), start });
    }

    /// A weight of `n_out` rows that stands for `n_blocks` of them one above the other, and its bias.
    ///
    /// `damping` multiplies GPT-2's spread.
    fn linear(&mut self, name: &str, n_out: usize, n_in: usize, damping: f64) {
        self.linear_blocks(name, n_out, n_in, 1, damping);
    }

    fn linear_blocks(&mut self, name: &str, n_out: usize, n_in: usize, n_blocks: usize, damping: f64) {
        let start = match self.config.shape {
            // Glorot & Bengio 2010, as the paper's own code, each block for itself. (PyTorch's nn.MultiheadAttention draws
            // the three of them as one matrix of 3C rows, and so a factor of √2 smaller.)
            Shape::EncoderDecoder => Start::Even((6.0 / (n_out + n_in) as f64).sqrt()),
            // Radford et al. 2019, Devlin et al. 2019.
            Shape::Decoder | Shape::Encoder => Start::Normal(0.02 * damping),
        };
        self.add(&format!("{name}.weight"), &[n_blocks * n_out, n_in], start);
        self.add(&format!("{name}.bias"), &[n_blocks * n_out], Start::Zeros);
    }

    fn norm(&mut self, name: &str) {
        self.add(&format!("{name}.gain"), &[self.config.d_model], Start::Ones);
        self.add(&format!("{name}.bias"), &[self.config.d_model], Start::Zeros);
    }

    fn stack(&mut self, stack: &str, has_cross: bool) {
        let [c, f] = [self.config.d_model, self.config.d_ff];
        // With pre-norm each of the 2n parts adds to one sum, whose variance would grow with their number (Radford et al.
        // 2019, §2.3).
        let damping = match self.config.norm {
            Norm::Pre => (2.0 * self.config.n_layers as f64).powf(-0.5),
            Norm::Post => 1.0,
        };
        for layer in 0..self.config.n_layers {
            let at = format!("{stack}.{layer}");
            self.linear_blocks(&format!("{at}.attention.qkv"), c, c, 3, 1.0);
            self.linear(&format!("{at}.attention.output"), c, c, damping);
            self.norm(&format!("{at}.attention_norm"));
            if has_cross {
                self.linear(&format!("{at}.cross.query"), c, c, 1.0);
                self.linear_blocks(&format!("{at}.cross.key_value"), c, c, 2, 1.0);
                self.linear(&format!("{at}.cross.output"), c, c, damping);
                self.norm(&format!("{at}.cross_norm"));
            }
            self.linear(&format!("{at}.feed_forward.up"), f, c, 1.0);
            self.linear(&format!("{at}.feed_forward.down"), c, f, damping);
            self.norm(&format!("{at}.feed_forward_norm"));
        }
        if self.config.norm == Norm::Pre {
            self.norm(&format!("{stack}.norm"));
        }
    }
}

/// One variable per name.
///
/// A clone shares the numbers, as do the layers that are built over them.
#[derive(Debug, Clone)]
pub struct Parameters {
    by_name: BTreeMap<String, Var>,
}

impl Parameters {
    /// Draws all parameters that `config` calls for; the same seed draws the same numbers everywhere.
    ///
    /// # Errors
    /// As [`TransformerConfig::check`]; [`Error::Tensor`](crate::Error::Tensor) where memory runs out.
    pub fn random(config: &TransformerConfig, seed: u64) -> Result<Parameters> {
        Parameters::from_values(config, |declared| {
            // A generator of its own for each name: what else there is does not change what a parameter starts with.
            let mut random = Xoshiro256PlusPlus::seed_from_u64(seed ^ name_hash(&declared.name));
            let n: usize = declared.shape.iter().product();
            Ok(match declared.start {
                Start::Zeros => vec![0.0; n],
                Start::Ones => vec![1.0; n],
                Start::Normal(deviation) => normal(&mut random, n, deviation),
                Start::Even(bound) => (0..n).map(|_| random.random_range(-bound..=bound) as f32).collect(),
            })
        })
    }

    /// One variable for each parameter that `config` calls for, with the numbers that `values` gives.
    pub(crate) fn from_values(
        config: &TransformerConfig,
        mut values: impl FnMut(&Declared) -> Result<Vec<f32>>,
    ) -> Result<Parameters> {
        config.check()?;
        let mut by_name = BTreeMap::new();
        for declared in declared(config) {
            let numbers = values(&declared)?;
            let tensor = Tensor::from_vec(numbers, declared.shape.as_slice(), &Device::Cpu)?;
            by_name.insert(declared.name, Var::from_tensor(&tensor)?);
        }
        Ok(Parameters { by_name })
    }

    /// All of them, by rising name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Var)> {
        self.by_name.iter().map(|(name, var)| (name.as_str(), var))
    }

    /// One of them.
    pub fn get(&self, name: &str) -> Option<&Var> {
        self.by_name.get(name)
    }

    /// One that the configuration calls for.
    pub(crate) fn expect(&self, name: &str) -> Var {
        self.by_name.get(name).unwrap_or_else(|| panic!("{name} was not declared")).clone()
    }

    /// How many numbers are learned.
    pub fn n_parameters(&self) -> usize {
        self.by_name.values().map(|var| var.elem_count()).sum()
    }
}

/// The numbers of a parameter, or of another tensor, row by row.
pub(crate) fn numbers(x: &Tensor) -> Result<Vec<f32>> {
    Ok(x.flatten_all()?.to_vec1::<f32>()?)
}

/// FNV-1a: a spread of 64 bits that is the same on every machine and in every version.
fn name_hash(name: &str) -> u64 {
    name.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

/// Normal numbers around 0, two from each pair of even ones (Box & Muller 1958).
pub(crate) fn normal(random: &mut impl Rng, n: usize, deviation: f64) -> Vec<f32> {
    let mut drawn = Vec::with_capacity(n + 1);
    while drawn.len() < n {
        // Of (0, 1], so that the logarithm is finite.
        let (u, v) = (1.0 - random.random::<f64>(), random.random::<f64>());
        let radius = deviation * (-2.0 * u.ln()).sqrt();
        let (sine, cosine) = (std::f64::consts::TAU * v).sin_cos();
        drawn.extend([(radius * cosine) as f32, (radius * sine) as f32]);
    }
    drawn.truncate(n);
    drawn
}
