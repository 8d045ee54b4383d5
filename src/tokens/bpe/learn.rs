//! Text, or words with their counts → a byte-level BPE.

use std::sync::Mutex;

use super::config::{BpeConfig, TrainerRules};
use super::count::PieceCounts;
use super::merges::{Limits, learn_merges, most_frequent};
use super::model::Bpe;
use crate::error::{Error, Result};
use crate::progress::{Event, Progress};
use crate::text::{Chunk, Corpus, LongLines};
use crate::tokens::added::{AddedTokens, SpecialTokens, Stretch};
use crate::tokens::long_lines::long_lines;
use crate::tokens::{Tokenizer, byte_alphabet};

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
/// Each word counts as it stands inside a sentence: with the space before it, if it does not begin with one.
///
/// # Errors
/// [`Error::Config`]; [`Error::Format`] names the line that is no word and count; whatever reading the corpus gives;
/// [`Error::Interrupted`].
pub fn learn_bpe_from_counts(counts: &Corpus, config: &BpeConfig, progress: &dyn Progress) -> Result<Tokenizer> {
    config.check()?;
    let (mut file, mut n_lines, mut total) = (0, 0, 0u64);
    let pieces = count_chunks(
        counts,
        LongLines::Whole,
        "counting words",
        progress,
        |pieces, chunk| (chunk.file(), count_words(pieces, chunk, config)),
        |(of, counted)| {
            if file != of {
                (file, n_lines) = (of, 0);
            }
            let wrong = |line: u64, reason: &str| Error::format(counts.path(file), format!("line {line}: {reason}"));
            let counted = counted.map_err(|(line, reason)| wrong(n_lines + line, &reason))?;
            n_lines += counted.n_lines;
            total = total.checked_add(counted.total).ok_or_else(|| wrong(n_lines, TOO_MANY))?;
            Ok(())
        },
    )?;
    if pieces.len() == 0 {
        return Err(counts.no_words());
    }
    learn_from_pieces(pieces, config, progress)
}

/// What is wrong with counts that 64 bits do not hold.
const TOO_MANY: &str = "up to here the counts of all pieces add up to more than 2^64";

/// What a chunk of a file of words and counts had.
struct CountedWords {
    n_lines: u64,
    /// The counts of all pieces together.
    total: u64,
}

