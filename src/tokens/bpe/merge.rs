//! Pieces → ids by definition: always the pair of the lowest rank is merged, the leftmost of equals.
//!
//! In: the bytes of a piece. Out: its tokens. The one idea: short pieces are searched from end to end for the next pair;
//! long ones keep their pairs in a heap.

use binary_heap_plus::BinaryHeap;

use super::encode::Merger;
use super::pair_table::NEVER;
use crate::tokens::TokenId;

/// The longest piece that is searched from end to end.
const MAX_SEARCHED: usize = 64;

impl Merger {
    /// Merges a piece of any length; `room` is overwritten. Returns the rank of the last merge.
    pub(super) fn merge_by_rank(&self, piece: &[u8], room: &mut LongPiece, ids: &mut Vec<TokenId>) -> u32 {
        match piece.len() {
            ..=16 => self.merge_within::<16>(piece, ids),
            17..=32 => self.merge_within::<32>(piece, ids),
            33..=MAX_SEARCHED => self.merge_within::<MAX_SEARCHED>(piece, ids),
            _ => self.merge_with_heap(piece, room, ids),
        }
    }

    /// Merges a piece of 1 to `N` bytes; `N` is at most 64.
    fn merge_within<const N: usize>(&self, piece: &[u8], ids: &mut Vec<TokenId>) -> u32 {
        let mut tokens = [0u32; N];
        let mut pairs = [u64::MAX; N];
        for (token, &byte) in tokens.iter_mut().zip(piece) {
            *token = self.id_of_byte[byte as usize];
        }
        for (at, bytes) in piece.windows(2).enumerate() {
            pairs[at] = ranked(self.pairs.byte_pair(bytes[0], bytes[1]), at);
        }
        self.merge_searching(piece.len(), tokens, pairs, ids)
    }

    /// Merges the first `n` tokens, 1 to `N`; `N` is at most 64.
    pub(super) fn merge_tokens<const N: usize>(&self, n: usize, tokens: [u32; N], ids: &mut Vec<TokenId>) {
        let mut pairs = [u64::MAX; N];
        for (at, two) in tokens[..n].windows(2).enumerate() {
            pairs[at] = ranked(self.pairs.rank(two[0], two[1]), at);
        }
        self.merge_searching(n, tokens, pairs, ids);
    }

    /// Merges `n` tokens; in `pairs` each one's pair with the next, as [`ranked`].
    #[inline]
    fn merge_searching<const N: usize>(
        &self,
        n: usize,
        mut tokens: [u32; N],
        mut pairs: [u64; N],
        ids: &mut Vec<TokenId>,
    ) -> u32 {
        // A token stays at the place of its first byte. `alive` has a bit for each place where a token is.
        let mut alive = !0u64 >> (64 - n);
        let mut last = NEVER;
        loop {
            let lowest = pairs.iter().fold(u64::MAX, |least, &pair| least.min(pair));
            if lowest >> 6 >= u64::from(NEVER) {
                break;
            }
            let at = (lowest & 63) as usize;
            let next = (alive & (!1 << at)).trailing_zeros() as usize;
            alive &= !(1 << next);
            last = (lowest >> 6) as u32;
            tokens[at] = self.pairs.merged(last);
            pairs[next] = u64::MAX;
            let after = alive & (!1 << at);
            pairs[at] = match after {
                0 => u64::MAX,
                _ => ranked(self.pairs.rank(tokens[at], tokens[after.trailing_zeros() as usize]), at),
            };
            let before = alive & ((1 << at) - 1);
            if before != 0 {
                let left = 63 - before.leading_zeros() as usize;
                pairs[left] = ranked(self.pairs.rank(tokens[left], tokens[at]), left);
            }
        }
        while alive != 0 {
            ids.push(TokenId(tokens[alive.trailing_zeros() as usize]));
            alive &= alive - 1;
        }
        last
    }

    /// The same with a heap.
    pub(super) fn merge_with_heap(&self, piece: &[u8], room: &mut LongPiece, ids: &mut Vec<TokenId>) -> u32 {
        let n = piece.len();
        let mut last = NEVER;
        room.nodes.clear();
        room.nodes.extend(piece.iter().enumerate().map(|(at, &byte)| Node {
            token: self.id_of_byte[byte as usize],
            rank: NEVER,
            previous: at.wrapping_sub(1),
            next: at + 1,
        }));
        let mut waiting = std::mem::take(&mut room.waiting);
        waiting.clear();
        for (at, bytes) in piece.windows(2).enumerate() {
            let rank = self.pairs.byte_pair(bytes[0], bytes[1]);
            room.nodes[at].rank = rank;
            if rank != NEVER {
                waiting.push((rank, at));
            }
        }
        let mut heap = BinaryHeap::from_vec_cmp(waiting, binary_heap_plus::MinComparator);
        while let Some((rank, at)) = heap.pop() {
            let node = room.nodes[at];
            // One of the two has been merged with another since.
            if node.rank != rank {
                continue;
            }
            let gone = room.nodes[node.next];
            room.nodes[node.next].rank = NEVER;
            last = rank;
            room.nodes[at].token = self.pairs.merged(rank);
            room.nodes[at].next = gone.next;
            if gone.next < n {
                room.nodes[gone.next].previous = at;
            }
            for left in [node.previous, at] {
                // The first token has `usize::MAX` before it.
                if left < n {
                    let right = room.nodes[left].next;
                    let rank = if right < n {
                        self.pairs.rank(room.nodes[left].token, room.nodes[right].token)
                    } else {
                        NEVER
                    };
                    room.nodes[left].rank = rank;
                    if rank != NEVER {
                        heap.push((rank, left));
                    }
                }
            }
        }
        room.waiting = heap.into_vec();
        let mut at = 0;
        while at < n {
            ids.push(TokenId(room.nodes[at].token));
            at = room.nodes[at].next;
        }
        last
    }
}

/// A pair as a number, its rank above six bits of its place: the least is the leftmost pair of the lowest rank.
#[inline]
fn ranked(rank: u32, at: usize) -> u64 {
    u64::from(rank) << 6 | at as u64
}

/// Room to merge a long piece in; the first token of a run of merged bytes sits at its first byte.
#[derive(Debug, Default)]
pub(crate) struct LongPiece {
    nodes: Vec<Node>,
    waiting: Vec<(u32, usize)>,
}

#[derive(Debug, Clone, Copy)]
struct Node {
    token: u32,
    /// Of the pair that this token makes with the next.
    rank: u32,
    previous: usize,
    next: usize,
}
