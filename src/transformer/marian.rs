//! The encoder-decoder in Marian's layout.
//!
//! Post-norm, sines and cosines in halves (a formula, not stored), one table for source and target, a bias of the logits.
//! Weights are `[out, in]` like ours; queries, keys and values have one weight each.

use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::transformer::config::{Norm, OutputLayer, Positions, Shape, TransformerConfig};
use crate::transformer::layout::{Entries, Entry, Layout, Part, activation_name, activation_named, parsed, token, yes};

/// Marian's layer norms are PyTorch's default, and its settings cannot say another.
const EPSILON: f64 = 1e-5;

/// What Marian's layout cannot say of this configuration.
pub(super) fn misfit(config: &TransformerConfig) -> Option<String> {
    let other = Layout::other_than(config, Norm::Post, Positions::SinusoidalHalves);
    other.or_else(|| {
        (config.norm_epsilon != EPSILON).then(|| format!("its norm-epsilon is {EPSILON}, not {}", config.norm_epsilon))
    })
}

pub(super) fn config_json(config: &TransformerConfig) -> Value {
    json!({
        "model_type": "marian",
        "architectures": ["MarianMTModel"],
        "is_encoder_decoder": true,
        "vocab_size": config.n_tokens,
        "decoder_vocab_size": config.n_tokens,
        "d_model": config.d_model,
        "encoder_layers": config.n_layers,
        "decoder_layers": config.n_layers,
        "encoder_attention_heads": config.n_heads,
        "decoder_attention_heads": config.n_heads,
        "encoder_ffn_dim": config.d_ff,
        "decoder_ffn_dim": config.d_ff,
        "max_position_embeddings": config.context_len,
        "activation_function": activation_name(config.activation),
        "scale_embedding": config.scale_embedding,
        "share_encoder_decoder_embeddings": true,
        "tie_word_embeddings": config.output_layer == OutputLayer::Tied,
        "dropout": config.dropout,
        "attention_dropout": config.dropout,
        "activation_dropout": 0.0,
        "pad_token_id": config.pad_id,
        "bos_token_id": config.start_id,
        "decoder_start_token_id": config.start_id,
        "eos_token_id": config.end_id,
        "forced_eos_token_id": config.end_id,
        "dtype": "float32",
    })
}

#[derive(Deserialize)]
struct Theirs {
    vocab_size: usize,
    d_model: usize,
    encoder_layers: usize,
    decoder_layers: usize,
    encoder_attention_heads: usize,
    decoder_attention_heads: usize,
    encoder_ffn_dim: usize,
    decoder_ffn_dim: usize,
    max_position_embeddings: usize,
    activation_function: String,
    #[serde(default)]
    scale_embedding: bool,
    #[serde(default)]
    dropout: f64,
    #[serde(default = "yes")]
    share_encoder_decoder_embeddings: bool,
    #[serde(default = "yes")]
    tie_word_embeddings: bool,
    #[serde(default)]
    normalize_before: bool,
    #[serde(default)]
    normalize_embedding: bool,
    #[serde(default)]
    add_final_layer_norm: bool,
}

pub(super) fn read_config(all: &Map<String, Value>) -> Result<TransformerConfig, String> {
    let theirs: Theirs = parsed(all)?;
    for (what, encoder, decoder) in [
        ("layers", theirs.encoder_layers, theirs.decoder_layers),
        ("attention_heads", theirs.encoder_attention_heads, theirs.decoder_attention_heads),
        ("ffn_dim", theirs.encoder_ffn_dim, theirs.decoder_ffn_dim),
    ] {
        if encoder != decoder {
            return Err(format!("has encoder_{what} {encoder} and decoder_{what} {decoder}, expected equal ones"));
        }
    }
    if theirs.normalize_before || theirs.normalize_embedding || theirs.add_final_layer_norm {
        return Err("asks for norms in other places than after each residual sum: not read here".into());
    }
    if !theirs.share_encoder_decoder_embeddings {
        return Err("has a table for the source and another for the target, expected one for both".into());
    }
    let id = |name: &str| token(all.get(name), theirs.vocab_size);
    Ok(TransformerConfig {
        d_model: theirs.d_model,
        n_heads: theirs.encoder_attention_heads,
        n_layers: theirs.encoder_layers,
        d_ff: theirs.encoder_ffn_dim,
        context_len: theirs.max_position_embeddings,
        activation: activation_named(&theirs.activation_function)?,
        dropout: theirs.dropout,
        output_layer: if theirs.tie_word_embeddings { OutputLayer::Tied } else { OutputLayer::Free },
        scale_embedding: theirs.scale_embedding,
        norm_epsilon: EPSILON,
        pad_id: id("pad_token_id"),
        start_id: id("decoder_start_token_id"),
        end_id: id("eos_token_id"),
        ..TransformerConfig::new(Shape::EncoderDecoder, theirs.vocab_size)
    })
}

pub(super) fn entries(config: &TransformerConfig) -> Vec<Entry> {
    let mut list = Entries::default();
    list.add("model.shared.weight", "tokens.weight", Part::Whole);
    list.add("final_logits_bias", "output.bias", Part::OnlyRow);
    for stack in ["encoder", "decoder"] {
        for layer in 0..config.n_layers {
            let (theirs, ours) = (format!("model.{stack}.layers.{layer}"), format!("{stack}.{layer}"));
            for (block, part) in ["q_proj", "k_proj", "v_proj"].into_iter().enumerate() {
                let qkv = format!("{ours}.attention.qkv");
                list.linear(&format!("{theirs}.self_attn.{part}"), &qkv, Part::Block(block, 3));
            }
            list.linear(&format!("{theirs}.self_attn.out_proj"), &format!("{ours}.attention.output"), Part::Whole);
            list.norm(&format!("{theirs}.self_attn_layer_norm"), &format!("{ours}.attention_norm"));
            if stack == "decoder" {
                let (theirs, cross) = (format!("{theirs}.encoder_attn"), format!("{ours}.cross"));
                list.linear(&format!("{theirs}.q_proj"), &format!("{cross}.query"), Part::Whole);
                list.linear(&format!("{theirs}.k_proj"), &format!("{cross}.key_value"), Part::Block(0, 2));
                list.linear(&format!("{theirs}.v_proj"), &format!("{cross}.key_value"), Part::Block(1, 2));
                list.linear(&format!("{theirs}.out_proj"), &format!("{cross}.output"), Part::Whole);
                list.norm(&format!("{theirs}_layer_norm"), &format!("{ours}.cross_norm"));
            }
            list.linear(&format!("{theirs}.fc1"), &format!("{ours}.feed_forward.up"), Part::Whole);
            list.linear(&format!("{theirs}.fc2"), &format!("{ours}.feed_forward.down"), Part::Whole);
            list.norm(&format!("{theirs}.final_layer_norm"), &format!("{ours}.feed_forward_norm"));
        }
    }
    if config.output_layer == OutputLayer::Free {
        list.add("lm_head.weight", "output.weight", Part::Whole);
        // Untied, each stack is given the table once more.
        list.add("model.encoder.embed_tokens.weight", "tokens.weight", Part::Whole);
        list.add("model.decoder.embed_tokens.weight", "tokens.weight", Part::Whole);
    }
    list.0
}
