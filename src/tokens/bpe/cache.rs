//! Pieces that were seen before, with their ids.
//!
//! In: the key of a short piece. Out: its ids. The one idea: a table of bounded size with two places per key, both in
//! one cache line; when both are taken the newer piece replaces the older, so nothing ever has to be cleaned up.

use super::count::hash_key;
use crate::tokens::TokenId;

/// So many ids fit into a slot; pieces with more are not kept, they are rare.
const MAX_IDS: usize = 3;

/// 2¹⁸ slots of 32 bytes: 8 MiB a worker, room for the different pieces of about 50 MB of English.
const MAX_SLOTS: usize = 1 << 18;

/// The ids of pieces.
#[derive(Debug, Default)]
pub(crate) struct PieceCache {
    /// A power of two, or none yet. Slots 2i and 2i + 1 serve the same keys, the newer first.
    slots: Vec<Slot>,
    n_put: usize,
}

/// `key` is 0 in a free slot.
#[derive(Debug, Clone, Copy, Default)]
#[repr(align(32))]
struct Slot {
    key: u128,
    n: u32,
    ids: [u32; MAX_IDS],
}

impl PieceCache {
    /// Appends the ids of the piece; false if it is not here.
    #[inline]
    pub(crate) fn get(&self, key: u128, ids: &mut Vec<TokenId>) -> bool {
        if self.slots.is_empty() {
            return false;
        }
        let first = self.first_slot(key);
        for slot in &self.slots[first..first + 2] {
            if slot.key == key {
                for &id in &slot.ids[..slot.n as usize] {
                    ids.push(TokenId(id));
                }
                return true;
            }
        }
        false
    }

    /// Keeps the ids of a piece that is not here yet.
    pub(crate) fn put(&mut self, key: u128, ids: &[TokenId]) {
        if ids.len() > MAX_IDS {
            return;
        }
        if self.n_put >= self.slots.len() / 2 && self.slots.len() < MAX_SLOTS {
            self.grow();
        }
        let mut slot = Slot { key, n: ids.len() as u32, ids: [0; MAX_IDS] };
        for (place, id) in slot.ids.iter_mut().zip(ids) {
            *place = id.0;
        }
        self.place(slot);
        self.n_put += 1;
    }

    fn place(&mut self, slot: Slot) {
        let first = self.first_slot(slot.key);
        self.slots[first + 1] = self.slots[first];
        self.slots[first] = slot;
    }

    #[inline]
    fn first_slot(&self, key: u128) -> usize {
        hash_key(key) as usize & (self.slots.len() - 2)
    }

    #[cold]
    fn grow(&mut self) {
        let n_slots = (self.slots.len() * 4).clamp(1 << 10, MAX_SLOTS);
        let old = std::mem::replace(&mut self.slots, vec![Slot::default(); n_slots]);
        for slot in old.into_iter().rev().filter(|slot| slot.key != 0) {
            self.place(slot);
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
        let ids_of = |number: u32| -> Vec<TokenId> { (0..number % 5).map(|i| TokenId(number ^ i)).collect() };
        for number in 0..600_000 {
            cache.put(key(number), &ids_of(number));
        }
        assert_eq!(cache.slots.len(), MAX_SLOTS);
        let mut n_found = 0;
        for number in 0..600_000 {
            let mut ids = Vec::new();
            if cache.get(key(number), &mut ids) {
                assert_eq!(ids, ids_of(number));
                n_found += 1;
            }
        }
        assert!(n_found > MAX_SLOTS * 3 / 4, "only {n_found} found");
        assert!(cache.get(key(599_998), &mut Vec::new()), "the last is there");
    }
}
