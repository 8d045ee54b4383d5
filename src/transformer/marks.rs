//! Tokens that stand for no text: where a text begins, where it ends, what is hidden, what only fills up.
//!
//! In: a tokenizer and the shape of a transformer. Out: the tokenizer with the marks that the shape needs, behind all
//! other tokens, so that ids stay what they are.

use crate::error::Result;
use crate::tokens::{TokenId, Tokenizer};
use crate::transformer::config::{Shape, TransformerConfig};

const PAD: &str = "<pad>";
const START: &str = "<start>";
const END: &str = "<end>";
const MASK: &str = "<mask>";

/// Adds the marks that `config`'s shape needs to the tokenizer, and their ids and the number of tokens to `config`.
///
/// A decoder has one token between lines, `start_id`: a byte-level BPE's own token for the line feed, so that what it
/// writes is text, or `<end>` beside whole words. An encoder-decoder has `<pad>`, `<start>` and `<end>`, an encoder
/// `<pad>` and `<mask>`. Marks that the tokenizer has already keep their ids.
///
/// # Errors
/// As [`Tokenizer::with_special_tokens`].
pub fn add_marks(tokenizer: &Tokenizer, config: &mut TransformerConfig) -> Result<Tokenizer> {
    let line_feed = match tokenizer.encode(b"\n")[..] {
        [id] if !tokenizer.is_words() => Some(id),
        _ => None,
    };
    let names: &[&str] = match config.shape {
        Shape::Decoder if line_feed.is_some() => &[],
        Shape::Decoder => &[END],
        Shape::EncoderDecoder => &[PAD, START, END],
        Shape::Encoder => &[PAD, MASK],
    };
    let (marked, ids) = tokenizer.with_special_tokens(names)?;
    let id = |name: &str| names.iter().position(|&known| known == name).map(|at| ids[at].0);
    config.n_tokens = marked.n_tokens();
    config.pad_id = id(PAD);
    config.mask_id = id(MASK);
    (config.start_id, config.end_id) = match config.shape {
        Shape::Decoder => (line_feed.map(|id| id.0).or(id(END)), None),
        _ => (id(START), id(END)),
    };
    Ok(marked)
}

/// The token that a decoder has between lines.
pub fn line_end(config: &TransformerConfig) -> Option<TokenId> {
    config.start_id.filter(|_| config.shape == Shape::Decoder).map(TokenId)
}

/// The ids of a line as a transformer of this shape has learned to read it.
///
/// Decoders and encoders learn from text whose unknown words are left out, so that is done here, too: the unknown word's row
/// of their token table has learned nothing. Encoder-decoders learn pairs with the unknown word in them.
pub fn line_ids(config: &TransformerConfig, tokenizer: &Tokenizer, line: &[u8]) -> Vec<TokenId> {
    let mut ids = tokenizer.encode(line);
    if tokenizer.is_words() && config.shape != Shape::EncoderDecoder {
        // No text is encoded to a mark, so what is special here is the unknown word.
        ids.retain(|&id| !tokenizer.is_special(id));
    }
    ids
}

/// Whether a token that a transformer has written is text: its marks and special tokens are not. The unknown word is: who
/// leaves it out hides that a word belongs there.
pub fn is_text(config: &TransformerConfig, tokenizer: &Tokenizer, id: TokenId) -> bool {
    let is_mark = || [config.pad_id, config.start_id, config.end_id, config.mask_id].contains(&Some(id.0));
    if tokenizer.is_words() { !is_mark() } else { !tokenizer.is_special(id) }
}

