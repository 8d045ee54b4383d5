//! A small transformer that starts from the vectors; on candle, never our own autograd.
//!
//! [`fused`] holds the operations that candle lacks, each with its gradient; [`optimizer`] takes the steps, at the rates
//! of [`schedule`].

mod batches;
mod beam;
mod config;
pub mod fused;
pub mod optimizer;
mod parameters;
mod plant;
mod sample;
pub mod schedule;

pub use batches::{
    Batch, Examples, MaskMarks, MaskedExamples, NOT_ASKED, Order, PaddedIds, PairExamples, PairMarks, Pairs, TextExamples,
};
pub use beam::{BeamConfig, Continued, Hypothesis, beam_search};
pub use config::{Estimate, Norm, OutputLayer, Positions, Shape, TransformerConfig};
pub use parameters::Parameters;
pub use plant::{Planted, plant};
pub use sample::{Sampling, distribution, draw};
