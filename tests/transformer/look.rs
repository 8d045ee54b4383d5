//! Here belongs: what can be seen inside a transformer, and that it is what happens there.

use std::path::Path;

use candle_core::{Device, Tensor};
use wordgrove::text::Corpus;
use wordgrove::tokens::{WordsConfig, learn_words};
use wordgrove::transformer::look::{
    AttentionChoice, AttentionKeys, ReadToken, Reading, Step, Trace, TracePage, attention_maps, trace,
    write_attention_html, write_attention_svg, write_trace_html,
};
use wordgrove::transformer::{
    FitConfig, Norm, Order, OutputLayer, PairExamples, PairMarks, Pairs, Pass, Positions, Run, Shape, Transformer,
    TransformerConfig, TranslateConfig, add_marks, fit, translate,
};
use wordgrove::{Error, Silent, TokenId, Tokenizer};

use crate::paper::Paper;
use crate::{floats, ids};

/// The three exchanges that we ship: small enough for paper.
fn exchanges() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpora/exchanges.txt");
    std::fs::read_to_string(path).unwrap()
}

/// An encoder-decoder of six numbers a position that has learned the exchanges.
fn small(seed: u64) -> (Transformer, Tokenizer) {
    let corpus = Corpus::from_text(exchanges());
    let words = learn_words(&corpus, &WordsConfig { min_count: 1, ..WordsConfig::default() }, &Silent).unwrap();
    let mut config = TransformerConfig::new(Shape::EncoderDecoder, 1);
    (config.d_model, config.n_heads, config.n_layers, config.d_ff, config.context_len) = (6, 2, 1, 24, 10);
    (config.positions, config.dropout) = (Positions::Sinusoidal, 0.0);
    let tokenizer = add_marks(&words, &mut config).unwrap();
    let id = |id: Option<u32>| TokenId(id.unwrap());
    let marks = PairMarks { start: id(config.start_id), end: id(config.end_id), pad: id(config.pad_id) };
    let pairs = Pairs::read(&corpus, &tokenizer, config.context_len, &Silent).unwrap();
    let mut examples = PairExamples::new(pairs, marks, 3, Order::Shuffled(seed)).unwrap();
    let fit_config =
        FitConfig { steps: 300, batch_size: 3, learning_rate: 0.02, warmup_steps: 100, seed, ..FitConfig::default() };
    let mut run = Run::new(Transformer::new(config, None, seed).unwrap(), fit_config).unwrap();
    fit(&mut run, &mut examples, None, &mut |_| Ok(()), &Silent).unwrap();
    (run.transformer, tokenizer)
}

#[test]
fn six_numbers_a_position_learn_three_exchanges_with_every_seed() {
    let text = exchanges();
    for seed in 1..=5 {
        let (model, tokenizer) = small(seed);
        for line in text.lines() {
            let (source, target) = line.split_once('\t').unwrap();
            let greedy = TranslateConfig { beam: 1, ..TranslateConfig::default() };
            let found = translate(&model, &tokenizer.encode(source.as_bytes()), &greedy).unwrap();
            assert_eq!(String::from_utf8(tokenizer.decode(&found[0].ids).unwrap()).unwrap(), target, "seed {seed}");
            assert!(found[0].ended);
        }
    }
}

/// The numbers of a step, in the order of a computation by hand: tokens by id, not by probability.
fn numbers(step: &Step, tokenizer: &Tokenizer) -> Vec<f32> {
    if !["output.logits", "output.probabilities"].contains(&step.name.as_str()) {
        return step.matrices.iter().flat_map(|matrix| matrix.numbers.clone()).collect();
    }
    let mut by_id = vec![f32::NAN; tokenizer.n_tokens()];
    for (label, &number) in step.matrices[0].rows.iter().zip(&step.matrices[0].numbers) {
        let id = (0..by_id.len()).find(|&id| tokenizer.name(TokenId(id as u32)) == *label);
        by_id[id.unwrap()] = number;
    }
    by_id
}

