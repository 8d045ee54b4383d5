//! A corpus as ids.
//!
//! In: the lines of a corpus. Out: one stream of ids in the order of the text, made by all workers.

use std::path::Path;

use crate::error::Result;
use crate::progress::{Event, Progress};
use crate::text::{Chunk, Corpus, LongLines};
use crate::tokens::added::Stretch;
use crate::tokens::long_lines::long_lines;
use crate::tokens::tokenizer::Model;
use crate::tokens::words::WordsMet;
use crate::tokens::{IdStream, IdStreamBuilder, SpecialTokens, TokenId, Tokenizer};

/// Encodes every line as a sentence, which has exactly the ids of [`Tokenizer::encode`] but for words that are not in the
/// vocabulary; line ends have no ids.
///
/// A line is cut for the workers where that changes no id, or not at all. Only one without such a place for 64 MiB is cut all
/// the same, for the sake of memory, and that is reported as an [`Event::Warning`].
///
/// Words that are not in the vocabulary are left out, and their share is reported as an [`Event::Warning`]. A long
/// stream is kept in a temporary file in `spool_folder`.
///
/// # Errors
/// Whatever reading the corpus or writing the temporary file gives; [`Error::Interrupted`](crate::Error::Interrupted).
pub fn encode_corpus(
    corpus: &Corpus,
    tokenizer: &Tokenizer,
    spool_folder: &Path,
    progress: &dyn Progress,
) -> Result<IdStream> {
    let mut builder = IdStreamBuilder::new(tokenizer.n_tokens(), spool_folder);
    let mut met = WordsMet::default();
    corpus.for_each_chunk_with(
        long_lines_of(tokenizer),
        "encoding",
        progress,
        |chunk| encode_chunk(chunk, tokenizer),
        |encoded: Encoded| {
            met.known += encoded.met.known;
            met.unknown += encoded.met.unknown;
            let mut start = 0;
            for end in encoded.ends {
                builder.push(&encoded.ids[start..end])?;
                builder.end_sentence()?;
                start = end;
            }
            builder.push(&encoded.ids[start..])
        },
    )?;
    if let Model::Bpe(bpe) = &tokenizer.model {
        // Training comes next, and its memory is for matrices.
        bpe.forget();
    }
    if met.unknown > 0 {
        let percent = 100.0 * met.unknown as f64 / (met.known + met.unknown) as f64;
        progress.report(&Event::Warning(&format!(
            "{percent:.1} % of the running words ({}) are not in the vocabulary and were left out",
            met.unknown
        )));
    }
    builder.finish()
}

/// Whether lines may be cut to be encoded; special tokens are text.
pub(super) fn long_lines_of(tokenizer: &Tokenizer) -> LongLines {
    long_lines(tokenizer.pattern(), &tokenizer.added, SpecialTokens::AsText, tokenizer.normalizer)
}

/// A chunk as ids.
#[derive(Default)]
struct Encoded {
    ids: Vec<TokenId>,
    /// Where in `ids` sentences end; the last goes on in the next chunk when it does not end here.
    ends: Vec<usize>,
    met: WordsMet,
}

