//! Hugging Face transformers loads our folders and computes the same numbers (`tests/hugging_face.py`).

use std::collections::HashMap;
use std::fs;
use std::ops::ControlFlow;
use std::path::Path;
use std::process::Command;

use candle_core::{DType, Device, Tensor};
use serde_json::{Map, json};
use wordgrove::text::Corpus;
use wordgrove::tokens::{WordsConfig, learn_words};
use wordgrove::transformer::{
    Activation, Checkpoint, GenerateConfig, Layout, OutputLayer, Pass, Sampling, Shape, Transformer, TransformerConfig,
    add_marks, generate,
};
use wordgrove::vectors::Model;
use wordgrove::{Silent, TokenId, Tokenizer};

use crate::{ids, some_ids};

fn tokenizer() -> Tokenizer {
    Tokenizer::read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/tokens/bpe.json")).unwrap()
}

/// A random model whose norms, biases and gains are not what they start as.
fn shaken(config: TransformerConfig) -> Transformer {
    let model = Transformer::new(config, None, 1).unwrap();
    let other = Transformer::new(model.config().clone(), None, 2).unwrap();
    for ((name, var), (_, noise)) in model.parameters().iter().zip(other.parameters().iter()) {
        let noise = match name.ends_with("weight") {
            true => noise.as_detached_tensor(),
            false => Tensor::arange(0_f32, var.elem_count() as f32, &Device::Cpu)
                .unwrap()
                .sin()
                .unwrap()
                .affine(0.1, 0.0)
                .unwrap(),
        };
        var.set(&(var.as_detached_tensor() + noise).unwrap()).unwrap();
    }
    model
}

#[derive(PartialEq)]
enum Marks {
    Added,
    None,
}

const TEXT: &str = "The queen's gardener won't say, don't they?  Naïve façades 123.";

/// The words of the text above, and the unknown one.
fn words() -> Tokenizer {
    let config = WordsConfig { min_count: 1, ..WordsConfig::default() };
    learn_words(&Corpus::from_text(TEXT), &config, &Silent).unwrap()
}

/// Saves a model, and beside it what it computes.
fn write(home: &Path, name: &str, config: TransformerConfig, marks: Marks, layout: Layout) {
    write_with(tokenizer(), TEXT, home, name, config, marks, layout);
}

