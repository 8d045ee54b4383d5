//! Rows of scores → weights e^(score − shift), and sums.

use crate::math::lanes::{load, store};
use crate::math::logistic::exp2;
use crate::math::machine::{Machine, Work, run};

/// The largest number; −∞ of none. Not-a-number is passed over: it comes out of the sums instead.
pub(crate) fn largest(numbers: &[f32]) -> f32 {
    run(Largest(numbers))
}

/// Each number x becomes e^(x − shift), where no x is above `shift`; returns their sum.
pub(crate) fn exp_and_sum(numbers: &mut [f32], shift: f32) -> f32 {
    run(ExpAndSum { numbers, shift })
}

/// Each number is multiplied by `factor`.
pub(crate) fn scale(numbers: &mut [f32], factor: f32) {
    run(Scale { numbers, factor });
}

/// `to[i]` += `from[i]`.
///
/// # Panics
/// When the lengths differ.
pub(crate) fn add(to: &mut [f32], from: &[f32]) {
    assert_eq!(to.len(), from.len());
    run(Add { to, from });
}

/// p[i] becomes p[i] · (gradient[i] − along) · factor: the gradient of a softmax, for probabilities `p`.
///
/// # Panics
/// When the lengths differ.
pub(crate) fn softmax_back(p: &mut [f32], gradient: &[f32], along: f32, factor: f32) {
    assert_eq!(p.len(), gradient.len());
    run(SoftmaxBack { p, gradient, along, factor });
}

struct Largest<'a>(&'a [f32]);

impl Work for Largest<'_> {
    type Output = f32;

    #[inline(always)]
    fn run<M: Machine>(self, _: M) -> f32 {
        let mut lanes = [f32::NEG_INFINITY; 32];
        let mut chunks = self.0.chunks_exact(32);
        for chunk in &mut chunks {
            for i in 0..32 {
                lanes[i] = if chunk[i] > lanes[i] { chunk[i] } else { lanes[i] };
            }
        }
        lanes.iter().chain(chunks.remainder()).fold(f32::NEG_INFINITY, |a, &b| if b > a { b } else { a })
    }
}

struct ExpAndSum<'a> {
    numbers: &'a mut [f32],
    shift: f32,
}

impl Work for ExpAndSum<'_> {
    type Output = f32;

    #[inline(always)]
    fn run<M: Machine>(self, m: M) -> f32 {
        let ExpAndSum { numbers, shift } = self;
        const TO_BITS: f32 = std::f32::consts::LOG2_E;
        let mut sum = m.splat(0.0);
        for at in (0..numbers.len()).step_by(M::LANES) {
            // The shift is taken off first, where it is exact, and not folded into the product.
            let below = m.add(load(m, numbers, at, f32::NEG_INFINITY), m.splat(-shift));
            let power = exp2(m, m.clamp(m.mul(below, m.splat(TO_BITS)), -126.0, 0.0));
            store(m, numbers, at, power);
            // Lanes beyond the end are 2^-126, which vanishes beside the 1 of the largest.
            sum = m.add(sum, power);
        }
        m.sum(sum)
    }
}

struct Scale<'a> {
    numbers: &'a mut [f32],
    factor: f32,
}

impl Work for Scale<'_> {
    type Output = ();

    #[inline(always)]
    fn run<M: Machine>(self, _: M) {
        for x in self.numbers {
            *x *= self.factor;
        }
    }
}

struct Add<'a> {
    to: &'a mut [f32],
    from: &'a [f32],
}

impl Work for Add<'_> {
    type Output = ();

    #[inline(always)]
    fn run<M: Machine>(self, _: M) {
        for (to, from) in self.to.iter_mut().zip(self.from) {
            *to += from;
        }
    }
}

struct SoftmaxBack<'a> {
    p: &'a mut [f32],
    gradient: &'a [f32],
    along: f32,
    factor: f32,
}

impl Work for SoftmaxBack<'_> {
    type Output = ();

    #[inline(always)]
    fn run<M: Machine>(self, _: M) {
        for (p, gradient) in self.p.iter_mut().zip(self.gradient) {
            *p = *p * (gradient - self.along) * self.factor;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::math::machine::Detected;

    #[test]
    fn powers_sums_and_gradients_are_those_of_f64_on_every_machine_at_awkward_lengths() {
        for n in [1, 7, 16, 31, 100] {
            let numbers: Vec<f32> = (0..n).map(|i| ((i * 37) % 101) as f32 / 5.0 - 30.0).collect();
            let gradient: Vec<f32> = (0..n).map(|i| ((i * 31) % 97) as f32 / 50.0 - 1.0).collect();
            for machine in Detected::all() {
                let name = machine.name();
                let shift = machine.run(Largest(&numbers));
                assert_eq!(shift, numbers.iter().copied().fold(f32::NEG_INFINITY, f32::max));
                let mut powers = numbers.clone();
                let sum = machine.run(ExpAndSum { numbers: &mut powers, shift });
                let exact: Vec<f64> = numbers.iter().map(|&x| (f64::from(x) - f64::from(shift)).exp()).collect();
                for (found, wanted) in powers.iter().zip(&exact) {
                    // The product with log2 e, up to 43, is rounded at 2e-6.
                    assert!((f64::from(*found) - wanted).abs() < 3e-6 * wanted, "{name} {n}: {found} {wanted}");
                }
                assert!((f64::from(sum) / exact.iter().sum::<f64>() - 1.0).abs() < 3e-6, "{name} {n}");
                let (p, gradient) = (&mut powers[..], &gradient[..]);
                machine.run(SoftmaxBack { p, gradient, along: 0.25, factor: 2.0 });
                for ((found, &g), wanted) in powers.iter().zip(gradient).zip(&exact) {
                    let wanted = 2.0 * wanted * (f64::from(g) - 0.25);
                    assert!((f64::from(*found) - wanted).abs() < 1e-5, "{name} {n}: {found} {wanted}");
                }
            }
        }
    }

    #[test]
    fn scores_far_apart_stay_finite_and_not_a_number_reaches_the_sum() {
        for machine in Detected::all() {
            let mut numbers = [1e4, -1e4, f32::NEG_INFINITY];
            let sum = machine.run(ExpAndSum { numbers: &mut numbers, shift: 1e4 });
            assert!((sum - 1.0).abs() < 1e-6 && numbers[1] < 1e-30, "{}: {numbers:?}", machine.name());
            assert!(machine.run(ExpAndSum { numbers: &mut [0.0, f32::NAN], shift: 0.0 }).is_nan());
        }
    }
}
