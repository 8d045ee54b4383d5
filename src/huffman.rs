//! Counts → codes: the tree in which frequent tokens sit near the root.
//!
//! In: how often each token occurs. Out: for each token its path from the root, as the inner nodes it passes and the
//! branch that it takes at each. A path of k nodes asks k yes-or-no questions, so the probability of a token given a
//! hidden vector is a product of k sigmoids, and over all tokens these products sum to 1 (Morin & Bengio 2005;
//! Mikolov et al. 2013b, §2.1).

use std::collections::VecDeque;

use crate::error::{Error, Result};
use crate::tokens::TokenId;

/// A binary Huffman tree over tokens.
///
/// Leaf `i` is `TokenId(i)`. Inner node `n` is row `n` of the output matrix. Inner nodes are numbered by falling
/// weight: the root is 0, a parent's number is smaller than its children's, and the nodes that most tokens pass
/// through are neighbours in memory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HuffmanTree {
    // Path of token i: nodes[offsets[i]..offsets[i + 1]], and the same range of `bits`.
    nodes: Vec<u32>,
    bits: Vec<u8>,
    offsets: Vec<u64>,
}

/// The way from the root to one token, root first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TreePath<'a> {
    /// The inner nodes that are passed; the first is the root, 0.
    pub nodes: &'a [u32],
    /// The branch taken at each of them, 0 or 1. As in word2vec.c the sigmoid's label is `1 - bit`.
    pub bits: &'a [u8],
}

impl TreePath<'_> {
    /// How many branches are taken: the length of the token's code in bits.
    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Whether there is no branch at all: the only token of its tree.
    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }
}

impl HuffmanTree {
    /// Builds the tree, in O(n log n) for the sort and O(n) after it.
    ///
    /// `counts[i]` belongs to `TokenId(i)`, in any order. A count of 0 is taken as 1: a token that was not seen still
    /// needs a leaf, and a long tail of zeros would grow one path as long as the tail. A single token gets an empty
    /// path: its probability is 1.
    ///
    /// # Errors
    /// [`Error::TooFew`] without any count; [`Error::Config`] beyond 2³¹ tokens.
    ///
    /// # Example
    /// ```
    /// use wordgrove::{HuffmanTree, TokenId};
    /// let tree = HuffmanTree::from_counts(&[5, 2, 1, 1])?;
    /// let lengths: Vec<usize> = (0..4).map(|id| tree.path(TokenId(id)).len()).collect();
    /// assert_eq!(lengths, [1, 2, 3, 3]); // 15 bits for 9 tokens; equal codes need 18
    /// # Ok::<(), wordgrove::Error>(())
    /// ```
    pub fn from_counts(counts: &[u64]) -> Result<HuffmanTree> {
        if counts.is_empty() {
            return Err(Error::TooFew {
                what: "tokens for a Huffman tree".into(),
                found: 0,
                needed: 1,
                advice: "is the vocabulary empty?".into(),
            });
        }
        if counts.len() > 1 << 31 {
            return Err(Error::config(
                "vocab-size",
                format!("{} tokens, at most 2147483648 have a tree", counts.len()),
            ));
        }
        let (parents, bits) = merge(counts);
        Ok(HuffmanTree::from_parents(counts.len(), &parents, &bits))
    }

    /// Writes out the paths. `parents` and `bits` are indexed leaves first, then inner nodes by their final number
    /// (root first); the root's own entries are not read.
    fn from_parents(n_tokens: usize, parents: &[u32], bits: &[u8]) -> HuffmanTree {
        let n_nodes = n_tokens - 1;
        let mut depth = vec![0u32; n_nodes];
        for node in 1..n_nodes {
            // A parent's number is smaller, so its depth is known.
            depth[node] = depth[parents[n_tokens + node] as usize] + 1;
        }
        let leaf_depth = |leaf: usize| if n_nodes == 0 { 0 } else { depth[parents[leaf] as usize] as usize + 1 };
        let mut offsets = Vec::with_capacity(n_tokens + 1);
        offsets.push(0);
        let mut end = 0;
        for leaf in 0..n_tokens {
            end += leaf_depth(leaf) as u64;
            offsets.push(end);
        }
        let mut tree = HuffmanTree { nodes: vec![0; end as usize], bits: vec![0; end as usize], offsets };
        for leaf in 0..n_tokens {
            let mut below = leaf;
            for at in (tree.offsets[leaf] as usize..tree.offsets[leaf + 1] as usize).rev() {
                tree.nodes[at] = parents[below];
                tree.bits[at] = bits[below];
                below = n_tokens + parents[below] as usize;
            }
        }
        tree
    }