fn write_with(
    mut tokenizer: Tokenizer,
    text: &str,
    home: &Path,
    name: &str,
    mut config: TransformerConfig,
    marks: Marks,
    layout: Layout,
) {
    if marks == Marks::Added {
        tokenizer = add_marks(&tokenizer, &mut config).unwrap();
    }
    assert_eq!(Layout::of(&config), layout);
    let model = shaken(config);
    Checkpoint::save(&home.join(name), &model, Some(&tokenizer), &Map::new(), &[]).unwrap();
    let pass = &mut Pass::answering();
    let n_tokens = model.config().n_tokens as u32;
    let mut said = HashMap::new();
    let mask = ids(&[&[1, 1, 1, 1, 1, 1], &[1, 1, 1, 1, 0, 0]]);
    let source = some_ids(2, 6, n_tokens);
    let hidden = match model.config().shape {
        Shape::Decoder => {
            let first: Vec<TokenId> = source.to_vec2::<u32>().unwrap()[0].iter().copied().map(TokenId).collect();
            let config = GenerateConfig { sampling: Sampling::GREEDY, ..GenerateConfig::default() };
            let mut written = Vec::new();
            generate(&model, &first, &config, &mut |id| {
                written.push(id.0);
                Ok(if written.len() == 3 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
            })
            .unwrap();
            said.insert("written", Tensor::new(&written[..], &Device::Cpu).unwrap());
            model.decode(&source, pass).unwrap()
        }
        Shape::Encoder => {
            said.insert("attention_mask", mask);
            model.encode(&source, Some(&[6, 4]), pass).unwrap().hidden
        }
        Shape::EncoderDecoder => {
            let target = some_ids(2, 5, n_tokens - 1);
            let read = model.encode(&source, Some(&[6, 4]), pass).unwrap();
            let hidden = model.decode_with(&read, &target, pass).unwrap();
            said.insert("attention_mask", mask);
            said.insert("decoder_input_ids", target);
            hidden
        }
    };
    said.insert("input_ids", source);
    said.values_mut().for_each(|ids| *ids = ids.to_dtype(DType::I64).unwrap());
    said.insert("logits", model.logits(&hidden, pass).unwrap());
    said.insert("hidden", hidden);
    candle_core::safetensors::save(&said, home.join(format!("{name}.safetensors"))).unwrap();
    let ids: Vec<u32> = tokenizer.encode(text.as_bytes()).into_iter().map(|id| id.0).collect();
    fs::write(home.join(format!("{name}.json")), json!({ "text": text, "ids": ids }).to_string()).unwrap();
}

#[test]
fn hugging_face_transformers_computes_the_same_from_our_folders() {
    let home = tempfile::tempdir().unwrap();
    let small = |shape| TransformerConfig {
        d_model: 24,
        n_heads: 4,
        n_layers: 2,
        d_ff: 40,
        context_len: 12,
        ..TransformerConfig::new(shape, tokenizer().n_tokens())
    };
    let untied =
        |shape| TransformerConfig { output_layer: OutputLayer::Free, activation: Activation::Relu, ..small(shape) };
    write(home.path(), "decoder", small(Shape::Decoder), Marks::Added, Layout::Gpt2);
    write(home.path(), "decoder-untied", untied(Shape::Decoder), Marks::Added, Layout::Gpt2);
    write(home.path(), "decoder-without-marks", small(Shape::Decoder), Marks::None, Layout::Gpt2);
    write(home.path(), "encoder-decoder", small(Shape::EncoderDecoder), Marks::Added, Layout::Marian);
    write(home.path(), "encoder-decoder-untied", untied(Shape::EncoderDecoder), Marks::Added, Layout::Marian);
    write(home.path(), "encoder", small(Shape::Encoder), Marks::Added, Layout::Bert);
    write(home.path(), "encoder-untied", untied(Shape::Encoder), Marks::Added, Layout::Bert);
    // Whole words, one of them unknown.
    let (words, text) = (words(), format!("{TEXT} Zounds!"));
    for (name, shape, layout) in [
        ("words-decoder", Shape::Decoder, Layout::Gpt2),
        ("words-encoder-decoder", Shape::EncoderDecoder, Layout::Marian),
        ("words-encoder", Shape::Encoder, Layout::Bert),
    ] {
        write_with(words.clone(), &text, home.path(), name, small(shape), Marks::Added, layout);
    }
    write_static(home.path());
    compare_in_python(home.path());
}

/// The token table of a transformer as a static embedding.
fn write_static(home: &Path) {
    let checkpoint = Checkpoint::open(&home.join("encoder")).unwrap();
    Model::save_vectors(&home.join("static"), &checkpoint.token_table().unwrap().unwrap()).unwrap();
    fs::copy(home.join("encoder.json"), home.join("static.json")).unwrap();
}

fn compare_in_python(home: &Path) {
    let python = std::env::var("WORDGROVE_PYTHON").unwrap_or_else(|_| "python3".to_string());
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/hugging_face.py");
    let ran = Command::new(&python).arg(script).arg(home).env("HF_HUB_OFFLINE", "1").output();
    match ran {
        Err(error) => println!("skipped: {python}: {error}"),
        Ok(ran) if ran.status.code() == Some(77) => {
            println!("skipped: {}", String::from_utf8_lossy(&ran.stdout).trim());
        }
        Ok(ran) => {
            let (out, err) = (String::from_utf8_lossy(&ran.stdout), String::from_utf8_lossy(&ran.stderr));
            println!("{out}");
            assert!(ran.status.success(), "{out}{err}");
        }
    }
}
