//! Every parameter learns, nothing looks ahead, and a seed means the same numbers.

use rand::SeedableRng;
use rand::rngs::Xoshiro256PlusPlus;
use wordgrove::transformer::optimizer::{AdamW, AdamWConfig};
use wordgrove::transformer::{
    Activation, AttentionKind, Norm, OutputLayer, Pass, Positions, Shape, Transformer, TransformerConfig,
};

use crate::{difference, floats, some_ids};

const N_TOKENS: usize = 23;
const TIME: usize = 7;

fn small(shape: Shape) -> TransformerConfig {
    TransformerConfig {
        d_model: 12,
        n_heads: 3,
        n_layers: 2,
        d_ff: 20,
        context_len: TIME,
        ..TransformerConfig::new(shape, N_TOKENS)
    }
}

fn counts() -> Vec<u64> {
    (0..N_TOKENS as u64).map(|i| 100 / (i + 1)).collect()
}

/// All shapes with all positions, norms and output layers; the bends take turns.
fn all() -> impl Iterator<Item = TransformerConfig> {
    let mut bends = [Activation::Relu, Activation::Gelu, Activation::GeluTanh].into_iter().cycle();
    let shapes = [Shape::EncoderDecoder, Shape::Decoder, Shape::Encoder];
    let positions = [Positions::Sinusoidal, Positions::SinusoidalHalves, Positions::Learned, Positions::Rotary];
    let outputs = [OutputLayer::Tied, OutputLayer::Free, OutputLayer::Tree];
    let mut all = Vec::new();
    for shape in shapes {
        for positions in positions {
            for norm in [Norm::Pre, Norm::Post] {
                for output in outputs {
                    let activation = bends.next().unwrap();
                    all.push(TransformerConfig { positions, norm, output_layer: output, activation, ..small(shape) });
                }
            }
        }
    }
    all.into_iter()
}

fn loss(model: &Transformer, pass: &mut Pass<'_>) -> candle_core::Tensor {
    let (ids, targets) = (some_ids(3, TIME, N_TOKENS as u32), some_ids(3, TIME, N_TOKENS as u32 - 1));
    let hidden = match model.config().shape {
        Shape::Decoder => model.decode(&ids, pass).unwrap(),
        Shape::Encoder => model.encode(&ids, Some(&[7, 5, 2]), pass).unwrap().hidden,
        Shape::EncoderDecoder => {
            let read = model.encode(&ids, Some(&[7, 5, 2]), pass).unwrap();
            model.decode_with(&read, &targets, pass).unwrap()
        }
    };
    model.loss(&hidden, &targets, Some(3), pass).unwrap()
}

#[test]
fn every_parameter_gets_a_gradient_and_moves_after_one_step() {
    for config in all() {
        let model = Transformer::new(config.clone(), Some(&counts()), 1).unwrap();
        let by_name = model.parameters().iter().map(|(name, var)| (name.to_string(), var.clone())).collect();
        let before: Vec<Vec<f32>> = model.parameters().iter().map(|(_, var)| floats(var)).collect();
        let mut random = Xoshiro256PlusPlus::seed_from_u64(3);
        let gradients = loss(&model, &mut Pass::learning(&mut random)).backward().unwrap();
        for (name, var) in model.parameters().iter() {
            let gradient = gradients.get(var).unwrap_or_else(|| panic!("{config:?}: {name} has no gradient"));
            let gradient = floats(gradient);
            assert!(gradient.iter().all(|x| x.is_finite()), "{config:?}: {name}");
            assert!(gradient.iter().any(|&x| x != 0.0), "{config:?}: {name} has a gradient of zeros");
        }
        let mut optimizer = AdamW::new(&by_name, AdamWConfig::default(), AdamW::matrices_decay).unwrap();
        optimizer.step(&gradients, 1e-3).unwrap();
        for ((name, var), before) in model.parameters().iter().zip(before) {
            assert_ne!(floats(var), before, "{config:?}: {name} did not move");
        }
    }
}

