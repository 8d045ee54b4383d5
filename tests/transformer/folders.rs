//! Folders: what is saved comes back, what is broken is refused with what is wrong, and nothing else is touched (faults.md
//! C11).

use std::collections::HashMap;
use std::fs;
use std::path::Path;

use candle_core::{Device, Tensor};
use serde_json::{Map, Value, json};
use wordgrove::transformer::{
    Activation, Checkpoint, Extra, Layout, Norm, OutputLayer, Pass, Positions, Shape, Transformer, TransformerConfig,
};
use wordgrove::{Error, Tokenizer};

use crate::{floats, some_ids};

const N_TOKENS: usize = 20;

fn small(shape: Shape) -> TransformerConfig {
    TransformerConfig {
        d_model: 8,
        n_heads: 2,
        n_layers: 2,
        d_ff: 12,
        context_len: 6,
        pad_id: Some(0),
        start_id: Some(1),
        end_id: Some(2),
        ..TransformerConfig::new(shape, N_TOKENS)
    }
}

fn model(config: TransformerConfig) -> Transformer {
    let counts: Vec<u64> = (0..N_TOKENS as u64).map(|i| i * i).collect();
    Transformer::new(config, Some(&counts), 1).unwrap()
}

fn tokenizer() -> Tokenizer {
    Tokenizer::from_words((0..N_TOKENS).map(|i| format!("word{i}").into_bytes()).collect()).unwrap()
}

fn save(path: &Path, model: &Transformer) {
    Checkpoint::save(path, model, Some(&tokenizer()), &Map::new(), &[]).unwrap();
}

fn refusal(path: &Path) -> String {
    Checkpoint::open(path).unwrap_err().to_string()
}

fn all_numbers(model: &Transformer) -> Vec<(String, Vec<f32>)> {
    model.parameters().iter().map(|(name, var)| (name.to_string(), floats(var))).collect()
}

/// Rewrites the tensors of a saved folder, and takes its checksums away.
fn with_tensors(path: &Path, change: impl FnOnce(&mut HashMap<String, Tensor>)) {
    let file = path.join("model.safetensors");
    let mut tensors = candle_core::safetensors::load(&file, &Device::Cpu).unwrap();
    change(&mut tensors);
    candle_core::safetensors::save(&tensors, &file).unwrap();
    with_config(path, |all| all["wordgrove"]["sha256"] = json!({}));
}

fn with_config(path: &Path, change: impl FnOnce(&mut Value)) {
    let file = path.join("config.json");
    let mut all: Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
    change(&mut all);
    fs::write(&file, all.to_string()).unwrap();
}

#[test]
fn what_is_saved_comes_back_bit_for_bit() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("model");
    let gpt2 = small(Shape::Decoder);
    let configs = [
        (Layout::Gpt2, gpt2.clone()),
        (
            Layout::Gpt2,
            TransformerConfig { output_layer: OutputLayer::Free, activation: Activation::Relu, ..gpt2.clone() },
        ),
        (Layout::Wordgrove, TransformerConfig { positions: Positions::Rotary, ..gpt2.clone() }),
        (Layout::Wordgrove, TransformerConfig { output_layer: OutputLayer::Tree, ..gpt2.clone() }),
        (Layout::Wordgrove, TransformerConfig { norm: Norm::Post, ..gpt2 }),
        (Layout::Marian, small(Shape::EncoderDecoder)),
        (Layout::Marian, TransformerConfig { output_layer: OutputLayer::Free, ..small(Shape::EncoderDecoder) }),
        (Layout::Wordgrove, TransformerConfig { positions: Positions::Sinusoidal, ..small(Shape::EncoderDecoder) }),
        (Layout::Bert, small(Shape::Encoder)),
        (Layout::Bert, TransformerConfig { output_layer: OutputLayer::Free, ..small(Shape::Encoder) }),
        (Layout::Wordgrove, TransformerConfig { norm: Norm::Pre, ..small(Shape::Encoder) }),
    ];
    for (layout, config) in configs {
        let model = model(config.clone());
        let notes = json!({ "steps": 7, "corpus": "a.txt" });
        let Value::Object(notes) = notes else { unreachable!() };
        // Each is written over the one before.
        let extra: Extra<'_> = ("training.safetensors", &|out| out.write_all(b"moments"));
        Checkpoint::save(&path, &model, Some(&tokenizer()), &notes, &[extra]).unwrap();
        let opened = Checkpoint::open(&path).unwrap();
        assert_eq!(opened.layout, layout, "{config:?}");
        assert_eq!(opened.transformer.config(), &config);
        assert_eq!(all_numbers(&opened.transformer), all_numbers(&model), "{config:?}");
        assert_eq!(opened.transformer.counts(), model.counts());
        assert_eq!(opened.notes, notes);
        assert_eq!(opened.tokenizer.unwrap().spelling(wordgrove::TokenId(3)), "word3");
        assert_eq!(fs::read(path.join("training.safetensors")).unwrap(), b"moments");
        let all: Value = serde_json::from_slice(&fs::read(path.join("config.json")).unwrap()).unwrap();
        let reason = all["wordgrove"]["own_layout_because"].as_str();
        assert_eq!(reason.is_some(), layout == Layout::Wordgrove, "{reason:?}");
    }
    let names: Vec<_> = fs::read_dir(home.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, ["model"], "nothing is left beside it");
}

