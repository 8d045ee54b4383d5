//! Long pieces → ids in linear time.
//!
//! In: the bytes of a piece. Out: what merging pair after pair would leave, without doing it. Two facts make it possible
//! (both are set out in the README of the `bpe` crate of github/rust-gems):
//!
//! - Tokens are the merge of a text exactly if each two neighbours are *compatible*: the merge of their bytes is just
//!   these two. So a text is encoded from left to right, taking the longest token that is compatible with the one before.
//!   If none is, the one before is exchanged for its next shorter beginning; places that led nowhere are not tried again.
//! - Whether two tokens are compatible follows from undoing their merges, the latest first, and asking each time whether
//!   the two parts that touch would have merged with each other before they merged with what they did.
//!
//! The second asks that a token is made by one merge only. Files that were converted from ranks list several for many
//! tokens: each two tokens that make a third. But all of them but one never apply. For where a token stands in a text,
//! nothing has merged across its ends, so what lies within has merged as it does when the token's bytes are alone; and alone
//! they have one last merge. That one is found, and the others are left out.

use std::collections::BTreeMap;

use super::characters::Characters;
use super::cut::{Cutter, Times};
use super::encode::Merger;
use super::merge::LongPiece;
use super::pair_table::{Merge, NEVER};
use super::trie::{NONE, Trie};
use crate::tokens::TokenId;
use crate::tokens::bits::{has, take};

/// What is known about all tokens; built when it is worth it.
///
/// Tokens go by the time they appear: bytes are 0 to 255, what merge `r` makes is 256 + `r`. Merges that never apply leave
/// gaps.
#[derive(Debug, Clone)]
pub(crate) struct Backtracker {
    /// By time.
    tokens: Vec<Token>,
    /// By time, in bytes.
    lens: Vec<u32>,
    trie: Trie,
    cutter: Cutter,
    pub(super) characters: Characters,
}

/// A token by its parts.
#[derive(Debug, Clone, Copy)]
#[repr(align(16))]
pub(super) struct Token {
    pub(super) id: u32,
    /// The two tokens whose merge it is; a byte is its own.
    pub(super) left: u32,
    pub(super) right: u32,
    /// The longest token that is a proper beginning of it.
    shorter: u32,
}

impl Token {
    /// In place of a token, at the time of a merge that never applies.
    const GAP: Token = Token { id: NONE, left: NONE, right: NONE, shorter: NONE };

    /// Whether there is no token.
    pub(super) fn is_gap(&self) -> bool {
        self.id == NONE
    }
}

/// All tokens that merges make, by time.
struct Made {
    tokens: Vec<Token>,
    bytes: Vec<Vec<u8>>,
    /// Whether a token's own bytes merge to it. If not, it never occurs.
    occurs: Vec<bool>,
}

impl Made {
    fn new(merger: &Merger) -> Option<Made> {
        let merges = merger.pairs.merges();
        let n_times = 256 + merges.len();
        let mut made =
            Made { tokens: vec![Token::GAP; n_times], bytes: vec![Vec::new(); n_times], occurs: vec![false; n_times] };
        let ids = merges.iter().flat_map(|merge| [merge.left, merge.right, merge.merged]).chain(merger.id_of_byte);
        let n_ids = ids.max().map_or(0, |id| id as usize + 1);
        // By id: when the token appears; how many merges make it, and which is the last of them.
        let mut times = vec![NONE; n_ids];
        let mut n_makers = vec![0u32; n_ids];
        let mut last_maker = vec![None; n_ids];
        for (rank, merge) in (0u32..).zip(merges) {
            n_makers[merge.merged as usize] += 1;
            last_maker[merge.merged as usize] = Some(rank);
        }
        for byte in 0..=255u8 {
            let (time, id) = (u32::from(byte), merger.id_of_byte[byte as usize]);
            if times[id as usize] != NONE {
                return None;
            }
            times[id as usize] = time;
            made.put(Token { id, left: time, right: time, shorter: NONE }, time, vec![byte], true);
        }
        let (mut room, mut alone) = (LongPiece::default(), Vec::new());
        // Merges with a part that only a later one makes.
        let mut early = Vec::new();
        for (rank, &Merge { left, right, merged }) in (0u32..).zip(merges) {
            let [left_time, right_time] = [left, right].map(|part| times[part as usize]);
            let is_later = |part: u32, time| time == NONE && last_maker[part as usize] >= Some(rank);
            if is_later(left, left_time) || is_later(right, right_time) {
                early.push((left, right, merged));
                continue;
            }
            // A pair merges at its last rank only, and what has a part that nothing makes is not made either.
            if merger.pairs.rank(left, right) != rank || left_time == NONE || right_time == NONE {
                continue;
            }
            let bytes = [left_time, right_time].map(|time| &made.bytes[time as usize][..]).concat();
            alone.clear();
            let last = merger.merge_by_rank(&bytes, &mut room, &mut alone);
            let occurs = alone == [TokenId(merged)];
            if n_makers[merged as usize] > 1 && !(occurs && last == rank) {
                continue;
            }
            if times[merged as usize] != NONE {
                return None;
            }
            times[merged as usize] = rank + 256;
            made.put(
                Token { id: merged, left: left_time, right: right_time, shorter: NONE },
                rank + 256,
                bytes,
                occurs,
            );
        }
        // They must be among those that never apply.
        let bytes = |id: u32| made.bytes.get(times[id as usize] as usize);
        let never_applies = |&(left, right, merged): &(u32, u32, u32)| match (bytes(left), bytes(right)) {
            (Some(left), Some(right)) => bytes(merged).is_some_and(|bytes| *bytes == [&left[..], right].concat()),
            _ => true,
        };
        early.iter().all(never_applies).then_some(made)
    }

