//! Here belongs: what a transformer learns and how it is used, through the library's public names.

use std::collections::HashMap;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use candle_core::{DType, Device, Tensor};
use serde_json::Map;
use wordgrove::text::Corpus;
use wordgrove::tokens::{IdStreamBuilder, WordsConfig, encode_corpus, learn_words};
use wordgrove::transformer::{
    Batch, Examples, FitConfig, GenerateConfig, MaskMarks, MaskedExamples, Order, OutputLayer, PairExamples, PairMarks,
    Pairs, Pass, Positions, Run, Sampling, Shape, TextExamples, Transformer, TransformerConfig, TranslateConfig,
    add_marks, batch_loss, embed, fit, generate, line_end, mean_loss, score_stream, translate,
};
use wordgrove::{Error, Progress, Silent, TokenId, Tokenizer};

/// Stops after it was asked so many times.
struct StopAfter(AtomicU32);

impl Progress for StopAfter {
    fn stop_requested(&self) -> bool {
        self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_err()
    }
}

fn small_text() -> String {
    let mut text = String::new();
    for i in 0..60 {
        let (city, country) = [("paris", "france"), ("rome", "italy"), ("madrid", "spain")][i % 3];
        text.push_str(&format!("{city} is the capital of {country}\nthe king of {country} went to {city}\n"));
    }
    text
}

fn tokenizer() -> Tokenizer {
    let config = WordsConfig { min_count: 1, ..WordsConfig::default() };
    learn_words(&Corpus::from_text(small_text()), &config, &Silent).unwrap()
}

/// A tiny model of a shape, and what it is trained and measured on.
fn tiny(
    shape: Shape,
    output: OutputLayer,
    dropout: f64,
) -> (Transformer, Tokenizer, Box<dyn Examples>, Box<dyn Examples>) {
    let mut config = TransformerConfig::new(shape, 1);
    (config.d_model, config.n_heads, config.n_layers, config.d_ff, config.context_len) = (16, 2, 1, 32, 12);
    (config.output_layer, config.dropout) = (output, dropout);
    let tokenizer = add_marks(&tokenizer(), &mut config).unwrap();
    let id = |id: Option<u32>| TokenId(id.unwrap());
    let mut examples: Vec<Box<dyn Examples>> = Vec::new();
    for order in [Order::Shuffled(1), Order::Fixed] {
        if shape == Shape::EncoderDecoder {
            let marks = PairMarks { start: id(config.start_id), end: id(config.end_id), pad: id(config.pad_id) };
            examples.push(Box::new(PairExamples::new(pairs(&tokenizer), marks, 4, order).unwrap()));
            continue;
        }
        let corpus = Corpus::from_text(small_text());
        let stream = Arc::new(encode_corpus(&corpus, &tokenizer, Path::new("."), &Silent).unwrap());
        let cells = 0..stream.n_cells();
        examples.push(match line_end(&config) {
            Some(end) => Box::new(TextExamples::new(stream, cells, end, 12, 4, order).unwrap()),
            None => {
                let marks = MaskMarks { mask: id(config.mask_id), pad: id(config.pad_id), n_plain: 10 };
                Box::new(MaskedExamples::new(stream, cells, marks, 12, 4, order).unwrap())
            }
        });
    }
    let counts: Vec<u64> = (0..config.n_tokens as u64).map(|i| 1 + i * i % 17).collect();
    let transformer = Transformer::new(config, Some(&counts), 1).unwrap();
    let (fixed, shuffled) = (examples.pop().unwrap(), examples.pop().unwrap());
    (transformer, tokenizer, shuffled, fixed)
}

/// A source and its words the other way round.
fn pairs(tokenizer: &Tokenizer) -> Pairs {
    let words = ["paris", "rome", "king", "capital", "is"];
    let mut text = String::new();
    for (i, a) in words.iter().enumerate() {
        for b in &words[i + 1..] {
            text.push_str(&format!("{a} {b}\t{b} {a}\n{b} {a}\t{a} {b}\n{a}\t{a}\n"));
        }
    }
    Pairs::read(&Corpus::from_text(text), tokenizer, 12, &Silent).unwrap()
}

fn config(steps: u64) -> FitConfig {
    FitConfig { steps, batch_size: 4, warmup_steps: 4, validate_every: 4, learning_rate: 3e-3, ..FitConfig::default() }
}

