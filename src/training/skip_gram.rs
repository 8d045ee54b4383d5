//! Skip-gram: every context for itself predicts the center.

use crate::huffman::TreePath;
use crate::math::{LogisticBlock, Machine, Step};
use crate::training::sentence::Sentence;

/// Nodes below this number are taken to be in the nearest cache already: most steps pass through them.
const HOT_NODES: u32 = 256;

/// Slides the window over a sentence; returns how many (center, context) pairs were predicted.
///
/// All contexts of a center walk down the center's path together, so the row of a path node is loaded once for all.
#[inline(always)]
pub(crate) fn sweep<M: Machine>(
    m: M,
    block: &mut LogisticBlock<'_>,
    sentence: &Sentence<'_>,
    contexts: &mut Vec<u32>,
    step: Step,
) -> u64 {
    let mut n_pairs = 0;
    for center in 0..sentence.ids().len() {
        if let Some(path) = begin(m, block, sentence, contexts, center) {
            block.set_path(path.nodes, path.bits);
            block.step_inputs(m, contexts, step);
            n_pairs += contexts.len() as u64;
        }
    }
    n_pairs
}

/// Asks for the rows of the next centers before they are needed, and collects the contexts of this one; `None` when it
/// has none.
#[inline(always)]
pub(crate) fn begin<'a, M: Machine>(
    m: M,
    block: &LogisticBlock<'_>,
    sentence: &Sentence<'a>,
    contexts: &mut Vec<u32>,
    center: usize,
) -> Option<TreePath<'a>> {
    // Far enough ahead for memory to answer, near enough to be still in the cache when it is needed. An input row is
    // first needed when it enters the widest window.
    const OUTPUT_AHEAD: usize = 1;
    const INPUT_AHEAD: usize = 7;
    let ids = sentence.ids();
    if let Some(path) = sentence.path(center + OUTPUT_AHEAD) {
        for &node in path.nodes.iter().rev().take_while(|&&node| node >= HOT_NODES) {
            block.prefetch_output(m, node);
        }
    }
    if let Some(&next) = ids.get(center + INPUT_AHEAD) {
        block.prefetch_input(m, next);
    }
    let window = sentence.window(center);
    contexts.clear();
    contexts.extend_from_slice(&ids[window.start..center]);
    contexts.extend_from_slice(&ids[center + 1..window.end]);
    if contexts.is_empty() { None } else { sentence.path(center) }
}
