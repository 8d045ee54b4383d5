//! x86-64 with AVX2 and FMA: eight numbers at a time, 16 registers.

use std::arch::asm;
use std::arch::x86_64::*;

use crate::math::machine::{Machine, Work};

/// AVX2 and FMA, known to be here: [`detect`](Avx2::detect) is the only way to get one.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Avx2(());

impl Avx2 {
    pub(crate) fn detect() -> Option<Avx2> {
        let here = is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma");
        // Miri knows neither all of these intrinsics nor assembly.
        (here && !cfg!(miri)).then_some(Avx2(()))
    }
}

#[target_feature(enable = "avx2,fma")]
fn enter<W: Work>(machine: Avx2, work: W) -> W::Output {
    work.run(machine)
}

// Eight relaxed atomic accesses in one instruction each; the argument stands in avx512.rs.

#[inline]
#[target_feature(enable = "avx2")]
unsafe fn load_relaxed(from: *const f32) -> __m256 {
    let v;
    // SAFETY: reads 32 bytes that the caller vouches for; touches nothing else.
    unsafe {
        asm!("vmovups {v}, [{from}]", v = lateout(ymm_reg) v, from = in(reg) from,
            options(nostack, preserves_flags, pure, readonly));
    }
    v
}

#[inline]
#[target_feature(enable = "avx2")]
unsafe fn store_relaxed(to: *mut f32, v: __m256) {
    // SAFETY: writes 32 bytes that the caller vouches for; touches nothing else.
    unsafe {
        asm!("vmovups [{to}], {v}", to = in(reg) to, v = in(ymm_reg) v, options(nostack, preserves_flags));
    }
}

// SAFETY of every block below: `self` exists, so `detect` found the instructions; pointers are the caller's contract.
#[allow(clippy::undocumented_unsafe_blocks, reason = "one argument for all of them stands above")]
impl Machine for Avx2 {
    type V = __m256;

    const LANES: usize = 8;
    const MAX_INPUTS: usize = 4;

    #[inline]
    fn enter<W: Work>(self, work: W) -> W::Output {
        unsafe { enter(self, work) }
    }

    #[inline(always)]
    fn splat(self, x: f32) -> Self::V {
        unsafe { _mm256_set1_ps(x) }
    }

    #[inline(always)]
    unsafe fn load(self, from: *const f32) -> Self::V {
        unsafe { _mm256_loadu_ps(from) }
    }

    #[inline(always)]
    unsafe fn store(self, to: *mut f32, v: Self::V) {
        unsafe { _mm256_storeu_ps(to, v) }
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
        unsafe { _mm256_add_ps(a, b) }
    }

    #[inline(always)]
    fn mul(self, a: Self::V, b: Self::V) -> Self::V {
        unsafe { _mm256_mul_ps(a, b) }
    }

    #[inline(always)]
    fn fma(self, a: Self::V, b: Self::V, c: Self::V) -> Self::V {
        unsafe { _mm256_fmadd_ps(a, b, c) }
    }

    #[inline(always)]
    fn reciprocal(self, a: Self::V) -> Self::V {
        unsafe { _mm256_div_ps(_mm256_set1_ps(1.0), a) }
    }

    #[inline(always)]
    fn clamp(self, v: Self::V, low: f32, high: f32) -> Self::V {
        // These instructions return their second operand when either is not a number: `v` stands there.
        unsafe { _mm256_max_ps(_mm256_set1_ps(low), _mm256_min_ps(_mm256_set1_ps(high), v)) }
    }

    #[inline(always)]
    fn round(self, v: Self::V) -> Self::V {
        unsafe { _mm256_round_ps::<{ _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC }>(v) }
    }

    #[inline(always)]
    fn scale(self, a: Self::V, n: Self::V) -> Self::V {
        unsafe {
            let biased = _mm256_add_epi32(_mm256_cvtps_epi32(n), _mm256_set1_epi32(127));
            _mm256_mul_ps(a, _mm256_castsi256_ps(_mm256_slli_epi32::<23>(biased)))
        }
    }

    #[inline(always)]
    fn split(self, v: Self::V) -> (Self::V, Self::V) {
        unsafe {
            let bits = _mm256_castps_si256(v);
            let exponent = _mm256_sub_epi32(_mm256_srli_epi32::<23>(bits), _mm256_set1_epi32(127));
            let fraction = _mm256_and_si256(bits, _mm256_set1_epi32(0x007f_ffff));
            let mantissa = _mm256_castsi256_ps(_mm256_or_si256(fraction, _mm256_set1_epi32(0x3f80_0000)));
            let is_nan = _mm256_cmp_ps::<_CMP_UNORD_Q>(v, v);
            (_mm256_cvtepi32_ps(exponent), _mm256_blendv_ps(mantissa, v, is_nan))
        }
    }

    #[inline(always)]
    fn flip(self, v: Self::V, mask: u32) -> Self::V {
        unsafe {
            let lane_bits = _mm256_setr_epi32(1, 2, 4, 8, 16, 32, 64, 128);
            let set = _mm256_cmpeq_epi32(_mm256_and_si256(_mm256_set1_epi32(mask as i32), lane_bits), lane_bits);
            _mm256_xor_ps(v, _mm256_and_ps(_mm256_castsi256_ps(set), _mm256_set1_ps(-0.0)))
        }
    }

    #[inline(always)]
    fn sum(self, v: Self::V) -> f32 {
        unsafe {
            let half = _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps::<1>(v));
            let pair = _mm_add_ps(half, _mm_movehl_ps(half, half));
            _mm_cvtss_f32(_mm_add_ss(pair, _mm_movehdup_ps(pair)))
        }
    }

    #[inline(always)]
    fn sums(self, vectors: &[Self::V; 16], n: usize) -> Self::V {
        unsafe {
            let zero = _mm256_setzero_ps();
            let mut quads = [zero; 2];
            for i in 0..2 {
                if i * 4 < n {
                    let mut v = [zero; 4];
                    for j in 0..4 {
                        if i * 4 + j < n {
                            v[j] = vectors[i * 4 + j];
                        }
                    }
                    quads[i] = _mm256_hadd_ps(_mm256_hadd_ps(v[0], v[1]), _mm256_hadd_ps(v[2], v[3]));
                }
            }
            let [a, b] = quads;
            _mm256_add_ps(_mm256_permute2f128_ps::<0x20>(a, b), _mm256_permute2f128_ps::<0x31>(a, b))
        }
    }
}
