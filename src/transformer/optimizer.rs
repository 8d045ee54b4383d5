//! AdamW: gradients → a step of every parameter, in place.
//!
//! Adam's moments are held here by parameter name, so that a run can be saved and taken up again; parameters that should
//! not shrink (biases, gains) are kept apart from those that do.

use std::collections::BTreeMap;
use std::sync::Mutex;

use candle_core::backprop::GradStore;
use candle_core::{CpuStorage, DType, Device, InplaceOp1, Layout, Storage, Tensor, Var};
use rayon::prelude::*;

use crate::error::{Error, Result};
use crate::math::{AdamStep, adam_step, sum_of_squares};

/// The settings of AdamW.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AdamWConfig {
    /// How much of the mean gradient stays from step to step, 0 up to 1; usually 0.9.
    pub beta1: f64,
    /// How much of the mean squared gradient stays, 0 up to 1; 0.999, or 0.95 for language models.
    pub beta2: f64,
    /// Keeps the division by the root of the mean square finite; usually 1e-8.
    pub epsilon: f64,
    /// A step shrinks the parameters that decay by rate · weight_decay; PyTorch's default is 0.01.
    pub weight_decay: f64,
    /// Gradients longer than this, all taken as one vector, are shortened to it; usually 1.
    pub clip_norm: Option<f64>,
}

impl Default for AdamWConfig {
    /// As PyTorch's AdamW, with gradients clipped at 1.
    fn default() -> AdamWConfig {
        AdamWConfig { beta1: 0.9, beta2: 0.999, epsilon: 1e-8, weight_decay: 0.01, clip_norm: Some(1.0) }
    }
}

impl AdamWConfig {
    /// Whether the numbers make sense.
    ///
    /// # Errors
    /// [`Error::Config`] with the allowed range.
    pub fn check(&self) -> Result<()> {
        let checks = [
            ("beta1", self.beta1, (0.0..1.0).contains(&self.beta1), "within 0 up to, but without, 1"),
            ("beta2", self.beta2, (0.0..1.0).contains(&self.beta2), "within 0 up to, but without, 1"),
            ("epsilon", self.epsilon, self.epsilon > 0.0 && self.epsilon.is_finite(), "above 0"),
            ("weight-decay", self.weight_decay, (0.0..=1.0).contains(&self.weight_decay), "within 0 and 1"),
            ("clip-norm", self.clip_norm.unwrap_or(1.0), self.clip_norm.is_none_or(|norm| norm > 0.0), "above 0"),
        ];
        match checks.into_iter().find(|(_, _, holds, _)| !holds) {
            Some((field, found, _, range)) => Err(Error::config(field, format!("{found} is not {range}"))),
            None => Ok(()),
        }
    }
}

/// Steps parameters down their gradients, each by its own scale.
///
/// # Source
/// Kingma & Ba 2015; Loshchilov & Hutter 2019 for the decay, which is apart from the gradient.
#[derive(Debug)]
pub struct AdamW {
    config: AdamWConfig,
    parameters: Vec<Parameter>,
}

#[derive(Debug)]
struct Parameter {
    name: String,
    var: Var,
    decays: bool,
    // How much of the rate it takes.
    share: f64,
    // Steps of this parameter, which may be fewer than of others when it was left alone.
    n_steps: u64,
    mean: Vec<f32>,
    square: Vec<f32>,
}

impl AdamW {
    /// Over contiguous `f32` parameters on the CPU; `decays` says by name which of them shrink.
    ///
    /// # Errors
    /// [`Error::Config`] when a setting or a parameter's type is not allowed.
    pub fn new(
        parameters: &BTreeMap<String, Var>,
        config: AdamWConfig,
        decays: impl Fn(&str, &Var) -> bool,
    ) -> Result<AdamW> {
        config.check()?;
        let parameter = |(name, var): (&String, &Var)| {
            if var.dtype() != DType::F32 || !var.device().is_cpu() || !var.is_contiguous() {
                return Err(Error::config("parameter", format!("{name} is not contiguous f32 on the CPU")));
            }
            let n = var.elem_count();
            let (name, decays) = (name.clone(), decays(name, var));
            let (mean, square) = (vec![0.0; n], vec![0.0; n]);
            Ok(Parameter { name, var: var.clone(), decays, share: 1.0, n_steps: 0, mean, square })
        };
        Ok(AdamW { config, parameters: parameters.iter().map(parameter).collect::<Result<_>>()? })
    }