#[test]
fn the_settings_of_a_layout_say_all_that_our_own_do() {
    let home = tempfile::tempdir().unwrap();
    for shape in [Shape::Decoder, Shape::EncoderDecoder, Shape::Encoder] {
        let path = home.path().join(shape.to_string());
        let saved = model(small(shape));
        save(&path, &saved);
        with_config(&path, |all| {
            all.as_object_mut().unwrap().remove("wordgrove");
        });
        let opened = Checkpoint::open(&path).unwrap().transformer;
        assert_eq!(opened.config(), saved.config());
        assert_eq!(all_numbers(&opened), all_numbers(&saved));
    }
}

#[test]
fn a_folder_of_the_first_version_is_read() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("model");
    let saved = model(TransformerConfig { output_layer: OutputLayer::Tree, ..small(Shape::Decoder) });
    save(&path, &saved);
    with_config(&path, |all| {
        all["wordgrove"]["version"] = json!(1);
        let settings = all["wordgrove"]["transformer"].as_object_mut().unwrap();
        let output_layer = settings.remove("output_layer").unwrap();
        settings.insert("output".to_string(), output_layer);
    });
    assert_eq!(Checkpoint::open(&path).unwrap().transformer.config(), saved.config());
}

#[test]
fn tensors_that_do_not_fit_are_listed_with_their_shapes() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("model");
    let saved = model(small(Shape::Decoder));
    let broken = |change: &dyn Fn(&mut HashMap<String, Tensor>)| {
        save(&path, &saved);
        with_tensors(&path, change);
        refusal(&path)
    };
    let zeros = |shape: &[usize]| Tensor::zeros(shape, candle_core::DType::F32, &Device::Cpu).unwrap();
    let message = broken(&|tensors| {
        tensors.remove("transformer.h.1.ln_2.bias");
        tensors.insert("transformer.h.0.mlp.c_fc.weight".into(), zeros(&[12, 8]));
        tensors.insert("transformer.h.2.ln_1.weight".into(), zeros(&[8]));
    });
    assert!(message.contains("model.safetensors: 3 tensors do not fit config.json"), "{message}");
    assert!(message.contains("transformer.h.1.ln_2.bias missing, expected [8]"), "{message}");
    assert!(message.contains("transformer.h.0.mlp.c_fc.weight [12, 8], expected [8, 12]"), "{message}");
    assert!(message.contains("transformer.h.2.ln_1.weight [8] belongs to nothing"), "{message}");
    let message = broken(&|tensors| tensors.clear());
    assert!(message.contains("28 tensors do not fit"), "{message}");
    assert!(message.contains("and 20 more"), "{message}");
    let message = broken(&|tensors| {
        let ids = Tensor::zeros(8, candle_core::DType::I64, &Device::Cpu).unwrap();
        tensors.insert("transformer.ln_f.bias".into(), ids);
    });
    assert!(message.contains("transformer.ln_f.bias of type I64, expected F32"), "{message}");
    let message = broken(&|tensors| {
        let mut numbers = vec![0.5_f32; 8];
        numbers[3] = f32::NAN;
        tensors.insert("transformer.ln_f.bias".into(), Tensor::new(numbers, &Device::Cpu).unwrap());
    });
    assert!(message.contains("'transformer.ln_f.bias' holds NaN at place 3"), "{message}");
}

#[test]
fn tables_that_should_be_one_and_differ_are_refused() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("model");
    save(&path, &model(TransformerConfig { output_layer: OutputLayer::Free, ..small(Shape::EncoderDecoder) }));
    with_tensors(&path, |tensors| {
        let table = tensors.get_mut("model.decoder.embed_tokens.weight").unwrap();
        *table = (&*table + 1.0).unwrap();
    });
    let message = refusal(&path);
    assert!(message.contains("'model.decoder.embed_tokens.weight' differ, expected one table"), "{message}");
}

