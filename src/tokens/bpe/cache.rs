//! Pieces that were seen before, with their ids.
//!
//! In: a piece. Out: its ids. The one idea: a table of bounded size with six places per key, two in one cache line and four
//! in the next two. A piece that came early is likely a frequent one and keeps its place; newcomers replace each other in
//! the last. Up to four ids lie in the line itself, more of them in a list beside. A piece that is too long to be its own key
//! has a fingerprint for one, and its bytes lie in the list, too. The list is emptied when it is full.
//!
//! Tried, and slower: pieces that are found in the second line move to the first (it adds writes, and needs closed pairs of
//! lines, in which more are driven out); asking for both lines beforehand; tables of a quarter of the size. Tried, and no
//! faster: a smaller table of the frequent pieces before this one (256 KiB for four in five; what memory saves the second
//! look costs); keys made and compared four at a time in vectors (half the instructions, the same time).

use super::MAX_TOKENS;
use crate::math::{Zeroed, prefetch};
use crate::tokens::TokenId;
use bytemuck::{Pod, Zeroable};

/// So many ids fit into a slot.
pub(crate) const MAX_INLINE: usize = 4;

/// How many ids a slot has is said in the highest four bits of the first, in which no id has any.
const COUNT_SHIFT: u32 = 28;
const _: () = assert!(MAX_TOKENS <= 1 << COUNT_SHIFT);

/// In place of that number: the others say where in the list they are.
const LISTED: u32 = 15;

/// 2¹⁹ lines of 64 bytes: 32 MiB a worker. Half of that is enough for the different pieces of about 80 MB of English.
const MAX_LINES: usize = 1 << 19;

/// Tables of so many lines grow later and by less: they cost memory.
const LARGE: usize = 1 << 17;

/// A key belongs into one of so many lines, the first of them where there is room; in the last one it is seldom.
const PROBED: usize = 3;

/// Every so many newcomers one takes a first place, so that what was frequent long ago goes some day.
const TAKES_FIRST: usize = 16;

/// So many ids, or four bytes of a piece, beside the lines: 8 MiB.
const MAX_MORE: usize = 1 << 21;

/// The longest piece that is kept: longer ones are seldom met again.
pub(crate) const MAX_KEPT: usize = 32;

/// In the keys that are fingerprints.
const FINGERPRINT: u128 = 1 << 126;

/// The ids of pieces.
#[derive(Debug, Default)]
pub(crate) struct PieceCache {
    /// A power of two and two more, or none yet. A key belongs into a line or the two behind it.
    lines: Zeroed<Line>,
    n_put: usize,
    /// The ids of pieces with more than four; the bytes of long pieces, four in one, with their ids behind them.
    more: Vec<TokenId>,
}

/// One line of the processor's cache.
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
#[repr(C, align(64))]
struct Line([Slot; 2]);

/// `key` is 0 in a free slot.
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
#[repr(C, align(32))]
struct Slot {
    key: u128,
    /// Where they are listed in `more`, of those behind the first: the place, the length of a long piece or 0, the number
    /// of ids.
    ids: [TokenId; MAX_INLINE],
}

const FREE: Slot = Slot { key: 0, ids: [TokenId(0); MAX_INLINE] };

impl Slot {
    fn new(key: u128, count: u32, ids: &[TokenId]) -> Slot {
        let mut slot = Slot { key, ..FREE };
        slot.ids[..ids.len()].copy_from_slice(ids);
        slot.ids[0].0 |= count << COUNT_SHIFT;
        slot
    }

    /// How many ids there are; none in a free slot.
    #[inline]
    fn count(&self) -> u32 {
        self.ids[0].0 >> COUNT_SHIFT
    }

    /// The ids, and whatever behind them.
    #[inline]
    fn ids(&self) -> [TokenId; MAX_INLINE] {
        let mut ids = self.ids;
        ids[0].0 &= (1 << COUNT_SHIFT) - 1;
        ids
    }
}

/// A piece, or a part of one, that is being looked up.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Asked {
    /// 0 for what is not kept.
    pub(crate) key: u128,
    /// Its line in the cache.
    line: usize,
    /// Where it ends in the text; it begins where the one before ends.
    pub(crate) end: usize,
}

/// The lines as they are now, to ask for many pieces.
#[derive(Clone, Copy)]
pub(crate) struct Lines<'c>(&'c [Line]);

impl Lines<'_> {
    /// Asks for a piece that will be looked up soon.
    #[inline]
    pub(crate) fn ask(self, key: u128, end: usize) -> Asked {
        let line = line_of(key, self.0.len());
        prefetch(self.0, line);

        Asked { key, line, end }
    }
}

