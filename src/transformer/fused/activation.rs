//! The bend between the two layers of a feed-forward block.

use candle_core::{CpuStorage, CustomOp1, Layout, Shape, Tensor};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::slices::{Floats, floats, fusible, result, share};
use crate::error::Result;
use crate::math::{Bend, bend, bend_back};

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
    if fusible(&[x]) && x.elem_count() > 0 {
        return Ok(x.contiguous()?.apply_op1(Activate(activation))?);
    }
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

impl Activation {
    pub(super) fn bend(self) -> Bend {
        match self {
            Activation::Relu => Bend::Relu,
            Activation::Gelu => Bend::Gelu,
            Activation::GeluTanh => Bend::GeluTanh,
        }
    }
}

struct Activate(Activation);

impl CustomOp1 for Activate {
    fn name(&self) -> &'static str {
        "activation"
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> candle_core::Result<(CpuStorage, Shape)> {
        let x = floats(x, layout)?;
        let mut out = vec![0.0; x.len()];
        let piece = share(x.len(), rayon::current_num_threads());
        x.par_chunks(piece).zip(out.par_chunks_mut(piece)).for_each(|(x, out)| bend(self.0.bend(), x, out));
        result(out, layout.shape())
    }

    fn bwd(&self, x: &Tensor, _: &Tensor, gradient: &Tensor) -> candle_core::Result<Option<Tensor>> {
        let gradient = gradient.contiguous()?;
        let mut slopes = Floats::of(&gradient)?.to_vec();
        let numbers = Floats::of(x)?;
        let piece = share(numbers.len(), rayon::current_num_threads());
        let pieces = numbers.par_chunks(piece).zip(slopes.par_chunks_mut(piece));
        pieces.for_each(|(x, slopes)| bend_back(self.0.bend(), x, slopes));
        Ok(Some(Tensor::from_vec(slopes, x.shape(), x.device())?))
    }
}

#[cfg(test)]
mod tests {
    use super::super::gradient_check::check;
    use super::*;

    #[test]
    fn values_and_gradients_are_those_of_the_definition() {
        for activation in [Activation::Relu, Activation::Gelu, Activation::GeluTanh] {
            for shape in [&[1][..], &[3, 5, 7]] {
                // Spread out to where the bends are flat.
                let fused = |x: &[Tensor]| activate(&(&x[0] * 4.0)?, activation);
                check(&[shape], &fused, &|x| composite(&(&x[0] * 4.0)?, activation));
            }
        }
    }

    #[test]
    fn relu_has_slope_0_at_0() {
        let x = candle_core::Var::zeros(3, candle_core::DType::F32, &candle_core::Device::Cpu).unwrap();
        for bent in [activate(&x, Activation::Relu).unwrap(), composite(&x, Activation::Relu).unwrap()] {
            let gradients = bent.backward().unwrap();
            assert_eq!(gradients.get(&x).unwrap().to_vec1::<f32>().unwrap(), [0.0; 3]);
        }
    }
}
