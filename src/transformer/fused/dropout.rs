//! Numbers left out at random while training.
//!
//! What is left out is a function of one drawn seed and of each number's place, so that no mask is stored: the backward
//! pass asks again, and the tiled attention asks in another order.

use candle_core::{CpuStorage, CustomOp1, Layout, Shape, Tensor};
use rand::Rng;
use rand::rngs::Xoshiro256PlusPlus;
use rayon::prelude::*;

use super::slices::{Floats, floats, fusible, result, share};
use crate::error::{Error, Result};
use crate::math::{Machine, Work, run};

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
        Some(thinning) if fusible(&[x]) && x.elem_count() > 0 => Ok(x.contiguous()?.apply_op1(thinning)?),
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
            .to_dtype(x.dtype())?)
    }
}

/// Multiplies numbers by their factors; the first stands at place `first`.
pub(super) fn thin(thinning: Thinning, first: u64, numbers: &mut [f32]) {
    run(Thin { thinning, first, numbers });
}

struct Thin<'a> {
    thinning: Thinning,
    first: u64,
    numbers: &'a mut [f32],
}

impl Work for Thin<'_> {
    type Output = ();

    #[inline(always)]
    fn run<M: Machine>(self, _: M) {
        let Thin { thinning, first, numbers } = self;
        for (place, x) in numbers.iter_mut().enumerate() {
            *x *= thinning.factor(first.wrapping_add(place as u64));
        }
    }
}

fn thin_all(thinning: Thinning, numbers: &[f32]) -> Vec<f32> {
    let mut out = numbers.to_vec();
    let piece = share(out.len(), rayon::current_num_threads());
    let pieces = out.par_chunks_mut(piece).enumerate();
    pieces.for_each(|(at, numbers)| thin(thinning, (at * piece) as u64, numbers));
    out
}

impl CustomOp1 for Thinning {
    fn name(&self) -> &'static str {
        "dropout"
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> candle_core::Result<(CpuStorage, Shape)> {
        result(thin_all(*self, floats(x, layout)?), layout.shape())
    }

    fn bwd(&self, x: &Tensor, _: &Tensor, gradient: &Tensor) -> candle_core::Result<Option<Tensor>> {
        let gradient = gradient.contiguous()?;
        let numbers = thin_all(*self, &Floats::of(&gradient)?);
        Ok(Some(Tensor::from_vec(numbers, x.shape(), x.device())?))
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::super::gradient_check::check;
    use super::*;

    #[test]
    fn values_and_gradients_are_those_of_the_definition() {
        let seeded = || Xoshiro256PlusPlus::seed_from_u64(7);
        let defined = |x: &[Tensor]| {
            let thinning = Thinning::draw(Some(Dropout { rate: 0.3, random: &mut seeded() }))?.unwrap();
            composite(&x[0], thinning)
        };
        check(&[&[5, 7]], &|x| dropout(&x[0], 0.3, &mut seeded()), &defined);
    }

    #[test]
    fn the_share_left_out_is_the_rate_and_the_mean_stays() {
        let mut random = Xoshiro256PlusPlus::seed_from_u64(1);
        let n = 100_000;
        let x = Tensor::ones(n, candle_core::DType::F32, &candle_core::Device::Cpu).unwrap();
        for rate in [0.1, 0.5] {
            let y = dropout(&x, rate, &mut random).unwrap().to_vec1::<f32>().unwrap();
            let share = y.iter().filter(|&&y| y == 0.0).count() as f64 / n as f64;
            // Three standard deviations.
            assert!((share - rate).abs() < 3.0 * (rate * (1.0 - rate) / n as f64).sqrt(), "{share} {rate}");
            assert!(y.iter().all(|&y| y == 0.0 || (f64::from(y) - 1.0 / (1.0 - rate)).abs() < 1e-6));
            let again = dropout(&x, rate, &mut random).unwrap().to_vec1::<f32>().unwrap();
            assert_ne!(y, again, "each call draws a mask of its own");
        }
    }

    #[test]
    fn a_rate_of_0_changes_nothing_and_draws_nothing() {
        let mut random = Xoshiro256PlusPlus::seed_from_u64(1);
        let x = Tensor::ones(3, candle_core::DType::F32, &candle_core::Device::Cpu).unwrap();
        assert_eq!(dropout(&x, 0.0, &mut random).unwrap().id(), x.id());
        assert_eq!(random, Xoshiro256PlusPlus::seed_from_u64(1));
        for rate in [1.0, -0.1, f64::NAN] {
            assert!(matches!(dropout(&x, rate, &mut random), Err(Error::Config { .. })));
        }
    }
}
