//! Short pieces of Chinese, Japanese or Korean, merged from their characters on.
//!
//! In: a piece. Out: its ids, where it is such a piece. The one idea: if the bytes of a character merge with each other
//! before any of them could with a byte beside the character, then the character is a token, whatever is around it; merging
//! may as well begin there, and has a third of the tokens and a quarter of the merges left.

use super::cut::{Times, is_three, three, unit, unit_at};
use super::encode::Merger;
use super::trie::NONE;
use crate::tokens::TokenId;

/// The most characters and other bytes of a piece; merging takes quadratic time.
const MAX_UNITS: usize = 16;

/// The most bytes that are not of a character known here.
const MAX_BYTES: usize = 4;

/// Characters of three bytes that are tokens wherever they stand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Characters {
    /// The token's id by [`three`]; [`NONE`] of a character of which this is not known.
    ids: Vec<u32>,
}

impl Characters {
    /// `bytes` are those of the tokens by time.
    pub(super) fn new(times: &Times<'_>, bytes: &[Vec<u8>]) -> Characters {
        let mut characters = Characters { ids: vec![NONE; 1 << 16] };
        for (time, (token, bytes)) in (0..).zip(times.tokens.iter().zip(bytes)) {
            if let [a, b, c] = **bytes
                && is_three(a, b, c)
                && is_sure(times, time)
            {
                characters.ids[three(unit(a, b, c))] = token.id;
            }
        }
        characters
    }

    /// Appends the ids of the piece, if it has a few characters and nearly all are known here; tells whether it did.
    pub(super) fn encode(&self, merger: &Merger, piece: &[u8], ids: &mut Vec<TokenId>) -> bool {
        let mut tokens = [0; MAX_UNITS];
        let (mut n, mut n_bytes, mut at) = (0, 0, 0);
        while at < piece.len() {
            let (unit, len) = unit_at(piece, at);
            let id = if len == 3 { self.ids[three(unit)] } else { NONE };
            if n == MAX_UNITS || id == NONE && n_bytes == MAX_BYTES {
                return false;
            }
            if id == NONE {
                tokens[n] = merger.id_of_byte[usize::from(piece[at])];
                n_bytes += 1;
                at += 1;
            } else {
                tokens[n] = id;
                at += 3;
            }
            n += 1;
        }
        match tokens.first_chunk::<8>() {
            Some(&few) if n <= 8 => merger.merge_tokens(n, few, ids),
            _ => merger.merge_tokens(n, tokens, ids),
        }
        true
    }
}

/// Whether the character made at this time is made wherever its bytes are: nothing takes one of its parts away before.
fn is_sure(times: &Times<'_>, time: u32) -> bool {
    let whole = times.tokens[time as usize];
    let is_byte = |token: u32| token < 256;
    let later_on_left = |token: u32, time: u32| times.as_right[token as usize] > time;
    let later_on_right = |token: u32, time: u32| times.as_left[token as usize] > time;
    if is_byte(whole.right) {
        // `ab`, then `c`.
        let (ab, c) = (whole.left, whole.right);
        let (a, b) = (times.tokens[ab as usize].left, times.tokens[ab as usize].right);
        later_on_left(a, ab) && times.merge(b, c) > ab && later_on_left(ab, time) && later_on_right(c, time)
    } else {
        // `bc`, then `a`.
        let (a, bc) = (whole.left, whole.right);
        let (b, c) = (times.tokens[bc as usize].left, times.tokens[bc as usize].right);
        later_on_right(c, bc) && times.merge(a, b) > bc && later_on_right(bc, time) && later_on_left(a, time)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::tokens::bpe::backtrack::Backtracker;
    use crate::tokens::bpe::encode::tests::{merger_of, pairs_to_merges, picked};
    use crate::tokens::bpe::merge::LongPiece;

    /// Whether the piece is encoded from its characters on; if it is, it is tried to be what it must be.
    fn is_encoded(merger: &Merger, backtracker: &Backtracker, piece: &[u8]) -> bool {
        let (mut ids, mut expected) = (Vec::new(), Vec::new());
        let is_encoded = backtracker.characters.encode(merger, piece, &mut ids);
        if is_encoded {
            merger.merge_by_rank(piece, &mut LongPiece::default(), &mut expected);
            assert_eq!(ids, expected, "{piece:x?}");
        }
        is_encoded
    }

    /// Bytes that make characters of two, three and four bytes with each other, and damaged ones.
    const BYTES: [u8; 6] = [0xC3, 0xE4, 0xE5, 0xF0, 0xB8, 0x80];

    proptest! {
        #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn characters_have_the_ids_of_their_bytes(
            picks in prop::collection::vec((any::<u32>(), any::<u32>()), 0..40),
            by_token in any::<bool>(),
            pieces in prop::collection::vec(prop::collection::vec(prop_oneof![
                6 => (1..3usize, 4..6usize, 4..6usize).prop_map(|(a, b, c)| vec![BYTES[a], BYTES[b], BYTES[c]]),
                1 => (0..6usize).prop_map(|byte| vec![BYTES[byte]]),
            ], 1..10), 40),
        ) {
            let merger = merger_of(&picked(&BYTES, &picks, by_token));
            let Some(backtracker) = Backtracker::new(&merger) else { return Ok(()) };
            for piece in pieces {
                is_encoded(&merger, &backtracker, &piece.concat());
            }
        }
    }

    #[test]
    fn a_character_is_known_unless_something_may_take_a_part_of_it_away() {
        // 中 = E4 B8 AD, 国 = E5 9B BD; then 中国.
        let [e4, b8, ad, e5, x9b, bd] = [0xE4, 0xB8, 0xAD, 0xE5, 0x9B, 0xBD];
        let is_known = |pairs: &[(u32, u32)], piece: &str| {
            let merger = merger_of(&pairs_to_merges(pairs));
            let backtracker = Backtracker::new(&merger).unwrap();
            let (first, _) = unit_at(piece.as_bytes(), 0);
            let is_known = backtracker.characters.ids[three(first)] != NONE;
            assert!(!is_known || is_encoded(&merger, &backtracker, piece.as_bytes()));
            is_known
        };
        // From the left, from the right.
        assert!(is_known(&[(e4, b8), (256, ad), (e5, x9b), (258, bd), (257, 259)], "中国"));
        assert!(is_known(&[(b8, ad), (e4, 256), (e5, x9b), (258, bd), (257, 259)], "中国"));
        // What is in the way comes later, and before.
        assert!(is_known(&[(e4, b8), (256, ad), (ad, e5)], "中国"));
        assert!(!is_known(&[(e4, b8), (ad, e5), (256, ad)], "中国"));
        assert!(!is_known(&[(bd, e4), (e4, b8), (257, ad)], "中国"));
        assert!(!is_known(&[(e4, b8), (bd, 256), (256, ad)], "中国"));
        assert!(!is_known(&[(b8, ad), (256, e5), (e4, 256)], "中国"));
        // Its own bytes merge otherwise.
        assert!(!is_known(&[(b8, ad), (e4, b8), (257, ad)], "中国"));
    }
}
