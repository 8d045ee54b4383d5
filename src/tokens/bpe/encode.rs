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

use hashbrown::HashMap;

use super::backtrack::{Backtracker, Path};
use super::cache::{Asked, Lines, MAX_INLINE, MAX_KEPT, PieceCache, fingerprint};
use super::count::{MAX_SHORT, short_key};
use super::cut::MAX_PLACES;
use super::merge::LongPiece;
use super::pair_table::PairTable;
use crate::tokens::TokenId;
use crate::tokens::pretokenize::{LineFeed, Pattern};

/// After so many bytes of new pieces the backtracker is built, which takes as long as merging about as many.
const WORTH_BACKTRACKING: usize = 1 << 16;

/// What turns pieces into ids; shared by all workers.
#[derive(Debug)]
pub(crate) struct Merger {
    pub(crate) id_of_byte: [u32; 256],
    pub(crate) pairs: PairTable,
    /// The tokens by their bytes, where a piece that is a token is not merged (`ignore_merges`).
    pub(crate) whole: Option<HashMap<Box<[u8]>, u32>>,
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
    /// Their ids.
    found: Box<[TokenId; MAX_FOUND]>,
    path: Path,
    long: LongPiece,
}

/// In the key of a part that must not be taken for a piece with the same bytes.
const PART: u128 = 1 << 127;

impl Default for Workspace {
    fn default() -> Workspace {
        Workspace {
            cache: PieceCache::default(),
            asked: Box::new([Asked::default(); MAX_ASKED]),
            found: Box::new([TokenId(0); MAX_FOUND]),
            path: Path::default(),
            long: LongPiece::default(),
        }
    }
}

/// So many pieces are looked up at a time: enough for the memory to answer while the next are asked for.
const LOOKED_UP: usize = 256;

/// Or a few more, when the last is cut into parts.
const MAX_ASKED: usize = LOOKED_UP + MAX_PLACES;

