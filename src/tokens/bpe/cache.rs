//! Pieces that were seen before, with their ids.
//!
//! In: a piece. Out: its ids. The one idea: a table of bounded size with four places per key, the first two in one cache
//! line. A piece that came early is likely a frequent one and keeps its place; newcomers replace each other in the last.
//! Up to three ids lie in the line itself, more of them in a list beside. A piece that is too long to be its own key has
//! a fingerprint for one, and its bytes lie in the list, too. The list is emptied when it is full.

use super::count::hash_key;
use crate::math::{Zeroed, prefetch};
use crate::tokens::TokenId;
use bytemuck::{Pod, Zeroable};

/// So many ids fit into a slot.
pub(crate) const MAX_INLINE: usize = 3;

/// 2²⁰ slots of 32 bytes: 32 MiB a worker. Half of that is enough for the different pieces of about 80 MB of English.
const MAX_SLOTS: usize = 1 << 20;

/// Tables of so many slots grow later and by less: they cost memory.
const LARGE: usize = 1 << 18;

/// So many slots may hold a key.
const WAYS: usize = 4;

/// Every so many newcomers one takes a first place, so that what was frequent long ago goes some day.
const TAKES_FIRST: usize = 16;

/// So many ids, or four bytes of a piece, beside the slots: 8 MiB.
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
    /// A power of two and two more, or none yet. A key belongs into one of four slots, the first of which is even.
    slots: Zeroed<Slot>,
    n_put: usize,
    /// The ids of pieces with more than three; the bytes of long pieces, four in one, with their ids behind them.
    more: Vec<TokenId>,
}

/// `key` is 0 in a free slot.
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
#[repr(C, align(32))]
struct Slot {
    key: u128,
    /// The ids, and last how many there are; of more than three, only where in `more` they are.
    ids: [TokenId; MAX_INLINE + 1],
}

const FREE: Slot = Slot { key: 0, ids: [TokenId(0); MAX_INLINE + 1] };

/// Where a key has its slots.
pub(crate) type Place = usize;

/// The slots as they are now, for a look at many pieces.
#[derive(Clone, Copy)]
pub(crate) struct Slots<'c>(&'c [Slot]);

impl<'c> Slots<'c> {
    /// Where a key has its slots, which are asked for. Good until the next [`put`](PieceCache::put).
    #[inline]
    pub(crate) fn place(self, key: u128) -> Place {
        let place = first_slot(key, self.0.len());
        if let Some(slot) = self.0.get(place) {
            prefetch(slot);
        }
        place
    }

    /// The ids of the piece, and last how many there are; of more than three, and of long pieces,
    /// [`more`](PieceCache::more) knows them. A place of before a [`put`](PieceCache::put) may make it miss what is here.
    /// Key 0 is never here.
    #[inline]
    pub(crate) fn get(self, key: u128, place: Place) -> Option<&'c [TokenId; MAX_INLINE + 1]> {
        let slots = self.0.get(place..)?.first_chunk::<WAYS>()?;
        // Chosen without a branch, which would be guessed wrong too often.
        let slot = &slots[usize::from(slots[1].key == key)];
        if slot.key == key {
            return (key != 0).then_some(&slot.ids);
        }
        slots[2..].iter().find(|slot| slot.key == key && key != 0).map(|slot| &slot.ids)
    }
}

impl PieceCache {
    /// The slots as they are now.
    #[inline]
    pub(crate) fn slots(&self) -> Slots<'_> {
        Slots(self.slots.as_slice())
    }

    /// The ids of a piece that has more than three, or is long; `None` if it is only of the same fingerprint.
    pub(crate) fn more(&self, ids: &[TokenId; MAX_INLINE + 1], piece: &[u8]) -> Option<&[TokenId]> {
        let (first, n) = (ids[0].index(), ids[MAX_INLINE].0);
        if n & LONG == 0 {
            return Some(&self.more[first..][..n as usize]);
        }
        let (bytes, behind) = self.more[first..].split_at(piece.len().div_ceil(4).min(ids[1].index()));
        let is_same = ids[2].index() == piece.len() && words(piece).eq(bytes.iter().copied());
        is_same.then(|| &behind[..(n & !LONG) as usize])
    }

    /// Keeps the ids of a piece.
    pub(crate) fn put(&mut self, key: u128, piece: &[u8], ids: &[TokenId]) {
        let n_slots = self.slots.as_slice().len();
        let enough = if n_slots < LARGE { n_slots / 2 } else { n_slots / 4 * 3 };
        if self.n_put >= enough && n_slots < MAX_SLOTS {
            self.grow();
        }
        let is_long = key & FINGERPRINT != 0;
        if self.more.len() + ids.len() + piece.len() > MAX_MORE {
            self.slots.as_mut_slice().fill(FREE);
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
        let first = first_slot(slot.key, self.slots.as_slice().len());
        let ways = &mut self.slots.as_mut_slice()[first..first + WAYS];
        let place = match ways.iter().position(|other| other.key == 0) {
            Some(free) => free,
            None if self.n_put.is_multiple_of(TAKES_FIRST) => self.n_put / TAKES_FIRST % WAYS,
            None => WAYS - 1,
        };
        ways[place] = slot;
    }

    #[cold]
    fn grow(&mut self) {
        let n_slots = self.slots.as_slice().len().saturating_sub(WAYS - 2);
        let n_slots = (n_slots * if n_slots < LARGE { 4 } else { 2 }).clamp(1 << 10, MAX_SLOTS);
        let old = std::mem::replace(&mut self.slots, Zeroed::new(n_slots + WAYS - 2));
        for slot in old.as_slice().iter().filter(|slot| slot.key != 0) {
            self.insert(*slot);
        }
    }
}

/// Where in a table of `n_slots` the slots of a key begin.
#[inline]
fn first_slot(key: u128, n_slots: usize) -> usize {
    hash_key(key) as usize & n_slots.wrapping_sub(WAYS)
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
        let ids_of = |number: u32| -> Vec<TokenId> { (0..number % 7).map(|i| TokenId(number ^ i)).collect() };
        let long = |number: u32| format!("{number:0>20}").into_bytes();
        for number in 0..1_200_000 {
            cache.put(key(number), &number.to_le_bytes(), &ids_of(number));
            let long = long(number);
            cache.put(fingerprint(&long), &long, &ids_of(number + 1));
        }
        assert_eq!(cache.slots.as_slice().len(), MAX_SLOTS + WAYS - 2);
        assert!(cache.more.len() <= MAX_MORE);
        let get = |key: u128, piece: &[u8]| -> Option<Vec<TokenId>> {
            let ids = cache.slots().get(key, cache.slots().place(key))?;
            match ids[MAX_INLINE].index() {
                n @ ..=MAX_INLINE => Some(ids[..n].to_vec()),
                _ => cache.more(ids, piece).map(<[TokenId]>::to_vec),
            }
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
    }
}
