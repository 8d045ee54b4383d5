//! The whole of it: tokens → vectors of positions → probabilities of tokens.
//!
//! In: ids `[B, T]`; out: a hidden vector per position `[B, T, C]`, and from it logits, probabilities or a loss. Three shapes
//! from one set of layers:
//!
//! ```text
//! decoder            ids ─► embed ─► decoder.0 … ─► hidden               each position sees those before it
//! encoder            ids ─► embed ─► encoder.0 … ─► hidden               each position sees all but padding
//! encoder-decoder    source ─► embed ─► encoder.0 … ─► what is read
//!                    target ─► embed ─► decoder.0 … ─► hidden            … and looks at what is read
//! ```

use std::sync::Arc;

use candle_core::{D, Device, Tensor};

use crate::error::{Error, Result};
use crate::huffman::HuffmanTree;
use crate::transformer::block::{Block, Cross, Source};
use crate::transformer::cache::{Cache, Memory};
use crate::transformer::config::{Norm, OutputLayer, Positions, Shape, TransformerConfig};
use crate::transformer::fused::{self, Mask, Reach, activate};
use crate::transformer::linear::{LayerNorm, Linear};
use crate::transformer::parameters::Parameters;
use crate::transformer::pass::Pass;
use crate::transformer::position::{SineLayout, sinusoids};

/// A transformer: its configuration, its parameters, and the layers over them.
#[derive(Debug, Clone)]
pub struct Transformer {
    config: TransformerConfig,
    parameters: Parameters,
    output_tree: Option<OutputTree>,
    embedding_norm: Option<LayerNorm>,
    encoder: Stack,
    decoder: Stack,
    output_transform: Option<(Linear, LayerNorm)>,
}

/// The tree of a tree output layer, and the counts that it was made from.
#[derive(Debug, Clone)]
struct OutputTree {
    tree: Arc<HuffmanTree>,
    counts: Vec<u64>,
}

#[derive(Debug, Clone)]
struct Stack {
    blocks: Vec<Block>,
    norm: Option<LayerNorm>,
}

/// What an encoder made of its sources.
#[derive(Debug, Clone)]
pub struct Encoded {
    /// A vector per position: `[B, S, C]`.
    pub hidden: Tensor,
    /// Of each source, how many positions are no padding; `None`: all.
    pub lengths: Option<Vec<usize>>,
}

impl Transformer {
    /// A transformer with random parameters, the same for the same seed.
    ///
    /// `counts`, `[n_tokens]`, say how often each token occurs; the tree output layer is made from them, and no other
    /// needs them.
    ///
    /// # Errors
    /// [`Error::Config`] as [`TransformerConfig::check`], or for counts that are missing or of another number.
    pub fn new(config: TransformerConfig, counts: Option<&[u64]>, seed: u64) -> Result<Transformer> {
        let parameters = Parameters::random(&config, seed)?;
        Transformer::from_parameters(config, parameters, counts)
    }

    /// The layers over parameters that `config` calls for.
    pub(crate) fn from_parameters(
        config: TransformerConfig,
        parameters: Parameters,
        counts: Option<&[u64]>,
    ) -> Result<Transformer> {
        let output_tree = match (config.output_layer, counts) {
            (OutputLayer::Tied | OutputLayer::Free, _) => None,
            (OutputLayer::Tree, None) => {
                return Err(Error::config(
                    "output-layer",
                    "a tree is made from the tokens' counts, and there are none",
                ));
            }
            (OutputLayer::Tree, Some(counts)) if counts.len() != config.n_tokens => {
                let reason = format!("{} counts for {} tokens: they belong to others", counts.len(), config.n_tokens);
                return Err(Error::config("output-layer", reason));
            }
            (OutputLayer::Tree, Some(counts)) => {
                Some(OutputTree { tree: Arc::new(HuffmanTree::from_counts(counts)?), counts: counts.to_vec() })
            }
        };
        let norm = |name: &str| LayerNorm::new(&parameters, name, config.norm_epsilon);
        let stack = |name: &str, cross: Cross| Stack {
            blocks: (0..config.n_layers)
                .map(|layer| Block::new(&parameters, &config, format!("{name}.{layer}"), cross))
                .collect(),
            norm: (config.norm == Norm::Pre).then(|| norm(&format!("{name}.norm"))),
        };
        let none = || Stack { blocks: Vec::new(), norm: None };
        let (encoder, decoder) = match config.shape {
            Shape::EncoderDecoder => (stack("encoder", Cross::Without), stack("decoder", Cross::With)),
            Shape::Decoder => (none(), stack("decoder", Cross::Without)),
            Shape::Encoder => (stack("encoder", Cross::Without), none()),
        };
        let embedding_norm = config.has_embedding_norm().then(|| norm("embedding_norm"));
        let output_transform = (config.shape == Shape::Encoder)
            .then(|| (Linear::new(&parameters, "output.transform"), norm("output.norm")));
        Ok(Transformer { output_tree, embedding_norm, encoder, decoder, output_transform, config, parameters })
    }

