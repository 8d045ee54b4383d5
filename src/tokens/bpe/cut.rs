//! Where a piece may be cut in two without changing its ids.
//!
//! In: a long piece of text without spaces. Out: places in it that no merge crosses, so that what lies between them can
//! be encoded, and remembered, by itself. The one idea: the first merge across a place joins a token that ends there
//! with one that begins there; where no merge has such parts, there is none.
//!
//! Only the characters on both sides are asked: those of one byte, and those of three, in which the languages without
//! spaces are written. A merge whose parts hold these characters whole is entered by them. Parts that are shorter than
//! their character (`\xE4` in `的\xE4`, learned from 的 before many others) are in nobody's way once their character has
//! been put together: [`Times`] proves it for nearly all characters, and the others are entered one by one.

use std::ops::RangeInclusive;

use super::backtrack::Token;
use super::encode::Merger;
use super::pair_table::NEVER;
use crate::tokens::bits::{has, put};

/// A merge with parts that are shorter than their characters may enter so many pairs of characters. Where there are
/// more, the characters on the side with fewer are never cut off there.
const MAX_PAIRS: usize = 1 << 10;

/// So many bits for each pair of characters: one in eight places is not cut for want of a bit.
const BITS_PER_PAIR: usize = 8;

/// The places where long pieces are cut.
#[derive(Debug, Clone)]
pub(crate) struct Cutter {
    /// A bit for each pair of characters, by their hash: whether something may merge across the place between them.
    joined: Vec<u64>,
    /// 64 less the number of bits of a hash.
    shift: u32,
    /// Two bits for each character of three bytes: [`BEFORE`] and [`BEHIND`].
    loose: Vec<u64>,
}

/// Something may merge across the place before a character, or behind it.
const BEFORE: u64 = 1;
const BEHIND: u64 = 2;

/// A character of one or three bytes as its bytes, the first lowest; `OTHER` for what is neither.
pub(super) type Unit = u32;

const OTHER: Unit = 0;

/// So many places are handed over at a time.
pub(super) const MAX_PLACES: usize = 32;

impl Cutter {
    /// `bytes` are those of the tokens by time.
    pub(super) fn new(times: &Times<'_>, bytes: &[Vec<u8>]) -> Cutter {
        let mut pairs: Vec<(Unit, Unit)> = Vec::new();
        let mut cutter = Cutter { joined: Vec::new(), shift: 0, loose: vec![0; (2 << 16) / 64] };
        for (time, token) in made(times.tokens) {
            let (left, right) = (&bytes[token.left as usize], &bytes[token.right as usize]);
            let (lefts, rights) = (times.lefts(left, time), times.rights(right, time));
            if lefts.len() * rights.len() <= MAX_PAIRS {
                pairs.extend(lefts.iter().flat_map(|&left| rights.iter().map(move |&right| (left, right))));
            } else if lefts.len() < rights.len() {
                lefts.iter().for_each(|&left| cutter.loosen(left, BEHIND));
            } else {
                rights.iter().for_each(|&right| cutter.loosen(right, BEFORE));
            }
        }
        let n_bits = (pairs.len() * BITS_PER_PAIR).next_power_of_two().max(1 << 12);
        cutter.joined.resize(n_bits / 64, 0);
        cutter.shift = 64 - n_bits.trailing_zeros();
        for (left, right) in pairs {
            let bit = cutter.bit(left, right);
            put(&mut cutter.joined, bit);
        }
        cutter
    }

    /// Hands the places where `piece` is cut to `places`, ascending, some at a time.
    #[inline]
    pub(crate) fn for_each_cut(&self, piece: &[u8], mut places: impl FnMut(&[usize])) {
        let (mut at, mut before, mut loose_before) = (0, OTHER, 0);
        let mut found = [0; MAX_PLACES];
        let mut n_found = 0;
        while at < piece.len() {
            let (unit, len) = unit_at(piece, at);
            let loose = self.loose(unit);
            let bit = self.bit(before, unit);
            let is_joined = u64::from(has(&self.joined, bit)) | loose_before & BEHIND | loose & BEFORE;
            // Whether a place is one is hard to guess, so it is written in any case and the next may write over it.
            found[n_found] = at;
            n_found += usize::from((is_joined == 0) & (before != OTHER) & (unit != OTHER));
            if n_found == MAX_PLACES {
                places(&found);
                n_found = 0;
            }
            (before, loose_before) = (unit, loose);
            at += len;
        }
        places(&found[..n_found]);
    }

    #[inline]
    fn bit(&self, left: Unit, right: Unit) -> usize {
        let both = u64::from(left) << 24 | u64::from(right);
        (both.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> self.shift) as usize
    }

    /// [`BEFORE`] and [`BEHIND`] of a unit.
    #[inline]
    fn loose(&self, unit: Unit) -> u64 {
        let number = three(unit);
        self.loose[number / 32] >> (number % 32 * 2)
    }

    fn loosen(&mut self, unit: Unit, side: u64) {
        let number = three(unit);
        self.loose[number / 32] |= side << (number % 32 * 2);
    }
}

