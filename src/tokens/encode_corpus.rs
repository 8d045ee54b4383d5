//! A corpus as ids.
//!
//! In: the lines of a corpus. Out: one stream of ids in the order of the text, made by all workers.

use std::path::Path;

use crate::error::Result;
use crate::progress::{Event, Progress};
use crate::text::{Chunk, Corpus};
use crate::tokens::added::Stretch;
use crate::tokens::tokenizer::Model;
use crate::tokens::words::WordsMet;
use crate::tokens::{IdStream, IdStreamBuilder, SpecialTokens, TokenId, Tokenizer};

/// Encodes every line as a sentence; line ends have no ids.
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
    corpus.for_each_chunk(
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
