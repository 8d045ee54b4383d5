//! Which pairs of tokens merge, how early, and into what.
//!
//! In: merges in the order of their rank. Out: the rank of a pair at the cost of one or two cache lines: single bytes in
//! a square grid, other pairs in an open table.

/// Two tokens and what they become; its rank is its place in the list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Merge {
    pub(crate) left: u32,
    pub(crate) right: u32,
    pub(crate) merged: u32,
}

/// The ranks of all pairs; `u32::MAX` is the rank of a pair that does not merge.
#[derive(Debug, Clone)]
pub(crate) struct PairTable {
    /// `[256, 256]` by bytes, not by tokens.
    byte_pairs: Vec<u32>,
    /// A power of two; rank `u32::MAX` marks a free slot.
    slots: Vec<Slot>,
    /// By rank.
    merges: Vec<Merge>,
}

#[derive(Debug, Clone, Copy)]
struct Slot {
    left: u32,
    right: u32,
    rank: u32,
}

const NEVER: u32 = u32::MAX;

impl PairTable {
    /// A table of `merges`, which are fewer than 2³¹; a pair that occurs twice has its first rank.
    pub(crate) fn new(merges: Vec<Merge>, id_of_byte: &[u32; 256]) -> PairTable {
        let n_slots = (merges.len() * 2).next_power_of_two().max(16);
        let mut table = PairTable {
            byte_pairs: vec![NEVER; 256 * 256],
            slots: vec![Slot { left: 0, right: 0, rank: NEVER }; n_slots],
            merges,
        };
        for rank in 0..table.merges.len() {
            let Merge { left, right, .. } = table.merges[rank];
            let at = table.find(left, right);
            if table.slots[at].rank == NEVER {
                table.slots[at] = Slot { left, right, rank: rank as u32 };
            }
        }
        for left in 0..256 {
            for right in 0..256 {
                table.byte_pairs[left << 8 | right] = table.rank(id_of_byte[left], id_of_byte[right]);
            }
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
        self.slots[self.find(left, right)].rank
    }

    /// The token that the pair of this rank becomes.
    #[inline]
    pub(crate) fn merged(&self, rank: u32) -> u32 {
        self.merges[rank as usize].merged
    }

    /// The slot of a pair, or the free one where it belongs.
    #[inline]
    fn find(&self, left: u32, right: u32) -> usize {
        let mask = self.slots.len() - 1;
        // Fibonacci hashing: the high bits of the product are well mixed.
        let product = (u64::from(left) << 32 | u64::from(right)).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        let mut at = (product >> 32) as usize & mask;
        loop {
            let slot = &self.slots[at];
            if slot.rank == NEVER || (slot.left == left && slot.right == right) {
                return at;
            }
            at = (at + 1) & mask;
        }
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
}
