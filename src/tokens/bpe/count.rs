//! How often each different piece occurs.
//!
//! In: text, in chunks of any order. Out: pieces with their counts. The one idea: nearly all pieces are at most 15 bytes
//! long, so they are compared as one 128-bit number, bytes and length together, in an open table; the few long ones
//! lie behind each other in one stretch of memory. Counting is where learning needs the most memory at once, so the
//! tables are no larger than they must be, and whoever learns from them takes them apart.

use std::hash::BuildHasher;

use bytemuck::{Pod, Zeroable};
use hashbrown::DefaultHashBuilder;

use crate::math::Zeroed;
use crate::tokens::pretokenize::{LineFeed, Pattern};
use crate::tokens::token_table::TokenTable;

/// The longest piece that is a key.
pub(crate) const MAX_SHORT: usize = 15;

/// Different pieces with their counts.
#[derive(Debug, Clone, Default)]
pub(crate) struct PieceCounts {
    /// A power of two, or none yet; a slot whose key is 0 is free.
    slots: Zeroed<Slot>,
    n_short: usize,
    long: TokenTable,
    /// By number in `long`.
    long_counts: Vec<u64>,
    /// Drawn anew for each process, so that nobody can write a text whose pieces all belong into the same slot.
    hasher: DefaultHashBuilder,
}

/// The halves of the key, low and high, and the count. As one number the key would be aligned to 16 bytes, and a quarter
/// of the table would be empty.
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct Slot {
    key: [u64; 2],
    count: u64,
}

impl Slot {
    const FREE: [u64; 2] = [0, 0];
}

/// `text[start..end]`, which is 1 to 15 bytes, as a number: the bytes from the lowest on, and the length above them.
#[inline]
pub(crate) fn short_key(text: &[u8], start: usize, end: usize) -> u128 {
    let len = end - start;
    debug_assert!((1..=MAX_SHORT).contains(&len));
    let bytes = match text.get(start..).and_then(<[u8]>::first_chunk) {
        Some(bytes) => u128::from_le_bytes(*bytes),
        // The last pieces of a text, where 16 bytes are no longer there.
        None => {
            let mut bytes = [0; 16];
            bytes[..len].copy_from_slice(&text[start..end]);
            u128::from_le_bytes(bytes)
        }
    };
    bytes & KEY_BYTES[len & 15] | (len as u128) << 120
}

/// By length: the bytes of a key that are the piece's. Looking them up is quicker than shifting 128 bits.
static KEY_BYTES: [u128; 16] = {
    let mut masks = [0; 16];
    let mut len = 1;
    while len < 16 {
        masks[len] = (1 << (8 * len)) - 1;
        len += 1;
    }
    masks
};

impl PieceCounts {
    /// Counts the pieces of `text`.
    pub(crate) fn count_text(&mut self, pattern: &Pattern, text: &[u8]) {
        let mut start = 0;
        pattern.for_each_batch(text, LineFeed::Ends, |ends| {
            for &end in ends {
                if end - start <= MAX_SHORT {
                    self.add_short(short_key(text, start, end), 1);
                } else {
                    self.add_long(&text[start..end], 1);
                }
                start = end;
            }
        });
    }

    /// Counts each piece of `text` as often as `count` says; returns how many pieces there are.
    pub(crate) fn add_text(&mut self, pattern: &Pattern, text: &[u8], count: u64) -> u64 {
        let (mut start, mut n_pieces) = (0, 0);
        pattern.for_each_batch(text, LineFeed::Ends, |ends| {
            for &end in ends {
                self.add(&text[start..end], count);
                start = end;
            }
            n_pieces += ends.len() as u64;
        });
        n_pieces
    }

    /// Adds `count` occurrences of `piece`; a count beyond 64 bits stays at the largest number.
    pub(crate) fn add(&mut self, piece: &[u8], count: u64) {
        match piece.len() {
            0 => {}
            1..=MAX_SHORT => self.add_short(short_key(piece, 0, piece.len()), count),
            _ => self.add_long(piece, count),
        }
    }

    /// Adds all of `other`'s counts.
    pub(crate) fn merge(&mut self, other: PieceCounts) {
        for slot in other.slots.as_slice().iter().filter(|slot| slot.key != Slot::FREE) {
            self.add_to(slot.key, slot.count);
        }
        for (piece, count) in other.long.iter().zip(other.long_counts) {
            self.add_long(piece, count);
        }
    }

    /// How many different pieces there are.
    pub(crate) fn len(&self) -> usize {
        self.n_short + self.long.len()
    }

    /// Hands each different piece and its count to `piece`, in no order that means anything.
    pub(crate) fn for_each(&self, mut piece: impl FnMut(&[u8], u64)) {
        for slot in self.slots.as_slice().iter().filter(|slot| slot.key != Slot::FREE) {
            let [low, high] = slot.key.map(u64::to_le_bytes);
            let mut bytes = [0; 16];
            bytes[..8].copy_from_slice(&low);
            bytes[8..].copy_from_slice(&high);
            piece(&bytes[..usize::from(bytes[15])], slot.count);
        }
        for (bytes, &count) in self.long.iter().zip(&self.long_counts) {
            piece(bytes, count);
        }
    }

