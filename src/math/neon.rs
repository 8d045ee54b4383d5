//! AArch64: eight numbers at a time, as two vectors of four, 32 registers.
//!
//! Four numbers are one register, but a block of products gathers as many of them as a vector has lanes, and eight keep
//! the multipliers busier.

use std::arch::aarch64::*;
use std::arch::asm;

use crate::math::machine::{Machine, Work};

/// NEON, known to be here: [`detect`](Neon::detect) is the only way to get one.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Neon(());

impl Neon {
    pub(crate) fn detect() -> Option<Neon> {
        // Miri knows neither all of these intrinsics nor assembly.
        (std::arch::is_aarch64_feature_detected!("neon") && !cfg!(miri)).then_some(Neon(()))
    }
}

/// Two registers as one vector: lanes 0 to 3, then 4 to 7.
#[derive(Clone, Copy)]
pub(crate) struct Pair(float32x4_t, float32x4_t);

// Eight relaxed atomic accesses in one instruction each. The architecture moves each aligned half of a 16-byte register
// as a whole, so each 4-byte lane too; the rest of the argument stands in avx512.rs.

#[inline]
#[target_feature(enable = "neon")]
unsafe fn load_relaxed(from: *const f32) -> Pair {
    let (low, high);
    // SAFETY: reads 32 bytes that the caller vouches for; touches nothing else.
    unsafe {
        asm!("ldp {low:q}, {high:q}, [{from}]", low = lateout(vreg) low, high = lateout(vreg) high,
            from = in(reg) from, options(nostack, preserves_flags, pure, readonly));
    }
    Pair(low, high)
}

#[inline]
#[target_feature(enable = "neon")]
unsafe fn store_relaxed(to: *mut f32, v: Pair) {
    // SAFETY: writes 32 bytes that the caller vouches for; touches nothing else.
    unsafe {
        asm!("stp {low:q}, {high:q}, [{to}]", low = in(vreg) v.0, high = in(vreg) v.1, to = in(reg) to,
            options(nostack, preserves_flags));
    }
}

/// The sum over the lanes of each of four vectors.
#[inline]
#[target_feature(enable = "neon")]
fn four_sums(a: Pair, b: Pair, c: Pair, d: Pair) -> float32x4_t {
    let (a, b) = (vaddq_f32(a.0, a.1), vaddq_f32(b.0, b.1));
    let (c, d) = (vaddq_f32(c.0, c.1), vaddq_f32(d.0, d.1));
    vpaddq_f32(vpaddq_f32(a, b), vpaddq_f32(c, d))
}

// SAFETY of every block below: `self` exists, so `detect` found the instructions; pointers are the caller's contract.
#[allow(clippy::undocumented_unsafe_blocks, reason = "one argument for all of them stands above")]
impl Machine for Neon {
    type V = Pair;

    const LANES: usize = 8;
    const MAX_INPUTS: usize = 4;

    #[inline]
    fn enter<W: Work>(self, work: W) -> W::Output {
        // NEON belongs to the baseline of the target: there is nothing to enable.
        work.run(self)
    }

    #[inline(always)]
    fn splat(self, x: f32) -> Self::V {
        unsafe { Pair(vdupq_n_f32(x), vdupq_n_f32(x)) }
    }

    #[inline(always)]
    unsafe fn load(self, from: *const f32) -> Self::V {
        unsafe { Pair(vld1q_f32(from), vld1q_f32(from.add(4))) }
    }

    #[inline(always)]
    unsafe fn store(self, to: *mut f32, v: Self::V) {
        unsafe {
            vst1q_f32(to, v.0);
            vst1q_f32(to.add(4), v.1);
        }
    }

    #[inline(always)]
    unsafe fn load_shared(self, from: *const f32) -> Self::V {
        unsafe { load_relaxed(from) }
    }

    #[inline(always)]
    unsafe fn store_shared(self, to: *mut f32, v: Self::V) {
        unsafe { store_relaxed(to, v) }
    }

    #[inline(always)]
    fn prefetch(self, at: *const f32) {
        // SAFETY: a hint; it reads nothing that the program can see.
        unsafe { asm!("prfm pldl1keep, [{at}]", at = in(reg) at, options(nostack, preserves_flags, readonly)) }
    }

    #[inline(always)]
    fn add(self, a: Self::V, b: Self::V) -> Self::V {
        unsafe { Pair(vaddq_f32(a.0, b.0), vaddq_f32(a.1, b.1)) }
    }

