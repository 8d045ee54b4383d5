//! A transformer: a folder that Hugging Face transformers loads as it is, wherever its layouts can say what the model is.
//!
//! In: the path of such a folder, ours or somebody else's; out: a [`Transformer`], its tokenizer, and what was noted with it.
//! And back, [`Checkpoint::save`].
//!
//! ```text
//! model.safetensors       the parameters: under GPT-2's, Marian's or BERT's names, else under our own (`parameters.rs`)
//!                         output.counts  I64 [n_tokens]   with a tree output layer: the counts that the tree is made from
//! config.json             the settings of that layout; under `wordgrove` our own, notes, checksums, and, where no layout
//!                         fits, the reason
//! tokenizer.json          bytes → token ids, in the format of Hugging Face's tokenizers
//! tokenizer_config.json   what transformers looks for
//! …                       files that the caller adds, such as the optimizer's state
//! ```
//!
//! Everything is checked against the list of parameters before any number is read: what is missing, what has another shape,
//! what is there and belongs to nothing.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::ffi::OsString;
use std::io::{self, Write};
use std::path::Path;

use candle_core::{DType, Device, Tensor};
use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors, View};
use serde_json::{Map, Value, json};

use crate::error::{Error, Result};
use crate::files::{FileBytes, checksum};
use crate::tokens::{Pattern, TokenId, Tokenizer};
use crate::transformer::config::{OutputLayer, TransformerConfig};
use crate::transformer::layout::{Entry, Layout, Part};
use crate::transformer::model::Transformer;
use crate::transformer::parameters::{Parameters, declared, numbers};
use crate::vectors::destination::{self, NewFolder};
use crate::vectors::{Embeddings, Rows};

const TENSORS: &str = "model.safetensors";
const CONFIG: &str = "config.json";
const TOKENIZER: &str = "tokenizer.json";
const TOKENIZER_CONFIG: &str = "tokenizer_config.json";
const COUNTS: &str = "output.counts";

/// The version of what stands under `wordgrove` in `config.json`: the one that this code writes, and the newest that it
/// reads. Version 1 called `output_layer` `output`.
const VERSION: u64 = 2;

/// How many lines of a table of shapes a message shows.
const SHOWN: usize = 8;

/// A transformer and what belongs to it.
#[derive(Debug)]
pub struct Checkpoint {
    /// The model.
    pub transformer: Transformer,
    /// How its ids come from text; `None` where the folder has none.
    pub tokenizer: Option<Tokenizer>,
    /// What whoever trained it wrote down, by name; empty for other people's folders.
    pub notes: Map<String, Value>,
    /// Whose names the folder uses.
    pub layout: Layout,
}

/// A file that is saved with a transformer: its name, and what writes it.
pub type Extra<'a> = (&'a str, &'a dyn Fn(&mut dyn Write) -> io::Result<()>);

impl Checkpoint {
    /// Opens a folder with a transformer: one of ours, or one in the layout of GPT-2, Marian or BERT.
    ///
    /// # Errors
    /// [`Error::Io`] when a file is missing; [`Error::Format`] when it is no such folder, a checksum differs, a number is not
    /// finite, tokenizer and model differ in size, or tensors are missing, surplus or of other shapes, with a table of them.
    pub fn open(path: &Path) -> Result<Checkpoint> {
        if path.is_file() {
            return Err(Error::format(path, "is a file, expected the folder of a transformer"));
        }
        if !path.exists() {
            return Err(destination::missing(path));
        }
        if path.is_dir() && !path.join(CONFIG).exists() {
            return Err(Error::format(path, format!("is a folder without {CONFIG}: not a transformer")));
        }
        let all = read_json(&path.join(CONFIG))?;
        let wrong = |reason: String| Error::format(path.join(CONFIG), reason);
        let layout = Layout::named(&all).map_err(wrong)?;
        let ours = Ours::read(&all).map_err(wrong)?;
        for (name, wanted) in &ours.checksums {
            if checksum(&FileBytes::open(&path.join(name))?) != *wanted {
                let reason = "is not as it was written: its checksum differs from config.json's";
                return Err(Error::format(path.join(name), reason));
            }
        }
        let config = match ours.settings {
            Some(settings) => TransformerConfig::from_settings(&settings, 0),
            None => layout.read_config(&all),
        }
        .map_err(wrong)?;
        config.check().map_err(|error| wrong(error.to_string()))?;
        let tensors = path.join(TENSORS);
        let bytes = FileBytes::open(&tensors)?;
        let transformer = read(&bytes, config, layout).map_err(|error| match error {
            Error::Format { reason, .. } | Error::Config { reason, .. } => Error::format(&tensors, reason),
            other => other,
        })?;
        let tokenizer = open_tokenizer(path)?;
        if let Some(tokenizer) = &tokenizer
            && tokenizer.n_tokens() != transformer.config().n_tokens
        {
            let (found, wanted) = (tokenizer.n_tokens(), transformer.config().n_tokens);
            let reason = format!("has {found} tokens, the model has {wanted}: it belongs to another");
            return Err(Error::format(path.join(TOKENIZER), reason));
        }
        Ok(Checkpoint { transformer, tokenizer, notes: ours.notes, layout })
    }

