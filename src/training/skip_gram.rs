//! Skip-gram: every context for itself predicts the center.

use crate::math::{Classifiers, LogisticBlock, Machine, Step};
use crate::training::sentence::Sentence;

/// Slides the window over a sentence; returns how many (center, context) pairs were predicted.
///
/// All contexts of a center walk down the center's path together, so the row of a path node is loaded once for all.
#[inline(always)]
pub(crate) fn sweep<M: Machine>(m: M, block: &mut LogisticBlock<'_>, sentence: &Sentence<'_>, step: Step) -> u64 {
    let mut n_pairs = 0;
    for center in 0..sentence.len() {
        prefetch(m, block, sentence, center);
        let contexts = sentence.contexts(center);
        if contexts.len() > 0 {
            block.step_inputs(m, sentence.classifiers(center), contexts, step);
            n_pairs += contexts.len() as u64;
        }
    }
    n_pairs
}

/// Asks for the rows of the next centers before they are needed.
#[inline(always)]
pub(crate) fn prefetch<M: Machine>(m: M, block: &LogisticBlock<'_>, sentence: &Sentence<'_>, center: usize) {
    // Far enough ahead for memory to answer, near enough to be still in the cache when it is needed. An input row is
    // first needed when it enters the widest window.
    const OUTPUT_AHEAD: usize = 1;
    const INPUT_AHEAD: usize = 7;
    if center + OUTPUT_AHEAD < sentence.len() {
        let Classifiers { nodes, .. } = sentence.classifiers(center + OUTPUT_AHEAD);
        for &node in nodes.iter().rev().take_while(|&&node| node >= sentence.n_hot()) {
            block.prefetch_output(m, node);
        }
    }
    if let Some(&next) = sentence.ids().get(center + INPUT_AHEAD) {
        block.prefetch_input(m, next);
    }
}
