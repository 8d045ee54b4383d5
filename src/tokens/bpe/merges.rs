//! The merges that a text teaches.
//!
//! In: different pieces with their counts. Out: pairs of tokens, most frequent first, each of which becomes a token.
//! The one idea: all pieces lie in one flat array of cells, and a token keeps its number in its first and its last
//! cell; so a token's neighbours are found at once, a merge touches only the places where its pair occurs, and no piece
//! is ever moved or scanned again.
//!
//! Pair counts only fall after a pair is born, so a heap may hold counts that are too high: the top is refreshed until
//! it is true. This is the algorithm of Zouhar et al. 2023 ("A Formal Perspective on Byte-Pair Encoding") with the
//! choices of Hugging Face's trainer, so that the merges are the same: overlapping occurrences count (`aaaa` has three
//! times `aa`), pairs merge from left to right, equal counts go to the smaller left number, then the smaller right.

use std::cmp::Ordering;

use binary_heap_plus::{BinaryHeap, PeekMut};
use hashbrown::HashMap;
use hashbrown::hash_map::Entry;

use super::count::PieceCounts;
use crate::error::{Error, Result};
use crate::progress::{Event, Progress};
use crate::tokens::byte_alphabet;

/// Two neighbouring tokens, left and right.
pub(crate) type Pair = (u32, u32);

/// A pair that may be the next to merge.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Candidate {
    /// How often the pair occurred when this was written; never less than now.
    pub(crate) count: i64,
    pub(crate) pair: Pair,
}

/// The order of the candidates: the greatest merges next.
///
/// By count; equal counts by the smaller left number, then the smaller right one.
pub(crate) fn most_frequent(a: &Candidate, b: &Candidate) -> Ordering {
    a.count.cmp(&b.count).then_with(|| b.pair.cmp(&a.pair))
}

/// When to stop.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// At most so many merges.
    pub(crate) n_merges: usize,
    /// Pairs that occur less often are not merged; 0 counts as 1.
    pub(crate) min_frequency: u64,
    /// Tokens have at most so many bytes; at least 2.
    pub(crate) max_len: usize,
}

/// Learns merges. Tokens 0 to 255 are the bytes in the order of [`byte_alphabet::bytes_in_order`]; merge `i` makes token
/// `256 + i`.
///
/// `order` compares candidates; the greatest merges next. `merged` hears of each merge before its token is compared.
///
/// # Errors
/// [`Error::Config`] when the different pieces together are 4 GiB or more; [`Error::Interrupted`].
pub(crate) fn learn_merges(
    pieces: PieceCounts,
    limits: Limits,
    order: impl Fn(&Candidate, &Candidate) -> Ordering,
    mut merged: impl FnMut(Pair),
    progress: &dyn Progress,
) -> Result<Vec<Pair>> {
    let min_count = i64::try_from(limits.min_frequency).unwrap_or(i64::MAX).max(1);
    let max_len = u32::try_from(limits.max_len).unwrap_or(u32::MAX);
    let mut cells = Cells::new(&pieces)?;
    // The largest thing there is by now.
    drop(pieces);
    let (mut pairs, mut places) = first_pairs(&cells, min_count);
    let first_candidates: Vec<Candidate> =
        pairs.iter().map(|(&key, occurrences)| Candidate { count: occurrences.count, pair: unpack(key) }).collect();
    let mut heap = BinaryHeap::from_vec_cmp(first_candidates, order);
    let mut merges: Vec<Pair> = Vec::new();
    let mut lens: Vec<u32> = vec![1; 256];
    let (mut left, mut right) = (Neighbors::default(), Neighbors::default());

    while merges.len() < limits.n_merges {
        let Some(mut top) = heap.peek_mut() else { break };
        // Pairs that have become rare are forgotten.
        let Some(&Occurrences { count: now, .. }) = pairs.get(&pack(top.pair)) else {
            PeekMut::pop(top);
            continue;
        };
        if top.count != now {
            top.count = now;
            continue;
        }
        let (a, b) = PeekMut::pop(top).pair;
        if merges.len().is_multiple_of(256) {
            if progress.stop_requested() {
                return Err(Error::Interrupted(" while learning merges".into()));
            }
            let (done, total) = (merges.len() as u64, Some(limits.n_merges as u64));
            progress.report(&Event::Step { stage: "learning merges", done, total, unit: "merges" });
        }
        let new = lens.len() as u32;
        let (len_a, len_b) = (lens[a as usize], lens[b as usize]);
        lens.push(len_a + len_b);
        merges.push((a, b));
        merged((a, b));

        let gone = pairs.remove(&pack((a, b))).expect("the top of the heap was looked up above");
        for &place in &places[gone.first..gone.first + gone.n as usize] {
            let at = place as usize;
            let middle = at + len_a as usize;
            // These tokens may have become part of others since the place was noted; in `aaa` by the step before.
            if cells.ids[at] != a || cells.ids[middle] != b {
                continue;
            }
            let end = middle + len_b as usize;
            let count = cells.count(at);
            left.meet(cells.ids[at - 1], count, at);
            right.meet(cells.ids[end], count, at);
            // Inner cells must not look like the beginning of a token any more.
            cells.ids[middle - 1] = INSIDE;
            cells.ids[middle] = INSIDE;
            cells.ids[at] = new;
            cells.ids[end - 1] = new;
        }

        // The right side first: in `abab` the second merge finds the token of the first on its left and takes back the
        // pair (new, a), which the first has made on its right.
        right.settle(
            min_count,
            &mut places,
            |_| 0,
            |y, born| {
                fall(&mut pairs, (b, y), born.count, min_count);
                if born.count >= min_count && len_a + len_b + lens[y as usize] <= max_len {
                    pairs.insert(pack((new, y)), born);
                    heap.push(Candidate { count: born.count, pair: (new, y) });
                }
            },
        );
        left.settle(
            min_count,
            &mut places,
            |x| lens[x as usize],
            |x, born| {
                fall(&mut pairs, (x, a), born.count, min_count);
                if born.count >= min_count && lens[x as usize] + len_a + len_b <= max_len {
                    pairs.insert(pack((x, new)), born);
                    heap.push(Candidate { count: born.count, pair: (x, new) });
                }
            },
        );
    }
    Ok(merges)
}