    /// Whether there is a folder at `path` that says of itself that it holds a transformer.
    pub fn is_at(path: &Path) -> bool {
        path.is_dir() && read_json(&path.join(CONFIG)).is_ok_and(|all| Layout::named(&all).is_ok())
    }

    /// The rows of the token table as word vectors, named by the tokenizer; `None` without one.
    ///
    /// # Errors
    /// [`Error::Tensor`] where memory runs out.
    pub fn token_table(&self) -> Result<Option<Embeddings>> {
        let Some(tokenizer) = &self.tokenizer else { return Ok(None) };
        let table = self.transformer.parameters().expect("tokens.weight");
        let (n_rows, dim) = table.dims2()?;
        let rows = Rows::new(numbers(&table)?, n_rows, dim);
        let counts = self.transformer.counts().map(<[u64]>::to_vec);
        Ok(Some(Embeddings::from_tokens(tokenizer.clone(), rows, counts)))
    }

    /// Finds out, before training, whether such a transformer can be saved at `path`, with `extra_bytes` of other files.
    ///
    /// # Errors
    /// A file or a folder at `path` that is no transformer of ours, or holds other files as well (they would be lost); a
    /// parent that is missing or read-only; too little room.
    pub fn check_destination(path: &Path, parameter_bytes: u64, extra_bytes: u64) -> Result<()> {
        destination::look(path, may_replace)?;
        destination::check(path, parameter_bytes.saturating_add(extra_bytes).saturating_add(1 << 20))
    }

