//! A small transformer that starts from the vectors; on candle, never our own autograd.
//!
//! [`TransformerConfig`] says what it is, [`Parameters`] hold what it learns, and a [`Transformer`] is the layers over them:
//! `position`, `attention`, `feed_forward`, `block`, one idea each. [`fused`] holds the operations that candle lacks, each
//! with its gradient; [`optimizer`] takes the steps, at the rates of [`schedule`].

mod attention;
mod bert;
mod block;
mod cache;
mod checkpoint;
mod config;
mod feed_forward;
pub mod fused;
mod gpt2;
mod layout;
mod linear;
mod marian;
mod model;
pub mod optimizer;
mod parameters;
mod pass;
mod position;
pub mod schedule;

pub use cache::{Cache, Memory};
pub use checkpoint::{Checkpoint, Extra};
pub use config::{Estimate, Norm, OutputLayer, Positions, Shape, TransformerConfig};
pub use fused::{Activation, AttentionKind};
pub use layout::Layout;
pub use model::{Encoded, Transformer};
pub use parameters::Parameters;
pub use pass::Pass;