    /// What it is.
    pub fn config(&self) -> &TransformerConfig {
        &self.config
    }

    /// What it has learned. The layers share these numbers.
    pub fn parameters(&self) -> &Parameters {
        &self.parameters
    }

    /// The tree of a tree output layer.
    pub fn tree(&self) -> Option<&Arc<HuffmanTree>> {
        self.output_tree.as_ref().map(|output| &output.tree)
    }

    /// The counts that the tree was made from, `[n_tokens]`.
    pub fn counts(&self) -> Option<&[u64]> {
        self.output_tree.as_ref().map(|output| output.counts.as_slice())
    }

    /// Reads texts from left to right: ids `[B, T]` → hidden `[B, T, C]`. No position depends on a later one.
    ///
    /// # Errors
    /// [`Error::Config`] for another shape than a decoder, for more positions than the context, or none; a message about
    /// ids that are no tokens.
    pub fn decode(&self, ids: &Tensor, pass: &mut Pass<'_>) -> Result<Tensor> {
        self.expect_shape(&[Shape::Decoder], "continues texts")?;
        self.check_room(ids.dims2()?.1)?;
        let x = self.embed(ids, 0, "decoder", pass)?;
        self.decoder.forward(x, &Mask::CAUSAL, None, pass, "decoder")
    }

    /// Reads texts in both directions: ids `[B, T]` → hidden `[B, T, C]`.
    ///
    /// `lengths` `[B]` say how many positions of each text are no padding; padding stands at the end, and its own hidden
    /// vectors mean nothing.
    ///
    /// # Errors
    /// [`Error::Config`] for a decoder, for more positions than the context, or none, and for lengths that don't fit.
    pub fn encode(&self, ids: &Tensor, lengths: Option<&[usize]>, pass: &mut Pass<'_>) -> Result<Encoded> {
        self.expect_shape(&[Shape::Encoder, Shape::EncoderDecoder], "reads in both directions")?;
        self.check_room(ids.dims2()?.1)?;
        let x = self.embed(ids, 0, "encoder", pass)?;
        let mask = padding(lengths, &x)?;
        let hidden = self.encoder.forward(x, &mask, None, pass, "encoder")?;
        Ok(Encoded { hidden, lengths: mask.key_lengths })
    }

    /// Reads targets from left to right, looking at what was made of their sources: ids `[B, T]` → hidden `[B, T, C]`.
    ///
    /// Padding at the end of targets needs no mask: no position depends on a later one.
    ///
    /// # Errors
    /// [`Error::Config`] for another shape than an encoder-decoder, for more positions than the context, or none, and for
    /// another number of targets than sources.
    pub fn decode_with(&self, source: &Encoded, target: &Tensor, pass: &mut Pass<'_>) -> Result<Tensor> {
        self.expect_shape(&[Shape::EncoderDecoder], "has source and target")?;
        self.check_room(target.dims2()?.1)?;
        let x = self.embed(target, 0, "decoder", pass)?;
        if x.dim(0)? != source.hidden.dim(0)? {
            let reason = format!("{} targets for {} sources", x.dim(0)?, source.hidden.dim(0)?);
            return Err(Error::config("target", reason));
        }
        self.decoder.forward(x, &Mask::CAUSAL, Some(source), pass, "decoder")
    }

