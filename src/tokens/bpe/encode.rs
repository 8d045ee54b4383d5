//! Pieces → ids: the learned merges applied.
//!
//! In: the bytes of a piece. Out: its tokens. The one idea: a piece that was seen before is looked up, whole; a new one
//! is merged by definition: always the pair of the lowest rank, the leftmost of equals. Short pieces are searched for it
//! from end to end; long ones go through [`backtrack`](super::backtrack) or, where that does not hold, keep their pairs in
//! a heap.

use std::sync::OnceLock;

use binary_heap_plus::BinaryHeap;
use hashbrown::HashMap;
use rustc_hash::FxBuildHasher;

use super::backtrack::{Backtracker, Path};
use super::cache::{MAX_INLINE, PieceCache, Place};
use super::count::{MAX_SHORT, short_key};
use super::pair_table::PairTable;
use crate::tokens::TokenId;
use crate::tokens::pretokenize::{LineFeed, Pattern};

/// The longest piece that is searched from end to end.
const MAX_SEARCHED: usize = 64;

/// The longest piece that is kept in the cache. Longer ones are seldom met again.
const MAX_KEPT: usize = 32;

/// The rank of a pair that does not merge.
const NEVER: u32 = u32::MAX;

/// What turns pieces into ids; shared by all workers.
#[derive(Debug, Clone)]
pub(crate) struct Merger {
    pub(crate) id_of_byte: [u32; 256],
    pub(crate) pairs: PairTable,
    /// The tokens by their bytes, where a piece that is a token is not merged (`ignore_merges`).
    pub(crate) whole: Option<HashMap<Box<[u8]>, u32, FxBuildHasher>>,
    /// For long pieces; made for the first. `None` where it does not work.
    backtracker: OnceLock<Option<Backtracker>>,
}

/// One worker's memory: what it has seen, and room to merge in.
#[derive(Debug)]
pub(crate) struct Workspace {
    cache: PieceCache,
    /// The pieces being looked up: their keys, 0 for those without, and places in the cache.
    asked: Box<[(u128, Place); LOOKED_UP]>,
    path: Path,
    long: LongPiece,
}

impl Default for Workspace {
    fn default() -> Workspace {
        Workspace {
            cache: PieceCache::default(),
            asked: Box::new([(0, 0); LOOKED_UP]),
            path: Path::default(),
            long: LongPiece::default(),
        }
    }
}

/// So many pieces are looked up at a time: enough for the memory to answer while the next are asked for.
const LOOKED_UP: usize = 64;

impl Merger {
    pub(crate) fn new(id_of_byte: [u32; 256], pairs: PairTable) -> Merger {
        Merger { id_of_byte, pairs, whole: None, backtracker: OnceLock::new() }
    }

    /// Appends the ids of `text` to `ids`.
    pub(crate) fn encode(&self, pattern: &Pattern, text: &[u8], workspace: &mut Workspace, ids: &mut Vec<TokenId>) {
        let mut start = 0;
        pattern.for_each_batch(text, LineFeed::Within, |ends| {
            for ends in ends.chunks(LOOKED_UP) {
                start = self.encode_batch(text, start, ends, workspace, ids);
            }
        });
    }

    /// Appends the ids of each line of `text` to `ids`, and where in `ids` each line ends that has a line feed to `ends`.
    /// Line feeds, and the carriage returns before them, have no ids.
    pub(crate) fn encode_lines(
        &self,
        pattern: &Pattern,
        text: &[u8],
        workspace: &mut Workspace,
        ids: &mut Vec<TokenId>,
        ends: &mut Vec<usize>,
    ) {
        let mut start = 0;
        pattern.for_each_batch(text, LineFeed::Ends, |piece_ends| {
            let mut rest = piece_ends;
            while !rest.is_empty() {
                // With lines cut apart a line feed is always the last byte of a piece of white space, and that white
                // space is one piece with or without it.
                let n = rest.iter().take(LOOKED_UP).position(|&end| text[end - 1] == b'\n');
                let (batch, behind) = rest.split_at(n.unwrap_or(rest.len().min(LOOKED_UP)));
                start = self.encode_batch(text, start, batch, workspace, ids);
                rest = behind;
                if n.is_some()
                    && let Some((&end, behind)) = rest.split_first()
                {
                    let white = &text[start..end - 1];
                    let white = white.strip_suffix(b"\r").unwrap_or(white);
                    self.encode_batch(text, start, &[start + white.len()], workspace, ids);
                    ends.push(ids.len());
                    start = end;
                    rest = behind;
                }
            }
        });
    }

