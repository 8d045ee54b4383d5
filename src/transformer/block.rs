//! One layer of a stack: attention to itself, where there is a source attention to it, and the feed-forward part, each
//! with its residual sum and its norm.
//!
//! In: `[B, T, C]`; out: the same shape. Post-norm is norm(x + part(x)), as in the paper (§3.1); pre-norm is
//! x + part(norm(x)), as in GPT-2.

use candle_core::Tensor;

use crate::error::Result;
use crate::transformer::attention::{CrossAttention, SelfAttention};
use crate::transformer::cache::Remembered;
use crate::transformer::config::{Norm, TransformerConfig};
use crate::transformer::feed_forward::FeedForward;
use crate::transformer::fused::Mask;
use crate::transformer::linear::LayerNorm;
use crate::transformer::parameters::Parameters;
use crate::transformer::pass::Pass;

#[derive(Debug, Clone)]
pub(crate) struct Block {
    attention: SelfAttention,
    attention_norm: LayerNorm,
    cross: Option<(CrossAttention, LayerNorm)>,
    feed_forward: FeedForward,
    feed_forward_norm: LayerNorm,
    norm: Norm,
    dropout: f64,
    name: String,
}

/// Whether a layer looks at a source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cross {
    With,
    Without,
}

/// Keys and values of a source for one layer, and which of them are padding.
pub(crate) struct Source<'a> {
    pub keys_values: &'a [Tensor; 2],
    pub mask: &'a Mask,
}

impl Block {
    /// The layer whose parameters begin with `name`.
    pub fn new(parameters: &Parameters, config: &TransformerConfig, name: String, cross: Cross) -> Block {
        let norm = |part: &str| LayerNorm::new(parameters, &format!("{name}.{part}"), config.norm_epsilon);
        Block {
            attention: SelfAttention::new(parameters, config, &format!("{name}.attention")),
            attention_norm: norm("attention_norm"),
            cross: match cross {
                Cross::With => {
                    Some((CrossAttention::new(parameters, config, &format!("{name}.cross")), norm("cross_norm")))
                }
                Cross::Without => None,
            },
            feed_forward: FeedForward::new(parameters, config, &format!("{name}.feed_forward")),
            feed_forward_norm: norm("feed_forward_norm"),
            norm: config.norm,
            dropout: config.dropout,
            name,
        }
    }

    /// A source's keys and values for this layer.
    pub fn keys_values(&self, source: &Tensor, pass: &Pass<'_>) -> Result<[Tensor; 2]> {
        let (cross, _) = self.cross.as_ref().expect("only layers that look at a source are asked");
        cross.keys_values(source, pass)
    }

    /// Whole sequences at once.
    pub fn forward(&self, x: Tensor, mask: &Mask, source: Option<Source<'_>>, pass: &mut Pass<'_>) -> Result<Tensor> {
        let attend = |x: &Tensor, pass: &mut Pass<'_>, at: &str| self.attention.forward(x, mask, pass, at);
        let x = self.add_part(x, "attention", &self.attention_norm, pass, attend)?;
        self.rest(x, source, pass)
    }

    /// The positions after those that are remembered, which are remembered then, too.
    pub fn forward_next(
        &self,
        x: Tensor,
        before: &mut Remembered,
        source: Option<Source<'_>>,
        pass: &mut Pass<'_>,
    ) -> Result<Tensor> {
        let attend = |x: &Tensor, pass: &mut Pass<'_>, _: &str| self.attention.forward_next(x, before, pass);
        let x = self.add_part(x, "attention", &self.attention_norm, pass, attend)?;
        self.rest(x, source, pass)
    }

    fn rest(&self, x: Tensor, source: Option<Source<'_>>, pass: &mut Pass<'_>) -> Result<Tensor> {
        let x = match (&self.cross, source) {
            (Some((cross, norm)), Some(source)) => {
                let attend = |x: &Tensor, pass: &mut Pass<'_>, at: &str| {
                    cross.forward(x, source.keys_values, source.mask, pass, at)
                };
                self.add_part(x, "cross", norm, pass, attend)?
            }
            _ => x,
        };
        let forward = |x: &Tensor, pass: &mut Pass<'_>, at: &str| self.feed_forward.forward(x, pass, at);
        self.add_part(x, "feed_forward", &self.feed_forward_norm, pass, forward)
    }

    /// Adds what `part` makes of `x`, with the norm where it belongs.
    fn add_part(
        &self,
        x: Tensor,
        part: &str,
        norm: &LayerNorm,
        pass: &mut Pass<'_>,
        forward: impl FnOnce(&Tensor, &mut Pass<'_>, &str) -> Result<Tensor>,
    ) -> Result<Tensor> {
        let at = format!("{}.{part}", self.name);
        let show_norm = |x: &Tensor, pass: &mut Pass<'_>| pass.show(&self.name, &format!("{part}_norm"), x);
        let added = match self.norm {
            Norm::Pre => {
                let normed = norm.forward(&x, pass)?;
                show_norm(&normed, pass);
                forward(&normed, pass, &at)?
            }
            Norm::Post => forward(&x, pass, &at)?,
        };
        let sum = (x + pass.drop_some(added, self.dropout)?)?;
        pass.show(&self.name, &format!("{part}_sum"), &sum);
        match self.norm {
            Norm::Pre => Ok(sum),
            Norm::Post => {
                let normed = norm.forward(&sum, pass)?;
                show_norm(&normed, pass);
                Ok(normed)
            }
        }
    }
}
