//! Byte-level BPE: any bytes have tokens, and the frequent strings of the text it learned from have tokens of their own.
//!
//! Learned in two steps, [`count`] and [`learn`]; applied by [`encode`].

mod cache;
pub(crate) mod count;
mod encode;
mod learn;
mod pair_table;

use std::sync::Mutex;

use crate::error::{Error, Result};
use crate::progress::{Event, Progress};
use crate::text::{Corpus, Normalizer};
use crate::tokens::added::AddedTokens;
use crate::tokens::pretokenize::Pattern;
use crate::tokens::token_table::TokenTable;
use crate::tokens::{TokenId, Tokenizer, byte_alphabet};

use count::PieceCounts;
pub(crate) use encode::{Merger, Workspace};
pub(crate) use pair_table::{Merge, PairTable};

/// How a BPE is learned.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct BpeConfig {
    /// How many tokens to have in the end, the 256 bytes included; from 256 on. Default 32,000, which is customary.
    ///
    /// There are fewer when the text has no more pairs that occur often enough; that is reported.
    pub vocab_size: usize,
    /// Pairs that occur less often are not merged. Default 2: what occurs once teaches nothing about the next text.
    /// (0 and 1, the default of Hugging Face's `BpeTrainer`, mean the same: merge everything that occurs.)
    pub min_frequency: u64,
    /// How the text is cut into pieces, which merges do not cross.
    pub pattern: Pattern,
    /// What is done to each line before it is cut.
    pub normalizer: Normalizer,
}

impl Default for BpeConfig {
    fn default() -> BpeConfig {
        BpeConfig {
            vocab_size: 32_000,
            min_frequency: 2,
            pattern: Pattern::default(),
            normalizer: Normalizer::default(),
        }
    }
}

impl BpeConfig {
    /// Whether every setting is within its range.
    ///
    /// # Errors
    /// [`Error::Config`] names the setting and its range.
    pub fn check(&self) -> Result<()> {
        if !(256..=1 << 30).contains(&self.vocab_size) {
            let reason =
                format!("is {}, must be from 256 to {}: each of the 256 bytes has a token", self.vocab_size, 1 << 30);
            return Err(Error::config("vocab-size", reason));
        }
        Ok(())
    }
}

/// Learns a byte-level BPE from a text.
///
/// The merges are those of Hugging Face's `BpeTrainer` on the same files (with `initial_alphabet` =
/// `ByteLevel.alphabet()` and the same `min_frequency`), for any number of threads. As there, each line is cut into
/// pieces by itself, its line feed included.
///
/// # Errors
/// [`Error::Config`]; [`Error::Format`] when there is nothing but white space; whatever reading the corpus gives;
/// [`Error::Interrupted`].
pub fn learn_bpe(corpus: &Corpus, config: &BpeConfig, progress: &dyn Progress) -> Result<Tokenizer> {
    config.check()?;
    let pieces = count_pieces(corpus, config, progress)?;
    let mut has_text = false;
    pieces.for_each(|piece, _| has_text |= !piece.trim_ascii().is_empty());
    if !has_text {
        return Err(corpus.no_words());
    }
    let limits = learn::Limits { n_merges: config.vocab_size - 256, min_frequency: config.min_frequency };
    let merges = learn::learn_merges(&pieces, limits, learn::most_frequent, |_| {}, progress)?;
    if merges.len() < limits.n_merges {
        progress.report(&Event::Warning(&format!(
            "no further pair occurs {} times: the vocabulary has {} tokens instead of {}",
            config.min_frequency.max(1),
            merges.len() + 256,
            config.vocab_size
        )));
    }
    Ok(Tokenizer::from_bpe(Bpe::from_pairs(&merges, config.pattern.clone()), config.normalizer))
}

