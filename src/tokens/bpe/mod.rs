//! Byte-level BPE: any bytes have tokens, and the frequent strings of the text it learned from have tokens of their own.
//!
//! Learned in two steps, [`count`] and [`learn`]; applied by [`encode`].

mod backtrack;
mod cache;
mod characters;
pub(crate) mod count;
mod cut;
mod encode;
mod learn;
mod merge;
mod pair_table;
mod trie;

use std::path::Path;
use std::sync::Mutex;

use crate::error::{Error, Result};
use crate::progress::{Event, Progress};
use crate::text::{Corpus, Normalizer};
use crate::tokens::added::{AddedToken, AddedTokens, SpecialTokens, Stretch};
use crate::tokens::pretokenize::Pattern;
use crate::tokens::token_table::TokenTable;
use crate::tokens::{TokenId, Tokenizer, byte_alphabet};

use count::PieceCounts;
pub(crate) use encode::{Merger, Workspace};
pub(crate) use pair_table::{Merge, PairTable};

/// The most tokens and the most merges that a BPE may have. The largest known vocabularies have half a million.
pub(crate) const MAX_TOKENS: usize = 1 << 22;

/// How a BPE is learned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BpeConfig {
    /// How many tokens to have in the end, the 256 bytes and the special tokens included. Default 32,000, which is
    /// customary.
    ///
    /// There are fewer when the text has no more pairs that occur often enough; that is reported.
    pub vocab_size: usize,
    /// Pairs that occur less often are not merged. Default 2: what occurs once teaches nothing about the next text.
    /// (0 and 1, the default of Hugging Face's `BpeTrainer`, mean the same: merge everything that occurs.)
    pub min_frequency: u64,
    /// Tokens that stand for no text (`<|endoftext|>`); they get the first ids, in this order. Default none.
    pub special_tokens: Vec<String>,
    /// The longest token, in bytes; at least 2. Default: any length.
    pub max_token_length: Option<usize>,
    /// How the text is cut into pieces, which merges do not cross.
    pub pattern: Pattern,
    /// What is done to each line before it is cut.
    pub normalizer: Normalizer,
    /// Whose rules to follow where Hugging Face's trainer is odd.
    pub rules: TrainerRules,
}

/// Where Hugging Face's `BpeTrainer` is odd, and one may or may not want the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum TrainerRules {
    /// The text is cut at special tokens, so that nothing is learned from their letters. Tokens are at most
    /// `max_token_length` bytes long.
    #[default]
    Ours,
    /// Special tokens in the text are learned from as if they were words. Tokens of more than two bytes are shorter than
    /// `max_token_length`.
    HuggingFace,
}

impl Default for BpeConfig {
    fn default() -> BpeConfig {
        BpeConfig {
            vocab_size: 32_000,
            min_frequency: 2,
            special_tokens: Vec::new(),
            max_token_length: None,
            pattern: Pattern::default(),
            normalizer: Normalizer::default(),
            rules: TrainerRules::default(),
        }
    }
}

impl BpeConfig {
    /// Whether every setting is within its range.
    ///
    /// # Errors
    /// [`Error::Config`] names the setting and its range.
    pub fn check(&self) -> Result<()> {
        let least = 256 + self.special_tokens.len();
        if !(least..=MAX_TOKENS).contains(&self.vocab_size) {
            let reason = format!(
                "is {}, must be from {least} to {MAX_TOKENS}: each of the 256 bytes and each special token has a token",
                self.vocab_size
            );
            return Err(Error::config("vocab-size", reason));
        }
        if self.max_token_length.is_some_and(|len| len < 2) {
            return Err(Error::config("max-token-length", "must be at least 2, the length of the shortest merge"));
        }
        for (at, token) in self.special_tokens.iter().enumerate() {
            if token.is_empty() || self.special_tokens[..at].contains(token) {
                return Err(Error::config("special-token", format!("'{token}' is empty or there twice")));
            }
            let spelled = byte_alphabet::bytes_of(token);
            if spelled.as_ref().is_some_and(|bytes| bytes.len() == 1) {
                return Err(Error::config("special-token", format!("'{token}' is already the name of a byte's token")));
            }
            let spelled = spelled.and_then(|bytes| String::from_utf8(bytes).ok());
            if let Some(text) = spelled.filter(|text| text != token) {
                let reason = format!("'{token}' is what the text {text:?} is called in files; give another");
                return Err(Error::config("special-token", reason));
            }
        }
        Ok(())
    }

