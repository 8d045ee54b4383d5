//! What a training step of a small transformer costs, and its parts.
//!
//! `cargo bench --bench transformer -- step FOLDER`: one line of JSON per training step with the model and the batches that
//! `transformer_peers.py` beside this file wrote there; that script runs it next to PyTorch.
//! `-- gradients FOLDER`: writes the gradients of the first batch to `gradients.safetensors` there.
//! `-- generate FOLDER`: goes on greedily from the beginning of each batch's first text until the context is full; a line of
//! JSON each.
//! `-- attention`: milliseconds and peak memory of attention over the length, plain and tiled.
//! `-- head`: microseconds per token of the two output layers at 8192 and 32768 tokens.

#[path = "clock.rs"]
mod clock;
#[path = "peak.rs"]
mod peak;

use std::collections::{BTreeMap, HashMap};
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

use candle_core::{Device, Result, Tensor, Var};
use clock::Clock;
use peak::peak_mebibytes;
use wordgrove::HuffmanTree;
use wordgrove::tokens::TokenId;
use wordgrove::transformer::fused::{AttentionKind, Mask, attention, softmax_loss, tree_loss};
use wordgrove::transformer::optimizer::{AdamW, AdamWConfig};
use wordgrove::transformer::{Checkpoint, GenerateConfig, Pass, Sampling, Transformer, generate};

const HEADS: usize = 8;
const WIDTH: usize = 256;
const CONTEXT: usize = 128;
const BATCH: usize = 8;

fn main() -> std::result::Result<(), Failure> {
    wordgrove::transformer::settle_environment();
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    match &arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["step", folder] => steps(folder)?,
        ["gradients", folder] => first_gradients(folder)?,
        ["generate", folder] => texts(folder)?,
        ["attention"] => {
            for n in [256, 1024, 4096, 16384] {
                for kind in ["plain", "tiled"] {
                    // A process of its own, so that the peak of memory is its own.
                    let n = n.to_string();
                    std::process::Command::new(std::env::current_exe()?).args(["attention", kind, &n]).status()?;
                }
            }
        }
        ["attention", kind, n] => one_attention(kind, n.parse()?)?,
        ["head"] => heads()?,
        _ => eprintln!(
            "usage: cargo bench --bench transformer -- step FOLDER | gradients FOLDER | generate FOLDER | attention | head"
        ),
    }
    Ok(())
}

type Failure = Box<dyn std::error::Error>;

/// Inputs `[B, T]` → the loss.
fn loss(model: &Transformer, inputs: &Tensor, targets: &Tensor) -> wordgrove::Result<Tensor> {
    // Gradients, but nothing dropped.
    let mut pass = Pass::differentiating();
    let hidden = model.decode(inputs, &mut pass)?;
    model.loss(&hidden, targets, None, &mut pass)
}

fn model(folder: &str) -> std::result::Result<(Transformer, BTreeMap<String, Var>), Failure> {
    let model = Checkpoint::open(Path::new(folder))?.transformer;
    let parameters = model.parameters().iter().map(|(name, var)| (name.to_string(), var.clone())).collect();
    Ok((model, parameters))
}

/// Inputs and targets of each batch, `[B, T]`.
fn batches(folder: &str) -> std::result::Result<Vec<(Tensor, Tensor)>, Failure> {
    let bytes = std::fs::read(format!("{folder}/batches.bin"))?;
    let ids: Vec<u32> = bytes.chunks_exact(4).map(|id| u32::from_le_bytes([id[0], id[1], id[2], id[3]])).collect();
    let batch = |ids: &[u32]| {
        let batch = Tensor::from_slice(ids, (BATCH, CONTEXT + 1), &Device::Cpu)?;
        Ok((batch.narrow(1, 0, CONTEXT)?, batch.narrow(1, 1, CONTEXT)?))
    };
    Ok(ids.chunks_exact(BATCH * (CONTEXT + 1)).map(batch).collect::<Result<_>>()?)
}

fn first_gradients(folder: &str) -> std::result::Result<(), Failure> {
    let (model, parameters) = model(folder)?;
    let (inputs, targets) = &batches(folder)?[0];
    let gradients = loss(&model, inputs, targets)?.backward()?;
    let gradients =
        parameters.iter().map(|(name, var)| Ok((name.as_str(), gradients.get(var).ok_or(name.clone())?.clone())));
    let gradients = gradients.collect::<std::result::Result<HashMap<_, _>, Failure>>()?;
    Ok(candle_core::safetensors::save(&gradients, format!("{folder}/gradients.safetensors"))?)
}

fn steps(folder: &str) -> std::result::Result<(), Failure> {
    let (model, parameters) = model(folder)?;
    let mut optimizer = AdamW::new(&parameters, AdamWConfig::default(), AdamW::matrices_decay)?;
    for (inputs, targets) in batches(folder)? {
        let clock = Clock::start();
        let loss = loss(&model, &inputs, &targets)?;
        let forward = clock.read().1;
        let gradients = loss.backward()?;
        let backward = clock.read().1;
        let norm = optimizer.step(&gradients, 3e-4)?;
        let loss = loss.to_scalar::<f32>()?;
        drop(gradients);
        let (cpu, wall) = clock.read();
        let (backward, optimizer) = (backward - forward, wall - backward);
        println!(
            r#"{{"loss": {loss}, "norm": {norm}, "wall": {wall}, "cpu": {cpu}, "forward": {forward}, "backward": {backward}, "optimizer": {optimizer}}}"#
        );
    }
    Ok(())
}