/// The different pieces of a text, counted by all workers.
fn count_pieces(corpus: &Corpus, config: &BpeConfig, progress: &dyn Progress) -> Result<PieceCounts> {
    // One table for each worker that is at work at the same time, taken for a chunk and put back.
    let idle: Mutex<Vec<PieceCounts>> = Mutex::default();
    let take = || idle.lock().expect("no worker panics while it holds the lock").pop().unwrap_or_default();
    corpus.for_each_chunk(
        "counting pieces",
        progress,
        |chunk| {
            let mut counts = take();
            if config.normalizer.is_identity() {
                counts.count_text(&config.pattern, chunk.bytes());
            } else {
                for line in chunk.bytes().split_inclusive(|&byte| byte == b'\n') {
                    counts.count_text(&config.pattern, &config.normalizer.apply(line));
                }
            }
            idle.lock().expect("no worker panics while it holds the lock").push(counts);
        },
        |()| Ok(()),
    )?;
    let mut tables = idle.into_inner().expect("no worker panicked");
    // The largest takes the others in. Sums do not depend on which worker saw what.
    tables.sort_by_key(PieceCounts::len);
    let mut all = tables.pop().unwrap_or_default();
    for table in tables {
        all.merge(table);
    }
    Ok(all)
}

/// A byte-level BPE.
#[derive(Debug)]
pub(crate) struct Bpe {
    pub(crate) pattern: Pattern,
    /// The bytes of each token.
    pub(crate) tokens: TokenTable,
    pub(crate) merger: Merger,
    /// Tokens that no merge makes.
    pub(crate) added: AddedTokens,
    /// Workspaces that nobody uses now; what they have seen stays known from call to call.
    idle: Mutex<Vec<Workspace>>,
}

impl Clone for Bpe {
    fn clone(&self) -> Bpe {
        Bpe {
            pattern: self.pattern.clone(),
            tokens: self.tokens.clone(),
            merger: self.merger.clone(),
            added: self.added.clone(),
            idle: Mutex::default(),
        }
    }
}

impl Bpe {
    /// A BPE of the bytes, in their usual order, and the tokens that `pairs` make one after the other.
    fn from_pairs(pairs: &[(u32, u32)], pattern: Pattern) -> Bpe {
        let mut tokens = TokenTable::default();
        for byte in byte_alphabet::bytes_in_order() {
            tokens.push(&[byte]);
        }
        let mut merges = Vec::with_capacity(pairs.len());
        for &(left, right) in pairs {
            let bytes = [tokens.get(left as usize), tokens.get(right as usize)].concat();
            merges.push(Merge { left, right, merged: tokens.len() as u32 });
            tokens.push(&bytes);
        }
        Bpe::new(tokens, merges, pattern, AddedTokens::default()).expect("every byte was given a token above")
    }

    /// A BPE of these tokens and merges; the error is a byte that has no token.
    ///
    /// The merges must only speak of tokens that are there.
    pub(crate) fn new(tokens: TokenTable, merges: Vec<Merge>, pattern: Pattern, added: AddedTokens) -> Result<Bpe, u8> {
        let mut id_of_byte = [0; 256];
        for byte in 0..=255 {
            id_of_byte[byte as usize] = tokens.find(&[byte]).ok_or(byte)?;
        }
        let pairs = PairTable::new(merges, &id_of_byte);
        Ok(Bpe { pattern, tokens, merger: Merger { id_of_byte, pairs, whole: None }, added, idle: Mutex::default() })
    }

    /// From now on a piece that is a token is that token, whatever the merges would make of it.
    pub(crate) fn prefer_whole_pieces(&mut self) {
        let tokens = self.tokens.iter().enumerate().map(|(id, token)| (token.into(), id as u32));
        self.merger.whole = Some(tokens.filter(|&(_, id)| self.added.get(TokenId(id)).is_none()).collect());
    }

    /// Appends the ids of `text` to `ids`.
    pub(crate) fn encode(&self, text: &[u8], ids: &mut Vec<TokenId>) {
        self.with_workspace(|workspace| self.merger.encode(&self.pattern, text, workspace, ids));
    }

    /// Appends the ids of each line to `ids`, and where each line ends that has a line feed to `ends`.
    pub(crate) fn encode_lines(&self, text: &[u8], ids: &mut Vec<TokenId>, ends: &mut Vec<usize>) {
        self.with_workspace(|workspace| self.merger.encode_lines(&self.pattern, text, workspace, ids, ends));
    }

    fn with_workspace(&self, work: impl FnOnce(&mut Workspace)) {
        let mut workspace = self.idle.lock().ok().and_then(|mut idle| idle.pop()).unwrap_or_default();
        work(&mut workspace);
        if let Ok(mut idle) = self.idle.lock() {
            idle.push(workspace);
        }
    }
}