    /// A cache for `n_sentences` texts side by side, to be continued with [`decode_next`](Self::decode_next).
    ///
    /// # Errors
    /// [`Error::Config`] for a shape that does not write, for an encoder-decoder (see [`cache_with`](Self::cache_with)),
    /// and for a window with positions that are not rotary, or beyond the context.
    pub fn cache(&self, memory: Memory, n_sentences: usize) -> Result<Cache> {
        self.expect_shape(&[Shape::Decoder], "continues texts")?;
        self.check_memory(memory)?;
        Ok(Cache::new(memory, self.config.n_layers, n_sentences, self.config.n_heads))
    }

    /// A cache for one target for each of the sources.
    ///
    /// # Errors
    /// As [`cache`](Self::cache), for another shape than an encoder-decoder.
    pub fn cache_with(&self, memory: Memory, source: &Encoded) -> Result<Cache> {
        self.expect_shape(&[Shape::EncoderDecoder], "has source and target")?;
        self.check_memory(memory)?;
        let mut cache = Cache::new(memory, self.config.n_layers, source.hidden.dim(0)?, self.config.n_heads);
        let pass = Pass::answering();
        for block in &self.decoder.blocks {
            cache.sources.push(block.keys_values(&source.hidden, &pass)?);
        }
        cache.source_mask = Mask { reach: Reach::All, key_lengths: source.lengths.clone() };
        Ok(cache)
    }

    /// Goes on where `cache` stands: ids `[B, T]` of the next T positions → their hidden vectors `[B, T, C]`, the same as
    /// in one pass over the whole, without gradients.
    ///
    /// # Errors
    /// [`Error::Config`] when the positions exceed the context and the cache has no window, or for another number of
    /// sentences than the cache's. The cache is then as it was.
    pub fn decode_next(&self, ids: &Tensor, cache: &mut Cache) -> Result<Tensor> {
        let (n_sentences, n_new) = ids.dims2()?;
        if n_sentences != cache.n_sentences() || cache.layers.len() != self.config.n_layers {
            let reason = format!("{n_sentences} sentences for a cache of {}", cache.n_sentences());
            return Err(Error::config("sentences", reason));
        }
        match cache.memory {
            Memory::All => self.check_room(cache.n_passed + n_new)?,
            // Distances stay within the cache, so positions may go on beyond the context.
            Memory::SinksAndWindow { .. } => self.check_room(n_new)?,
        }
        let pass = &mut Pass::answering();
        let mut x = self.embed(ids, cache.n_passed, "decoder", pass)?;
        for (layer, block) in self.decoder.blocks.iter().enumerate() {
            let source = cache.sources.get(layer).map(|keys_values| Source { keys_values, mask: &cache.source_mask });
            x = block.forward_next(x, &mut cache.layers[layer], source, pass)?;
        }
        cache.n_passed += n_new;
        self.decoder.finish(x, pass, "decoder")
    }

    /// Hidden vectors `[.., C]` → a number for each token `[.., V]`, whose softmax is the tokens' probabilities. From a tree
    /// they are the logarithms of the probabilities themselves, and carry no gradient.
    ///
    /// # Errors
    /// [`Error::Tensor`] for vectors of another length.
    pub fn logits(&self, hidden: &Tensor, pass: &mut Pass<'_>) -> Result<Tensor> {
        let mut shape = hidden.dims().to_vec();
        let x = self.transform(hidden, pass)?;
        let logits = match &self.output_tree {
            Some(output) => {
                let rows = x.reshape(((), self.config.d_model))?;
                let nodes = pass.value(&self.parameters.expect("output.nodes"));
                fused::tree_log_probabilities(&rows, &nodes, &output.tree)?
            }
            None => {
                let (table, bias) = self.output_table(pass);
                fused::linear(&x, &table, bias.as_ref())?
            }
        };
        if let Some(last) = shape.last_mut() {
            *last = self.config.n_tokens;
        }
        let logits = logits.reshape(shape)?;
        pass.show("", "logits", &logits);
        Ok(logits)
    }