    /// Writes a folder at `path`; a transformer that was there is replaced in one step.
    ///
    /// `notes` come back from [`open`](Self::open) as they are; `extra` files are the caller's to read.
    ///
    /// # Errors
    /// [`Error::Io`] when the disk refuses; [`Error::Format`] for a tokenizer of another size, and as
    /// [`check_destination`](Self::check_destination), which is asked first where that costs nothing: here the new folder is
    /// written and then kept beside `path`, under a name that the error gives, since it may be hours of work. Whatever was at
    /// `path` is there still.
    pub fn save(
        path: &Path,
        transformer: &Transformer,
        tokenizer: Option<&Tokenizer>,
        notes: &Map<String, Value>,
        extra: &[Extra<'_>],
    ) -> Result<()> {
        let config = transformer.config();
        if let Some(tokenizer) = tokenizer.filter(|tokenizer| tokenizer.n_tokens() != config.n_tokens) {
            let reason = format!("the tokenizer has {} tokens, the model {}", tokenizer.n_tokens(), config.n_tokens);
            return Err(Error::format(path, reason));
        }
        let layout = Layout::of(config);
        let tensors = write(transformer, layout)?;
        let folder = NewFolder::beside(path)?;
        let json = |value: &Value| serde_json::to_vec_pretty(value).map_err(io::Error::from);
        let mut checksums = BTreeMap::new();
        checksums.insert(TENSORS, folder.write(TENSORS, &|out| out.write_all(&tensors))?);
        drop(tensors);
        if let Some(tokenizer) = tokenizer {
            let text = tokenizer.to_json();
            checksums.insert(TOKENIZER, folder.write(TOKENIZER, &|out| out.write_all(text.as_bytes()))?);
            let settings = tokenizer_config(config, tokenizer);
            let checksum = folder.write(TOKENIZER_CONFIG, &|out| out.write_all(&json(&settings)?))?;
            checksums.insert(TOKENIZER_CONFIG, checksum);
        }
        for (name, contents) in extra {
            assert!(Path::new(name).file_name().is_some_and(|file| file == *name), "{name} is no name of a file");
            checksums.insert(name, folder.write(name, contents)?);
        }
        let mut all = layout.config_json(config);
        all["wordgrove"] = json!({
            "version": VERSION,
            "wordgrove_version": env!("CARGO_PKG_VERSION"),
            "transformer": config.settings(),
            "notes": notes,
            "sha256": checksums,
        });
        if let Some(reason) = Layout::misfit(config) {
            all["wordgrove"]["own_layout_because"] = json!(reason);
        }
        folder.write(CONFIG, &|out| out.write_all(&json(&all)?))?;
        folder.put_in_place(may_replace)
    }
}

/// What `config.json` holds of ours.
#[derive(Default)]
struct Ours {
    settings: Option<Map<String, Value>>,
    notes: Map<String, Value>,
    checksums: BTreeMap<String, String>,
}

impl Ours {
    fn read(all: &Map<String, Value>) -> Result<Ours, String> {
        let Some(ours) = all.get("wordgrove") else { return Ok(Ours::default()) };
        let version = ours.get("version").and_then(Value::as_u64).unwrap_or(0);
        if !(1..=VERSION).contains(&version) {
            return Err(format!(
                "has version {version}, this wordgrove reads 1 to {VERSION}: use the one that wrote it"
            ));
        }
        let part = |name: &str| match ours.get(name) {
            None => Ok(None),
            Some(Value::Object(part)) => Ok(Some(part.clone())),
            Some(_) => Err(format!("'{name}' under 'wordgrove' is no object")),
        };
        let mut checksums = BTreeMap::new();
        for (name, checksum) in part("sha256")?.unwrap_or_default() {
            // No path leaves the folder.
            let is_file = Path::new(&name).file_name().is_some_and(|file| file == name.as_str());
            let Some(checksum) = checksum.as_str().filter(|_| is_file) else {
                return Err(format!("has a checksum of '{name}', which is no file of the folder"));
            };
            checksums.insert(name, checksum.to_string());
        }
        Ok(Ours { settings: part("transformer")?, notes: part("notes")?.unwrap_or_default(), checksums })
    }
}

fn read_json(path: &Path) -> Result<Map<String, Value>> {
    serde_json::from_slice(&FileBytes::open(path)?)
        .map_err(|error| Error::format(path, format!("is not the configuration of a transformer: {error}")))
}

/// The tokenizer of a folder: ours, or GPT-2's two files.
fn open_tokenizer(path: &Path) -> Result<Option<Tokenizer>> {
    let has = |name: &str| path.join(name).exists();
    match has(TOKENIZER) || has("vocab.json") && has("merges.txt") {
        true => Tokenizer::open(path, Pattern::Gpt2).map(Some),
        false => Ok(None),
    }
}

fn tokenizer_config(config: &TransformerConfig, tokenizer: &Tokenizer) -> Value {
    let mut all = json!({
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": config.context_len,
        "clean_up_tokenization_spaces": false,
    });
    let special = [
        ("pad_token", config.pad_id),
        ("bos_token", config.start_id),
        ("eos_token", config.end_id),
        ("mask_token", config.mask_id),
    ];
    for (name, id) in special {
        // Not a line feed, say, that a decoder begins with: what is named here is left out of decoded text.
        if let Some(id) = id.map(TokenId).filter(|&id| tokenizer.is_special(id)) {
            all[name] = json!(tokenizer.spelling(id));
        }
    }
    all
}

/// Whether what is at `path` is a transformer of ours and nothing else.
fn may_replace(path: &Path, names: &[OsString]) -> Result<()> {
    let ours = read_json(&path.join(CONFIG)).ok().filter(|all| all.contains_key("wordgrove"));
    let Some(Ok(ours)) = ours.filter(|all| Layout::named(all).is_ok()).map(|all| Ours::read(&all)) else {
        return Err(Error::format(
            path,
            "is not a transformer that wordgrove wrote, and would be lost: save elsewhere",
        ));
    };
    let files = [TENSORS, CONFIG, TOKENIZER, TOKENIZER_CONFIG];
    let known = |name: &&OsString| {
        files.iter().copied().chain(ours.checksums.keys().map(String::as_str)).any(|file| *name == file)
    };
    match names.iter().find(|name| !known(name)) {
        None => Ok(()),
        Some(other) => {
            let other = Path::new(other).display();
            let reason =
                format!("holds '{other}', which is not part of a transformer and would be lost: save elsewhere");
            Err(Error::format(path, reason))
        }
    }
}

/// The parameters from the bytes of a safetensors file.
fn read(bytes: &[u8], config: TransformerConfig, layout: Layout) -> Result<Transformer> {
    let wrong = |reason: String| Error::format(TENSORS, reason);
    // The crate checks the length of the header and that tensors fill the file without gaps or overlap.
    let tensors = SafeTensors::deserialize(bytes).map_err(|error| {
        wrong(format!("is no whole safetensors file: {error}; was it cut short? copy it again, or train anew"))
    })?;
    let mut found: HashMap<String, TensorView<'_>> = tensors.tensors().into_iter().collect();
    let counts = match config.output_layer {
        // Where no tree is made from them, they belong to nothing.
        OutputLayer::Tied | OutputLayer::Free => None,
        OutputLayer::Tree => {
            let tensor = found.remove(COUNTS).ok_or_else(|| {
                wrong(format!("'{COUNTS}' is missing, expected I64 [{}]: the tree is made from it", config.n_tokens))
            })?;
            Some(read_counts(&tensor, config.n_tokens).map_err(wrong)?)
        }
    };
    let entries = layout.entries(&config);
    let views = assign(&entries, found, &config, layout).map_err(wrong)?;
    let parameters = Parameters::from_values(&config, |declared| {
        let mut values = vec![0.0; declared.shape.iter().product()];
        let mut whole = None;
        for (entry, view) in entries.iter().zip(&views).filter(|(entry, _)| entry.ours == declared.name) {
            let theirs = as_f32(view)?;
            if let Some(at) = theirs.iter().position(|x| !x.is_finite()) {
                let reason =
                    format!("'{}' holds {} at place {at}: the training has diverged", entry.theirs, theirs[at]);
                return Err(wrong(reason));
            }
            if entry.part == Part::Whole
                && let Some(first) = whole.replace(&entry.theirs)
                && values != theirs
            {
                return Err(wrong(format!("'{first}' and '{}' differ, expected one table for both", entry.theirs)));
            }
            entry.take(&theirs, &mut values, &declared.shape);
        }
        Ok(values)
    })?;
    Transformer::from_parameters(config, parameters, counts.as_deref())
}

/// Finds for each entry its tensor; a table of what does not fit otherwise.
fn assign<'a>(
    entries: &[Entry],
    mut found: HashMap<String, TensorView<'a>>,
    config: &TransformerConfig,
    layout: Layout,
) -> Result<Vec<TensorView<'a>>, String> {
    let shapes: HashMap<String, Vec<usize>> = declared(config).into_iter().map(|d| (d.name, d.shape)).collect();
    let (mut views, mut table) = (Vec::new(), Vec::new());
    for entry in entries {
        let wanted = entry.their_shape(&shapes[&entry.ours]);
        let names = [vec![entry.theirs.clone()], layout.aliases(&entry.theirs)].concat();
        let Some(view) = names.iter().find_map(|name| found.remove(name)) else {
            table.push(format!("{} missing, expected {wanted:?}", entry.theirs));
            continue;
        };
        let fits = match entry.part {
            Part::AddedRow => matches!(view.shape(), [rows, columns] if *rows > 0 && *columns == wanted[1]),
            _ => view.shape() == wanted,
        };
        if !fits {
            table.push(format!("{} {:?}, expected {wanted:?}", entry.theirs, view.shape()));
        } else if !matches!(view.dtype(), Dtype::F32 | Dtype::F16 | Dtype::BF16 | Dtype::F64) {
            table.push(format!("{} of type {}, expected F32", entry.theirs, view.dtype()));
        }
        views.push(view);
    }
    let mut surplus: Vec<&String> = found.keys().filter(|name| !layout.is_redundant(name)).collect();
    surplus.sort();
    table.extend(surplus.iter().map(|name| format!("{name} {:?} belongs to nothing", found[*name].shape())));
    if table.is_empty() {
        return Ok(views);
    }
    let n = table.len();
    if n > SHOWN {
        table.truncate(SHOWN);
        table.push(format!("and {} more", n - SHOWN));
    }
    Err(format!("{n} tensors do not fit config.json: {}; do the two files belong together?", table.join("; ")))
}

