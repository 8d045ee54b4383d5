//! The longest token that a text begins with.
//!
//! In: tokens by their bytes; then texts. Out: for each text the longest token at its beginning. The one idea: a
//! double-array trie (Aoe 1989) in one array of 8-byte nodes. The child of a node by a byte lies at the node's base XOR
//! the byte, and knows its byte; as no two nodes have the same base, a child whose byte is right is nobody else's.
//! The second level lies in a square once more, so that the first two bytes cost one look.

use std::collections::BTreeMap;

use crate::tokens::bits::{has, put};

/// No token.
pub(super) const NONE: u32 = u32::MAX;

/// Bases have 23 bits.
const MAX_NODES: usize = 1 << 23;

/// The children of a node have places with the same higher bits.
const BLOCK: usize = 256;

/// So many free places are tried for a node's children before they get a new block.
const TRIED: usize = 24;

/// Tokens by their bytes.
#[derive(Debug, Clone)]
pub(super) struct Trie {
    nodes: Vec<Node>,
    /// `[256, 256]`: the nodes of the second level.
    seconds: Vec<Node>,
}

/// From the lowest bit: 9 of the byte that leads here, 23 of the base, 32 of the token that ends here.
///
/// A node without children has base 0, and the first block is free.
#[derive(Debug, Clone, Copy)]
struct Node(u64);

/// No byte leads here.
const FREE: Node = Node((NONE as u64) << 32 | 256);

impl Node {
    /// From now on `byte` leads here.
    fn lead(&mut self, byte: u8) {
        self.0 = self.0 & !511 | u64::from(byte);
    }

    /// From now on the children are at `base`.
    fn begin(&mut self, base: usize) {
        self.0 |= (base as u64) << 9;
    }

    /// From now on `token` ends here.
    fn end(&mut self, token: u32) {
        self.0 = self.0 << 32 >> 32 | u64::from(token) << 32;
    }

    fn token(self) -> u32 {
        (self.0 >> 32) as u32
    }

    fn base(self) -> usize {
        (self.0 as u32 >> 9) as usize
    }

    fn is_by(self, byte: u8) -> bool {
        self.0 & 511 == u64::from(byte)
    }
}

/// Tokens that begin alike.
struct Alike<'t> {
    tokens: &'t [(&'t [u8], u32)],
    /// With so many equal bytes.
    n_equal: usize,
    /// Where the node of these bytes is.
    place: usize,
}

impl Trie {
    /// A trie of tokens of at least one byte; `None` where there are too many. Bytes are their own tokens.
    pub(super) fn new(tokens: &BTreeMap<&[u8], u32>) -> Option<Trie> {
        let tokens: Vec<(&[u8], u32)> = tokens.iter().map(|(&bytes, &token)| (bytes, token)).collect();
        // The first block is not given away; the root lies there.
        const ROOT: usize = 0;
        let mut nodes = vec![FREE; BLOCK];
        let mut room = Room { used: vec![!0; BLOCK / 64], is_base: vec![!0; BLOCK / 64], first_open: 0 };
        let mut waiting = vec![Alike { tokens: &tokens, n_equal: 0, place: ROOT }];
        while let Some(Alike { mut tokens, n_equal, place }) = waiting.pop() {
            if let Some((&(first, token), rest)) = tokens.split_first()
                && first.len() == n_equal
            {
                nodes[place].end(token);
                tokens = rest;
            }
            let children = || tokens.chunk_by(|a, b| a.0[n_equal] == b.0[n_equal]);
            let bytes: Vec<u8> = children().map(|tokens| tokens[0].0[n_equal]).collect();
            if bytes.is_empty() {
                continue;
            }
            let base = room.base_for(&bytes)?;
            nodes.resize(room.used.len() * 64, FREE);
            nodes[place].begin(base);
            for (tokens, byte) in children().zip(bytes) {
                let place = base ^ usize::from(byte);
                nodes[place].lead(byte);
                waiting.push(Alike { tokens, n_equal: n_equal + 1, place });
            }
        }
        let mut trie = Trie { nodes, seconds: vec![FREE; 1 << 16] };
        for first in 0..=255 {
            for second in 0..=255 {
                let node = trie.child(trie.nodes[ROOT], first).and_then(|node| trie.child(node, second));
                trie.seconds[usize::from(first) << 8 | usize::from(second)] = node.unwrap_or(FREE);
            }
        }
        Some(trie)
    }