    /// ln P of each token: hidden `[.., C]` → `[.., V]`.
    ///
    /// # Errors
    /// As [`logits`](Self::logits).
    pub fn log_probabilities(&self, hidden: &Tensor, pass: &mut Pass<'_>) -> Result<Tensor> {
        let logits = self.logits(hidden, pass)?;
        if self.output_tree.is_some() {
            return Ok(logits);
        }
        let centered = logits.broadcast_sub(&logits.max_keepdim(D::Minus1)?)?;
        Ok(centered.broadcast_sub(&centered.exp()?.sum_keepdim(D::Minus1)?.log()?)?)
    }

    /// The mean of −ln P(target) over the positions whose target is not `ignore`, in nats: hidden `[B, T, C]` and targets
    /// u32 `[B, T]` → a scalar. 0 when every target is ignored.
    ///
    /// # Errors
    /// [`Error::Config`] or [`Error::Tensor`] for targets that are no tokens, or of another number than the positions.
    pub fn loss(&self, hidden: &Tensor, targets: &Tensor, ignore: Option<u32>, pass: &mut Pass<'_>) -> Result<Tensor> {
        let mut rows = hidden.reshape(((), self.config.d_model))?;
        let mut targets = targets.flatten_all()?;
        if let Some(ignore) = ignore {
            // Rows that do not count are left out before the output layer, which costs more than all the others.
            let all = targets.to_vec1::<u32>()?;
            let counted: Vec<u32> = (0..all.len() as u32).filter(|&row| all[row as usize] != ignore).collect();
            if counted.is_empty() {
                return Ok((hidden.sum_all()? * 0.0)?);
            }
            if counted.len() < all.len() {
                let n = counted.len();
                let counted = Tensor::from_vec(counted, n, &Device::Cpu)?;
                rows = rows.index_select(&counted, 0)?;
                targets = targets.index_select(&counted, 0)?;
            }
        }
        let rows = self.transform(&rows, pass)?;
        match &self.output_tree {
            Some(output) => {
                let nodes = pass.value(&self.parameters.expect("output.nodes"));
                fused::tree_loss(&rows, &nodes, &output.tree, &targets)
            }
            None => {
                let (table, bias) = self.output_table(pass);
                fused::softmax_loss(&rows, &table, bias.as_ref(), &targets, None)
            }
        }
    }

    /// What stands between an encoder's last layer and its guess: a linear layer, a bend, a norm.
    fn transform(&self, hidden: &Tensor, pass: &mut Pass<'_>) -> Result<Tensor> {
        match &self.output_transform {
            Some((linear, norm)) => {
                let x = norm.forward(&activate(&linear.forward(hidden, pass)?, self.config.activation)?, pass)?;
                pass.show("output", "transform", &x);
                Ok(x)
            }
            None => Ok(hidden.clone()),
        }
    }

    fn output_table(&self, pass: &Pass<'_>) -> (Tensor, Option<Tensor>) {
        let name = match self.config.output_layer {
            OutputLayer::Free => "output.weight",
            OutputLayer::Tied | OutputLayer::Tree => "tokens.weight",
        };
        let bias = self.parameters.get("output.bias").map(|bias| pass.value(bias));
        (pass.value(&self.parameters.expect(name)), bias)
    }

    /// ids `[B, T]` at positions `first` and on → `[B, T, C]`.
    fn embed(&self, ids: &Tensor, first: usize, at: &str, pass: &mut Pass<'_>) -> Result<Tensor> {
        let (n_sentences, time) = ids.dims2()?;
        if n_sentences == 0 || time == 0 {
            return Err(Error::config(
                "ids",
                format!("{n_sentences} sentences of {time} tokens, expected at least one"),
            ));
        }
        let tokens = fused::embedding(&pass.value(&self.parameters.expect("tokens.weight")), ids)?;
        pass.show(at, "tokens", &tokens);
        let tokens = match self.config.scale_embedding {
            true => {
                let scaled = (tokens * (self.config.d_model as f64).sqrt())?;
                pass.show(at, "tokens_scaled", &scaled);
                scaled
            }
            false => tokens,
        };
        let positions = match self.config.positions {
            Positions::Rotary => None,
            Positions::Learned => Some(pass.value(&self.parameters.expect("positions.weight")).narrow(0, first, time)?),
            Positions::Sinusoidal => Some(sinusoids(SineLayout::Interleaved, first, time, self.config.d_model)?),
            Positions::SinusoidalHalves => Some(sinusoids(SineLayout::Halves, first, time, self.config.d_model)?),
        };
        let x = match positions {
            Some(positions) => {
                pass.show(at, "positions", &positions);
                tokens.broadcast_add(&positions)?
            }
            None => tokens,
        };
        pass.show(at, "embedded", &x);
        let x = match &self.embedding_norm {
            Some(norm) => {
                let x = norm.forward(&x, pass)?;
                pass.show(at, "embedding_norm", &x);
                x
            }
            None => x,
        };
        pass.drop_some(x, self.config.dropout)
    }

