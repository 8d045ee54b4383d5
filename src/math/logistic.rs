//! exp and the logistic loss, a vector at a time.

use crate::math::machine::Machine;

/// 2^v, for v within ±126; relative error below 2e-7.
///
/// v = n + f with whole n and |f| ≤ ½; 2^f = e^(f·ln 2) by its series up to the sixth power, whose first left-out
/// term is (ln 2 / 2)⁷ / 7! = 1.2e-7 of a half unit in the last place.
#[inline(always)]
pub(crate) fn exp2<M: Machine>(m: M, v: M::V) -> M::V {
    const TERMS: [f32; 6] =
        [1.540_353e-4, 1.333_355_8e-3, 9.618_129e-3, 5.550_411e-2, 2.402_265e-1, std::f32::consts::LN_2];
    let n = m.round(v);
    let f = m.fma(n, m.splat(-1.0), v);
    let mut p = m.splat(TERMS[0]);
    for term in &TERMS[1..] {
        p = m.fma(p, f, m.splat(*term));
    }
    m.scale(m.fma(p, f, m.splat(1.0)), n)
}

/// For logits z: w = 1 + e^−z and 1 − σ(z) = e^−z / w.
///
/// −log₂ σ(z) is log₂ w, which [`LossSum`] adds up. Beyond |z| = 87 the exponential is held where it still has a
/// finite reciprocal; not-a-number passes through.
#[inline(always)]
pub(crate) fn logistic<M: Machine>(m: M, z: M::V) -> (M::V, M::V) {
    let e = exp2(m, m.clamp(m.mul(z, m.splat(-std::f32::consts::LOG2_E)), -126.0, 126.0));
    let w = m.add(e, m.splat(1.0));
    (w, m.mul(e, m.reciprocal(w)))
}

/// A sum of log₂ w over many vectors, exact without a logarithm for each.
///
/// Exponents are added and mantissas multiplied, which takes four instructions a vector; the logarithm of the product
/// is taken once, at the end, in `f64`. Exponents are whole numbers, so their `f32` sums are exact below 2²⁴.
#[derive(Debug, Clone)]
#[repr(align(64))]
pub(crate) struct LossSum {
    exponents: [f32; 16],
    mantissas: [f32; 16],
    // Lanes that took part with the logit 0, and so with one bit, only because a vector has more lanes than needed.
    idle_lanes: u64,
}

impl LossSum {
    pub(crate) fn new() -> LossSum {
        LossSum { exponents: [0.0; 16], mantissas: [1.0; 16], idle_lanes: 0 }
    }

    /// The sum in registers, to multiply at most 120 vectors into.
    #[inline(always)]
    pub(crate) fn lanes<M: Machine>(&self, m: M) -> LossLanes<M> {
        // SAFETY: the arrays hold 16 numbers, at least `LANES`.
        let (exponent, mantissa) = unsafe { (m.load(self.exponents.as_ptr()), m.load(self.mantissas.as_ptr())) };
        LossLanes { exponent, mantissa, idle_lanes: 0 }
    }

    /// Takes the sum back from the registers.
    #[inline(always)]
    pub(crate) fn put<M: Machine>(&mut self, m: M, lanes: LossLanes<M>) {
        // A product of up to 120 mantissas below 2 is below 2¹²⁰.
        let (exponent, mantissa) = m.split(lanes.mantissa);
        // SAFETY: the arrays hold 16 numbers, at least `LANES`.
        unsafe {
            m.store(self.exponents.as_mut_ptr(), m.add(lanes.exponent, exponent));
            m.store(self.mantissas.as_mut_ptr(), mantissa);
        }
        self.idle_lanes += lanes.idle_lanes;
    }

    /// The sum so far, in bits; begins again at 0.
    pub(crate) fn take(&mut self) -> f64 {
        let sum = std::mem::replace(self, LossSum::new());
        let lanes = sum.exponents.iter().zip(&sum.mantissas);
        lanes.map(|(&e, &m)| f64::from(e) + f64::from(m).log2()).sum::<f64>() - sum.idle_lanes as f64
    }
}

/// [`LossSum`] in registers.
pub(crate) struct LossLanes<M: Machine> {
    exponent: M::V,
    mantissa: M::V,
    idle_lanes: u64,
}

impl<M: Machine> LossLanes<M> {
    /// Adds log₂ of each lane of `w`, of which only `used` carry something; the others are exactly 2.
    #[inline(always)]
    pub(crate) fn multiply(&mut self, m: M, w: M::V, used: usize) {
        let (exponent, mantissa) = m.split(w);
        self.exponent = m.add(self.exponent, exponent);
        self.mantissa = m.mul(self.mantissa, mantissa);
        self.idle_lanes += (M::LANES - used) as u64;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::math::machine::{Detected, Work};

    /// For each logit: 1 − σ(z), and −log₂ σ(z) through a sum of its own.
    struct Values<'a>(&'a [f32]);

    impl Work for Values<'_> {
        type Output = Vec<(f32, f64)>;

        #[inline(always)]
        fn run<M: Machine>(self, m: M) -> Vec<(f32, f64)> {
            let mut values = Vec::new();
            for &z in self.0 {
                let (w, q) = logistic(m, m.splat(z));
                let mut sum = LossSum::new();
                let mut lanes = sum.lanes(m);
                lanes.multiply(m, w, M::LANES);
                sum.put(m, lanes);
                let mut out = [0.0; 16];
                // SAFETY: 16 is at least `LANES`.
                unsafe { m.store(out.as_mut_ptr(), q) };
                values.push((out[0], sum.take() / M::LANES as f64));
            }
            values
        }
    }

    #[test]
    fn sigmoid_and_loss_are_exact_to_single_precision_on_every_machine() {
        let logits: Vec<f32> = (-8600..=8600).map(|i| i as f32 / 100.0 + 0.0037).collect();
        for machine in Detected::all() {
            for (&z, (q, bits)) in logits.iter().zip(machine.run(Values(&logits))) {
                let e = (-f64::from(z)).exp();
                let exact = e / (1.0 + e);
                // e^-z carries the rounding of z·log2(e), half a unit in the last place of up to 124.
                assert!((f64::from(q) - exact).abs() <= 6e-6 * exact + 1e-37, "{} z {z}: {q} {exact}", machine.name());
                let exact = e.ln_1p() / std::f64::consts::LN_2;
                assert!((bits - exact).abs() < 1e-5 * exact.max(0.01), "{} z {z}: {bits} {exact}", machine.name());
            }
        }
    }

    #[test]
    fn extremes_stay_finite_and_not_a_number_is_not_hidden() {
        for machine in Detected::all() {
            for (z, q, least_bits) in [(f32::INFINITY, 0.0, 0.0), (f32::NEG_INFINITY, 1.0, 120.0), (1e9, 0.0, 0.0)] {
                let (found, bits) = machine.run(Values(&[z]))[0];
                assert!((found - q).abs() < 1e-30 && bits >= least_bits && bits.is_finite(), "{z}: {found} {bits}");
            }
            assert!(machine.run(Values(&[f32::NAN]))[0].1.is_nan(), "{}", machine.name());
        }
    }
}
