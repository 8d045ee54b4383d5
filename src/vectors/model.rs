//! A model: a folder that holds all that training learned, and that others can read as it is.
//!
//! In: the path of such a folder; out: a [`Model`] over the mapped file. And back, [`Model::save`].
//!
//! ```text
//! model.safetensors       counts      I64 [n_tokens]           how often each token occurred in the text
//!                         embeddings  F32 [n_tokens, dim]      row i is the vector of token i
//!                         nodes       F32 [n_tokens − 1, dim]  row i belongs to inner node i of the Huffman tree
//! tokenizer.json          bytes → token ids, in the format of Hugging Face's tokenizers
//! config.json             what model2vec looks for, and under `wordgrove` a ModelConfig and checksums
//! tokenizer_config.json   what transformers looks for
//! modules.json            what sentence-transformers looks for
//! ```
//!
//! model2vec and sentence-transformers load the folder as a static embedding: a text is the mean of its tokens' rows.
//! Counts are signed because PyTorch has little use for unsigned 64-bit numbers. A folder that model2vec wrote opens as
//! well; then there are no counts, nodes or settings.
//!
//! A safetensors file is eight bytes with the length n of the header, n bytes of JSON that gives each tensor's type,
//! shape and place, and the numbers, little-endian and without gaps.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};

use byteorder::{ByteOrder, LittleEndian};
use safetensors::{Dtype, SafeTensors};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use crate::error::{Error, Result};
use crate::files::FileBytes;
use crate::math::Matrix;
use crate::progress::EpochReport;
use crate::tokens::Tokenizer;
use crate::vectors::destination::{self, NewFolder};
use crate::vectors::embeddings::{Embeddings, Rows};

const TENSORS: &str = "model.safetensors";
const TOKENIZER: &str = "tokenizer.json";
const CONFIG: &str = "config.json";
const TOKENIZER_CONFIG: &str = "tokenizer_config.json";
const MODULES: &str = "modules.json";
const FILES: [&str; 5] = [TENSORS, TOKENIZER, CONFIG, TOKENIZER_CONFIG, MODULES];

/// The version of the folder's layout that this code writes, and the newest that it reads.
const VERSION: u32 = 1;

/// A model folder, opened.
#[derive(Debug, Clone)]
pub struct Model {
    /// The input vectors, named by the tokenizer.
    pub embeddings: Embeddings,
    /// The vectors of the Huffman tree's inner nodes, `[n_tokens - 1, dim]`; `None` when the model was not trained here.
    pub nodes: Option<Rows>,
    /// How it was made; `None` when wordgrove did not write it.
    pub config: Option<ModelConfig>,
    path: PathBuf,
    checksums: Option<BTreeMap<String, String>>,
}

/// How a model was made: what `config.json` holds under `wordgrove`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ModelConfig {
    /// The version of wordgrove that wrote it.
    pub wordgrove_version: String,
    /// `skip-gram` or `cbow`; `None` for vectors that were converted.
    pub architecture: Option<String>,
    /// What a token is: `bpe` or `word`.
    pub tokens: String,
    /// Numbers per vector.
    pub dim: usize,
    /// Every training setting, by the name of its flag.
    pub settings: Map<String, Value>,
    /// What each epoch brought.
    pub epochs: Vec<EpochReport>,
    /// Tokens in the training text.
    pub n_text_tokens: u64,
    /// Sentences in the training text.
    pub n_sentences: u64,
}

/// What [`Model::verify`] found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verified {
    /// Every file is as it was written.
    Intact,
    /// No checksums were written with it.
    Unknown,
}

impl Model {
    /// Opens a model folder; the vectors are mapped, not read.
    ///
    /// # Errors
    /// [`Error::Io`] when a file is missing, [`Error::Format`] when sizes, types or numberings contradict each other.
    pub fn open(path: &Path) -> Result<Model> {
        if !path.exists() {
            return Err(missing(path));
        }
        if !path.join(TENSORS).exists() {
            return Err(Error::format(path, format!("is a folder without {TENSORS}: not a model")));
        }
        let (tensors, tokenizer) = (path.join(TENSORS), path.join(TOKENIZER));
        let bytes = FileBytes::open(&tensors)?;
        let tokenizer = Tokenizer::from_json(&FileBytes::open(&tokenizer)?, &tokenizer)?;
        let contents = read_tensors(&bytes, tokenizer.n_tokens()).map_err(|reason| Error::format(&tensors, reason))?;
        let (config, checksums) = read_config(&path.join(CONFIG))?;
        if let Some(config) = &config
            && config.dim != contents.embeddings.dim()
        {
            let (said, found) = (config.dim, contents.embeddings.dim());
            return Err(Error::format(path, format!("{CONFIG} says {said} numbers per vector, {TENSORS} has {found}")));
        }
        let embeddings = Embeddings::from_tokens(tokenizer, contents.embeddings, contents.counts);
        Ok(Model { embeddings, nodes: contents.nodes, config, path: path.to_path_buf(), checksums })
    }

