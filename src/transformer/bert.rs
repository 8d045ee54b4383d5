//! The encoder in BERT's layout.
//!
//! Post-norm, learned positions, a norm of the embeddings, and a linear layer with a norm before tokens are guessed.
//! Weights are `[out, in]` like ours; queries, keys and values have one weight each. BERT tells two segments apart by an
//! added row; we know one segment: its row is added to the positions when read, and is zero when written.

use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::transformer::config::{Norm, OutputLayer, Positions, Shape, TransformerConfig};
use crate::transformer::layout::{Entries, Entry, Layout, Part, activation_name, activation_named, parsed, token, yes};

/// What BERT's layout cannot say of this configuration.
pub(super) fn misfit(config: &TransformerConfig) -> Option<String> {
    let other = Layout::other_than(config, Norm::Post, Positions::Learned);
    other.or_else(|| config.scale_embedding.then(|| "its embeddings are not scaled".into()))
}

pub(super) fn config_json(config: &TransformerConfig) -> Value {
    json!({
        "model_type": "bert",
        "architectures": ["BertForMaskedLM"],
        "vocab_size": config.n_tokens,
        "hidden_size": config.d_model,
        "num_hidden_layers": config.n_layers,
        "num_attention_heads": config.n_heads,
        "intermediate_size": config.d_ff,
        "max_position_embeddings": config.context_len,
        "hidden_act": activation_name(config.activation),
        "layer_norm_eps": config.norm_epsilon,
        "hidden_dropout_prob": config.dropout,
        "attention_probs_dropout_prob": config.dropout,
        "type_vocab_size": 1,
        "tie_word_embeddings": config.output_layer == OutputLayer::Tied,
        "pad_token_id": config.pad_id,
        "bos_token_id": config.start_id,
        "eos_token_id": config.end_id,
        "mask_token_id": config.mask_id,
        "dtype": "float32",
    })
}

#[derive(Deserialize)]
struct Theirs {
    vocab_size: usize,
    hidden_size: usize,
    num_hidden_layers: usize,
    num_attention_heads: usize,
    intermediate_size: usize,
    max_position_embeddings: usize,
    hidden_act: String,
    #[serde(default)]
    layer_norm_eps: Option<f64>,
    #[serde(default)]
    hidden_dropout_prob: f64,
    #[serde(default)]
    position_embedding_type: Option<String>,
    #[serde(default = "yes")]
    tie_word_embeddings: bool,
    #[serde(default)]
    is_decoder: bool,
}

pub(super) fn read_config(all: &Map<String, Value>) -> Result<TransformerConfig, String> {
    let theirs: Theirs = parsed(all)?;
    if theirs.is_decoder || theirs.position_embedding_type.as_deref().unwrap_or("absolute") != "absolute" {
        return Err("is a decoder, or has positions that are not one row each: not read here".into());
    }
    let id = |name: &str| token(all.get(name), theirs.vocab_size);
    Ok(TransformerConfig {
        d_model: theirs.hidden_size,
        n_heads: theirs.num_attention_heads,
        n_layers: theirs.num_hidden_layers,
        d_ff: theirs.intermediate_size,
        context_len: theirs.max_position_embeddings,
        activation: activation_named(&theirs.hidden_act)?,
        dropout: theirs.hidden_dropout_prob,
        output_layer: if theirs.tie_word_embeddings { OutputLayer::Tied } else { OutputLayer::Free },
        norm_epsilon: theirs.layer_norm_eps.unwrap_or(1e-12),
        pad_id: id("pad_token_id"),
        start_id: id("bos_token_id"),
        end_id: id("eos_token_id"),
        mask_id: id("mask_token_id"),
        ..TransformerConfig::new(Shape::Encoder, theirs.vocab_size)
    })
}

pub(super) fn entries(config: &TransformerConfig) -> Vec<Entry> {
    let mut list = Entries::default();
    list.add("bert.embeddings.word_embeddings.weight", "tokens.weight", Part::Whole);
    list.add("bert.embeddings.position_embeddings.weight", "positions.weight", Part::Whole);
    list.add("bert.embeddings.token_type_embeddings.weight", "positions.weight", Part::AddedRow);
    list.norm("bert.embeddings.LayerNorm", "embedding_norm");
    for layer in 0..config.n_layers {
        let (theirs, ours) = (format!("bert.encoder.layer.{layer}"), format!("encoder.{layer}"));
        for (block, part) in ["query", "key", "value"].into_iter().enumerate() {
            let qkv = format!("{ours}.attention.qkv");
            list.linear(&format!("{theirs}.attention.self.{part}"), &qkv, Part::Block(block, 3));
        }
        let attention = format!("{theirs}.attention.output");
        list.linear(&format!("{attention}.dense"), &format!("{ours}.attention.output"), Part::Whole);
        list.norm(&format!("{attention}.LayerNorm"), &format!("{ours}.attention_norm"));
        list.linear(&format!("{theirs}.intermediate.dense"), &format!("{ours}.feed_forward.up"), Part::Whole);
        list.linear(&format!("{theirs}.output.dense"), &format!("{ours}.feed_forward.down"), Part::Whole);
        list.norm(&format!("{theirs}.output.LayerNorm"), &format!("{ours}.feed_forward_norm"));
    }
    list.add("cls.predictions.bias", "output.bias", Part::Whole);
    list.linear("cls.predictions.transform.dense", "output.transform", Part::Whole);
    list.norm("cls.predictions.transform.LayerNorm", "output.norm");
    if config.output_layer == OutputLayer::Free {
        list.add("cls.predictions.decoder.weight", "output.weight", Part::Whole);
        // Untied, the bias stands there as well.
        list.add("cls.predictions.decoder.bias", "output.bias", Part::Whole);
    }
    list.0
}