    fn put(&mut self, token: Token, time: u32, bytes: Vec<u8>, occurs: bool) {
        let time = time as usize;
        (self.tokens[time], self.bytes[time], self.occurs[time]) = (token, bytes, occurs);
    }
}

/// Room for one piece.
#[derive(Debug, Default)]
pub(crate) struct Path {
    tokens: Vec<u32>,
    /// By place in the piece, a bit each: whether it may still be the end of a token.
    open: Vec<u64>,
}

impl Backtracker {
    /// `None` for merges that this does not hold for: where a token is made of a later one, or stands for different bytes.
    pub(crate) fn new(merger: &Merger) -> Option<Backtracker> {
        let Made { mut tokens, bytes, occurs } = Made::new(merger)?;
        let lens = bytes.iter().map(|bytes| u32::try_from(bytes.len())).collect::<Result<_, _>>().ok()?;
        let occurring = (0..).zip(&bytes).zip(&occurs).filter(|(_, occurs)| **occurs);
        let occurring: BTreeMap<&[u8], u32> = occurring.map(|((time, bytes), _)| (&bytes[..], time)).collect();
        // In the order of their bytes a token's beginnings come before it.
        let mut beginnings: Vec<(&[u8], u32)> = Vec::new();
        for (&bytes, &time) in &occurring {
            while beginnings.last().is_some_and(|(beginning, _)| !bytes.starts_with(beginning)) {
                beginnings.pop();
            }
            tokens[time as usize].shorter = beginnings.last().map_or(NONE, |&(_, shorter)| shorter);
            beginnings.push((bytes, time));
        }
        let trie = Trie::new(&occurring)?;
        let times = Times::new(merger, &tokens);
        let cutter = Cutter::new(&times, &bytes);
        let characters = Characters::new(&times, &bytes);
        Some(Backtracker { tokens, lens, trie, cutter, characters })
    }

    /// What knows where long pieces may be cut.
    pub(crate) fn cutter(&self) -> &Cutter {
        &self.cutter
    }

    /// Appends the ids of a piece; `path` is overwritten.
    pub(crate) fn encode(&self, merger: &Merger, piece: &[u8], path: &mut Path, ids: &mut Vec<TokenId>) {
        if !self.characters.encode(merger, piece, ids) {
            self.encode_backtracking(merger, piece, path, ids);
        }
    }

    fn encode_backtracking(&self, merger: &Merger, piece: &[u8], path: &mut Path, ids: &mut Vec<TokenId>) {
        path.tokens.clear();
        path.open.clear();
        path.open.resize(piece.len() / 64 + 1, !0);
        let mut at = 0;
        let mut next = self.trie.longest(&piece[at..]);
        while at < piece.len() {
            let before = path.tokens.last().copied();
            let mut token = next;
            // The longest that fits.
            while token != NONE {
                let end = at + self.lens[token as usize] as usize;
                if has(&path.open, end) && before.is_none_or(|before| self.are_compatible(merger, before, token)) {
                    break;
                }
                token = self.tokens[token as usize].shorter;
            }
            if token != NONE {
                path.tokens.push(token);
                at += self.lens[token as usize] as usize;
                next = self.trie.longest(&piece[at..]);
            } else {
                // Nothing follows the token before: no token can end here.
                take(&mut path.open, at);
                let before = path.tokens.pop().expect("the first token has no other before it, so a byte always fits");
                at -= self.lens[before as usize] as usize;
                next = self.tokens[before as usize].shorter;
            }
        }
        ids.extend(path.tokens.iter().map(|&token| TokenId(self.tokens[token as usize].id)));
    }

