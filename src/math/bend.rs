//! The bends of feed-forward layers and their slopes, a vector at a time.

use crate::math::lanes::{load, store};
use crate::math::logistic::{exp2, logistic};
use crate::math::machine::{Machine, Work, run};

/// Which bend; the exact definitions are with `transformer::fused::Activation`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Bend {
    /// max(x, 0).
    Relu,
    /// x · Φ(x).
    Gelu,
    /// x · σ(2u) with u = √(2/π) (x + 0.044715 x³), which is the form with tanh.
    GeluTanh,
}

/// `out[i]` = bend(`x[i]`).
///
/// # Panics
/// When the lengths differ.
pub(crate) fn bend(kind: Bend, x: &[f32], out: &mut [f32]) {
    assert_eq!(x.len(), out.len());
    run(Forward { kind, x, out });
}

/// `gradient[i]` is multiplied by the bend's slope at `x[i]`.
///
/// # Panics
/// When the lengths differ.
pub(crate) fn bend_back(kind: Bend, x: &[f32], gradient: &mut [f32]) {
    assert_eq!(x.len(), gradient.len());
    run(Backward { kind, x, gradient });
}

struct Forward<'a> {
    kind: Bend,
    x: &'a [f32],
    out: &'a mut [f32],
}

impl Work for Forward<'_> {
    type Output = ();

    #[inline(always)]
    fn run<M: Machine>(self, m: M) {
        let Forward { kind, x, out } = self;
        match kind {
            Bend::Relu => out.iter_mut().zip(x).for_each(|(out, &x)| *out = if x > 0.0 { x } else { 0.0 }),
            Bend::Gelu => {
                for at in (0..x.len()).step_by(M::LANES) {
                    let x = load(m, x, at, 0.0);
                    store(m, out, at, m.mul(x, normal(m, x).0));
                }
            }
            Bend::GeluTanh => {
                for at in (0..x.len()).step_by(M::LANES) {
                    let x = load(m, x, at, 0.0);
                    // σ(z) is 1 − σ(−z), which `logistic` gives without a loss of digits.
                    let (_, share) = logistic(m, double_tanh_argument(m, x, -1.0));
                    store(m, out, at, m.mul(x, share));
                }
            }
        }
    }
}

struct Backward<'a> {
    kind: Bend,
    x: &'a [f32],
    gradient: &'a mut [f32],
}

impl Work for Backward<'_> {
    type Output = ();

    #[inline(always)]
    fn run<M: Machine>(self, m: M) {
        let Backward { kind, x, gradient } = self;
        match kind {
            Bend::Relu => gradient.iter_mut().zip(x).for_each(|(g, &x)| *g = if x > 0.0 { *g } else { 0.0 }),
            Bend::Gelu => {
                for at in (0..x.len()).step_by(M::LANES) {
                    let x = load(m, x, at, 0.0);
                    // (x · Φ(x))' = Φ(x) + x · φ(x).
                    let (share, density) = normal(m, x);
                    let slope = m.fma(x, density, share);
                    let g = load(m, gradient, at, 0.0);
                    store(m, gradient, at, m.mul(g, slope));
                }
            }
            Bend::GeluTanh => {
                for at in (0..x.len()).step_by(M::LANES) {
                    let x = load(m, x, at, 0.0);
                    // (x · s)' = s + x · s · (1 − s) · (2u)'.
                    let (_, share) = logistic(m, double_tanh_argument(m, x, -1.0));
                    let (_, rest) = logistic(m, double_tanh_argument(m, x, 1.0));
                    let square = m.mul(x, x);
                    let steepness = m.fma(square, m.splat(3.0 * CUBE * TWICE_ROOT), m.splat(TWICE_ROOT));
                    let slope = m.fma(m.mul(x, m.mul(share, rest)), steepness, share);
                    let g = load(m, gradient, at, 0.0);
                    store(m, gradient, at, m.mul(g, slope));
                }
            }
        }
    }
}

/// 2 √(2/π).
const TWICE_ROOT: f32 = std::f32::consts::FRAC_2_SQRT_PI * std::f32::consts::SQRT_2;
const CUBE: f32 = 0.044_715;

/// sign · 2u.
#[inline(always)]
fn double_tanh_argument<M: Machine>(m: M, x: M::V, sign: f32) -> M::V {
    let square = m.mul(x, x);
    m.mul(x, m.fma(square, m.splat(sign * CUBE * TWICE_ROOT), m.splat(sign * TWICE_ROOT)))
}

