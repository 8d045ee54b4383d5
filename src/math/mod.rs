//! Numbers only; knows nothing of words.
//!
//! [`Matrix`] holds rows. `machine` makes the processor a type, so that `block` (the training step), `logistic` and
//! `rows` and `product` (products with many rows) are written once and compiled for each of `plain`, `avx2`, `avx512` and
//! `neon`. `gemm`, `bend`, `norm_rows`, `softmax`, `tree_rows` and `adam` are what the transformer's operations are made of,
//! over `lanes`, slices of any length. `shared` lends a matrix to many workers, `replica` gives each its own copy of the
//! busiest rows. `byte_masks` looks at 64 bytes of text at once; `prefetch` and `zeroed` serve the tokenizer's tables.

#![allow(clippy::needless_range_loop, reason = "the indices of small arrays are names of registers")]

#[cfg(feature = "transformer")]
mod adam;
#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
#[cfg(feature = "transformer")]
mod bend;
mod block;
mod byte_masks;
mod direction;
#[cfg(feature = "transformer")]
mod gemm;
#[cfg(feature = "transformer")]
mod lanes;
mod logistic;
mod machine;
mod matrix;
#[doc(hidden)]
pub mod measure;
#[cfg(target_arch = "aarch64")]
mod neon;
#[cfg(feature = "transformer")]
mod norm_rows;
mod plain;
mod prefetch;
mod product;
mod replica;
mod rows;
mod shared;
#[cfg(feature = "transformer")]
mod softmax;
#[cfg(feature = "transformer")]
mod tree_rows;
mod zeroed;

#[cfg(feature = "transformer")]
pub(crate) use adam::{AdamStep, adam_step, sum_of_squares};
#[cfg(feature = "transformer")]
pub(crate) use bend::{Bend, bend, bend_back};
pub(crate) use block::{Classifiers, Inputs, LogisticBlock, Step};
pub(crate) use byte_masks::{ByteClassifier, ByteMasks};
pub use direction::{is_direction, norm, unit};
#[cfg(feature = "transformer")]
pub(crate) use gemm::{Before, View, ViewMut, multiply};
pub use machine::cpu;
pub(crate) use machine::{Machine, Work, run};
pub use matrix::Matrix;
#[cfg(feature = "transformer")]
pub(crate) use norm_rows::{norm_rows, norm_rows_back};
pub(crate) use prefetch::prefetch;
pub use product::row_products;
pub(crate) use replica::Replica;
pub use rows::{dot, row_dots};
pub(crate) use shared::SharedMatrix;
#[cfg(feature = "transformer")]
pub(crate) use softmax::{add, exp_and_sum, largest, scale, softmax_back};
#[cfg(feature = "transformer")]
pub(crate) use tree_rows::{Path, add_scaled, follow};
pub(crate) use zeroed::Zeroed;
