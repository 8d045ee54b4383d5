//! Rows moved to mean 0 and variance 1, and back.

use crate::math::lanes::{load, store};
use crate::math::machine::{Machine, Work, run};

/// Each row of `x` becomes (x − mean) / √(variance + epsilon) · gain + bias; `gain` and `bias` are `[C]`, rows `[n, C]`.
///
/// # Panics
/// When the lengths contradict this.
pub(crate) fn norm_rows(x: &[f32], gain: &[f32], bias: &[f32], epsilon: f32, out: &mut [f32]) {
    assert!(gain.len() == bias.len() && x.len() == out.len() && x.len().is_multiple_of(gain.len().max(1)));
    run(Forward { x, gain, bias, epsilon, out });
}

/// The gradients of [`norm_rows`]: from that of the result, `gradient`, that of `x` is written to `x_gradient`, and those
/// of the gain and the bias are added to theirs.
///
/// # Panics
/// When the lengths contradict each other.
pub(crate) fn norm_rows_back(
    x: &[f32],
    gain: &[f32],
    epsilon: f32,
    gradient: &[f32],
    x_gradient: &mut [f32],
    gain_gradient: &mut [f32],
    bias_gradient: &mut [f32],
) {
    assert!(x.len() == gradient.len() && x.len() == x_gradient.len() && x.len().is_multiple_of(gain.len().max(1)));
    assert!(gain.len() == gain_gradient.len() && gain.len() == bias_gradient.len());
    run(Backward { x, gain, epsilon, gradient, x_gradient, gain_gradient, bias_gradient });
}

struct Forward<'a> {
    x: &'a [f32],
    gain: &'a [f32],
    bias: &'a [f32],
    epsilon: f32,
    out: &'a mut [f32],
}

impl Work for Forward<'_> {
    type Output = ();

    #[inline(always)]
    fn run<M: Machine>(self, m: M) {
        let Forward { x, gain, bias, epsilon, out } = self;
        let width = gain.len().max(1);
        for (x, out) in x.chunks_exact(width).zip(out.chunks_exact_mut(width)) {
            let (mean, scale) = moments(m, x, epsilon);
            let shift = m.splat(-mean * scale);
            for at in (0..width).step_by(M::LANES) {
                let normal = m.fma(load(m, x, at, 0.0), m.splat(scale), shift);
                store(m, out, at, m.fma(normal, load(m, gain, at, 0.0), load(m, bias, at, 0.0)));
            }
        }
    }
}

/// The mean of a row, and 1 / √(variance + epsilon).
#[inline(always)]
fn moments<M: Machine>(m: M, x: &[f32], epsilon: f32) -> (f32, f32) {
    let n = x.len() as f32;
    let mut sum = m.splat(0.0);
    for at in (0..x.len()).step_by(M::LANES) {
        sum = m.add(sum, load(m, x, at, 0.0));
    }
    let mean = m.sum(sum) / n;
    let mut squares = m.splat(0.0);
    for at in (0..x.len()).step_by(M::LANES) {
        // What is beyond the end stands at the mean and so adds nothing.
        let centered = m.add(load(m, x, at, mean), m.splat(-mean));
        squares = m.fma(centered, centered, squares);
    }
    (mean, 1.0 / (m.sum(squares) / n + epsilon).sqrt())
}

struct Backward<'a> {
    x: &'a [f32],
    gain: &'a [f32],
    epsilon: f32,
    gradient: &'a [f32],
    x_gradient: &'a mut [f32],
    gain_gradient: &'a mut [f32],
    bias_gradient: &'a mut [f32],
}

