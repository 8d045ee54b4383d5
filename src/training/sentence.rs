//! A sentence as the window sees it: the tokens that stayed, how far each one looks, and its classifiers.

use std::ops::Range;

use rand::rngs::Xoshiro256PlusPlus;
use rand::{Rng, SeedableRng};

use crate::huffman::{HuffmanTree, TreePath};
use crate::math::{Classifiers, Inputs, Machine};
use crate::tokens::TokenId;
use crate::training::negative_sampling::Noise;
use crate::training::subsample::Subsample;

/// Nodes of the tree below this number are taken to be in the nearest cache already: most steps pass through them.
const N_HOT_NODES: u32 = 256;

/// Where the classifiers of a center come from.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Targets<'a> {
    /// Its path in the tree.
    Tree(&'a HuffmanTree),
    /// Its own, and those of tokens that are drawn.
    Noise(&'a Noise),
}

/// The tokens of a sentence after thinning, each with its window radius and its classifiers.
#[derive(Debug, Default)]
pub(crate) struct Sentence<'a> {
    ids: Vec<u32>,
    radii: Vec<u32>,
    // Of each center: classifiers that lie elsewhere, in the tree. Empty when they are `drawn`.
    paths: Vec<Classifiers<'a>>,
    // Those that were drawn; or the rows of the paths under other numbers.
    drawn: Drawn<'a>,
    n_hot: u32,
}

/// Classifiers that are the sentence's own, those of one center behind those of the other.
#[derive(Debug, Default)]
struct Drawn<'a> {
    rows: Vec<u32>,
    // Where the rows of each center end.
    ends: Vec<usize>,
    // The bits of any center: its own row comes first.
    bits: &'a [u8],
}

impl<'a> Sentence<'a> {
    /// Thins `ids` and draws a radius from `1..=window` for each that stays.
    ///
    /// One random number serves both: its upper half decides whether the token stays, its lower half how far it looks.
    #[inline(always)]
    pub(crate) fn draw(
        &mut self,
        ids: &[TokenId],
        subsample: &Subsample,
        window: usize,
        random: &mut Xoshiro256PlusPlus,
    ) {
        self.ids.resize(ids.len(), 0);
        self.radii.resize(ids.len(), 0);
        let mut n = 0;
        for &id in ids {
            let bits = random.next_u64();
            // Written always, kept or overwritten: a branch that chance decides costs more than two stores.
            self.ids[n] = id.0;
            // The upper half of a product of 32 by 32 bits spreads the low half evenly over 0..window.
            self.radii[n] = 1 + (((bits & 0xffff_ffff) * window as u64) >> 32) as u32;
            n += usize::from(subsample.keeps(id, (bits >> 32) as u32));
        }
        self.ids.truncate(n);
        self.radii.truncate(n);
    }

    /// Finds the classifiers of all centers; what is drawn comes from `random`.
    #[inline(always)]
    pub(crate) fn find_classifiers<M: Machine>(&mut self, m: M, targets: Targets<'a>, random: &mut Xoshiro256PlusPlus) {
        self.paths.clear();
        self.drawn.rows.clear();
        self.drawn.ends.clear();
        match targets {
            Targets::Tree(tree) => {
                self.n_hot = N_HOT_NODES;
                for &id in &self.ids {
                    let TreePath { nodes, bits } = tree.path(TokenId(id));
                    // One after the other they would each be waited for. The last node is looked at first.
                    m.prefetch(nodes.as_ptr().cast());
                    m.prefetch(nodes.as_ptr_range().end.wrapping_sub(1).cast());
                    m.prefetch(bits.as_ptr().cast());
                    self.paths.push(Classifiers { nodes, bits });
                }
            }
            Targets::Noise(noise) => {
                // Numbers of tokens say nothing about how often their rows are needed.
                self.n_hot = 0;
                self.drawn.bits = noise.bits();
                for &id in &self.ids {
                    noise.draw(id, random, &mut self.drawn.rows);
                    self.drawn.ends.push(self.drawn.rows.len());
                }
            }
        }
    }

