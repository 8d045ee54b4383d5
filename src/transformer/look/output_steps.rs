//! The steps of the output layer: logits and their softmax, or the way through the tree; and what is predicted.

use crate::error::Result;
use crate::tokens::{TokenId, Tokenizer};
use crate::transformer::config::{OutputLayer, Shape};
use crate::transformer::look::labelled_matrix::LabelledMatrix;
use crate::transformer::look::reading::ReadToken;
use crate::transformer::look::trace::{Candidate, Prediction, Story};
use crate::transformer::model::Transformer;

/// From the last vectors to the most probable tokens.
pub(super) fn tell_output(
    story: &mut Story<'_>,
    tokenizer: &Tokenizer,
    read: &[ReadToken],
    n_candidates: usize,
) -> Result<Vec<Prediction>> {
    let asked = story.seen.asked.clone();
    if asked.is_empty() {
        return Ok(Vec::new());
    }
    let config = story.transformer.config();
    let what = match config.shape {
        Shape::Encoder => "which token is hidden",
        Shape::Decoder | Shape::EncoderDecoder => "which token comes next",
    };
    story.begin(format!("output: {what}"));
    let labels: Vec<String> = asked.iter().map(|&at| read[at].token.clone()).collect();
    let last = tell_last(story, &asked, &labels);
    let logits = story.seen.expect("logits");
    let names: Vec<String> = (0..config.n_tokens as u32).map(|id| tokenizer.name(TokenId(id)).into_owned()).collect();
    let is_tree = config.output_layer == OutputLayer::Tree;
    let probabilities: Vec<f32> = match is_tree {
        true => logits.iter().map(|x| x.exp()).collect(),
        false => logits.chunks_exact(names.len()).flat_map(softmax).collect(),
    };
    let rows = probabilities.chunks_exact(names.len()).zip(&asked);
    let predictions: Vec<Prediction> = rows
        .map(|(row, &position)| Prediction { position, candidates: best(row, &names, n_candidates.max(1)) })
        .collect();
    if is_tree {
        tell_paths(story, &last, &predictions)?;
    } else {
        tell_logits(story, by_token(logits, &names, &labels, "logit"));
    }
    let formula = if is_tree { "for each token the product along its path" } else { "softmax: e^logit / Σ e^logit" };
    let matrices = by_token(&probabilities, &names, &labels, "probability");
    story.tell("output.probabilities".to_string(), "probabilities", formula, matrices, Vec::new());
    Ok(predictions)
}

/// The vectors that the prediction starts from, which it gives: a row for each position that is asked.
fn tell_last(story: &mut Story<'_>, asked: &[usize], labels: &[String]) -> Vec<f32> {
    let config = story.transformer.config();
    let (stack, formula) = match config.shape {
        Shape::Encoder => ("encoder", "h = the vectors of the hidden positions"),
        Shape::Decoder | Shape::EncoderDecoder => ("decoder", "h = the vector of the last position"),
    };
    let hidden = story.seen.expect(&format!("{stack}.hidden"));
    let last: Vec<f32> =
        asked.iter().flat_map(|&at| &hidden[at * config.d_model..][..config.d_model]).copied().collect();
    let matrix = LabelledMatrix::new("", labels, last.clone());
    story.tell("output.hidden".to_string(), "what the last layer left", formula, vec![matrix], Vec::new());
    let Some(transformed) = story.seen.get("output.transform") else { return last };
    let mut learned = story.linear(["W", "b"], "output.transform");
    learned.extend(["gain", "bias"].map(|part| story.learned(part, &format!("output.norm.{part}"))));
    let formula = format!("h = norm({}(h · Wᵀ + b))", config.activation);
    story.tell_seen("output.transform".to_string(), "one more layer", formula, labels, learned);
    transformed.to_vec()
}

fn tell_logits(story: &mut Story<'_>, matrices: Vec<LabelledMatrix>) {
    let (table, note) = match story.transformer.config().output_layer {
        OutputLayer::Free => ("output.weight", ""),
        OutputLayer::Tied | OutputLayer::Tree => ("tokens.weight", "; W is the token table itself"),
    };
    let mut learned = vec![story.learned("W", table)];
    let has_bias = story.transformer.parameters().get("output.bias").is_some();
    learned.extend(has_bias.then(|| story.learned("b", "output.bias")));
    let bias = if has_bias { " + b" } else { "" };
    let formula = format!("h · Wᵀ{bias}: the product with each token's row{note}");
    story.tell("output.logits".to_string(), "logits", formula, matrices, learned);
}

