//! Two small layers that every part is made of: a product with a bias, and a norm.

use candle_core::{Tensor, Var};

use crate::error::Result;
use crate::transformer::fused;
use crate::transformer::parameters::Parameters;
use crate::transformer::pass::Pass;

/// x · weightᵀ + bias.
#[derive(Debug, Clone)]
pub(crate) struct Linear {
    weight: Var,
    bias: Var,
}

impl Linear {
    /// The layer whose weight is `NAME.weight` `[out, in]` and whose bias is `NAME.bias` `[out]`.
    pub fn new(parameters: &Parameters, name: &str) -> Linear {
        Linear {
            weight: parameters.expect(&format!("{name}.weight")),
            bias: parameters.expect(&format!("{name}.bias")),
        }
    }

    /// `[.., in]` → `[.., out]`.
    pub fn forward(&self, x: &Tensor, pass: &Pass<'_>) -> Result<Tensor> {
        let (weight, bias) = self.values(pass);
        fused::linear(x, &weight, Some(&bias))
    }

    /// The weight and the bias, for an operation that does more than this layer.
    pub fn values(&self, pass: &Pass<'_>) -> (Tensor, Tensor) {
        (pass.value(&self.weight), pass.value(&self.bias))
    }
}

/// (x − mean) / √(variance + ε) · gain + bias, over the last dimension (Ba, Kiros & Hinton 2016).
#[derive(Debug, Clone)]
pub(crate) struct LayerNorm {
    gain: Var,
    bias: Var,
    epsilon: f64,
}

impl LayerNorm {
    /// The norm whose parameters are `NAME.gain` and `NAME.bias`, both `[C]`.
    pub fn new(parameters: &Parameters, name: &str, epsilon: f64) -> LayerNorm {
        LayerNorm {
            gain: parameters.expect(&format!("{name}.gain")),
            bias: parameters.expect(&format!("{name}.bias")),
            epsilon,
        }
    }

    /// `[.., C]` → `[.., C]`.
    pub fn forward(&self, x: &Tensor, pass: &Pass<'_>) -> Result<Tensor> {
        fused::layer_norm(x, &pass.value(&self.gain), &pass.value(&self.bias), self.epsilon)
    }
}