    /// Where it was opened.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Holds every file against the checksum that was written with it.
    ///
    /// # Errors
    /// [`Error::Format`] naming the file that differs.
    pub fn verify(&self) -> Result<Verified> {
        let Some(checksums) = &self.checksums else {
            return Ok(Verified::Unknown);
        };
        for (name, wanted) in checksums {
            if !FILES.contains(&name.as_str()) {
                return Err(Error::format(
                    self.path.join(CONFIG),
                    format!("has a checksum of an unknown file '{name}'"),
                ));
            }
            let path = self.path.join(name);
            if hex(&Sha256::digest(&*FileBytes::open(&path)?)) != *wanted {
                return Err(Error::format(path, "is not as it was written: its checksum differs from config.json's"));
            }
        }
        Ok(Verified::Intact)
    }

    /// Finds out, before training, whether a model can be saved at `path`.
    ///
    /// `n_tokens` and `dim` tell how large it will be.
    ///
    /// # Errors
    /// A file or a folder at `path` that is not a model, or holds other files as well (they would be lost); a parent
    /// that is missing or read-only; too little room.
    pub fn check_destination(path: &Path, n_tokens: usize, dim: usize) -> Result<()> {
        may_replace(path)?;
        // Two matrices, and per token a count and some eighty bytes of tokenizer.json.
        let per_token = 8 * (dim as u64) + 8 + 80;
        destination::check(path, per_token.saturating_mul(n_tokens as u64).saturating_add(1 << 16))
    }

    /// Writes a model folder at `path`; a model that was there is replaced in one step.
    ///
    /// `input` is `[n_tokens, dim]`, `output` the tree's `[n_tokens - 1, dim]` where there is one, `counts` `[n_tokens]`.
    ///
    /// # Errors
    /// [`Error::Io`] when the disk refuses; [`Error::Format`] as [`check_destination`](Model::check_destination).
    /// Whatever was at `path` is there still.
    pub fn save(
        path: &Path,
        tokenizer: &Tokenizer,
        input: &Matrix,
        output: Option<&Matrix>,
        counts: &[u64],
        config: &ModelConfig,
    ) -> Result<()> {
        assert_eq!(input.n_rows(), tokenizer.n_tokens());
        assert_eq!(input.n_rows(), counts.len());
        assert_eq!(input.dim(), config.dim);
        if let Some(output) = output {
            assert_eq!((output.n_rows() + 1, output.dim()), (input.n_rows(), input.dim()));
        }
        may_replace(path)?;
        let folder = NewFolder::beside(path)?;
        let write = |name: &str, contents: &dyn Fn(&mut dyn Write) -> io::Result<()>| -> Result<String> {
            write_flushed(&folder.path().join(name), contents).map_err(Error::io(path.join(name)))
        };
        let json = |value: &Value| serde_json::to_vec_pretty(value).map_err(io::Error::from);
        let checksums = BTreeMap::from([
            (TENSORS, write(TENSORS, &|out| write_tensors(out, input, output, counts))?),
            (TOKENIZER, write(TOKENIZER, &|out| out.write_all(tokenizer.to_json().as_bytes()))?),
            (TOKENIZER_CONFIG, write(TOKENIZER_CONFIG, &|out| out.write_all(&json(&tokenizer_config())?))?),
            (MODULES, write(MODULES, &|out| out.write_all(&json(&modules())?))?),
        ]);
        write(CONFIG, &|out| out.write_all(&json(&full_config(config, &checksums)?)?))?;
        folder.put_in_place(may_replace)
    }
}

