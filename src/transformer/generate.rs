//! A text goes on.
//!
//! In: the ids of a beginning. Out: one more id at a time, drawn from the model's distribution, for as long as the caller
//! likes, in bounded memory. Keys and values of what was read are kept, so that a token costs one position's work.
//!
//! A model with rotary positions keeps the first few positions and the most recent ones (attention sinks, Xiao et al.
//! 2024). With positions that are added at the input that cannot be, since they are part of what is kept: when the context
//! is full, the more recent half of it is read again as a new beginning.

use std::ops::ControlFlow;

use candle_core::{Device, Tensor};

use crate::error::{Error, Result};
use crate::tokens::TokenId;
use crate::transformer::batches::generator;
use crate::transformer::cache::{Cache, Memory};
use crate::transformer::config::Positions;
use crate::transformer::model::Transformer;
use crate::transformer::pass::Pass;
use crate::transformer::sample::{Sampling, draw};

/// As many sinks as are enough.
const FEW: usize = 4;

/// How a text goes on.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct GenerateConfig {
    /// How a token is drawn.
    pub sampling: Sampling,
    /// Where all random choices come from.
    pub seed: u64,
    /// Positions at the start that are never forgotten; for rotary positions. `None`: four, which are enough (Xiao et al.
    /// 2024, §3.1), but at most half of the context.
    pub n_sinks: Option<usize>,
    /// The most recent positions that are remembered beside them; `None`: as many as the context has room for.
    pub window: Option<usize>,
}

impl Default for GenerateConfig {
    fn default() -> GenerateConfig {
        GenerateConfig { sampling: Sampling::default(), seed: 1, n_sinks: None, window: None }
    }
}

/// Goes on after `prompt`, which has at least one id, and hands every new id to `on_token` until that breaks off.
///
/// Of a prompt that is longer than the context only the end is read, as much of it as the context has room for; all of it
/// where positions are rotary.
///
/// # Errors
/// [`Error::Config`] for settings out of their range, for an empty prompt, and for a transformer that is no decoder.
pub fn generate(
    transformer: &Transformer,
    prompt: &[TokenId],
    config: &GenerateConfig,
    on_token: &mut dyn FnMut(TokenId) -> Result<ControlFlow<()>>,
) -> Result<()> {
    config.sampling.check()?;
    let mut reader = Reader::new(transformer, config)?;
    let mut random = generator(config.seed, 0, 0);
    let mut hidden = reader.read(prompt)?;
    loop {
        let logits = transformer.logits(&hidden, &mut Pass::answering())?.flatten_all()?.to_vec1::<f32>()?;
        let id = draw(&logits, &config.sampling, &mut random);
        if on_token(id)?.is_break() {
            return Ok(());
        }
        hidden = reader.read(&[id])?;
    }
}

/// ln P of each id of `ids` but the first, given those before it that are remembered.
///
/// `each` is called with the place of an id and its ln P. For measuring how a model bears texts longer than its context.
///
/// # Errors
/// As [`generate`]'s.
pub fn score_stream(
    transformer: &Transformer,
    ids: &[TokenId],
    config: &GenerateConfig,
    each: &mut dyn FnMut(usize, f64),
) -> Result<()> {
    let mut reader = Reader::new(transformer, config)?;
    for place in 1..ids.len() {
        let hidden = reader.read(&ids[place - 1..place])?;
        let row = transformer.log_probabilities(&hidden, &mut Pass::answering())?.flatten_all()?.to_vec1::<f32>()?;
        let log_p = row.get(ids[place].index()).ok_or_else(|| {
            Error::config("id", format!("{} is not one of the {} tokens", ids[place].0, transformer.config().n_tokens))
        })?;
        each(place, f64::from(*log_p));
    }
    Ok(())
}

/// Reads ids one after the other with a cache that never grows beyond its bound.
struct Reader<'a> {
    transformer: &'a Transformer,
    cache: Cache,
    memory: Memory,
    /// What a full cache begins anew with; empty where it need not.
    recent: Vec<TokenId>,
}