#[test]
fn gradients_agree_with_differences_of_the_loss() {
    for output in [OutputLayer::Tied, OutputLayer::Free, OutputLayer::Tree] {
        let config = TransformerConfig { output_layer: output, positions: Positions::Rotary, ..small(Shape::Decoder) };
        let model = Transformer::new(config, Some(&counts()), 5).unwrap();
        // Larger numbers than a fresh model has, so that a step is small beside them.
        for (_, var) in model.parameters().iter().filter(|(name, _)| name.ends_with("weight")) {
            var.set(&(var.as_detached_tensor() * 10.0).unwrap()).unwrap();
        }
        let gradients = loss(&model, &mut Pass::differentiating()).backward().unwrap();
        for (name, var) in model.parameters().iter() {
            let gradient = floats(gradients.get(var).unwrap());
            let at = (0..gradient.len()).max_by(|&a, &b| gradient[a].abs().total_cmp(&gradient[b].abs())).unwrap();
            let numbers = floats(var);
            let loss_at = |shift: f32| {
                let mut numbers = numbers.clone();
                numbers[at] += shift;
                let shifted = candle_core::Tensor::from_vec(numbers, var.dims(), &candle_core::Device::Cpu).unwrap();
                var.set(&shifted).unwrap();
                loss(&model, &mut Pass::answering()).to_scalar::<f32>().unwrap()
            };
            // The loss is a few nats in 32 bits, so a difference is good to 1e-6; the step makes that 3e-4.
            let step = 2e-3;
            let slope = (loss_at(step) - loss_at(-step)) / (2.0 * step);
            loss_at(0.0);
            let far = (slope - gradient[at]).abs();
            assert!(far < 5e-4 + 0.02 * slope.abs(), "{output} {name}[{at}]: {slope} by differences, {}", gradient[at]);
        }
    }
}

#[test]
fn a_later_token_changes_nothing_before_it_bit_for_bit() {
    // Longer than the tiles that attention is computed in, and cut beyond the first of them.
    const LONG: usize = 300;
    const CUT: usize = 200;
    let bits = |row: &[f32]| row.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
    for shape in [Shape::Decoder, Shape::EncoderDecoder] {
        for positions in [Positions::Learned, Positions::Sinusoidal, Positions::Rotary] {
            for output in [OutputLayer::Tied, OutputLayer::Tree] {
                let config = TransformerConfig { positions, output_layer: output, context_len: LONG, ..small(shape) };
                let model = Transformer::new(config, Some(&counts()), 1).unwrap();
                for kind in [AttentionKind::Plain, AttentionKind::Tiled] {
                    let logits = |ids: &[u32]| {
                        let pass = &mut Pass::answering().with_attention(kind);
                        let target = crate::ids(&[ids, &[1; LONG]]);
                        let hidden = match shape {
                            Shape::EncoderDecoder => {
                                let read = model.encode(&some_ids(2, 9, 5), Some(&[9, 4]), pass).unwrap();
                                model.decode_with(&read, &target, pass).unwrap()
                            }
                            _ => model.decode(&target, pass).unwrap(),
                        };
                        model.logits(&hidden, pass).unwrap().to_vec3::<f32>().unwrap().swap_remove(0)
                    };
                    let ids: Vec<u32> = (0..LONG as u32).map(|i| (i * i * 7 + 3) % N_TOKENS as u32).collect();
                    let other: Vec<u32> = ids[CUT..].iter().map(|id| (id + 1) % N_TOKENS as u32).collect();
                    let (before, after) = (logits(&ids), logits(&[&ids[..CUT], &other].concat()));
                    for (before, after) in before[..CUT].iter().zip(&after[..CUT]) {
                        assert_eq!(bits(before), bits(after), "{shape} {positions} {output} {kind:?}");
                    }
                    assert_ne!(before[CUT], after[CUT], "and at its own place it does change something");
                }
            }
        }
    }
}

#[test]
fn padding_changes_nothing() {
    for shape in [Shape::Encoder, Shape::EncoderDecoder] {
        let model = Transformer::new(small(shape), None, 1).unwrap();
        for kind in [AttentionKind::Plain, AttentionKind::Tiled] {
            let pass = &mut Pass::answering().with_attention(kind);
            let padded = crate::ids(&[&[4, 8, 15, 0, 0], &[1, 2, 3, 4, 5]]);
            let padded = model.encode(&padded, Some(&[3, 5]), pass).unwrap().hidden;
            let alone = model.encode(&crate::ids(&[&[4, 8, 15]]), None, pass).unwrap().hidden;
            let first = padded.narrow(0, 0, 1).unwrap().narrow(1, 0, 3).unwrap();
            assert!(difference(&floats(&first), &floats(&alone)) < 1e-5, "{shape} {kind:?}");
        }
    }
}

#[test]
fn a_text_of_padding_only_has_finite_numbers() {
    // F5
    let model = Transformer::new(small(Shape::Encoder), None, 1).unwrap();
    for kind in [AttentionKind::Plain, AttentionKind::Tiled] {
        let pass = &mut Pass::answering().with_attention(kind);
        let hidden = model.encode(&crate::ids(&[&[0, 0], &[1, 2]]), Some(&[0, 2]), pass).unwrap().hidden;
        assert!(floats(&hidden).iter().all(|x| x.is_finite()), "{kind:?}");
    }
}