    /// The usual rule for what decays: matrices do; biases, gains and other vectors do not.
    pub fn matrices_decay(_name: &str, var: &Var) -> bool {
        var.rank() >= 2
    }

    /// Sets how much of the rate each parameter takes, by name: 1 at first; less for one that is to warm up; 0 leaves it alone.
    ///
    /// What is left alone keeps its moments. Its gradient is not looked at, and need not be computed
    /// ([`Pass::without`](crate::transformer::Pass::without)).
    pub fn set_shares(&mut self, share: impl Fn(&str) -> f64) {
        for parameter in &mut self.parameters {
            parameter.share = share(&parameter.name);
        }
    }

    /// Takes one step with the given learning rate; returns the gradients' length before it was clipped.
    ///
    /// # Errors
    /// [`Error::Config`] when no gradient reaches a parameter that is not left alone, [`Error::Diverged`] when a gradient is
    /// not finite; nothing has moved then.
    pub fn step(&mut self, gradients: &GradStore, rate: f64) -> Result<f64> {
        let moving: Vec<&mut Parameter> =
            self.parameters.iter_mut().filter(|parameter| parameter.share > 0.0).collect();
        let mut with_gradients = Vec::with_capacity(moving.len());
        for parameter in moving {
            let Some(gradient) = gradients.get(parameter.var.as_tensor()) else {
                let reason = format!("no gradient reaches {}: leave it alone or use it", parameter.name);
                return Err(Error::config("parameter", reason));
            };
            if gradient.shape() != parameter.var.shape() {
                let (name, found) = (&parameter.name, gradient.shape());
                let reason = format!("{name} is {:?}, its gradient {found:?}", parameter.var.shape());
                return Err(Error::config("parameter", reason));
            }
            with_gradients.push((parameter, gradient.contiguous()?));
        }
        let squares: Vec<f64> =
            with_gradients.par_iter().map(|(_, gradient)| read(gradient, sum_of_squares)).collect::<Result<_>>()?;
        let norm = squares.iter().sum::<f64>().sqrt();
        if !norm.is_finite() {
            let at = squares.iter().position(|square| !square.is_finite());
            let name = at.map_or("them all", |at| &with_gradients[at].0.name);
            return Err(Error::Diverged(format!("the gradient of {name} is not finite")));
        }
        // As PyTorch's clip_grad_norm_.
        let scale = self.config.clip_norm.map_or(1.0, |clip| (clip / (norm + 1e-6)).min(1.0));
        let config = self.config;
        with_gradients.into_par_iter().try_for_each(|(parameter, gradient)| {
            parameter.n_steps += 1;
            let rate = rate * parameter.share;
            let n_steps = parameter.n_steps.min(i32::MAX as u64) as i32;
            let (correction1, correction2) = (1.0 - config.beta1.powi(n_steps), 1.0 - config.beta2.powi(n_steps));
            let step = AdamStep {
                gradient_scale: scale as f32,
                beta1: config.beta1 as f32,
                beta2: config.beta2 as f32,
                epsilon: config.epsilon as f32,
                keep: if parameter.decays { (1.0 - rate * config.weight_decay) as f32 } else { 1.0 },
                rate: (rate / correction1) as f32,
                root_scale: (1.0 / correction2.sqrt()) as f32,
            };
            let moments = Mutex::new((&mut parameter.mean[..], &mut parameter.square[..]));
            let gradient = &gradient;
            parameter.var.as_tensor().inplace_op1(&InPlace { step, gradient, moments }).map_err(Error::from)
        })?;
        Ok(norm)
    }

