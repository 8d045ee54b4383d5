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

use std::collections::BTreeMap;

use hashbrown::HashMap;
use rustc_hash::FxBuildHasher;

use super::characters::Characters;
use super::cut::{Cutter, Times};
use super::encode::Merger;
use super::merge::LongPiece;
use super::trie::{NONE, Trie};
use crate::tokens::TokenId;

/// What is known about all tokens; built when it is worth it.
///
/// Tokens go by the time they appear: bytes are 0 to 255, what merge `r` makes is 256 + `r`.
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

/// Room for one piece.
#[derive(Debug, Default)]
pub(crate) struct Path {
    tokens: Vec<u32>,
    /// By place in the piece, a bit each: whether it may still be the end of a token.
    open: Vec<u64>,
}

impl Backtracker {
    /// `None` for merges that this does not hold for: where a token is made in two ways, or of a later one, or a pair is
    /// listed twice.
    pub(crate) fn new(merger: &Merger) -> Option<Backtracker> {
        let mut times: HashMap<u32, u32, FxBuildHasher> = HashMap::default();
        let mut tokens = Vec::new();
        let mut bytes: Vec<Vec<u8>> = Vec::new();
        for byte in 0..=255u8 {
            let time = u32::from(byte);
            tokens.push(Token { id: merger.id_of_byte[byte as usize], left: time, right: time, shorter: NONE });
            bytes.push(vec![byte]);
            if times.insert(merger.id_of_byte[byte as usize], time).is_some() {
                return None;
            }
        }
        for (rank, merge) in (0..).zip(merger.pairs.merges()) {
            if merger.pairs.rank(merge.left, merge.right) != rank {
                return None;
            }
            let (&left, &right) = (times.get(&merge.left)?, times.get(&merge.right)?);
            let time = tokens.len() as u32;
            bytes.push([&bytes[left as usize][..], &bytes[right as usize]].concat());
            tokens.push(Token { id: merge.merged, left, right, shorter: NONE });
            if times.insert(merge.merged, time).is_some() {
                return None;
            }
        }
        let lens = bytes.iter().map(|bytes| u32::try_from(bytes.len())).collect::<Result<_, _>>().ok()?;
        // A token whose own bytes merge to something else never occurs.
        let (mut room, mut ids) = (LongPiece::default(), Vec::new());
        let mut occurring: BTreeMap<&[u8], u32> = BTreeMap::new();
        for (time, bytes) in bytes.iter().enumerate() {
            ids.clear();
            merger.merge_by_rank(bytes, &mut room, &mut ids);
            if ids == [TokenId(tokens[time].id)] {
                occurring.insert(bytes, time as u32);
            }
        }
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
                if path.open[end / 64] >> (end % 64) & 1 == 1
                    && before.is_none_or(|before| self.are_compatible(merger, before, token))
                {
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
                path.open[at / 64] &= !(1 << (at % 64));
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
        let mut too_late = NONE;
        loop {
            let (a, b) = (self.tokens[left as usize], self.tokens[right as usize]);
            let rank = merger.pairs.rank(a.id, b.id);
            if rank != NONE && rank + 256 < too_late {
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