/// Token by token with a cache, as `wordgrove transformer generate` does it. The reading of the prompt is not timed.
fn texts(folder: &str) -> std::result::Result<(), Failure> {
    const PROMPT: usize = 16;
    let (model, _) = model(folder)?;
    let config = GenerateConfig { sampling: Sampling::GREEDY, ..GenerateConfig::default() };
    for (inputs, _) in batches(folder)? {
        let prompt: Vec<u32> = inputs.narrow(0, 0, 1)?.narrow(1, 0, PROMPT)?.flatten_all()?.to_vec1()?;
        let prompt: Vec<TokenId> = prompt.into_iter().map(TokenId).collect();
        let (mut ids, mut clock) = (Vec::new(), None);
        generate(&model, &prompt, &config, &mut |id| {
            // From the first new token to the last one that fits.
            clock.get_or_insert_with(Clock::start);
            ids.push(id.0);
            Ok(if PROMPT + ids.len() == CONTEXT { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
        })?;
        let (cpu, wall) = clock.ok_or("no token came")?.read();
        println!(r#"{{"ids": {ids:?}, "n": {}, "wall": {wall}, "cpu": {cpu}}}"#, ids.len() - 1);
    }
    Ok(())
}

fn random(shape: &[usize], seed: u32) -> Result<Var> {
    let mut state = seed.wrapping_mul(2_654_435_769) | 1;
    let numbers: Vec<f32> = (0..shape.iter().product())
        .map(|_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 8) as f32 / (1 << 23) as f32 - 1.0
        })
        .collect();
    Var::from_tensor(&Tensor::from_vec(numbers, shape, &Device::Cpu)?)
}

fn one_attention(kind: &str, n: usize) -> std::result::Result<(), Failure> {
    let how = if kind == "plain" { AttentionKind::Plain } else { AttentionKind::Tiled };
    let [q, k, v] = [1, 2, 3].map(|seed| random(&[1, n, WIDTH], seed));
    let (q, k, v) = (q?, k?, v?);
    let before = peak_mebibytes();
    let clock = Clock::start();
    let out = attention(&q, &k, &v, HEADS, &Mask::CAUSAL, how, None)?;
    let forward = clock.read().0;
    let gradients = out.sum_all()?.backward()?;
    let both = clock.read().0;
    drop(gradients);
    println!(
        "n = {n:5} {kind}: forward {:8.1} ms, backward {:8.1} ms of CPU, {:5} MiB above the inputs",
        forward * 1e3,
        (both - forward) * 1e3,
        peak_mebibytes() - before
    );
    Ok(())
}

fn heads() -> std::result::Result<(), Failure> {
    let n = BATCH * CONTEXT;
    for n_tokens in [8192usize, 32768] {
        // Zipf's law, the shape of text: token i is drawn in proportion to its count.
        let counts: Vec<u64> = (0..n_tokens as u64).map(|i| 10_000_000 / (i + 1)).collect();
        let total: u64 = counts.iter().sum();
        let tree = Arc::new(HuffmanTree::from_counts(&counts)?);
        let mut state = 1u64;
        let targets: Vec<u32> = (0..n)
            .map(|_| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                let mut drawn = (state >> 16) % total;
                let place = counts.iter().position(|&count| {
                    let here = drawn < count;
                    drawn = drawn.saturating_sub(count);
                    here
                });
                place.unwrap_or(0) as u32
            })
            .collect();
        let targets = Tensor::from_vec(targets, n, &Device::Cpu)?;
        let hidden = random(&[n, WIDTH], 1)?;
        let (table, nodes) = (random(&[n_tokens, WIDTH], 2)?, random(&[n_tokens - 1, WIDTH], 3)?);
        let mut medians = Vec::new();
        for name in ["softmax", "tree"] {
            let (mut times, mut forwards) = (Vec::new(), Vec::new());
            for _ in 0..7 {
                let clock = Clock::start();
                let loss = match name {
                    "softmax" => softmax_loss(&hidden, &table, None, &targets, None)?,
                    _ => tree_loss(&hidden, &nodes, &tree, &targets)?,
                };
                forwards.push(clock.read().0);
                loss.backward()?;
                times.push(clock.read().0);
            }
            let median = |times: &mut Vec<f64>| {
                times.sort_by(f64::total_cmp);
                times[times.len() / 2] / n as f64 * 1e6
            };
            let (forward, both) = (median(&mut forwards), median(&mut times));
            let rest = both - forward;
            println!(
                "{n_tokens} tokens, {name}: {forward:.2} µs of CPU per token for loss and gradients, {rest:.2} to add them up"
            );
            medians.push(both);
        }
        println!("{n_tokens} tokens: the softmax costs {:.1} times the tree", medians[0] / medians[1]);
    }
    Ok(())
}
