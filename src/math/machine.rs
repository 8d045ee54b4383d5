//! The processor as a type: vectors of numbers, and the choice of the widest at run time.
//!
//! An algorithm is written once over [`Machine`] and compiled for each of them. A value of a machine's type exists
//! only where its instructions do, so owning one is the proof that they may be used. The choice is made once around a
//! whole piece of work ([`run`]), never around one instruction.

use std::sync::OnceLock;

use crate::error::{Error, Result};
use crate::math::plain::Plain;

/// A processor with vectors of [`LANES`](Machine::LANES) numbers.
///
/// Methods are `inline(always)` so that they are compiled inside the function that enables the machine's instructions.
pub(crate) trait Machine: Copy + Send + Sync {
    /// A vector of `LANES` numbers.
    type V: Copy;

    /// Numbers in a vector: a power of two, at most 16, so that a padded row is a whole number of vectors.
    const LANES: usize;

    /// The most inputs that a block of products takes at once: they and their products must fit the registers.
    const MAX_INPUTS: usize;

    /// Calls `work` with this machine's instructions enabled.
    fn enter<W: Work>(self, work: W) -> W::Output;

    /// All lanes `x`.
    fn splat(self, x: f32) -> Self::V;

    /// `LANES` numbers at `from`.
    ///
    /// # Safety
    /// `from` is valid for reading `LANES` numbers that no other thread writes.
    unsafe fn load(self, from: *const f32) -> Self::V;

    /// Writes `LANES` numbers to `to`.
    ///
    /// # Safety
    /// `to` is valid for writing `LANES` numbers that no other thread touches.
    unsafe fn store(self, to: *mut f32, v: Self::V);

    /// `LANES` numbers at `from`, each read by a relaxed atomic load.
    ///
    /// # Safety
    /// `from` is valid for reading `LANES` numbers and aligned to them; other threads access them atomically only.
    unsafe fn load_shared(self, from: *const f32) -> Self::V;

    /// Writes `LANES` numbers to `to`, each by a relaxed atomic store.
    ///
    /// # Safety
    /// `to` is valid for writing `LANES` numbers and aligned to them; other threads access them atomically only.
    unsafe fn store_shared(self, to: *mut f32, v: Self::V);

    /// Asks for the cache line at `at`; any address will do.
    fn prefetch(self, at: *const f32);

    /// a + b.
    fn add(self, a: Self::V, b: Self::V) -> Self::V;
    /// a · b.
    fn mul(self, a: Self::V, b: Self::V) -> Self::V;
    /// a · b + c, rounded once where the machine can.
    fn fma(self, a: Self::V, b: Self::V, c: Self::V) -> Self::V;
    /// 1 / a, exactly rounded or within two units in the last place.
    fn reciprocal(self, a: Self::V) -> Self::V;
    /// `v` held within `low..=high`; not-a-number stays.
    fn clamp(self, v: Self::V, low: f32, high: f32) -> Self::V;
    /// The nearest whole number.
    fn round(self, v: Self::V) -> Self::V;
    /// a · 2ⁿ for whole n within ±126.
    fn scale(self, a: Self::V, n: Self::V) -> Self::V;
    /// Splits normal positive numbers into exponent and mantissa: v = m · 2ᵉ, 1 ≤ m < 2; returns (e, m). The mantissa
    /// of not-a-number is not-a-number.
    fn split(self, v: Self::V) -> (Self::V, Self::V);
    /// `v` with the sign turned in the lanes whose bit is set in `mask`.
    fn flip(self, v: Self::V, mask: u32) -> Self::V;
    /// The sum over the lanes.
    fn sum(self, v: Self::V) -> f32;
    /// Lane i is the sum over the lanes of `vectors[i]` for i below `n`; the other lanes are exactly 0. `n` is at most
    /// `LANES`, and a constant where speed matters.
    fn sums(self, vectors: &[Self::V; 16], n: usize) -> Self::V;
}

