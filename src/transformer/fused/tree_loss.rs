//! The Huffman tree as an output layer: O(log V) per token instead of O(V), with exact probabilities.
//!
//! P(token | hidden) is the product over the token's path of σ(±hidden · node), + where the bit is 0, as in training.

use std::sync::{Arc, Mutex};

use candle_core::{CpuStorage, CustomOp2, DType, Device, Layout, Shape, Tensor};
use rayon::prelude::*;

use super::slices::{Floats, floats, fusible, result, share, tracked};
use crate::error::{Error, Result};
use crate::huffman::HuffmanTree;
use crate::math::{Path, add_scaled, follow, scale};
use crate::tokens::TokenId;

/// The mean of −ln P(target | hidden) on the tree, in nats.
///
/// # Shapes
/// `hidden` `[N, C]`, `nodes` `[V − 1, C]`, `targets` u32 `[N]` → a scalar.
///
/// # Errors
/// [`Error::Config`] when the table does not fit the tree or a target is not below V.
pub fn tree_loss(hidden: &Tensor, nodes: &Tensor, tree: &Arc<HuffmanTree>, targets: &Tensor) -> Result<Tensor> {
    let targets = targets.to_device(&Device::Cpu)?.to_vec1::<u32>()?;
    check(nodes, tree)?;
    if let Some(&target) = targets.iter().find(|&&target| target as usize >= tree.n_tokens()) {
        return Err(Error::config("targets", format!("token {target}, the tree has {}", tree.n_tokens())));
    }
    let fits = hidden.dims() == [targets.len(), nodes.dim(1)?];
    if fits && fusible(&[hidden, nodes]) && hidden.elem_count() > 0 && tree.n_nodes() > 0 {
        let (asked, nodes_asked) = (tracked(&[hidden, nodes]), tracked(&[nodes]));
        let op = TreeLoss { tree: tree.clone(), targets, asked, nodes_asked, gradients: Mutex::new(None) };
        return Ok(hidden.contiguous()?.apply_op2(&nodes.contiguous()?, op)?);
    }
    composite(hidden, nodes, tree, &targets)
}

/// ln P of every token for every row of `hidden`: `[N, V]`, exact; each row's probabilities sum to 1.
///
/// No gradient flows through it: it is for choosing tokens. Train with [`tree_loss`].
///
/// # Errors
/// [`Error::Config`] when the table does not fit the tree.
pub fn tree_log_probabilities(hidden: &Tensor, nodes: &Tensor, tree: &HuffmanTree) -> Result<Tensor> {
    check(nodes, tree)?;
    let (n_rows, n_tokens) = (hidden.dim(0)?, tree.n_tokens());
    if tree.n_nodes() == 0 {
        return Ok(Tensor::zeros((n_rows, 1), hidden.dtype(), hidden.device())?);
    }
    let logits = super::linear(&hidden.detach(), &nodes.detach(), None)?;
    let logits = logits.to_device(&Device::Cpu)?.to_dtype(DType::F32)?.to_vec2::<f32>()?;
    let above = above(tree);
    let mut all = vec![0f32; n_rows * n_tokens];
    let rows = all.par_chunks_mut(n_tokens).zip(logits.par_iter());
    rows.for_each(|(all, logits)| {
        // ln P of reaching each node and then of each branch there. A parent's number is smaller, so it is known.
        let mut branches: Vec<[f64; 2]> = Vec::with_capacity(logits.len());
        for (&(parent, bit), &logit) in above.iter().zip(logits) {
            let here = branches.get(parent as usize).map_or(0.0, |branches| branches[usize::from(bit)]);
            let z = f64::from(logit);
            let small = (-z.abs()).exp().ln_1p();
            // ln σ(z) and ln σ(−z).
            branches.push([here - (-z).max(0.0) - small, here - z.max(0.0) - small]);
        }
        for (path, all) in tree.paths().zip(all) {
            let last = path.len() - 1;
            *all = branches[path.nodes[last] as usize][usize::from(path.bits[last])] as f32;
        }
    });
    Ok(Tensor::from_vec(all, (n_rows, n_tokens), hidden.device())?.to_dtype(hidden.dtype())?)
}

