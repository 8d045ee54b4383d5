//! Pieces → ids: the learned merges applied.
//!
//! In: the bytes of a piece. Out: its tokens. The one idea: a piece that was seen before is looked up, whole; a new one
//! is merged by definition: always the pair of the lowest rank, the leftmost of equals. Short pieces are searched for it
//! from end to end; long ones go through [`backtrack`](super::backtrack) or, where that does not hold, keep their pairs in
//! a heap.

use std::ops::Range;
use std::sync::OnceLock;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::Relaxed;

use binary_heap_plus::BinaryHeap;
use hashbrown::HashMap;
use rustc_hash::FxBuildHasher;

use super::backtrack::{Backtracker, Path};
use super::cache::{MAX_INLINE, MAX_KEPT, PieceCache, Place, fingerprint};
use super::count::{MAX_SHORT, short_key};
use super::cut::MAX_CUTS;
use super::pair_table::PairTable;
use crate::tokens::TokenId;
use crate::tokens::pretokenize::{LineFeed, Pattern};

/// The longest piece that is searched from end to end.
const MAX_SEARCHED: usize = 64;

/// After so many bytes of new pieces the backtracker is built, which takes as long as merging about as many.
const WORTH_BACKTRACKING: usize = 1 << 16;

/// The rank of a pair that does not merge.
const NEVER: u32 = u32::MAX;

/// What turns pieces into ids; shared by all workers.
#[derive(Debug)]
pub(crate) struct Merger {
    pub(crate) id_of_byte: [u32; 256],
    pub(crate) pairs: PairTable,
    /// The tokens by their bytes, where a piece that is a token is not merged (`ignore_merges`).
    pub(crate) whole: Option<HashMap<Box<[u8]>, u32, FxBuildHasher>>,
    /// `None` where it does not work.
    backtracker: OnceLock<Option<Backtracker>>,
    /// How many bytes were merged without it, about.
    n_merged: AtomicUsize,
}

impl Clone for Merger {
    fn clone(&self) -> Merger {
        Merger {
            id_of_byte: self.id_of_byte,
            pairs: self.pairs.clone(),
            whole: self.whole.clone(),
            backtracker: self.backtracker.clone(),
            n_merged: AtomicUsize::new(self.n_merged.load(Relaxed)),
        }
    }
}

/// One worker's memory: what it has seen, and room to merge in.
#[derive(Debug)]
pub(crate) struct Workspace {
    cache: PieceCache,
    /// The pieces being looked up.
    asked: Box<[Asked; MAX_ASKED]>,
    path: Path,
    long: LongPiece,
}

/// A piece, or a part of one, that is being looked up.
#[derive(Debug, Clone, Copy, Default)]
struct Asked {
    /// 0 for a long piece, [`PART`] for a long part.
    key: u128,
    /// Where it would be in the cache.
    place: Place,
    /// In the text; it begins where the one before ends.
    end: usize,
}

/// In the key of a part that must not be taken for a piece with the same bytes.
const PART: u128 = 1 << 127;

impl Default for Workspace {
    fn default() -> Workspace {
        Workspace {
            cache: PieceCache::default(),
            asked: Box::new([Asked::default(); MAX_ASKED]),
            path: Path::default(),
            long: LongPiece::default(),
        }
    }
}

/// So many pieces are looked up at a time: enough for the memory to answer while the next are asked for.
const LOOKED_UP: usize = 64;

/// Or a few more, when the last is cut into parts.
const MAX_ASKED: usize = LOOKED_UP + MAX_CUTS;

impl Merger {
    pub(crate) fn new(id_of_byte: [u32; 256], pairs: PairTable) -> Merger {
        Merger { id_of_byte, pairs, whole: None, backtracker: OnceLock::new(), n_merged: AtomicUsize::new(0) }
    }

