//! Sentences → vectors.
//!
//! In: the ids of sentences. Out: for each the mean of its tokens' last hidden vectors, of length 1, so that the product of
//! two is their cosine. A sentence that is longer than the context is read in pieces of equal length.

use candle_core::{Device, Tensor};

use crate::error::{Error, Result};
use crate::tokens::TokenId;
use crate::transformer::batches::PaddedIds;
use crate::transformer::config::Shape;
use crate::transformer::model::Transformer;
use crate::transformer::pass::Pass;

/// Sentences that are read at the same time.
const BATCH: usize = 32;

/// One vector of d_model numbers for each sentence; zeros for one without ids.
///
/// An encoder-decoder reads with its encoder, and after each piece the end mark, as it has learned to; a decoder reads from
/// left to right.
///
/// # Errors
/// [`Error::Config`] for ids that are no tokens.
pub fn embed(transformer: &Transformer, sentences: &[Vec<TokenId>]) -> Result<Vec<Vec<f32>>> {
    let config = transformer.config();
    let d_model = config.d_model;
    let padding = config.pad_id.unwrap_or(0);
    // A context of one has no room for it.
    let end = config.end_id.filter(|_| config.shape == Shape::EncoderDecoder && config.context_len > 1);
    let room = config.context_len - usize::from(end.is_some());
    let mut pieces: Vec<(usize, Vec<u32>)> = Vec::new();
    for (number, sentence) in sentences.iter().enumerate() {
        if let Some(id) = sentence.iter().find(|id| id.index() >= config.n_tokens) {
            return Err(Error::config("id", format!("{} is not one of the {} tokens", id.0, config.n_tokens)));
        }
        let n_pieces = sentence.len().div_ceil(room).max(1);
        let len = sentence.len().div_ceil(n_pieces).max(1);
        let read = |piece: &[TokenId]| piece.iter().map(|id| id.0).chain(end).collect();
        pieces.extend(sentence.chunks(len).map(|piece| (number, read(piece))));
    }
    // Pieces of like lengths together, so that little is filled up.
    pieces.sort_by_key(|(_, piece)| piece.len());
    let mut vectors = vec![vec![0f64; d_model]; sentences.len()];
    for batch in pieces.chunks(BATCH) {
        let ids = PaddedIds::new(batch.iter().map(|(_, piece)| piece.as_slice()), padding);
        let input = Tensor::from_slice(&ids.ids, (ids.n_rows(), ids.n_columns), &Device::Cpu)?;
        let mut pass = Pass::answering();
        let hidden = match config.shape {
            // No position sees the padding behind it.
            Shape::Decoder => transformer.decode(&input, &mut pass)?,
            Shape::Encoder | Shape::EncoderDecoder => {
                transformer.encode(&input, ids.is_padded().then_some(&ids.lengths), &mut pass)?.hidden
            }
        };
        let hidden = hidden.flatten_all()?.to_vec1::<f32>()?;
        for (row, (number, _)) in batch.iter().enumerate() {
            let first = row * ids.n_columns;
            for place in first..first + ids.lengths[row] - usize::from(end.is_some()) {
                let numbers = &hidden[place * d_model..(place + 1) * d_model];
                vectors[*number].iter_mut().zip(numbers).for_each(|(sum, &x)| *sum += f64::from(x));
            }
        }
    }
    Ok(vectors.into_iter().map(unit).collect())
}

fn unit(sum: Vec<f64>) -> Vec<f32> {
    let norm = sum.iter().map(|x| x * x).sum::<f64>().sqrt();
    let scale = if norm > 0.0 { norm.recip() } else { 0.0 };
    sum.into_iter().map(|x| (x * scale) as f32).collect()
}