/// The unit at a place, and its length.
#[inline]
pub(super) fn unit_at(piece: &[u8], at: usize) -> (Unit, usize) {
    match piece[at..] {
        [a, b, c, ..] if is_three(a, b, c) => (unit(a, b, c), 3),
        [a, ..] if a < 0x80 => (u32::from(a), 1),
        _ => (OTHER, 1),
    }
}

pub(super) fn unit(a: u8, b: u8, c: u8) -> Unit {
    u32::from_le_bytes([a, b, c, 0])
}

/// A character of three bytes as a number below 2¹⁶. The other units have numbers of characters that there are not.
#[inline]
pub(super) fn three(unit: Unit) -> usize {
    ((unit & 0xF) << 12 | (unit >> 8 & 0x3F) << 6 | unit >> 16 & 0x3F) as usize
}

/// Whether the bytes look like a character of three bytes.
pub(super) fn is_three(a: u8, b: u8, c: u8) -> bool {
    a & 0xF0 == 0xE0 && is_inner(b) && is_inner(c)
}

/// The bytes within a character.
const INNER: RangeInclusive<u8> = 0x80..=0xBF;

fn is_inner(byte: u8) -> bool {
    INNER.contains(&byte)
}

/// When the parts of characters merge.
pub(super) struct Times<'a> {
    merger: &'a Merger,
    /// By time.
    pub(super) tokens: &'a [Token],
    /// By token: when a merge first takes it as its left part, and as its right.
    pub(super) as_left: Vec<u32>,
    pub(super) as_right: Vec<u32>,
}

impl Times<'_> {
    pub(super) fn new<'a>(merger: &'a Merger, tokens: &'a [Token]) -> Times<'a> {
        let mut times =
            Times { merger, tokens, as_left: vec![NEVER; tokens.len()], as_right: vec![NEVER; tokens.len()] };
        for (time, token) in made(tokens) {
            let (left, right) = (token.left as usize, token.right as usize);
            times.as_left[left] = times.as_left[left].min(time);
            times.as_right[right] = times.as_right[right].min(time);
        }
        times
    }

    /// When the two tokens merge, which is also what they become.
    pub(super) fn merge(&self, left: u32, right: u32) -> u32 {
        if left == NEVER || right == NEVER {
            return NEVER;
        }
        match self.merger.pairs.rank(self.tokens[left as usize].id, self.tokens[right as usize].id) {
            NEVER => NEVER,
            rank if self.tokens[rank as usize + 256].is_gap() => NEVER,
            rank => rank + 256,
        }
    }

    /// The units that a place may have on its left when a merge at `time` has `part` there.
    fn lefts(&self, part: &[u8], time: u32) -> Vec<Unit> {
        match *part {
            [.., a] if a < 0x80 => vec![u32::from(a)],
            [.., a, b, c] if is_three(a, b, c) => vec![unit(a, b, c)],
            [c] if is_inner(c) => {
                let firsts = (0xE0..=0xEF).flat_map(|a| INNER.map(move |b| (a, b)));
                let in_the_way = firsts.filter(|&(a, b)| !self.last_is_gone(a, b, c, time));
                in_the_way.map(|(a, b)| unit(a, b, c)).collect()
            }
            [b, c] if is_inner(b) && is_inner(c) => {
                let in_the_way = (0xE0..=0xEF).filter(|&a| !self.last_two_are_gone(a, b, c, time));
                in_the_way.map(|a| unit(a, b, c)).collect()
            }
            _ => Vec::new(),
        }
    }

    /// The units that a place may have on its right when a merge at `time` has `part` there.
    fn rights(&self, part: &[u8], time: u32) -> Vec<Unit> {
        match *part {
            [a, ..] if a < 0x80 => vec![u32::from(a)],
            [a, b, c, ..] if is_three(a, b, c) => vec![unit(a, b, c)],
            [a] if a & 0xF0 == 0xE0 => {
                let in_the_way = INNER.filter(|&b| !self.first_is_gone(a, b, time));
                in_the_way.flat_map(|b| INNER.map(move |c| unit(a, b, c))).collect()
            }
            [a, b] if a & 0xF0 == 0xE0 && is_inner(b) => {
                let in_the_way = INNER.filter(|&c| !self.first_two_are_gone(a, b, c, time));
                in_the_way.map(|c| unit(a, b, c)).collect()
            }
            _ => Vec::new(),
        }
    }

    /// Whether `a` has surely been merged with `b` before `time`, when it begins a text.
    fn first_is_gone(&self, a: u8, b: u8, time: u32) -> bool {
        let together = self.merge(a.into(), b.into());
        // Nothing took `b` away to the right before.
        together < time && together < self.as_left[usize::from(b)]
    }

    /// Whether `ab`, if it was ever put together, has surely been merged with `c` before `time`, when it begins a text.
    fn first_two_are_gone(&self, a: u8, b: u8, c: u8, time: u32) -> bool {
        let together = self.merge(self.merge(a.into(), b.into()), c.into());
        together < time && together < self.as_left[usize::from(c)]
    }

    /// Whether `c` has surely been merged with what is before it before `time`, when it ends a text.
    fn last_is_gone(&self, a: u8, b: u8, c: u8, time: u32) -> bool {
        let last_two = self.merge(b.into(), c.into());
        if last_two < time && last_two < self.as_right[usize::from(b)] {
            return true;
        }
        let Some(first_two) = self.first_two(a, b) else { return false };
        let together = self.merge(first_two, c.into());
        together < time && together < self.as_right[first_two as usize]
    }

    /// Whether `bc` was never put together, or has surely been merged with `a` before `time`, when it ends a text.
    fn last_two_are_gone(&self, a: u8, b: u8, c: u8, time: u32) -> bool {
        let together = self.merge(a.into(), self.merge(b.into(), c.into()));
        self.first_two(a, b).is_some() || together < time && together < self.as_right[usize::from(a)]
    }

    /// `ab`, if these two surely merge with each other before anything else takes one of them.
    fn first_two(&self, a: u8, b: u8) -> Option<u32> {
        let together = self.merge(a.into(), b.into());
        (together < self.as_right[usize::from(a)] && together < self.as_left[usize::from(b)]).then_some(together)
    }
}