#[test]
fn every_matrix_on_the_way_to_a_word_is_what_paper_and_pencil_give() {
    for (seed, target, expected) in [(1, None, "you"), (2, Some("you"), "win"), (3, Some("you win or you"), "die")] {
        let (model, tokenizer) = small(seed);
        let reading = Reading::new(&model, &tokenizer, "when you play the game of thrones", target).unwrap();
        let found = trace(&model, &tokenizer, &reading, 5).unwrap();
        let ids_of = |tokens: &[ReadToken]| tokens.iter().map(|token| token.id).collect::<Vec<_>>();
        let mut paper = Paper::new(&model);
        let probabilities = paper.compute(&ids_of(&found.source), &ids_of(&found.target));
        let steps: Vec<_> = found.sections.iter().flat_map(|section| &section.steps).collect();
        for step in &steps {
            let by_hand =
                paper.steps.remove(&step.name).unwrap_or_else(|| panic!("{} is not on paper", step.name)).concat();
            let numbers = numbers(step, &tokenizer);
            assert_eq!(numbers.len(), by_hand.len(), "{}", step.name);
            for (&number, &by_hand) in numbers.iter().zip(&by_hand) {
                let is_near = f64::from(number) == by_hand || (f64::from(number) - by_hand).abs() < 1e-4;
                assert!(is_near, "{}: {number}, by hand {by_hand}", step.name);
            }
        }
        assert!(paper.steps.is_empty(), "not shown: {:?}", paper.steps.keys());
        assert!(steps.iter().enumerate().all(|(place, step)| step.number == place + 1));
        let best = &found.predictions[0].candidates[0];
        assert_eq!(best.token, expected);
        assert!((best.probability - probabilities[best.id as usize]).abs() < 1e-4 && best.probability > 0.5);
    }
}

#[test]
fn what_was_learned_stands_beside_the_step_that_uses_it() {
    let (model, tokenizer) = small(1);
    let reading = Reading::new(&model, &tokenizer, "who waits at the gate", None).unwrap();
    let found = trace(&model, &tokenizer, &reading, 1).unwrap();
    let step =
        |name: &str| found.sections.iter().flat_map(|section| &section.steps).find(|step| step.name == name).unwrap();
    let key = step("decoder.0.attention.key");
    assert_eq!(key.learned[0].place(), "decoder.0.attention.qkv.weight[6..12]");
    let all = floats(model.parameters().get("decoder.0.attention.qkv.weight").unwrap());
    assert_eq!(key.learned[0].matrix().unwrap().numbers, all[36..72]);
    assert_eq!((key.learned[0].shape(), key.learned[1].shape()), (vec![6, 6], vec![6]));
    assert_eq!(step("decoder.0.cross.value").learned[0].place(), "decoder.0.cross.key_value.weight[6..12]");
    assert_eq!(step("encoder.0.feed_forward.up").learned[0].shape(), [24, 6]);
}

/// A random model of a shape over a few words, and its tokenizer.
fn random(shape: Shape, change: impl FnOnce(&mut TransformerConfig)) -> (Transformer, Tokenizer) {
    let words = ["the", "king", "of", "france", "<script>alert(1)</script>", "\u{1b}[31m\u{0}\u{202e}&\"'"];
    let words = Tokenizer::from_words(words.map(|word| word.as_bytes().to_vec()).to_vec()).unwrap();
    let mut config = TransformerConfig::new(shape, 1);
    (config.d_model, config.n_heads, config.n_layers, config.d_ff, config.context_len) = (8, 2, 2, 16, 12);
    change(&mut config);
    let tokenizer = add_marks(&words, &mut config).unwrap();
    let counts: Vec<u64> = (1..=config.n_tokens as u64).map(|n| n * n).collect();
    (Transformer::new(config, Some(&counts), 1).unwrap(), tokenizer)
}

