//! Word vectors → the start of a transformer.
//!
//! In: a model of vectors and a transformer that nobody has trained yet. Out: the same transformer, its token table set to
//! the input vectors and, where its output layer is the Huffman tree, its nodes to the node vectors. Ids agree by
//! construction, so row i is row i.
//!
//! - Vectors of another length are [projected](projection), nodes by the same map, so that products of the two survive.
//! - The mean of all vectors is taken away: in a softmax it adds the same to every token's logit and cancels out.
//! - They are rescaled to the spread that the table starts with otherwise, because everything above expects that; nodes to
//!   that of the nodes.
//! - Tokens that the vectors' text never had (and marks, and the line feed) keep their random start; so do nodes that the
//!   vectors' tree does not [have](nodes).

mod nodes;
mod projection;

use candle_core::{Device, Tensor};

use crate::error::{Error, Result};
use crate::huffman::HuffmanTree;
use crate::transformer::config::TransformerConfig;
use crate::transformer::parameters::{NODE_SPREAD, Parameters, numbers};
use crate::vectors::Model;

use nodes::twins;
use projection::Projection;

/// What was planted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Planted {
    /// Rows of the token table that are vectors now.
    pub n_tokens: usize,
    /// Rows of the tree's table that are node vectors now; `None` where the output layer is no tree, or the model has no
    /// nodes.
    pub n_nodes: Option<usize>,
    /// Numbers in the vectors as they were.
    pub dim: usize,
}

/// Sets the token table, and the tree's nodes when `tree` is given, to the vectors of `model`.
///
/// `tree` is the transformer's own, over all its tokens. Row i of the vectors becomes row i of the table; there may be
/// more rows in the table. `seed` decides the rotation where vectors are shorter than d_model.
///
/// # Errors
/// [`Error::Config`] when the model has more tokens than the transformer, or nothing to plant.
pub fn plant(
    model: &Model,
    config: &TransformerConfig,
    parameters: &Parameters,
    tree: Option<&HuffmanTree>,
    seed: u64,
) -> Result<Planted> {
    let embeddings = &model.embeddings;
    let (n_rows, dim) = (embeddings.n_rows(), embeddings.dim());
    if n_rows > config.n_tokens {
        let path = model.path().display();
        let reason = format!("{path} has {n_rows} tokens, the transformer {}: use its tokenizer", config.n_tokens);
        return Err(Error::config("plant", reason));
    }
    let was_seen = |row: usize| {
        embeddings.counts().is_none_or(|counts| counts[row] > 0) && embeddings.row(row).iter().any(|&x| x != 0.0)
    };
    let seen: Vec<usize> = (0..n_rows).filter(|&row| was_seen(row)).collect();
    if seen.is_empty() {
        return Err(Error::config("plant", format!("{} has only vectors of zeros", model.path().display())));
    }
    let rows = seen.iter().map(|&row| embeddings.row(row));
    let projection = Projection::for_rows(rows.clone(), dim, config.d_model, seed);
    let mut images: Vec<Vec<f64>> = rows.map(|row| projection.apply(row)).collect();
    take_mean_away(&mut images);
    rescale(&mut images, config.token_spread());
    set_rows(parameters, "tokens.weight", config.d_model, seen.iter().copied().zip(images))?;

    let n_nodes = match (tree, &model.nodes, embeddings.counts()) {
        (Some(tree), Some(vectors), Some(counts)) => {
            let twins = twins(tree, &HuffmanTree::from_counts(counts)?, |id| counts[id.index()] > 0);
            let found = twins.iter().enumerate().filter_map(|(node, twin)| Some((node, (*twin)?)));
            let (places, mut images): (Vec<usize>, Vec<Vec<f64>>) = found
                .map(|(node, twin)| {
                    let sign = if twin.is_mirrored { -1.0 } else { 1.0 };
                    let image = projection.apply(vectors.row(twin.node)).into_iter().map(|x| sign * x).collect();
                    (node, image)
                })
                .unzip();
            rescale(&mut images, NODE_SPREAD);
            set_rows(parameters, "output.nodes", config.d_model, places.iter().copied().zip(images))?;
            Some(places.len())
        }
        _ => None,
    };
    Ok(Planted { n_tokens: seen.len(), n_nodes, dim })
}