    /// Appends the ids of the pieces between `start` and each of the at most 64 `ends`; returns the last end.
    fn encode_batch(
        &self,
        text: &[u8],
        start: usize,
        ends: &[usize],
        workspace: &mut Workspace,
        ids: &mut Vec<TokenId>,
    ) -> usize {
        let mut first = start;
        for (&end, asked) in ends.iter().zip(workspace.asked.iter_mut()) {
            *asked = if (1..=MAX_SHORT).contains(&(end - first)) {
                let key = short_key(text, first, end);
                (key, workspace.cache.place(key))
            } else {
                (0, 0)
            };
            first = end;
        }
        // A whole slot is written for every piece, and the next piece begins behind the ids that there are.
        let mut found = [TokenId(0); LOOKED_UP * MAX_INLINE + 1];
        let mut n_found = 0;
        let mut first = start;
        for (index, &end) in ends.iter().enumerate() {
            let (key, place) = workspace.asked[index];
            match workspace.cache.get(key, place) {
                Some(slot) if slot[MAX_INLINE].index() <= MAX_INLINE => {
                    found[n_found..n_found + MAX_INLINE + 1].copy_from_slice(slot);
                    n_found += slot[MAX_INLINE].index();
                }
                known => {
                    ids.extend_from_slice(&found[..n_found]);
                    n_found = 0;
                    match known {
                        Some(slot) => ids.extend_from_slice(workspace.cache.more(slot)),
                        None if key == 0 => self.encode_long(&text[first..end], workspace, ids),
                        None => {
                            let known = ids.len();
                            self.merge_short(&text[first..end], ids);
                            workspace.cache.put(key, &ids[known..]);
                        }
                    }
                }
            }
            first = end;
        }
        ids.extend_from_slice(&found[..n_found]);
        first
    }

    /// Appends the ids of a piece that is too long for a key, or of none.
    fn encode_long(&self, piece: &[u8], workspace: &mut Workspace, ids: &mut Vec<TokenId>) {
        match piece.len() {
            0 => {}
            1..=MAX_KEPT => {
                if !workspace.cache.get_long(piece, ids) {
                    let known = ids.len();
                    self.merge_long(piece, workspace, ids);
                    workspace.cache.put_long(piece, &ids[known..]);
                }
            }
            _ => self.merge_long(piece, workspace, ids),
        }
    }

    /// The ids of a piece that is not worth keeping, or not kept yet.
    fn merge_long(&self, piece: &[u8], workspace: &mut Workspace, ids: &mut Vec<TokenId>) {
        match (self.find_whole(piece), self.backtracker.get_or_init(|| Backtracker::new(self))) {
            (Some(id), _) => ids.push(id),
            (None, Some(backtracker)) => backtracker.encode(self, piece, &mut workspace.path, ids),
            (None, None) => self.merge_with_heap(piece, &mut workspace.long, ids),
        }
    }

    /// The token that the piece is, where that goes before merging.
    fn find_whole(&self, piece: &[u8]) -> Option<TokenId> {
        self.whole.as_ref()?.get(piece).copied().map(TokenId)
    }

    /// The ids of a piece of 1 to 64 bytes.
    fn merge_short(&self, piece: &[u8], ids: &mut Vec<TokenId>) {
        match self.find_whole(piece) {
            Some(id) => ids.push(id),
            None => self.merge_searching(piece, ids),
        }
    }

    /// Merges a piece of any length, without the whole piece and without what backtracking knows.
    pub(super) fn merge_by_rank(&self, piece: &[u8], ids: &mut Vec<TokenId>) {
        if piece.len() <= MAX_SEARCHED {
            self.merge_searching(piece, ids);
        } else {
            self.merge_with_heap(piece, &mut LongPiece::default(), ids);
        }
    }

    /// Merges a piece of 1 to 64 bytes.
    fn merge_searching(&self, piece: &[u8], ids: &mut Vec<TokenId>) {
        match piece.len() {
            ..=16 => self.merge_within::<16>(piece, ids),
            17..=32 => self.merge_within::<32>(piece, ids),
            _ => self.merge_within::<MAX_SEARCHED>(piece, ids),
        }
    }

