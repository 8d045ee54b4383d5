//! x86-64 with AVX-512: sixteen numbers at a time, 32 registers.

use std::arch::asm;
use std::arch::x86_64::*;

use crate::math::machine::{Machine, Work};

/// AVX-512 F, BW, DQ, VL and FMA, known to be here: [`detect`](Avx512::detect) is the only way to get one.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Avx512(());

impl Avx512 {
    pub(crate) fn detect() -> Option<Avx512> {
        let here = is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512bw")
            && is_x86_feature_detected!("avx512dq")
            && is_x86_feature_detected!("avx512vl")
            && is_x86_feature_detected!("fma");
        // Miri knows neither most of these intrinsics nor assembly.
        (here && !cfg!(miri)).then_some(Avx512(()))
    }
}

#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,fma")]
fn enter<W: Work>(machine: Avx512, work: W) -> W::Output {
    work.run(machine)
}

// The language has no vector-wide relaxed atomic access, and the compiler does not join relaxed scalar ones. These two
// are sixteen relaxed accesses in one instruction: the processor moves each aligned 32-bit lane as a whole, and to the
// compiler an assembly block is an access that it knows nothing more about. Lanes may come from different moments,
// which is what relaxed order allows.

#[inline]
#[target_feature(enable = "avx512f")]
unsafe fn load_relaxed(from: *const f32) -> __m512 {
    let v;
    // SAFETY: reads 64 bytes that the caller vouches for; touches nothing else.
    unsafe {
        asm!("vmovups {v}, [{from}]", v = lateout(zmm_reg) v, from = in(reg) from,
            options(nostack, preserves_flags, pure, readonly));
    }
    v
}

#[inline]
#[target_feature(enable = "avx512f")]
unsafe fn store_relaxed(to: *mut f32, v: __m512) {
    // SAFETY: writes 64 bytes that the caller vouches for; touches nothing else.
    unsafe {
        asm!("vmovups [{to}], {v}", to = in(reg) to, v = in(zmm_reg) v, options(nostack, preserves_flags));
    }
}

// Three ways to add two vectors that are each to be summed up, so that both sums go on side by side in one.

/// Halves of `a` added to each other in the low half, those of `b` in the high half.
#[inline]
#[target_feature(enable = "avx512f")]
fn fold_halves(a: __m512, b: __m512) -> __m512 {
    _mm512_add_ps(_mm512_shuffle_f32x4::<0b01_00_01_00>(a, b), _mm512_shuffle_f32x4::<0b11_10_11_10>(a, b))
}

/// Neighbouring quarters added to each other: two sums of `a` in the low half, two of `b` in the high half.
#[inline]
#[target_feature(enable = "avx512f")]
fn fold_quarters(a: __m512, b: __m512) -> __m512 {
    _mm512_add_ps(_mm512_shuffle_f32x4::<0b10_00_10_00>(a, b), _mm512_shuffle_f32x4::<0b11_01_11_01>(a, b))
}

/// Neighbouring lanes added to each other within each quarter: two sums of `a`, then two of `b`.
#[inline]
#[target_feature(enable = "avx512f")]
fn fold_lanes(a: __m512, b: __m512) -> __m512 {
    _mm512_add_ps(_mm512_shuffle_ps::<0b10_00_10_00>(a, b), _mm512_shuffle_ps::<0b11_01_11_01>(a, b))
}

// SAFETY of every block below: `self` exists, so `detect` found the instructions; pointers are the caller's contract.
#[allow(clippy::undocumented_unsafe_blocks, reason = "one argument for all of them stands above")]
impl Machine for Avx512 {
    type V = __m512;

    const LANES: usize = 16;
    const MAX_INPUTS: usize = 6;

    #[inline]
    fn enter<W: Work>(self, work: W) -> W::Output {
        unsafe { enter(self, work) }
    }

    #[inline(always)]
    fn splat(self, x: f32) -> Self::V {
        unsafe { _mm512_set1_ps(x) }
    }

    #[inline(always)]
    unsafe fn load(self, from: *const f32) -> Self::V {
        unsafe { _mm512_loadu_ps(from) }
    }

    #[inline(always)]
    unsafe fn store(self, to: *mut f32, v: Self::V) {
        unsafe { _mm512_storeu_ps(to, v) }
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
        unsafe { _mm_prefetch::<_MM_HINT_T0>(at.cast()) }
    }

    #[inline(always)]
    fn add(self, a: Self::V, b: Self::V) -> Self::V {
        unsafe { _mm512_add_ps(a, b) }
    }

    #[inline(always)]
    fn mul(self, a: Self::V, b: Self::V) -> Self::V {
        unsafe { _mm512_mul_ps(a, b) }
    }

    #[inline(always)]
    fn fma(self, a: Self::V, b: Self::V, c: Self::V) -> Self::V {
        unsafe { _mm512_fmadd_ps(a, b, c) }
    }

    #[inline(always)]
    fn reciprocal(self, a: Self::V) -> Self::V {
        // An estimate of 14 bits and one step of Newton's: r(2 − ar).
        unsafe {
            let r = _mm512_rcp14_ps(a);
            _mm512_mul_ps(r, _mm512_fnmadd_ps(a, r, _mm512_set1_ps(2.0)))
        }
    }

    #[inline(always)]
    fn clamp(self, v: Self::V, low: f32, high: f32) -> Self::V {
        // These instructions return their second operand when either is not a number: `v` stands there.
        unsafe { _mm512_max_ps(_mm512_set1_ps(low), _mm512_min_ps(_mm512_set1_ps(high), v)) }
    }

    #[inline(always)]
    fn round(self, v: Self::V) -> Self::V {
        unsafe { _mm512_roundscale_ps::<{ _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC }>(v) }
    }

    #[inline(always)]
    fn scale(self, a: Self::V, n: Self::V) -> Self::V {
        unsafe { _mm512_scalef_ps(a, n) }
    }

    #[inline(always)]
    fn split(self, v: Self::V) -> (Self::V, Self::V) {
        unsafe { (_mm512_getexp_ps(v), _mm512_getmant_ps::<_MM_MANT_NORM_1_2, _MM_MANT_SIGN_SRC>(v)) }
    }

    #[inline(always)]
    fn flip(self, v: Self::V, mask: u32) -> Self::V {
        unsafe { _mm512_mask_xor_ps(v, mask as __mmask16, v, _mm512_set1_ps(-0.0)) }
    }

    #[inline(always)]
    fn sum(self, v: Self::V) -> f32 {
        unsafe { _mm512_reduce_add_ps(v) }
    }

    #[inline(always)]
    fn sums(self, vectors: &[Self::V; 16], n: usize) -> Self::V {
        // Adding pairs four times, instead of sixteen sums of four additions each. Quarter q of `quarters[i]` ends up
        // with four parts of vector 4q + i, so that the last two rounds leave its sum in lane 4q + i.
        unsafe {
            let zero = _mm512_setzero_ps();
            let mut quarters = [zero; 4];
            for i in 0..4 {
                let (mut low, mut high) = (zero, zero);
                if i < n {
                    low = fold_halves(vectors[i], if i + 4 < n { vectors[i + 4] } else { zero });
                }
                if i + 8 < n {
                    high = fold_halves(vectors[i + 8], if i + 12 < n { vectors[i + 12] } else { zero });
                }
                quarters[i] = fold_quarters(low, high);
            }
            fold_lanes(fold_lanes(quarters[0], quarters[1]), fold_lanes(quarters[2], quarters[3]))
        }
    }
}