    fn added_tokens(&self) -> Result<AddedTokens> {
        let tokens = self.special_tokens.iter().enumerate();
        let tokens = tokens.map(|(id, content)| AddedToken::special(id as u32, content)).collect();
        AddedTokens::new(tokens, self.normalizer).map_err(|reason| Error::config("special-token", reason))
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
    learn_from_pieces(pieces, config, progress)
}

/// Learns a byte-level BPE from words that were counted elsewhere: lines of a word, a tab and its count.
///
/// Each word counts as it stands inside a sentence: with the space before it, if it does not begin with one. `path` is
/// for messages.
///
/// # Errors
/// [`Error::Config`]; [`Error::Format`] names the line that is no word and count; [`Error::Interrupted`].
pub fn learn_bpe_from_counts(
    counts: &[u8],
    path: &Path,
    config: &BpeConfig,
    progress: &dyn Progress,
) -> Result<Tokenizer> {
    config.check()?;
    let mut pieces = PieceCounts::default();
    let mut total = 0u64;
    for (number, line) in counts.split(|&byte| byte == b'\n').enumerate() {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if line.is_empty() {
            continue;
        }
        let parts = line.iter().rposition(|&byte| byte == b'\t').map(|tab| (&line[..tab], &line[tab + 1..]));
        let count = parts.and_then(|(_, count)| std::str::from_utf8(count).ok()?.parse::<u64>().ok());
        let (Some((word, _)), Some(count)) = (parts, count) else {
            let line = String::from_utf8_lossy(&line[..line.len().min(60)]).into_owned();
            return Err(Error::format(path, format!("line {}: '{line}' is not a word, a tab and a count", number + 1)));
        };
        total = total
            .checked_add(count)
            .ok_or_else(|| Error::format(path, format!("line {}: the counts add up to more than 2^64", number + 1)))?;
        let mut text = Vec::with_capacity(word.len() + 1);
        if !word.starts_with(b" ") {
            text.push(b' ');
        }
        text.extend_from_slice(word);
        pieces.add_text(&config.pattern, &config.normalizer.apply(&text), count);
    }
    if pieces.len() == 0 {
        return Err(Error::format(path, "no words found"));
    }
    learn_from_pieces(pieces, config, progress)
}

fn learn_from_pieces(pieces: PieceCounts, config: &BpeConfig, progress: &dyn Progress) -> Result<Tokenizer> {
    let limits = learn::Limits {
        n_merges: config.vocab_size - 256 - config.special_tokens.len(),
        min_frequency: config.min_frequency,
        max_len: match config.rules {
            TrainerRules::Ours => config.max_token_length.unwrap_or(usize::MAX),
            TrainerRules::HuggingFace => config.max_token_length.map_or(usize::MAX, |len| len - 1),
        },
    };
    let merges = learn::learn_merges(pieces, limits, learn::most_frequent, |_| {}, progress)?;
    if merges.len() < limits.n_merges {
        progress.report(&Event::Warning(&format!(
            "no further pair occurs {} times: the vocabulary has {} tokens instead of {}",
            config.min_frequency.max(1),
            config.vocab_size - (limits.n_merges - merges.len()),
            config.vocab_size
        )));
    }
    let added = config.added_tokens()?;
    let bpe = Bpe::from_pairs(&merges, config.pattern.clone(), &added);
    let is_learned =
        |content: &str| byte_alphabet::bytes_of(content).is_some_and(|bytes| bpe.tokens.find(&bytes).is_some());
    if let Some(token) = added.iter().find(|token| is_learned(&token.content)) {
        let reason = format!("'{}' was also learned from the text as an ordinary token; give another", token.content);
        return Err(Error::config("special-token", reason));
    }
    Ok(Tokenizer::from_bpe(bpe, added, config.normalizer))
}

/// The different pieces of a text, counted by all workers.
fn count_pieces(corpus: &Corpus, config: &BpeConfig, progress: &dyn Progress) -> Result<PieceCounts> {
    let special = match config.rules {
        TrainerRules::Ours => config.added_tokens()?,
        TrainerRules::HuggingFace => AddedTokens::default(),
    };
    let count_text = |counts: &mut PieceCounts, text: &[u8]| {
        if !special.finds_any(SpecialTokens::Found) {
            return counts.count_text(&config.pattern, text);
        }
        for stretch in special.cut_raw(text, SpecialTokens::Found) {
            if let Stretch::Text(range) = stretch {
                counts.count_text(&config.pattern, &text[range]);
            }
        }
    };
    // One table for each worker that is at work at the same time, taken for a chunk and put back.
    let idle: Mutex<Vec<PieceCounts>> = Mutex::default();
    corpus.for_each_chunk(
        "counting pieces",
        progress,
        |chunk| {
            let mut counts: PieceCounts = idle.lock().expect("no worker panics here").pop().unwrap_or_default();
            if config.normalizer.is_identity() {
                count_text(&mut counts, chunk.bytes());
            } else {
                for line in chunk.bytes().split_inclusive(|&byte| byte == b'\n') {
                    count_text(&mut counts, &config.normalizer.apply(line));
                }
            }
            idle.lock().expect("no worker panics here").push(counts);
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
    fn from_pairs(pairs: &[(u32, u32)], pattern: Pattern, added: &AddedTokens) -> Bpe {
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
