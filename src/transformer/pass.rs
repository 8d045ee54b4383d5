//! One way through the layers: to learn, to answer, or to be watched.

use std::fmt;

use candle_core::{Tensor, Var};
use rand::rngs::Xoshiro256PlusPlus;

use crate::error::Result;
use crate::transformer::fused::{AttentionKind, Dropout, dropout};

/// How the layers are to be gone through.
pub struct Pass<'a> {
    attention: AttentionKind,
    purpose: Purpose<'a>,
}

enum Purpose<'a> {
    /// Gradients are recorded; dropout draws from here.
    Learn(&'a mut Xoshiro256PlusPlus),
    /// Gradients are recorded, nothing is dropped.
    Differentiate,
    /// No gradients, nothing dropped.
    Answer,
    /// The same, and every matrix on the way is shown.
    Watch(&'a mut dyn FnMut(&str, &Tensor)),
}

impl<'a> Pass<'a> {
    /// For a training step: gradients, and dropout drawn from `random`.
    pub fn learning(random: &'a mut Xoshiro256PlusPlus) -> Pass<'a> {
        Pass { attention: AttentionKind::Tiled, purpose: Purpose::Learn(random) }
    }

    /// For gradients of the plain function: nothing is dropped.
    pub fn differentiating() -> Pass<'static> {
        Pass { attention: AttentionKind::Tiled, purpose: Purpose::Differentiate }
    }

    /// For evaluation and use: no gradients, nothing dropped.
    pub fn answering() -> Pass<'static> {
        Pass { attention: AttentionKind::Tiled, purpose: Purpose::Answer }
    }

    /// The same, and `watch` is called with the name and the numbers of every matrix on the way, in the order in which
    /// they are computed: `decoder.0.attention.scores`, `[B, H, T, T]`, and so on. Attention is plain, so that its
    /// matrices exist.
    pub fn watched(watch: &'a mut dyn FnMut(&str, &Tensor)) -> Pass<'a> {
        Pass { attention: AttentionKind::Plain, purpose: Purpose::Watch(watch) }
    }

    /// Chooses how attention is computed; the answer is the same.
    pub fn with_attention(self, attention: AttentionKind) -> Pass<'a> {
        Pass { attention, ..self }
    }

    pub(crate) fn attention(&self) -> AttentionKind {
        self.attention
    }

    pub(crate) fn is_watched(&self) -> bool {
        matches!(self.purpose, Purpose::Watch(_))
    }

    /// The numbers of a parameter; with the way back to it only where gradients are wanted.
    pub(crate) fn value(&self, var: &Var) -> Tensor {
        match self.purpose {
            Purpose::Learn(_) | Purpose::Differentiate => var.as_tensor().clone(),
            Purpose::Answer | Purpose::Watch(_) => var.as_detached_tensor(),
        }
    }

    /// Thins `x` out where this pass does so.
    pub(crate) fn drop_some(&mut self, x: Tensor, rate: f64) -> Result<Tensor> {
        match &mut self.purpose {
            Purpose::Learn(random) if rate > 0.0 => dropout(&x, rate, random),
            _ => Ok(x),
        }
    }

    /// The dropout for an operation that does it inside.
    pub(crate) fn dropout(&mut self, rate: f64) -> Option<Dropout<'_>> {
        match &mut self.purpose {
            Purpose::Learn(random) if rate > 0.0 => Some(Dropout { rate, random }),
            _ => None,
        }
    }

    /// Shows a matrix called `part` of what is at `at`.
    pub(crate) fn show(&mut self, at: &str, part: &str, x: &Tensor) {
        if let Purpose::Watch(watch) = &mut self.purpose {
            watch(&if at.is_empty() { part.to_string() } else { format!("{at}.{part}") }, x);
        }
    }
}

impl fmt::Debug for Pass<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let purpose = match self.purpose {
            Purpose::Learn(_) => "learn",
            Purpose::Differentiate => "differentiate",
            Purpose::Answer => "answer",
            Purpose::Watch(_) => "watch",
        };
        f.debug_struct("Pass").field("attention", &self.attention).field("purpose", &purpose).finish()
    }
}