/// Nothing at `path`, an empty folder, or a model and nothing else: anything else would be lost.
fn may_replace(path: &Path) -> Result<()> {
    if !path.is_dir() {
        // Files and broken links are the business of `destination`.
        return Ok(());
    }
    let names: Vec<_> = fs::read_dir(path)
        .and_then(|entries| entries.map(|entry| Ok(entry?.file_name())).collect())
        .map_err(Error::io(path))?;
    if let Some(other) = names.iter().find(|name| !FILES.iter().any(|file| name == file)) {
        let other = Path::new(other).display();
        return Err(Error::format(
            path,
            format!("holds '{other}', which is not part of a model and would be lost: save elsewhere"),
        ));
    }
    if names.is_empty() || matches!(read_config(&path.join(CONFIG)), Ok((Some(_), _))) {
        return Ok(());
    }
    Err(Error::format(path, "is not a model that wordgrove wrote, and would be lost: save elsewhere"))
}

fn missing(path: &Path) -> Error {
    if let Some(old) = destination::set_aside(path) {
        let advice =
            format!("a save was cut short; the model from before it is {}: rename it to get it back", old.display());
        return Error::format(path, format!("is not there, because {advice}"));
    }
    Error::Io { path: path.to_path_buf(), source: io::ErrorKind::NotFound.into() }
}

/// What `model.safetensors` holds.
struct Contents {
    embeddings: Rows,
    nodes: Option<Rows>,
    counts: Option<Vec<u64>>,
}

fn read_tensors(bytes: &FileBytes, n_tokens: usize) -> Result<Contents, String> {
    // The crate checks the length of the header and that tensors fill the file without gaps or overlap.
    let tensors = SafeTensors::deserialize(bytes).map_err(|error| error.to_string())?;
    let place = |data: &[u8]| -> Range<usize> {
        let start = data.as_ptr() as usize - bytes.as_ptr() as usize;
        start..start + data.len()
    };
    let matrix = |name: &str| -> Result<Option<Rows>, String> {
        let Ok(tensor) = tensors.tensor(name) else { return Ok(None) };
        let [n_rows, dim @ (1..)] = *tensor.shape() else {
            return Err(format!("'{name}' has shape {:?}, expected rows and numbers per row", tensor.shape()));
        };
        if tensor.dtype() != Dtype::F32 {
            return Err(format!("'{name}' is of type {}, expected F32: convert it", tensor.dtype()));
        }
        Ok(Some(Rows::from_file(bytes, place(tensor.data()), n_rows, dim)))
    };
    let Some(embeddings) = matrix("embeddings")? else {
        let names = tensors.names().join("', '");
        return Err(format!("has no tensor 'embeddings' but '{names}': not a model of word vectors"));
    };
    if embeddings.n_rows() != n_tokens {
        return Err(format!("'embeddings' has {} rows, {TOKENIZER} has {n_tokens} tokens", embeddings.n_rows()));
    }
    let nodes = matrix("nodes")?;
    if let Some(nodes) = &nodes
        && (nodes.n_rows() + 1, nodes.dim()) != (n_tokens, embeddings.dim())
    {
        let (found, wanted) = ([nodes.n_rows(), nodes.dim()], [n_tokens.saturating_sub(1), embeddings.dim()]);
        return Err(format!("'nodes' has shape {found:?}, 'embeddings' calls for {wanted:?}"));
    }
    let counts = match tensors.tensor("counts") {
        Err(_) => None,
        Ok(tensor) if tensor.shape() != [n_tokens] || !matches!(tensor.dtype(), Dtype::I64 | Dtype::U64) => {
            let (dtype, shape) = (tensor.dtype(), tensor.shape());
            return Err(format!("'counts' is {dtype} {shape:?}, expected I64 [{n_tokens}]"));
        }
        Ok(tensor) => {
            let mut counts = vec![0; n_tokens];
            LittleEndian::read_i64_into(tensor.data(), &mut counts);
            let counts: Result<Vec<u64>, _> = counts.into_iter().map(u64::try_from).collect();
            Some(counts.map_err(|_| "'counts' holds a negative number".to_string())?)
        }
    };
    Ok(Contents { embeddings, nodes, counts })
}

/// What `config.json` holds of ours: how the model was made, and the checksums of the other files.
type ReadConfig = (Option<ModelConfig>, Option<BTreeMap<String, String>>);