fn page(found: &Trace) -> String {
    let mut page = Vec::new();
    write_trace_html(&mut page, found, "<title>", TracePage { digits: 3, most: [20, 12] }).unwrap();
    String::from_utf8(page).unwrap()
}

/// Asserts that tags nest, that attributes are quoted, and that nothing comes from elsewhere or runs.
fn assert_well_formed(page: &str) {
    let mut open: Vec<&str> = Vec::new();
    let mut rest = page.strip_prefix("<!DOCTYPE html>").unwrap_or(page);
    while let Some(at) = rest.find(['<', '>']) {
        assert!(rest[at..].starts_with('<'), "a loose '>' before: {:.80}", &rest[at..]);
        let end = rest[at..].find('>').expect("a tag ends");
        let tag = &rest[at + 1..at + end];
        rest = &rest[at + end + 1..];
        let name = tag.trim_start_matches('/').split([' ', '\n', '/']).next().unwrap();
        assert!(name.bytes().all(|byte| byte.is_ascii_alphanumeric()), "{tag}");
        assert_eq!(tag.matches('"').count() % 2, 0, "{tag}");
        if tag.starts_with('/') {
            assert_eq!(open.pop(), Some(name), "{tag}");
        } else if !tag.ends_with('/') && name != "meta" {
            open.push(name);
        }
        if tag == "style" {
            // What is between style tags is no markup.
            rest = &rest[rest.find("</style>").unwrap()..];
        }
    }
    assert!(open.is_empty(), "left open: {open:?}");
    let elsewhere = page.replace("http://www.w3.org/2000/svg", "");
    for word in
        ["<script", "http:", "https:", "src=", "url(", "@import", "<link", "onclick", "\u{1b}", "\u{0}", "\u{202e}"]
    {
        assert!(!elsewhere.contains(word), "{word:?} in the page");
    }
}

#[test]
fn every_shape_of_model_can_be_looked_into_and_no_token_becomes_markup() {
    let text = "the king of france";
    let variants: [fn(&mut TransformerConfig); 5] = [
        |_| {},
        |config| (config.positions, config.norm) = (Positions::Rotary, Norm::Post),
        |config| (config.output_layer, config.positions) = (OutputLayer::Tree, Positions::Sinusoidal),
        |config| (config.output_layer, config.norm) = (OutputLayer::Free, Norm::Pre),
        |config| (config.scale_embedding, config.positions) = (true, Positions::SinusoidalHalves),
    ];
    for shape in [Shape::Decoder, Shape::Encoder, Shape::EncoderDecoder] {
        for change in variants {
            let (model, tokenizer) = random(shape, change);
            let mut reading = Reading::new(&model, &tokenizer, text, None).unwrap();
            let strange = |id: u32| ReadToken { id, token: tokenizer.name(TokenId(id)).into_owned() };
            let read = if shape == Shape::Decoder { &mut reading.target } else { &mut reading.source };
            read.splice(1..1, [strange(4), strange(5)]);
            if let Some(mask) = model.config().mask_id {
                reading.source.extend([strange(mask), strange(mask)]);
            }
            let found = trace(&model, &tokenizer, &reading, 100).unwrap();
            assert_well_formed(&page(&found));
            let n_predictions = if shape == Shape::Encoder { 2 } else { 1 };
            assert_eq!(found.predictions.len(), n_predictions);
            let expected = answered(&model, &found);
            for (prediction, expected) in found.predictions.iter().zip(expected) {
                for found in &prediction.candidates {
                    assert!((found.probability - f64::from(expected[found.id as usize])).abs() < 1e-6);
                }
                let sum: f64 = prediction.candidates.iter().map(|found| found.probability).sum();
                assert!((sum - 1.0).abs() < 1e-5, "{sum}");
            }
            let maps = attention_maps(&model, &reading, AttentionChoice::default()).unwrap();
            for write in [write_attention_html, write_attention_svg] {
                let mut page = Vec::new();
                write(&mut page, &maps, "<title>").unwrap();
                assert_well_formed(&String::from_utf8(page).unwrap());
            }
        }
    }
}