/// The parent of each inner node and the branch that leads from there to it; the root's parent is no node.
fn above(tree: &HuffmanTree) -> Vec<(u32, u8)> {
    let mut above = vec![(u32::MAX, 0); tree.n_nodes()];
    for path in tree.paths() {
        for (at, &node) in path.nodes.iter().enumerate().skip(1) {
            above[node as usize] = (path.nodes[at - 1], path.bits[at - 1]);
        }
    }
    above
}

fn check(nodes: &Tensor, tree: &HuffmanTree) -> Result<()> {
    let rows = nodes.dim(0)?;
    if rows != tree.n_nodes() {
        return Err(Error::config("nodes", format!("{rows} rows, the tree has {} inner nodes", tree.n_nodes())));
    }
    Ok(())
}

fn composite(hidden: &Tensor, nodes: &Tensor, tree: &HuffmanTree, targets: &[u32]) -> Result<Tensor> {
    let (mut rows, mut path_nodes, mut signs) = (Vec::new(), Vec::new(), Vec::new());
    for (row, &target) in targets.iter().enumerate() {
        let path = tree.path(TokenId(target));
        rows.extend(std::iter::repeat_n(row as u32, path.len()));
        path_nodes.extend_from_slice(path.nodes);
        // ln P falls by ln(1 + e^z), z = -hidden·node where the bit is 0.
        signs.extend(path.bits.iter().map(|&bit| f64::from(bit) * 2.0 - 1.0));
    }
    let n = rows.len();
    let device = hidden.device();
    if n == 0 {
        // A single token has probability 1, whatever the numbers are; they are kept in the graph all the same.
        return Ok((hidden.sum_all()? * 0.0)?);
    }
    let pick = |table: &Tensor, rows: Vec<u32>| table.index_select(&Tensor::from_vec(rows, n, device)?, 0);
    let products = (pick(hidden, rows)? * pick(nodes, path_nodes)?)?.sum(1)?;
    let z = (products * Tensor::from_vec(signs, n, device)?.to_dtype(hidden.dtype())?)?;
    // ln(1 + e^z) = z/2 + |z|/2 + ln(1 + e^-|z|): no overflow, and with candle's |z|' = 1 at 0 the gradient there is 1/2.
    let softplus = (((&z + z.abs()?)? * 0.5)? + (z.abs()?.neg()?.exp()? + 1.0)?.log()?)?;
    Ok((softplus.sum_all()? / targets.len().max(1) as f64)?)
}

struct TreeLoss {
    tree: Arc<HuffmanTree>,
    targets: Vec<u32>,
    /// Whether gradients are computed on the way forward.
    asked: bool,
    /// Whether that of the nodes is among them.
    nodes_asked: bool,
    gradients: Mutex<Option<Gradients>>,
}

/// For a loss that counts once.
struct Gradients {
    hidden: Vec<f32>,
    /// Where they are asked for.
    nodes: Option<Vec<f32>>,
}

/// A row that passed a node, and the slope of its loss along their product.
#[derive(Clone, Copy)]
struct Passage {
    node: u32,
    row: u32,
    gain: f32,
}