/// The way to the most probable token of each position. `last` are the vectors that it starts from.
fn tell_paths(story: &mut Story<'_>, last: &[f32], predictions: &[Prediction]) -> Result<()> {
    let rows = last.chunks_exact(story.transformer.config().d_model).zip(predictions);
    let matrices = rows.map(|(hidden, prediction)| path(story.transformer, hidden, &prediction.candidates[0]));
    let matrices = matrices.collect::<Result<Vec<_>>>()?;
    let nodes = story.learned("v", "output.nodes");
    let formula = "at each node: bit 0 with probability 1 / (1 + e^(−h · v)), bit 1 with the rest";
    story.tell("output.path".to_string(), "the way through the tree", formula, matrices, vec![nodes]);
    Ok(())
}

/// A matrix for each position that is asked, the tokens of the largest numbers first: of many thousands these count.
fn by_token(numbers: &[f32], names: &[String], labels: &[String], column: &str) -> Vec<LabelledMatrix> {
    let matrix = |(numbers, label): (&[f32], &String)| {
        let ids = by_falling(numbers);
        let rows: Vec<String> = ids.iter().map(|&id| names[id].clone()).collect();
        let numbers = ids.iter().map(|&id| numbers[id]).collect();
        let title = if labels.len() > 1 { format!("at {label}") } else { String::new() };
        LabelledMatrix::labelled(title, &rows, vec![column.to_string()], numbers)
    };
    numbers.chunks_exact(names.len()).zip(labels).map(matrix).collect()
}

/// The branches on the way to a token.
fn path(transformer: &Transformer, hidden: &[f32], to: &Candidate) -> Result<LabelledMatrix> {
    let tree = transformer.tree().expect("a tree output layer has its tree");
    let nodes = transformer.parameters().expect("output.nodes").as_detached_tensor();
    let path = tree.path(TokenId(to.id));
    let (mut rows, mut numbers, mut so_far) = (Vec::new(), Vec::new(), 1.0);
    for (&node, &bit) in path.nodes.iter().zip(path.bits) {
        let vector = nodes.get(node as usize)?.to_vec1::<f32>()?;
        let product: f64 = hidden.iter().zip(&vector).map(|(&h, &v)| f64::from(h) * f64::from(v)).sum();
        let toward_bit = if bit == 0 { product } else { -product };
        let probability = 1.0 / (1.0 + (-toward_bit).exp());
        so_far *= probability;
        rows.push(format!("node {node}, bit {bit}"));
        numbers.extend([product as f32, probability as f32, so_far as f32]);
    }
    let columns = ["h · v", "probability", "so far"].map(str::to_string).to_vec();
    Ok(LabelledMatrix::labelled(format!("to {}", to.token), &rows, columns, numbers))
}

/// Ids, the largest number first; equal ones by id.
fn by_falling(numbers: &[f32]) -> Vec<usize> {
    // What is no number is the best of nothing.
    let key = |id: usize| if numbers[id].is_nan() { f32::NEG_INFINITY } else { numbers[id] };
    let mut ids: Vec<usize> = (0..numbers.len()).collect();
    ids.sort_by(|&a, &b| key(b).total_cmp(&key(a)).then(a.cmp(&b)));
    ids
}

fn best(probabilities: &[f32], names: &[String], n: usize) -> Vec<Candidate> {
    let candidate =
        |id: usize| Candidate { id: id as u32, token: names[id].clone(), probability: f64::from(probabilities[id]) };
    by_falling(probabilities).into_iter().take(n).map(candidate).collect()
}

fn softmax(logits: &[f32]) -> Vec<f32> {
    let largest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let weights: Vec<f64> = logits.iter().map(|&x| f64::from(x - largest).exp()).collect();
    let sum: f64 = weights.iter().sum();
    weights.into_iter().map(|weight| (weight / sum) as f32).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_that_are_none_come_last() {
        let names = ["a", "b", "c"].map(str::to_string);
        let found = best(&[f32::NAN, 0.1, 0.9], &names, 9);
        assert_eq!(found.iter().map(|found| found.id).collect::<Vec<_>>(), [2, 1, 0]);
        assert!(softmax(&[f32::NAN, 1.0]).iter().all(|x| x.is_nan()));
        assert_eq!(softmax(&[0.0, 0.0]), [0.5, 0.5]);
    }
}