/// What the model answers when nobody looks: probabilities by id, for each position that is asked.
fn answered(model: &Transformer, found: &Trace) -> Vec<Vec<f32>> {
    let row = |tokens: &[ReadToken]| ids(&[&tokens.iter().map(|token| token.id).collect::<Vec<u32>>()]);
    let pass = &mut Pass::answering();
    let hidden = match found.shape {
        Shape::Decoder => model.decode(&row(&found.target), pass).unwrap(),
        Shape::Encoder => model.encode(&row(&found.source), None, pass).unwrap().hidden,
        Shape::EncoderDecoder => {
            let source = model.encode(&row(&found.source), None, pass).unwrap();
            model.decode_with(&source, &row(&found.target), pass).unwrap()
        }
    };
    let all = model.log_probabilities(&hidden, pass).unwrap().exp().unwrap();
    let rows = all.squeeze(0).unwrap().to_vec2::<f32>().unwrap();
    found.predictions.iter().map(|prediction| rows[prediction.position].clone()).collect()
}

#[test]
fn the_way_through_the_tree_ends_at_the_words_probability() {
    let (model, tokenizer) = random(Shape::Decoder, |config| config.output_layer = OutputLayer::Tree);
    let reading = Reading::new(&model, &tokenizer, "the king", None).unwrap();
    let found = trace(&model, &tokenizer, &reading, 1).unwrap();
    let step = found.sections.last().unwrap().steps.iter().find(|step| step.name == "output.path").unwrap();
    let path = &step.matrices[0];
    let best = &found.predictions[0].candidates[0];
    let product: f32 = (0..path.rows.len()).map(|row| path.row(row)[1]).product();
    assert!((f64::from(product) - best.probability).abs() < 1e-6);
    let expected = model.tree().unwrap().path(TokenId(best.id));
    let labels = expected.nodes.iter().zip(expected.bits).map(|(node, bit)| format!("node {node}, bit {bit}"));
    assert!(path.rows.iter().cloned().eq(labels));
}

#[test]
fn rows_of_attention_sum_to_one_and_see_nothing_later() {
    let (model, tokenizer) = random(Shape::EncoderDecoder, |_| {});
    let reading = Reading::new(&model, &tokenizer, "the king of france", Some("of the king")).unwrap();
    let maps = attention_maps(&model, &reading, AttentionChoice::default()).unwrap();
    assert_eq!(maps.maps.len(), 3 * 2 * 2);
    for map in &maps.maps {
        let (queries, keys) = maps.sides(map.of);
        assert_eq!((map.probabilities.len(), map.probabilities[0].len()), (queries.len(), keys.len()));
        for (at, row) in map.probabilities.iter().enumerate() {
            assert!((row.iter().sum::<f32>() - 1.0).abs() < 1e-5);
            assert!(map.of != AttentionKeys::Decoder || row[at + 1..].iter().all(|&p| p == 0.0));
        }
    }
    let one = attention_maps(&model, &reading, AttentionChoice { layer: Some(2), head: Some(1) }).unwrap();
    assert_eq!(one.maps.len(), 3);
    assert!(one.maps.iter().all(|map| maps.maps.contains(map) && (map.layer, map.head) == (2, 1)));
    for (layer, head, field) in [(3, 1, "layer"), (1, 3, "head")] {
        let wrong = attention_maps(&model, &reading, AttentionChoice { layer: Some(layer), head: Some(head) });
        assert!(matches!(wrong, Err(Error::Config { field: found, .. }) if found == field));
    }
    let translated =
        Reading::new(&model, &tokenizer, "the king", None).unwrap().translated(&model, &tokenizer).unwrap();
    assert!(translated.target.len() <= model.config().context_len && translated.target[0].token == "<start>");
}