    /// Appends the ids of `text` to `ids`.
    pub(crate) fn encode(&self, pattern: &Pattern, text: &[u8], workspace: &mut Workspace, ids: &mut Vec<TokenId>) {
        let mut start = 0;
        pattern.for_each_batch(text, LineFeed::Within, |ends| {
            start = self.encode_batch(text, start, ends, workspace, ids);
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
                let n = rest.iter().position(|&end| text[end - 1] == b'\n');
                let (batch, behind) = rest.split_at(n.unwrap_or(rest.len()));
                start = self.encode_batch(text, start, batch, workspace, ids);
                rest = behind;
                if n.is_some()
                    && let Some((&end, behind)) = rest.split_first()
                {
                    let white = &text[start..end - 1];
                    let white = white.strip_suffix(b"\r").unwrap_or(white);
                    if !white.is_empty() {
                        self.encode_batch(text, start, &[start + white.len()], workspace, ids);
                    }
                    ends.push(ids.len());
                    start = end;
                    rest = behind;
                }
            }
        });
    }

    /// Appends the ids of the pieces between `start` and each of `ends`, none of them empty; returns the last end.
    fn encode_batch(
        &self,
        text: &[u8],
        start: usize,
        ends: &[usize],
        workspace: &mut Workspace,
        ids: &mut Vec<TokenId>,
    ) -> usize {
        let (mut first, mut n_asked, mut answered) = (start, 0, start);
        let mut ends = ends.iter();
        loop {
            let slots = workspace.cache.slots();
            let mut long = None;
            // In this order no end is taken that there is no room for.
            for (asked, &end) in workspace.asked[n_asked..LOOKED_UP].iter_mut().zip(ends.by_ref()) {
                if end - first > MAX_SHORT {
                    long = Some(end);
                    break;
                }
                let key = short_key(text, first, end);
                *asked = Asked { key, place: slots.place(key), end };
                n_asked += 1;
                first = end;
            }
            if let Some(end) = long {
                self.cut(text, first..end, |parts| {
                    let slots = workspace.cache.slots();
                    for (&(end, key), asked) in parts.iter().zip(&mut workspace.asked[n_asked..]) {
                        *asked = Asked { key, place: slots.place(key), end };
                    }
                    n_asked += parts.len();
                    if n_asked >= LOOKED_UP {
                        self.answer(text, answered, n_asked, workspace, ids);
                        answered = workspace.asked[n_asked - 1].end;
                        n_asked = 0;
                    }
                });
                first = end;
            }
            if n_asked >= LOOKED_UP || long.is_none() {
                self.answer(text, answered, n_asked, workspace, ids);
                (answered, n_asked) = (first, 0);
                if ends.len() == 0 {
                    return first;
                }
            }
        }
    }

    /// Hands the parts of a long piece that can be encoded by themselves to `parts`, some at a time: where each ends, and
    /// its key.
    #[inline]
    fn cut(&self, text: &[u8], piece: Range<usize>, mut parts: impl FnMut(&[(usize, u128)])) {
        let key = |first: usize, end: usize| match end - first {
            1..=MAX_SHORT => short_key(text, first, end),
            ..=MAX_KEPT => fingerprint(&text[first..end]),
            _ => 0,
        };
        let cutter = match self.find_whole(&text[piece.clone()]) {
            Some(_) => None,
            None => self.backtracker(piece.len()).map(Backtracker::cutter),
        };
        let Some(cutter) = cutter else { return parts(&[(piece.end, key(piece.start, piece.end))]) };
        // A part must not be taken for a whole piece, where that makes a difference.
        let mark = if self.whole.is_some() { PART } else { 0 };
        let mut first = piece.start;
        let mut found = [(0, 0); MAX_CUTS];
        cutter.for_each_cut(&text[piece.clone()], |places| {
            for (place, part) in places.iter().zip(&mut found) {
                let end = piece.start + place;
                *part = (end, key(first, end) | mark);
                first = end;
            }
            parts(&found[..places.len()]);
        });
        parts(&[(piece.end, key(first, piece.end) | if first > piece.start { mark } else { 0 })]);
    }

    /// Appends the ids of the first `n` pieces that were asked for; they begin at `start`.
    fn answer(&self, text: &[u8], start: usize, n: usize, workspace: &mut Workspace, ids: &mut Vec<TokenId>) {
        // A whole slot is written for every piece, and the next piece begins behind the ids that there are.
        let mut found = [TokenId(0); MAX_ASKED * MAX_INLINE + 1];
        let (mut first, mut done) = (start, 0);
        while done < n {
            let slots = workspace.cache.slots();
            let mut n_found = 0;
            let mut other = None;
            for &Asked { key, place, end } in &workspace.asked[done..n] {
                let slot = slots.get(key, place);
                match slot {
                    Some(slot) if slot[MAX_INLINE].index() <= MAX_INLINE => {
                        found[n_found..n_found + MAX_INLINE + 1].copy_from_slice(slot);
                        n_found += slot[MAX_INLINE].index();
                    }
                    _ => {
                        other = Some((slot, key, end));
                        break;
                    }
                }
                first = end;
                done += 1;
            }
            ids.extend_from_slice(&found[..n_found]);
            let Some((slot, key, end)) = other else { break };
            let piece = &text[first..end];
            match slot.and_then(|slot| workspace.cache.more(slot, piece)) {
                Some(more) => ids.extend_from_slice(more),
                None => {
                    let known = ids.len();
                    self.merge_new(piece, key, workspace, ids);
                    if key & !PART != 0 {
                        workspace.cache.put(key, piece, &ids[known..]);
                    }
                }
            }
            first = end;
            done += 1;
        }
    }

    /// Appends the ids of a piece that was not seen before.
    fn merge_new(&self, piece: &[u8], key: u128, workspace: &mut Workspace, ids: &mut Vec<TokenId>) {
        if key & PART == 0
            && let Some(id) = self.find_whole(piece)
        {
            return ids.push(id);
        }
        match self.backtracker(piece.len()) {
            Some(backtracker) => backtracker.encode(self, piece, &mut workspace.path, ids),
            None if piece.len() <= MAX_SEARCHED => self.merge_searching(piece, ids),
            None => self.merge_with_heap(piece, &mut workspace.long, ids),
        }
    }

    /// What knows how to go without merging, where that works; made when so much has been merged that it is worth it.
    fn backtracker(&self, n_bytes: usize) -> Option<&Backtracker> {
        match self.backtracker.get() {
            Some(backtracker) => backtracker.as_ref(),
            None if self.n_merged.fetch_add(n_bytes, Relaxed) < WORTH_BACKTRACKING => None,
            None => self.backtracker.get_or_init(|| Backtracker::new(self)).as_ref(),
        }
    }

    /// The token that the piece is, where that goes before merging.
    fn find_whole(&self, piece: &[u8]) -> Option<TokenId> {
        self.whole.as_ref()?.get(piece).copied().map(TokenId)
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
