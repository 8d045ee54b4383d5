//! Pieces that were seen before, with their ids.
//!
//! In: a piece. Out: its ids. The one idea: a table of bounded size with four places per key, the first two in one cache
//! line. A piece that came early is likely a frequent one and keeps its place; newcomers replace each other in the last. Up to three ids lie in the line itself, more of them in a
//! list beside; pieces that are too long for a key have a map. List and map are emptied when they are full.

use bytemuck::{Pod, Zeroable};
use hashbrown::HashMap;
use rustc_hash::FxBuildHasher;

use super::count::hash_key;
use crate::math::{Zeroed, prefetch};
use crate::tokens::TokenId;

/// So many ids fit into a slot.
pub(crate) const MAX_INLINE: usize = 3;

/// 2¹⁹ slots of 32 bytes: 16 MiB a worker, room for the different pieces of about 100 MB of English.
const MAX_SLOTS: usize = 1 << 19;

/// So many slots may hold a key.
const WAYS: usize = 4;

/// Every so many newcomers one takes a first place, so that what was frequent long ago goes some day.
const TAKES_FIRST: usize = 16;

/// So many ids beside the slots: 4 MiB.
const MAX_MORE: usize = 1 << 20;

/// So many bytes of long pieces, about.
const MAX_LONG_BYTES: usize = 1 << 22;

/// The ids of pieces.
#[derive(Debug, Default)]
pub(crate) struct PieceCache {
    /// A power of two and two more, or none yet. A key belongs into one of four slots, the first of which is even.
    slots: Zeroed<Slot>,
    n_put: usize,
    /// The ids of pieces with more than three.
    more: Vec<TokenId>,
    /// Long pieces: where in `more` their ids are.
    long: HashMap<Box<[u8]>, (u32, u32), FxBuildHasher>,
    n_long_bytes: usize,
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

impl PieceCache {
    /// Where a key has its slots, which are asked for. Good until the next [`put`](PieceCache::put).
    #[inline]
    pub(crate) fn place(&self, key: u128) -> Place {
        let place = self.first_slot(key);
        if let Some(slot) = self.slots.as_slice().get(place) {
            prefetch(slot);
        }
        place
    }

    /// The ids of the piece, and last how many there are; of more than three, [`more`](PieceCache::more) knows them. A
    /// place of before a [`put`](PieceCache::put) may make it miss what is here. Key 0 is never here.
    #[inline]
    pub(crate) fn get(&self, key: u128, place: Place) -> Option<&[TokenId; MAX_INLINE + 1]> {
        let slots = self.slots.as_slice().get(place..)?.get(..WAYS)?;
        // Chosen without a branch, which would be guessed wrong too often.
        let slot = &slots[usize::from(slots[1].key == key)];
        if slot.key == key {
            return (key != 0).then_some(&slot.ids);
        }
        slots[2..].iter().find(|slot| slot.key == key && key != 0).map(|slot| &slot.ids)
    }

    /// The ids of a piece that has more than three.
    pub(crate) fn more(&self, ids: &[TokenId; MAX_INLINE + 1]) -> &[TokenId] {
        &self.more[ids[0].index()..][..ids[MAX_INLINE].index()]
    }

    /// Keeps the ids of a piece.
    pub(crate) fn put(&mut self, key: u128, ids: &[TokenId]) {
        let n_slots = self.slots.as_slice().len();
        if self.n_put >= n_slots / 2 && n_slots < MAX_SLOTS {
            self.grow();
        }
        let mut slot = Slot { key, ..FREE };
        slot.ids[MAX_INLINE] = TokenId(ids.len() as u32);
        if ids.len() <= MAX_INLINE {
            slot.ids[..ids.len()].copy_from_slice(ids);
        } else {
            slot.ids[0] = TokenId(self.put_beside(ids));
        }
        self.insert(slot);
        self.n_put += 1;
    }

    /// Appends the ids of a long piece; false if it is not here.
    pub(crate) fn get_long(&self, piece: &[u8], ids: &mut Vec<TokenId>) -> bool {
        let Some(&(first, n)) = self.long.get(piece) else { return false };
        ids.extend_from_slice(&self.more[first as usize..][..n as usize]);
        true
    }

    /// Keeps the ids of a long piece.
    pub(crate) fn put_long(&mut self, piece: &[u8], ids: &[TokenId]) {
        if self.n_long_bytes > MAX_LONG_BYTES {
            self.clear();
        }
        let first = self.put_beside(ids);
        self.long.insert(piece.into(), (first, ids.len() as u32));
        // What a map entry takes besides the bytes.
        self.n_long_bytes += piece.len() + 40;
    }

    /// Puts ids beside the slots; returns where. All that was there before may be gone.
    fn put_beside(&mut self, ids: &[TokenId]) -> u32 {
        if self.more.len() + ids.len() > MAX_MORE {
            self.clear();
        }
        let first = self.more.len() as u32;
        self.more.extend_from_slice(ids);
        first
    }

    fn clear(&mut self) {
        self.slots.as_mut_slice().fill(FREE);
        self.more.clear();
        self.long.clear();
        self.n_long_bytes = 0;
    }

    fn insert(&mut self, slot: Slot) {
        let first = self.first_slot(slot.key);
        let ways = &mut self.slots.as_mut_slice()[first..first + WAYS];
        let place = match ways.iter().position(|other| other.key == 0) {
            Some(free) => free,
            None if self.n_put.is_multiple_of(TAKES_FIRST) => self.n_put / TAKES_FIRST % WAYS,
            None => WAYS - 1,
        };
        ways[place] = slot;
    }

    #[inline]
    fn first_slot(&self, key: u128) -> usize {
        hash_key(key) as usize & self.slots.as_slice().len().wrapping_sub(WAYS)
    }

    #[cold]
    fn grow(&mut self) {
        let n_slots = (self.slots.as_slice().len().saturating_sub(WAYS - 2) * 4).clamp(1 << 10, MAX_SLOTS);
        let old = std::mem::replace(&mut self.slots, Zeroed::new(n_slots + WAYS - 2));
        for slot in old.as_slice().iter().filter(|slot| slot.key != 0) {
            self.insert(*slot);
        }
    }
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
            cache.put(key(number), &ids_of(number));
            cache.put_long(&long(number), &ids_of(number + 1));
        }
        assert_eq!(cache.slots.as_slice().len(), MAX_SLOTS + WAYS - 2);
        assert!(cache.more.len() <= MAX_MORE && cache.long.len() < MAX_LONG_BYTES / 60 + 2);
        let mut n_found = 0;
        for number in 0..1_200_000 {
            if let Some(ids) = cache.get(key(number), cache.place(key(number))) {
                let n = ids[MAX_INLINE].index();
                let ids = if n <= MAX_INLINE { &ids[..n] } else { cache.more(ids) };
                assert_eq!(ids, ids_of(number));
                n_found += 1;
            }
            let mut ids = Vec::new();
            if cache.get_long(&long(number), &mut ids) {
                assert_eq!(ids, ids_of(number + 1));
                n_found += 1;
            }
        }
        assert!(n_found > 1000, "only {n_found} found");
        assert!(cache.get(key(1_199_998), cache.place(key(1_199_998))).is_some(), "the last is there");
        assert!(cache.get_long(&long(1_199_999), &mut Vec::new()), "the last is there");
    }
}