/// The ids of a text for a decoder to go on with, as [`line_ids`]. Beside whole words the end of a line is a mark; of nothing
/// there is the mark that lines begin after, or no id where the model has none, as other people's may.
pub fn text_ids(config: &TransformerConfig, tokenizer: &Tokenizer, text: &str) -> Vec<TokenId> {
    let line_end = line_end(config);
    let mut ids = Vec::new();
    if tokenizer.is_words() {
        for (number, line) in text.split('\n').enumerate() {
            ids.extend(line_end.filter(|_| number > 0));
            ids.extend(line_ids(config, tokenizer, line.as_bytes()));
        }
    } else {
        ids = tokenizer.encode(text.as_bytes());
    }
    if ids.is_empty() {
        ids.extend(line_end.or(config.end_id.map(TokenId)));
    }
    ids
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::progress::Silent;
    use crate::text::Corpus;
    use crate::tokens::{BpeConfig, learn_bpe};

    fn marked(tokenizer: &Tokenizer, shape: Shape) -> (Tokenizer, TransformerConfig) {
        let mut config = TransformerConfig::new(shape, tokenizer.n_tokens());
        let marked = add_marks(tokenizer, &mut config).unwrap();
        assert!(config.check().is_ok());
        assert_eq!(config.n_tokens, marked.n_tokens());
        (marked, config)
    }

    #[test]
    fn each_shape_gets_its_marks_behind_all_other_tokens() {
        let config = BpeConfig { vocab_size: 256, ..BpeConfig::default() };
        let bpe = learn_bpe(&Corpus::from_text("a"), &config, &Silent).unwrap();
        let words = Tokenizer::from_words(vec![b"a".to_vec(), b"b".to_vec()]).unwrap();

        let (same, decoder) = marked(&bpe, Shape::Decoder);
        assert_eq!((same.n_tokens(), line_end(&decoder)), (256, Some(bpe.encode(b"\n")[0])));
        let (more, decoder) = marked(&words, Shape::Decoder);
        assert_eq!((more.n_tokens(), line_end(&decoder), decoder.end_id), (3, Some(TokenId(2)), None));
        let (more, pairs) = marked(&bpe, Shape::EncoderDecoder);
        assert_eq!(
            (pairs.pad_id, pairs.start_id, pairs.end_id, pairs.mask_id),
            (Some(256), Some(257), Some(258), None)
        );
        assert_eq!((more.spelling(TokenId(257)), line_end(&pairs)), ("<start>".to_string(), None));
        let (again, _) = marked(&more, Shape::EncoderDecoder);
        assert_eq!(again.n_tokens(), 259, "what is marked already stays as it is");
        let (more, encoder) = marked(&words, Shape::Encoder);
        assert_eq!((encoder.pad_id, encoder.mask_id), (Some(2), Some(3)));
        let read = Tokenizer::from_json(more.to_json().as_bytes(), Path::new("tokenizer.json")).unwrap();
        let (again, same) = marked(&read, Shape::Encoder);
        assert_eq!((again.n_tokens(), same.pad_id, same.mask_id), (4, Some(2), Some(3)), "also when it was saved");
    }

    #[test]
    fn unknown_words_are_read_where_they_were_learned_and_shown_where_they_are_written() {
        let words = Tokenizer::from_words_and_unknown(vec![b"a".to_vec(), b"b".to_vec()]).unwrap();
        for (shape, read) in
            [(Shape::Decoder, &[1, 2][..]), (Shape::Encoder, &[1, 2]), (Shape::EncoderDecoder, &[1, 0, 2])]
        {
            let (marked, config) = marked(&words, shape);
            let ids: Vec<u32> = line_ids(&config, &marked, b"a x b").iter().map(|id| id.0).collect();
            assert_eq!(ids, read, "{shape}");
            let shown = (0..config.n_tokens as u32).filter(|&id| is_text(&config, &marked, TokenId(id)));
            assert_eq!(shown.collect::<Vec<_>>(), [0, 1, 2], "{shape}");
        }
        let (marked, config) = marked(&words, Shape::Decoder);
        let end = line_end(&config).unwrap();
        assert_eq!(text_ids(&config, &marked, "x"), [end], "a line begins");
        assert_eq!(text_ids(&config, &marked, "a\nx\nb"), [TokenId(1), end, end, TokenId(2)]);
    }
}