fn bits(transformer: &Transformer) -> Vec<(String, Vec<u32>)> {
    let numbers = |tensor: &Tensor| tensor.flatten_all().unwrap().to_vec1::<f32>().unwrap();
    let parameters = transformer.parameters().iter();
    parameters.map(|(name, var)| (name.to_string(), numbers(var).iter().map(|x| x.to_bits()).collect())).collect()
}

const SHAPES: [Shape; 3] = [Shape::Decoder, Shape::EncoderDecoder, Shape::Encoder];

#[test]
fn a_run_that_was_interrupted_ends_with_the_same_bits() {
    let folder = tempfile::tempdir().unwrap();
    for (number, (shape, output)) in
        SHAPES.into_iter().zip([OutputLayer::Tree, OutputLayer::Tied, OutputLayer::Free]).enumerate()
    {
        let fresh = || {
            let (transformer, tokenizer, train, fixed) = tiny(shape, output, 0.1);
            (Run::new(transformer, config(11)).unwrap(), tokenizer, train, fixed)
        };
        let (mut whole, _, mut train, mut fixed) = fresh();
        fit(&mut whole, &mut *train, Some(&mut *fixed), &mut |_| Ok(()), &Silent).unwrap();

        let (mut run, tokenizer, mut train, mut fixed) = fresh();
        let path = folder.path().join(number.to_string());
        // Before the first measurement, and between two.
        for done in [2, 7] {
            let mut save = |run: &Run| run.save(&path, &tokenizer, &Map::new());
            let stop = StopAfter(AtomicU32::new(done - run.state.step as u32));
            let stopped = fit(&mut run, &mut *train, Some(&mut *fixed), &mut save, &stop);
            assert!(matches!(stopped, Err(Error::Interrupted(_))), "{stopped:?}");
            assert_eq!(run.state.step, u64::from(done));
            run = Run::open(&path).unwrap().run;
            (_, _, train, fixed) = fresh();
        }
        fit(&mut run, &mut *train, Some(&mut *fixed), &mut |_| Ok(()), &Silent).unwrap();
        assert!(bits(&run.transformer) == bits(&whole.transformer), "{shape}");
        assert!(bits(&run.best) == bits(&whole.best), "{shape}");
        let losses = |run: &Run| -> Vec<(f64, Option<f64>)> {
            run.state.reports.iter().map(|report| (report.train_loss, report.validation_loss)).collect()
        };
        assert_eq!(losses(&run), losses(&whole), "{shape}");
        assert_eq!(losses(&run).len(), 3);
    }
}

#[test]
fn all_shapes_and_output_layers_learn() {
    for shape in SHAPES {
        for output in [OutputLayer::Tied, OutputLayer::Free, OutputLayer::Tree] {
            let (transformer, _, mut train, mut fixed) = tiny(shape, output, 0.0);
            let before = mean_loss(&transformer, &mut *fixed).unwrap();
            let mut run = Run::new(transformer, FitConfig { learning_rate: 1e-2, ..config(40) }).unwrap();
            fit(&mut run, &mut *train, Some(&mut *fixed), &mut |_| Ok(()), &Silent).unwrap();
            let after = mean_loss(&run.best, &mut *fixed).unwrap();
            assert!(after < 0.8 * before, "{shape}, {output}: {before} before, {after} after");
            let best = run.state.best().unwrap().validation_loss.unwrap();
            assert_eq!(after, best, "{shape}, {output}: the best is what was measured");
        }
    }
}

#[test]
fn every_parameter_moves_in_one_step_and_a_frozen_table_does_not() {
    for shape in SHAPES {
        for freeze_embeddings in [0, 1] {
            let (transformer, _, mut train, _) = tiny(shape, OutputLayer::Free, 0.0);
            let before = bits(&transformer);
            let mut run = Run::new(transformer, FitConfig { freeze_embeddings, ..config(1) }).unwrap();
            fit(&mut run, &mut *train, None, &mut |_| Ok(()), &Silent).unwrap();
            for ((name, before), (_, after)) in before.iter().zip(&bits(&run.transformer)) {
                let stays = freeze_embeddings > 0 && name == "tokens.weight";
                assert_eq!(before == after, stays, "{shape}: {name}");
            }
        }
    }
}