impl TreeLoss {
    fn compute(&self, hidden: &[f32], nodes: &[f32], asked: bool) -> (f64, Option<Gradients>) {
        let width = hidden.len() / self.targets.len();
        let weight = 1.0 / self.targets.len() as f32;
        let mut of_hidden = vec![0.0; if asked { hidden.len() } else { 0 }];
        let rows = share(self.targets.len(), rayon::current_num_threads());
        // One piece of the gradient for each piece of the rows, or none at all.
        let mut pieces_of_hidden: Vec<&mut [f32]> = of_hidden.chunks_mut(rows * width).collect();
        pieces_of_hidden.resize_with(self.targets.len().div_ceil(rows), Default::default);
        let pieces = hidden.par_chunks(rows * width).zip(self.targets.par_chunks(rows)).zip(pieces_of_hidden);
        let pieces = pieces.enumerate().map(|(piece, ((hidden, targets), of_hidden))| {
            let (mut nats, mut passages, mut gains) = (0.0, Vec::new(), Vec::new());
            for (row, (hidden, &target)) in hidden.chunks_exact(width).zip(targets).enumerate() {
                let path = self.tree.path(TokenId(target));
                gains.clear();
                gains.resize(path.len(), 0.0);
                nats += follow(hidden, Path { nodes, passed: path.nodes, bits: path.bits }, &mut gains);
                if asked {
                    let of_row = &mut of_hidden[row * width..][..width];
                    for (&node, gain) in path.nodes.iter().zip(&gains) {
                        let gain = gain * weight;
                        add_scaled(of_row, &nodes[node as usize * width..][..width], gain);
                        passages.push(Passage { node, row: (piece * rows + row) as u32, gain });
                    }
                }
            }
            (nats, passages)
        });
        let pieces: Vec<(f64, Vec<Passage>)> = pieces.collect();
        let nats: f64 = pieces.iter().map(|(nats, _)| nats).sum();
        let loss = nats / self.targets.len() as f64;
        if !asked {
            return (loss, None);
        }
        if !self.nodes_asked {
            return (loss, Some(Gradients { hidden: of_hidden, nodes: None }));
        }
        let mut passages: Vec<Passage> = pieces.into_iter().flat_map(|(_, passages)| passages).collect();
        // By node, then by row: each node's rows are summed by one worker, in an order that does not depend on them.
        passages.par_sort_unstable_by_key(|passage| (passage.node, passage.row));
        let mut of_nodes = vec![0.0; nodes.len()];
        add_passages(&passages, hidden, width, 0, &mut of_nodes);
        (loss, Some(Gradients { hidden: of_hidden, nodes: Some(of_nodes) }))
    }
}

/// Adds gain · row to each node's gradient; `of_nodes` begins at node `first_node`. Halves are done side by side.
fn add_passages(passages: &[Passage], hidden: &[f32], width: usize, first_node: usize, of_nodes: &mut [f32]) {
    let middle = passages.len() / 2;
    let cut = passages.partition_point(|passage| passage.node < passages[middle].node);
    if passages.len() > 2048 && cut > 0 {
        let node = passages[cut].node as usize;
        let (left, right) = of_nodes.split_at_mut((node - first_node) * width);
        rayon::join(
            || add_passages(&passages[..cut], hidden, width, first_node, left),
            || add_passages(&passages[cut..], hidden, width, node, right),
        );
        return;
    }
    for passage in passages {
        let to = &mut of_nodes[(passage.node as usize - first_node) * width..][..width];
        add_scaled(to, &hidden[passage.row as usize * width..][..width], passage.gain);
    }
}

impl CustomOp2 for TreeLoss {
    fn name(&self) -> &'static str {
        "tree loss"
    }

    fn cpu_fwd(
        &self,
        hidden: &CpuStorage,
        hidden_layout: &Layout,
        nodes: &CpuStorage,
        nodes_layout: &Layout,
    ) -> candle_core::Result<(CpuStorage, Shape)> {
        let (loss, gradients) = self.compute(floats(hidden, hidden_layout)?, floats(nodes, nodes_layout)?, self.asked);
        *self.gradients.lock().map_err(|_| candle_core::Error::Msg("a loss panicked before".into()))? = gradients;
        result(vec![loss as f32], ())
    }

    fn bwd(
        &self,
        hidden: &Tensor,
        nodes: &Tensor,
        _: &Tensor,
        gradient: &Tensor,
    ) -> candle_core::Result<(Option<Tensor>, Option<Tensor>)> {
        let factor = gradient.to_scalar::<f32>()?;
        let kept = self.gradients.lock().map_err(|_| candle_core::Error::Msg("a loss panicked before".into()))?.take();
        let gradients = match kept {
            Some(gradients) => Some(gradients),
            // They are asked for a second time.
            None => self.compute(&Floats::of(hidden)?, &Floats::of(nodes)?, true).1,
        };
        let Some(mut gradients) = gradients else { candle_core::bail!("a loss has no gradient") };
        if factor != 1.0 {
            scale(&mut gradients.hidden, factor);
            gradients.nodes.iter_mut().for_each(|of_nodes| scale(of_nodes, factor));
        }
        let of_nodes = gradients.nodes.map(|of_nodes| Tensor::from_vec(of_nodes, nodes.shape(), nodes.device()));
        Ok((Some(Tensor::from_vec(gradients.hidden, hidden.shape(), hidden.device())?), of_nodes.transpose()?))
    }
}

