//! Long pieces → ids in linear time.
//!
//! In: the bytes of a piece. Out: what merging pair after pair would leave, without doing it. Two facts make it possible
//! (both are set out in the README of the `bpe` crate of github/rust-gems):
//!
//! - Tokens are the merge of a text exactly if each two neighbours are *compatible*: the merge of their bytes is just
//!   these two. So a text is encoded from left to right, taking the longest token that is compatible with the one before.
//!   If none is, the one before is exchanged for its next shorter beginning; places that led nowhere are not tried again.
//! - Whether two tokens are compatible follows from undoing their merges, the latest first, and asking each time whether
//!   the two parts that touch would have merged with each other before they merged with what they did.

use std::collections::BTreeMap;

use hashbrown::HashMap;
use rustc_hash::FxBuildHasher;

use super::encode::Merger;
use crate::tokens::TokenId;

/// No token, or no node.
const NONE: u32 = u32::MAX;

/// What is known about all tokens; built when the first long piece comes.
///
/// Tokens go by the time they appear: bytes are 0 to 255, what merge `r` makes is 256 + `r`.
#[derive(Debug, Clone)]
pub(crate) struct Backtracker {
    /// By time.
    tokens: Vec<Token>,
    /// The trie of all tokens as an open table of its edges, a power of two long. The first 256 nodes are the bytes.
    edges: Vec<Edge>,
    /// `[256, 256]`: the edges of the first 256 nodes once more, to be found without searching.
    second: Vec<Edge>,
}

/// From a node by a byte to the next node.
#[derive(Debug, Clone, Copy)]
struct Edge {
    /// Node << 8 | byte; `u32::MAX` in a free place.
    from: u32,
    to: u32,
    /// The token that ends there.
    token: u32,
}

const FREE: Edge = Edge { from: NONE, to: NONE, token: NONE };

/// Nodes have 24 bits.
const MAX_NODES: u32 = 1 << 24;

#[derive(Debug, Clone, Copy)]
struct Token {
    id: u32,
    len: u32,
    /// The two tokens whose merge it is; a byte is its own.
    left: u32,
    right: u32,
    /// The longest token that is a proper beginning of it.
    shorter: u32,
}

/// Room for one piece.
#[derive(Debug, Default)]
pub(crate) struct Path {
    tokens: Vec<u32>,
    /// By place in the piece, a bit each: whether it may still be the end of a token.
    open: Vec<u64>,
}

impl Backtracker {
    /// `None` for merges that this does not hold for: where a token is made in two ways, or of a later one.
    pub(crate) fn new(merger: &Merger) -> Option<Backtracker> {
        let mut times: HashMap<u32, u32, FxBuildHasher> = HashMap::default();
        let mut tokens = Vec::new();
        let mut bytes: Vec<Vec<u8>> = Vec::new();
        for byte in 0..=255u8 {
            let time = u32::from(byte);
            tokens.push(Token { id: merger.id_of_byte[byte as usize], len: 1, left: time, right: time, shorter: NONE });
            bytes.push(vec![byte]);
            if times.insert(merger.id_of_byte[byte as usize], time).is_some() {
                return None;
            }
        }
        for merge in merger.pairs.merges() {
            let (&left, &right) = (times.get(&merge.left)?, times.get(&merge.right)?);
            let time = tokens.len() as u32;
            bytes.push([&bytes[left as usize][..], &bytes[right as usize]].concat());
            let len = u32::try_from(bytes[time as usize].len()).ok()?;
            tokens.push(Token { id: merge.merged, len, left, right, shorter: NONE });
            if times.insert(merge.merged, time).is_some() {
                return None;
            }
        }
        let mut backtracker = Backtracker { tokens, edges: Vec::new(), second: vec![FREE; 1 << 16] };
        // A token whose own bytes merge to something else never occurs.
        let mut ids = Vec::new();
        let mut occurring: BTreeMap<&[u8], u32> = BTreeMap::new();
        for (time, bytes) in bytes.iter().enumerate() {
            ids.clear();
            merger.merge_by_rank(bytes, &mut ids);
            if ids == [TokenId(backtracker.tokens[time].id)] {
                occurring.insert(bytes, time as u32);
            }
        }
        // As many as there are different beginnings: what each token does not share with the one before it.
        let (mut n_edges, mut last): (usize, &[u8]) = (0, &[]);
        for bytes in occurring.keys() {
            let n_shared = bytes.iter().zip(last).take_while(|(a, b)| a == b).count();
            n_edges += bytes.len() - n_shared;
            last = bytes;
        }
        if n_edges >= MAX_NODES as usize {
            return None;
        }
        // Half full at most; and no larger, so that it stays in a near cache.
        backtracker.edges = vec![FREE; (n_edges * 2).next_power_of_two()];
        let mut n_nodes = 256;
        // In the order of their bytes, so that a token's beginnings come before it.
        for (bytes, time) in occurring {
            let mut node = u32::from(bytes[0]);
            let mut shorter = if bytes.len() > 1 { node } else { NONE };
            for (at, &byte) in bytes.iter().enumerate().skip(1) {
                let from = node << 8 | u32::from(byte);
                let place = backtracker.find(from);
                let edge = &mut backtracker.edges[place];
                if edge.from != from {
                    *edge = Edge { from, to: n_nodes, token: NONE };
                    n_nodes += 1;
                }
                node = edge.to;
                if at + 1 == bytes.len() {
                    edge.token = time;
                } else if edge.token != NONE {
                    shorter = edge.token;
                }
            }
            backtracker.tokens[time as usize].shorter = shorter;
        }
        for from in 0..1 << 16 {
            backtracker.second[from as usize] = backtracker.edges[backtracker.find(from)];
        }
        Some(backtracker)
    }