#[test]
fn a_table_that_thaws_begins_slowly() {
    let (transformer, _, mut train, _) = tiny(Shape::Decoder, OutputLayer::Tied, 0.0);
    let fit_config = FitConfig { freeze_embeddings: 2, warmup_steps: 8, weight_decay: 0.0, ..config(3) };
    let largest_step = |transformer: &Transformer, before: &Tensor| {
        let table = transformer.parameters().get("tokens.weight").unwrap();
        (table.as_tensor() - before).unwrap().abs().unwrap().max_all().unwrap().to_scalar::<f32>().unwrap()
    };
    let before = transformer.parameters().get("tokens.weight").unwrap().copy().unwrap();
    let mut run = Run::new(transformer, FitConfig { steps: 2, ..fit_config.clone() }).unwrap();
    fit(&mut run, &mut *train, None, &mut |_| Ok(()), &Silent).unwrap();
    assert_eq!(largest_step(&run.transformer, &before), 0.0);
    run.config = fit_config.clone();
    fit(&mut run, &mut *train, None, &mut |_| Ok(()), &Silent).unwrap();
    // Adam's first step is the rate for every number that has a gradient, here the first eighth of the warm-up.
    let wanted = fit_config.rate(2) / 8.0;
    let found = f64::from(largest_step(&run.transformer, &before));
    assert!((found / wanted - 1.0).abs() < 0.01, "{found}, expected {wanted}");
}

type Tensors = HashMap<String, Tensor>;

#[test]
fn a_run_that_does_not_fit_together_is_refused_by_name() {
    // C11
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run");
    let (transformer, tokenizer, ..) = tiny(Shape::Decoder, OutputLayer::Tied, 0.0);
    let run = Run::new(transformer, config(8)).unwrap();
    let refused = |change: &dyn Fn(&mut Tensors)| {
        // Changed by hand it is a run of ours no more, and would not be replaced.
        let _ = std::fs::remove_dir_all(&path);
        run.save(&path, &tokenizer, &Map::new()).unwrap();
        let file = path.join("training.safetensors");
        let mut tensors = candle_core::safetensors::load(&file, &Device::Cpu).unwrap();
        change(&mut tensors);
        candle_core::safetensors::save(&tensors, &file).unwrap();
        let config = path.join("config.json");
        let mut all: serde_json::Value = serde_json::from_slice(&std::fs::read(&config).unwrap()).unwrap();
        all["wordgrove"]["sha256"] = serde_json::json!({});
        std::fs::write(&config, all.to_string()).unwrap();
        let error = Run::open(&path).unwrap_err();
        assert!(matches!(error, Error::Format { .. }), "{error:?}");
        error.to_string()
    };
    let half = |tensors: &mut Tensors, name: &str| {
        let tensor = tensors.get_mut(name).unwrap();
        *tensor = tensor.to_dtype(DType::F16).unwrap();
    };
    type Case<'a> = (&'a dyn Fn(&mut Tensors), &'a str);
    let cases: [Case<'_>; 6] = [
        (&|tensors| half(tensors, "decoder.norm.gain"), "'decoder.norm.gain' is f16 [16], expected f32 [16]"),
        (&|tensors| half(tensors, "decoder.norm.gain.mean"), "decoder.norm.gain.mean is f16 [16], expected f32 [16]"),
        (&|tensors| half(tensors, "decoder.norm.gain.steps"), "decoder.norm.gain.steps is f16 [1], expected i64 [1]"),
        (&|tensors| drop(tensors.remove("tokens.weight")), "'tokens.weight' is missing"),
        (&|tensors| drop(tensors.remove("tokens.weight.square")), "tokens.weight.square is missing"),
        (
            &|tensors| drop(tensors.insert("surplus".into(), Tensor::new(&[1f32], &Device::Cpu).unwrap())),
            "surplus belongs to nothing",
        ),
    ];
    for (change, wanted) in cases {
        let message = refused(change);
        assert!(message.contains("training.safetensors: ") && message.contains(wanted), "{message}");
    }
}

