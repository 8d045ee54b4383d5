//! The decoder in GPT-2's layout.
//!
//! Pre-norm, learned positions, a bias everywhere, one weight for queries, keys and values. Weights of linear layers are
//! `[in, out]` (`Conv1D`), the transpose of ours. Tied output, or a `lm_head` of its own.

use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::transformer::config::{Norm, OutputLayer, Positions, Shape, TransformerConfig};
use crate::transformer::layout::{Entries, Entry, Layout, Part, activation_name, activation_named, parsed, token, yes};

/// What GPT-2's layout cannot say of this configuration.
pub(super) fn misfit(config: &TransformerConfig) -> Option<String> {
    let other = Layout::other_than(config, Norm::Pre, Positions::Learned);
    other.or_else(|| config.scale_embedding.then(|| "its embeddings are not scaled".into()))
}

pub(super) fn config_json(config: &TransformerConfig) -> Value {
    json!({
        "model_type": "gpt2",
        "architectures": ["GPT2LMHeadModel"],
        "vocab_size": config.n_tokens,
        "n_positions": config.context_len,
        "n_embd": config.d_model,
        "n_layer": config.n_layers,
        "n_head": config.n_heads,
        "n_inner": config.d_ff,
        "activation_function": activation_name(config.activation),
        "layer_norm_epsilon": config.norm_epsilon,
        "resid_pdrop": config.dropout,
        "embd_pdrop": config.dropout,
        "attn_pdrop": config.dropout,
        "tie_word_embeddings": config.output_layer == OutputLayer::Tied,
        "bos_token_id": config.start_id.or(config.end_id),
        "eos_token_id": config.end_id,
        "pad_token_id": config.pad_id,
        "dtype": "float32",
    })
}

#[derive(Deserialize)]
struct Theirs {
    vocab_size: usize,
    n_positions: usize,
    n_embd: usize,
    n_layer: usize,
    n_head: usize,
    #[serde(default)]
    n_inner: Option<usize>,
    #[serde(default = "gelu_new")]
    activation_function: String,
    #[serde(default)]
    layer_norm_epsilon: Option<f64>,
    #[serde(default)]
    resid_pdrop: f64,
    #[serde(default = "yes")]
    tie_word_embeddings: bool,
    #[serde(default = "yes")]
    scale_attn_weights: bool,
    #[serde(default)]
    scale_attn_by_inverse_layer_idx: bool,
    #[serde(default)]
    add_cross_attention: bool,
}

fn gelu_new() -> String {
    "gelu_new".into()
}

pub(super) fn read_config(all: &Map<String, Value>) -> Result<TransformerConfig, String> {
    let theirs: Theirs = parsed(all)?;
    if !theirs.scale_attn_weights || theirs.scale_attn_by_inverse_layer_idx || theirs.add_cross_attention {
        return Err("asks for scores that are not divided by √D alone, or for cross-attention: not read here".into());
    }
    let id = |name: &str| token(all.get(name), theirs.vocab_size);
    Ok(TransformerConfig {
        d_model: theirs.n_embd,
        n_heads: theirs.n_head,
        n_layers: theirs.n_layer,
        d_ff: theirs.n_inner.unwrap_or(theirs.n_embd.saturating_mul(4)),
        context_len: theirs.n_positions,
        activation: activation_named(&theirs.activation_function)?,
        dropout: theirs.resid_pdrop,
        output_layer: if theirs.tie_word_embeddings { OutputLayer::Tied } else { OutputLayer::Free },
        norm_epsilon: theirs.layer_norm_epsilon.unwrap_or(1e-5),
        pad_id: id("pad_token_id"),
        start_id: id("bos_token_id"),
        end_id: id("eos_token_id"),
        ..TransformerConfig::new(Shape::Decoder, theirs.vocab_size)
    })
}

pub(super) fn entries(config: &TransformerConfig) -> Vec<Entry> {
    let mut list = Entries::default();
    list.add("transformer.wte.weight", "tokens.weight", Part::Whole);
    list.add("transformer.wpe.weight", "positions.weight", Part::Whole);
    for layer in 0..config.n_layers {
        let (theirs, ours) = (format!("transformer.h.{layer}"), format!("decoder.{layer}"));
        list.norm(&format!("{theirs}.ln_1"), &format!("{ours}.attention_norm"));
        list.linear(&format!("{theirs}.attn.c_attn"), &format!("{ours}.attention.qkv"), Part::Transposed);
        list.linear(&format!("{theirs}.attn.c_proj"), &format!("{ours}.attention.output"), Part::Transposed);
        list.norm(&format!("{theirs}.ln_2"), &format!("{ours}.feed_forward_norm"));
        list.linear(&format!("{theirs}.mlp.c_fc"), &format!("{ours}.feed_forward.up"), Part::Transposed);
        list.linear(&format!("{theirs}.mlp.c_proj"), &format!("{ours}.feed_forward.down"), Part::Transposed);
    }
    list.norm("transformer.ln_f", "decoder.norm");
    if config.output_layer == OutputLayer::Free {
        list.add("lm_head.weight", "output.weight", Part::Whole);
    }
    list.0
}
