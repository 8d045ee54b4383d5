//! Pieces that were seen before, with their ids.
//!
//! In: a piece. Out: its ids. The one idea: a table of bounded size with four places per key, two in one cache line and two
//! in the next. A piece that came early is likely a frequent one and keeps its place; newcomers replace each other in the
//! last. Up to three ids lie in the line itself, more of them in a list beside. A piece that is too long to be its own key
//! has a fingerprint for one, and its bytes lie in the list, too. The list is emptied when it is full.
//!
//! Tried, and slower: pieces that are found in the second line move to the first (it adds writes, and needs closed pairs of
//! lines, in which more are driven out); asking for both lines beforehand; tables of a quarter of the size.

use super::count::hash_key;
use crate::math::{Zeroed, prefetch};
use crate::tokens::TokenId;
use bytemuck::{Pod, Zeroable};

/// So many ids fit into a slot.
pub(crate) const MAX_INLINE: usize = 3;

/// 2¹⁹ lines of 64 bytes: 32 MiB a worker. Half of that is enough for the different pieces of about 80 MB of English.
const MAX_LINES: usize = 1 << 19;

/// Tables of so many lines grow later and by less: they cost memory.
const LARGE: usize = 1 << 17;

/// Every so many newcomers one takes a first place, so that what was frequent long ago goes some day.
const TAKES_FIRST: usize = 16;

/// So many ids, or four bytes of a piece, beside the lines: 8 MiB.
const MAX_MORE: usize = 1 << 21;

/// The longest piece that is kept: longer ones are seldom met again.
pub(crate) const MAX_KEPT: usize = 32;

/// In the keys that are fingerprints.
const FINGERPRINT: u128 = 1 << 126;

/// In the number of ids of a long piece: it is not to be believed before the bytes have been compared.
const LONG: u32 = 1 << 31;

/// The ids of pieces.
#[derive(Debug, Default)]
pub(crate) struct PieceCache {
    /// A power of two and one more, or none yet. A key belongs into a line or the next.
    lines: Zeroed<Line>,
    n_put: usize,
    /// The ids of pieces with more than three; the bytes of long pieces, four in one, with their ids behind them.
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
    /// The ids, and last how many there are; of more than three, only where in `more` they are.
    ids: [TokenId; MAX_INLINE + 1],
}

const FREE: Slot = Slot { key: 0, ids: [TokenId(0); MAX_INLINE + 1] };

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

    /// Writes the ids of pieces to `found`, up to the first that is not known, or has more than three ids, or is long;
    /// returns how many pieces and how many ids. What was asked for before a [`put`](PieceCache::put) may be missed.
    ///
    /// # Panics
    /// When `found` has not three places for each piece and one more.
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
            let n_more = slot.ids[MAX_INLINE].index();
            if n_more.wrapping_sub(1) >= MAX_INLINE {
                break;
            }
            // A whole slot is written, and the next piece's ids begin behind those that there are.
            found[n_ids..n_ids + MAX_INLINE + 1].copy_from_slice(&slot.ids);
            n_ids += n_more;
            n += 1;
        }
        (n, n_ids)
    }

    /// The ids of any piece that is kept.
    pub(crate) fn get(&self, asked: Asked, piece: &[u8]) -> Option<&[TokenId]> {
        if asked.key == 0 {
            return None;
        }
        let lines = self.lines.as_slice();
        let slots =
            [asked.line, asked.line + 1].into_iter().filter_map(|line| lines.get(line)).flat_map(|line| &line.0);
        let ids = &slots.into_iter().find(|slot| slot.key == asked.key)?.ids;
        let (first, n) = (ids[0].index(), ids[MAX_INLINE].0);
        if n as usize <= MAX_INLINE {
            return Some(&ids[..n as usize]);
        }
        if n & LONG == 0 {
            return Some(&self.more[first..][..n as usize]);
        }
        let (bytes, behind) = self.more[first..].split_at(piece.len().div_ceil(4).min(ids[1].index()));
        let is_same = ids[2].index() == piece.len() && words(piece).eq(bytes.iter().copied());
        is_same.then(|| &behind[..(n & !LONG) as usize])
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
        let mut slot = Slot { key, ..FREE };
        if ids.len() <= MAX_INLINE && !is_long {
            slot.ids[..ids.len()].copy_from_slice(ids);
            slot.ids[MAX_INLINE] = TokenId(ids.len() as u32);
        } else {
            let first = self.more.len();
            let n_words = if is_long { piece.len().div_ceil(4) } else { 0 };
            self.more.extend(words(piece).take(n_words));
            self.more.extend_from_slice(ids);
            let long = if is_long { LONG } else { 0 };
            slot.ids = [first, n_words, piece.len(), ids.len()].map(|n| TokenId(n as u32));
            slot.ids[MAX_INLINE].0 |= long;
        }
        self.insert(slot);
        self.n_put += 1;
    }

    fn insert(&mut self, slot: Slot) {
        let lines = self.lines.as_mut_slice();
        let first = line_of(slot.key, lines.len());
        let places = [(first, 0), (first, 1), (first + 1, 0), (first + 1, 1)];
        let (line, way) = match places.into_iter().find(|&(line, way)| lines[line].0[way].key == 0) {
            Some(free) => free,
            None if self.n_put.is_multiple_of(TAKES_FIRST) => places[self.n_put / TAKES_FIRST % places.len()],
            None => places[places.len() - 1],
        };
        lines[line].0[way] = slot;
    }

    #[cold]
    fn grow(&mut self) {
        let n_lines = self.lines.as_slice().len().saturating_sub(1);
        let n_lines = (n_lines * if n_lines < LARGE { 4 } else { 2 }).clamp(1 << 9, MAX_LINES);
        let old = std::mem::replace(&mut self.lines, Zeroed::new(n_lines + 1));
        for slot in old.as_slice().iter().flat_map(|line| &line.0).filter(|slot| slot.key != 0) {
            self.insert(*slot);
        }
    }
}

/// Which of `n_lines` is the first for a key.
#[inline]
fn line_of(key: u128, n_lines: usize) -> usize {
    hash_key(key) as usize & n_lines.wrapping_sub(2)
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
        assert_eq!(cache.lines.as_slice().len(), MAX_LINES + 1);
        assert!(cache.more.len() <= MAX_MORE);
        let get = |key: u128, piece: &[u8]| -> Option<Vec<TokenId>> {
            let asked = cache.lines().ask(key, piece.len());
            let all = cache.get(asked, piece).map(<[TokenId]>::to_vec);
            let mut found = [TokenId(0); MAX_INLINE + 1];
            if let (1, n) = cache.look_up(&[asked], &mut found) {
                assert_eq!(all.as_deref(), Some(&found[..n]));
            }
            all
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