    #[inline(always)]
    fn mul(self, a: Self::V, b: Self::V) -> Self::V {
        unsafe { Pair(vmulq_f32(a.0, b.0), vmulq_f32(a.1, b.1)) }
    }

    #[inline(always)]
    fn fma(self, a: Self::V, b: Self::V, c: Self::V) -> Self::V {
        unsafe { Pair(vfmaq_f32(c.0, a.0, b.0), vfmaq_f32(c.1, a.1, b.1)) }
    }

    #[inline(always)]
    fn reciprocal(self, a: Self::V) -> Self::V {
        unsafe { Pair(vdivq_f32(vdupq_n_f32(1.0), a.0), vdivq_f32(vdupq_n_f32(1.0), a.1)) }
    }

    #[inline(always)]
    fn clamp(self, v: Self::V, low: f32, high: f32) -> Self::V {
        // These instructions give not-a-number when either operand is none.
        unsafe {
            let (low, high) = (vdupq_n_f32(low), vdupq_n_f32(high));
            Pair(vmaxq_f32(low, vminq_f32(high, v.0)), vmaxq_f32(low, vminq_f32(high, v.1)))
        }
    }

    #[inline(always)]
    fn round(self, v: Self::V) -> Self::V {
        unsafe { Pair(vrndnq_f32(v.0), vrndnq_f32(v.1)) }
    }

    #[inline(always)]
    fn scale(self, a: Self::V, n: Self::V) -> Self::V {
        unsafe {
            let bias = vdupq_n_s32(127);
            let low = vshlq_n_s32::<23>(vaddq_s32(vcvtq_s32_f32(n.0), bias));
            let high = vshlq_n_s32::<23>(vaddq_s32(vcvtq_s32_f32(n.1), bias));
            Pair(vmulq_f32(a.0, vreinterpretq_f32_s32(low)), vmulq_f32(a.1, vreinterpretq_f32_s32(high)))
        }
    }

    #[inline(always)]
    fn split(self, v: Self::V) -> (Self::V, Self::V) {
        unsafe {
            let (e_low, m_low) = split(v.0);
            let (e_high, m_high) = split(v.1);
            (Pair(e_low, e_high), Pair(m_low, m_high))
        }
    }

    #[inline(always)]
    fn flip(self, v: Self::V, mask: u32) -> Self::V {
        unsafe {
            let mask = vdupq_n_u32(mask);
            // Bit i of the mask moved to the sign of lane i.
            let low = vshlq_u32(mask, vld1q_s32([31, 30, 29, 28].as_ptr()));
            let high = vshlq_u32(mask, vld1q_s32([27, 26, 25, 24].as_ptr()));
            let sign = vdupq_n_u32(1 << 31);
            let (low, high) = (vandq_u32(low, sign), vandq_u32(high, sign));
            Pair(
                vreinterpretq_f32_u32(veorq_u32(vreinterpretq_u32_f32(v.0), low)),
                vreinterpretq_f32_u32(veorq_u32(vreinterpretq_u32_f32(v.1), high)),
            )
        }
    }

    #[inline(always)]
    fn sum(self, v: Self::V) -> f32 {
        unsafe { vaddvq_f32(vaddq_f32(v.0, v.1)) }
    }

    #[inline(always)]
    fn sums(self, vectors: &[Self::V; 16], n: usize) -> Self::V {
        unsafe {
            let zero = self.splat(0.0);
            let mut v = [zero; 8];
            for i in 0..8 {
                if i < n {
                    v[i] = vectors[i];
                }
            }
            let high = if n > 4 { four_sums(v[4], v[5], v[6], v[7]) } else { zero.1 };
            Pair(four_sums(v[0], v[1], v[2], v[3]), high)
        }
    }
}

/// Exponent and mantissa of four normal positive numbers.
#[inline]
#[target_feature(enable = "neon")]
fn split(v: float32x4_t) -> (float32x4_t, float32x4_t) {
    let bits = vreinterpretq_u32_f32(v);
    let exponent = vsubq_s32(vreinterpretq_s32_u32(vshrq_n_u32::<23>(bits)), vdupq_n_s32(127));
    let fraction = vandq_u32(bits, vdupq_n_u32(0x007f_ffff));
    let mantissa = vreinterpretq_f32_u32(vorrq_u32(fraction, vdupq_n_u32(0x3f80_0000)));
    // Only not-a-number differs from itself.
    (vcvtq_f32_s32(exponent), vbslq_f32(vceqq_f32(v, v), mantissa, v))
}