impl PieceCache {
    /// The lines as they are now.
    #[inline]
    pub(crate) fn lines(&self) -> Lines<'_> {
        Lines(self.lines.as_slice())
    }

    /// Writes the ids of pieces to `found`, up to the first that is not known, or has more than four ids, or is long;
    /// returns how many pieces and how many ids. What was asked for before a [`put`](PieceCache::put) may be missed.
    ///
    /// # Panics
    /// When `found` has not four places for each piece.
    // By itself, so that all it needs stays in registers.
    #[inline(never)]
    pub(crate) fn look_up(&self, asked: &[Asked], found: &mut [TokenId]) -> (usize, usize) {
        let lines = self.lines.as_slice();
        let (mut n, mut n_ids) = (0, 0);
        for &Asked { key, line, .. } in asked {
            let Some(Line(slots)) = lines.get(line) else { break };
            // Chosen without a branch, which would be guessed wrong too often.
            let mut slot = &slots[usize::from(slots[1].key == key)];
            if slot.key != key {
                let Some(Line(slots)) = lines.get(line + 1) else { break };
                slot = &slots[usize::from(slots[1].key == key)];
                if slot.key != key {
                    break;
                }
            }
            let n_more = slot.count() as usize;
            if n_more.wrapping_sub(1) >= MAX_INLINE {
                break;
            }
            // All four are written, and the next piece's ids begin behind those that there are.
            found[n_ids..n_ids + MAX_INLINE].copy_from_slice(&slot.ids());
            n_ids += n_more;
            n += 1;
        }
        (n, n_ids)
    }

    /// Appends the ids of any piece that is kept to `ids`; tells whether it is.
    pub(crate) fn get(&self, asked: Asked, piece: &[u8], ids: &mut Vec<TokenId>) -> bool {
        let slots =
            self.lines.as_slice().get(asked.line..asked.line + PROBED).into_iter().flatten().flat_map(|line| &line.0);
        let Some(slot) = slots.into_iter().find(|slot| slot.key == asked.key) else { return false };
        match slot.count() {
            // A free slot, which is what the key 0 finds.
            0 => false,
            LISTED => {
                let [_, first, len, n] = slot.ids.map(TokenId::index);
                let (bytes, behind) = self.more[first..].split_at(len.div_ceil(4));
                // Other long pieces may have the same key.
                let is_same = len == 0 || len == piece.len() && words(piece).eq(bytes.iter().copied());
                if is_same {
                    ids.extend_from_slice(&behind[..n]);
                }
                is_same
            }
            count => {
                ids.extend_from_slice(&slot.ids()[..count as usize]);
                true
            }
        }
    }

    /// Keeps the ids of a piece, of which there is at least one.
    pub(crate) fn put(&mut self, key: u128, piece: &[u8], ids: &[TokenId]) {
        let n_lines = self.lines.as_slice().len();
        let enough = if n_lines < LARGE { n_lines } else { n_lines / 4 * 7 };
        if self.n_put >= enough && n_lines < MAX_LINES {
            self.grow();
        }
        let is_long = key & FINGERPRINT != 0;
        if self.more.len() + ids.len() + piece.len() > MAX_MORE {
            self.lines.as_mut_slice().fill(Line([FREE; 2]));
            self.more.clear();
        }
        let slot = if ids.len() <= MAX_INLINE && !is_long {
            Slot::new(key, ids.len() as u32, ids)
        } else {
            let first = self.more.len();
            let len = if is_long { piece.len() } else { 0 };
            self.more.extend(words(&piece[..len]));
            self.more.extend_from_slice(ids);
            let place = [0, first, len, ids.len()].map(|n| TokenId(n as u32));
            Slot::new(key, LISTED, &place)
        };
        self.insert(slot);
        self.n_put += 1;
    }

    fn insert(&mut self, slot: Slot) {
        let lines = self.lines.as_mut_slice();
        let first = line_of(slot.key, lines.len());
        let mut places = (first..first + PROBED).flat_map(|line| [(line, 0), (line, 1)]);
        let (line, way) = places.find(|&(line, way)| lines[line].0[way].key == 0).unwrap_or_else(|| {
            if self.n_put.is_multiple_of(TAKES_FIRST) {
                let turn = self.n_put / TAKES_FIRST % (2 * PROBED);
                (first + turn / 2, turn % 2)
            } else {
                (first + PROBED - 1, 1)
            }
        });
        lines[line].0[way] = slot;
    }

    #[cold]
    fn grow(&mut self) {
        let n_lines = self.lines.as_slice().len().saturating_sub(PROBED - 1);
        let n_lines = (n_lines * if n_lines < LARGE { 4 } else { 2 }).clamp(1 << 9, MAX_LINES);
        let old = std::mem::replace(&mut self.lines, Zeroed::new(n_lines + PROBED - 1));
        for slot in old.as_slice().iter().flat_map(|line| &line.0).filter(|slot| slot.key != 0) {
            self.insert(*slot);
        }
    }
}