    /// Gives tokens and classifiers other numbers: those of the rows that stand for them in smaller matrices.
    #[inline(always)]
    pub(crate) fn renumber(&mut self, mut token: impl FnMut(u32) -> u32, mut classifier: impl FnMut(u32) -> u32) {
        self.ids.iter_mut().for_each(|id| *id = token(*id));
        // What has just been copied need not be asked for.
        self.n_hot = u32::MAX;
        let Drawn { rows, ends, .. } = &mut self.drawn;
        if self.paths.is_empty() {
            rows.iter_mut().for_each(|row| *row = classifier(*row));
        }
        for path in &self.paths {
            rows.extend(path.nodes.iter().map(|&node| classifier(node)));
            ends.push(rows.len());
        }
    }

    /// The tokens that stayed.
    #[inline(always)]
    pub(crate) fn ids(&self) -> &[u32] {
        &self.ids
    }

    /// How many tokens stayed.
    #[inline(always)]
    pub(crate) fn len(&self) -> usize {
        self.ids.len()
    }

    /// The classifiers of the token at `center`, after [`find_classifiers`](Self::find_classifiers).
    #[inline(always)]
    pub(crate) fn classifiers(&self, center: usize) -> Classifiers<'_> {
        let Some(&end) = self.drawn.ends.get(center) else { return self.paths[center] };
        let start = if center == 0 { 0 } else { self.drawn.ends[center - 1] };
        let nodes = &self.drawn.rows[start..end];
        let bits = self.paths.get(center).map_or(self.drawn.bits, |path| path.bits);
        Classifiers { nodes, bits: &bits[..nodes.len()] }
    }

    /// How many rows of the outputs, from the first, need not be asked for ahead.
    #[inline(always)]
    pub(crate) fn n_hot(&self) -> u32 {
        self.n_hot
    }

    /// The tokens that the center at `center` sees.
    #[inline(always)]
    pub(crate) fn contexts(&self, center: usize) -> Inputs<'_> {
        let window = self.window(center);
        let position = center - window.start;
        Inputs::around(&self.ids[window], position)
    }

    /// The positions that the center at `center` sees, itself among them.
    #[inline(always)]
    fn window(&self, center: usize) -> Range<usize> {
        let radius = self.radii[center] as usize;
        center.saturating_sub(radius)..(center + radius + 1).min(self.ids.len())
    }
}

/// The generator for one piece of work. Seeds belong to pieces of work, never to threads, so that what is drawn does
/// not depend on who does it.
pub(crate) fn generator(seed: u64, epoch: u64, piece: u64) -> Xoshiro256PlusPlus {
    // `seed_from_u64` scrambles its argument; the products keep different triples apart.
    let mixed = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ epoch.wrapping_mul(0xd1b5_4a32_d192_ed03) ^ piece;
    Xoshiro256PlusPlus::seed_from_u64(mixed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn radii_are_even_and_windows_stay_inside() {
        let ids: Vec<TokenId> = (0..50_000).map(|i| TokenId(i % 7)).collect();
        let subsample = Subsample::new(&[1; 7], 0.0);
        let mut sentence = Sentence::default();
        sentence.draw(&ids, &subsample, 5, &mut generator(1, 2, 3));
        assert_eq!(sentence.ids().len(), 50_000);
        let mut seen = [0u32; 6];
        for center in 0..50_000 {
            seen[sentence.radii[center] as usize] += 1;
            let window = sentence.window(center);
            assert!(window.contains(&center) && window.end <= 50_000);
        }
        // 10,000 expected each; five standard deviations are 450.
        assert_eq!(seen[0], 0);
        assert!(seen[1..].iter().all(|&n| (9_550..=10_450).contains(&n)), "{seen:?}");
    }

    #[test]
    fn thinning_keeps_the_expected_share() {
        let ids = vec![TokenId(0); 100_000];
        let subsample = Subsample::new(&[1, 99], 1e-3);
        let mut sentence = Sentence::default();
        sentence.draw(&ids, &subsample, 5, &mut generator(1, 0, 0));
        // 41.6 % expected; five standard deviations are 0.8 %.
        assert!((40_800..=42_500).contains(&sentence.ids().len()), "{}", sentence.ids().len());
    }
}
