//! Numbers left out at random while training.
//!
//! What is left out is a function of one drawn seed and of each number's place, so that no mask is stored: the backward
//! pass asks again, and the tiled attention asks in another order.

use candle_core::{DType, Tensor};
use rand::Rng;
use rand::rngs::Xoshiro256PlusPlus;

use crate::error::{Error, Result};

/// How many numbers to leave out, and the generator that chooses them.
#[derive(Debug)]
pub struct Dropout<'a> {
    /// The share of numbers that becomes 0, from 0 up to but not 1. The rest is multiplied by 1 / (1 − rate).
    pub rate: f64,
    /// Where the seed of each mask is drawn.
    pub random: &'a mut Xoshiro256PlusPlus,
}

/// Sets a share `rate` of the numbers to 0 and multiplies the rest by 1 / (1 − rate).
///
/// A rate of 0 draws nothing and returns `x`. Leave the call out when evaluating.
///
/// # Errors
/// [`Error::Config`] when `rate` is not within 0 up to 1.
///
/// # Source
/// Srivastava et al. 2014, scaled while training ("inverted").
pub fn dropout(x: &Tensor, rate: f64, random: &mut Xoshiro256PlusPlus) -> Result<Tensor> {
    match Thinning::draw(Some(Dropout { rate, random }))? {
        Some(thinning) => composite(x, thinning),
        None => Ok(x.clone()),
    }
}

fn composite(x: &Tensor, thinning: Thinning) -> Result<Tensor> {
    Ok((x * thinning.factors(x)?)?)
}

/// One drawn mask: which places are kept, without storing them.
#[derive(Debug, Clone, Copy)]
pub(super) struct Thinning {
    seed: u64,
    // A place is left out when its 32 bits are below this.
    threshold: u32,
    // What the kept ones are multiplied by.
    scale: f32,
}

impl Thinning {
    /// Draws a mask; `None` where nothing is left out.
    pub(super) fn draw(dropout: Option<Dropout<'_>>) -> Result<Option<Thinning>> {
        let Some(Dropout { rate, random }) = dropout else { return Ok(None) };
        if !(0.0..1.0).contains(&rate) {
            return Err(Error::config("dropout", format!("{rate} is not within 0 up to, but without, 1")));
        }
        if rate == 0.0 {
            return Ok(None);
        }
        let threshold = (rate * 2f64.powi(32)) as u32;
        Ok(Some(Thinning { seed: random.next_u64(), threshold, scale: (1.0 / (1.0 - rate)) as f32 }))
    }

    /// 0 where the number at `place` is left out, else the scale.
    #[inline(always)]
    pub(super) fn factor(self, place: u64) -> f32 {
        // The finalizer of splitmix64 (Steele, Lea & Flood 2014): every bit of the place reaches every bit of the result.
        let mut z = self.seed.wrapping_add(place.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        if ((z >> 32) as u32) < self.threshold { 0.0 } else { self.scale }
    }

    /// All factors as a tensor like `x`.
    pub(super) fn factors(self, x: &Tensor) -> Result<Tensor> {
        let factors: Vec<f32> = (0..x.elem_count() as u64).map(|place| self.factor(place)).collect();
        Ok(Tensor::from_vec(factors, x.shape(), &candle_core::Device::Cpu)?
            .to_device(x.device())?
            .to_dtype(dtype(x))?)
    }
}

fn dtype(x: &Tensor) -> DType {
    x.dtype()
}