/// Before and behind each piece.
const SEPARATOR: u32 = u32::MAX;
/// In a cell that is neither the first nor the last of its token; only those that once were an end must say so.
const INSIDE: u32 = u32::MAX - 1;

/// All pieces in a row, one cell a byte, with a separator before, between and behind them.
struct Cells {
    /// The token, in its first and its last cell.
    ids: Vec<u32>,
    /// Which piece the cell belongs to.
    piece: Vec<u32>,
    /// How often each piece occurs.
    counts: Vec<i64>,
}

impl Cells {
    fn new(pieces: &PieceCounts) -> Result<Cells> {
        let mut n_cells = 1usize;
        pieces.for_each(|piece, _| n_cells += piece.len() + 1);
        if n_cells > INSIDE as usize {
            let reason = format!(
                "the text has {n_cells} bytes of different pieces, at most 4 GiB can be learned from; train on a part of it"
            );
            return Err(Error::config("vocab-size", reason));
        }
        let mut id_of_byte = [0; 256];
        for (id, byte) in byte_alphabet::bytes_in_order().enumerate() {
            id_of_byte[byte as usize] = id as u32;
        }
        let mut cells = Cells {
            ids: Vec::with_capacity(n_cells),
            piece: Vec::with_capacity(n_cells),
            counts: Vec::with_capacity(pieces.len()),
        };
        cells.ids.push(SEPARATOR);
        cells.piece.push(0);
        pieces.for_each(|piece, count| {
            // A single byte has no pair.
            if piece.len() > 1 {
                let number = cells.counts.len() as u32;
                cells.counts.push(i64::try_from(count).unwrap_or(i64::MAX));
                cells.ids.extend(piece.iter().map(|&byte| id_of_byte[byte as usize]));
                cells.ids.push(SEPARATOR);
                cells.piece.resize(cells.ids.len(), number);
            }
        });
        Ok(cells)
    }

    /// How often the piece occurs that the cell `at` belongs to.
    fn count(&self, at: usize) -> i64 {
        self.counts[self.piece[at] as usize]
    }
}

/// Where a pair occurs, or did when it was born.
#[derive(Debug, Clone, Copy)]
struct Occurrences {
    /// How often, over all pieces and their counts.
    count: i64,
    /// `places[first..first + n]` are the first cells of its left tokens, ascending.
    first: usize,
    n: u32,
}

/// The living pairs; the key is [`pack`]ed.
type Pairs = HashMap<u64, Occurrences>;

fn pack((left, right): Pair) -> u64 {
    u64::from(left) << 32 | u64::from(right)
}

fn unpack(key: u64) -> Pair {
    ((key >> 32) as u32, key as u32)
}

/// Takes `count` occurrences from a pair, if it is one that may still merge, and forgets it if fewer than `min_count` are
/// left.
fn fall(pairs: &mut Pairs, pair: Pair, count: i64, min_count: i64) {
    if let Entry::Occupied(mut entry) = pairs.entry(pack(pair)) {
        entry.get_mut().count -= count;
        if entry.get().count < min_count {
            entry.remove();
        }
    }
}