#[test]
fn a_tree_needs_its_counts_and_nothing_else_has_any() {
    // C11
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("model");
    let counts = |counts: &[i64]| Tensor::new(counts, &Device::Cpu).unwrap();
    let tree = model(TransformerConfig { output_layer: OutputLayer::Tree, ..small(Shape::Decoder) });
    for (there, wanted) in [
        (None, "'output.counts' is missing, expected I64 [20]"),
        (Some(counts(&[1; 19])), "'output.counts' is I64 [19], expected I64 [20]"),
        (Some(counts(&[-1; 20])), "'output.counts' holds -1"),
        (Some(Tensor::new(&[1f32; 20], &Device::Cpu).unwrap()), "'output.counts' is F32 [20], expected I64"),
    ] {
        save(&path, &tree);
        with_tensors(&path, |tensors| {
            tensors.remove("output.counts");
            tensors.extend(there.map(|counts| ("output.counts".to_string(), counts)));
        });
        let message = refusal(&path);
        assert!(message.contains(&format!("model.safetensors: {wanted}")), "{message}");
    }
    save(&path, &model(small(Shape::Decoder)));
    with_tensors(&path, |tensors| drop(tensors.insert("output.counts".to_string(), counts(&[1; 20]))));
    assert!(refusal(&path).contains("output.counts [20] belongs to nothing"), "{}", refusal(&path));
}

#[test]
fn a_folder_with_the_two_files_of_gpt2s_tokenizer_is_read() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("model");
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/tokens/bpe.json");
    let bpe = Tokenizer::read(&file).unwrap();
    let config = TransformerConfig { n_tokens: bpe.n_tokens(), ..small(Shape::Decoder) };
    let saved = Transformer::new(config, None, 1).unwrap();
    Checkpoint::save(&path, &saved, None, &Map::new(), &[]).unwrap();
    assert!(Checkpoint::open(&path).unwrap().tokenizer.is_none());
    let all: Value = serde_json::from_slice(&fs::read(file).unwrap()).unwrap();
    fs::write(path.join("vocab.json"), all["model"]["vocab"].to_string()).unwrap();
    let merge = |merge: &Value| match merge {
        Value::String(pair) => format!("{pair}\n"),
        pair => format!("{} {}\n", pair[0].as_str().unwrap(), pair[1].as_str().unwrap()),
    };
    let merges: String = all["model"]["merges"].as_array().unwrap().iter().map(merge).collect();
    fs::write(path.join("merges.txt"), format!("#version: 0.2\n{merges}")).unwrap();
    let opened = Checkpoint::open(&path).unwrap().tokenizer.unwrap();
    for text in ["the king said", "naïve façades"] {
        assert_eq!(opened.encode(text.as_bytes()), bpe.encode(text.as_bytes()));
    }
    fs::remove_file(path.join("merges.txt")).unwrap();
    assert!(Checkpoint::open(&path).unwrap().tokenizer.is_none(), "one of them is none");
}

#[test]
fn half_precision_is_read() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("model");
    let saved = model(small(Shape::Decoder));
    for dtype in [candle_core::DType::F16, candle_core::DType::BF16, candle_core::DType::F64] {
        save(&path, &saved);
        with_tensors(&path, |tensors| tensors.values_mut().for_each(|x| *x = x.to_dtype(dtype).unwrap()));
        let opened = Checkpoint::open(&path).unwrap().transformer;
        for ((name, found), (_, wanted)) in all_numbers(&opened).into_iter().zip(all_numbers(&saved)) {
            // Eight bits of mantissa in the coarsest.
            assert!(found.iter().zip(&wanted).all(|(a, b)| (a - b).abs() <= b.abs() / 256.0), "{name} {dtype:?}");
        }
    }
}

