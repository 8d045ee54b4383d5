//! CBOW: the mean of the contexts predicts the center.

use crate::math::{LogisticBlock, Machine, Step};
use crate::training::sentence::Sentence;
use crate::training::skip_gram::prefetch;

/// Slides the window over a sentence; returns how many centers were predicted.
#[inline(always)]
pub(crate) fn sweep<M: Machine>(m: M, block: &mut LogisticBlock<'_>, sentence: &Sentence<'_>, step: Step) -> u64 {
    // word2vec.c takes the mean of the contexts but gives each of them the whole gradient of that mean; Irsoy et al.
    // (2021) call that a mistake and divide. Under hierarchical softmax dividing was measured to be no better at any
    // rate, so we stay comparable.
    const SHARE: f32 = 1.0;
    let mut n_centers = 0;
    for center in 0..sentence.len() {
        prefetch(m, block, sentence, center);
        let contexts = sentence.contexts(center);
        if contexts.len() > 0 {
            block.step_mean(m, sentence.classifiers(center), contexts, SHARE, step);
            n_centers += 1;
        }
    }
    n_centers
}