    /// How many leaves.
    pub fn n_tokens(&self) -> usize {
        self.offsets.len() - 1
    }

    /// How many inner nodes: one less than tokens.
    pub fn n_nodes(&self) -> usize {
        self.n_tokens() - 1
    }

    /// The way to a token.
    ///
    /// # Panics
    /// When the id is not below [`n_tokens`](Self::n_tokens).
    #[inline]
    pub fn path(&self, token: TokenId) -> TreePath<'_> {
        let range = self.offsets[token.index()] as usize..self.offsets[token.index() + 1] as usize;
        TreePath { nodes: &self.nodes[range.clone()], bits: &self.bits[range] }
    }

    /// All paths, by token.
    pub fn paths(&self) -> impl ExactSizeIterator<Item = TreePath<'_>> {
        (0..self.n_tokens() as u32).map(|id| self.path(TokenId(id)))
    }

    /// −log₂ P(token), given the logit of each inner node (the product of its row with a hidden vector).
    ///
    /// P is the product of σ(±logit) along the path, + where the bit is 0. Over all tokens it sums to 1, whatever the
    /// logits are.
    ///
    /// # Example
    /// ```
    /// use wordgrove::{HuffmanTree, TokenId};
    /// let tree = HuffmanTree::from_counts(&[5, 2, 1, 1])?;
    /// let p = |id| (-tree.bits_of(TokenId(id), |node| 0.3 * f64::from(node) - 1.0)).exp2();
    /// assert!(((0..4).map(p).sum::<f64>() - 1.0).abs() < 1e-15);
    /// # Ok::<(), wordgrove::Error>(())
    /// ```
    pub fn bits_of(&self, token: TokenId, logit: impl Fn(u32) -> f64) -> f64 {
        let path = self.path(token);
        let nats = path.nodes.iter().zip(path.bits).map(|(&node, &bit)| {
            let z = if bit == 0 { logit(node) } else { -logit(node) };
            // ln(1 + e^-z), without overflow on either side.
            (-z).max(0.0) + (-z.abs()).exp().ln_1p()
        });
        nats.sum::<f64>() / std::f64::consts::LN_2
    }

    /// The length of the longest path.
    pub fn depth(&self) -> usize {
        self.paths().map(|path| path.len()).max().unwrap_or(0)
    }
}

/// Joins the two lightest subtrees until one is left; returns each one's parent and its branch there.
///
/// Two queues instead of a heap: leaves sorted by weight, and joined subtrees, which come out in order of weight by
/// themselves (van Leeuwen 1976). On equal weight the leaf goes first, which gives the least deep of all the trees of
/// minimal total length (Schwartz 1964); word2vec.c takes the inner node first and grows deeper tails.
fn merge(counts: &[u64]) -> (Vec<u32>, Vec<u8>) {
    let n_tokens = counts.len();
    let n_nodes = n_tokens - 1;
    let weight = |leaf: u32| counts[leaf as usize].max(1);
    let mut leaves: Vec<u32> = (0..n_tokens as u32).collect();
    // Among equal weights the later token is joined first, so that earlier tokens never have longer codes.
    leaves.sort_unstable_by_key(|&leaf| (weight(leaf), std::cmp::Reverse(leaf)));
    let mut leaves = leaves.into_iter().peekable();
    // (weight, number) of joined subtrees; the first to be joined gets the last number. Sums of 64-bit counts need
    // more than 64 bits.
    let mut joined: VecDeque<(u128, u32)> = VecDeque::new();
    let mut parents = vec![0u32; n_tokens + n_nodes];
    let mut bits = vec![0u8; n_tokens + n_nodes];
    for number in (0..n_nodes as u32).rev() {
        let mut total = 0u128;
        // The lighter of the two is branch 0, the heavier branch 1.
        for bit in [0, 1] {
            let leaf_is_lighter = match (leaves.peek(), joined.front()) {
                (Some(&leaf), Some(&(subtree, _))) => u128::from(weight(leaf)) <= subtree,
                (leaf, _) => leaf.is_some(),
            };
            let lightest = if leaf_is_lighter {
                leaves.next().map(|leaf| (u128::from(weight(leaf)), leaf as usize))
            } else {
                joined.pop_front().map(|(weight, node)| (weight, n_tokens + node as usize))
            };
            let (weight, child) = lightest.expect("n - 1 joins of two consume n leaves and n - 2 joined subtrees");
            total += weight;
            parents[child] = number;
            bits[child] = bit;
        }
        joined.push_back((total, number));
    }
    (parents, bits)
}

