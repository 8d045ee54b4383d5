//! wordgrove.

pub mod error;
pub mod files;
pub mod math;
pub mod progress;
pub mod text;
pub mod tokens;
pub mod vectors;

pub use error::{Error, Result};
pub use progress::{EpochReport, Event, Progress, Silent, TrainingStatus};
pub use tokens::{TokenId, Tokenizer};
