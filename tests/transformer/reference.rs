//! A decoder as one would write it on paper: loops, 64 bits, no tensors. What the library computes is held against it.

use wordgrove::transformer::{Positions, Transformer};

use crate::floats;

/// Which earlier positions a position sees, and at which places it and they stand.
pub struct Sight {
    /// The first positions, seen by all.
    pub n_sinks: usize,
    /// The most recent positions that are seen, the own one among them.
    pub window: usize,
}

impl Sight {
    /// Pairs of a position and its place, for all that position `at` sees.
    fn places(&self, at: usize) -> Vec<(usize, usize)> {
        let seen: Vec<usize> = (0..=at).filter(|&j| j < self.n_sinks || at - j < self.window).collect();
        seen.into_iter().enumerate().map(|(place, position)| (position, place)).collect()
    }
}

/// The hidden vectors of a pre-norm decoder with tanh-GELU, `[T][C]`.
pub fn hidden(model: &Transformer, ids: &[u32], sight: &Sight) -> Vec<Vec<f64>> {
    let config = model.config();
    let width = config.d_model;
    let get =
        |name: &str| -> Vec<f64> { floats(model.parameters().get(name).unwrap()).into_iter().map(f64::from).collect() };
    let linear = |name: &str, x: &[f64]| -> Vec<f64> {
        let (weight, bias) = (get(&format!("{name}.weight")), get(&format!("{name}.bias")));
        let rows = weight.chunks(x.len()).zip(bias);
        rows.map(|(row, bias)| bias + row.iter().zip(x).map(|(w, x)| w * x).sum::<f64>()).collect()
    };
    let norm = |name: &str, x: &[f64]| -> Vec<f64> {
        let (gain, bias) = (get(&format!("{name}.gain")), get(&format!("{name}.bias")));
        let mean = x.iter().sum::<f64>() / x.len() as f64;
        let variance = x.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / x.len() as f64;
        let scale = (variance + config.norm_epsilon).sqrt();
        (0..x.len()).map(|i| (x[i] - mean) / scale * gain[i] + bias[i]).collect()
    };
    let tokens = get("tokens.weight");
    let mut rows: Vec<Vec<f64>> = ids
        .iter()
        .enumerate()
        .map(|(at, &id)| {
            let token = tokens[id as usize * width..][..width].iter();
            match config.positions {
                Positions::Learned => token.zip(&get("positions.weight")[at * width..]).map(|(a, b)| a + b).collect(),
                Positions::Sinusoidal => {
                    token.enumerate().map(|(i, x)| x + sinusoid(at, i / 2, i % 2 == 0, width)).collect()
                }
                Positions::SinusoidalHalves => {
                    let half = width / 2;
                    token.enumerate().map(|(i, x)| x + sinusoid(at, i % half, i < half, width)).collect()
                }
                Positions::Rotary => token.copied().collect(),
            }
        })
        .collect();
    for layer in 0..config.n_layers {
        let name = |part: &str| format!("decoder.{layer}.{part}");
        let qkv: Vec<Vec<f64>> =
            rows.iter().map(|x| linear(&name("attention.qkv"), &norm(&name("attention_norm"), x))).collect();
        let dim = config.head_dim();
        for (at, x) in rows.iter_mut().enumerate() {
            let places = sight.places(at);
            let own_place = places.len() - 1;
            let mut joined = Vec::new();
            for head in 0..config.n_heads {
                let part = |position: usize, block: usize| &qkv[position][block * width + head * dim..][..dim];
                let turned = |x: &[f64], place: usize| match config.positions {
                    Positions::Rotary => rotated(x, place),
                    _ => x.to_vec(),
                };
                let query = turned(part(at, 0), own_place);
                let scores: Vec<f64> = places
                    .iter()
                    .map(|&(position, place)| {
                        let key = turned(part(position, 1), place);
                        query.iter().zip(key).map(|(q, k)| q * k).sum::<f64>() / (dim as f64).sqrt()
                    })
                    .collect();
                let sum: f64 = scores.iter().map(|score| score.exp()).sum();
                joined.extend((0..dim).map(|i| {
                    let values = places.iter().zip(&scores);
                    values.map(|(&(position, _), score)| score.exp() / sum * part(position, 2)[i]).sum::<f64>()
                }));
            }
            let added = linear(&name("attention.output"), &joined);
            x.iter_mut().zip(added).for_each(|(x, added)| *x += added);
        }
        for x in &mut rows {
            let wide = linear(&name("feed_forward.up"), &norm(&name("feed_forward_norm"), x));
            let bent: Vec<f64> = wide
                .iter()
                .map(|&x| 0.5 * x * (1.0 + ((2.0 / std::f64::consts::PI).sqrt() * (x + 0.044715 * x.powi(3))).tanh()))
                .collect();
            let added = linear(&name("feed_forward.down"), &bent);
            x.iter_mut().zip(added).for_each(|(x, added)| *x += added);
        }
    }
    rows.iter().map(|x| norm("decoder.norm", x)).collect()
}

/// sin or cos of position / 10000^(2·pair / C).
fn sinusoid(position: usize, pair: usize, is_sine: bool, width: usize) -> f64 {
    let angle = position as f64 / 10_000_f64.powf(2.0 * pair as f64 / width as f64);
    if is_sine { angle.sin() } else { angle.cos() }
}

/// Numbers i and i + D/2 turned by place · 10000^(−2i/D).
fn rotated(x: &[f64], place: usize) -> Vec<f64> {
    let half = x.len() / 2;
    let angle = |i: usize| place as f64 * 10_000_f64.powf(-2.0 * i as f64 / x.len() as f64);
    let first = (0..half).map(|i| x[i] * angle(i).cos() - x[i + half] * angle(i).sin());
    let second = (0..half).map(|i| x[i + half] * angle(i).cos() + x[i] * angle(i).sin());
    first.chain(second).collect()
}