    /// A pass over more than the context was never trained.
    fn check_room(&self, n_positions: usize) -> Result<()> {
        if n_positions <= self.config.context_len {
            return Ok(());
        }
        let reason = format!("{n_positions} positions, the model has room for {}", self.config.context_len);
        Err(Error::config("context-len", reason))
    }

    fn check_memory(&self, memory: Memory) -> Result<()> {
        let Memory::SinksAndWindow { n_sinks, window } = memory else { return Ok(()) };
        if self.config.positions != Positions::Rotary {
            let reason = format!(
                "the model's positions are {}, and a window that moves on needs rotary ones",
                self.config.positions
            );
            return Err(Error::config("window", reason));
        }
        let context_len = self.config.context_len;
        if n_sinks >= context_len {
            let reason = format!(
                "{n_sinks} of a context of {context_len}, expected 0 to {}: one is the present",
                context_len - 1
            );
            return Err(Error::config("sinks", reason));
        }
        if window == 0 || window > context_len - n_sinks {
            let reason = format!(
                "{window} recent positions after {n_sinks} sinks, expected 1 to {} (the model's context is {context_len})",
                context_len - n_sinks,
            );
            return Err(Error::config("window", reason));
        }
        Ok(())
    }

    fn expect_shape(&self, shapes: &[Shape], what: &str) -> Result<()> {
        if shapes.contains(&self.config.shape) {
            return Ok(());
        }
        let wanted: Vec<String> = shapes.iter().map(Shape::to_string).collect();
        let reason = format!("the model is of shape {}, and only {} {what}", self.config.shape, wanted.join(" or "));
        Err(Error::config("shape", reason))
    }
}

impl Stack {
    fn forward(
        &self,
        mut x: Tensor,
        mask: &Mask,
        source: Option<&Encoded>,
        pass: &mut Pass<'_>,
        at: &str,
    ) -> Result<Tensor> {
        let source_mask = Mask { reach: Reach::All, key_lengths: source.and_then(|source| source.lengths.clone()) };
        for block in &self.blocks {
            let keys_values = source.map(|source| block.keys_values(&source.hidden, pass)).transpose()?;
            let source = keys_values.as_ref().map(|keys_values| Source { keys_values, mask: &source_mask });
            x = block.forward(x, mask, source, pass)?;
        }
        self.finish(x, pass, at)
    }

    fn finish(&self, x: Tensor, pass: &mut Pass<'_>, at: &str) -> Result<Tensor> {
        let x = match &self.norm {
            Some(norm) => norm.forward(&x, pass)?,
            None => x,
        };
        pass.show(at, "hidden", &x);
        Ok(x)
    }
}

/// The mask of padding at the ends of texts.
fn padding(lengths: Option<&[usize]>, x: &Tensor) -> Result<Mask> {
    let (n_sentences, time, _) = x.dims3()?;
    if let Some(lengths) = lengths
        && (lengths.len() != n_sentences || lengths.iter().any(|&length| length > time))
    {
        let longest = lengths.iter().max().copied().unwrap_or(0);
        let reason =
            format!("{} lengths of at most {longest}, expected {n_sentences} of at most {time}", lengths.len());
        return Err(Error::config("lengths", reason));
    }
    Ok(Mask { reach: Reach::All, key_lengths: lengths.map(<[usize]>::to_vec) })
}
