//! Whole words as tokens: the classic setting of word2vec.
//!
//! In: lines. Out: each different word with its count; a vocabulary of those that are frequent enough. Words outside it
//! have no id: they are left out of the training text, as word2vec.c does.

use std::borrow::Cow;
use std::ops::Range;
use std::sync::Mutex;

use crate::error::{Error, Result};
use crate::progress::{Event, Progress};
use crate::text::{Corpus, Normalizer};
use crate::tokens::added::AddedTokens;
use crate::tokens::pretokenize::classes::{self, WHITE, WORD};
use crate::tokens::token_table::TokenTable;
use crate::tokens::{TokenId, Tokenizer};

/// How a line is cut into words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum WordSplit {
    /// Runs of word characters, and runs of anything else that is not white space: `\w+|[^\w\s]+`. `don't` is three
    /// words. The `Whitespace` pre-tokenizer of Hugging Face.
    #[default]
    Words,
    /// At white space only. The `WhitespaceSplit` pre-tokenizer of Hugging Face, and what word2vec.c does.
    WhiteSpace,
}

/// How a vocabulary of words is learned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WordsConfig {
    /// Words that occur less often are left out. Default 5, as in word2vec.c.
    pub min_count: u64,
    /// Keep only so many words, the most frequent; at least 1. Default: all.
    pub max_vocab: Option<usize>,
    /// How lines are cut.
    pub split: WordSplit,
    /// What is done to each line before it is cut.
    pub normalizer: Normalizer,
}

impl Default for WordsConfig {
    fn default() -> WordsConfig {
        WordsConfig { min_count: 5, max_vocab: None, split: WordSplit::default(), normalizer: Normalizer::default() }
    }
}

impl WordsConfig {
    /// Whether every setting is within its range.
    ///
    /// # Errors
    /// [`Error::Config`] names the setting and its range.
    pub fn check(&self) -> Result<()> {
        if self.max_vocab == Some(0) {
            return Err(Error::config("max-vocab", "is 0, must be at least 1"));
        }
        Ok(())
    }
}

/// Counts the words of a text and keeps the frequent ones.
///
/// Id 0 is the unknown word, `[UNK]`; ids from 1 on go by falling count, equal counts by the words' bytes. A word of the
/// text that is spelled like a special token of other programs (`</s>`, `[UNK]`) is a word like any other; when `[UNK]`
/// is among those kept, the unknown word is spelled `[[UNK]]`.
///
/// Bytes that are not UTF-8 read as U+FFFD.
///
/// # Errors
/// [`Error::Config`] when the settings are wrong or no word is frequent enough; [`Error::Format`] when there is no word
/// at all; whatever reading the corpus gives; [`Error::Interrupted`].
pub fn learn_words(corpus: &Corpus, config: &WordsConfig, progress: &dyn Progress) -> Result<Tokenizer> {
    config.check()?;
    let counts = count_words(corpus, config, progress)?;
    let mut kept: Vec<u32> = (0..counts.of.len() as u32).collect();
    let Some(most) = counts.of.iter().copied().max() else {
        return Err(corpus.no_words());
    };
    kept.retain(|&number| counts.of[number as usize] >= config.min_count);
    if kept.is_empty() {
        let times = if most == 1 { "once" } else { &format!("{most} times") };
        let reason = format!(
            "is {}, so the vocabulary is empty: the most frequent word occurs {times}; try --min-count {}",
            config.min_count,
            if most >= 5 { most } else { 1 }
        );
        return Err(Error::config("min-count", reason));
    }
    kept.sort_unstable_by(|&a, &b| {
        let (a, b) = (a as usize, b as usize);
        counts.of[b].cmp(&counts.of[a]).then_with(|| counts.words.get(a).cmp(counts.words.get(b)))
    });
    kept.truncate(config.max_vocab.unwrap_or(usize::MAX));
    let n_bad = counts.n_bad_sequences;
    if n_bad > 0 {
        progress.report(&Event::Warning(&format!(
            "{n_bad} stretches of the text are not UTF-8 and read as \u{FFFD}; is it in another encoding?"
        )));
    }
    let is_kept = |word: &str| kept.iter().any(|&number| counts.words.get(number as usize) == word.as_bytes());
    let mut words = TokenTable::default();
    words.push(unknown_spelling(is_kept).as_bytes());
    for number in kept {
        words.push(counts.words.get(number as usize));
    }
    let words = Words { words, unknown: Some(TokenId(0)), split: config.split };
    Ok(Tokenizer::from_word_model(words, AddedTokens::default(), config.normalizer))
}

/// `[UNK]`, in as many more brackets as it takes to be no word.
pub(crate) fn unknown_spelling(is_word: impl Fn(&str) -> bool) -> String {
    let mut spelling = String::from("[UNK]");
    while is_word(&spelling) {
        spelling = format!("[{spelling}]");
    }
    spelling
}

/// Different words and how often each occurs.
#[derive(Debug, Default)]
struct WordCounts {
    words: TokenTable,
    /// By the words' numbers.
    of: Vec<u64>,
    n_bad_sequences: u64,
}