    #[inline]
    fn child(&self, node: Node, byte: u8) -> Option<Node> {
        let child = self.nodes[node.base() ^ usize::from(byte)];
        child.is_by(byte).then_some(child)
    }

    /// The longest token at the beginning of `text`, [`NONE`] of an empty one.
    #[inline]
    pub(super) fn longest(&self, text: &[u8]) -> u32 {
        let (first, second, rest) = match *text {
            [] => return NONE,
            [byte] => return u32::from(byte),
            [first, second, ref rest @ ..] => (first, second, rest),
        };
        let mut node = self.seconds[usize::from(first) << 8 | usize::from(second)];
        let mut longest = if node.token() == NONE { u32::from(first) } else { node.token() };
        for &byte in rest {
            node = self.nodes[node.base() ^ usize::from(byte)];
            if !node.is_by(byte) {
                break;
            }
            longest = if node.token() == NONE { longest } else { node.token() };
        }
        longest
    }
}

/// Which places are taken.
struct Room {
    /// By place, a bit each: whether a node is there, and whether it is a base.
    used: Vec<u64>,
    is_base: Vec<u64>,
    /// All words of `used` before this one are full.
    first_open: usize,
}

impl Room {
    /// A base whose places for `bytes` are free, and which are taken then; `None` where there are too many nodes.
    fn base_for(&mut self, bytes: &[u8]) -> Option<usize> {
        while self.used.get(self.first_open) == Some(&!0) {
            self.first_open += 1;
        }
        let free = (self.first_open..self.used.len()).flat_map(|word| {
            let mut free = !self.used[word];
            std::iter::from_fn(move || {
                let bit = (free != 0).then(|| free.trailing_zeros() as usize)?;
                free &= free - 1;
                Some(word * 64 + bit)
            })
        });
        let mut bases = free.take(TRIED).map(|place| place ^ usize::from(bytes[0]));
        let fits = |&base: &usize| {
            !has(&self.is_base, base) && bytes.iter().all(|&byte| !has(&self.used, base ^ usize::from(byte)))
        };
        let base = match bases.find(fits) {
            Some(base) => base,
            None => {
                let base = self.used.len() * 64;
                if base + BLOCK > MAX_NODES {
                    return None;
                }
                self.used.resize((base + BLOCK) / 64, 0);
                self.is_base.resize((base + BLOCK) / 64, 0);
                base
            }
        };
        put(&mut self.is_base, base);
        for &byte in bytes {
            put(&mut self.used, base ^ usize::from(byte));
        }
        Some(base)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn the_longest_is_the_longest(
            tokens in prop::collection::btree_set(prop::collection::vec(prop_oneof![0..3u8, any::<u8>()], 2..6), 0..400),
            texts in prop::collection::vec(prop::collection::vec(prop_oneof![0..3u8, any::<u8>()], 0..9), 50),
        ) {
            let mut known: BTreeMap<&[u8], u32> = BTreeMap::new();
            let bytes: Vec<[u8; 1]> = (0..=255).map(|byte| [byte]).collect();
            known.extend(bytes.iter().map(|byte| (&byte[..], u32::from(byte[0]))));
            known.extend(tokens.iter().zip(256..).map(|(token, number)| (&token[..], number)));
            let trie = Trie::new(&known).unwrap();
            for text in tokens.iter().chain(&texts) {
                let longest = (0..=text.len()).rev().find_map(|len| known.get(&text[..len]));
                prop_assert_eq!(trie.longest(text), longest.copied().unwrap_or(NONE));
            }
        }
    }

    #[test]
    fn a_token_of_a_million_bytes_takes_no_more_room_than_its_bytes() {
        let token = vec![7; 1 << 20];
        let known = BTreeMap::from([(&[7][..], 7), (&token[..], 300)]);
        let trie = Trie::new(&known).unwrap();
        assert!(trie.nodes.len() < (1 << 20) + 2048, "{} nodes", trie.nodes.len());
        assert_eq!((trie.longest(&token), trie.longest(&token[1..])), (300, 7));
    }
}
