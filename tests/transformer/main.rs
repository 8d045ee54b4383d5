//! The transformer through its public names: what it computes, and what it keeps on disk.

#![cfg(feature = "transformer")]

mod cache;
mod folders;
mod golden;
mod layouts;
mod learning;
mod look;
mod paper;
mod parameters;
mod reference;

use candle_core::{Device, Tensor};

/// Rows of ids as the model takes them: `[B, T]`.
fn ids(rows: &[&[u32]]) -> Tensor {
    Tensor::from_vec(rows.concat(), (rows.len(), rows[0].len()), &Device::Cpu).unwrap()
}

fn floats(x: &Tensor) -> Vec<f32> {
    x.flatten_all().unwrap().to_vec1().unwrap()
}

/// The largest difference of two equally long lists of numbers.
fn difference(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len());
    a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
}

/// Tokens that look random and are the same every time: `n_rows` rows of `len` ids below `n_tokens`.
fn some_ids(n_rows: usize, len: usize, n_tokens: u32) -> Tensor {
    let numbers: Vec<u32> = (0..(n_rows * len) as u32).map(|i| (i * i * 7 + i * 13 + 5) % n_tokens).collect();
    Tensor::from_vec(numbers, (n_rows, len), &Device::Cpu).unwrap()
}