/// Room for the ids of so many.
const MAX_FOUND: usize = MAX_ASKED * MAX_INLINE;

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
    /// Line feeds, and the carriage returns before them, have no ids: these are the ids of each line by itself.
    pub(crate) fn encode_lines(
        &self,
        pattern: &Pattern,
        text: &[u8],
        workspace: &mut Workspace,
        ids: &mut Vec<TokenId>,
        ends: &mut Vec<usize>,
    ) {
        if pattern.is_known() {
            return self.encode_known_lines(pattern, text, workspace, ids, ends);
        }
        // Whatever a pattern makes of a line end, it must not see it.
        for line in text.split_inclusive(|&byte| byte == b'\n') {
            self.encode(pattern, without_end(line), workspace, ids);
            if line.ends_with(b"\n") {
                ends.push(ids.len());
            }
        }
    }

    /// The same for the patterns whose pieces are known: many lines are cut at a time, line ends included.
    ///
    /// These patterns take a line end into the last piece of its line, all of it, and to the pieces before it is white
    /// space like others, which the end of a text is, too. So only what the last piece has before the line end is cut once
    /// more: it may be several (` \r `, in which the line end made one piece of two).
    fn encode_known_lines(
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
                let n = rest.iter().position(|&end| text[end - 1] == b'\n');
                let (batch, behind) = rest.split_at(n.unwrap_or(rest.len()));
                start = self.encode_batch(text, start, batch, workspace, ids);
                rest = behind;
                if n.is_some()
                    && let Some((&end, behind)) = rest.split_first()
                {
                    let last = without_end(&text[start..end]);
                    if !last.is_empty() {
                        self.encode(pattern, last, workspace, ids);
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
        mut ends: &[usize],
        workspace: &mut Workspace,
        ids: &mut Vec<TokenId>,
    ) -> usize {
        let (mut first, mut n_asked, mut answered) = (start, 0, start);
        loop {
            let lines = workspace.cache.lines();
            let n_short = ask(text, first, ends, lines, &mut workspace.asked[n_asked..LOOKED_UP]);
            if n_short > 0 {
                first = ends[n_short - 1];
                n_asked += n_short;
                ends = &ends[n_short..];
            }
            if n_asked < LOOKED_UP
                && let Some((&end, behind)) = ends.split_first()
            {
                self.cut(text, first..end, |parts| {
                    let lines = workspace.cache.lines();
                    for (&(end, key), asked) in parts.iter().zip(&mut workspace.asked[n_asked..]) {
                        *asked = lines.ask(key, end);
                    }
                    n_asked += parts.len();
                    if n_asked >= LOOKED_UP {
                        self.answer(text, answered, n_asked, workspace, ids);
                        answered = workspace.asked[n_asked - 1].end;
                        n_asked = 0;
                    }
                });
                first = end;
                ends = behind;
            }
            if n_asked >= LOOKED_UP || ends.is_empty() {
                self.answer(text, answered, n_asked, workspace, ids);
                (answered, n_asked) = (first, 0);
                if ends.is_empty() {
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
        let mut found = [(0, 0); MAX_PLACES];
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
        let (mut first, mut done) = (start, 0);
        loop {
            let (n_known, n_ids) = workspace.cache.look_up(&workspace.asked[done..n], &mut workspace.found[..]);
            ids.extend_from_slice(&workspace.found[..n_ids]);
            done += n_known;
            if done > 0 {
                first = workspace.asked[done - 1].end;
            }
            if done == n {
                break;
            }
            let asked = workspace.asked[done];
            let piece = &text[first..asked.end];
            if !workspace.cache.get(asked, piece, ids) {
                let known = ids.len();
                self.merge_new(piece, asked.key, workspace, ids);
                if asked.key & !PART != 0 {
                    workspace.cache.put(asked.key, piece, &ids[known..]);
                }
            }
            done += 1;
            first = asked.end;
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
            None => {
                self.merge_by_rank(piece, &mut workspace.long, ids);
            }
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
}

/// A line without its line feed and the carriage return before that.
fn without_end(line: &[u8]) -> &[u8] {
    line.strip_suffix(b"\n").map_or(line, |line| line.strip_suffix(b"\r").unwrap_or(line))
}

/// Asks the cache for the pieces between `first` and each of `ends`, up to the first long one and as far as there is room;
/// returns how many.
// By itself, so that all it needs stays in registers.
#[inline(never)]
fn ask(text: &[u8], mut first: usize, ends: &[usize], lines: Lines<'_>, asked: &mut [Asked]) -> usize {
    let mut n = 0;
    for (asked, &end) in asked.iter_mut().zip(ends) {
        if end - first > MAX_SHORT {
            break;
        }
        *asked = lines.ask(short_key(text, first, end), end);
        n += 1;
        first = end;
    }
    n
}

#[cfg(test)]
pub(super) mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::tokens::bpe::pair_table::Merge;

    /// The definition: find the lowest rank, merge its leftmost pair, begin again.
    fn merge_by_definition(merges: &[Merge], tokens: &mut Vec<u32>) {
        let rank = |pair: &[u32]| merges.iter().rposition(|merge| [merge.left, merge.right] == *pair);
        while let Some((rank, at)) =
            tokens.windows(2).enumerate().filter_map(|(at, pair)| Some((rank(pair)?, at))).min()
        {
            tokens.splice(at..at + 2, [merges[rank].merged]);
        }
    }

    /// Tokens are their bytes' values, then 256 and so on in the order of the pairs.
    pub(in crate::tokens::bpe) fn pairs_to_merges(pairs: &[(u32, u32)]) -> Vec<Merge> {
        (256..).zip(pairs).map(|(merged, &(left, right))| Merge { left, right, merged }).collect()
    }

    /// Each pair of numbers picks two tokens that are there already, of the alphabet's at first. Tokens are the same when their
    /// bytes are, so that some are made by several merges, and some pairs are listed twice. `by_token`: in the order of the
    /// tokens that they make, as in files that were converted from ranks; some have a part then that only a later one makes.
    pub(in crate::tokens::bpe) fn picked(alphabet: &[u8], picks: &[(u32, u32)], by_token: bool) -> Vec<Merge> {
        let mut known: Vec<(u32, Vec<u8>)> = alphabet.iter().map(|&byte| (byte.into(), vec![byte])).collect();
        let mut merges = Vec::new();
        for &(left, right) in picks {
            let [left, right] = [left, right].map(|pick| known[pick as usize % known.len()].clone());
            let bytes = [left.1, right.1].concat();
            let merged = known.iter().find(|token| token.1 == bytes).map(|token| token.0);
            let merged = merged.unwrap_or_else(|| {
                let new = 256 + (known.len() - alphabet.len()) as u32;
                known.push((new, bytes));
                new
            });
            merges.push(Merge { left: left.0, right: right.0, merged });
        }
        if by_token {
            merges.sort_by_key(|merge| merge.merged);
        }
        merges
    }

    pub(in crate::tokens::bpe) fn merger_of(merges: &[Merge]) -> Merger {
        let id_of_byte = std::array::from_fn(|byte| byte as u32);
        Merger::new(id_of_byte, PairTable::new(merges.to_vec(), &id_of_byte))
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn all_ways_to_merge_are_the_definition(
            picks in prop::collection::vec((0..1000u32, 0..1000u32), 0..30),
            by_token in any::<bool>(),
            piece in "[abc]{2,64}|a{2,64}|(ab){1,32}|[ab]{2,64}",
        ) {
            let merges = picked(b"abc", &picks, by_token);
            let merger = merger_of(&merges);
            let mut expected: Vec<u32> = piece.bytes().map(u32::from).collect();
            merge_by_definition(&merges, &mut expected);
            let expected: Vec<TokenId> = expected.into_iter().map(TokenId).collect();
            let mut searched = Vec::new();
            merger.merge_by_rank(piece.as_bytes(), &mut LongPiece::default(), &mut searched);
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
        fn lines_are_encoded_as_if_alone(
            lines in prop::collection::vec("[ab1!/' \\t\\r\u{a0}\u{3000}é]{0,12}\\r?", 0..8),
            is_ended in any::<bool>(),
        ) {
            let [a, b] = [97, 98];
            let merger = merger_of(&pairs_to_merges(&[(a, b), (256, a), (32, a), (13, 32)]));
            let mut text: String = lines.iter().map(|line| format!("{line}\n")).collect();
            let mut expected: Vec<&str> = lines.iter().map(|line| line.strip_suffix('\r').unwrap_or(line)).collect();
            if !is_ended && !lines.is_empty() {
                // What has no line feed behind it is no line end.
                text.pop();
                *expected.last_mut().unwrap() = lines.last().unwrap();
            }
            // A line end within a match, or not in the piece before it, or cut in two.
            let custom = [r"\d+\n|\d", r"\r|[^\S\r\n]+", r"[^\r]+", r" ?\p{L}+|\s+(?!\S)|\s+", r"\s+\z|\S+|\s"];
            let custom = custom.map(|source| Pattern::custom(source).unwrap());
            let sequence = Pattern::sequence(vec![custom[0].clone(), Pattern::Cl100k]);
            let known = [Pattern::Gpt2, Pattern::Cl100k, Pattern::Cl100kTiktoken, Pattern::O200k, Pattern::Whole];
            for pattern in known.into_iter().chain(custom).chain([sequence]) {
                let (mut ids, mut ends) = (Vec::new(), Vec::new());
                merger.encode_lines(&pattern, text.as_bytes(), &mut Workspace::default(), &mut ids, &mut ends);
                prop_assert_eq!(ends.len(), text.matches('\n').count());
                if ends.len() < expected.len() {
                    ends.push(ids.len());
                }
                let mut start = 0;
                for (line, end) in expected.iter().zip(ends) {
                    let mut alone = Vec::new();
                    merger.encode(&pattern, line.as_bytes(), &mut Workspace::default(), &mut alone);
                    prop_assert_eq!(&ids[start..end], &alone, "{:?} on {:?}", pattern, line);
                    start = end;
                }
                prop_assert_eq!(start, ids.len());
            }
        }
    }

    #[test]
    fn a_million_equal_bytes_are_merged_in_the_end() {
        // A4
        let picks: Vec<(u32, u32)> = (0..20u32).map(|i| (i, i)).collect();
        let merger = merger_of(&picked(b"a", &picks, false));
        let mut ids = Vec::new();
        merger.encode(&Pattern::Gpt2, &vec![b'a'; 1_000_000], &mut Workspace::default(), &mut ids);
        // Quadratic time would be 10¹² steps: the test would be seen to hang.
        assert!(ids.len() < 20, "2^19 + …: {} tokens", ids.len());
    }
}