fn read_counts(tensor: &TensorView<'_>, n_tokens: usize) -> Result<Vec<u64>, String> {
    if tensor.dtype() != Dtype::I64 || tensor.shape() != [n_tokens] {
        return Err(format!("'{COUNTS}' is {} {:?}, expected I64 [{n_tokens}]", tensor.dtype(), tensor.shape()));
    }
    let counts = tensor.data().chunks_exact(8).map(|bytes| {
        let count = i64::from_le_bytes(bytes.try_into().expect("chunks of eight"));
        u64::try_from(count).map_err(|_| format!("'{COUNTS}' holds {count}, expected no negative number"))
    });
    counts.collect()
}

fn as_f32(view: &TensorView<'_>) -> Result<Vec<f32>> {
    let dtype = DType::try_from(view.dtype())?;
    let tensor = Tensor::from_raw_buffer(view.data(), dtype, view.shape(), &Device::Cpu)?;
    Ok(tensor.to_dtype(DType::F32)?.flatten_all()?.to_vec1()?)
}

impl Entry {
    /// Copies their numbers to where they belong in ours.
    fn take(&self, theirs: &[f32], ours: &mut [f32], shape: &[usize]) {
        match self.part {
            Part::Whole | Part::OnlyRow => ours.copy_from_slice(theirs),
            Part::Block(block, _) => ours[block * theirs.len()..][..theirs.len()].copy_from_slice(theirs),
            Part::Transposed => transpose(theirs, ours, shape[0]),
            Part::AddedRow => {
                let columns = shape[1];
                ours.chunks_exact_mut(columns).for_each(|row| row.iter_mut().zip(theirs).for_each(|(x, y)| *x += y));
            }
        }
    }