    /// Whether the merge of the two tokens' bytes is these two tokens.
    fn are_compatible(&self, merger: &Merger, mut left: u32, mut right: u32) -> bool {
        // A merge of the two parts that touch comes too late from this time on: one of them is merged with another then.
        let mut too_late = NEVER;
        loop {
            let (a, b) = (self.tokens[left as usize], self.tokens[right as usize]);
            // Of a pair that never applies this is true as well: something else merges across the place before.
            let rank = merger.pairs.rank(a.id, b.id);
            if rank != NEVER && rank + 256 < too_late {
                return false;
            }
            // Undo the later of the two merges. Of two equal ones the right one came later.
            let is_byte = |time: u32| time < 256;
            if left > right && !is_byte(left) {
                // This merge took its right part away before anything of the same rank further right could.
                too_late = left;
                left = a.right;
            } else if !is_byte(right) {
                // A merge of the same rank further left would have come first.
                too_late = right + 1;
                right = b.left;
            } else if !is_byte(left) {
                too_late = left;
                left = a.right;
            } else {
                return true;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::progress::Silent;
    use crate::text::Corpus;
    use crate::tokens::bpe::pair_table::PairTable;
    use crate::tokens::bpe::{BpeConfig, learn_bpe};
    use crate::tokens::tokenizer::Model;

    /// The merges of a file that was converted from ranks: for each token all pairs of tokens with its bytes.
    fn all_splits(tokens: &[&[u8]]) -> Vec<Merge> {
        let id = |bytes: &[u8]| tokens.iter().position(|token| *token == bytes).map(|id| id as u32);
        let mut merges = Vec::new();
        for (merged, token) in (0..).zip(tokens) {
            let splits = (1..token.len()).filter_map(|at| Some((id(&token[..at])?, id(&token[at..])?)));
            let mut splits: Vec<Merge> = splits.map(|(left, right)| Merge { left, right, merged }).collect();
            splits.sort_by_key(|merge| (merge.left, merge.right));
            merges.extend(splits);
        }
        merges
    }

    #[test]
    fn tokens_that_several_merges_make_are_encoded_as_fast_and_the_same() {
        let mut state = 1u32;
        let letters = std::iter::repeat_with(|| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            [' ', 'a', 'b', 'c', 'd', 'a', 'b', '国', '王', '国'][state as usize / 7 % 10]
        });
        let text: String = letters.take(3000).collect();
        let config = BpeConfig { vocab_size: 500, ..BpeConfig::default() };
        let tokenizer = learn_bpe(&Corpus::from_text(&*text), &config, &Silent).unwrap();
        let Model::Bpe(bpe) = &tokenizer.model else { panic!("a BPE was learned") };
        let tokens: Vec<&[u8]> = bpe.tokens.iter().collect();
        let merges = all_splits(&tokens);
        assert!(merges.len() > tokens.len() - 256 + 100, "{} merges for {} tokens", merges.len(), tokens.len() - 256);
        let id_of_byte = bpe.merger.id_of_byte;
        let several = Merger::new(id_of_byte, PairTable::new(merges, &id_of_byte));
        let one = Backtracker::new(&bpe.merger).unwrap();
        let backtracker = Backtracker::new(&several).expect("all but one merge of each token are left out");
        assert_eq!(backtracker.tokens.iter().filter(|token| !token.is_gap()).count(), tokens.len());
        let characters = |backtracker: &Backtracker| backtracker.characters.clone();
        assert_eq!(characters(&backtracker), characters(&one));
        for start in text.char_indices().map(|(at, _)| at) {
            let piece = &text.as_bytes()[start..];
            let (mut by_rank, mut fast, mut as_learned) = (Vec::new(), Vec::new(), Vec::new());
            several.merge_by_rank(piece, &mut LongPiece::default(), &mut by_rank);
            backtracker.encode(&several, piece, &mut Path::default(), &mut fast);
            bpe.merger.merge_by_rank(piece, &mut LongPiece::default(), &mut as_learned);
            assert_eq!((&fast, &by_rank), (&by_rank, &as_learned), "{:?}", String::from_utf8_lossy(piece));
            let places = |backtracker: &Backtracker| {
                let mut all = Vec::new();
                backtracker.cutter().for_each_cut(piece, |places| all.extend_from_slice(places));
                all
            };
            assert_eq!(places(&backtracker), places(&one));
        }
    }
}