#[cfg(test)]
mod tests {
    use super::super::gradient_check::{check, numbers};
    use super::*;

    fn targets(list: &[u32]) -> Tensor {
        Tensor::new(list, &Device::Cpu).unwrap()
    }

    #[test]
    fn values_and_gradients_are_those_of_the_definition() {
        for counts in [&[3, 1][..], &[9, 5, 3, 2, 1, 1]] {
            let tree = Arc::new(HuffmanTree::from_counts(counts).unwrap());
            let list: Vec<u32> = (0..9).map(|i| i * 5 % counts.len() as u32).collect();
            let fused = |x: &[Tensor]| tree_loss(&x[0], &x[1], &tree, &targets(&list));
            let defined = |x: &[Tensor]| composite(&x[0], &x[1], &tree, &list);
            check(&[&[9, 5], &[counts.len() - 1, 5]], &fused, &defined);
        }
    }

    #[test]
    fn nodes_of_zeros_have_the_right_gradient_either_way() {
        let tree = Arc::new(HuffmanTree::from_counts(&[2, 1, 1]).unwrap());
        let hidden = candle_core::Var::ones((1, 2), DType::F32, &Device::Cpu).unwrap();
        let nodes = candle_core::Var::zeros((2, 2), DType::F32, &Device::Cpu).unwrap();
        let list = targets(&[1]);
        for loss in
            [tree_loss(&hidden, &nodes, &tree, &list).unwrap(), composite(&hidden, &nodes, &tree, &[1]).unwrap()]
        {
            assert!((loss.to_scalar::<f32>().unwrap() - 4f32.ln()).abs() < 1e-6, "two questions, both open");
            let gradients = loss.backward().unwrap();
            let found = gradients.get(&nodes).unwrap().to_vec2::<f32>().unwrap();
            let path = tree.path(TokenId(1));
            for (&node, &bit) in path.nodes.iter().zip(path.bits) {
                let wanted = 0.5 - f32::from(1 - bit);
                assert_eq!(found[node as usize], [wanted; 2]);
            }
        }
    }

    #[test]
    fn many_rows_give_what_the_definition_gives_and_the_probabilities_are_the_same_exactly() {
        let counts: Vec<u64> = (0..300).map(|i| 1 + 30_000 / (i + 1)).collect();
        let tree = Arc::new(HuffmanTree::from_counts(&counts).unwrap());
        let var = |n: usize, seed: u64| {
            let fill: Vec<f32> = numbers(n * 16, seed).iter().map(|&x| x as f32).collect();
            candle_core::Var::from_tensor(&Tensor::from_vec(fill, (n, 16), &Device::Cpu).unwrap()).unwrap()
        };
        let (hidden, nodes) = (var(500, 1), var(299, 2));
        let list: Vec<u32> = (0..500u32).map(|i| i * i % 300).collect();
        let fused = tree_loss(&hidden, &nodes, &tree, &targets(&list)).unwrap();
        let defined = composite(&hidden, &nodes, &tree, &list).unwrap();
        let (found, wanted) = (fused.backward().unwrap(), defined.backward().unwrap());
        for var in [&hidden, &nodes] {
            let difference = (found.get(var).unwrap() - wanted.get(var).unwrap()).unwrap().abs().unwrap();
            assert!(difference.max_all().unwrap().to_scalar::<f32>().unwrap() < 1e-6);
        }
        let all = tree_log_probabilities(&hidden, &nodes, &tree).unwrap().to_vec2::<f32>().unwrap();
        let mut nats = 0.0;
        for (row, &target) in all.iter().zip(&list) {
            let sum: f64 = row.iter().map(|&x| f64::from(x).exp()).sum();
            assert!((sum - 1.0).abs() < 1e-5, "{sum}");
            nats -= f64::from(row[target as usize]);
        }
        assert!((nats / 500.0 - f64::from(fused.to_scalar::<f32>().unwrap())).abs() < 1e-4);
    }

