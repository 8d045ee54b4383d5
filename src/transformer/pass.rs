//! One way through the layers: to learn, to answer, or to be watched.

use std::fmt;

use candle_core::{Tensor, TensorId, Var};
use rand::rngs::Xoshiro256PlusPlus;

use crate::error::Result;
use crate::transformer::fused::{AttentionKind, Dropout, dropout};

/// How the layers are to be gone through.
pub struct Pass<'a> {
    attention: AttentionKind,
    purpose: Purpose<'a>,
    /// Parameters that no gradient is wanted for.
    without: Vec<TensorId>,
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
    fn of(attention: AttentionKind, purpose: Purpose<'a>) -> Pass<'a> {
        Pass { attention, purpose, without: Vec::new() }
    }

    /// For a training step: gradients, and dropout drawn from `random`.
    pub fn learning(random: &'a mut Xoshiro256PlusPlus) -> Pass<'a> {
        Pass::of(AttentionKind::Tiled, Purpose::Learn(random))
    }

    /// For gradients of the plain function: nothing is dropped.
    pub fn differentiating() -> Pass<'static> {
        Pass::of(AttentionKind::Tiled, Purpose::Differentiate)
    }

    /// For evaluation and use: no gradients, nothing dropped.
    pub fn answering() -> Pass<'static> {
        Pass::of(AttentionKind::Tiled, Purpose::Answer)
    }

    /// The same, and `watch` is called with the name and the numbers of every matrix on the way, in the order in which
    /// they are computed: `decoder.0.attention.scores`, `[B, H, T, T]`, and so on. Attention is plain, so that its
    /// matrices exist.
    pub fn watched(watch: &'a mut dyn FnMut(&str, &Tensor)) -> Pass<'a> {
        Pass::of(AttentionKind::Plain, Purpose::Watch(watch))
    }

    /// Chooses how attention is computed; the answer is the same.
    pub fn with_attention(self, attention: AttentionKind) -> Pass<'a> {
        Pass { attention, ..self }
    }

    /// Computes no gradient for these parameters: it would not be used.
    pub fn without(self, parameters: &[Var]) -> Pass<'a> {
        Pass { without: parameters.iter().map(|var| var.id()).collect(), ..self }
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
            Purpose::Learn(_) | Purpose::Differentiate if !self.without.contains(&var.id()) => var.as_tensor().clone(),
            _ => var.as_detached_tensor(),
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