/// Φ(x) and φ(x) of the normal distribution, to 1e-7.
///
/// For y = |x| the tail 1 − Φ(y) is e^(−y²/2) times a polynomial in t = 1 / (1 + 0.28 y): the form of Abramowitz & Stegun
/// 7.1.26 with one more term, fitted by us to 1e-8.
#[inline(always)]
fn normal<M: Machine>(m: M, x: M::V) -> (M::V, M::V) {
    const TERMS: [f32; 6] = [-0.105_737_1, 0.389_580_76, -0.236_512_98, 0.268_519_1, 0.067_654_82, 0.116_495_41];
    let y = m.add(m.clamp(x, 0.0, f32::MAX), m.clamp(m.mul(x, m.splat(-1.0)), 0.0, f32::MAX));
    let t = m.reciprocal(m.fma(y, m.splat(0.28), m.splat(1.0)));
    let mut tail = m.splat(TERMS[0]);
    for term in &TERMS[1..] {
        tail = m.fma(tail, t, m.splat(*term));
    }
    let exponent = m.mul(m.mul(y, y), m.splat(-0.5 * std::f32::consts::LOG2_E));
    let bell = exp2(m, m.clamp(exponent, -126.0, 0.0));
    let tail = m.mul(m.mul(tail, t), bell);
    // −1, 0 or 1, but for numbers so near 0 that it does not matter.
    let sign = m.clamp(m.mul(x, m.splat(1e30)), -1.0, 1.0);
    let half_less_tail = m.fma(tail, m.splat(-1.0), m.splat(0.5));
    (m.fma(sign, half_less_tail, m.splat(0.5)), m.mul(bell, m.splat(0.398_942_3)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::math::machine::Detected;

    /// erf by its series, which converges everywhere.
    fn erf(x: f64) -> f64 {
        let (mut term, mut sum) = (x, x);
        for n in 1..300 {
            term *= -x * x / n as f64;
            sum += term / (2 * n + 1) as f64;
        }
        2.0 / std::f64::consts::PI.sqrt() * sum
    }

    /// Φ(x); beyond 6 it is 0 or 1 to 1e-9.
    fn share(x: f64) -> f64 {
        if x.abs() > 6.0 { f64::from(x > 0.0) } else { 0.5 * (1.0 + erf(x / 2f64.sqrt())) }
    }

    fn slope(kind: Bend, x: f64) -> f64 {
        match kind {
            Bend::Relu => f64::from(x > 0.0),
            // The series for erf loses too many digits for differences far out.
            Bend::Gelu => share(x) + x * (-0.5 * x * x).exp() / (2.0 * std::f64::consts::PI).sqrt(),
            Bend::GeluTanh => (exact(kind, x + 1e-6) - exact(kind, x - 1e-6)) / 2e-6,
        }
    }

    fn exact(kind: Bend, x: f64) -> f64 {
        match kind {
            Bend::Relu => x.max(0.0),
            Bend::Gelu => x * share(x),
            Bend::GeluTanh => {
                0.5 * x * (1.0 + ((2.0 / std::f64::consts::PI).sqrt() * (x + 0.044715 * x * x * x)).tanh())
            }
        }
    }

    #[test]
    fn bends_and_slopes_are_those_of_f64_on_every_machine_at_awkward_lengths() {
        for kind in [Bend::Relu, Bend::Gelu, Bend::GeluTanh] {
            for n in [0, 1, 7, 16, 31, 1000] {
                let mut x: Vec<f32> = (0..n).map(|i| (i as f32 - n as f32 / 2.0) * 0.0123).collect();
                x.iter_mut().step_by(97).for_each(|x| *x *= 3.0);
                for machine in Detected::all() {
                    let (mut out, mut slopes) = (vec![9.0; n], vec![1.0; n]);
                    machine.run(Forward { kind, x: &x, out: &mut out });
                    machine.run(Backward { kind, x: &x, gradient: &mut slopes });
                    for i in 0..n {
                        let at = f64::from(x[i]);
                        let slope = slope(kind, at);
                        let name = machine.name();
                        assert!(
                            (f64::from(out[i]) - exact(kind, at)).abs() < 4e-7 * at.abs().max(1.0),
                            "{name} {kind:?} {at}"
                        );
                        assert!(
                            (f64::from(slopes[i]) - slope).abs() < 1e-6,
                            "{name} {kind:?} {at}: {} {slope}",
                            slopes[i]
                        );
                    }
                }
            }
        }
    }

    #[test]
    fn bends_stay_finite_far_out_and_pass_on_not_a_number() {
        for machine in Detected::all() {
            for kind in [Bend::Gelu, Bend::GeluTanh] {
                let x = [-1e4, -50.0, 50.0, 1e4, f32::NAN];
                let (mut out, mut slopes) = ([9.0; 5], [1.0; 5]);
                machine.run(Forward { kind, x: &x, out: &mut out });
                machine.run(Backward { kind, x: &x, gradient: &mut slopes });
                assert!(out[4].is_nan() && slopes[4].is_nan());
                assert_eq!([out[2], out[3], slopes[2], slopes[3]], [50.0, 1e4, 1.0, 1.0], "{}", machine.name());
                assert!(out[..2].iter().chain(&slopes[..2]).all(|x| x.abs() < 1e-20), "{out:?} {slopes:?}");
            }
        }
    }
}
