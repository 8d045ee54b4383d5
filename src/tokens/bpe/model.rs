//! A byte-level BPE, ready for use.

use std::sync::Mutex;

use super::encode::{Merger, Workspace};
use super::pair_table::{Merge, PairTable};
use crate::tokens::added::AddedTokens;
use crate::tokens::pretokenize::Pattern;
use crate::tokens::token_table::TokenTable;
use crate::tokens::{TokenId, byte_alphabet};

/// The most tokens and the most merges that a BPE may have. The largest known vocabularies have half a million.
pub(crate) const MAX_TOKENS: usize = 1 << 22;

/// A byte-level BPE.
#[derive(Debug)]
pub(crate) struct Bpe {
    pub(crate) pattern: Pattern,
    /// The bytes of each token.
    pub(crate) tokens: TokenTable,
    pub(crate) merger: Merger,
    /// Workspaces that nobody uses now; what they have seen stays known from call to call.
    idle: Mutex<Vec<Workspace>>,
}

impl Clone for Bpe {
    fn clone(&self) -> Bpe {
        Bpe {
            pattern: self.pattern.clone(),
            tokens: self.tokens.clone(),
            merger: self.merger.clone(),
            idle: Mutex::default(),
        }
    }
}

impl Bpe {
    /// A BPE of the added tokens, then the bytes in their usual order, then the tokens that `pairs` make one after the
    /// other. In `pairs` the bytes are 0 to 255.
    pub(super) fn from_pairs(pairs: &[(u32, u32)], pattern: Pattern, added: &AddedTokens) -> Bpe {
        let mut tokens = TokenTable::default();
        for token in added.iter() {
            tokens.push_hidden(token.content.as_bytes());
        }
        let n_added = tokens.len() as u32;
        for byte in byte_alphabet::bytes_in_order() {
            tokens.push(&[byte]);
        }
        let mut merges = Vec::with_capacity(pairs.len());
        for &(left, right) in pairs {
            let (left, right) = (left + n_added, right + n_added);
            let bytes = [tokens.get(left as usize), tokens.get(right as usize)].concat();
            merges.push(Merge { left, right, merged: tokens.len() as u32 });
            tokens.push(&bytes);
        }
        Bpe::new(tokens, merges, pattern).expect("every byte was given a token above")
    }

    /// A BPE of these tokens and merges; the error is a byte that has no token.
    ///
    /// The merges must only speak of tokens that are there.
    pub(crate) fn new(tokens: TokenTable, merges: Vec<Merge>, pattern: Pattern) -> Result<Bpe, u8> {
        let mut id_of_byte = [0; 256];
        for byte in 0..=255 {
            id_of_byte[byte as usize] = tokens.find(&[byte]).ok_or(byte)?;
        }
        let pairs = PairTable::new(merges, &id_of_byte);
        Ok(Bpe { pattern, tokens, merger: Merger::new(id_of_byte, pairs), idle: Mutex::default() })
    }

    /// From now on a piece that is a token is that token, whatever the merges would make of it.
    pub(crate) fn prefer_whole_pieces(&mut self) {
        // Not those that stand for no text, which cannot be found.
        let tokens = self.tokens.iter().enumerate().map(|(id, token)| (token, id as u32));
        let is_text = |&(token, id): &(&[u8], u32)| self.tokens.find(token) == Some(id);
        self.merger.whole = Some(tokens.filter(is_text).map(|(token, id)| (token.into(), id)).collect());
    }

    /// Appends the ids of `text` to `ids`.
    pub(crate) fn encode(&self, text: &[u8], ids: &mut Vec<TokenId>) {
        self.with_workspace(|workspace| self.merger.encode(&self.pattern, text, workspace, ids));
    }

    /// Appends the ids of each line to `ids`, and where each line ends that has a line feed to `ends`.
    pub(crate) fn encode_lines(&self, text: &[u8], ids: &mut Vec<TokenId>, ends: &mut Vec<usize>) {
        self.with_workspace(|workspace| self.merger.encode_lines(&self.pattern, text, workspace, ids, ends));
    }

    /// Frees what the workspaces have seen: up to 40 MB for each worker that has encoded a long text.
    pub(crate) fn forget(&self) {
        self.idle.lock().expect("no panic while the lock is held").clear();
    }

    fn with_workspace(&self, work: impl FnOnce(&mut Workspace)) {
        let mut workspace = self.idle.lock().ok().and_then(|mut idle| idle.pop()).unwrap_or_default();
        work(&mut workspace);
        if let Ok(mut idle) = self.idle.lock() {
            idle.push(workspace);
        }
    }
}