fn encode_chunk(chunk: &Chunk, tokenizer: &Tokenizer) -> Encoded {
    let mut encoded = Encoded::default();
    match &tokenizer.model {
        Model::Bpe(bpe) if tokenizer.normalizer.is_identity() && !tokenizer.added.finds_any(SpecialTokens::AsText) => {
            let text = chunk.bytes();
            encoded.ids.reserve(text.len() / 4);
            bpe.encode_lines(text, &mut encoded.ids, &mut encoded.ends);
            if !text.ends_with(b"\n") && chunk.lines().last().is_some_and(|line| line.ends) {
                encoded.ends.push(encoded.ids.len());
            }
        }
        Model::Bpe(_) => {
            for line in chunk.lines() {
                encoded.ids.extend(tokenizer.encode(line.text));
                if line.ends {
                    encoded.ends.push(encoded.ids.len());
                }
            }
        }
        Model::Words(words) => {
            for line in chunk.lines() {
                tokenizer.for_each_stretch(line.text, SpecialTokens::AsText, |stretch, text| match stretch {
                    Stretch::Token(id, _) => {
                        encoded.ids.push(id);
                        encoded.met.known += 1;
                    }
                    Stretch::Text(range) => words.for_each_id(&text[range], |id| match id {
                        Some(id) => {
                            encoded.ids.push(id);
                            encoded.met.known += 1;
                        }
                        None => encoded.met.unknown += 1,
                    }),
                });
                if line.ends {
                    encoded.ends.push(encoded.ids.len());
                }
            }
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use std::sync::LazyLock;

    use proptest::prelude::*;

    use super::*;
    use crate::progress::Silent;
    use crate::text::{Form, Normalizer};
    use crate::tokens::{BpeConfig, Pattern, WordSplit, WordsConfig, learn_bpe, learn_words};

    const TEXT: &str = "the king's 12 345 crowns, and the queen's 678! He said \"No.\" to  them all; a b a b\n\
        Σοφία ΟΔΟΣ 国王和王后 住在城里。\u{3000}Élan cafe\u{301} don't we'll  \t x\u{a0} y 1 2 3\r\n";

    /// All patterns that begin a piece at each word, and some that do not.
    fn patterns() -> Vec<Pattern> {
        let custom = |source: &str| Pattern::custom(source).unwrap();
        vec![
            Pattern::Gpt2,
            Pattern::Cl100k,
            Pattern::Cl100kTiktoken,
            Pattern::O200k,
            Pattern::Whole,
            custom(r"\d+ \d+|\s\w+|."),
            custom(r"\p{N}{1,3}"),
            custom(r" ?\p{L}+|\s+(?!\S)|\s+"),
            Pattern::sequence([custom(r"\p{N}+ ?"), Pattern::Gpt2]),
        ]
    }

    fn configs() -> Vec<BpeConfig> {
        let normalizers = [Normalizer::default(), Normalizer { lowercase: true, form: Some(Form::Nfkc) }];
        let config = |pattern: Pattern, normalizer| BpeConfig {
            vocab_size: 340,
            pattern,
            normalizer,
            special_tokens: vec!["b a".into(), "<x>".into()],
            ..BpeConfig::default()
        };
        patterns()
            .into_iter()
            .flat_map(|pattern| normalizers.map(|normalizer| config(pattern.clone(), normalizer)))
            .collect()
    }

    static TOKENIZERS: LazyLock<Vec<Tokenizer>> = LazyLock::new(|| {
        let corpus = Corpus::from_text(TEXT.repeat(3));
        let mut all = Vec::new();
        for config in configs() {
            let tokenizer = learn_bpe(&corpus, &config, &Silent).unwrap();
            // Once more with added tokens that are found in every text: one has a space in it, one takes the space behind.
            let json = tokenizer.to_json().replace(r#""special": true"#, r#""special": false"#);
            let json = json.replacen(r#""rstrip": false"#, r#""rstrip": true"#, 2);
            all.push(Tokenizer::from_json(json.as_bytes(), Path::new("added")).unwrap());
            all.push(tokenizer);
        }
        for split in [WordSplit::Words, WordSplit::WhiteSpace] {
            let config = WordsConfig { min_count: 1, split, ..WordsConfig::default() };
            all.push(learn_words(&corpus, &config, &Silent).unwrap());
        }
        all
    });

    fn sentences(stream: &IdStream) -> Vec<Vec<TokenId>> {
        let (mut sentences, mut at) = (Vec::new(), 0);
        while at < stream.n_cells() {
            let mut sentence = Vec::new();
            at += stream.stretch(at..stream.n_cells(), &mut sentence);
            sentences.push(sentence);
        }
        sentences
    }

    fn long_lines_of_words() -> impl Strategy<Value = String> {
        let piece = prop_oneof![
            6 => Just(" ".to_string()),
            6 => prop::sample::select(TEXT.split_whitespace().map(String::from).collect::<Vec<_>>()),
            2 => prop::sample::select(vec!["<x>", "b a", "a b", "Σ", "'s", "\u{301}", "\u{a8}", "9", "。", "!"]).prop_map(String::from),
            1 => prop::sample::select(vec!["\n", "\r\n", "\r", "\t", "\u{a0}", "\u{3000}"]).prop_map(String::from),
        ];
        prop::collection::vec(piece, 0..60).prop_map(|pieces| pieces.concat())
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn lines_longer_than_a_chunk_have_the_ids_of_the_whole(text in long_lines_of_words(), target in 3..40usize) {
            let folder = std::env::temp_dir();
            for tokenizer in &*TOKENIZERS {
                let corpus = Corpus::from_text(&*text).in_small_chunks(target);
                let stream = encode_corpus(&corpus, tokenizer, &folder, &Silent).unwrap();
                let lines = text.split_inclusive('\n').map(|line| {
                    line.strip_suffix('\n').map_or(line, |line| line.strip_suffix('\r').unwrap_or(line))
                });
                let ids = |line: &str| {
                    let ids = tokenizer.encode(line.as_bytes()).into_iter();
                    ids.filter(|&id| !(tokenizer.is_words() && tokenizer.is_special(id))).collect::<Vec<_>>()
                };
                let expected: Vec<Vec<TokenId>> = lines.map(ids).filter(|ids| !ids.is_empty()).collect();
                prop_assert_eq!(sentences(&stream), expected, "{:?} in {:?}", tokenizer.pattern(), text);
                let survey = crate::tokens::survey(&corpus, tokenizer, &Silent).unwrap();
                let n_ids: usize = text.lines().map(|line| tokenizer.encode(line.as_bytes()).len()).sum();
                prop_assert_eq!(survey.n_ids, n_ids as u64);
            }
        }

        #[test]
        fn lines_longer_than_a_chunk_teach_what_the_whole_teaches(text in long_lines_of_words(), target in 3..40usize) {
            let text = format!("a{}", text.repeat(2));
            for config in configs() {
                let whole = learn_bpe(&Corpus::from_text(&*text), &config, &Silent).unwrap();
                let cut = learn_bpe(&Corpus::from_text(&*text).in_small_chunks(target), &config, &Silent).unwrap();
                prop_assert_eq!(whole.to_json(), cut.to_json(), "{:?} in {:?}", config.pattern, text);
            }
        }
    }
}