#[test]
fn a_run_that_diverges_says_so_and_saves_nothing() {
    // D4
    let (transformer, _, mut train, mut fixed) = tiny(Shape::Decoder, OutputLayer::Free, 0.0);
    let table = transformer.parameters().get("output.weight").unwrap();
    table.set(&Tensor::full(f32::MAX, table.shape(), &Device::Cpu).unwrap()).unwrap();
    let mut run = Run::new(transformer, config(8)).unwrap();
    let mut n_saved = 0;
    let mut save = |_: &Run| {
        n_saved += 1;
        Ok(())
    };
    let error = fit(&mut run, &mut *train, Some(&mut *fixed), &mut save, &Silent).unwrap_err();
    assert!(matches!(error, Error::Diverged(_)), "{error}");
    let message = error.to_string();
    assert!(message.contains("step 1 of 8") && message.contains("--learning-rate"), "{message}");
    assert_eq!(n_saved, 0);
    // By a gradient, where the loss itself is still finite: the advice is given once.
    let (transformer, _, mut train, _) = tiny(Shape::Decoder, OutputLayer::Free, 0.0);
    for name in ["decoder.norm.gain", "output.weight"] {
        let var = transformer.parameters().get(name).unwrap();
        var.set(&Tensor::full(1e19f32, var.shape(), &Device::Cpu).unwrap()).unwrap();
    }
    let mut run = Run::new(transformer, config(8)).unwrap();
    let error = fit(&mut run, &mut *train, None, &mut |_| Ok(()), &Silent).unwrap_err();
    assert!(matches!(error, Error::Diverged(_)), "{error}");
    assert_eq!(error.to_string().matches("learning-rate").count(), 1, "{error}");
    assert_eq!(error.to_string().matches("learning rate").count(), 1, "{error}");
}

/// ln P of every token after these ids, from one pass over them all.
fn next(transformer: &Transformer, ids: &[u32]) -> Vec<f32> {
    let input = Tensor::from_slice(ids, (1, ids.len()), &Device::Cpu).unwrap();
    let mut pass = Pass::answering();
    let hidden = transformer.decode(&input, &mut pass).unwrap();
    transformer.log_probabilities(&hidden, &mut pass).unwrap().squeeze(0).unwrap().to_vec2().unwrap().pop().unwrap()
}

#[test]
fn greedy_generation_is_what_a_full_pass_says() {
    for output in [OutputLayer::Tied, OutputLayer::Free, OutputLayer::Tree] {
        let (transformer, ..) = tiny(Shape::Decoder, output, 0.0);
        let prompt = [TokenId(3), TokenId(5)];
        let greedy = GenerateConfig { sampling: Sampling::GREEDY, ..GenerateConfig::default() };
        let mut ids: Vec<u32> = prompt.iter().map(|id| id.0).collect();
        for id in write(&transformer, &prompt, &greedy, 10) {
            let last = next(&transformer, &ids);
            let best = (0..last.len()).rev().max_by(|&a, &b| last[a].total_cmp(&last[b])).unwrap();
            assert_eq!(id.index(), best, "{output}");
            ids.push(id.0);
        }
    }
}

#[test]
fn tokens_are_drawn_as_often_as_the_tree_says() {
    let (transformer, ..) = tiny(Shape::Decoder, OutputLayer::Tree, 0.0);
    let exact: Vec<f64> = next(&transformer, &[3, 5]).iter().map(|&ln| f64::from(ln).exp()).collect();
    assert!((exact.iter().sum::<f64>() - 1.0).abs() < 1e-5);
    const N: u64 = 4000;
    let mut counts = vec![0u32; exact.len()];
    for seed in 0..N {
        let config = GenerateConfig { seed, ..GenerateConfig::default() };
        counts[write(&transformer, &[TokenId(3), TokenId(5)], &config, 1)[0].index()] += 1;
    }
    // χ² over the tokens that are expected often enough for it.
    let expected = exact.iter().map(|p| p * N as f64).zip(&counts).filter(|(expected, _)| *expected > 5.0);
    let found: Vec<f64> = expected.map(|(expected, &n)| (f64::from(n) - expected).powi(2) / expected).collect();
    let (sum, degrees) = (found.iter().sum::<f64>(), (found.len() - 1) as f64);
    // Beyond four standard deviations of χ², which are √(2 · degrees) each.
    assert!(degrees > 5.0 && sum < degrees + 4.0 * (2.0 * degrees).sqrt(), "χ² {sum} of {degrees} degrees of freedom");
}

fn numbers(ids: &[TokenId]) -> Vec<u32> {
    ids.iter().map(|id| id.0).collect()
}