/// The pairs of single bytes.
fn first_pairs(cells: &Cells, min_count: i64) -> (Pairs, Vec<u32>) {
    let neighbors = || cells.ids.windows(2).enumerate().filter(|(_, pair)| pair[0] < 256 && pair[1] < 256);
    let mut table = vec![Occurrences { count: 0, first: 0, n: 0 }; 256 * 256];
    for (at, pair) in neighbors() {
        let occurrences = &mut table[(pair[0] << 8 | pair[1]) as usize];
        occurrences.count = occurrences.count.saturating_add(cells.count(at));
        occurrences.n += 1;
    }
    let mut n_places = 0;
    let mut pairs = Pairs::default();
    for (key, occurrences) in table.iter_mut().enumerate() {
        if occurrences.count >= min_count {
            occurrences.first = n_places;
            n_places += occurrences.n as usize;
            pairs.insert(pack((key as u32 >> 8, key as u32 & 255)), *occurrences);
        }
    }
    let mut places = vec![0; n_places];
    for (at, pair) in neighbors() {
        let occurrences = &mut table[(pair[0] << 8 | pair[1]) as usize];
        if occurrences.count >= min_count {
            places[occurrences.first] = at as u32;
            occurrences.first += 1;
        }
    }
    (pairs, places)
}

/// What one merge meets on one of its sides: each neighbour gets one sum here and one change of the pair map at the end.
#[derive(Default)]
struct Neighbors {
    /// By token: what its new pair will be; `n == 0` for a token that was not met.
    met: Vec<Occurrences>,
    /// The tokens that were met.
    tokens: Vec<u32>,
    /// Each meeting: the neighbour and the first cell of the merge.
    meetings: Vec<(u32, u32)>,
}

impl Neighbors {
    fn meet(&mut self, token: u32, count: i64, at: usize) {
        if token == SEPARATOR {
            return;
        }
        if token as usize >= self.met.len() {
            self.met.resize(token as usize + 1, Occurrences { count: 0, first: 0, n: 0 });
        }
        let met = &mut self.met[token as usize];
        if met.n == 0 {
            self.tokens.push(token);
        }
        met.count = met.count.saturating_add(count);
        met.n += 1;
        self.meetings.push((token, at as u32));
    }

