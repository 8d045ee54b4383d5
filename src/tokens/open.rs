//! Whatever holds a tokenizer, opened.
//!
//! In: a path. Out: a [`Tokenizer`]. The first bytes of a file say what it is; its name says nothing.

use std::path::Path;

use crate::error::{Error, Result};
use crate::files::FileBytes;
use crate::tokens::{Pattern, Tokenizer};

impl Tokenizer {
    /// Opens a `tokenizer.json`, a `.tiktoken` file, or a folder that holds a `tokenizer.json` (a model does) or GPT-2's
    /// `vocab.json` and `merges.txt`.
    ///
    /// A `.tiktoken` file does not say how text is cut into pieces; `pattern` does, for it alone.
    ///
    /// # Errors
    /// [`Error::Io`] when it cannot be read, [`Error::Format`] when it is something else or broken.
    pub fn open(path: &Path, pattern: Pattern) -> Result<Tokenizer> {
        if path.is_dir() {
            let (json, vocab, merges) = (path.join("tokenizer.json"), path.join("vocab.json"), path.join("merges.txt"));
            if !json.exists() && vocab.exists() && merges.exists() {
                let (vocab_bytes, merges_bytes) = (FileBytes::open(&vocab)?, FileBytes::open(&merges)?);
                return Tokenizer::from_gpt2_files((&vocab_bytes, &vocab), (&merges_bytes, &merges));
            }
            if !json.exists() && merges.exists() {
                let reason = "has a merges.txt without vocab.json: copy it there, or save both again";
                return Err(Error::format(path, reason));
            }
            return Tokenizer::read(&json);
        }
        let bytes = FileBytes::open(path)?;
        match without_bom(&bytes).trim_ascii_start().first() {
            None => Err(Error::format(path, "is empty, expected a tokenizer")),
            Some(b'{') => Tokenizer::from_json(&bytes, path),
            Some(_) if is_tiktoken(without_bom(&bytes)) => Tokenizer::from_tiktoken(&bytes, path, pattern),
            Some(_) => Err(Error::format(
                path,
                "is no tokenizer: expected a tokenizer.json, a .tiktoken file, or a folder with vocab.json and merges.txt",
            )),
        }
    }
}

/// The bytes behind a byte-order mark, which some editors put there.
pub(super) fn without_bom(bytes: &[u8]) -> &[u8] {
    bytes.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(bytes)
}

/// Whether the first line is base64, a space and a number.
fn is_tiktoken(bytes: &[u8]) -> bool {
    let line = bytes.split(|&byte| byte == b'\n').next().unwrap_or_default().trim_ascii_end();
    let Some(space) = line.iter().position(|&byte| byte == b' ') else { return false };
    let (token, rank) = (&line[..space], &line[space + 1..]);
    let is_base64 = |byte: &u8| byte.is_ascii_alphanumeric() || b"+/=".contains(byte);
    !token.is_empty() && token.iter().all(is_base64) && !rank.is_empty() && rank.iter().all(u8::is_ascii_digit)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::progress::Silent;
    use crate::text::Corpus;
    use crate::tokens::{BpeConfig, learn_bpe};

    #[test]
    fn the_same_tokenizer_comes_out_of_every_form() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let corpus = Corpus::from_text("low lower lowest slow slower slowest\n".repeat(3));
        let learned = learn_bpe(&corpus, &BpeConfig { vocab_size: 270, ..BpeConfig::default() }, &Silent).unwrap();
        std::fs::write(at("a"), learned.to_json()).unwrap();
        std::fs::create_dir(at("gpt2")).unwrap();
        let (vocab, merges) = learned.to_gpt2_files().unwrap();
        std::fs::write(at("gpt2/vocab.json"), vocab).unwrap();
        std::fs::write(at("gpt2/merges.txt"), merges).unwrap();
        std::fs::create_dir(at("model")).unwrap();
        std::fs::write(at("model/tokenizer.json"), learned.to_json()).unwrap();
        std::fs::write(at("b"), learned.to_tiktoken().unwrap()).unwrap();
        let text = b"the slowest of the lower ones";
        for name in ["a", "b", "gpt2", "model"] {
            let opened = Tokenizer::open(&at(name), Pattern::Gpt2).unwrap();
            assert_eq!(opened.encode(text), learned.encode(text), "{name}");
            // With the mark that some editors put first.
            for file in
                [at(name), at(name).join("vocab.json"), at(name).join("merges.txt"), at(name).join("tokenizer.json")]
            {
                if let Ok(bytes) = std::fs::read(&file) {
                    std::fs::write(&file, [b"\xEF\xBB\xBF", &bytes[..]].concat()).unwrap();
                }
            }
            let opened = Tokenizer::open(&at(name), Pattern::Gpt2).unwrap();
            assert_eq!(opened.encode(text), learned.encode(text), "{name}");
        }
    }

    #[test]
    fn what_is_no_tokenizer_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        for (name, contents) in [("empty", ""), ("text", "a plain text\n"), ("number", "12 34 56\n")] {
            std::fs::write(folder.path().join(name), contents).unwrap();
            let error = Tokenizer::open(&folder.path().join(name), Pattern::Gpt2).unwrap_err();
            assert!(matches!(error, Error::Format { .. }), "{name}: {error}");
        }
        assert!(matches!(Tokenizer::open(folder.path(), Pattern::Gpt2), Err(Error::Io { .. })));
        std::fs::write(folder.path().join("merges.txt"), "").unwrap();
        let error = Tokenizer::open(folder.path(), Pattern::Gpt2).unwrap_err().to_string();
        assert!(error.contains("merges.txt without vocab.json"), "{error}");
    }
}
