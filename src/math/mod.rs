//! Numbers only; knows nothing of words.

mod direction;
mod kernels;
mod matrix;
mod product;

pub use direction::{is_direction, norm, unit};
pub use kernels::{dot, row_dots};
pub use matrix::Matrix;
pub use product::row_products;