impl WordCounts {
    fn add(&mut self, word: &[u8], count: u64) {
        let number = self.words.find_or_add(word) as usize;
        if number == self.of.len() {
            self.of.push(0);
        }
        self.of[number] += count;
    }

    fn merge(&mut self, other: WordCounts) {
        for (word, &count) in other.words.iter().zip(&other.of) {
            self.add(word, count);
        }
        self.n_bad_sequences += other.n_bad_sequences;
    }
}

/// The words of a text, counted by all workers.
fn count_words(corpus: &Corpus, config: &WordsConfig, progress: &dyn Progress) -> Result<WordCounts> {
    // One table for each worker that is at work at the same time, taken for a chunk and put back.
    let idle: Mutex<Vec<WordCounts>> = Mutex::default();
    corpus.for_each_chunk(
        "counting words",
        progress,
        |chunk| {
            let mut counts: WordCounts = idle.lock().expect("no worker panics here").pop().unwrap_or_default();
            for line in chunk.lines() {
                let text = readable(line.text, config.normalizer);
                counts.n_bad_sequences += text.n_bad_sequences;
                config.split.for_each_word(&text.text, |word| counts.add(word.as_bytes(), 1));
            }
            idle.lock().expect("no worker panics here").push(counts);
        },
        |()| Ok(()),
    )?;
    let mut tables = idle.into_inner().expect("no worker panicked");
    tables.sort_by_key(|counts| counts.of.len());
    let mut all = tables.pop().unwrap_or_default();
    for table in tables {
        all.merge(table);
    }
    Ok(all)
}

/// A line as characters.
struct Readable<'t> {
    text: Cow<'t, str>,
    n_bad_sequences: u64,
}

/// The line in the normalizer's spelling; each sequence of bytes that is not UTF-8 becomes one U+FFFD.
fn readable(line: &[u8], normalizer: Normalizer) -> Readable<'_> {
    match normalizer.apply(line) {
        Cow::Borrowed(line) => Readable { text: String::from_utf8_lossy(line), n_bad_sequences: n_bad_sequences(line) },
        Cow::Owned(line) => {
            let n_bad_sequences = n_bad_sequences(&line);
            let text = match String::from_utf8(line) {
                Ok(text) => text,
                Err(error) => String::from_utf8_lossy(error.as_bytes()).into_owned(),
            };
            Readable { text: Cow::Owned(text), n_bad_sequences }
        }
    }
}

fn n_bad_sequences(line: &[u8]) -> u64 {
    if std::str::from_utf8(line).is_ok() {
        return 0;
    }
    line.utf8_chunks().filter(|chunk| !chunk.invalid().is_empty()).count() as u64
}

impl WordSplit {
    /// Hands the words of `text` to `word`, in order.
    pub(crate) fn for_each_word<'t>(self, text: &'t str, mut word: impl FnMut(&'t str)) {
        let kinds = match self {
            WordSplit::Words => WORD | WHITE,
            WordSplit::WhiteSpace => WHITE,
        };
        let bytes = text.as_bytes();
        let (mut start, mut at, mut kind) = (0, 0, WHITE);
        while at < bytes.len() {
            let (class, len) = classes::class_at(bytes, at);
            if class & kinds != kind {
                if kind != WHITE && at > start {
                    word(&text[start..at]);
                }
                (start, kind) = (at, class & kinds);
            }
            at += len;
        }
        if kind != WHITE && at > start {
            word(&text[start..at]);
        }
    }
}

/// A vocabulary of whole words.
#[derive(Debug, Clone)]
pub(crate) struct Words {
    pub(crate) words: TokenTable,
    /// The token of all words that are not in the vocabulary.
    pub(crate) unknown: Option<TokenId>,
    pub(crate) split: WordSplit,
}

/// What became of the words of a text.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct WordsMet {
    pub(crate) known: u64,
    pub(crate) unknown: u64,
}

impl Words {
    /// The id of a word, spelled as in the vocabulary.
    pub(crate) fn find(&self, word: &[u8]) -> Option<TokenId> {
        self.words.find(word).map(TokenId).filter(|&id| Some(id) != self.unknown)
    }

    /// Hands the id of each word of a normalised text to `id`, `None` for words that are not in the vocabulary.
    pub(crate) fn for_each_id(&self, text: &[u8], mut id: impl FnMut(Option<TokenId>)) {
        let text = String::from_utf8_lossy(text);
        self.split.for_each_word(&text, |word| id(self.find(word.as_bytes())));
    }