/// Something to be done with whatever machine is here.
pub(crate) trait Work {
    /// What comes out.
    type Output;

    /// Does it. Must be `inline(always)`, so that it is compiled with the machine's instructions.
    fn run<M: Machine>(self, machine: M) -> Self::Output;
}

/// A machine that was found on this computer.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Detected {
    Plain(Plain),
    #[cfg(target_arch = "x86_64")]
    Avx2(crate::math::avx2::Avx2),
    #[cfg(target_arch = "x86_64")]
    Avx512(crate::math::avx512::Avx512),
    #[cfg(target_arch = "aarch64")]
    Neon(crate::math::neon::Neon),
}

impl Detected {
    /// All that this computer has, the plain one first, the widest last.
    pub(crate) fn all() -> Vec<Detected> {
        let mut all = vec![Detected::Plain(Plain)];
        #[cfg(target_arch = "x86_64")]
        all.extend(crate::math::avx2::Avx2::detect().map(Detected::Avx2));
        #[cfg(target_arch = "x86_64")]
        all.extend(crate::math::avx512::Avx512::detect().map(Detected::Avx512));
        #[cfg(target_arch = "aarch64")]
        all.extend(crate::math::neon::Neon::detect().map(Detected::Neon));
        all
    }

    /// Its name, as `WORDGROVE_CPU` spells it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Detected::Plain(_) => "plain",
            #[cfg(target_arch = "x86_64")]
            Detected::Avx2(_) => "avx2",
            #[cfg(target_arch = "x86_64")]
            Detected::Avx512(_) => "avx512",
            #[cfg(target_arch = "aarch64")]
            Detected::Neon(_) => "neon",
        }
    }

    /// Does the work on this machine.
    pub(crate) fn run<W: Work>(self, work: W) -> W::Output {
        match self {
            Detected::Plain(machine) => machine.enter(work),
            #[cfg(target_arch = "x86_64")]
            Detected::Avx2(machine) => machine.enter(work),
            #[cfg(target_arch = "x86_64")]
            Detected::Avx512(machine) => machine.enter(work),
            #[cfg(target_arch = "aarch64")]
            Detected::Neon(machine) => machine.enter(work),
        }
    }
}

/// The widest machine of this computer, or the one that the environment variable `WORDGROVE_CPU` names.
pub(super) fn chosen() -> std::result::Result<Detected, &'static str> {
    static CHOSEN: OnceLock<std::result::Result<Detected, String>> = OnceLock::new();
    CHOSEN
        .get_or_init(|| {
            let all = Detected::all();
            let widest = all[all.len() - 1];
            match std::env::var("WORDGROVE_CPU") {
                Err(_) => Ok(widest),
                Ok(asked) if asked.is_empty() => Ok(widest),
                Ok(asked) => all.iter().copied().find(|machine| machine.name() == asked).ok_or_else(|| {
                    let names: Vec<&str> = all.iter().map(|machine| machine.name()).collect();
                    format!("WORDGROVE_CPU is '{asked}', this computer has {}", names.join(", "))
                }),
            }
        })
        .as_ref()
        .copied()
        .map_err(String::as_str)
}

/// Does the work on the chosen machine; on the widest when the choice is not to be had (see [`cpu`]).
#[inline]
pub(crate) fn run<W: Work>(work: W) -> W::Output {
    chosen().unwrap_or_else(|_| *Detected::all().last().unwrap_or(&Detected::Plain(Plain))).run(work)
}

/// The name of the machine that the kernels run on: `plain`, `avx2`, `avx512` or `neon`.
///
/// # Errors
/// [`Error::Config`] when `WORDGROVE_CPU` names one that this computer does not have. A program asks once at its start.
pub fn cpu() -> Result<&'static str> {
    chosen().map(Detected::name).map_err(|reason| Error::config("WORDGROVE_CPU", reason))
}