    /// The moments and step counts as named tensors, for a checkpoint.
    ///
    /// For a parameter NAME: `NAME.mean` and `NAME.square` in its shape, `NAME.steps` `[1]` (i64).
    ///
    /// # Errors
    /// When memory for the copies is refused.
    pub fn state(&self) -> Result<BTreeMap<String, Tensor>> {
        let mut state = BTreeMap::new();
        for Parameter { name, var, mean, square, n_steps, .. } in &self.parameters {
            state.insert(format!("{name}.mean"), Tensor::from_slice(mean, var.shape(), &Device::Cpu)?);
            state.insert(format!("{name}.square"), Tensor::from_slice(square, var.shape(), &Device::Cpu)?);
            state.insert(format!("{name}.steps"), Tensor::from_slice(&[*n_steps as i64], 1, &Device::Cpu)?);
        }
        Ok(state)
    }

    /// Takes up the state of an earlier run.
    ///
    /// # Errors
    /// [`Error::Config`] when a tensor is missing or surplus, has another shape or type, or has numbers that no run leaves
    /// behind; nothing has changed then.
    pub fn set_state(&mut self, mut state: BTreeMap<String, Tensor>) -> Result<()> {
        let wrong = |reason: String| Error::config("optimizer state", reason);
        let mut entry = |name: &str, what: &str, dtype: DType, shape: &[usize]| -> Result<Tensor> {
            let name = format!("{name}.{what}");
            let Some(tensor) = state.remove(&name) else { return Err(wrong(format!("{name} is missing"))) };
            if tensor.dtype() != dtype || tensor.dims() != shape {
                let (found, dtype) = (tensor.dtype().as_str(), dtype.as_str());
                return Err(wrong(format!("{name} is {found} {:?}, expected {dtype} {shape:?}", tensor.dims())));
            }
            Ok(tensor)
        };
        let mut read = Vec::with_capacity(self.parameters.len());
        for Parameter { name, var, .. } in &self.parameters {
            let mut moment = |what: &str| -> Result<Vec<f32>> {
                let numbers = entry(name, what, DType::F32, var.dims())?.flatten_all()?.to_vec1::<f32>()?;
                if numbers.iter().any(|x| !x.is_finite()) || (what == "square" && numbers.iter().any(|&x| x < 0.0)) {
                    return Err(wrong(format!("{name}.{what} has numbers out of range")));
                }
                Ok(numbers)
            };
            let (mean, square) = (moment("mean")?, moment("square")?);
            match entry(name, "steps", DType::I64, &[1])?.to_vec1::<i64>()?[..] {
                [n_steps] if n_steps >= 0 => read.push((mean, square, n_steps as u64)),
                _ => return Err(wrong(format!("{name}.steps is no count"))),
            }
        }
        if let Some(name) = state.keys().next() {
            return Err(wrong(format!("{name} belongs to nothing")));
        }
        for (parameter, (mean, square, n_steps)) in self.parameters.iter_mut().zip(read) {
            (parameter.mean, parameter.square, parameter.n_steps) = (mean, square, n_steps);
        }
        Ok(())
    }
}

/// What `f` makes of the numbers of a contiguous tensor.
fn read<T>(tensor: &Tensor, f: impl FnOnce(&[f32]) -> T) -> Result<T> {
    let (storage, layout) = tensor.storage_and_layout();
    match &*storage {
        Storage::Cpu(CpuStorage::F32(numbers)) => {
            Ok(f(&numbers[layout.start_offset()..layout.start_offset() + layout.shape().elem_count()]))
        }
        _ => Err(Error::config("parameter", "a gradient is not f32 on the CPU")),
    }
}

/// One parameter's step as candle wants it: the only way to write to a `Var` in place.
struct InPlace<'a> {
    step: AdamStep,
    gradient: &'a Tensor,
    moments: Mutex<(&'a mut [f32], &'a mut [f32])>,
}

