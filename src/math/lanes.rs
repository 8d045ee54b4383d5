//! Slices a vector at a time, whatever their length.

use crate::math::machine::Machine;

/// A vector of `from`, beginning at number `at`; lanes beyond its end are `rest`.
#[inline(always)]
pub(crate) fn load<M: Machine>(m: M, from: &[f32], at: usize, rest: f32) -> M::V {
    let from = &from[at..];
    if from.len() >= M::LANES {
        // SAFETY: the slice has at least `LANES` numbers.
        return unsafe { m.load(from.as_ptr()) };
    }
    let mut lanes = [rest; 16];
    lanes[..from.len()].copy_from_slice(from);
    // SAFETY: a vector has at most 16 lanes.
    unsafe { m.load(lanes.as_ptr()) }
}

/// Writes a vector to `to`, beginning at number `at`, as far as that reaches.
#[inline(always)]
pub(crate) fn store<M: Machine>(m: M, to: &mut [f32], at: usize, v: M::V) {
    let to = &mut to[at..];
    if to.len() >= M::LANES {
        // SAFETY: the slice has at least `LANES` numbers.
        return unsafe { m.store(to.as_mut_ptr(), v) };
    }
    let mut lanes = [0.0; 16];
    // SAFETY: a vector has at most 16 lanes.
    unsafe { m.store(lanes.as_mut_ptr(), v) };
    let n = to.len();
    to.copy_from_slice(&lanes[..n]);
}