    /// Their numbers from ours.
    fn give<'a>(&self, ours: &'a [f32], shape: &[usize]) -> Cow<'a, [f32]> {
        match self.part {
            Part::Whole | Part::OnlyRow => Cow::Borrowed(ours),
            Part::Block(block, n_blocks) => {
                let n = ours.len() / n_blocks;
                Cow::Borrowed(&ours[block * n..(block + 1) * n])
            }
            Part::Transposed => {
                let mut theirs = vec![0.0; ours.len()];
                transpose(ours, &mut theirs, shape[1]);
                Cow::Owned(theirs)
            }
            Part::AddedRow => Cow::Owned(vec![0.0; shape[1]]),
        }
    }
}

/// `to[r][c] = from[c][r]`, where `to` has `n_rows` rows.
fn transpose(from: &[f32], to: &mut [f32], n_rows: usize) {
    let n_columns = to.len() / n_rows;
    for (row, numbers) in to.chunks_exact_mut(n_columns).enumerate() {
        numbers.iter_mut().enumerate().for_each(|(column, x)| *x = from[column * n_rows + row]);
    }
}

/// A tensor on its way into a file.
struct Written {
    dtype: Dtype,
    shape: Vec<usize>,
    bytes: Vec<u8>,
}

impl View for &Written {
    fn dtype(&self) -> Dtype {
        self.dtype
    }

    fn shape(&self) -> &[usize] {
        &self.shape
    }

    fn data(&self) -> Cow<'_, [u8]> {
        Cow::Borrowed(&self.bytes)
    }

    fn data_len(&self) -> usize {
        self.bytes.len()
    }
}

/// The bytes of a safetensors file in this layout.
fn write(transformer: &Transformer, layout: Layout) -> Result<Vec<u8>> {
    let mut tensors = BTreeMap::new();
    for entry in layout.entries(transformer.config()) {
        let var = transformer.parameters().expect(&entry.ours);
        let ours = numbers(&var)?;
        let theirs = entry.give(&ours, var.dims());
        let bytes = theirs.iter().flat_map(|x| x.to_le_bytes()).collect();
        let shape = entry.their_shape(var.dims());
        tensors.insert(entry.theirs, Written { dtype: Dtype::F32, shape, bytes });
    }
    if let Some(counts) = transformer.counts() {
        // Signed, because PyTorch has little use for unsigned 64-bit numbers.
        let bytes = counts.iter().flat_map(|&count| (count.min(i64::MAX as u64) as i64).to_le_bytes()).collect();
        tensors.insert(COUNTS.to_string(), Written { dtype: Dtype::I64, shape: vec![counts.len()], bytes });
    }
    // Older versions of transformers refuse a file that doesn't say so.
    let metadata = HashMap::from([("format".to_string(), "pt".to_string())]);
    safetensors::serialize(&tensors, Some(metadata)).map_err(|error| Error::format(TENSORS, error.to_string()))
}
