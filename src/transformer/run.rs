//! A training run ↔ a folder.
//!
//! In: a transformer in the middle of its training. Out: a folder in which the best transformer so far is `model.safetensors`,
//! as everybody reads it, and beside it stands what only goes on with the training:
//!
//! ```text
//! training.safetensors   NAME          F32  the parameters as they are now, under our own names
//!                        NAME.mean     F32  AdamW's moments …
//!                        NAME.square   F32
//!                        NAME.steps    I64  … and how many steps they have seen
//! config.json            under `wordgrove`, `notes`: `fit` (the settings), `state` (steps, measurements), and the caller's
//! ```

use std::collections::BTreeMap;
use std::path::Path;

use candle_core::{DType, Device, Tensor};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::error::{Error, Result};
use crate::files::FileBytes;
use crate::progress::FitReport;
use crate::tokens::Tokenizer;
use crate::transformer::checkpoint::Checkpoint;
use crate::transformer::fit::FitConfig;
use crate::transformer::model::Transformer;
use crate::transformer::optimizer::AdamW;
use crate::transformer::parameters::{Parameters, numbers};

const TRAINING: &str = "training.safetensors";

/// A transformer in training.
#[derive(Debug)]
pub struct Run {
    /// As it is now.
    pub transformer: Transformer,
    /// As it was when its loss was lowest; before the first measurement the same as now.
    pub best: Transformer,
    /// How it is trained.
    pub config: FitConfig,
    /// How far it has come.
    pub state: RunState,
    pub(crate) optimizer: AdamW,
}

/// How far a run has come.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct RunState {
    /// Steps that are done.
    pub step: u64,
    /// Every measurement so far.
    pub reports: Vec<FitReport>,
    /// Nats lost since the last measurement, over all targets.
    pub nats: f64,
    /// How many targets these were.
    pub n_targets: u64,
    /// Wall-clock seconds of all steps so far, measurements left out.
    #[serde(default)]
    pub seconds: f64,
}

impl RunState {
    /// The measurement with the lowest loss on what was held out; where nothing was, the last one.
    pub fn best(&self) -> Option<&FitReport> {
        let lowest = self.reports.iter().filter_map(|report| Some((report, report.validation_loss?)));
        lowest.min_by(|a, b| a.1.total_cmp(&b.1)).map(|(report, _)| report).or(self.reports.last())
    }

    /// The mean loss since the last measurement, in nats.
    pub fn train_loss(&self) -> Option<f64> {
        (self.n_targets > 0).then(|| self.nats / self.n_targets as f64)
    }
}

/// A run that was opened, and what was saved with it.
#[derive(Debug)]
pub struct OpenedRun {
    /// The run.
    pub run: Run,
    /// How its ids come from text.
    pub tokenizer: Tokenizer,
    /// What the caller noted.
    pub notes: Map<String, Value>,
}

/// A copy that later steps leave alone.
///
/// # Errors
/// [`Error::Tensor`] where memory runs out.
pub fn copy(transformer: &Transformer) -> Result<Transformer> {
    let parameters = Parameters::from_values(transformer.config(), |declared| {
        numbers(&transformer.parameters().expect(&declared.name))
    })?;
    Transformer::from_parameters(transformer.config().clone(), parameters, transformer.counts())
}

impl Run {
    /// A run that has not begun.
    ///
    /// # Errors
    /// [`Error::Config`] as [`FitConfig::check`].
    pub fn new(transformer: Transformer, config: FitConfig) -> Result<Run> {
        config.check()?;
        let parameters = transformer.parameters().iter().map(|(name, var)| (name.to_string(), var.clone())).collect();
        let optimizer = AdamW::new(&parameters, config.adamw(), AdamW::matrices_decay)?;
        Ok(Run { best: transformer.clone(), transformer, config, state: RunState::default(), optimizer })
    }

    /// Finds out, before training, whether such a run can be saved at `path`.
    ///
    /// # Errors
    /// As [`Checkpoint::check_destination`].
    pub fn check_destination(path: &Path, parameter_bytes: u64) -> Result<()> {
        Checkpoint::check_destination(path, parameter_bytes, parameter_bytes.saturating_mul(3))
    }