#[test]
fn what_cannot_be_read_is_refused_by_name() {
    let field = |result: wordgrove::Result<Reading>| match result {
        Err(Error::Config { field, reason }) => (field, reason),
        other => panic!("{other:?}"),
    };
    let (model, tokenizer) = random(Shape::Decoder, |_| {});
    assert_eq!(field(Reading::new(&model, &tokenizer, "the", Some("king"))).0, "target");
    let (name, reason) = field(Reading::new(&model, &tokenizer, &"the ".repeat(13), None));
    assert!(name == "text" && reason.contains("13 tokens") && reason.contains("room for 12"), "{reason}");
    assert_eq!(Reading::new(&model, &tokenizer, "", None).unwrap().target.len(), 1, "as a line begins");
    let larger = Tokenizer::from_words((0..99).map(|n| n.to_string().into_bytes()).collect()).unwrap();
    let (name, reason) = field(Reading::new(&model, &larger, "1 98", None));
    assert!(name == "text" && reason.contains("id 98"), "{reason}");

    let (model, tokenizer) = random(Shape::Encoder, |_| {});
    assert_eq!(field(Reading::new(&model, &tokenizer, "unknown words", None)).0, "text");
    let masked = Reading::new(&model, &tokenizer, "the <mask> of <mask>", None).unwrap();
    let mask = model.config().mask_id.unwrap();
    assert_eq!(masked.source.iter().map(|token| token.id == mask).collect::<Vec<_>>(), [false, true, false, true]);

    let (model, tokenizer) = random(Shape::EncoderDecoder, |_| {});
    assert_eq!(field(Reading::new(&model, &tokenizer, "", Some("the"))).0, "text");
    assert_eq!(field(Reading::new(&model, &tokenizer, "the", Some(&"of ".repeat(12)))).0, "target");

    let nothing = Reading { source: Vec::new(), target: Vec::new() };
    assert!(matches!(trace(&model, &tokenizer, &nothing, 1), Err(Error::Config { field: "text", .. })));
    let reading = Reading::new(&model, &tokenizer, "the", None).unwrap();
    assert!(matches!(trace(&model, &larger, &reading, 1), Err(Error::Config { field: "tokenizer", .. })));

    let (model, tokenizer) = random(Shape::Decoder, |config| config.context_len = 3000);
    let reading = Reading::new(&model, &tokenizer, &"the ".repeat(400), None).unwrap();
    let found = attention_maps(&model, &reading, AttentionChoice::default());
    assert!(
        matches!(&found, Err(Error::Config { field: "text", reason }) if reason.contains("640000 cells")),
        "{found:?}"
    );
    assert!(attention_maps(&model, &reading, AttentionChoice { layer: Some(1), head: None }).is_ok());
    let reading = Reading::new(&model, &tokenizer, &"the ".repeat(3000), None).unwrap();
    let found = trace(&model, &tokenizer, &reading, 1);
    assert!(matches!(&found, Err(Error::Config { field: "text", .. })), "{:?}", found.map(|_| ()));
}

#[test]
fn numbers_that_are_none_are_shown_as_such() {
    let (model, tokenizer) = random(Shape::Decoder, |_| {});
    let broken = model.parameters().get("decoder.1.attention.qkv.weight").unwrap();
    broken.set(&Tensor::full(f32::NAN, broken.dims(), &Device::Cpu).unwrap()).unwrap();
    let reading = Reading::new(&model, &tokenizer, "the king of", None).unwrap();
    let found = trace(&model, &tokenizer, &reading, 3).unwrap();
    assert!(found.predictions[0].candidates.iter().all(|found| found.probability.is_nan()));
    let page = page(&found);
    assert!(page.contains(">NaN<") && page.contains(">−∞<"));
    assert_well_formed(&page);
    assert!(serde_json::to_string(&found).unwrap().contains("null"));
    let maps = attention_maps(&model, &reading, AttentionChoice::default()).unwrap();
    let mut page = Vec::new();
    write_attention_html(&mut page, &maps, "broken").unwrap();
    let page = String::from_utf8(page).unwrap();
    assert!(page.contains(": NaN</title>"));
    assert_well_formed(&page);
}
