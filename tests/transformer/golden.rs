//! Against PyTorch: logits and gradients of small random models, stored beside the script that made them
//! (`tests/fixtures/transformer/make.py`).

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

use candle_core::{DType, Device, Tensor};
use wordgrove::transformer::{AttentionKind, Checkpoint, Encoded, Layout, Parameters, Pass, Shape, Transformer};

use crate::{difference, floats};

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/transformer").join(name)
}

/// What PyTorch computed.
struct Expected(HashMap<String, Tensor>);

impl Expected {
    fn read(name: &str) -> Expected {
        let path = fixture(name).join("expected.safetensors");
        Expected(candle_core::safetensors::load(path, &Device::Cpu).unwrap())
    }

    fn ids(&self, name: &str) -> Tensor {
        self.0[name].to_dtype(DType::U32).unwrap()
    }

    /// -100 there is `u32::MAX` here.
    fn targets(&self) -> Tensor {
        let targets = &self.0["targets"];
        let numbers: Vec<i64> = targets.flatten_all().unwrap().to_vec1().unwrap();
        let numbers: Vec<u32> = numbers.into_iter().map(|id| u32::try_from(id).unwrap_or(u32::MAX)).collect();
        Tensor::from_vec(numbers, targets.dims(), &Device::Cpu).unwrap()
    }

    fn lengths(&self) -> Option<Vec<usize>> {
        let mask: Vec<Vec<i64>> = self.0.get("attention_mask")?.to_vec2().unwrap();
        Some(mask.iter().map(|row| row.iter().sum::<i64>() as usize).collect())
    }

    fn floats(&self, name: &str) -> Vec<f32> {
        floats(&self.0[name])
    }
}

fn hidden(model: &Transformer, expected: &Expected, pass: &mut Pass<'_>) -> Tensor {
    let (ids, lengths) = (expected.ids("input_ids"), expected.lengths());
    match model.config().shape {
        Shape::Decoder => model.decode(&ids, pass).unwrap(),
        Shape::Encoder => model.encode(&ids, lengths.as_deref(), pass).unwrap().hidden,
        Shape::EncoderDecoder => {
            let read = model.encode(&ids, lengths.as_deref(), pass).unwrap();
            model.decode_with(&read, &expected.ids("decoder_input_ids"), pass).unwrap()
        }
    }
}

/// The stored gradients, read as if they were a model: so they come under our names.
fn gradients(name: &str) -> Parameters {
    let folder = tempfile::tempdir().unwrap();
    fs::copy(fixture(name).join("config.json"), folder.path().join("config.json")).unwrap();
    fs::copy(fixture(name).join("gradients.safetensors"), folder.path().join("model.safetensors")).unwrap();
    Checkpoint::open(folder.path()).unwrap().transformer.parameters().clone()
}

fn agrees_with_pytorch(name: &str, layout: Layout) {
    let checkpoint = Checkpoint::open(&fixture(name)).unwrap();
    assert_eq!(checkpoint.layout, layout);
    let (model, expected, wanted) = (checkpoint.transformer, Expected::read(name), gradients(name));
    for kind in [AttentionKind::Plain, AttentionKind::Tiled] {
        let pass = &mut Pass::answering().with_attention(kind);
        let hidden_vectors = hidden(&model, &expected, pass);
        let logits = model.logits(&hidden_vectors, pass).unwrap();
        // A few hundred additions of numbers around 1, in 32 bits here and in 64 there.
        let far = difference(&floats(&hidden_vectors), &expected.floats("hidden"));
        assert!(far <= 1e-5, "{name} {kind:?}: hidden differ by {far}");
        let far = difference(&floats(&logits), &expected.floats("logits"));
        assert!(far <= 1e-5, "{name} {kind:?}: logits differ by {far}");

        let pass = &mut Pass::differentiating().with_attention(kind);
        let loss = model.loss(&hidden(&model, &expected, pass), &expected.targets(), Some(u32::MAX), pass).unwrap();
        let far = (loss.to_scalar::<f32>().unwrap() - expected.floats("loss")[0]).abs();
        assert!(far <= 1e-5, "{name} {kind:?}: loss differs by {far}");
        let found = loss.backward().unwrap();
        for (parameter, var) in model.parameters().iter() {
            let gradient = found.get(var).unwrap_or_else(|| panic!("{name} {kind:?}: {parameter} has no gradient"));
            let wanted = floats(wanted.get(parameter).unwrap());
            let largest = wanted.iter().fold(0.0_f32, |largest, x| largest.max(x.abs()));
            let far = difference(&floats(gradient), &wanted);
            assert!(far <= 1e-4 * largest, "{name} {kind:?}: gradient of {parameter} differs by {far} of {largest}");
        }
    }
}

