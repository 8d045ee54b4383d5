//! The Huffman tree as an output layer: O(log V) per token instead of O(V), with exact probabilities.
//!
//! P(token | hidden) is the product over the token's path of σ(±hidden · node), + where the bit is 0, as in training.

use std::sync::Arc;

use candle_core::{DType, Device, Tensor};

use crate::error::{Error, Result};
use crate::huffman::HuffmanTree;
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
    let logits = hidden.detach().matmul(&nodes.detach().t()?)?.to_device(&Device::Cpu)?.to_dtype(DType::F32)?;
    let logits = logits.to_vec2::<f32>()?;
    let mut all = Vec::with_capacity(n_rows * n_tokens);
    for logits in logits {
        for id in 0..n_tokens as u32 {
            all.push((-std::f64::consts::LN_2 * tree.bits_of(TokenId(id), |n| f64::from(logits[n as usize]))) as f32);
        }
    }
    Ok(Tensor::from_vec(all, (n_rows, n_tokens), hidden.device())?.to_dtype(hidden.dtype())?)
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