impl InplaceOp1 for InPlace<'_> {
    fn name(&self) -> &'static str {
        "adamw"
    }

    fn cpu_fwd(&self, storage: &mut CpuStorage, layout: &Layout) -> candle_core::Result<()> {
        let CpuStorage::F32(numbers) = storage else { candle_core::bail!("a parameter is not f32") };
        let numbers = &mut numbers[layout.start_offset()..layout.start_offset() + layout.shape().elem_count()];
        let mut moments = self.moments.lock().map_err(|_| candle_core::Error::Msg("a step panicked".into()))?;
        let (mean, square) = &mut *moments;
        read(self.gradient, |gradient| {
            // Large enough that a share is worth handing over, small enough for the largest table to be shared.
            const SHARE: usize = 1 << 16;
            let moments = mean.par_chunks_mut(SHARE).zip(square.par_chunks_mut(SHARE));
            let all = numbers.par_chunks_mut(SHARE).zip(gradient.par_chunks(SHARE)).zip(moments);
            all.for_each(|((numbers, gradient), (mean, square))| adam_step(self.step, numbers, gradient, mean, square));
        })
        .map_err(|error| candle_core::Error::Msg(error.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parameters() -> BTreeMap<String, Var> {
        let var = |shape: &[usize]| {
            let numbers: Vec<f32> = (0..shape.iter().product()).map(|i: usize| (i * 7 % 5) as f32 - 1.5).collect();
            Var::from_tensor(&Tensor::from_vec(numbers, shape, &Device::Cpu).unwrap()).unwrap()
        };
        BTreeMap::from([("bias".to_string(), var(&[3])), ("weight".to_string(), var(&[3, 2]))])
    }

    fn numbers(var: &Var) -> Vec<f32> {
        var.flatten_all().unwrap().to_vec1().unwrap()
    }

    /// Σ (x − 1)² over all parameters, whose gradient is 2 (x − 1).
    fn loss(parameters: &BTreeMap<String, Var>) -> Tensor {
        let squares = parameters.values().map(|var| (var.as_tensor() - 1.0).unwrap().sqr().unwrap().sum_all().unwrap());
        squares.reduce(|a, b| (a + b).unwrap()).unwrap()
    }

    fn step(optimizer: &mut AdamW, parameters: &BTreeMap<String, Var>, rate: f64) -> Result<f64> {
        optimizer.step(&loss(parameters).backward().unwrap(), rate)
    }

    #[test]
    fn steps_are_those_of_the_paper_with_decay_for_matrices_only() {
        for clip_norm in [None, Some(0.5)] {
            let parameters = parameters();
            let config = AdamWConfig { weight_decay: 0.1, clip_norm, ..AdamWConfig::default() };
            let mut optimizer = AdamW::new(&parameters, config, AdamW::matrices_decay).unwrap();
            let mut exact: Vec<Vec<f64>> =
                parameters.values().map(|var| numbers(var).iter().map(|&x| f64::from(x)).collect()).collect();
            let mut moments: Vec<Vec<(f64, f64)>> = exact.iter().map(|xs| vec![(0.0, 0.0); xs.len()]).collect();
            for n in 1..=5 {
                let found = step(&mut optimizer, &parameters, 0.1).unwrap();
                let norm = exact.iter().flatten().map(|x| (2.0 * (x - 1.0)).powi(2)).sum::<f64>().sqrt();
                assert!((found - norm).abs() < 1e-5 * norm, "{found} {norm}");
                let scale = clip_norm.map_or(1.0, |clip| f64::min(1.0, clip / norm));
                for (which, (xs, moments)) in exact.iter_mut().zip(&mut moments).enumerate() {
                    for (x, (mean, square)) in xs.iter_mut().zip(moments) {
                        let g = scale * 2.0 * (*x - 1.0);
                        *mean = 0.9 * *mean + 0.1 * g;
                        *square = 0.999 * *square + 0.001 * g * g;
                        let root = (*square / (1.0 - 0.999f64.powi(n))).sqrt();
                        // The bias comes first by name.
                        *x *= if which == 1 { 1.0 - 0.1 * 0.1 } else { 1.0 };
                        *x -= 0.1 * (*mean / (1.0 - 0.9f64.powi(n))) / (root + 1e-8);
                    }
                }
                for (var, exact) in parameters.values().zip(&exact) {
                    for (found, wanted) in numbers(var).iter().zip(exact) {
                        assert!((f64::from(*found) - wanted).abs() < 1e-5, "step {n}: {found} {wanted}");
                    }
                }
            }
        }
    }

    #[test]
    fn a_run_taken_up_from_its_state_goes_on_as_if_it_had_not_stopped() {
        let (whole, halves) = (parameters(), parameters());
        let new = |parameters| AdamW::new(parameters, AdamWConfig::default(), AdamW::matrices_decay).unwrap();
        let (mut optimizer, mut first) = (new(&whole), new(&halves));
        for _ in 0..6 {
            step(&mut optimizer, &whole, 0.01).unwrap();
        }
        for _ in 0..3 {
            step(&mut first, &halves, 0.01).unwrap();
        }
        let state = first.state().unwrap();
        let mut second = new(&halves);
        second.set_state(state.clone()).unwrap();
        for _ in 0..3 {
            step(&mut second, &halves, 0.01).unwrap();
        }
        for (a, b) in whole.values().zip(halves.values()) {
            assert_eq!(numbers(a), numbers(b));
        }
        for (name, broken) in [("bias.mean", None), ("weight.square", Some(-1f32)), ("weight.mean", Some(f32::NAN))] {
            let mut state = state.clone();
            let tensor = state.remove(name).unwrap();
            if let Some(fill) = broken {
                state.insert(name.into(), Tensor::full(fill, tensor.shape(), &Device::Cpu).unwrap());
            }
            let error = second.set_state(state).unwrap_err().to_string();
            assert!(error.starts_with(&format!("optimizer state: {name}")), "{error}");
        }
    }

    #[test]
    fn what_is_left_alone_stays_and_what_no_gradient_reaches_is_named() {
        let parameters = parameters();
        let before = numbers(&parameters["bias"]);
        let mut optimizer = AdamW::new(&parameters, AdamWConfig::default(), AdamW::matrices_decay).unwrap();
        let of_weight = (parameters["weight"].as_tensor() * 1.0).unwrap().sum_all().unwrap().backward().unwrap();
        let error = optimizer.step(&of_weight, 0.1).unwrap_err();
        assert_eq!(error.to_string(), "parameter: no gradient reaches bias: leave it alone or use it");
        optimizer.set_shares(|name| if name == "bias" { 0.0 } else { 1.0 });
        optimizer.step(&of_weight, 0.1).unwrap();
        assert_eq!(numbers(&parameters["bias"]), before);
        optimizer.set_shares(|name| if name == "bias" { 0.25 } else { 1.0 });
        step(&mut optimizer, &parameters, 0.1).unwrap();
        // The first step of Adam is the rate in the gradient's direction, whenever it comes.
        let first = numbers(&parameters["bias"]);
        assert!((first[0] - before[0] - 0.025).abs() < 1e-5, "{} {}", first[0], before[0]);
    }

    #[test]
    fn gradients_that_are_not_finite_move_nothing() {
        let parameters = parameters();
        let before = numbers(&parameters["weight"]);
        let mut optimizer = AdamW::new(&parameters, AdamWConfig::default(), AdamW::matrices_decay).unwrap();
        let gradients = (loss(&parameters) * f64::INFINITY).unwrap().backward().unwrap();
        assert!(matches!(optimizer.step(&gradients, 0.1), Err(Error::Diverged(_))));
        assert_eq!(numbers(&parameters["weight"]), before);
    }

    #[test]
    fn settings_out_of_range_and_other_types_are_refused() {
        let nan = AdamWConfig { clip_norm: Some(f64::NAN), ..AdamWConfig::default() };
        for config in [AdamWConfig { beta1: 1.0, ..AdamWConfig::default() }, nan] {
            assert!(matches!(AdamW::new(&parameters(), config, AdamW::matrices_decay), Err(Error::Config { .. })));
        }
        let double = BTreeMap::from([("x".into(), Var::zeros(2, DType::F64, &Device::Cpu).unwrap())]);
        let refused = AdamW::new(&double, AdamWConfig::default(), AdamW::matrices_decay);
        assert!(matches!(refused, Err(Error::Config { .. })));
    }
}
