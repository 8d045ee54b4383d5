//! Numbers only; knows nothing of words.

mod kernels;
mod matrix;

pub use kernels::{dot, row_dots};
pub use matrix::Matrix;