fn read_config(path: &Path) -> Result<ReadConfig> {
    if !path.exists() {
        return Ok((None, None));
    }
    let wrong = |error: serde_json::Error| Error::format(path, format!("is not what wordgrove writes: {error}"));
    let mut all: Map<String, Value> = serde_json::from_slice(&FileBytes::open(path)?).map_err(wrong)?;
    let Some(ours) = all.remove("wordgrove") else {
        return Ok((None, None));
    };
    let version = ours.get("version").and_then(Value::as_u64).unwrap_or(0);
    if version != u64::from(VERSION) {
        let reason = format!("has layout version {version}, this wordgrove reads {VERSION}: use the one that wrote it");
        return Err(Error::format(path, reason));
    }
    let checksums = ours.get("sha256").cloned().map(serde_json::from_value).transpose().map_err(wrong)?;
    Ok((Some(serde_json::from_value(ours).map_err(wrong)?), checksums))
}

fn full_config(config: &ModelConfig, checksums: &BTreeMap<&str, String>) -> serde_json::Result<Value> {
    let mut ours = serde_json::to_value(config)?;
    ours["version"] = json!(VERSION);
    ours["sha256"] = json!(checksums);
    Ok(json!({
        "model_type": "model2vec",
        "architectures": ["StaticModel"],
        "normalize": true,
        "embedding_dtype": "float32",
        "max_length": 512,
        "wordgrove": ours,
    }))
}

fn tokenizer_config() -> Value {
    json!({ "tokenizer_class": "PreTrainedTokenizerFast", "model_max_length": 1_000_000 })
}

fn modules() -> Value {
    // The paths of classes that all versions of sentence-transformers know; the second needs no folder.
    json!([
        { "idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.StaticEmbedding" },
        { "idx": 1, "name": "1", "path": "1_Normalize", "type": "sentence_transformers.models.Normalize" },
    ])
}

fn write_tensors(out: &mut dyn Write, input: &Matrix, output: Option<&Matrix>, counts: &[u64]) -> io::Result<()> {
    // The counts stand first: they need eight-byte places, and the rest stays in step with four.
    let mut tensors = Map::new();
    let mut end = 0;
    let mut add = |name: &str, dtype: &str, shape: &[usize], size_bytes: usize| {
        let tensor = json!({ "dtype": dtype, "shape": shape, "data_offsets": [end, end + size_bytes] });
        end += size_bytes;
        tensors.insert(name.to_string(), tensor);
    };
    add("counts", "I64", &[counts.len()], 8 * counts.len());
    let matrices = [("embeddings", Some(input)), ("nodes", output)];
    for (name, matrix) in matrices {
        if let Some(matrix) = matrix {
            add(name, "F32", &[matrix.n_rows(), matrix.dim()], 4 * matrix.n_rows() * matrix.dim());
        }
    }
    // Older versions of transformers refuse a file that doesn't say so.
    tensors.insert("__metadata__".to_string(), json!({ "format": "pt" }));
    let mut header = serde_json::to_vec(&tensors)?;
    // Spaces up to a multiple of 64 bytes, so that a mapped file has its numbers where they can be used in place.
    header.resize((8 + header.len()).next_multiple_of(64) - 8, b' ');
    out.write_all(&(header.len() as u64).to_le_bytes())?;
    out.write_all(&header)?;

    for &count in counts {
        let count = i64::try_from(count).map_err(|_| io::Error::other(format!("a count of {count} is too large")))?;
        out.write_all(&count.to_le_bytes())?;
    }
    for (_, matrix) in matrices {
        let Some(matrix) = matrix else { continue };
        let mut bytes = vec![0; 4 * matrix.dim()];
        for row in 0..matrix.n_rows() {
            LittleEndian::write_f32_into(matrix.row(row), &mut bytes);
            out.write_all(&bytes)?;
        }
    }
    Ok(())
}

/// Writes a file and flushes it to the disk; returns the SHA-256 of its bytes.
fn write_flushed(path: &Path, contents: &dyn Fn(&mut dyn Write) -> io::Result<()>) -> io::Result<String> {
    let mut out = BufWriter::with_capacity(1 << 18, Hashed { file: File::create_new(path)?, hash: Sha256::new() });
    contents(&mut out)?;
    let Hashed { file, hash } = out.into_inner().map_err(|error| error.into_error())?;
    file.sync_all()?;
    Ok(hex(&hash.finalize()))
}

