//! A model: a folder that holds all that training learned, and that others can read as it is.
//!
//! In: the path of such a folder; out: a [`Model`] over the mapped file. And back, [`Model::save`].
//!
//! ```text
//! model.safetensors       counts      I64 [n_tokens]           how often each token occurred in the text
//!                         embeddings  F32 [n_tokens, dim]      row i is the vector of token i
//!                         nodes       F32 [n_tokens − 1, dim]  row i belongs to inner node i of the Huffman tree
//!                      or outputs     F32 [n_tokens, dim]      row i is what negative sampling tells token i by
//! tokenizer.json          bytes → token ids, in the format of Hugging Face's tokenizers
//! config.json             what model2vec looks for, and under `wordgrove` a ModelConfig and checksums
//! tokenizer_config.json   what transformers looks for
//! modules.json            what sentence-transformers looks for
//! ```
//!
//! model2vec and sentence-transformers load the folder as a static embedding: a text is the mean of its tokens' rows.
//! Counts are signed because PyTorch has little use for unsigned 64-bit numbers. A folder that model2vec wrote opens as
//! well; then there are no counts, nodes, outputs or settings.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::error::{Error, Result};
use crate::files::{FileBytes, checksum};
use crate::math::Matrix;
use crate::progress::EpochReport;
use crate::tokens::Tokenizer;
use crate::vectors::destination::{self, NewFolder};
use crate::vectors::embeddings::{Embeddings, Rows};
use crate::vectors::tensors::{Table, Tensors, read_tensors, write_tensors};

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
    /// The vectors of the Huffman tree's inner nodes, `[n_tokens - 1, dim]`; `None` when the model was not trained here,
    /// or with negative sampling.
    pub nodes: Option<Rows>,
    /// The output vectors of the tokens, `[n_tokens, dim]`; `None` unless the model was trained with negative sampling.
    pub outputs: Option<Rows>,
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
    /// `hs` or `ns`; `None` for vectors that were converted, and for models from before there was a choice.
    pub loss: Option<String>,
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
            return Err(destination::missing(path));
        }
        if !path.is_dir() {
            return Err(Error::format(path, "is a file, expected a model folder"));
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
        let said = config.as_ref().and_then(|config| config.loss.as_deref());
        if let Some((name, loss)) = match said {
            Some("hs") if contents.nodes.is_none() => Some(("nodes", "hs")),
            Some("ns") if contents.outputs.is_none() => Some(("outputs", "ns")),
            _ => None,
        } {
            return Err(Error::format(path, format!("{CONFIG} says loss {loss}, but {TENSORS} has no '{name}'")));
        }
        let embeddings = Embeddings::from_tokens(tokenizer, contents.embeddings, contents.counts);
        Ok(Model {
            embeddings,
            nodes: contents.nodes,
            outputs: contents.outputs,
            config,
            path: path.to_path_buf(),
            checksums,
        })
    }

    /// The vectors of the tree's inner nodes, for what cannot be done without them.
    ///
    /// # Errors
    /// [`Error::Format`] with the reason why this model has none.
    pub fn tree_nodes(&self) -> Result<&Rows> {
        self.nodes.as_ref().ok_or_else(|| {
            Error::format(
                &self.path,
                match self.outputs {
                    Some(_) => "was trained with negative sampling, so there is no tree: train with --loss hs",
                    None => "has no nodes, so no tree: only models that were trained here have one",
                },
            )
        })
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
            if checksum(&FileBytes::open(&path)?) != *wanted {
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
        destination::look(path, may_replace)?;
        // Two matrices, and per token a count and some eighty bytes of tokenizer.json.
        let per_token = 8 * (dim as u64) + 8 + 80;
        destination::check(path, per_token.saturating_mul(n_tokens as u64).saturating_add(1 << 16))
    }

    /// Writes a model folder at `path`; a model that was there is replaced in one step.
    ///
    /// `input` is `[n_tokens, dim]`, `counts` `[n_tokens]`. `output`, where there is one, is that of the tree's nodes,
    /// `[n_tokens - 1, dim]`, or that of the tokens as negative sampling leaves it, `[n_tokens, dim]`: its shape says
    /// which.
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
        assert_eq!(input.n_rows(), counts.len());
        assert_eq!(input.dim(), config.dim);
        let is_of_tree = output.is_some_and(|output| output.n_rows() + 1 == input.n_rows());
        if let Some(output) = output {
            assert_eq!((output.n_rows() + usize::from(is_of_tree), output.dim()), (input.n_rows(), input.dim()));
        }
        let input_row = |row| input.row(row);
        let output_row = |row| output.expect("asked for its own rows only").row(row);
        let table = output.map(|output| Table { n_rows: output.n_rows(), dim: output.dim(), row: &output_row });
        let tensors = Tensors {
            counts: Some(counts),
            embeddings: Table { n_rows: input.n_rows(), dim: input.dim(), row: &input_row },
            nodes: table.filter(|_| is_of_tree),
            outputs: table.filter(|_| !is_of_tree),
        };
        write_folder(path, tokenizer, &tensors, config)
    }

    /// Writes vectors from elsewhere as a model folder, with a tokenizer of their words; there are no nodes and, unless
    /// `embeddings` has them, no counts.
    ///
    /// Vectors that bring no tokenizer get a row of zeros before them, that of the unknown word.
    ///
    /// # Errors
    /// As [`save`](Model::save).
    pub fn save_vectors(path: &Path, embeddings: &Embeddings) -> Result<()> {
        let dim = embeddings.dim();
        let tokenizer = match embeddings.tokenizer() {
            Some(tokenizer) => Cow::Borrowed(tokenizer),
            None => {
                let words = (0..embeddings.n_rows()).map(|row| embeddings.bytes(row).to_vec());
                Cow::Owned(Tokenizer::from_words_and_unknown(words.collect())?)
            }
        };
        let config = ModelConfig {
            wordgrove_version: env!("CARGO_PKG_VERSION").to_string(),
            tokens: if tokenizer.is_words() { "word" } else { "bpe" }.to_string(),
            dim,
            ..ModelConfig::default()
        };
        let n_before = tokenizer.n_tokens() - embeddings.n_rows();
        let unknown = vec![0.0; dim];
        let row = |row: usize| row.checked_sub(n_before).map_or(&unknown[..], |row| embeddings.row(row));
        let embeddings_table = Table { n_rows: tokenizer.n_tokens(), dim, row: &row };
        let tensors = Tensors { counts: embeddings.counts(), embeddings: embeddings_table, nodes: None, outputs: None };
        write_folder(path, &tokenizer, &tensors, &config)
    }
}