/// Which of `n_lines` is the first for a key.
#[inline]
fn line_of(key: u128, n_lines: usize) -> usize {
    hash_key(key) as usize & n_lines.wrapping_sub(PROBED)
}

/// A well-mixed number from a key: both halves multiplied in 128 bits, the halves of the product folded.
///
/// Pieces can be chosen that all have the same. They drive each other out, and each is merged as often as it comes.
#[inline]
fn hash_key(key: u128) -> u64 {
    let product =
        u128::from(key as u64 ^ 0x9E37_79B9_7F4A_7C15) * u128::from((key >> 64) as u64 ^ 0xD6E8_FEB8_6659_FD93);
    product as u64 ^ (product >> 64) as u64
}

/// A key for a piece of 16 to 32 bytes; others may have the same.
#[inline]
pub(crate) fn fingerprint(piece: &[u8]) -> u128 {
    let (first, last) = (piece.first_chunk(), piece.last_chunk());
    let [first, last] = [first, last].map(|part| u128::from_le_bytes(*part.expect("16 bytes and more")));
    let high = hash_key(first) ^ (piece.len() as u64) << 56;
    (u128::from(high) << 64 | u128::from(hash_key(last.rotate_left(29)))) & (FINGERPRINT - 1) | FINGERPRINT
}

/// Bytes, four in one number; the last is filled up with zeros.
fn words(piece: &[u8]) -> impl Iterator<Item = TokenId> {
    let (whole, rest) = piece.as_chunks::<4>();
    let mut last = [0; 4];
    last[..rest.len()].copy_from_slice(rest);
    let last = (!rest.is_empty()).then_some(last);
    whole.iter().copied().chain(last).map(|word| TokenId(u32::from_le_bytes(word)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tokens::bpe::count::short_key;

    #[test]
    fn what_is_found_is_what_was_put_and_the_size_is_bounded() {
        let mut cache = PieceCache::default();
        let key = |number: u32| short_key(&number.to_le_bytes(), 0, 4);
        let ids_of = |number: u32| -> Vec<TokenId> { (0..number % 7 + 1).map(|i| TokenId(number ^ i)).collect() };
        let long = |number: u32| format!("{number:0>20}").into_bytes();
        for number in 0..1_200_000 {
            cache.put(key(number), &number.to_le_bytes(), &ids_of(number));
            let long = long(number);
            cache.put(fingerprint(&long), &long, &ids_of(number + 1));
        }
        assert_eq!(cache.lines.as_slice().len(), MAX_LINES + PROBED - 1);
        assert!(cache.more.len() <= MAX_MORE);
        let get = |key: u128, piece: &[u8]| -> Option<Vec<TokenId>> {
            let asked = cache.lines().ask(key, piece.len());
            let mut all = Vec::new();
            let is_kept = cache.get(asked, piece, &mut all);
            let mut found = [TokenId(0); MAX_INLINE];
            if let (1, n) = cache.look_up(&[asked], &mut found) {
                assert!(is_kept && all == found[..n]);
            }
            is_kept.then_some(all)
        };
        let mut n_found = [0; 2];
        for number in 0..1_200_000 {
            let long = long(number);
            let found = [get(key(number), &number.to_le_bytes()), get(fingerprint(&long), &long)];
            for (which, ids) in found.into_iter().enumerate() {
                if let Some(ids) = ids {
                    assert_eq!(ids, ids_of(number + which as u32));
                    n_found[which] += 1;
                }
            }
        }
        assert!(n_found.iter().all(|&n| n > 1000), "only {n_found:?} found");
        assert!(get(key(1_199_998), &1_199_998u32.to_le_bytes()).is_some(), "the last is there");
        assert!(get(fingerprint(&long(1_199_999)), &long(1_199_999)).is_some(), "the last is there");
        let other = [&long(1_199_999)[..], b"!"].concat();
        assert_eq!(get(fingerprint(&long(1_199_999)), &other), None, "only the fingerprint is the same");
        let other = [&b"!"[..], &long(1_199_999)[1..]].concat();
        assert_eq!(get(fingerprint(&long(1_199_999)), &other), None, "only the fingerprint is the same");
        assert_eq!(get(0, b"a piece that is not kept"), None);
    }
}