impl Work for Backward<'_> {
    type Output = ();

    /// With n = (x − mean) · scale and h = gradient · gain: x' = scale · (h − mean(h) − n · mean(h · n)).
    #[inline(always)]
    fn run<M: Machine>(self, m: M) {
        let Backward { x, gain, epsilon, gradient, x_gradient, gain_gradient, bias_gradient } = self;
        let width = gain.len().max(1);
        let rows = x.chunks_exact(width).zip(gradient.chunks_exact(width)).zip(x_gradient.chunks_exact_mut(width));
        for ((x, gradient), x_gradient) in rows {
            let (mean, scale) = moments(m, x, epsilon);
            let shift = m.splat(-mean * scale);
            let (mut sum, mut along) = (m.splat(0.0), m.splat(0.0));
            for at in (0..width).step_by(M::LANES) {
                let normal = m.fma(load(m, x, at, 0.0), m.splat(scale), shift);
                // 0 beyond the end.
                let g = load(m, gradient, at, 0.0);
                let h = m.mul(g, load(m, gain, at, 0.0));
                sum = m.add(sum, h);
                along = m.fma(h, normal, along);
                store(m, gain_gradient, at, m.fma(g, normal, load(m, gain_gradient, at, 0.0)));
                store(m, bias_gradient, at, m.add(g, load(m, bias_gradient, at, 0.0)));
            }
            let (mean_h, mean_along) = (m.sum(sum) / width as f32, m.sum(along) / width as f32);
            for at in (0..width).step_by(M::LANES) {
                let normal = m.fma(load(m, x, at, 0.0), m.splat(scale), shift);
                let h = m.mul(load(m, gradient, at, 0.0), load(m, gain, at, 0.0));
                let rest = m.fma(normal, m.splat(-mean_along), m.add(h, m.splat(-mean_h)));
                store(m, x_gradient, at, m.mul(rest, m.splat(scale)));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::math::machine::Detected;

    fn exact(x: &[f64], gain: &[f64], bias: &[f64], epsilon: f64) -> Vec<f64> {
        let mean = x.iter().sum::<f64>() / x.len() as f64;
        let variance = x.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / x.len() as f64;
        let normal = x.iter().map(|x| (x - mean) / (variance + epsilon).sqrt());
        normal.zip(gain.iter().zip(bias)).map(|(n, (g, b))| n * g + b).collect()
    }

    #[test]
    fn rows_and_gradients_are_those_of_f64_on_every_machine_at_awkward_widths() {
        for width in [1, 2, 7, 16, 31, 100] {
            let numbers = |n: usize, seed: usize| -> Vec<f32> {
                (0..n).map(|i| ((i * 37 + seed * 11) % 101) as f32 / 50.0 - 0.7).collect()
            };
            let (x, weights) = (numbers(3 * width, 1), numbers(3 * width, 2));
            let (gain, bias) = (numbers(width, 3), numbers(width, 4));
            let double = |x: &[f32]| -> Vec<f64> { x.iter().map(|&x| f64::from(x)).collect() };
            // The sum of the results, weighted, so that every number has a gradient of its own.
            let loss = |x: &[f64], gain: &[f64], bias: &[f64]| -> f64 {
                let rows = x.chunks_exact(width).flat_map(|x| exact(x, gain, bias, 1e-2));
                rows.zip(&weights).map(|(x, &w)| x * f64::from(w)).sum()
            };
            for machine in Detected::all() {
                let mut out = vec![9.0; 3 * width];
                machine.run(Forward { x: &x, gain: &gain, bias: &bias, epsilon: 1e-2, out: &mut out });
                let wanted =
                    x.chunks_exact(width).flat_map(|x| exact(&double(x), &double(&gain), &double(&bias), 1e-2));
                for (found, wanted) in out.iter().zip(wanted) {
                    assert!((f64::from(*found) - wanted).abs() < 1e-5, "{} {width}: {found} {wanted}", machine.name());
                }
                let (mut dx, mut dg, mut db) = (vec![9.0; 3 * width], vec![0.0; width], vec![0.0; width]);
                let (x_gradient, gain_gradient, bias_gradient) = (&mut dx[..], &mut dg[..], &mut db[..]);
                machine.run(Backward {
                    x: &x,
                    gain: &gain,
                    epsilon: 1e-2,
                    gradient: &weights,
                    x_gradient,
                    gain_gradient,
                    bias_gradient,
                });
                let inputs = [double(&x), double(&gain), double(&bias)];
                for (which, found) in [dx, dg, db].iter().enumerate() {
                    for i in 0..found.len() {
                        let at = |step: f64| {
                            let mut inputs = inputs.clone();
                            inputs[which][i] += step;
                            loss(&inputs[0], &inputs[1], &inputs[2])
                        };
                        let wanted = (at(1e-5) - at(-1e-5)) / 2e-5;
                        let name = machine.name();
                        assert!(
                            (f64::from(found[i]) - wanted).abs() < 3e-5,
                            "{name} {width} {which} {i}: {} {wanted}",
                            found[i]
                        );
                    }
                }
            }
        }
    }
}
