//! Attention three ways, one answer: plain, tiled, and one position after another over a cache.

use candle_core::Tensor;
use wordgrove::transformer::{AttentionKind, Memory, Pass, Positions, Shape, Transformer, TransformerConfig};

use crate::reference::{Sight, hidden};
use crate::{difference, floats, some_ids};

const N_TOKENS: usize = 23;

fn small(shape: Shape, positions: Positions, context_len: usize) -> Transformer {
    let config = TransformerConfig {
        d_model: 12,
        n_heads: 3,
        n_layers: 2,
        d_ff: 20,
        context_len,
        positions,
        ..TransformerConfig::new(shape, N_TOKENS)
    };
    let model = Transformer::new(config, None, 1).unwrap();
    // Larger numbers than a fresh decoder has, so that attention is far from even.
    for (name, var) in model.parameters().iter() {
        if name.ends_with("weight") && shape == Shape::Decoder {
            var.set(&(var.as_detached_tensor() * 10.0).unwrap()).unwrap();
        }
    }
    model
}

const POSITIONS: [Positions; 4] =
    [Positions::Learned, Positions::Sinusoidal, Positions::SinusoidalHalves, Positions::Rotary];

#[test]
fn plain_tiled_and_cached_attention_agree_with_the_definition() {
    for positions in POSITIONS {
        let model = small(Shape::Decoder, positions, 40);
        let ids = some_ids(2, 37, N_TOKENS as u32);
        let sight = Sight { n_sinks: 0, window: usize::MAX };
        let wanted: Vec<f32> = ids
            .to_vec2::<u32>()
            .unwrap()
            .iter()
            .flat_map(|row| hidden(&model, row, &sight).concat())
            .map(|x| x as f32)
            .collect();
        for kind in [AttentionKind::Plain, AttentionKind::Tiled] {
            let found = model.decode(&ids, &mut Pass::answering().with_attention(kind)).unwrap();
            let far = difference(&floats(&found), &wanted);
            assert!(far < 2e-5, "{positions} {kind:?}: {far}");
        }
        for pieces in [vec![37], vec![1; 37], vec![5, 1, 20, 1, 1, 9]] {
            let mut cache = model.cache(Memory::All, 2).unwrap();
            let mut found = Vec::new();
            let mut at = 0;
            for piece in pieces {
                found.push(model.decode_next(&ids.narrow(1, at, piece).unwrap(), &mut cache).unwrap());
                at += piece;
            }
            assert_eq!(cache.n_passed(), 37);
            let far = difference(&floats(&Tensor::cat(&found, 1).unwrap()), &wanted);
            assert!(far < 2e-5, "{positions}, cached: {far}");
        }
    }
}

#[test]
fn sinks_and_a_window_are_full_attention_with_that_mask() {
    let model = small(Shape::Decoder, Positions::Rotary, 16);
    let ids = some_ids(1, 100, N_TOKENS as u32);
    let row = ids.flatten_all().unwrap().to_vec1::<u32>().unwrap();
    for (n_sinks, window) in [(4, 6), (1, 15), (0, 5), (3, 1)] {
        let wanted: Vec<f32> =
            hidden(&model, &row, &Sight { n_sinks, window }).concat().into_iter().map(|x| x as f32).collect();
        for piece in [1, 7, 16] {
            let mut cache = model.cache(Memory::SinksAndWindow { n_sinks, window }, 1).unwrap();
            let found: Vec<Tensor> = (0..100)
                .step_by(piece)
                .map(|at| {
                    let ids = ids.narrow(1, at, piece.min(100 - at)).unwrap();
                    model.decode_next(&ids, &mut cache).unwrap()
                })
                .collect();
            let far = difference(&floats(&Tensor::cat(&found, 1).unwrap()), &wanted);
            assert!(far < 2e-5, "{n_sinks} + {window} in pieces of {piece}: {far}");
        }
    }
}

