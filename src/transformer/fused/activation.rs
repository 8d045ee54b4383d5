//! The bend between the two layers of a feed-forward block.

use candle_core::Tensor;
use serde::{Deserialize, Serialize};

use crate::error::Result;

/// Which bend.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Activation {
    /// max(x, 0); its gradient at exactly 0 is 0. The paper's encoder-decoder.
    Relu,
    /// x · Φ(x) with the normal distribution's Φ, exactly. BERT.
    Gelu,
    /// The same with Φ(x) ≈ (1 + tanh(√(2/π) (x + 0.044715 x³))) / 2. GPT-2.
    #[serde(alias = "gelu_tanh")]
    GeluTanh,
}

/// Bends every number of `x`; the shape stays.
///
/// # Source
/// Hendrycks & Gimpel 2016 for the two GELUs.
pub fn activate(x: &Tensor, activation: Activation) -> Result<Tensor> {
    composite(x, activation)
}

fn composite(x: &Tensor, activation: Activation) -> Result<Tensor> {
    Ok(match activation {
        // candle's own relu has gradient 1 at 0.
        Activation::Relu => x.gt(&x.zeros_like()?)?.where_cond(x, &x.zeros_like()?)?,
        Activation::Gelu => ((x * 0.5)? * ((x * std::f64::consts::FRAC_1_SQRT_2)?.erf()? + 1.0)?)?,
        Activation::GeluTanh => {
            let inner = ((x + ((x * x)? * x)?.affine(0.044715, 0.0)?)? * (2.0 / std::f64::consts::PI).sqrt())?;
            ((x * 0.5)? * (inner.tanh()? + 1.0)?)?
        }
    })
}