/// Counts the pieces of each word as often as its line says; the error is the line's number in the chunk and what is wrong
/// with it.
fn count_words(pieces: &mut PieceCounts, chunk: &Chunk, config: &BpeConfig) -> Result<CountedWords, (u64, String)> {
    let mut counted = CountedWords { n_lines: 0, total: 0 };
    for line in chunk.lines().map(|line| line.text) {
        counted.n_lines += 1;
        if line.is_empty() {
            continue;
        }
        let parts = line.iter().rposition(|&byte| byte == b'\t').map(|tab| (&line[..tab], &line[tab + 1..]));
        let count = parts.and_then(|(_, count)| std::str::from_utf8(count).ok()?.parse::<u64>().ok());
        let (Some((word, _)), Some(count)) = (parts, count) else {
            let line = String::from_utf8_lossy(&line[..line.len().min(60)]);
            return Err((counted.n_lines, format!("'{line}' is not a word, a tab and a count")));
        };
        let mut text = Vec::with_capacity(word.len() + 1);
        if !word.starts_with(b" ") {
            text.push(b' ');
        }
        text.extend_from_slice(word);
        let n_pieces = pieces.add_text(&config.pattern, &config.normalizer.apply(&text), count);
        let total = count.checked_mul(n_pieces).and_then(|count| counted.total.checked_add(count));
        counted.total = total.ok_or_else(|| (counted.n_lines, TOO_MANY.to_string()))?;
    }
    Ok(counted)
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

/// The different pieces of a text.
fn count_pieces(corpus: &Corpus, config: &BpeConfig, progress: &dyn Progress) -> Result<PieceCounts> {
    let special = match config.rules {
        TrainerRules::Ours => config.added_tokens()?,
        TrainerRules::HuggingFace => AddedTokens::default(),
    };
    let long_lines = long_lines(Some(&config.pattern), &special, SpecialTokens::Found, config.normalizer);
    let count_stretch = |counts: &mut PieceCounts, text: &[u8]| {
        counts.count_text(&config.pattern, &config.normalizer.apply(text));
    };
    // Special tokens are found before the text is normalised, as they will be when it is encoded.
    let count_text = |counts: &mut PieceCounts, text: &[u8]| {
        if !special.finds_any(SpecialTokens::Found) {
            return count_stretch(counts, text);
        }
        for stretch in special.cut_raw(text, SpecialTokens::Found) {
            if let Stretch::Text(range) = stretch {
                count_stretch(counts, &text[range]);
            }
        }
    };
    let count = |counts: &mut PieceCounts, chunk: &Chunk| {
        if config.normalizer.is_identity() {
            count_text(counts, chunk.bytes());
        } else {
            for line in chunk.bytes().split_inclusive(|&byte| byte == b'\n') {
                count_text(counts, line);
            }
        }
    };
    count_chunks(corpus, long_lines, "counting pieces", progress, count, |()| Ok(()))
}

/// What `count` counts in each chunk, put together; `collect` has what else it gives, in the order of the text.
fn count_chunks<T: Send>(
    corpus: &Corpus,
    long_lines: LongLines,
    stage: &'static str,
    progress: &dyn Progress,
    count: impl Fn(&mut PieceCounts, &Chunk) -> T + Sync,
    collect: impl FnMut(T) -> Result<()>,
) -> Result<PieceCounts> {
    // One table for each worker that is at work at the same time, taken for a chunk and put back.
    let idle: Mutex<Vec<PieceCounts>> = Mutex::default();
    corpus.for_each_chunk_with(
        long_lines,
        stage,
        progress,
        |chunk| {
            let mut counts: PieceCounts = idle.lock().expect("no worker panics here").pop().unwrap_or_default();
            let counted = count(&mut counts, chunk);
            idle.lock().expect("no worker panics here").push(counts);
            counted
        },
        collect,
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::progress::Silent;
    use crate::text::Normalizer;

    #[test]
    fn counts_that_64_bits_do_not_hold_are_refused_with_their_line() {
        // A11
        let config = BpeConfig { vocab_size: 300, ..BpeConfig::default() };
        let learn = |counts: &str| learn_bpe_from_counts(&Corpus::from_text(counts), &config, &Silent);
        let half = "9223372036854775808";
        // A word may hold the same piece twice.
        let error = learn(&format!("ox\t3\n\nxy xy\t{half}\n")).unwrap_err().to_string();
        assert!(error.contains("line 3: up to here the counts of all pieces add up to more than 2^64"), "{error}");
        // In small chunks one line is in one, and the next in another.
        let two = format!("xy\t{half}\nxy\t{half}\n");
        for corpus in [Corpus::from_text(&*two), Corpus::from_text(two).in_small_chunks(5)] {
            let error = learn_bpe_from_counts(&corpus, &config, &Silent).unwrap_err().to_string();
            assert!(error.contains("line 2: up to here"), "{error}");
        }
        let two = "ox\t3\r\n\r\nxy xy\t5\r\nxy five\n";
        for corpus in [Corpus::from_text(two), Corpus::from_text(two).in_small_chunks(5)] {
            let error = learn_bpe_from_counts(&corpus, &config, &Silent).unwrap_err().to_string();
            assert!(error.contains("line 4: 'xy five' is not a word, a tab and a count"), "{error}");
        }
        assert_eq!(learn(&format!("xy\t{half}\nxy\t1\n")).unwrap().n_tokens(), 258);
    }

    #[test]
    fn of_several_files_of_counts_the_one_that_is_wrong_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str, text: &str| {
            let path = folder.path().join(name);
            std::fs::write(&path, text).unwrap();
            path
        };
        let files = [file("good", "ox\t3\nfox\t2\n"), file("bad", "owl\t1\nowl\n")];
        let corpus = Corpus::open(&files).unwrap();
        let error = learn_bpe_from_counts(&corpus, &BpeConfig::default(), &Silent).unwrap_err().to_string();
        assert!(error.contains("bad") && error.contains("line 2: 'owl'"), "{error}");
    }

    #[test]
    fn special_tokens_teach_nothing_whatever_is_done_to_the_text() {
        let text = "the queen<|END|>the king<|END|>and<|END|>\n".repeat(5);
        let learn = |special: &str, normalizer: Normalizer, rules| {
            let special_tokens = vec![special.to_string()];
            let config = BpeConfig { vocab_size: 290, special_tokens, normalizer, rules, ..BpeConfig::default() };
            let tokenizer = learn_bpe(&Corpus::from_text(&*text), &config, &Silent).unwrap();
            let has = |spelling: &str| tokenizer.id_of_spelling(spelling).is_some();
            (has("the"), has("end") || has("END"), has("<|"))
        };
        let lower = Normalizer { lowercase: true, form: None };
        for normalizer in [Normalizer::default(), lower] {
            assert_eq!(learn("<|END|>", normalizer, TrainerRules::Ours), (true, false, false));
            assert_eq!(learn("<|END|>", normalizer, TrainerRules::HuggingFace), (true, true, true));
        }
        // What is no special token in the text as it is, is none.
        assert_eq!(learn("<|end|>", lower, TrainerRules::Ours), (true, true, true));
    }
}
