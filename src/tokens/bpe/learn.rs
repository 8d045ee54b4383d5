//! Text, or words with their counts → a byte-level BPE.

use std::path::Path;
use std::sync::Mutex;

use super::config::{BpeConfig, TrainerRules};
use super::count::PieceCounts;
use super::merges::{Limits, learn_merges, most_frequent};
use super::model::{Bpe, long_lines};
use crate::error::{Error, Result};
use crate::progress::{Event, Progress};
use crate::text::Corpus;
use crate::tokens::Tokenizer;
use crate::tokens::added::{AddedTokens, SpecialTokens, Stretch};

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
    let limits = Limits {
        n_merges: config.vocab_size - 256 - config.special_tokens.len(),
        min_frequency: config.min_frequency,
        max_len: match config.rules {
            TrainerRules::Ours => config.max_token_length.unwrap_or(usize::MAX),
            TrainerRules::HuggingFace => config.max_token_length.map_or(usize::MAX, |len| len - 1),
        },
    };
    let merges = learn_merges(pieces, limits, most_frequent, |_| {}, progress)?;
    if merges.len() < limits.n_merges {
        progress.report(&Event::Warning(&format!(
            "no further pair occurs {} times: the vocabulary has {} tokens instead of {}",
            config.min_frequency.max(1),
            config.vocab_size - (limits.n_merges - merges.len()),
            config.vocab_size
        )));
    }
    let bpe = Bpe::from_pairs(&merges, config.pattern.clone(), config.added_tokens()?);
    if let Some(token) = bpe.added.iter().find(|token| bpe.tokens.find(token.content.as_bytes()).is_some()) {
        let reason = format!("'{}' was also learned from the text as an ordinary token; give another", token.content);
        return Err(Error::config("special-token", reason));
    }
    Ok(Tokenizer::from_bpe(bpe, config.normalizer))
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
    corpus.for_each_chunk_with(
        long_lines(&config.pattern, &special, SpecialTokens::Found, config.normalizer),
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
