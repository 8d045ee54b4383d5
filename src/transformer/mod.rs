//! A small transformer that starts from the vectors; on candle, never our own autograd.
//!
//! [`fused`] holds the operations that candle lacks, each with its gradient; [`optimizer`] takes the steps, at the rates
//! of [`schedule`].

pub mod fused;
pub mod optimizer;
pub mod schedule;
mod threads;

pub use threads::leave_threads_to_rayon;