    /// Merges a piece of 1 to `N` bytes; `N` is at most 64.
    fn merge_within<const N: usize>(&self, piece: &[u8], ids: &mut Vec<TokenId>) {
        // A token stays at the place of its first byte. `alive` has a bit for each place where a token is.
        let mut alive = !0u64 >> (64 - piece.len());
        let mut tokens = [0u32; N];
        // The pair of a token and the next: its rank above six bits of its place, so that the least number is the
        // leftmost pair of the lowest rank.
        let mut pairs = [u64::MAX; N];
        for (token, &byte) in tokens.iter_mut().zip(piece) {
            *token = self.id_of_byte[byte as usize];
        }
        for (at, bytes) in piece.windows(2).enumerate() {
            pairs[at] = ranked(self.pairs.byte_pair(bytes[0], bytes[1]), at);
        }
        loop {
            let lowest = pairs.iter().fold(u64::MAX, |least, &pair| least.min(pair));
            if lowest >> 6 >= u64::from(NEVER) {
                break;
            }
            let at = (lowest & 63) as usize;
            let next = (alive & (!1 << at)).trailing_zeros() as usize;
            alive &= !(1 << next);
            tokens[at] = self.pairs.merged((lowest >> 6) as u32);
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
    }

    /// Merges a piece of any length; `room` is overwritten.
    fn merge_with_heap(&self, piece: &[u8], room: &mut LongPiece, ids: &mut Vec<TokenId>) {
        let n = piece.len();
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
            room.nodes[at].token = self.pairs.merged(rank);
            room.nodes[at].next = gone.next;
            if gone.next < n {
                room.nodes[gone.next].previous = at;
            }
            for left in [node.previous, at] {
                // The first token has `usize::MAX` before it.
                if left < n {
                    let right = room.nodes[left].next;
                    let rank =
                        if right < n { self.rank(room.nodes[left].token, room.nodes[right].token) } else { NEVER };
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
    }

    #[inline]
    fn rank(&self, left: u32, right: u32) -> u32 {
        self.pairs.rank(left, right)
    }
}

/// A pair as a number: pairs of lower rank are less, and of equal rank those further left.
#[inline]
fn ranked(rank: u32, at: usize) -> u64 {
    u64::from(rank) << 6 | at as u64
}

/// Room to merge a long piece in; the first token of a run of merged bytes sits at its first byte.
#[derive(Debug, Default)]
struct LongPiece {
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::tokens::bpe::Merge;

    /// The definition: find the lowest rank, merge its leftmost pair, begin again.
    fn merge_by_definition(merges: &[Merge], tokens: &mut Vec<u32>) {
        let rank = |pair: &[u32]| merges.iter().position(|merge| [merge.left, merge.right] == *pair);
        while let Some((rank, at)) =
            tokens.windows(2).enumerate().filter_map(|(at, pair)| Some((rank(pair)?, at))).min()
        {
            tokens.splice(at..at + 2, [merges[rank].merged]);
        }
    }

    /// Tokens are their bytes' values; each pair of numbers picks two tokens that are there already.
    fn merger(picks: &[(u32, u32)]) -> (Merger, Vec<Merge>) {
        let mut merges = Vec::new();
        for (at, &(left, right)) in picks.iter().enumerate() {
            let n_known = 3 + at as u32;
            let token = |pick: u32| if pick % n_known < 3 { 97 + pick % n_known } else { 253 + pick % n_known };
            merges.push(Merge { left: token(left), right: token(right), merged: 256 + at as u32 });
        }
        let id_of_byte = std::array::from_fn(|byte| byte as u32);
        (Merger::new(id_of_byte, PairTable::new(merges.clone(), &id_of_byte)), merges)
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn all_ways_to_merge_are_the_definition(
            picks in prop::collection::vec((0..1000u32, 0..1000u32), 0..30),
            piece in "[abc]{2,64}|a{2,64}|(ab){1,32}|[ab]{2,64}",
        ) {
            let (merger, merges) = merger(&picks);
            let mut expected: Vec<u32> = piece.bytes().map(u32::from).collect();
            merge_by_definition(&merges, &mut expected);
            let expected: Vec<TokenId> = expected.into_iter().map(TokenId).collect();
            let mut searched = Vec::new();
            merger.merge_searching(piece.as_bytes(), &mut searched);
            prop_assert_eq!(&searched, &expected);
            let mut heaped = Vec::new();
            merger.merge_with_heap(piece.as_bytes(), &mut LongPiece::default(), &mut heaped);
            prop_assert_eq!(&heaped, &expected);
            if let Some(backtracker) = Backtracker::new(&merger) {
                let mut backtracked = Vec::new();
                backtracker.encode(&merger, piece.as_bytes(), &mut Path::default(), &mut backtracked);
                prop_assert_eq!(&backtracked, &expected);
            }
            // Through the front door, twice: the second time from the cache where it fits.
            let mut workspace = Workspace::default();
            for _ in 0..2 {
                let mut ids = Vec::new();
                merger.encode(&Pattern::Gpt2, piece.as_bytes(), &mut workspace, &mut ids);
                prop_assert_eq!(&ids, &expected);
            }
        }

        #[test]
        fn lines_are_encoded_as_if_alone(lines in prop::collection::vec("[ab \\t']{0,12}\\r?", 0..8)) {
            let (merger, _) = merger(&[(0, 1), (3, 0), (2, 2)]);
            let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
            let (mut ids, mut ends) = (Vec::new(), Vec::new());
            merger.encode_lines(&Pattern::Gpt2, text.as_bytes(), &mut Workspace::default(), &mut ids, &mut ends);
            prop_assert_eq!(ends.len(), lines.len());
            let mut start = 0;
            for (line, end) in lines.iter().zip(ends) {
                let line = line.strip_suffix('\r').unwrap_or(line);
                let mut alone = Vec::new();
                merger.encode(&Pattern::Gpt2, line.as_bytes(), &mut Workspace::default(), &mut alone);
                prop_assert_eq!(&ids[start..end], &alone);
                start = end;
            }
        }
    }

    #[test]
    fn a_million_equal_bytes_are_merged_in_the_end() {
        let picks: Vec<(u32, u32)> = (0..20u32).map(|i| if i == 0 { (0, 0) } else { (i + 2, i + 2) }).collect();
        let (merger, _) = merger(&picks);
        let mut ids = Vec::new();
        merger.encode(&Pattern::Gpt2, &vec![b'a'; 1_000_000], &mut Workspace::default(), &mut ids);
        // Quadratic time would be 10¹² steps: the test would be seen to hang.
        assert!(ids.len() < 20, "2^19 + …: {} tokens", ids.len());
    }
}