#[test]
fn a_context_of_one_token_and_a_vocabulary_of_one_work() {
    // F5
    let config = TransformerConfig { context_len: 1, n_tokens: 1, ..small(Shape::Decoder) };
    let model = Transformer::new(config, None, 1).unwrap();
    let pass = &mut Pass::answering();
    let hidden = model.decode(&crate::ids(&[&[0]]), pass).unwrap();
    assert_eq!(floats(&model.log_probabilities(&hidden, pass).unwrap()), [0.0], "the only token is certain");
    assert_eq!(model.loss(&hidden, &crate::ids(&[&[0]]), None, pass).unwrap().to_scalar::<f32>().unwrap(), 0.0);
}

#[test]
fn probabilities_sum_to_one_and_say_the_loss() {
    for output in [OutputLayer::Tied, OutputLayer::Free, OutputLayer::Tree] {
        let model =
            Transformer::new(TransformerConfig { output_layer: output, ..small(Shape::Decoder) }, Some(&counts()), 1)
                .unwrap();
        let pass = &mut Pass::answering();
        let hidden = model.decode(&crate::ids(&[&[4, 8, 15]]), pass).unwrap();
        let rows = model.log_probabilities(&hidden, pass).unwrap().to_vec3::<f32>().unwrap().swap_remove(0);
        for row in &rows {
            let sum: f64 = row.iter().map(|&ln| f64::from(ln).exp()).sum();
            assert!((sum - 1.0).abs() < 1e-5, "{output}: {sum}");
        }
        // The token 5 does not count.
        let loss = model.loss(&hidden, &crate::ids(&[&[7, 5, 0]]), Some(5), pass).unwrap().to_scalar::<f32>().unwrap();
        assert!((loss + (rows[0][7] + rows[2][0]) / 2.0).abs() < 1e-5, "{output}");
        let none = model.loss(&hidden, &crate::ids(&[&[5, 5, 5]]), Some(5), pass).unwrap();
        assert_eq!(none.to_scalar::<f32>().unwrap(), 0.0, "{output}: nothing counts");
    }
}

#[test]
fn a_seed_is_a_model_and_dropout_another_one_each_time() {
    let model = |seed| Transformer::new(small(Shape::Decoder), None, seed).unwrap();
    let all = |model: &Transformer| model.parameters().iter().flat_map(|(_, var)| floats(var)).collect::<Vec<_>>();
    assert_eq!(all(&model(1)), all(&model(1)));
    assert_ne!(all(&model(1)), all(&model(2)));
    let tokens = floats(model(1).parameters().get("tokens.weight").unwrap());
    let spread = (tokens.iter().map(|x| x * x).sum::<f32>() / tokens.len() as f32).sqrt();
    // 276 numbers: the spread of their spread is 0.02 / √552.
    assert!((spread - 0.02).abs() < 0.003, "{spread}");

    let model = model(1);
    let random = &mut Xoshiro256PlusPlus::seed_from_u64(3);
    let first = loss(&model, &mut Pass::learning(random)).to_scalar::<f32>().unwrap();
    let second = loss(&model, &mut Pass::learning(random)).to_scalar::<f32>().unwrap();
    let random = &mut Xoshiro256PlusPlus::seed_from_u64(3);
    assert_ne!(first, second);
    assert_eq!(first, loss(&model, &mut Pass::learning(random)).to_scalar::<f32>().unwrap());
}

#[test]
fn what_makes_no_sense_is_an_error() {
    let decoder = Transformer::new(small(Shape::Decoder), None, 1).unwrap();
    let encoder = Transformer::new(small(Shape::Encoder), None, 1).unwrap();
    let pass = &mut Pass::answering();
    let message = |result: wordgrove::Result<candle_core::Tensor>| result.unwrap_err().to_string();
    assert!(message(decoder.decode(&some_ids(1, TIME + 1, 5), pass)).contains("room for 7"));
    assert!(decoder.decode(&crate::ids(&[&[N_TOKENS as u32]]), pass).is_err(), "no such token");
    assert!(message(encoder.decode(&some_ids(1, 2, 5), pass)).contains("of shape encoder"));
    assert!(encoder.encode(&some_ids(2, 3, 5), Some(&[3]), pass).is_err(), "one length for two texts");
    assert!(encoder.encode(&some_ids(1, 3, 5), Some(&[4]), pass).is_err(), "longer than the text");
    let tree = TransformerConfig { output_layer: OutputLayer::Tree, ..small(Shape::Decoder) };
    assert!(Transformer::new(tree.clone(), None, 1).is_err(), "no counts");
    assert!(Transformer::new(tree, Some(&[1, 2]), 1).is_err(), "counts of others");
}
