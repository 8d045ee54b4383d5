//! Skip-gram: every context for itself predicts the center.

use crate::huffman::HuffmanTree;
use crate::math::{LogisticBlock, Machine, Step};
use crate::tokens::TokenId;
use crate::training::sentence::Sentence;

/// Nodes below this number are taken to be in the nearest cache already: most steps pass through them.
pub(crate) const HOT_NODES: u32 = 256;

/// Slides the window over a sentence; returns how many (center, context) pairs were predicted.
///
/// All contexts of a center walk down the center's path together, so the row of a path node is loaded once for all.
#[inline(always)]
pub(crate) fn sweep<M: Machine>(
    m: M,
    block: &mut LogisticBlock<'_>,
    tree: &HuffmanTree,
    sentence: &Sentence,
    contexts: &mut Vec<u32>,
    step: Step,
) -> u64 {
    let ids = sentence.ids();
    let mut n_pairs = 0;
    for center in 0..ids.len() {
        prefetch(m, block, tree, sentence, center);
        let window = sentence.window(center);
        contexts.clear();
        contexts.extend_from_slice(&ids[window.start..center]);
        contexts.extend_from_slice(&ids[center + 1..window.end]);
        if contexts.is_empty() {
            continue;
        }
        let path = tree.path(TokenId(ids[center]));
        block.set_path(path.nodes, path.bits);
        block.step_inputs(m, contexts, step);
        n_pairs += contexts.len() as u64;
    }
    n_pairs
}

/// Asks for the rows of the next centers before they are needed.
#[inline(always)]
pub(crate) fn prefetch<M: Machine>(
    m: M,
    block: &LogisticBlock<'_>,
    tree: &HuffmanTree,
    sentence: &Sentence,
    center: usize,
) {
    const AHEAD_OUTPUT: usize = 1;
    const AHEAD_INPUT: usize = 7;
    let ids = sentence.ids();
    if let Some(&next) = ids.get(center + AHEAD_OUTPUT) {
        for &node in tree.path(TokenId(next)).nodes.iter().rev().take_while(|&&node| node >= HOT_NODES) {
            block.prefetch_output(m, node);
        }
    }
    if let Some(&next) = ids.get(center + AHEAD_INPUT) {
        block.prefetch_input(m, next);
    }
}
