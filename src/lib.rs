#![doc = include_str!("../README.md")]
#![deny(unsafe_code)]

pub mod error;
#[allow(unsafe_code, reason = "one of the two homes of unsafe: mapping files")]
pub mod files;
pub mod huffman;
#[allow(unsafe_code, reason = "one of the two homes of unsafe: vector instructions and shared rows")]
pub mod math;
pub mod progress;
pub mod query;
pub mod text;
pub mod tokens;
pub mod training;
#[cfg(feature = "transformer")]
pub mod transformer;
pub mod vectors;

pub use error::{Error, Result};
pub use huffman::{HuffmanTree, TreePath};
pub use progress::{EpochReport, Event, FitReport, FitStatus, Measure, Progress, Silent, TrainingStatus};
pub use tokens::{IdStream, IdStreamBuilder, TokenId, Tokenizer};
pub use training::{
    Architecture, CbowGradient, Checkpoint, CheckpointFolder, Checkpoints, Loss, TrainConfig, TrainState, Trained,
    train, train_from,
};