/// A file that keeps the checksum of what went through.
struct Hashed {
    file: File,
    hash: Sha256,
}

impl Write for Hashed {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let n = self.file.write(bytes)?;
        self.hash.update(&bytes[..n]);
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matrix(n_rows: usize, dim: usize) -> Matrix {
        let mut matrix = Matrix::zeros(n_rows, dim);
        for row in 0..n_rows {
            matrix.row_mut(row).iter_mut().enumerate().for_each(|(i, x)| *x = (row * dim + i) as f32 / 7.0);
        }
        matrix
    }

    fn tensors() -> Vec<u8> {
        let mut bytes = Vec::new();
        write_tensors(&mut bytes, &matrix(3, 5), Some(&matrix(2, 5)), &[9, 4, 0]).unwrap();
        bytes
    }

    #[test]
    fn tensors_read_back_as_they_were() {
        let contents = read_tensors(&FileBytes::from(tensors()), 3).unwrap();
        assert_eq!(contents.counts, Some(vec![9, 4, 0]));
        let nodes = contents.nodes.unwrap();
        for (rows, original) in [(&contents.embeddings, matrix(3, 5)), (&nodes, matrix(2, 5))] {
            assert_eq!((rows.n_rows(), rows.dim()), (original.n_rows(), original.dim()));
            (0..rows.n_rows()).for_each(|row| assert_eq!(rows.row(row), original.row(row)));
        }
    }

    #[test]
    fn every_prefix_is_an_error() {
        let bytes = tensors();
        for end in 0..bytes.len() {
            assert!(read_tensors(&FileBytes::from(bytes[..end].to_vec()), 3).is_err(), "{end} bytes");
        }
    }

    fn with_header(header: &str, data: usize) -> FileBytes {
        let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
        bytes.extend_from_slice(header.as_bytes());
        bytes.resize(bytes.len() + data, 0);
        FileBytes::from(bytes)
    }

    #[test]
    fn every_lie_of_a_header_is_an_error_that_says_so() {
        let tensor = |name: &str, dtype: &str, shape: &str, from: usize, to: usize| {
            format!(r#""{name}":{{"dtype":"{dtype}","shape":{shape},"data_offsets":[{from},{to}]}}"#)
        };
        let good = tensor("embeddings", "F32", "[2,1]", 0, 8);
        let cases = [
            (tensor("embedding.weight", "F32", "[2,1]", 0, 8), 8, "no tensor 'embeddings'"),
            (tensor("embeddings", "F16", "[2,2]", 0, 8), 8, "F16"),
            (tensor("embeddings", "F32", "[2]", 0, 8), 8, "shape [2]"),
            (tensor("embeddings", "F32", "[3,1]", 0, 12), 12, "3 rows"),
            (tensor("embeddings", "F32", "[2,0]", 0, 0), 0, "shape [2, 0]"),
            (tensor("embeddings", "F32", "[2,99999999999999]", 0, 8), 8, ""),
            (tensor("embeddings", "F32", "[18446744073709551615,18446744073709551615]", 0, 8), 8, ""),
            (tensor("embeddings", "F32", "[2,1]", 4, 12), 12, ""),
            (format!("{good},{}", tensor("nodes", "F32", "[2,1]", 8, 16)), 16, "'nodes'"),
            (format!("{good},{}", tensor("nodes", "F32", "[1,1]", 4, 8)), 8, ""),
            (format!("{good},{}", tensor("counts", "F32", "[2]", 8, 16)), 16, "'counts'"),
            (format!("{good},{}", tensor("counts", "I64", "[1]", 8, 16)), 16, "'counts'"),
            (good.clone(), 12, ""),
        ];
        for (header, data, wanted) in cases {
            let error = read_tensors(&with_header(&format!("{{{header}}}"), data), 2).err();
            assert!(error.as_ref().is_some_and(|error| error.contains(wanted)), "{header}: {error:?}");
        }
        assert!(read_tensors(&with_header(&format!("{{{good}}}"), 8), 2).is_ok(), "the good one is good");
        assert!(read_tensors(&with_header(&"[".repeat(100_000), 8), 2).is_err(), "deep JSON");
        assert!(read_tensors(&FileBytes::from(vec![0xff_u8; 64]), 2).is_err(), "a header of 2^64 bytes");
    }
}