#[test]
fn settings_that_make_no_sense_are_refused_by_name() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("model");
    save(&path, &model(small(Shape::Decoder)));
    let cases = [
        ("n_heads", json!(3), "3 heads cannot share 8 numbers evenly, expected a divisor of d-model: 1, 2, 4, 8"),
        ("n_heads", json!(0), "n-heads: 0 is out of range"),
        ("n_layers", json!(0), "n-layers: 0 is out of range, expected 1 to 1000"),
        ("n_layers", json!(4_000_000_000_u64), "n-layers"),
        ("context_len", json!(0), "context-len: 0 is out of range"),
        ("context_len", json!(1_000_000_000), "context-len: 1000000000 is out of range, expected 1 to 1048576"),
        ("n_tokens", json!(0), "vocab-size: 0 is out of range"),
        ("n_tokens", json!(N_TOKENS + 1), "expected [21, 8]"),
        ("d_model", json!(-1), "invalid value"),
        ("d_model", json!(16_000), "tensors do not fit"),
        ("d_ff", json!(1 << 30), "d-ff"),
        ("dropout", json!(1.0), "dropout: 1 is out of range, expected 0 to below 1"),
        ("dropout", json!("much"), "invalid type"),
        ("norm_epsilon", json!(0.0), "norm-epsilon"),
        ("shape", json!("sphere"), "unknown variant"),
        ("pad_id", json!(20), "pad-id: 20 is no token, expected 0 to 19"),
        ("dropuot", json!(0.1), "unknown field `dropuot`"),
    ];
    for (name, value, wanted) in cases {
        let before = fs::read(path.join("config.json")).unwrap();
        with_config(&path, |all| all["wordgrove"]["transformer"][name] = value);
        let message = refusal(&path);
        assert!(message.contains(wanted), "{name}: {message}");
        fs::write(path.join("config.json"), before).unwrap();
    }
    for (text, wanted) in [
        ("{}", "no 'model_type'"),
        ("[1]", "is not the configuration"),
        (r#"{"model_type": "llama"}"#, "'llama', expected gpt2, marian, bert or wordgrove"),
        (r#"{"model_type": "model2vec"}"#, "holds word vectors"),
        (r#"{"model_type": "wordgrove"}"#, "no settings"),
        (r#"{"model_type": "gpt2", "wordgrove": {"version": 3}}"#, "version 3, this wordgrove reads 1 to 2"),
        (r#"{"model_type": "gpt2", "wordgrove": {"version": 0}}"#, "version 0"),
        (r#"{"model_type": "gpt2", "wordgrove": {"version": 1, "sha256": {"../x": "00"}}}"#, "no file of the folder"),
        (r#"{"model_type": "gpt2", "vocab_size": 1e30}"#, "invalid type"),
    ] {
        fs::write(path.join("config.json"), text).unwrap();
        let message = refusal(&path);
        assert!(message.contains(wanted), "{text}: {message}");
    }
}

#[test]
fn a_tokenizer_of_another_size_is_refused() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("model");
    let other = Tokenizer::from_words(vec![b"a".to_vec(), b"b".to_vec()]).unwrap();
    let saved = model(small(Shape::Decoder));
    let refused = Checkpoint::save(&path, &saved, Some(&other), &Map::new(), &[]).unwrap_err().to_string();
    assert!(refused.contains("2 tokens, the model 20"), "{refused}");
    assert!(!path.exists());
    save(&path, &saved);
    fs::write(path.join("tokenizer.json"), other.to_json()).unwrap();
    assert!(refusal(&path).contains("checksum"), "{}", refusal(&path));
    with_config(&path, |all| all["wordgrove"]["sha256"] = json!({}));
    assert!(refusal(&path).contains("tokenizer.json: has 2 tokens, the model has 20"), "{}", refusal(&path));
}

#[test]
fn every_cut_file_is_an_error() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("model");
    save(&path, &model(TransformerConfig { output_layer: OutputLayer::Tree, ..small(Shape::Decoder) }));
    with_config(&path, |all| all["wordgrove"]["sha256"] = json!({}));
    for name in ["model.safetensors", "config.json"] {
        let whole = fs::read(path.join(name)).unwrap();
        for end in (0..whole.len()).step_by(if name == "config.json" { 1 } else { 61 }) {
            fs::write(path.join(name), &whole[..end]).unwrap();
            assert!(Checkpoint::open(&path).is_err(), "{name}: {end} of {} bytes", whole.len());
        }
        fs::write(path.join(name), &whole).unwrap();
    }
    assert!(Checkpoint::open(&path).is_ok());
}

#[test]
fn nothing_but_a_transformer_of_ours_is_replaced() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("model");
    let saved = model(small(Shape::Decoder));
    let refused = |path: &Path| {
        let early = Checkpoint::check_destination(path, 1000, 0).unwrap_err().to_string();
        let late = Checkpoint::save(path, &saved, None, &Map::new(), &[]).unwrap_err().to_string();
        // It may be hours of work.
        let (reason, kept) = late.split_once("; what was to be saved is kept in ").expect(&late);
        assert!(reason.contains(&early), "{reason}");
        assert_eq!(all_numbers(&Checkpoint::open(Path::new(kept)).unwrap().transformer), all_numbers(&saved));
        fs::remove_dir_all(kept).unwrap();
        early
    };
    fs::create_dir(&path).unwrap();
    assert!(Checkpoint::check_destination(&path, 1000, 0).is_ok(), "an empty folder");
    fs::write(path.join("thesis.txt"), "years").unwrap();
    assert!(refused(&path).contains("not a transformer"));
    fs::remove_file(path.join("thesis.txt")).unwrap();
    save(&path, &saved);
    fs::write(path.join("thesis.txt"), "years").unwrap();
    assert!(refused(&path).contains("'thesis.txt'"));
    assert_eq!(fs::read_to_string(path.join("thesis.txt")).unwrap(), "years");
    fs::remove_file(path.join("thesis.txt")).unwrap();
    with_config(&path, |all| {
        all.as_object_mut().unwrap().remove("wordgrove");
    });
    assert!(refused(&path).contains("not a transformer that wordgrove wrote"));
    assert!(matches!(Checkpoint::open(&home.path().join("none")), Err(Error::Io { .. })));
    assert!(refusal(home.path()).contains("not a transformer"));
    assert!(refusal(&path.join("config.json")).contains("is a file"));
}

#[test]
fn settings_from_a_file_fill_up_with_the_shapes_own() {
    let settings = |value: Value| match value {
        Value::Object(settings) => TransformerConfig::from_settings(&settings, 100),
        _ => unreachable!(),
    };
    assert_eq!(settings(json!({})).unwrap(), TransformerConfig::new(Shape::Decoder, 100));
    let given = settings(json!({ "shape": "encoder", "d_model": 64, "activation": "gelu-tanh" })).unwrap();
    let wanted = TransformerConfig {
        d_model: 64,
        d_ff: 256,
        activation: Activation::GeluTanh,
        ..TransformerConfig::new(Shape::Encoder, 100)
    };
    assert_eq!(given, wanted);
    assert_eq!(given.d_ff, 256, "four times d_model, where it is not said");
    assert_eq!(settings(json!({ "d_model": 64, "d_ff": 99 })).unwrap().d_ff, 99);
    // As folders have it that were written before the setting had the flag's name.
    assert_eq!(settings(json!({ "output": "tree" })).unwrap().output_layer, OutputLayer::Tree);
    assert!(settings(json!({ "layers": 3 })).unwrap_err().contains("unknown field `layers`"));
    assert_eq!("sinusoidal-halves".parse::<Positions>().unwrap(), Positions::SinusoidalHalves);
    assert!("gelu".parse::<Norm>().unwrap_err().to_string().contains("expected 'pre' or 'post'"));
}

#[test]
fn an_estimate_counts_what_there_is() {
    for shape in [Shape::Decoder, Shape::EncoderDecoder, Shape::Encoder] {
        for output in [OutputLayer::Tied, OutputLayer::Free, OutputLayer::Tree] {
            let model = model(TransformerConfig { output_layer: output, ..small(shape) });
            let estimate = model.config().estimate(4, 2);
            assert_eq!(estimate.n_parameters, model.parameters().n_parameters() as u64);
            assert_eq!(estimate.parameter_bytes, 4 * estimate.n_parameters);
        }
    }
    // GPT-2: 124,439,808 parameters.
    let gpt2 = TransformerConfig {
        d_model: 768,
        n_heads: 12,
        n_layers: 12,
        d_ff: 3072,
        context_len: 1024,
        ..TransformerConfig::new(Shape::Decoder, 50_257)
    };
    assert_eq!(gpt2.estimate(8, 2).n_parameters, 124_439_808);
    let huge = TransformerConfig { d_model: 16_384, d_ff: 1 << 18, n_layers: 1000, context_len: 1 << 20, ..gpt2 };
    assert!(huge.estimate(usize::MAX, 2).training_bytes == u64::MAX, "it does not overflow");
}

#[test]
fn a_model_answers_the_same_after_it_was_saved() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("model");
    let saved = model(TransformerConfig { output_layer: OutputLayer::Tree, ..small(Shape::Decoder) });
    save(&path, &saved);
    let logits = |model: &Transformer| {
        let pass = &mut Pass::answering();
        let hidden = model.decode(&some_ids(2, 5, N_TOKENS as u32), pass).unwrap();
        floats(&model.logits(&hidden, pass).unwrap())
    };
    assert_eq!(logits(&saved), logits(&Checkpoint::open(&path).unwrap().transformer));
}
