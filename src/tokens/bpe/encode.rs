//! Pieces → ids: the learned merges applied.
//!
//! In: the bytes of a piece. Out: its tokens. The one idea: a piece that was seen before is looked up, whole; a new one
//! is merged by definition: always the pair of the lowest rank, the leftmost of equals. Short pieces are searched for it
//! from end to end, long ones keep their pairs in a heap, so that a piece of n bytes costs O(n log n).

use binary_heap_plus::BinaryHeap;

use super::cache::PieceCache;
use super::count::{MAX_SHORT, short_key};
use super::pair_table::PairTable;
use crate::tokens::TokenId;
use crate::tokens::pretokenize::{LineFeed, Pattern};

/// Up to so many bytes a search from end to end is quicker than a heap.
const MAX_SEARCHED: usize = 64;

/// The rank of a pair that does not merge.
const NEVER: u32 = u32::MAX;

/// What turns pieces into ids; shared by all workers.
#[derive(Debug, Clone)]
pub(crate) struct Merger {
    pub(crate) id_of_byte: [u32; 256],
    pub(crate) pairs: PairTable,
}

/// One worker's memory: what it has seen, and room to merge in.
#[derive(Debug, Default)]
pub(crate) struct Workspace {
    cache: PieceCache,
    long: LongPiece,
}

impl Merger {
    /// Appends the ids of `text` to `ids`.
    pub(crate) fn encode(&self, pattern: Pattern, text: &[u8], workspace: &mut Workspace, ids: &mut Vec<TokenId>) {
        let mut start = 0;
        pattern.for_each_piece(text, LineFeed::Within, |piece| {
            let end = start + piece.len();
            self.encode_at(text, start, end, workspace, ids);
            start = end;
        });
    }

    /// Appends the ids of each line of `text` to `ids`, and where in `ids` each line ends that has a line feed to `ends`.
    /// Line feeds, and the carriage returns before them, have no ids.
    pub(crate) fn encode_lines(
        &self,
        pattern: Pattern,
        text: &[u8],
        workspace: &mut Workspace,
        ids: &mut Vec<TokenId>,
        ends: &mut Vec<usize>,
    ) {
        let mut start = 0;
        pattern.for_each_piece(text, LineFeed::Ends, |piece| {
            let end = start + piece.len();
            // With lines cut apart a line feed is always the last byte of a piece of white space, and that white space
            // is one piece with or without it.
            if let Some(rest) = piece.strip_suffix(b"\n") {
                let rest = rest.strip_suffix(b"\r").unwrap_or(rest);
                self.encode_at(text, start, start + rest.len(), workspace, ids);
                ends.push(ids.len());
            } else {
                self.encode_at(text, start, end, workspace, ids);
            }
            start = end;
        });
    }

    #[inline]
    fn encode_at(&self, text: &[u8], start: usize, end: usize, workspace: &mut Workspace, ids: &mut Vec<TokenId>) {
        match end - start {
            0 => {}
            1 => ids.push(TokenId(self.id_of_byte[text[start] as usize])),
            2..=MAX_SHORT => {
                let key = short_key(text, start, end);
                if !workspace.cache.get(key, ids) {
                    let first = ids.len();
                    self.merge_searching(&text[start..end], ids);
                    workspace.cache.put(key, &ids[first..]);
                }
            }
            _ if end - start <= MAX_SEARCHED => self.merge_searching(&text[start..end], ids),
            _ => self.merge_with_heap(&text[start..end], &mut workspace.long, ids),
        }
    }

    /// Merges a piece of 2 to 64 bytes.
    fn merge_searching(&self, piece: &[u8], ids: &mut Vec<TokenId>) {
        let mut tokens = [0u32; MAX_SEARCHED];
        // `ranks[i]` is that of the pair of tokens i and i + 1.
        let mut ranks = [NEVER; MAX_SEARCHED];
        let mut n = piece.len();
        for (token, &byte) in tokens.iter_mut().zip(piece) {
            *token = self.id_of_byte[byte as usize];
        }
        for (rank, bytes) in ranks.iter_mut().zip(piece.windows(2)) {
            *rank = self.pairs.byte_pair(bytes[0], bytes[1]);
        }
        loop {
            let lowest = *ranks[..n].iter().min().expect("a piece has a byte");
            if lowest == NEVER {
                break;
            }
            let at = ranks[..n].iter().position(|&rank| rank == lowest).expect("the lowest is one of them");
            tokens[at] = self.pairs.merged(lowest);
            tokens.copy_within(at + 2..n, at + 1);
            ranks.copy_within(at + 1..n, at);
            n -= 1;
            ranks[n] = NEVER;
            if at + 1 < n {
                ranks[at] = self.rank(tokens[at], tokens[at + 1]);
            }
            if at > 0 {
                ranks[at - 1] = self.rank(tokens[at - 1], tokens[at]);
            }
        }
        ids.extend(tokens[..n].iter().map(|&token| TokenId(token)));
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
        (Merger { id_of_byte, pairs: PairTable::new(merges.clone(), &id_of_byte) }, merges)
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn all_ways_to_merge_are_the_definition(
            picks in prop::collection::vec((0..1000u32, 0..1000u32), 0..30),
            piece in "[abc]{2,64}|a{2,64}|(ab){1,32}",
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
            // Through the front door, twice: the second time from the cache where it fits.
            let mut workspace = Workspace::default();
            for _ in 0..2 {
                let mut ids = Vec::new();
                merger.encode(Pattern::Gpt2, piece.as_bytes(), &mut workspace, &mut ids);
                prop_assert_eq!(&ids, &expected);
            }
        }

        #[test]
        fn lines_are_encoded_as_if_alone(lines in prop::collection::vec("[ab \\t']{0,12}\\r?", 0..8)) {
            let (merger, _) = merger(&[(0, 1), (3, 0), (2, 2)]);
            let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
            let (mut ids, mut ends) = (Vec::new(), Vec::new());
            merger.encode_lines(Pattern::Gpt2, text.as_bytes(), &mut Workspace::default(), &mut ids, &mut ends);
            prop_assert_eq!(ends.len(), lines.len());
            let mut start = 0;
            for (line, end) in lines.iter().zip(ends) {
                let line = line.strip_suffix('\r').unwrap_or(line);
                let mut alone = Vec::new();
                merger.encode(Pattern::Gpt2, line.as_bytes(), &mut Workspace::default(), &mut alone);
                prop_assert_eq!(&ids[start..end], &alone);
                start = end;
            }
        }
    }

    #[test]
    fn a_million_equal_bytes_take_less_than_a_second_even_unoptimised() {
        let picks: Vec<(u32, u32)> = (0..20u32).map(|i| if i == 0 { (0, 0) } else { (i + 2, i + 2) }).collect();
        let (merger, _) = merger(&picks);
        let start = std::time::Instant::now();
        let mut ids = Vec::new();
        merger.encode(Pattern::Gpt2, &vec![b'a'; 1_000_000], &mut Workspace::default(), &mut ids);
        assert!(ids.len() < 20, "2^19 + …: {} tokens", ids.len());
        assert!(start.elapsed().as_secs() < 5, "{:?}", start.elapsed());
    }
}
