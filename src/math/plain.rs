//! Any processor: plain Rust, which is also the definition of what the other machines compute.

use std::sync::atomic::{AtomicU32, Ordering};

use crate::math::machine::{Machine, Work};

/// Vectors are arrays; the compiler makes of them what the baseline of the target allows.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Plain;

const LANES: usize = 8;

#[inline(always)]
fn each(f: impl FnMut(usize) -> f32) -> [f32; LANES] {
    std::array::from_fn(f)
}

impl Machine for Plain {
    type V = [f32; LANES];

    const LANES: usize = LANES;
    const MAX_INPUTS: usize = 4;

    #[inline]
    fn enter<W: Work>(self, work: W) -> W::Output {
        work.run(self)
    }

    #[inline(always)]
    fn splat(self, x: f32) -> Self::V {
        [x; LANES]
    }

    #[inline(always)]
    unsafe fn load(self, from: *const f32) -> Self::V {
        // SAFETY: the caller's contract.
        unsafe { from.cast::<Self::V>().read_unaligned() }
    }

    #[inline(always)]
    unsafe fn store(self, to: *mut f32, v: Self::V) {
        // SAFETY: the caller's contract.
        unsafe { to.cast::<Self::V>().write_unaligned(v) }
    }

    #[inline(always)]
    unsafe fn load_shared(self, from: *const f32) -> Self::V {
        // SAFETY: the caller's contract: valid, aligned, and accessed by others through atomics only. An `AtomicU32`
        // has the size and alignment of an `f32`.
        let atomics = unsafe { &*from.cast::<[AtomicU32; LANES]>() };
        each(|i| f32::from_bits(atomics[i].load(Ordering::Relaxed)))
    }

    #[inline(always)]
    unsafe fn store_shared(self, to: *mut f32, v: Self::V) {
        // SAFETY: as in `load_shared`; writing through a shared reference is what atomics are for.
        let atomics = unsafe { &*to.cast::<[AtomicU32; LANES]>() };
        for (atomic, x) in atomics.iter().zip(v) {
            atomic.store(x.to_bits(), Ordering::Relaxed);
        }
    }

    #[inline(always)]
    fn prefetch(self, _at: *const f32) {}

    #[inline(always)]
    fn add(self, a: Self::V, b: Self::V) -> Self::V {
        each(|i| a[i] + b[i])
    }

    #[inline(always)]
    fn mul(self, a: Self::V, b: Self::V) -> Self::V {
        each(|i| a[i] * b[i])
    }

    #[inline(always)]
    fn fma(self, a: Self::V, b: Self::V, c: Self::V) -> Self::V {
        // Not `mul_add`: without the instruction that is a call into the mathematics library for every number.
        each(|i| a[i] * b[i] + c[i])
    }

    #[inline(always)]
    fn reciprocal(self, a: Self::V) -> Self::V {
        each(|i| 1.0 / a[i])
    }

    #[inline(always)]
    fn clamp(self, v: Self::V, low: f32, high: f32) -> Self::V {
        each(|i| v[i].clamp(low, high))
    }

    #[inline(always)]
    fn round(self, v: Self::V) -> Self::V {
        // Adding and taking away 1.5 · 2²³ leaves no room for a fraction: a plain add where `round` is a call.
        const SHIFT: f32 = 12_582_912.0;
        each(|i| (v[i] + SHIFT) - SHIFT)
    }

    #[inline(always)]
    fn scale(self, a: Self::V, n: Self::V) -> Self::V {
        each(|i| a[i] * f32::from_bits(((n[i] as i32 + 127) as u32) << 23))
    }

    #[inline(always)]
    fn split(self, v: Self::V) -> (Self::V, Self::V) {
        let exponent = each(|i| ((v[i].to_bits() >> 23) as i32 - 127) as f32);
        let mantissa =
            each(|i| if v[i].is_nan() { v[i] } else { f32::from_bits(v[i].to_bits() & 0x007f_ffff | 0x3f80_0000) });
        (exponent, mantissa)
    }

    #[inline(always)]
    fn flip(self, v: Self::V, mask: u32) -> Self::V {
        each(|i| f32::from_bits(v[i].to_bits() ^ (mask >> i & 1) << 31))
    }

    #[inline(always)]
    fn sum(self, v: Self::V) -> f32 {
        let pairs: [f32; 4] = std::array::from_fn(|i| v[i] + v[i + 4]);
        (pairs[0] + pairs[2]) + (pairs[1] + pairs[3])
    }

    #[inline(always)]
    fn sums(self, vectors: &[Self::V; 16], n: usize) -> Self::V {
        each(|i| if i < n { self.sum(vectors[i]) } else { 0.0 })
    }
}
