//! An encoder-decoder as one would compute it on paper: loops, 64 bits, no tensors, nothing but the parameters. What a trace
//! shows is held against it, step by step.

use std::collections::BTreeMap;

use wordgrove::transformer::Transformer;

use crate::floats;

type Rows = Vec<Vec<f64>>;

/// The way to a word through an encoder-decoder of one layer, two heads and six numbers a position.
pub struct Paper<'a> {
    model: &'a Transformer,
    /// The numbers of each step under its name; those of the heads one after the other.
    pub steps: BTreeMap<String, Rows>,
}

impl Paper<'_> {
    /// Nothing is computed yet.
    pub fn new(model: &Transformer) -> Paper<'_> {
        Paper { model, steps: BTreeMap::new() }
    }

    fn get(&self, name: &str) -> Vec<f64> {
        floats(self.model.parameters().get(name).unwrap()).into_iter().map(f64::from).collect()
    }

    fn note(&mut self, name: String, rows: &Rows) {
        assert!(self.steps.insert(name, rows.clone()).is_none());
    }

    /// Rows `block` to `block + n_out` of a weight and a bias.
    fn linear(&self, x: &Rows, name: &str, block: usize, n_out: usize) -> Rows {
        let (weight, bias) = (self.get(&format!("{name}.weight")), self.get(&format!("{name}.bias")));
        let width = x[0].len();
        let product =
            |x: &Vec<f64>, out: usize| (0..width).map(|i| x[i] * weight[out * width + i]).sum::<f64>() + bias[out];
        x.iter().map(|x| (block..block + n_out).map(|out| product(x, out)).collect()).collect()
    }

    fn add_and_norm(&mut self, layer: &str, part: &str, x: Rows, added: Rows) -> Rows {
        let sum: Rows = x.iter().zip(&added).map(|(a, b)| a.iter().zip(b).map(|(a, b)| a + b).collect()).collect();
        self.note(format!("{layer}.{part}_sum"), &sum);
        let name = format!("{layer}.{part}_norm");
        let (gain, bias) = (self.get(&format!("{name}.gain")), self.get(&format!("{name}.bias")));
        let (mut aside, mut normed) = (Rows::new(), Rows::new());
        for row in &sum {
            let mean = row.iter().sum::<f64>() / row.len() as f64;
            let variance = row.iter().map(|x| (x - mean) * (x - mean)).sum::<f64>() / row.len() as f64;
            let deviation = (variance + self.model.config().norm_epsilon).sqrt();
            aside.push(vec![mean, deviation]);
            normed.push((0..row.len()).map(|i| (row[i] - mean) / deviation * gain[i] + bias[i]).collect());
        }
        self.note(name, &aside.iter().chain(&normed).cloned().collect());
        normed
    }

    fn embed(&mut self, stack: &str, ids: &[u32]) -> Rows {
        let table = self.get("tokens.weight");
        let ids_rows: Rows = ids.iter().map(|&id| vec![f64::from(id)]).collect();
        let tokens: Rows = ids.iter().map(|&id| table[id as usize * 6..][..6].to_vec()).collect();
        let scaled: Rows = tokens.iter().map(|row| row.iter().map(|x| x * 6f64.sqrt()).collect()).collect();
        let angle = |p: usize, i: usize| p as f64 / 10_000f64.powf((i / 2 * 2) as f64 / 6.0);
        let wave = |p: usize, i: usize| if i.is_multiple_of(2) { angle(p, i).sin() } else { angle(p, i).cos() };
        let positions: Rows = (0..ids.len()).map(|p| (0..6).map(|i| wave(p, i)).collect()).collect();
        let sum: Rows = (0..ids.len()).map(|p| (0..6).map(|i| scaled[p][i] + positions[p][i]).collect()).collect();
        let named = [("ids", &ids_rows), ("tokens", &tokens), ("tokens_scaled", &scaled), ("positions", &positions)];
        for (name, rows) in named.into_iter().chain([("embedded", &sum)]) {
            self.note(format!("{stack}.{name}"), rows);
        }
        sum
    }

    fn attend(&mut self, at: &str, x: &Rows, y: &Rows, is_masked: bool) -> Rows {
        let name = |part: &str| format!("{at}.{part}");
        let is_cross = at.ends_with("cross");
        let (q, k, v) = match is_cross {
            true => (
                self.linear(x, &name("query"), 0, 6),
                self.linear(y, &name("key_value"), 0, 6),
                self.linear(y, &name("key_value"), 6, 6),
            ),
            false => {
                let [q, k, v] = [0, 6, 12].map(|block| self.linear(x, &name("qkv"), block, 6));
                (q, k, v)
            }
        };
        let head = |x: &Rows, h: usize| -> Rows { x.iter().map(|row| row[3 * h..3 * h + 3].to_vec()).collect() };
        let both = |x: &Rows| -> Rows { head(x, 0).into_iter().chain(head(x, 1)).collect() };
        for (part, x) in [("query", &q), ("key", &k), ("value", &v)] {
            self.note(name(part), &both(x));
        }
        let [mut scores, mut scaled, mut masked, mut shares, mut answers] = [const { Rows::new() }; 5];
        for h in 0..2 {
            let (q, k, v) = (head(&q, h), head(&k, h), head(&v, h));
            for (i, q) in q.iter().enumerate() {
                let row: Vec<f64> = k.iter().map(|k| (0..3).map(|c| q[c] * k[c]).sum()).collect();
                let divided: Vec<f64> = row.iter().map(|x| x / 3f64.sqrt()).collect();
                let hidden: Vec<f64> =
                    (0..k.len()).map(|j| if is_masked && j > i { f64::NEG_INFINITY } else { divided[j] }).collect();
                let total: f64 = hidden.iter().map(|x| x.exp()).sum();
                let share: Vec<f64> = hidden.iter().map(|x| x.exp() / total).collect();
                answers.push((0..3).map(|c| (0..v.len()).map(|j| share[j] * v[j][c]).sum()).collect());
                scores.push(row);
                scaled.push(divided);
                masked.push(hidden);
                shares.push(share);
            }
        }
        let n = x.len();
        let joined: Rows = (0..n).map(|i| [answers[i].clone(), answers[n + i].clone()].concat()).collect();
        for (part, rows) in
            [("scores", &scores), ("scaled", &scaled), ("probabilities", &shares), ("answers", &answers)]
        {
            self.note(name(part), rows);
        }
        if is_masked {
            self.note(name("masked"), &masked);
        }
        self.note(name("heads"), &joined);
        let output = self.linear(&joined, &name("output"), 0, 6);
        self.note(name("output"), &output);
        output
    }

    fn feed_forward(&mut self, layer: &str, x: Rows) -> Rows {
        let at = format!("{layer}.feed_forward");
        let up = self.linear(&x, &format!("{at}.up"), 0, 24);
        let bent: Rows = up.iter().map(|row| row.iter().map(|x| x.max(0.0)).collect()).collect();
        let down = self.linear(&bent, &format!("{at}.down"), 0, 6);
        for (part, rows) in [("up", &up), ("activation", &bent), ("down", &down)] {
            self.note(format!("{at}.{part}"), rows);
        }
        self.add_and_norm(layer, "feed_forward", x, down)
    }

    /// All of it; the probabilities by id.
    pub fn compute(&mut self, source: &[u32], target: &[u32]) -> Vec<f64> {
        let x = self.embed("encoder", source);
        let added = self.attend("encoder.0.attention", &x, &x, false);
        let x = self.add_and_norm("encoder.0", "attention", x, added);
        let read = self.feed_forward("encoder.0", x);
        let x = self.embed("decoder", target);
        let added = self.attend("decoder.0.attention", &x, &x, true);
        let x = self.add_and_norm("decoder.0", "attention", x, added);
        let added = self.attend("decoder.0.cross", &x, &read, false);
        let x = self.add_and_norm("decoder.0", "cross", x, added);
        let x = self.feed_forward("decoder.0", x);
        let last = x.last().unwrap();
        self.note("output.hidden".to_string(), &vec![last.clone()]);
        let (table, bias) =
            (self.get("tokens.weight"), self.model.parameters().get("output.bias").map(|bias| floats(bias)));
        let product = |(id, row): (usize, &[f64])| {
            row.iter().zip(last).map(|(w, h)| w * h).sum::<f64>() + bias.as_ref().map_or(0.0, |b| f64::from(b[id]))
        };
        let logits: Vec<f64> = table.chunks(6).enumerate().map(product).collect();
        let total: f64 = logits.iter().map(|x| x.exp()).sum();
        let probabilities: Vec<f64> = logits.iter().map(|x| x.exp() / total).collect();
        self.note("output.logits".to_string(), &vec![logits]);
        self.note("output.probabilities".to_string(), &vec![probabilities.clone()]);
        probabilities
    }
}
