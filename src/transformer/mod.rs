//! A small transformer that starts from the vectors; on candle, never our own autograd.
//!
//! [`TransformerConfig`] says what it is, [`Parameters`] hold what it learns, and a [`Transformer`] is the layers over them:
//! `position`, `attention`, `feed_forward`, `block`, one idea each. [`fused`] holds the operations that candle lacks, each
//! with its gradient; [`optimizer`] takes the steps, at the rates of [`schedule`].
//!
//! [`plant()`] starts it from word vectors. [`fit()`] trains it on the batches that [`Examples`] gives. Then it goes on with a
//! text ([`generate()`]), translates one ([`translate()`], by [`beam_search`]), or turns sentences into vectors ([`embed()`]);
//! and [`look`] shows every matrix on the way.

mod attention;
mod batches;
mod beam;
mod bert;
mod block;
mod cache;
mod checkpoint;
mod claim;
mod config;
mod embed;
mod environment;
mod feed_forward;
mod fit;
pub mod fused;
mod generate;
mod gpt2;
mod layout;
mod linear;
pub mod look;
mod marian;
mod marks;
mod model;
pub mod optimizer;
mod parameters;
mod pass;
mod plant;
mod position;
mod run;
mod sample;
pub mod schedule;
mod translate;

pub use batches::{
    Batch, Examples, MaskMarks, MaskedExamples, NOT_ASKED, Order, PaddedIds, PairExamples, PairMarks, Pairs,
    TextExamples,
};
pub use beam::{BeamConfig, Continued, Hypothesis, beam_search};
pub use cache::{Cache, Memory};
pub use checkpoint::{Checkpoint, Extra};
pub use claim::Claim;
pub use config::{Estimate, Norm, OutputLayer, Positions, Shape, TransformerConfig};
pub use embed::embed;
pub use environment::settle_environment;
pub use fit::{FitConfig, batch_loss, fit, mean_loss};
pub use fused::{Activation, AttentionKind};
pub use generate::{GenerateConfig, StopWords, generate, score_stream};
pub use layout::Layout;
pub use marks::{add_marks, is_text, line_end, line_ids, text_ids};
pub use model::{Encoded, Transformer};
pub use parameters::Parameters;
pub use pass::Pass;
pub use plant::{Planted, plant};
pub use run::{OpenedRun, Run, RunState};
pub use sample::{Sampling, distribution, draw};
pub use translate::{TranslateConfig, translate};
