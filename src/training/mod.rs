//! Ids and tree → two matrices.
//!
//! An epoch reads the [`IdStream`](crate::tokens::IdStream) once. `shards` cuts it into pieces and takes the held-out
//! segments out. Each segment is thinned (`subsample`), a window slides over it (`skip_gram`, `cbow`), and makes one step
//! per center against its classifiers, which is `math::block`: those on its path in the tree, or its own and those of
//! tokens drawn at random (`negative_sampling`).
//!
//! `workers` take shard after shard and share the matrices; `lanes` do the same work so that it comes out alike for any
//! number of threads, each on the rows that it touches (`row_set`). `train` drives the epochs, and between two shards
//! keeps what is learned (`checkpoint`).

mod cbow;
mod checkpoint;
mod config;
mod lanes;
mod negative_sampling;
mod row_set;
mod sentence;
mod shards;
mod skip_gram;
mod subsample;
mod train;
mod wear;
mod workers;

pub use checkpoint::{Checkpoint, CheckpointFolder, Checkpoints};
pub use config::{Architecture, CbowGradient, Loss, TrainConfig};
pub use train::{TrainState, Trained, train, train_from};
pub use workers::{REPLICATED_NODES, TOKENS_PER_MERGE};
