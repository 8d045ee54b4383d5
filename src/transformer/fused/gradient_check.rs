//! How the tests hold an operation to its definition: values and gradients, three ways.

use candle_core::{DType, Device, Tensor, Var};

use crate::error::Result;

/// Numbers between −1 and 1 that look like chance but are the same everywhere.
pub(super) fn numbers(n: usize, seed: u64) -> Vec<f64> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 11) as f64 / (1u64 << 53) as f64 * 2.0 - 1.0
    };
    (0..n).map(|_| next()).collect()
}

pub(super) fn variables(shapes: &[&[usize]], dtype: DType) -> Vec<Var> {
    let variable = |(seed, shape): (usize, &&[usize])| {
        let numbers = numbers(shape.iter().product(), seed as u64 + 1);
        // Through f32, so that both types hold the same numbers.
        let tensor = Tensor::from_vec(numbers, *shape, &Device::Cpu).unwrap().to_dtype(DType::F32).unwrap();
        Var::from_tensor(&tensor.to_dtype(dtype).unwrap()).unwrap()
    };
    shapes.iter().enumerate().map(variable).collect()
}

/// The result weighted and summed up, so that each of its numbers has a gradient of its own.
fn loss(out: &Tensor) -> Tensor {
    let weights = numbers(out.elem_count(), 99);
    let weights = Tensor::from_vec(weights, out.shape(), &Device::Cpu).unwrap().to_dtype(out.dtype()).unwrap();
    (out * weights).unwrap().sum_all().unwrap()
}

fn doubles(tensor: &Tensor) -> Vec<f64> {
    tensor.to_dtype(DType::F64).unwrap().flatten_all().unwrap().to_vec1().unwrap()
}

fn assert_close(what: &str, found: &[f64], wanted: &[f64], tolerance: f64) {
    assert_eq!(found.len(), wanted.len(), "{what}");
    let largest = wanted.iter().fold(1.0f64, |a, b| a.max(b.abs()));
    for (at, (found, wanted)) in found.iter().zip(wanted).enumerate() {
        assert!((found - wanted).abs() <= tolerance * largest, "{what}, number {at}: {found}, wanted {wanted}");
    }
}

/// The value of `f`, and the gradients of [`loss`] of it; every input must get one.
fn value_and_gradients(inputs: &[Var], f: &dyn Fn(&[Tensor]) -> Result<Tensor>) -> (Vec<f64>, Vec<Vec<f64>>) {
    let tensors: Vec<Tensor> = inputs.iter().map(|var| var.as_tensor().clone()).collect();
    let out = f(&tensors).unwrap();
    let gradients = loss(&out).backward().unwrap();
    let gradient = |(at, var): (usize, &Var)| {
        let gradient = doubles(gradients.get(var).unwrap_or_else(|| panic!("input {at} gets no gradient")));
        assert!(
            gradient.iter().all(|x| x.is_finite()) && gradient.iter().any(|&x| x != 0.0),
            "input {at}: {gradient:?}"
        );
        gradient
    };
    (doubles(&out), inputs.iter().enumerate().map(gradient).collect())
}

/// Holds `fused` and `composite` (both in `f32`) to the composite in `f64`, and that to finite differences.
pub(super) fn check(
    shapes: &[&[usize]],
    fused: &dyn Fn(&[Tensor]) -> Result<Tensor>,
    composite: &dyn Fn(&[Tensor]) -> Result<Tensor>,
) {
    let exact = variables(shapes, DType::F64);
    let (value, gradients) = value_and_gradients(&exact, composite);
    for (input, gradient) in gradients.iter().enumerate() {
        let start = doubles(&exact[input]);
        let wanted: Vec<f64> = (0..start.len())
            .map(|at| {
                let shifted = |step: f64| -> f64 {
                    let mut tensors: Vec<Tensor> = exact.iter().map(|var| var.as_detached_tensor()).collect();
                    let mut moved = start.clone();
                    moved[at] += step;
                    tensors[input] = Tensor::from_vec(moved, shapes[input], &Device::Cpu).unwrap();
                    loss(&composite(&tensors).unwrap()).to_scalar().unwrap()
                };
                (shifted(1e-5) - shifted(-1e-5)) / 2e-5
            })
            .collect();
        // Differences of f64 numbers of size 1 at a step of 1e-5.
        assert_close(&format!("composite, differences, input {input}"), gradient, &wanted, 1e-7);
    }
    let inputs = variables(shapes, DType::F32);
    for (name, f) in [("composite", composite), ("fused", fused)] {
        let (found, found_gradients) = value_and_gradients(&inputs, f);
        assert_close(name, &found, &value, 3e-6);
        for (input, (found, wanted)) in found_gradients.iter().zip(&gradients).enumerate() {
            assert_close(&format!("{name}, gradient of input {input}"), found, wanted, 2e-5);
        }
    }
}
