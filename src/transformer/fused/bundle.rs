//! More than three tensors into one operation.
//!
//! candle's own operations take at most three. A bundle joins two parameters into a handle, one number without meaning,
//! that stands for them in the graph: the operation reads the parameters itself, and its backward pass leaves their
//! gradients in the bundle, which hands them on when candle comes to the handle.

use std::sync::{Arc, Mutex};

use candle_core::{CpuStorage, CustomOp2, Error, Layout, Result, Shape, Tensor};

use super::slices::result;

/// A weight and its bias.
pub(super) struct Bundle {
    pub(super) weight: Tensor,
    pub(super) bias: Tensor,
    gradients: Arc<Mutex<Option<(Tensor, Tensor)>>>,
}

impl Bundle {
    /// The bundle and the handle that stands for it in the graph.
    pub(super) fn new(weight: &Tensor, bias: &Tensor) -> Result<(Bundle, Tensor)> {
        let (weight, bias) = (weight.contiguous()?, bias.contiguous()?);
        let gradients = Arc::new(Mutex::new(None));
        let handle = weight.apply_op2(&bias, Handle { gradients: gradients.clone() })?;
        Ok((Bundle { weight, bias, gradients }, handle))
    }

    /// Leaves the gradients to be handed on; returns what candle is told the handle's gradient is.
    pub(super) fn leave(&self, of_weight: Vec<f32>, of_bias: Vec<f32>) -> Result<Option<Tensor>> {
        let device = self.weight.device();
        let of_weight = Tensor::from_vec(of_weight, self.weight.shape(), device)?;
        let of_bias = Tensor::from_vec(of_bias, self.bias.shape(), device)?;
        *self.gradients.lock().map_err(|_| poisoned())? = Some((of_weight, of_bias));
        Ok(Some(Tensor::from_vec(vec![0f32], 1, device)?))
    }
}

struct Handle {
    gradients: Arc<Mutex<Option<(Tensor, Tensor)>>>,
}

fn poisoned() -> Error {
    Error::Msg("an operation panicked before".into())
}

impl CustomOp2 for Handle {
    fn name(&self) -> &'static str {
        "weight and bias"
    }

    fn cpu_fwd(&self, _: &CpuStorage, _: &Layout, _: &CpuStorage, _: &Layout) -> Result<(CpuStorage, Shape)> {
        result(vec![0.0], 1)
    }

    fn bwd(&self, _: &Tensor, _: &Tensor, _: &Tensor, _: &Tensor) -> Result<(Option<Tensor>, Option<Tensor>)> {
        match self.gradients.lock().map_err(|_| poisoned())?.take() {
            Some((of_weight, of_bias)) => Ok((Some(of_weight), Some(of_bias))),
            None => Err(Error::Msg("a handle's operation left no gradients".into())),
        }
    }
}