/// The tokens that merges make, with their times.
fn made(tokens: &[Token]) -> impl Iterator<Item = (u32, &Token)> {
    (0..).zip(tokens).skip(256).filter(|(_, token)| !token.is_gap())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::tokens::TokenId;
    use crate::tokens::bpe::backtrack::Backtracker;
    use crate::tokens::bpe::encode::tests::{merger_of, pairs_to_merges, picked};
    use crate::tokens::bpe::merge::LongPiece;

    fn merged(merger: &Merger, text: &[u8]) -> Vec<TokenId> {
        let mut ids = Vec::new();
        merger.merge_by_rank(text, &mut LongPiece::default(), &mut ids);
        ids
    }

    /// The parts of a text, each tried to be what it must be.
    fn parts<'t>(merger: &Merger, backtracker: &Backtracker, text: &'t [u8]) -> Vec<&'t [u8]> {
        let (mut parts, mut first) = (Vec::new(), 0);
        backtracker.cutter().for_each_cut(text, |places| {
            for &place in places {
                parts.push(&text[first..place]);
                first = place;
            }
        });
        parts.push(&text[first..]);
        let by_parts: Vec<TokenId> = parts.iter().flat_map(|part| merged(merger, part)).collect();
        assert_eq!(by_parts, merged(merger, text), "{text:x?} in {parts:x?}");
        parts
    }

    /// Bytes that make characters of one, two, three and four bytes with each other, and damaged ones.
    const BYTES: [u8; 7] = [b'a', 0xC3, 0xE4, 0xE5, 0xF0, 0xB8, 0x80];

    proptest! {
        #![proptest_config(ProptestConfig { cases: 1000, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn parts_have_the_ids_of_the_whole(
            picks in prop::collection::vec((any::<u32>(), any::<u32>()), 0..60),
            by_token in any::<bool>(),
            texts in prop::collection::vec(prop::collection::vec(prop_oneof![
                6 => (2..4usize, 5..7usize, 5..7usize).prop_map(|(a, b, c)| vec![BYTES[a], BYTES[b], BYTES[c]]),
                1 => Just(b"a".to_vec()),
                1 => (0..7usize).prop_map(|byte| vec![BYTES[byte]]),
            ], 1..20), 20),
        ) {
            let merger = merger_of(&picked(&BYTES, &picks, by_token));
            let Some(backtracker) = Backtracker::new(&merger) else { return Ok(()) };
            for text in texts {
                parts(&merger, &backtracker, &text.concat());
            }
        }
    }

    #[test]
    fn words_of_a_text_without_spaces_are_parts() {
        // 中 = E4 B8 AD, 国 = E5 9B BD, 的 = E7 9A 84; then 中国, and 的 with the first two bytes of 中.
        let [e4, b8, ad, e5, x9b, bd, e7, x9a, x84] = [0xE4, 0xB8, 0xAD, 0xE5, 0x9B, 0xBD, 0xE7, 0x9A, 0x84];
        let pairs = [(e4, b8), (256, ad), (e5, x9b), (258, bd), (e7, x9a), (260, x84), (257, 259), (261, 256)];
        let parts = |pairs: &[(u32, u32)], text: &'static str| {
            let merger = merger_of(&pairs_to_merges(pairs));
            parts(&merger, &Backtracker::new(&merger).unwrap(), text.as_bytes())
        };
        // No token has 国的 or 的国 within; but 的 and what begins like 中, and is not 中, may have one together.
        let expected = ["中国", "的", "国", "a", "中国", "的", "中", "的丏", "国"];
        assert_eq!(parts(&pairs, "中国的国a中国的中的丏国"), expected.map(str::as_bytes));
        // Here 的 takes the first bytes of 中 before the third comes to them.
        let pairs = [(e4, b8), (e7, x9a), (257, x84), (258, 256), (256, ad)];
        assert_eq!(parts(&pairs, "的中中"), ["的中", "中"].map(str::as_bytes));
    }
}
