//! One step of Adam over slices of numbers.

use crate::math::machine::{Machine, Work, run};

/// What all numbers of a parameter have in common in one step.
#[derive(Debug, Clone, Copy)]
pub(crate) struct AdamStep {
    /// What gradients are multiplied by first.
    pub(crate) gradient_scale: f32,
    /// How much of the mean gradient stays.
    pub(crate) beta1: f32,
    /// How much of the mean squared gradient stays.
    pub(crate) beta2: f32,
    /// Added to the root of the mean square.
    pub(crate) epsilon: f32,
    /// What the parameter is multiplied by: 1 without weight decay.
    pub(crate) keep: f32,
    /// The learning rate, divided by the mean's share of what it will be in the long run.
    pub(crate) rate: f32,
    /// 1 / √(the square's share of what it will be in the long run).
    pub(crate) root_scale: f32,
}

/// Moves `x` down `gradient`; `mean` and `square` are Adam's moments.
///
/// # Panics
/// When the lengths differ.
pub(crate) fn adam_step(step: AdamStep, x: &mut [f32], gradient: &[f32], mean: &mut [f32], square: &mut [f32]) {
    assert!(x.len() == gradient.len() && x.len() == mean.len() && x.len() == square.len());
    run(Step { step, x, gradient, mean, square });
}

/// The sum of squares, in `f64`.
pub(crate) fn sum_of_squares(numbers: &[f32]) -> f64 {
    run(SumOfSquares(numbers))
}

struct Step<'a> {
    step: AdamStep,
    x: &'a mut [f32],
    gradient: &'a [f32],
    mean: &'a mut [f32],
    square: &'a mut [f32],
}

impl Work for Step<'_> {
    type Output = ();

    #[inline(always)]
    fn run<M: Machine>(self, _: M) {
        let AdamStep { gradient_scale, beta1, beta2, epsilon, keep, rate, root_scale } = self.step;
        let n = self.x.len();
        let (x, gradient) = (&mut self.x[..n], &self.gradient[..n]);
        let (mean, square) = (&mut self.mean[..n], &mut self.square[..n]);
        // A plain loop over slices of one known length, which the compiler turns into the machine's vectors.
        for i in 0..n {
            let g = gradient[i] * gradient_scale;
            mean[i] += (1.0 - beta1) * (g - mean[i]);
            square[i] = beta2 * square[i] + (1.0 - beta2) * (g * g);
            x[i] = keep * x[i] - rate * mean[i] / (square[i].sqrt() * root_scale + epsilon);
        }
    }
}

struct SumOfSquares<'a>(&'a [f32]);

impl Work for SumOfSquares<'_> {
    type Output = f64;

    #[inline(always)]
    fn run<M: Machine>(self, _: M) -> f64 {
        let mut sums = [0f64; 16];
        let mut chunks = self.0.chunks_exact(16);
        for chunk in &mut chunks {
            for i in 0..16 {
                sums[i] += f64::from(chunk[i]) * f64::from(chunk[i]);
            }
        }
        let rest: f64 = chunks.remainder().iter().map(|&x| f64::from(x) * f64::from(x)).sum();
        sums.iter().sum::<f64>() + rest
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::math::machine::Detected;

    #[test]
    fn steps_are_those_of_f64_on_every_machine_at_awkward_lengths() {
        for n in [0, 1, 7, 15, 16, 17, 100] {
            let numbers = |seed: usize| (0..n).map(move |i| ((i * 37 + seed * 11) % 101) as f32 / 50.0 - 1.0);
            let step = AdamStep {
                gradient_scale: 0.5,
                beta1: 0.9,
                beta2: 0.99,
                epsilon: 1e-8,
                keep: 0.999,
                rate: 0.01,
                root_scale: 1.5,
            };
            for machine in Detected::all() {
                let (mut x, gradient): (Vec<f32>, Vec<f32>) = (numbers(1).collect(), numbers(2).collect());
                let (mut mean, mut square): (Vec<f32>, Vec<f32>) =
                    (numbers(3).collect(), numbers(4).map(f32::abs).collect());
                let old: Vec<_> = (0..n).map(|i| [x[i], gradient[i], mean[i], square[i]].map(f64::from)).collect();
                let (x, mean, square) = (&mut x[..], &mut mean[..], &mut square[..]);
                machine.run(Step { step, x, gradient: &gradient, mean, square });
                for (i, [old_x, g, m, s]) in old.into_iter().enumerate() {
                    let m = 0.9 * m + 0.1 * 0.5 * g;
                    let s = 0.99 * s + 0.01 * 0.25 * g * g;
                    let moved = 0.999 * old_x - 0.01 * m / (s.sqrt() * 1.5 + 1e-8);
                    // A division by a root that may be small: relative to the step's own size.
                    let tolerance = 1e-5 * (1.0 + (moved - old_x).abs());
                    assert!((f64::from(x[i]) - moved).abs() < tolerance, "{} {n} {i}", machine.name());
                    assert!((f64::from(mean[i]) - m).abs() < 1e-6 && (f64::from(square[i]) - s).abs() < 1e-6);
                }
                let squares: f64 = gradient.iter().map(|&x| f64::from(x) * f64::from(x)).sum();
                assert!((machine.run(SumOfSquares(&gradient)) - squares).abs() < 1e-12 * squares.max(1.0));
            }
        }
    }
}