#[cfg(test)]
mod tests {
    use std::cmp::Reverse;
    use std::collections::BinaryHeap;

    use proptest::prelude::*;

    use super::*;

    fn lengths(counts: &[u64]) -> Vec<usize> {
        HuffmanTree::from_counts(counts).unwrap().paths().map(|path| path.len()).collect()
    }

    /// Total cost of the textbook algorithm: every join costs its weight.
    fn heap_cost(counts: &[u64]) -> u128 {
        let mut heap: BinaryHeap<Reverse<u128>> = counts.iter().map(|&c| Reverse(u128::from(c.max(1)))).collect();
        let mut cost = 0;
        while heap.len() > 1 {
            let joined = heap.pop().unwrap().0 + heap.pop().unwrap().0;
            cost += joined;
            heap.push(Reverse(joined));
        }
        cost
    }

    fn check(counts: &[u64]) {
        let tree = HuffmanTree::from_counts(counts).unwrap();
        let cost: u128 =
            counts.iter().zip(tree.paths()).map(|(&c, path)| u128::from(c.max(1)) * path.len() as u128).sum();
        assert_eq!(cost, heap_cost(counts));
        // Kraft: the sum of 2^-length is 1, exactly, in units of 2^-depth.
        if tree.depth() < 120 {
            let sum: u128 = tree.paths().map(|path| 1u128 << (tree.depth() - path.len())).sum();
            assert_eq!(sum, 1 << tree.depth());
        }
        // Prefix-free: sorted codes, none begins the next.
        let mut codes: Vec<&[u8]> = tree.paths().map(|path| path.bits).collect();
        codes.sort();
        assert!(codes.windows(2).all(|pair| !pair[1].starts_with(pair[0])) || counts.len() == 1);
        // The node is determined by the code so far, parents have smaller numbers, and the root is 0.
        let mut node_of = std::collections::HashMap::new();
        for path in tree.paths() {
            assert!(path.nodes.windows(2).all(|pair| pair[0] < pair[1]));
            for (at, &node) in path.nodes.iter().enumerate() {
                assert_eq!(*node_of.entry(&path.bits[..at]).or_insert(node), node);
            }
        }
        assert_eq!(node_of.len(), tree.n_nodes());
        assert!(node_of.get(&[][..]).is_none_or(|&root| root == 0));
    }

    proptest! {
        #[test]
        fn trees_are_optimal_complete_and_prefix_free(counts in prop::collection::vec(0u64..1000, 1..300)) {
            check(&counts);
        }
    }

    #[test]
    fn one_and_two_tokens() {
        assert_eq!(lengths(&[7]), [0]);
        assert_eq!(lengths(&[7, 0]), [1, 1]);
        assert!(matches!(HuffmanTree::from_counts(&[]), Err(Error::TooFew { .. })));
    }

    #[test]
    fn a_long_tail_of_equal_counts_stays_shallow() {
        for count in [0, 1, 5] {
            assert_eq!(*lengths(&vec![count; 100_000]).iter().max().unwrap(), 17);
        }
        // One heavy token above a tail of tokens never seen.
        let mut counts = vec![0; 4097];
        counts[0] = 1_000_000;
        assert_eq!(lengths(&counts).iter().max(), Some(&13));
        check(&counts);
    }

    #[test]
    fn fibonacci_counts_grow_the_deepest_tree() {
        let mut counts = vec![1u64, 1];
        while let Some(next) = counts[counts.len() - 1].checked_add(counts[counts.len() - 2]) {
            counts.push(next);
        }
        assert_eq!(counts.len(), 93);
        assert_eq!(*lengths(&counts).iter().max().unwrap(), 92, "each join takes the last one and the next leaf");
        check(&counts);
    }

    #[test]
    fn counts_at_the_limit_do_not_overflow() {
        check(&[u64::MAX, u64::MAX, u64::MAX, 1]);
    }

    #[test]
    fn rarer_tokens_never_get_shorter_codes() {
        let counts: Vec<u64> = (1..2000).map(|rank| 100_000 / rank).collect();
        assert!(lengths(&counts).windows(2).all(|pair| pair[0] <= pair[1]));
    }

    #[test]
    fn the_top_of_the_tree_is_contiguous() {
        // Nodes are numbered by falling weight: the number of tokens under a node falls with its number.
        let tree = HuffmanTree::from_counts(&vec![1; 1024]).unwrap();
        let mut below = vec![0; tree.n_nodes()];
        tree.paths().for_each(|path| path.nodes.iter().for_each(|&node| below[node as usize] += 1));
        assert!(below.windows(2).all(|pair| pair[0] >= pair[1]));
    }
}
