//! Ids and tree → two matrices.
//!
//! An epoch reads the [`IdStream`](crate::tokens::IdStream) once. `shards` cuts it into pieces for the workers and
//! takes the held-out segments out; a worker thins each segment (`subsample`), lets a window slide over it
//! (`skip_gram`, `cbow`), and makes one step per center against its classifiers, which is `math::block`: those on its
//! path in the tree, or its own and those of tokens drawn at random (`negative_sampling`). `train` drives the epochs.

mod cbow;
mod config;
mod negative_sampling;
mod sentence;
mod shards;
mod skip_gram;
mod subsample;
mod train;

pub use config::{Architecture, CbowGradient, Loss, TrainConfig};
pub use train::{REPLICATED_NODES, TOKENS_PER_MERGE, Trained, train};
