//! CBOW: the mean of the contexts predicts the center.

use crate::math::{LogisticBlock, Machine, Step};
use crate::training::CbowGradient;
use crate::training::sentence::Sentence;
use crate::training::skip_gram::prefetch;

/// Slides the window over a sentence; returns how many centers were predicted.
///
/// One center at a time. Taking several together, so that the top of the tree is loaded once for all, and sliding the sum
/// of the contexts along instead of adding it up anew, were measured from above and left (d 100, 22,000 words, AVX-512,
/// medians of 3 runs in turns): with the three top nodes of every path left out altogether, where four centers could at
/// best share a good half of them, training is 10 % faster; with a sum of one row only it is not faster at all. What
/// takes the time is the rows at the bottom of the tree and those of the contexts, which no two centers share.
#[inline(always)]
pub(crate) fn sweep<M: Machine>(
    m: M,
    block: &mut LogisticBlock<'_>,
    sentence: &Sentence<'_>,
    gradient: CbowGradient,
    step: Step,
) -> u64 {
    let mut n_centers = 0;
    for center in 0..sentence.len() {
        prefetch(m, block, sentence, center);
        let contexts = sentence.contexts(center);
        if contexts.len() > 0 {
            // The mean's derivative by each context is 1 / contexts, which word2vec.c leaves out. Irsoy et al. (2021)
            // call that a mistake. The whole gradient stays the default: learning rates mean what they mean elsewhere,
            // and the corrected one, at three times the rate, was measured to be no better (14 million words of
            // English, 5 epochs: 23.1 % of the analogies against 24.6 under hierarchical softmax, whose held-out loss
            // is 0.2 % lower, and 28.8 against 31.6 with negative sampling).
            let share = match gradient {
                CbowGradient::Whole => 1.0,
                CbowGradient::Mean => 1.0 / contexts.len() as f32,
            };
            block.step_mean(m, sentence.classifiers(center), contexts, share, step);
            n_centers += 1;
        }
    }
    n_centers
}