    #[inline]
    fn add_short(&mut self, key: u128, count: u64) {
        self.add_to([key as u64, (key >> 64) as u64], count);
    }

    #[inline]
    fn add_to(&mut self, key: [u64; 2], count: u64) {
        let n_slots = self.slots.as_slice().len();
        if self.n_short >= n_slots - n_slots / 4 {
            self.grow();
        }
        let slot = find(self.slots.as_mut_slice(), &self.hasher, key);
        if slot.key == Slot::FREE {
            slot.key = key;
            self.n_short += 1;
        }
        slot.count = slot.count.saturating_add(count);
    }

    fn add_long(&mut self, piece: &[u8], count: u64) {
        let number = self.long.find_or_add(piece) as usize;
        match self.long_counts.get_mut(number) {
            Some(known) => *known = known.saturating_add(count),
            None => self.long_counts.push(count),
        }
    }

    #[cold]
    fn grow(&mut self) {
        let mut slots = Zeroed::new((self.slots.as_slice().len() * 2).max(1 << 12));
        for slot in self.slots.as_slice().iter().filter(|slot| slot.key != Slot::FREE) {
            *find(slots.as_mut_slice(), &self.hasher, slot.key) = *slot;
        }
        self.slots = slots;
    }
}

/// The slot of `key`, or the free slot where it belongs.
#[inline]
fn find<'s>(slots: &'s mut [Slot], hasher: &DefaultHashBuilder, key: [u64; 2]) -> &'s mut Slot {
    let mask = slots.len() - 1;
    let mut at = hasher.hash_one(u128::from(key[1]) << 64 | u128::from(key[0])) as usize & mask;
    // At most three in four of the slots are taken, so a free one comes soon.
    while slots[at].key != key && slots[at].key != Slot::FREE {
        at = (at + 1) & mask;
    }
    &mut slots[at]
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn to_map(counts: &PieceCounts) -> BTreeMap<Vec<u8>, u64> {
        let mut map = BTreeMap::new();
        counts.for_each(|piece, count| assert!(map.insert(piece.to_vec(), count).is_none()));
        assert_eq!(map.len(), counts.len());
        map
    }

    #[test]
    fn counts_are_those_of_a_plain_map() {
        let mut text = Vec::new();
        for number in 0..5000u32 {
            text.extend_from_slice(format!("w{} x{:0>20}\n", number % 1700, number % 13).as_bytes());
        }
        let mut plain: BTreeMap<Vec<u8>, u64> = BTreeMap::new();
        Pattern::Gpt2.for_each_piece(&text, LineFeed::Ends, |piece| *plain.entry(piece.to_vec()).or_insert(0) += 1);
        let mut whole = PieceCounts::default();
        whole.count_text(&Pattern::Gpt2, &text);
        assert_eq!(to_map(&whole), plain);
        let mut halves = PieceCounts::default();
        let middle = text.len() / 2 + text[text.len() / 2..].iter().position(|&byte| byte == b'\n').unwrap() + 1;
        let mut second = PieceCounts::default();
        halves.count_text(&Pattern::Gpt2, &text[..middle]);
        second.count_text(&Pattern::Gpt2, &text[middle..]);
        halves.merge(second);
        assert_eq!(to_map(&halves), plain);
    }

    #[test]
    fn pieces_with_zero_bytes_and_of_any_length_are_told_apart() {
        let mut counts = PieceCounts::default();
        let mut plain = BTreeMap::new();
        for len in 1..40 {
            for filler in [0u8, 1, 255] {
                let piece = vec![filler; len];
                counts.add(&piece, len as u64);
                plain.insert(piece, len as u64);
            }
        }
        counts.add(b"", 7);
        assert_eq!(to_map(&counts), plain);
    }

    #[test]
    fn counts_beyond_32_bits_are_kept_and_beyond_64_they_do_not_wrap() {
        // A11
        let mut counts = PieceCounts::default();
        for piece in ["the", "a piece of many bytes"] {
            counts.add(piece.as_bytes(), 1 << 40);
            counts.add(piece.as_bytes(), 1 << 40);
            assert_eq!(to_map(&counts)[piece.as_bytes()], 1 << 41);
            counts.add(piece.as_bytes(), u64::MAX - 5);
            assert_eq!(to_map(&counts)[piece.as_bytes()], u64::MAX);
        }
    }

    #[test]
    fn chosen_pieces_do_not_all_belong_into_one_slot() {
        // With a hash that is the same for everyone, the product of a key's halves, these eight bytes made it 0.
        let mut counts = PieceCounts::default();
        for number in 10_000..14_000 {
            let piece = [&0x9E37_79B9_7F4A_7C15u64.to_le_bytes()[..], number.to_string().as_bytes()].concat();
            counts.add(&piece, 1);
        }
        let slots = counts.slots.as_slice();
        let run = slots.split(|slot| slot.key == Slot::FREE).map(<[Slot]>::len).max();
        assert!(run < Some(400), "{run:?} of {} slots in a row are taken", slots.len());
    }
}