fn write(transformer: &Transformer, prompt: &[TokenId], config: &GenerateConfig, n: usize) -> Vec<TokenId> {
    let mut new = Vec::new();
    generate(transformer, prompt, config, &mut |id| {
        new.push(id);
        Ok(if new.len() == n { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
    })
    .unwrap();
    new
}

#[test]
fn generation_goes_on_beyond_the_context_with_every_kind_of_positions() {
    for positions in [Positions::Learned, Positions::Sinusoidal, Positions::Rotary] {
        let mut config = TransformerConfig::new(Shape::Decoder, 20);
        (config.d_model, config.n_heads, config.n_layers, config.context_len) = (16, 2, 2, 10);
        config.positions = positions;
        let transformer = Transformer::new(config, None, 1).unwrap();
        let config = GenerateConfig::default();
        let first = write(&transformer, &[TokenId(1)], &config, 100);
        assert_eq!(first.len(), 100);
        assert_eq!(first, write(&transformer, &[TokenId(1)], &config, 100), "the same seed");
        assert_ne!(first, write(&transformer, &[TokenId(1)], &GenerateConfig { seed: 2, ..config }, 100));
        let long: Vec<TokenId> = (0..55).map(|i| TokenId(i % 20)).collect();
        assert_eq!(write(&transformer, &long, &config, 3).len(), 3, "a prompt beyond the context");
        if positions != Positions::Rotary {
            // As much of it is read as there is room for.
            assert_eq!(write(&transformer, &long, &config, 1), write(&transformer, &long[45..], &config, 1));
            assert_ne!(next(&transformer, &numbers(&long[45..])), next(&transformer, &numbers(&long[50..])));
        }
        let mut n_scored = 0;
        score_stream(&transformer, &long, &config, &mut |_, log_p| {
            assert!(log_p < 0.0 && log_p.is_finite());
            n_scored += 1;
        })
        .unwrap();
        assert_eq!(n_scored, 54);
        let window = GenerateConfig { n_sinks: Some(2), window: Some(5), ..config };
        let windowed = generate(&transformer, &long, &window, &mut |_| Ok(ControlFlow::Break(())));
        assert_eq!(windowed.is_ok(), positions == Positions::Rotary, "{positions}: {windowed:?}");
    }
}

#[test]
fn settings_and_prompts_that_cannot_be_are_refused() {
    let (transformer, ..) = tiny(Shape::Decoder, OutputLayer::Tied, 0.0);
    let mut none = |_| Ok(ControlFlow::Break(()));
    let hot =
        GenerateConfig { sampling: Sampling { temperature: -1.0, ..Sampling::default() }, ..GenerateConfig::default() };
    for (prompt, config) in [(vec![TokenId(1)], hot), (Vec::new(), GenerateConfig::default())] {
        assert!(matches!(generate(&transformer, &prompt, &config, &mut none), Err(Error::Config { .. })));
    }
    assert!(generate(&transformer, &[TokenId(99_999)], &GenerateConfig::default(), &mut none).is_err());
    assert!(
        translate(&transformer, &[TokenId(1)], &TranslateConfig::default()).is_err(),
        "a decoder translates nothing"
    );
    let (pairs, ..) = tiny(Shape::EncoderDecoder, OutputLayer::Tied, 0.0);
    assert!(translate(&pairs, &[TokenId(1); 12], &TranslateConfig::default()).is_err(), "too long");
    assert!(generate(&pairs, &[TokenId(1)], &GenerateConfig::default(), &mut none).is_err());
}

#[test]
fn a_translator_of_two_words_learns_to_turn_them_round() {
    let (transformer, tokenizer, mut train, _) = tiny(Shape::EncoderDecoder, OutputLayer::Tied, 0.0);
    let steps = FitConfig { learning_rate: 1e-2, weight_decay: 0.0, validate_every: 1000, ..config(400) };
    let mut run = Run::new(transformer, steps).unwrap();
    fit(&mut run, &mut *train, None, &mut |_| Ok(()), &Silent).unwrap();
    let mut n_right = 0;
    for (source, wanted) in [("paris rome", "rome paris"), ("king is", "is king"), ("capital", "capital")] {
        let source = tokenizer.encode(source.as_bytes());
        let greedy = translate(&run.transformer, &source, &TranslateConfig { beam: 1, ..TranslateConfig::default() });
        let beam = translate(&run.transformer, &source, &TranslateConfig::default()).unwrap();
        assert!(beam[0].score >= greedy.as_ref().unwrap()[0].score - 1e-6);
        n_right += usize::from(tokenizer.decode(&beam[0].ids).unwrap() == wanted.as_bytes());
        check_probability(&run.transformer, &source, &beam[0].ids, beam[0].log_probability);
        assert!(beam[0].ended && greedy.unwrap()[0].ended);
    }
    assert_eq!(n_right, 3);
}

/// ln P of a whole translation is what one pass over it says.
fn check_probability(transformer: &Transformer, source: &[TokenId], target: &[TokenId], log_probability: f64) {
    let config = transformer.config();
    let numbers = |ids: &[TokenId]| ids.iter().map(|id| id.0).collect::<Vec<u32>>();
    let (source, target) = (numbers(source), numbers(target));
    let rows = |row: Vec<u32>| wordgrove::transformer::PaddedIds::new([row.as_slice()].into_iter(), 0);
    let batch = Batch {
        source: Some(rows([source, vec![config.end_id.unwrap()]].concat())),
        input: rows([vec![config.start_id.unwrap()], target.clone()].concat()),
        targets: [target, vec![config.end_id.unwrap()]].concat(),
    };
    let loss = batch_loss(transformer, &batch, &mut Pass::answering()).unwrap().to_scalar::<f32>().unwrap();
    let expected = -f64::from(loss) * batch.n_targets() as f64;
    assert!((log_probability - expected).abs() < 1e-3, "{log_probability} found, {expected} expected");
}

#[test]
fn a_sentence_has_the_same_vector_whoever_stands_beside_it() {
    for shape in SHAPES {
        let (transformer, tokenizer, ..) = tiny(shape, OutputLayer::Tied, 0.0);
        let sentences = ["the king of france", "paris", "", &"the capital of spain is madrid ".repeat(9)];
        let ids: Vec<Vec<TokenId>> = sentences.iter().map(|text| tokenizer.encode(text.as_bytes())).collect();
        assert!(ids[3].len() > 4 * 12, "longer than the context");
        let together = embed(&transformer, &ids).unwrap();
        for (sentence, vector) in ids.iter().zip(&together) {
            let alone = embed(&transformer, std::slice::from_ref(sentence)).unwrap();
            assert!(alone[0].iter().zip(vector).all(|(x, y)| (x - y).abs() < 1e-5), "{shape}");
            let norm: f32 = vector.iter().map(|x| x * x).sum();
            assert!((norm - if sentence.is_empty() { 0.0 } else { 1.0 }).abs() < 1e-5);
        }
        assert!(embed(&transformer, &[vec![TokenId(99_999)]]).is_err());
    }
}

#[test]
fn a_sentence_is_read_as_in_training_with_the_end_mark_behind_it() {
    let (transformer, ..) = tiny(Shape::EncoderDecoder, OutputLayer::Tied, 0.0);
    let sentence = [TokenId(3), TokenId(5), TokenId(4)];
    let ids = [&numbers(&sentence)[..], &[transformer.config().end_id.unwrap()]].concat();
    let input = Tensor::from_slice(&ids, (1, 4), &Device::Cpu).unwrap();
    let hidden = transformer.encode(&input, None, &mut Pass::answering()).unwrap().hidden;
    // The mean over the tokens of the text.
    let mean = hidden.narrow(1, 0, 3).unwrap().mean(1).unwrap();
    let norm = mean.sqr().unwrap().sum_all().unwrap().sqrt().unwrap();
    let wanted = mean.broadcast_div(&norm).unwrap().flatten_all().unwrap().to_vec1::<f32>().unwrap();
    let found = embed(&transformer, &[sentence.to_vec()]).unwrap();
    assert!(found[0].iter().zip(&wanted).all(|(x, y)| (x - y).abs() < 1e-5), "{found:?}, expected {wanted:?}");
}

#[test]
fn a_stream_too_short_to_learn_from_is_refused() {
    let mut builder = IdStreamBuilder::new(5, Path::new("."));
    builder.push(&[TokenId(1)]).unwrap();
    let stream = Arc::new(builder.finish().unwrap());
    let examples = TextExamples::new(stream, 0..1, TokenId(2), 8, 1, Order::Fixed);
    assert!(matches!(examples, Err(Error::TooFew { .. })));
}