#[test]
fn the_papers_encoder_decoder_agrees_with_pytorchs_transformer() {
    agrees_with_pytorch("paper", Layout::Wordgrove);
}

#[test]
fn what_the_encoder_makes_of_a_source_agrees_with_pytorch() {
    let model = Checkpoint::open(&fixture("paper")).unwrap().transformer;
    let expected = Expected::read("paper");
    let (ids, lengths) = (expected.ids("input_ids"), expected.lengths().unwrap());
    let Encoded { hidden, .. } = model.encode(&ids, Some(&lengths), &mut Pass::answering()).unwrap();
    // Padding is stored as zeros there, and means nothing here.
    let (found, wanted) = (hidden.to_vec3::<f32>().unwrap(), expected.0["encoded"].to_vec3::<f32>().unwrap());
    for (sentence, &length) in lengths.iter().enumerate() {
        let far = difference(&found[sentence][..length].concat(), &wanted[sentence][..length].concat());
        assert!(far <= 1e-5, "sentence {sentence} differs by {far}");
    }
}

#[test]
fn a_gpt2_that_transformers_saved_agrees_with_it() {
    agrees_with_pytorch("gpt2", Layout::Gpt2);
}

#[test]
fn a_bert_that_transformers_saved_agrees_with_it() {
    agrees_with_pytorch("bert", Layout::Bert);
}

#[test]
fn a_marian_that_transformers_saved_agrees_with_it() {
    agrees_with_pytorch("marian", Layout::Marian);
}

#[test]
fn a_watched_pass_computes_the_same_and_shows_probabilities() {
    let model = Checkpoint::open(&fixture("paper")).unwrap().transformer;
    let expected = Expected::read("paper");
    let mut shown: Vec<(String, Tensor)> = Vec::new();
    let mut watch = |name: &str, x: &Tensor| shown.push((name.to_string(), x.clone()));
    let pass = &mut Pass::watched(&mut watch);
    let hidden = hidden(&model, &expected, pass);
    let logits = model.logits(&hidden, pass).unwrap();
    assert!(difference(&floats(&logits), &expected.floats("logits")) <= 1e-5);
    let find = |wanted: &str| {
        let (_, x) = shown.iter().find(|(name, _)| name == wanted).unwrap_or_else(|| panic!("{wanted} was not shown"));
        x
    };
    let probabilities = find("decoder.1.cross.probabilities");
    assert_eq!(probabilities.dims(), [2, 3, 4, 5]);
    for row in floats(probabilities).chunks(5) {
        assert!((row.iter().sum::<f32>() - 1.0).abs() < 1e-6);
    }
    // The second source has three words: its padding has no weight.
    let second = floats(&probabilities.narrow(0, 1, 1).unwrap());
    assert!(second.chunks(5).all(|row| row[3..] == [0.0, 0.0]));
    // Heads are the probabilities' means of the values.
    let values = find("decoder.1.cross.value");
    let means = probabilities.matmul(values).unwrap().transpose(1, 2).unwrap();
    let heads = find("decoder.1.cross.heads");
    assert!(difference(&floats(&means.contiguous().unwrap()), &floats(heads)) < 1e-6);
    let stations: Vec<&str> = shown.iter().map(|(name, _)| name.as_str()).filter(|name| !name.contains('.')).collect();
    assert_eq!(stations, ["logits"]);
    assert_eq!(shown[0].0, "encoder.tokens");
}