fn write_folder(path: &Path, tokenizer: &Tokenizer, tensors: &Tensors<'_>, config: &ModelConfig) -> Result<()> {
    assert_eq!(tensors.embeddings.n_rows, tokenizer.n_tokens());
    destination::look(path, may_replace)?;
    let folder = NewFolder::beside(path)?;
    let write = |name: &str, contents: &dyn Fn(&mut dyn Write) -> io::Result<()>| folder.write(name, contents);
    let json = |value: &Value| serde_json::to_vec_pretty(value).map_err(io::Error::from);
    let checksums = BTreeMap::from([
        (TENSORS, write(TENSORS, &|out| write_tensors(out, tensors))?),
        (TOKENIZER, write(TOKENIZER, &|out| out.write_all(tokenizer.to_json().as_bytes()))?),
        (TOKENIZER_CONFIG, write(TOKENIZER_CONFIG, &|out| out.write_all(&json(&tokenizer_config())?))?),
        (MODULES, write(MODULES, &|out| out.write_all(&json(&modules())?))?),
    ]);
    write(CONFIG, &|out| out.write_all(&json(&full_config(config, &checksums)?)?))?;
    folder.put_in_place(may_replace)
}

/// A model and nothing else: anything else would be lost.
fn may_replace(path: &Path, names: &[OsString]) -> Result<()> {
    if let Some(other) = names.iter().find(|name| !FILES.iter().any(|file| name == file)) {
        let other = Path::new(other).display();
        return Err(Error::format(
            path,
            format!("holds '{other}', which is not part of a model and would be lost: save elsewhere"),
        ));
    }
    match read_config(&path.join(CONFIG)) {
        Ok((Some(_), _)) => Ok(()),
        _ => Err(Error::format(path, "is not a model that wordgrove wrote, and would be lost: save elsewhere")),
    }
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