    /// Opens a folder that [`save`](Run::save) wrote.
    ///
    /// # Errors
    /// As [`Checkpoint::open`]; [`Error::Format`] when the folder holds no run, or what it holds does not fit together:
    /// tensors that are missing, surplus, of other shapes or types, or not finite.
    pub fn open(path: &Path) -> Result<OpenedRun> {
        let Checkpoint { transformer: best, tokenizer, mut notes, .. } = Checkpoint::open(path)?;
        let file = path.join(TRAINING);
        let (Some(tokenizer), true) = (tokenizer, file.exists()) else {
            return Err(Error::format(path, format!("has no {TRAINING}: the run cannot go on, train anew")));
        };
        let config: FitConfig = take(&mut notes, "fit", path)?;
        let state: RunState = take(&mut notes, "state", path)?;
        let wrong = |reason: String| Error::format(&file, reason);
        let bytes = FileBytes::open(&file)?;
        let tensors = candle_core::safetensors::load_buffer(&bytes, &Device::Cpu)
            .map_err(|error| wrong(format!("is no whole safetensors file: {error}")))?;
        let mut tensors: BTreeMap<String, Tensor> = tensors.into_iter().collect();
        let parameters = Parameters::from_values(best.config(), |declared| {
            let name = &declared.name;
            let found = tensors.remove(name);
            let fits = |tensor: &Tensor| tensor.dims() == declared.shape && tensor.dtype() == DType::F32;
            let Some(tensor) = found.as_ref().filter(|tensor| fits(tensor)) else {
                let found = found.map_or("is missing".to_string(), |tensor| {
                    format!("is {} {:?}", tensor.dtype().as_str(), tensor.dims())
                });
                return Err(wrong(format!("'{name}' {found}, expected f32 {:?}", declared.shape)));
            };
            let numbers = tensor.flatten_all()?.to_vec1::<f32>()?;
            match numbers.iter().all(|x| x.is_finite()) {
                true => Ok(numbers),
                false => Err(wrong(format!("'{name}' has numbers that are not finite"))),
            }
        })?;
        let transformer = Transformer::from_parameters(best.config().clone(), parameters, best.counts())?;
        let mut run = Run::new(transformer, config)?;
        run.optimizer.set_state(tensors).map_err(|error| wrong(error.to_string()))?;
        // Before the first measurement there is no best one apart from the present one.
        if !state.reports.is_empty() {
            run.best = best;
        }
        run.state = state;
        Ok(OpenedRun { run, tokenizer, notes })
    }

    /// Writes the run; what was at `path` is replaced in one step.
    ///
    /// `notes` come back as they are; `fit` and `state` are names of our own.
    ///
    /// # Errors
    /// As [`Checkpoint::save`].
    pub fn save(&self, path: &Path, tokenizer: &Tokenizer, notes: &Map<String, Value>) -> Result<()> {
        let mut notes = notes.clone();
        notes.insert("fit".to_string(), value(&self.config));
        notes.insert("state".to_string(), value(&self.state));
        let mut tensors = self.optimizer.state()?;
        let now = self.transformer.parameters().iter();
        tensors.extend(now.map(|(name, var)| (name.to_string(), var.as_detached_tensor())));
        let bytes = safetensors::serialize(&tensors, None).map_err(|error| Error::format(path, error.to_string()))?;
        drop(tensors);
        Checkpoint::save(path, &self.best, Some(tokenizer), &notes, &[(TRAINING, &|out| out.write_all(&bytes))])
    }
}

fn value(of: &impl Serialize) -> Value {
    serde_json::to_value(of).expect("settings and states are numbers and names")
}

fn take<T: DeserializeOwned>(notes: &mut Map<String, Value>, name: &str, path: &Path) -> Result<T> {
    let wrong = |reason: String| Error::format(path.join("config.json"), reason);
    let value = notes.remove(name).ok_or_else(|| wrong(format!("has no notes '{name}': the run cannot go on")))?;
    serde_json::from_value(value).map_err(|error| wrong(format!("notes '{name}': {error}")))
}
