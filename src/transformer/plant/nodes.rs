//! Which inner node of one tree is which of another.
//!
//! In: two Huffman trees. Out: for each inner node of the new one the old node that parts the same tokens the same way,
//! where there is one. The transformer's tree has leaves for its marks, which the vectors' tree lacks; a few mergers then
//! come out otherwise, and all other nodes ask the same question as before, under another number.

use rustc_hash::FxHashMap;

use crate::huffman::HuffmanTree;
use crate::tokens::TokenId;

/// An old node that parts the tokens as a new one does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Twin {
    /// Its number in the old tree.
    pub(crate) node: usize,
    /// Whether its branches are the other way round, so that its vector is to be negated.
    pub(crate) is_mirrored: bool,
}

/// The twin in `old` of every inner node of `new`. Leaves that only `new` has, and those that do not `matter`, are not
/// looked at.
pub(crate) fn twins(new: &HuffmanTree, old: &HuffmanTree, matters: impl Fn(TokenId) -> bool) -> Vec<Option<Twin>> {
    let n_shared = new.n_tokens().min(old.n_tokens()) as u32;
    let ids: Vec<TokenId> = (0..n_shared).map(TokenId).filter(|&id| matters(id)).collect();
    let both = |[zero, one]: &[u64; 2]| *zero != 0 && *one != 0;
    let known = sides(old, &ids).into_iter().enumerate().filter(|(_, sides)| both(sides));
    let known: FxHashMap<[u64; 2], usize> = known.map(|(node, sides)| (sides, node)).collect();
    let twin = |[zero, one]: [u64; 2]| {
        let straight = known.get(&[zero, one]).map(|&node| Twin { node, is_mirrored: false });
        straight.or_else(|| known.get(&[one, zero]).map(|&node| Twin { node, is_mirrored: true }))
    };
    sides(new, &ids).into_iter().map(twin).collect()
}

/// For each inner node a fingerprint of those of `ids` behind its branch 0 and behind its branch 1; 0 where there are
/// none.
fn sides(tree: &HuffmanTree, ids: &[TokenId]) -> Vec<[u64; 2]> {
    let mut sides = vec![[0; 2]; tree.n_nodes()];
    for &id in ids {
        let path = tree.path(id);
        for (&node, &bit) in path.nodes.iter().zip(path.bits) {
            // A set is the exclusive or of its members' fingerprints, whatever their order. That two of some 10⁵ pairs of
            // sets agree by chance has a probability of 10⁻²⁸.
            sides[node as usize][usize::from(bit)] ^= fingerprint(u64::from(id.0));
        }
    }
    sides
}

/// The finalizer of splitmix64 (Steele, Lea & Flood 2014).
fn fingerprint(id: u64) -> u64 {
    let mut z = (id + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(counts: &[u64]) -> HuffmanTree {
        HuffmanTree::from_counts(counts).unwrap()
    }

    /// The tokens below `n` behind each branch of a node.
    fn leaves(tree: &HuffmanTree, node: usize, n: usize) -> [Vec<u32>; 2] {
        let mut found = [Vec::new(), Vec::new()];
        for id in 0..n as u32 {
            let path = tree.path(TokenId(id));
            if let Some(at) = path.nodes.iter().position(|&passed| passed as usize == node) {
                found[usize::from(path.bits[at])].push(id);
            }
        }
        found
    }

    #[test]
    fn a_tree_is_its_own_twin() {
        let tree = tree(&[50, 3, 7, 9, 9, 1, 20]);
        let expected: Vec<_> = (0..6).map(|node| Some(Twin { node, is_mirrored: false })).collect();
        assert_eq!(twins(&tree, &tree, |_| true), expected);
    }

    #[test]
    fn twins_part_the_same_tokens_and_marks_cost_few_of_them() {
        let counts: Vec<u64> = (0..2000).map(|i| 1_000_000 / (i + 1)).collect();
        let mut with_marks = counts.clone();
        with_marks.extend([40_000, 40_000, 0]);
        let (old, new) = (tree(&counts), tree(&with_marks));
        let twins = twins(&new, &old, |_| true);
        assert_eq!(twins.len(), 2002);
        let mut n_found = 0;
        for (node, twin) in twins.iter().enumerate() {
            let Some(twin) = twin else { continue };
            n_found += 1;
            let mut expected = leaves(&old, twin.node, 2000);
            if twin.is_mirrored {
                expected.reverse();
            }
            assert_eq!(leaves(&new, node, 2000), expected);
        }
        assert!(n_found > 1500, "{n_found}");
    }

    #[test]
    fn trees_of_one_leaf_have_no_nodes_to_match() {
        assert!(twins(&tree(&[1]), &tree(&[5, 5]), |_| true).is_empty());
        assert_eq!(twins(&tree(&[5, 5]), &tree(&[1]), |_| true), [None]);
    }
}