    /// Where an edge is, or the free place where it belongs.
    #[inline]
    fn find(&self, from: u32) -> usize {
        let mask = self.edges.len() - 1;
        let mut at = (u64::from(from).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32) as usize & mask;
        while self.edges[at].from != from && self.edges[at].from != FREE.from {
            at = (at + 1) & mask;
        }
        at
    }

    /// Appends the ids of a piece; `path` is overwritten.
    pub(crate) fn encode(&self, merger: &Merger, piece: &[u8], path: &mut Path, ids: &mut Vec<TokenId>) {
        path.tokens.clear();
        path.open.clear();
        path.open.resize(piece.len() / 64 + 1, !0);
        let mut at = 0;
        let mut next = self.longest(piece, at);
        while at < piece.len() {
            let before = path.tokens.last().copied();
            let mut token = next;
            // The longest that fits.
            while token != NONE {
                let end = at + self.tokens[token as usize].len as usize;
                if path.open[end / 64] >> (end % 64) & 1 == 1
                    && before.is_none_or(|before| self.are_compatible(merger, before, token))
                {
                    break;
                }
                token = self.tokens[token as usize].shorter;
            }
            if token != NONE {
                path.tokens.push(token);
                at += self.tokens[token as usize].len as usize;
                next = self.longest(piece, at);
            } else {
                // Nothing follows the token before: no token can end here.
                path.open[at / 64] &= !(1 << (at % 64));
                let before = path.tokens.pop().expect("the first token has no other before it, so a byte always fits");
                at -= self.tokens[before as usize].len as usize;
                next = self.tokens[before as usize].shorter;
            }
        }
        ids.extend(path.tokens.iter().map(|&token| TokenId(self.tokens[token as usize].id)));
    }

    /// The longest token that the text has at `at`.
    fn longest(&self, piece: &[u8], at: usize) -> u32 {
        let Some((&first, rest)) = piece.get(at..).and_then(<[u8]>::split_first) else { return NONE };
        let mut longest = u32::from(first);
        let Some((&second, rest)) = rest.split_first() else { return longest };
        let mut edge = self.second[usize::from(first) << 8 | usize::from(second)];
        let mut rest = rest.iter();
        while edge.to != NONE {
            if edge.token != NONE {
                longest = edge.token;
            }
            let Some(&byte) = rest.next() else { break };
            edge = self.edges[self.find(edge.to << 8 | u32::from(byte))];
        }
        longest
    }

    /// Whether the merge of the two tokens' bytes is these two tokens.
    fn are_compatible(&self, merger: &Merger, mut left: u32, mut right: u32) -> bool {
        // A merge of the two parts that touch comes too late from this time on: one of them is merged with another then.
        let mut too_late = NONE;
        loop {
            let (a, b) = (self.tokens[left as usize], self.tokens[right as usize]);
            let rank = merger.pairs.rank(a.id, b.id);
            if rank != NONE && rank + 256 < too_late {
                return false;
            }
            // Undo the later of the two merges. Of two equal ones the right one came later.
            let is_byte = |time: u32| time < 256;
            if left > right && !is_byte(left) {
                // This merge took its right part away before anything of the same rank further right could.
                too_late = left;
                left = a.right;
            } else if !is_byte(right) {
                // A merge of the same rank further left would have come first.
                too_late = right + 1;
                right = b.left;
            } else if !is_byte(left) {
                too_late = left;
                left = a.right;
            } else {
                return true;
            }
        }
    }
}
