//! Which pairs of tokens merge, how early, and into what.
//!
//! In: merges in the order of their rank. Out: the rank of a pair at the cost of one or two cache lines: single bytes in
//! a square grid, other pairs in an open table.

use std::hash::BuildHasher;

use hashbrown::DefaultHashBuilder;

use crate::tokens::bits::{has, put};

/// Two tokens and what they become; its rank is its place in the list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Merge {
    pub(crate) left: u32,
    pub(crate) right: u32,
    pub(crate) merged: u32,
}

/// The ranks of all pairs; [`NEVER`] is the rank of a pair that does not merge.
#[derive(Debug, Clone)]
pub(crate) struct PairTable {
    /// `[256, 256]` by bytes, not by tokens.
    byte_pairs: Vec<u32>,
    /// A bit for each pair, by its hash: most pairs that are asked for do not merge, and most of these find a 0 here,
    /// in a cache that is nearer than the slots.
    merging: Vec<u64>,
    /// A power of two; rank [`NEVER`] marks a free slot.
    slots: Vec<Slot>,
    /// By rank.
    merges: Vec<Merge>,
    /// By rank, what each merge becomes; once more, as merging asks for nothing else of them and little memory is quick.
    merged: Vec<u32>,
    /// Drawn anew for each process, so that nobody can choose merges that all belong into the same slot.
    hasher: DefaultHashBuilder,
}

#[derive(Debug, Clone, Copy)]
#[repr(align(16))]
struct Slot {
    left: u32,
    right: u32,
    rank: u32,
}

/// The rank of a pair that does not merge; as a time, none.
pub(super) const NEVER: u32 = u32::MAX;

/// So many bits for each slot: one in sixteen pairs that do not merge is searched for in vain.
const BITS_PER_SLOT: usize = 8;

impl PairTable {
    /// A table of `merges`, which are fewer than 2³¹; a pair that occurs twice has its last rank, as with Hugging Face. The ids of
    /// the bytes are different.
    pub(crate) fn new(merges: Vec<Merge>, id_of_byte: &[u32; 256]) -> PairTable {
        let n_slots = (merges.len() * 2).next_power_of_two().max(16);
        let merged = merges.iter().map(|merge| merge.merged).collect();
        let mut table = PairTable {
            byte_pairs: vec![NEVER; 256 * 256],
            merging: vec![0; n_slots * BITS_PER_SLOT / 64],
            slots: vec![Slot { left: 0, right: 0, rank: NEVER }; n_slots],
            merges,
            merged,
            hasher: DefaultHashBuilder::default(),
        };
        let last = id_of_byte.iter().fold(0, |last, &id| last.max(id));
        let mut byte_of_id: Vec<Option<u8>> = vec![None; last as usize + 1];
        (0..=255).for_each(|byte| byte_of_id[id_of_byte[usize::from(byte)] as usize] = Some(byte));
        let byte_of = |id: u32| byte_of_id.get(id as usize).copied().flatten().map(usize::from);
        for rank in 0..table.merges.len() {
            let Merge { left, right, .. } = table.merges[rank];
            if let (Some(left), Some(right)) = (byte_of(left), byte_of(right)) {
                table.byte_pairs[left << 8 | right] = rank as u32;
            }
            let at = table.find(left, right);
            table.slots[at] = Slot { left, right, rank: rank as u32 };
            let bit = table.bit(table.hash(left, right));
            put(&mut table.merging, bit);
        }
        table
    }

    /// The merges by rank.
    pub(crate) fn merges(&self) -> &[Merge] {
        &self.merges
    }

    /// The rank of two bytes.
    #[inline]
    pub(crate) fn byte_pair(&self, left: u8, right: u8) -> u32 {
        self.byte_pairs[usize::from(left) << 8 | usize::from(right)]
    }

    /// The rank of two tokens.
    #[inline]
    pub(crate) fn rank(&self, left: u32, right: u32) -> u32 {
        let bit = self.bit(self.hash(left, right));
        if !has(&self.merging, bit) {
            return NEVER;
        }
        self.slots[self.find(left, right)].rank
    }

    /// The token that the pair of this rank becomes.
    #[inline]
    pub(crate) fn merged(&self, rank: u32) -> u32 {
        self.merged[rank as usize]
    }

    /// The slot of a pair, or the free one where it belongs.
    #[inline]
    fn find(&self, left: u32, right: u32) -> usize {
        let mask = self.slots.len() - 1;
        let mut at = (self.hash(left, right) >> 32) as usize & mask;
        loop {
            let slot = &self.slots[at];
            if slot.rank == NEVER || (slot.left == left && slot.right == right) {
                return at;
            }
            at = (at + 1) & mask;
        }
    }

    #[inline]
    fn hash(&self, left: u32, right: u32) -> u64 {
        self.hasher.hash_one(u64::from(left) << 32 | u64::from(right))
    }

    #[inline]
    fn bit(&self, hash: u64) -> usize {
        (hash >> 24) as usize & (self.merging.len() * 64 - 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_pair_has_its_rank_and_others_have_none() {
        let mut id_of_byte = [0; 256];
        for (byte, id) in id_of_byte.iter_mut().enumerate() {
            *id = 255 - byte as u32;
        }
        let merges: Vec<Merge> =
            (0..5000).map(|i| Merge { left: i % 300, right: i / 300 * 7, merged: 1000 + i }).collect();
        let table = PairTable::new(merges.clone(), &id_of_byte);
        for left in 0..310 {
            for right in 0..130 {
                let plain = merges.iter().position(|merge| (merge.left, merge.right) == (left, right));
                let plain = plain.map_or(NEVER, |rank| rank as u32);
                assert_eq!(table.rank(left, right), plain, "{left} {right}");
                if left < 256 && right < 256 {
                    assert_eq!(table.byte_pair(255 - left as u8, 255 - right as u8), plain);
                }
            }
        }
    }

    #[test]
    fn a_pair_that_is_listed_twice_has_its_last_rank() {
        let merge = |left, right, merged| Merge { left, right, merged };
        let id_of_byte = std::array::from_fn(|byte| byte as u32);
        let [a, b, c] = [97, 98, 99];
        let table = PairTable::new(vec![merge(b, c, 256), merge(a, b, 257), merge(b, c, 256)], &id_of_byte);
        assert_eq!((table.rank(b, c), table.byte_pair(98, 99), table.rank(a, b)), (2, 2, 1));
        assert_eq!(table.merged(2), 256);
    }

    #[test]
    fn chosen_merges_do_not_all_belong_into_one_slot() {
        // A12: with multiplication by the golden ratio, which anybody can undo, these had the same slot of 8192.
        let is_chosen = |&(left, right): &(u32, u32)| {
            let pair = u64::from(left) << 32 | u64::from(right);
            pair.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32 & 8191 == 0
        };
        let chosen = (0..8192).flat_map(|left| (0..8192).map(move |right| (left, right))).filter(is_chosen).take(4000);
        let merges: Vec<Merge> = chosen.map(|(left, right)| Merge { left, right, merged: 0 }).collect();
        let table = PairTable::new(merges, &std::array::from_fn(|byte| byte as u32));
        assert_eq!((table.merges.len(), table.slots.len()), (4000, 8192));
        let run = table.slots.split(|slot| slot.rank == NEVER).map(<[Slot]>::len).max();
        assert!(run < Some(400), "{run:?} slots in a row are taken");
    }
}
