//! Whatever holds vectors, opened.
//!
//! In: a path. Out: [`Embeddings`]. The name of a file says nothing, its first bytes do; what cannot be read is called
//! by its name, with the way to convert it. Nothing here ever runs code from a file.

use std::path::Path;

use crate::error::{Error, Result};
use crate::files::FileBytes;
use crate::vectors::embeddings::Embeddings;
use crate::vectors::model::Model;
use crate::vectors::word2vec::{self, Layout, ReadOptions};

/// What was at a path.
#[derive(Debug)]
pub struct Opened {
    /// The vectors.
    pub embeddings: Embeddings,
    /// What they came from.
    pub source: Source,
    /// What the user should know: rows that were left out, and why.
    pub warnings: Vec<String>,
}

/// What vectors came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// A [`Model`] folder.
    Model,
    /// A file of vectors.
    File(Layout),
}

/// Opens a model folder, or a file in word2vec's text or binary form or GloVe's.
///
/// # Errors
/// [`Error::Io`] when it cannot be read; [`Error::Format`] when it is something else, or is broken.
pub fn open(path: &Path, options: ReadOptions) -> Result<Opened> {
    if path.is_dir() || !path.exists() {
        let embeddings = Model::open(path)?.embeddings;
        return Ok(Opened { embeddings, source: Source::Model, warnings: Vec::new() });
    }
    let bytes = FileBytes::open(path)?;
    if let Some(reason) = foreign(&bytes) {
        return Err(Error::format(path, reason));
    }
    let (layout, reading) = word2vec::read(&bytes, path, options)?;
    Ok(Opened { embeddings: reading.embeddings, source: Source::File(layout), warnings: reading.warnings })
}

/// The formats that are known by their first bytes and not read here: those bytes, what it is, what to do.
const FOREIGN: [(&[u8], &str); 22] = [
    (b"\x1f\x8b", "is compressed with gzip: unpack it first (gzip -dk FILE)"),
    (b"\x28\xb5\x2f\xfd", "is compressed with zstd: unpack it first (zstd -dk FILE)"),
    (b"\xfd7zXZ\x00", "is compressed with xz: unpack it first (xz -dk FILE)"),
    (b"BZh", "is compressed with bzip2: unpack it first (bzip2 -dk FILE)"),
    (
        b"PK\x03\x04",
        "is a zip archive, as numpy's .npz and PyTorch's .pt are: unpack it, or convert it; a .pt holds code, \
      which is never run: where it came from, save {'embeddings': tensor} with safetensors",
    ),
    (b"\x80\x02", PICKLE),
    (b"\x80\x03", PICKLE),
    (b"\x80\x04", PICKLE),
    (b"\x80\x05", PICKLE),
    (b"ccopy_reg\n", PICKLE),
    (b"(dp0", PICKLE),
    (b"\x93NUMPY", "is a numpy array without words: write lines of a word and its numbers instead"),
    (b"\x89HDF\r\n\x1a\n", "is an HDF5 file: write lines of a word and its numbers instead"),
    (b"FiFu", "is a finalfusion file: convert it with `finalfusion convert FILE out.txt -f finalfusion -t textdims`"),
    (
        b"\xba\x16\x4f\x2f",
        "is a fastText model: convert it with gensim, \
      fasttext.load_facebook_vectors(FILE).save_word2vec_format('out.txt'), or use the .vec file beside it",
    ),
    (b"GGUF", "is a GGUF model, not a file of word vectors"),
    (b"PAR1", "is a Parquet file: write lines of a word and its numbers instead"),
    (b"ARROW1", "is an Arrow file: write lines of a word and its numbers instead"),
    (b"SQLite format 3\x00", "is an SQLite database, not a file of word vectors"),
    (b"\xff\xfe", "is UTF-16 text: convert it to UTF-8 first (iconv -f UTF-16 -t UTF-8 FILE)"),
    (b"\xfe\xff", "is UTF-16 text: convert it to UTF-8 first (iconv -f UTF-16 -t UTF-8 FILE)"),
    (b"\x7fELF", "is a program, not a file of word vectors"),
];

/// Pickles are programs. They are recognised and never read.
const PICKLE: &str = "is a Python pickle (gensim's .model and .kv, PyTorch's old .pt), which could run code and is never \
                      read: where it came from, convert it with gensim, \
                      KeyedVectors.load(FILE).save_word2vec_format('out.txt')  (of a .model: Word2Vec.load(FILE).wv.…)";

/// What a file is, when it is something that we know and don't read.
fn foreign(bytes: &[u8]) -> Option<&'static str> {
    if let Some((_, reason)) = FOREIGN.iter().find(|(magic, _)| bytes.starts_with(magic)) {
        return Some(reason);
    }
    // A safetensors file: the length of its header, then the JSON of it.
    if bytes.get(8) == Some(&b'{') && bytes[..8].iter().rev().take(4).all(|&byte| byte == 0) {
        return Some("is a safetensors file: give the folder that holds it together with its tokenizer.json");
    }
    let start = bytes.trim_ascii_start();
    if start.starts_with(b"{\"") || start.starts_with(b"{\n") {
        return Some("is JSON: give the model's folder, or a file of vectors");
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_read_is_called_by_its_name() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("vectors.txt");
        let named = |bytes: &[u8]| {
            std::fs::write(&path, bytes).unwrap();
            let message = open(&path, ReadOptions::default()).unwrap_err().to_string();
            assert!(message.starts_with(&path.display().to_string()), "{message}");
            message
        };
        assert!(named(b"\x80\x04\x95\x10\x00").contains("pickle"));
        assert!(named(b"\x80\x04\x95\x10\x00").contains("save_word2vec_format"));
        assert!(named(b"\x1f\x8b\x08\x00").contains("gzip -dk"));
        assert!(named(b"PK\x03\x04rest").contains(".npz"));
        assert!(named(b"\x93NUMPY\x01\x00").contains("numpy"));
        assert!(named(b"FiFu\x00\x00").contains("finalfusion"));
        assert!(named(b"\xba\x16\x4f\x2f\x0c\x00\x00\x00").contains("fastText"));
        assert!(named(b"\x10\0\0\0\0\0\0\0{\"a\":1}        ").contains("safetensors"));
        assert!(named(b"{\"version\": \"1.0\"}").contains("JSON"));
        assert!(named(b"").contains("empty"));
        assert!(named(b"Some words\nand others.\n").contains("not a file of vectors"));
        assert!(named(&[0, 1, 2, 3, 4, 5]).contains("not a file of vectors"));
    }

    #[test]
    fn a_missing_path_and_a_folder_without_a_model_are_named() {
        let folder = tempfile::tempdir().unwrap();
        let message = open(folder.path(), ReadOptions::default()).unwrap_err().to_string();
        assert!(message.contains("without model.safetensors"), "{message}");
        assert!(matches!(open(&folder.path().join("x"), ReadOptions::default()), Err(Error::Io { .. })));
        std::fs::create_dir(folder.path().join(".x.wordgrove-old-abc123")).unwrap();
        let message = open(&folder.path().join("x"), ReadOptions::default()).unwrap_err().to_string();
        assert!(message.contains(".x.wordgrove-old-abc123"), "{message}");
    }
}
