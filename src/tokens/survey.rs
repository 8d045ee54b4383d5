//! What a tokenizer makes of a text, and how two tokenizers differ.
//!
//! In: a tokenizer and a text. Out: numbers that say how well they fit: bytes per token (more is a shorter text),
//! fertility (tokens per word; 1 is a vocabulary that knows every word), and how much of the vocabulary is in use.

use std::sync::Mutex;

use crate::error::Result;
use crate::progress::Progress;
use crate::text::Corpus;
use crate::tokens::encode_corpus::long_lines_of;
use crate::tokens::words::WordSplit;
use crate::tokens::{TokenId, Tokenizer};

/// What a tokenizer makes of a text. Line ends are not counted.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Survey {
    /// The size of the text.
    pub n_bytes: u64,
    /// Its characters; a sequence of bytes that is not UTF-8 is one.
    pub n_characters: u64,
    /// Stretches without white space.
    pub n_words: u64,
    /// Tokens, the unknown word among them.
    pub n_ids: u64,
    /// How often each token occurs, by [`TokenId`].
    pub counts: Vec<u64>,
}

impl Survey {
    /// Mean bytes of text per token; `None` without tokens.
    pub fn bytes_per_token(&self) -> Option<f64> {
        ratio(self.n_bytes, self.n_ids)
    }

    /// Mean characters of text per token, the better measure where characters take several bytes.
    pub fn characters_per_token(&self) -> Option<f64> {
        ratio(self.n_characters, self.n_ids)
    }

    /// Mean tokens per stretch without white space, known as fertility; means little in scripts without spaces.
    pub fn tokens_per_word(&self) -> Option<f64> {
        ratio(self.n_ids, self.n_words)
    }

    /// How many different tokens occur.
    pub fn n_used(&self) -> usize {
        self.counts.iter().filter(|&&count| count > 0).count()
    }

    fn add(&mut self, other: &Survey) {
        self.n_bytes += other.n_bytes;
        self.n_characters += other.n_characters;
        self.n_words += other.n_words;
        self.n_ids += other.n_ids;
        self.counts.iter_mut().zip(&other.counts).for_each(|(count, other)| *count += other);
    }
}

fn ratio(a: u64, b: u64) -> Option<f64> {
    (b > 0).then(|| a as f64 / b as f64)
}

/// Encodes every line and counts.
///
/// # Errors
/// Whatever reading the corpus gives; [`Error::Interrupted`](crate::Error::Interrupted).
pub fn survey(corpus: &Corpus, tokenizer: &Tokenizer, progress: &dyn Progress) -> Result<Survey> {
    let empty = || Survey { counts: vec![0; tokenizer.n_tokens()], ..Survey::default() };
    let idle: Mutex<Vec<Survey>> = Mutex::default();
    corpus.for_each_chunk_with(
        long_lines_of(tokenizer),
        "surveying",
        progress,
        |chunk| {
            let mut survey = idle.lock().expect("no worker panics here").pop().unwrap_or_else(empty);
            for line in chunk.lines() {
                let text = String::from_utf8_lossy(line.text);
                survey.n_bytes += line.text.len() as u64;
                survey.n_characters += text.chars().count() as u64;
                WordSplit::WhiteSpace.for_each_word(&text, |_| survey.n_words += 1);
                for id in tokenizer.encode(line.text) {
                    survey.n_ids += 1;
                    survey.counts[id.index()] += 1;
                }
            }
            idle.lock().expect("no worker panics here").push(survey);
        },
        |()| Ok(()),
    )?;
    let mut all = empty();
    idle.into_inner().expect("no worker panicked").iter().for_each(|survey| all.add(survey));
    Ok(all)
}

/// How two vocabularies differ. Tokens are the same when their bytes are; added tokens only with added tokens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Comparison {
    /// Tokens of both, as ids of the first and the second.
    pub shared: Vec<(TokenId, TokenId)>,
    /// Tokens of the first alone, in the order of its ids.
    pub only_first: Vec<TokenId>,
    /// Tokens of the second alone, in the order of its ids.
    pub only_second: Vec<TokenId>,
}

/// Compares two vocabularies; [`survey`] says what each makes of a text.
pub fn compare(first: &Tokenizer, second: &Tokenizer) -> Comparison {
    let mut comparison = Comparison { shared: Vec::new(), only_first: Vec::new(), only_second: Vec::new() };
    let mut is_shared = vec![false; second.n_tokens()];
    for (id, token) in first.tokens().iter().enumerate() {
        let id = TokenId(id as u32);
        if first.is_unused(id) {
            continue;
        }
        let other = match first.added.get(id) {
            Some(token) => second.added.find(&token.content).map(|token| TokenId(token.id)),
            None => second.tokens().find(token).map(TokenId),
        };
        match other {
            Some(other) => {
                is_shared[other.index()] = true;
                comparison.shared.push((id, other));
            }
            None => comparison.only_first.push(id),
        }
    }
    let others = (0..second.n_tokens() as u32).map(TokenId);
    comparison.only_second = others.filter(|&id| !is_shared[id.index()] && !second.is_unused(id)).collect();
    comparison
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::progress::Silent;
    use crate::tokens::{BpeConfig, learn_bpe};

    #[test]
    fn a_survey_counts_what_there_is() {
        let words = Tokenizer::from_words(vec!["a".into(), "é".into()]).unwrap();
        let survey = survey(&Corpus::from_text("a é x\r\n\na \u{3000}a\n"), &words, &Silent).unwrap();
        assert_eq!((survey.n_bytes, survey.n_characters, survey.n_words, survey.n_ids), (12, 9, 5, 4));
        assert_eq!((survey.counts.as_slice(), survey.n_used()), (&[3, 1][..], 2));
        assert_eq!((survey.bytes_per_token(), survey.tokens_per_word()), (Some(3.0), Some(0.8)));
        assert_eq!(Survey::default().bytes_per_token(), None);
    }

    #[test]
    fn vocabularies_are_compared_by_their_bytes() {
        let learn = |text: &str| {
            let config = BpeConfig { vocab_size: 258, special_tokens: vec!["<a>".into()], ..BpeConfig::default() };
            learn_bpe(&Corpus::from_text(text), &config, &Silent).unwrap()
        };
        let (first, second) = (learn("ab ab ab"), learn("cd cd cd"));
        let comparison = compare(&first, &second);
        assert_eq!(comparison.shared.len(), 257);
        let named = |tokenizer: &Tokenizer, ids: &[TokenId]| -> Vec<String> {
            ids.iter().map(|&id| tokenizer.spelling(id)).collect()
        };
        assert_eq!(named(&first, &comparison.only_first), ["ab"]);
        assert_eq!(named(&second, &comparison.only_second), ["cd"]);
        assert_eq!(compare(&first, &first).shared.len(), 258);
    }
}