    /// Hands each neighbour and its new pair to `born`, and forgets them. Pairs of at least `min_count` have their
    /// places written to the end of `places`, `back` cells before the merge.
    fn settle(
        &mut self,
        min_count: i64,
        places: &mut Vec<u32>,
        back: impl Fn(u32) -> u32,
        mut born: impl FnMut(u32, Occurrences),
    ) {
        let mut n_places = places.len();
        for &token in &self.tokens {
            let met = &mut self.met[token as usize];
            if met.count >= min_count {
                met.first = n_places;
                n_places += met.n as usize;
            }
            born(token, *met);
        }
        places.resize(n_places, 0);
        for (token, at) in self.meetings.drain(..) {
            let met = &mut self.met[token as usize];
            if met.count >= min_count {
                places[met.first] = at - back(token);
                met.first += 1;
            }
        }
        for token in self.tokens.drain(..) {
            self.met[token as usize] = Occurrences { count: 0, first: 0, n: 0 };
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::collections::BTreeMap;
    use std::path::Path;

    use proptest::prelude::*;

    use super::*;
    use crate::progress::Silent;
    use crate::tokens::Pattern;

    fn learn(pieces: PieceCounts, n_merges: usize, min_frequency: u64) -> Vec<Pair> {
        learn_merges(pieces, Limits { n_merges, min_frequency, max_len: usize::MAX }, most_frequent, |_| {}, &Silent)
            .unwrap()
    }

    /// The definition: count all pairs again before each merge.
    fn learn_by_definition(pieces: &PieceCounts, n_merges: usize, min_frequency: u64) -> Vec<Pair> {
        let bytes: Vec<u8> = byte_alphabet::bytes_in_order().collect();
        let mut words: Vec<(Vec<u32>, i64)> = Vec::new();
        pieces.for_each(|piece, count| {
            let id = |byte: &u8| bytes.iter().position(|other| other == byte).unwrap() as u32;
            words.push((piece.iter().map(id).collect(), count as i64));
        });
        let mut merges = Vec::new();
        while merges.len() < n_merges {
            let mut counts: BTreeMap<Pair, i64> = BTreeMap::new();
            for (word, count) in &words {
                word.windows(2).for_each(|pair| *counts.entry((pair[0], pair[1])).or_default() += count);
            }
            let best = counts.into_iter().map(|(pair, count)| Candidate { count, pair }).max_by(most_frequent);
            let Some(best) = best.filter(|best| best.count >= min_frequency.max(1) as i64) else { break };
            let new = 256 + merges.len() as u32;
            merges.push(best.pair);
            for (word, _) in &mut words {
                let mut at = 0;
                while at + 1 < word.len() {
                    if (word[at], word[at + 1]) == best.pair {
                        word.splice(at..at + 2, [new]);
                    }
                    at += 1;
                }
            }
        }
        merges
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn merges_are_those_of_the_definition(
            words in prop::collection::vec(("[ab]{1,12}|[abc]{1,20}|a{1,40}|(ab){1,9}|[a-f ]{1,8}", 1..5u64), 0..20),
            min_frequency in 0..4u64,
        ) {
            let mut pieces = PieceCounts::default();
            words.iter().for_each(|(word, count)| pieces.add(word.as_bytes(), *count));
            prop_assert_eq!(learn(pieces.clone(), 60, min_frequency), learn_by_definition(&pieces, 60, min_frequency));
        }
    }

    #[test]
    fn overlapping_pairs_count_each_time() {
        // ten times aaaa has (a, a) thirty times, more than twenty-nine times bc
        let mut pieces = PieceCounts::default();
        pieces.add(b"aaaa", 10);
        pieces.add(b"bc", 29);
        let id = |byte: u8| u32::from(byte - 33);
        assert_eq!(learn(pieces, 3, 0), [(id(b'a'), id(b'a')), (id(b'b'), id(b'c')), (256, 256)]);
    }

    #[test]
    fn counts_beyond_32_bits_do_not_wrap() {
        // A11
        let mut pieces = PieceCounts::default();
        pieces.add(b"the", 3 << 32);
        pieces.add(b"ox", 5);
        pieces.add(b"too", u64::MAX);
        let id = |byte: u8| u32::from(byte - 33);
        let first =
            [(id(b'o'), id(b'o')), (id(b't'), 256), (id(b'h'), id(b'e')), (id(b't'), 258), (id(b'o'), id(b'x'))];
        assert_eq!(learn(pieces, 9, 2), first);
    }

    #[test]
    fn a_megabyte_without_a_space_is_learned_in_linear_time() {
        let mut state = 1u32;
        let text: Vec<u8> = std::iter::repeat_with(|| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            b"etaoinshrdlucmfw"[(state >> 28) as usize].min(b"etaoinshrdlucmfw"[(state >> 22 & 15) as usize])
        })
        .take(1 << 20)
        .collect();
        let mut pieces = PieceCounts::default();
        pieces.add(&text, 1);
        pieces.add(&vec![b'^'; 1 << 20], 1);
        // A scan of the piece for each merge would be 4 · 10⁹ steps, and this test would be seen to hang.
        assert_eq!(learn(pieces, 1792, 2).len(), 1792);
    }

    /// CS336's training test: 243 merges, where equal counts go to the greater pair, compared as bytes.
    #[test]
    fn the_reference_merges_are_learned_in_order() {
        let shared = std::env::var_os("WORDGROVE_SHARED").map_or("../shared".into(), std::path::PathBuf::from);
        let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join(shared).join("data/fixtures/bpe");
        let Ok(text) = std::fs::read_to_string(fixtures.join("corpus.en")) else {
            eprintln!("skipped: {} is not there", fixtures.display());
            return;
        };
        let expected = std::fs::read_to_string(fixtures.join("train-bpe-reference-merges.txt")).unwrap();
        let mut pieces = PieceCounts::default();
        for document in text.split("<|endoftext|>") {
            Pattern::Gpt2.for_each_piece(document.as_bytes(), crate::tokens::pretokenize::LineFeed::Within, |piece| {
                pieces.add(piece, 1);
            });
        }
        let tokens: RefCell<Vec<Vec<u8>>> =
            RefCell::new(byte_alphabet::bytes_in_order().map(|byte| vec![byte]).collect());
        let bytes = |(a, b): Pair| {
            let tokens = tokens.borrow();
            (tokens[a as usize].clone(), tokens[b as usize].clone())
        };
        let greater_bytes =
            |a: &Candidate, b: &Candidate| a.count.cmp(&b.count).then_with(|| bytes(a.pair).cmp(&bytes(b.pair)));
        let limits = Limits { n_merges: 243, min_frequency: 0, max_len: usize::MAX };
        let joined = |pair: Pair| {
            let (left, right) = bytes(pair);
            tokens.borrow_mut().push([left, right].concat());
        };
        let merges = learn_merges(pieces, limits, greater_bytes, joined, &Silent).unwrap();
        let spelled: Vec<String> = merges
            .iter()
            .map(|&pair| bytes(pair))
            .map(|(left, right)| format!("{} {}", byte_alphabet::spell(&left), byte_alphabet::spell(&right)))
            .collect();
        assert_eq!(spelled, expected.lines().collect::<Vec<_>>());
    }
}
