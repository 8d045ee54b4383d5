//! What each position does for itself: wider, bent, narrow again.
//!
//! In: `[B, T, C]`; out: the same shape, activation(x · upᵀ + b) · downᵀ + b, through `d_ff` numbers in between (Vaswani et
//! al. 2017, §3.3).

use candle_core::Tensor;

use crate::error::Result;
use crate::transformer::config::TransformerConfig;
use crate::transformer::fused::{self, Activation, activate};
use crate::transformer::linear::Linear;
use crate::transformer::parameters::Parameters;
use crate::transformer::pass::Pass;

#[derive(Debug, Clone)]
pub(crate) struct FeedForward {
    up: Linear,
    down: Linear,
    activation: Activation,
}

impl FeedForward {
    pub fn new(parameters: &Parameters, config: &TransformerConfig, at: &str) -> FeedForward {
        FeedForward {
            up: Linear::new(parameters, &format!("{at}.up")),
            down: Linear::new(parameters, &format!("{at}.down")),
            activation: config.activation,
        }
    }

    pub fn forward(&self, x: &Tensor, pass: &mut Pass<'_>, at: &str) -> Result<Tensor> {
        if !pass.is_watched() {
            let ((up, up_bias), (down, down_bias)) = (self.up.values(pass), self.down.values(pass));
            return fused::feed_forward(x, (&up, &up_bias), (&down, &down_bias), self.activation);
        }
        // Someone looks: step by step, with the same result.
        let wide = self.up.forward(x, pass)?;
        pass.show(at, "up", &wide);
        let bent = activate(&wide, self.activation)?;
        pass.show(at, "activation", &bent);
        let x = self.down.forward(&bent, pass)?;
        pass.show(at, "down", &x);
        Ok(x)
    }
}