fn take_mean_away(rows: &mut [Vec<f64>]) {
    let n_rows = rows.len() as f64;
    for column in 0..rows.first().map_or(0, Vec::len) {
        let mean = rows.iter().map(|row| row[column]).sum::<f64>() / n_rows;
        rows.iter_mut().for_each(|row| row[column] -= mean);
    }
}

/// Multiplies all rows with one number, so that the root of the mean square of all numbers is `spread`.
fn rescale(rows: &mut [Vec<f64>], spread: f64) {
    let n_numbers = rows.iter().map(Vec::len).sum::<usize>() as f64;
    let square: f64 = rows.iter().flatten().map(|x| x * x).sum();
    if square > 0.0 {
        let scale = spread / (square / n_numbers).sqrt();
        rows.iter_mut().flatten().for_each(|x| *x *= scale);
    }
}

/// Writes rows over those of a parameter.
fn set_rows(
    parameters: &Parameters,
    name: &str,
    len: usize,
    rows: impl Iterator<Item = (usize, Vec<f64>)>,
) -> Result<()> {
    let var = parameters.expect(name);
    let mut table = numbers(&var)?;
    for (at, row) in rows {
        for (x, y) in table[at * len..(at + 1) * len].iter_mut().zip(row) {
            *x = y as f32;
        }
    }
    Ok(var.set(&Tensor::from_vec(table, var.shape(), &Device::Cpu)?)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::math::Matrix;
    use crate::tokens::Tokenizer;
    use crate::transformer::config::{OutputLayer, Shape};
    use crate::vectors::ModelConfig;

    const COUNTS: [u64; 6] = [9, 0, 5, 4, 2, 1];

    /// A model of six tokens, the second of which was never seen.
    fn model(folder: &tempfile::TempDir, dim: usize) -> Model {
        let tokenizer = Tokenizer::from_words((b'a'..=b'f').map(|letter| vec![letter]).collect()).unwrap();
        let table = |n_rows: usize, sign: f32| {
            let mut table = Matrix::zeros(n_rows, dim);
            for row in (0..n_rows).filter(|&row| sign < 0.0 || row != 1) {
                for (column, x) in table.row_mut(row).iter_mut().enumerate() {
                    *x = sign * ((row * 7 + column * 3) % 11) as f32 + if row == column { 20.0 } else { 0.0 };
                }
            }
            table
        };
        let config = ModelConfig { tokens: "word".into(), dim, ..ModelConfig::default() };
        let path = folder.path().join("model");
        Model::save(&path, &tokenizer, &table(6, 1.0), Some(&table(5, -1.0)), &COUNTS, &config).unwrap();
        Model::open(&path).unwrap()
    }

    fn config(d_model: usize) -> TransformerConfig {
        let mut config = TransformerConfig::new(Shape::Decoder, 8);
        (config.d_model, config.n_heads, config.n_layers, config.output_layer) = (d_model, 2, 1, OutputLayer::Tree);
        config
    }

    fn rows(parameters: &Parameters, name: &str) -> Vec<Vec<f32>> {
        parameters.get(name).unwrap().to_vec2().unwrap()
    }

    #[test]
    fn what_was_seen_is_planted_centred_and_scaled_and_the_rest_keeps_its_start() {
        let folder = tempfile::tempdir().unwrap();
        let (model, config) = (model(&folder, 4), config(4));
        let parameters = Parameters::random(&config, 1).unwrap();
        let before = rows(&parameters, "tokens.weight");
        let planted = plant(&model, &config, &parameters, None, 1).unwrap();
        assert_eq!(planted, Planted { n_tokens: 5, n_nodes: None, dim: 4 });
        let after = rows(&parameters, "tokens.weight");
        for row in [1, 6, 7] {
            assert_eq!(after[row], before[row]);
        }
        let seen = [0, 2, 3, 4, 5];
        let square: f32 = seen.iter().flat_map(|&row| &after[row]).map(|x| x * x).sum();
        assert!(((square / 20.0).sqrt() - 0.02).abs() < 1e-6);
        // Differences keep their proportions.
        let (vectors, scale) = (&model.embeddings, (after[0][0] - after[2][0]) / (vectors_of(&model, 0, 2)));
        for (&a, &b) in seen.iter().zip(&seen[1..]) {
            let rows = after[a].iter().zip(&after[b]).zip(vectors.row(a).iter().zip(vectors.row(b)));
            for ((x, y), (u, v)) in rows {
                assert!((x - y - scale * (u - v)).abs() < 1e-6);
            }
        }
    }

    fn vectors_of(model: &Model, a: usize, b: usize) -> f32 {
        model.embeddings.row(a)[0] - model.embeddings.row(b)[0]
    }

    #[test]
    fn nodes_go_to_their_twins_and_products_survive_a_larger_d_model() {
        let folder = tempfile::tempdir().unwrap();
        let (model, config) = (model(&folder, 4), config(16));
        let parameters = Parameters::random(&config, 1).unwrap();
        let before = rows(&parameters, "output.nodes");
        // Two frequent marks more, which stand above all others; the old tree is a branch of the new one.
        let tree = HuffmanTree::from_counts(&[&COUNTS[..], &[30, 60]].concat()).unwrap();
        let planted = plant(&model, &config, &parameters, Some(&tree), 1).unwrap();
        // All but the one that parts the token that was never seen from another.
        assert_eq!(planted.n_nodes, Some(4));
        let (nodes, old) = (rows(&parameters, "output.nodes"), HuffmanTree::from_counts(&COUNTS).unwrap());
        let tokens = rows(&parameters, "tokens.weight");
        let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(x, y)| x * y).sum::<f32>();
        let mut ratios = Vec::new();
        for (node, twin) in twins(&tree, &old, |id| COUNTS[id.index()] > 0).into_iter().enumerate() {
            let Some(twin) = twin else {
                assert_eq!(nodes[node], before[node]);
                continue;
            };
            let sign = if twin.is_mirrored { -1.0 } else { 1.0 };
            let vector = |row: usize| model.embeddings.row(row);
            let difference: Vec<f32> = tokens[0].iter().zip(&tokens[2]).map(|(x, y)| x - y).collect();
            let wanted: Vec<f32> = vector(0).iter().zip(vector(2)).map(|(x, y)| x - y).collect();
            let old = model.nodes.as_ref().unwrap().row(twin.node);
            ratios.push(dot(&nodes[node], &difference) / (sign * dot(old, &wanted)));
        }
        assert!(ratios.iter().all(|ratio| (ratio / ratios[0] - 1.0).abs() < 1e-3), "{ratios:?}");
    }

    #[test]
    fn nodes_begin_with_the_spread_of_nodes_whatever_the_tokens_have() {
        let folder = tempfile::tempdir().unwrap();
        let model = model(&folder, 4);
        let config = TransformerConfig { scale_embedding: true, ..config(4) };
        let parameters = Parameters::random(&config, 1).unwrap();
        let tree = HuffmanTree::from_counts(&[&COUNTS[..], &[30, 60]].concat()).unwrap();
        plant(&model, &config, &parameters, Some(&tree), 1).unwrap();
        let spread = |rows: Vec<Vec<f32>>| {
            let all: Vec<f32> = rows.concat();
            (all.iter().map(|x| x * x).sum::<f32>() / all.len() as f32).sqrt()
        };
        // A few rows beside the planted ones keep their random start.
        let (tokens, nodes) = (spread(rows(&parameters, "tokens.weight")), spread(rows(&parameters, "output.nodes")));
        assert!((tokens - 0.5).abs() < 0.1 && (nodes - 0.02).abs() < 0.005, "{tokens} {nodes}");
    }

    #[test]
    fn a_model_of_more_tokens_is_refused_with_both_numbers() {
        let folder = tempfile::tempdir().unwrap();
        let model = model(&folder, 4);
        let small = TransformerConfig { n_tokens: 5, ..config(4) };
        let parameters = Parameters::random(&small, 1).unwrap();
        let error = plant(&model, &small, &parameters, None, 1).unwrap_err().to_string();
        assert!(error.contains("6 tokens") && error.contains("the transformer 5"), "{error}");
    }
}
