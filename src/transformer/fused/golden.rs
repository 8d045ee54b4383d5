//! Values and gradients that PyTorch computed: `tests/fixtures/transformer/fused.py`.

use std::collections::HashMap;

use candle_core::{DType, Device, Tensor, Var};

use super::*;
use crate::error::Result;

const FIXTURE: &[u8] = include_bytes!("../../../tests/fixtures/transformer/fused.safetensors");

fn largest_difference(a: &Tensor, b: &Tensor) -> f32 {
    assert_eq!(a.shape(), b.shape());
    (a - b).unwrap().abs().unwrap().max_all().unwrap().to_scalar().unwrap()
}

fn check(all: &HashMap<String, Tensor>, case: &str, f: impl Fn(&[Tensor]) -> Result<Tensor>) {
    let inputs: Vec<Var> = (0..)
        .map_while(|at| all.get(&format!("{case}.input.{at}")))
        .map(|tensor| Var::from_tensor(tensor).unwrap())
        .collect();
    assert!(!inputs.is_empty(), "{case} is not in the fixture");
    let tensors: Vec<Tensor> = inputs.iter().map(|var| var.as_tensor().clone()).collect();
    let out = f(&tensors).unwrap();
    let difference = largest_difference(&out, &all[&format!("{case}.output")]);
    assert!(difference < 1e-5, "{case}: off by {difference}");
    let gradients = (&out * &all[&format!("{case}.weights")]).unwrap().sum_all().unwrap().backward().unwrap();
    for (at, var) in inputs.iter().enumerate() {
        let difference = largest_difference(gradients.get(var).unwrap(), &all[&format!("{case}.gradient.{at}")]);
        assert!(difference < 1e-4, "{case}, gradient {at}: off by {difference}");
    }
}

#[test]
fn operations_and_gradients_are_those_of_pytorch() {
    let all = candle_core::safetensors::load_buffer(FIXTURE, &Device::Cpu).unwrap();
    let (causal, lengths) = (Mask::CAUSAL, Mask { reach: Reach::All, key_lengths: Some(vec![3, 5]) });
    check(&all, "layer_norm", |x| layer_norm(&x[0], &x[1], &x[2], 1e-5));
    check(&all, "linear", |x| linear(&x[0], &x[1], Some(&x[2])));
    check(&all, "relu", |x| activate(&x[0], Activation::Relu));
    check(&all, "gelu", |x| activate(&x[0], Activation::Gelu));
    check(&all, "gelu_tanh", |x| activate(&x[0], Activation::GeluTanh));
    for kind in [AttentionKind::Plain, AttentionKind::Tiled] {
        check(&all, "attention_causal", |x| attention(&x[0], &x[1], &x[2], 2, &causal, kind, None));
        check(&all, "attention_padded", |x| attention(&x[0], &x[1], &x[2], 2, &lengths, kind, None));
    }
    let targets = all["softmax_loss.targets"].to_dtype(DType::U32).unwrap();
    check(&all, "softmax_loss", |x| softmax_loss(&x[0], &x[1], Some(&x[2]), &targets, Some(100)));
}