    /// The same with the place of each word in the text as it is read, which is returned.
    pub(crate) fn for_each_word<'t>(
        &self,
        text: &'t [u8],
        mut word: impl FnMut(Option<TokenId>, Range<usize>),
    ) -> Cow<'t, str> {
        let text = String::from_utf8_lossy(text);
        self.split.for_each_word(&text, |found| {
            let start = found.as_ptr() as usize - text.as_ptr() as usize;
            word(self.find(found.as_bytes()), start..start + found.len());
        });
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::progress::Silent;

    fn words(split: WordSplit, text: &str) -> Vec<&str> {
        let mut words = Vec::new();
        split.for_each_word(text, |word| words.push(word));
        words
    }

    fn learn(text: &str, config: &WordsConfig) -> Result<Tokenizer> {
        learn_words(&Corpus::from_text(text), config, &Silent)
    }

    fn spellings(tokenizer: &Tokenizer) -> Vec<String> {
        (0..tokenizer.n_tokens()).map(|id| tokenizer.spelling(TokenId(id as u32))).collect()
    }

    #[test]
    fn words_are_those_of_hugging_face() {
        // By tokenizers 0.23: pre_tokenizers.Whitespace() and WhitespaceSplit().
        let text = "a_b c-d e\u{301}x \u{200d}z naïve ①② x²  _ ‿a 한국어 \u{FFFD}\u{FFFD}a हिन्दी";
        let expected = [
            "a_b",
            "c",
            "-",
            "d",
            "e\u{301}x",
            "\u{200d}z",
            "naïve",
            "①②",
            "x",
            "²",
            "_",
            "‿a",
            "한국어",
            "\u{FFFD}\u{FFFD}",
            "a",
            "हिन्दी",
        ];
        assert_eq!(words(WordSplit::Words, text), expected);
        let expected = [
            "a_b",
            "c-d",
            "e\u{301}x",
            "\u{200d}z",
            "naïve",
            "①②",
            "x²",
            "_",
            "‿a",
            "한국어",
            "\u{FFFD}\u{FFFD}a",
            "हिन्दी",
        ];
        assert_eq!(words(WordSplit::WhiteSpace, text), expected);
        let text = "a\u{a0}b\u{2028}c\u{200b}d\u{3000}e \u{1c}f";
        assert_eq!(words(WordSplit::Words, text), ["a", "b", "c", "\u{200b}", "d", "e", "\u{1c}", "f"]);
        assert_eq!(words(WordSplit::WhiteSpace, " \t\n"), [""; 0]);
    }

    #[test]
    fn ids_go_by_falling_count_and_equal_counts_by_bytes() {
        let config = WordsConfig { min_count: 2, ..WordsConfig::default() };
        let tokenizer = learn("b a c b a d d d\nb e", &config).unwrap();
        assert_eq!(spellings(&tokenizer), ["[UNK]", "b", "d", "a"]);
        assert!(tokenizer.is_special(TokenId(0)) && !tokenizer.is_special(TokenId(1)));
        let two = WordsConfig { max_vocab: Some(2), ..config };
        assert_eq!(spellings(&learn("b a c b a d d d\nb e", &two).unwrap()), ["[UNK]", "b", "d"]);
    }

    #[test]
    fn words_that_look_like_special_tokens_are_counted() {
        let config = WordsConfig { min_count: 2, split: WordSplit::WhiteSpace, ..WordsConfig::default() };
        let text = "</s> [UNK] <|endoftext|> [PAD]\n".repeat(2) + "[UNK] other";
        let tokenizer = learn(&text, &config).unwrap();
        assert_eq!(spellings(&tokenizer), ["[[UNK]]", "[UNK]", "</s>", "<|endoftext|>", "[PAD]"]);
        assert_eq!(tokenizer.encode(b"[UNK] other"), [TokenId(1), TokenId(0)]);
        assert!(!tokenizer.is_special(TokenId(1)));
    }

    #[test]
    fn a_vocabulary_without_a_word_says_what_to_try() {
        let error = learn("a a a b", &WordsConfig::default()).unwrap_err().to_string();
        assert!(error.contains("the most frequent word occurs 3 times; try --min-count 1"), "{error}");
        let error = learn(" \n\t \u{3000}\n", &WordsConfig::default()).unwrap_err().to_string();
        assert!(error.contains("no words found"), "{error}");
        let zero = WordsConfig { max_vocab: Some(0), ..WordsConfig::default() };
        assert!(matches!(learn("a", &zero), Err(Error::Config { field: "max-vocab", .. })));
    }

    #[test]
    fn bad_bytes_read_as_one_character_each_and_long_words_stay_whole() {
        let long = "é".repeat(100_000);
        let mut text = long.clone().into_bytes();
        text.extend_from_slice(b" \xFF\xFE a\xE4\xB8 \r\n");
        let config = WordsConfig { min_count: 1, ..WordsConfig::default() };
        let tokenizer = learn_words(&Corpus::from_text(text), &config, &Silent).unwrap();
        let mut found = spellings(&tokenizer);
        found.sort();
        let mut expected = vec!["[UNK]".to_string(), long, "\u{FFFD}\u{FFFD}".into(), "a".into(), "\u{FFFD}".into()];
        expected.sort();
        assert_eq!(found, expected);
    }

    #[test]
    fn lower_case_is_learned_and_asked_alike() {
        let normalizer = Normalizer { lowercase: true, form: None };
        let config = WordsConfig { min_count: 1, normalizer, ..WordsConfig::default() };
        let tokenizer = learn("The the THE", &config).unwrap();
        assert_eq!(spellings(&tokenizer), ["[UNK]", "the"]);
        assert_eq!(tokenizer.encode_word("tHe"), [TokenId(1)]);
    }
}