#[test]
fn sinks_and_a_window_that_hold_everything_change_nothing() {
    let model = small(Shape::Decoder, Positions::Rotary, 16);
    let ids = some_ids(2, 16, N_TOKENS as u32);
    let mut cache = model.cache(Memory::SinksAndWindow { n_sinks: 4, window: 12 }, 2).unwrap();
    let found = model.decode_next(&ids, &mut cache).unwrap();
    let full = model.decode(&ids, &mut Pass::answering()).unwrap();
    assert!(difference(&floats(&found), &floats(&full)) < 1e-5);
}

#[test]
fn a_target_goes_on_as_in_one_pass_and_its_sentences_can_be_chosen_anew() {
    let model = small(Shape::EncoderDecoder, Positions::SinusoidalHalves, 16);
    let pass = &mut Pass::answering();
    let read = model.encode(&some_ids(2, 5, N_TOKENS as u32), Some(&[5, 3]), pass).unwrap();
    let target = some_ids(2, 8, N_TOKENS as u32);
    let full = model.decode_with(&read, &target, pass).unwrap();
    let mut cache = model.cache_with(Memory::All, &read).unwrap();
    let first = model.decode_next(&target.narrow(1, 0, 3).unwrap(), &mut cache).unwrap();
    assert!(difference(&floats(&first), &floats(&full.narrow(1, 0, 3).unwrap())) < 1e-5);
    // Three beams: the second sentence twice, then the first.
    cache.select(&[1, 1, 0]).unwrap();
    let order = Tensor::new(&[1_u32, 1, 0], target.device()).unwrap();
    let rest = target.narrow(1, 3, 5).unwrap().contiguous().unwrap().index_select(&order, 0).unwrap();
    let found = model.decode_next(&rest, &mut cache).unwrap();
    let wanted = full.narrow(1, 3, 5).unwrap().contiguous().unwrap().index_select(&order, 0).unwrap();
    let far = difference(&floats(&found), &floats(&wanted));
    assert!(far < 1e-5, "{far}");
    assert!(cache.select(&[3]).is_err());
    assert!(cache.select(&[]).is_err());
}

#[test]
fn a_cache_that_is_full_or_does_not_fit_says_so() {
    let learned = small(Shape::Decoder, Positions::Learned, 16);
    let message = |result: wordgrove::Result<_>| result.unwrap_err().to_string();
    let window = Memory::SinksAndWindow { n_sinks: 4, window: 6 };
    assert!(learned.cache(window, 1).unwrap_err().to_string().contains("needs rotary"));
    let rotary = small(Shape::Decoder, Positions::Rotary, 16);
    for (n_sinks, window) in [(4, 13), (0, 0), (usize::MAX, 2)] {
        assert!(rotary.cache(Memory::SinksAndWindow { n_sinks, window }, 1).is_err());
    }
    for model in [learned, rotary] {
        let mut cache = model.cache(Memory::All, 1).unwrap();
        model.decode_next(&some_ids(1, 10, 5), &mut cache).unwrap();
        let refused = message(model.decode_next(&some_ids(1, 7, 5), &mut cache));
        assert!(refused.contains("17 positions, the model has room for 16"), "{refused}");
        model.decode_next(&some_ids(1, 6, 5), &mut cache).unwrap();
        assert_eq!(cache.n_passed(), 16);
        assert!(model.decode_next(&some_ids(2, 1, 5), &mut cache).is_err(), "another number of sentences");
    }
}

#[test]
fn a_window_needs_no_more_memory_after_ten_contexts() {
    let model = small(Shape::Decoder, Positions::Rotary, 16);
    let mut cache = model.cache(Memory::SinksAndWindow { n_sinks: 4, window: 12 }, 1).unwrap();
    let ids = some_ids(1, 160, N_TOKENS as u32);
    let mut sizes = Vec::new();
    for at in 0..160 {
        let hidden = model.decode_next(&ids.narrow(1, at, 1).unwrap(), &mut cache).unwrap();
        assert!(floats(&hidden).iter().all(|x| x.is_finite()));
        sizes.push(cache.size_bytes());
    }
    assert_eq!(sizes[15], 2 * 2 * 16 * 12 * 4, "two layers of keys and values");
    assert!(sizes[16..].iter().all(|&size| size == sizes[15]));
}