    #[test]
    fn far_beyond_what_a_sigmoid_can_tell_apart_the_loss_is_the_product_itself() {
        // F5: e^-10000 is 0, and a gradient that came from it would be lost, or not a number.
        let tree = Arc::new(HuffmanTree::from_counts(&[2, 1]).unwrap());
        let var = |x: f32| candle_core::Var::from_vec(vec![x], (1, 1), &Device::Cpu).unwrap();
        for (sign, token) in [(1f32, 0), (1.0, 1), (-1.0, 0), (-1.0, 1)] {
            let (hidden, nodes) = (var(100.0), var(sign * 100.0));
            // Where the bit is 0, a positive product is certain.
            let is_right = (sign > 0.0) == (tree.path(TokenId(token)).bits[0] == 0);
            let all = tree_log_probabilities(&hidden, &nodes, &tree).unwrap().to_vec2::<f32>().unwrap();
            let wanted = if is_right { 0.0 } else { 10_000.0 };
            assert_eq!(all[0][token as usize], -wanted);
            let list = targets(&[token]);
            for loss in [
                tree_loss(&hidden, &nodes, &tree, &list).unwrap(),
                composite(&hidden, &nodes, &tree, &[token]).unwrap(),
            ] {
                assert_eq!(loss.to_scalar::<f32>().unwrap(), wanted);
                let gradients = loss.backward().unwrap();
                let gradient = |var: &candle_core::Var| gradients.get(var).unwrap().to_vec2::<f32>().unwrap()[0][0];
                let (of_hidden, of_nodes) = (gradient(&hidden), gradient(&nodes));
                match is_right {
                    true => assert_eq!((of_hidden, of_nodes), (0.0, 0.0)),
                    false => assert_eq!((of_hidden.abs(), of_nodes.abs()), (100.0, 100.0)),
                }
            }
        }
    }

    #[test]
    fn one_token_is_certain_and_tables_and_targets_that_do_not_fit_are_refused() {
        // F5
        let one = Arc::new(HuffmanTree::from_counts(&[7]).unwrap());
        let hidden = Tensor::ones((2, 3), DType::F32, &Device::Cpu).unwrap();
        let none = Tensor::zeros((0, 3), DType::F32, &Device::Cpu).unwrap();
        assert_eq!(tree_loss(&hidden, &none, &one, &targets(&[0, 0])).unwrap().to_scalar::<f32>().unwrap(), 0.0);
        let all = tree_log_probabilities(&hidden, &none, &one).unwrap();
        assert_eq!(all.to_vec2::<f32>().unwrap(), [[0.0], [0.0]]);
        let tree = Arc::new(HuffmanTree::from_counts(&[7, 1]).unwrap());
        assert!(matches!(tree_loss(&hidden, &none, &tree, &targets(&[0, 0])), Err(Error::Config { .. })));
        let nodes = Tensor::zeros((1, 3), DType::F32, &Device::Cpu).unwrap();
        assert!(matches!(tree_loss(&hidden, &nodes, &tree, &targets(&[0, 2])), Err(Error::Config { .. })));
    }
}
