//! Operations that candle lacks, or has without a gradient: each one here has both, and is one node of the graph.
//!
//! candle's own fused operations record no graph: no error, the loss still falls, and nothing below them learns.
//! Composed of single operations a training step is four times slower than it need be, most of it in reading and
//! writing large intermediate results. So every operation here is a function with two ways to the same answer:
//!
//! - **the composite**, made of differentiable candle operations: the definition, right for every number type and
//!   device, and what the tests hold the other to;
//! - **the fused one**, for contiguous `f32` on the CPU: one pass forward, one pass backward.
//!
//! Where the time goes, in a training step of 8 · 128 tokens (4 layers, C 256, V 8192), on one thread with AVX-512:
//! three quarters in products of matrices, at near what the processor can do; 6 % in candle's additions of gradients, which
//! is why whole parts are one operation; 6 % in zeroing memory and taking it from the system, which it need not do again
//! now that memory stays with the process. On two threads one of them zeros and adds alone, an eighth of the time. See
//! [`settle_environment`](super::settle_environment) for threads and memory.
//!
//! Shape comments: B batch, T time, C channels (the width of the model), H heads, D = C / H, V tokens, N = B · T rows.

mod activation;
mod attention;
mod attention_tiles;
mod bundle;
mod dropout;
mod embedding;
mod feed_forward;
#[cfg(test)]
mod golden;
#[cfg(test)]
mod gradient_check;
mod layer_norm;
mod linear;
mod rotary;
mod slices;
mod softmax_loss;
mod tree_loss;

pub use activation::{Activation, activate};
pub use attention::{AttentionKind, Mask, Reach, attention, self_attention};
pub use dropout::{Dropout, dropout};
pub use embedding::embedding;
pub use feed_forward::feed_forward;
pub use layer_norm::layer_norm;
pub use linear::linear;
pub use rotary::rotary;
pub(crate) use softmax_loss::LOGIT_ROWS;
pub use softmax_loss::softmax_loss;
pub use tree_loss::{tree_log_probabilities, tree_loss};