impl<'a> Reader<'a> {
    fn new(transformer: &'a Transformer, config: &GenerateConfig) -> Result<Reader<'a>> {
        let context_len = transformer.config().context_len;
        let memory = match transformer.config().positions {
            Positions::Rotary => {
                let n_sinks = config.n_sinks.unwrap_or(FEW.min(context_len / 2));
                let window = config.window.unwrap_or(context_len.saturating_sub(n_sinks));
                Memory::SinksAndWindow { n_sinks, window }
            }
            positions if config.window.is_some() => {
                let reason =
                    format!("the model's positions are {positions}, and a window that moves on needs rotary ones");
                return Err(Error::config("window", reason));
            }
            _ => Memory::All,
        };
        let cache = transformer.cache(memory, 1)?;
        Ok(Reader { transformer, cache, memory, recent: Vec::new() })
    }

    /// Reads on; the hidden vector of the last id, `[1, C]`.
    fn read(&mut self, ids: &[TokenId]) -> Result<Tensor> {
        if ids.is_empty() {
            return Err(Error::config("prompt", "no token to go on from, expected at least one"));
        }
        let context_len = self.transformer.config().context_len;
        let mut hidden = None;
        match self.memory {
            Memory::SinksAndWindow { .. } => {
                for piece in ids.chunks(context_len) {
                    hidden = Some(self.read_piece(piece)?);
                }
            }
            Memory::All => {
                self.recent.extend_from_slice(ids);
                if self.cache.n_passed() + ids.len() <= context_len {
                    hidden = Some(self.read_piece(ids)?);
                } else {
                    // At least what is new, and room for the next; of a long prompt all that there is room for.
                    let kept = (context_len / 2).max(ids.len()).clamp(1, context_len);
                    self.recent.drain(..self.recent.len().saturating_sub(kept));
                    self.cache = self.transformer.cache(self.memory, 1)?;
                    let recent = std::mem::take(&mut self.recent);
                    hidden = Some(self.read_piece(&recent)?);
                    self.recent = recent;
                }
            }
        }
        Ok(hidden.expect("there was a piece to read"))
    }

    fn read_piece(&mut self, ids: &[TokenId]) -> Result<Tensor> {
        let ids: Vec<u32> = ids.iter().map(|id| id.0).collect();
        let n = ids.len();
        let hidden = self.transformer.decode_next(&Tensor::from_vec(ids, (1, n), &Device::Cpu)?, &mut self.cache)?;
        Ok(hidden.narrow(1, n - 1, 1)?.contiguous()?.squeeze(1)?)
    }
}

/// Holds a stream of text back as long as it may be the beginning of a word that ends it.
#[derive(Debug, Clone, Default)]
pub struct StopWords {
    words: Vec<String>,
    held: String,
}

impl StopWords {
    /// Stops at the first of these; empty ones are left out.
    pub fn new(words: &[String]) -> StopWords {
        let words = words.iter().filter(|word| !word.is_empty()).cloned().collect();
        StopWords { words, held: String::new() }
    }

    /// Takes the next piece of the text; gives what may be shown, and breaks when a stop word is complete. The word itself
    /// is never shown.
    pub fn push(&mut self, text: &str) -> (String, ControlFlow<()>) {
        self.held.push_str(text);
        let found = self.words.iter().filter_map(|word| self.held.find(word.as_str())).min();
        if let Some(at) = found {
            self.held.truncate(at);
            return (std::mem::take(&mut self.held), ControlFlow::Break(()));
        }
        let may_begin = |rest: &str| self.words.iter().any(|word| word.starts_with(rest));
        let cut = self.held.char_indices().map(|(at, _)| at).find(|&at| may_begin(&self.held[at..]));
        let held = cut.map_or(String::new(), |at| self.held.split_off(at));
        (std::mem::replace(&mut self.held, held), ControlFlow::Continue(()))
    }

    /// What is still held back when the text ends otherwise.
    pub fn finish(self) -> String {
        self.held
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stop_word_ends_the_text_however_it_comes_in_pieces() {
        let text = "one, two; three";
        for size in 1..8 {
            let mut stop = StopWords::new(&["; th".to_string(), "zwei".to_string(), String::new()]);
            let mut shown = String::new();
            let mut stopped = false;
            for piece in text.as_bytes().chunks(size) {
                let (text, flow) = stop.push(std::str::from_utf8(piece).unwrap());
                shown.push_str(&text);
                stopped = flow.is_break();
                if stopped {
                    break;
                }
            }
            assert!(stopped);
            assert_eq!(shown, "one, two");
        }
    }

    #[test]
    fn what_only_looked_like_a_stop_word_is_shown_in_the_end() {
        let mut stop = StopWords::new(&["abc".to_string()]);
        assert_eq!(stop.push("xab"), ("x".to_string(), ControlFlow::Continue(())));
        assert_eq!(stop.push("ab"), ("ab".to_string(), ControlFlow::Continue(())));
        assert_eq!(stop.finish(), "ab");
        assert_eq!(StopWords::new(&[]).push("é"), ("é".to_string(), ControlFlow::Continue(())));
    }
}
