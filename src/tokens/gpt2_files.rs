//! GPT-2's two files: `vocab.json`, tokens with their ids, and `merges.txt`, a merge a line.
//!
//! Tokens are spelled in the byte-level alphabet in both. The pattern is GPT-2's; a token of the vocabulary that is
//! neither a byte nor made by a merge is special.

use std::path::Path;

use crate::error::{Error, Result};
use crate::text::Normalizer;
use crate::tokens::added::AddedToken;
use crate::tokens::open::without_bom;
use crate::tokens::tokenizer::Model;
use crate::tokens::{Pattern, TokenId, Tokenizer, tokenizer_json};

impl Tokenizer {
    /// Reads the bytes of a `vocab.json` and of the `merges.txt` beside it; the paths are for messages.
    ///
    /// # Errors
    /// [`Error::Format`] names the file, the line and what it should be.
    pub fn from_gpt2_files(vocab: (&[u8], &Path), merges: (&[u8], &Path)) -> Result<Tokenizer> {
        let (vocab, vocab_path) = vocab;
        let (merges, merges_path) = merges;
        let lines = read_merges(without_bom(merges)).map_err(|reason| Error::format(merges_path, reason))?;
        let (bpe, added) = tokenizer_json::read_gpt2(without_bom(vocab), &lines, Pattern::Gpt2)
            .map_err(|reason| Error::format(vocab_path, reason))?;
        Ok(Tokenizer::from_bpe(bpe, added, Normalizer::default()))
    }

    /// The `vocab.json` and the `merges.txt`, as text.
    ///
    /// # Errors
    /// [`Error::Config`] for what the files cannot say: whole words, another pattern than GPT-2's, a normalizer, what is put
    /// around a text, `ignore_merges`, added tokens that are not plain special ones.
    pub fn to_gpt2_files(&self) -> Result<(String, String)> {
        let refuse = |reason: &str| Error::config("merges.txt", reason);
        let Model::Bpe(bpe) = &self.model else {
            return Err(refuse("these are whole words, the format is for byte-level BPE"));
        };
        if bpe.pattern != Pattern::Gpt2 {
            return Err(refuse("has no place for another pattern than GPT-2's"));
        }
        if bpe.merger.whole.is_some() {
            return Err(refuse("has no place for ignore_merges"));
        }
        // Without a normalizer it is all the same in which text they are found, if it is the same one for all.
        let normalized = self.added.iter().any(|token| token.normalized);
        let is_plain =
            |token: &AddedToken| *token == AddedToken { normalized, ..AddedToken::special(token.id, &*token.content) };
        self.check_bare(is_plain).map_err(|reason| refuse(&reason))?;
        let key = |id: u32| match self.added.get(TokenId(id)) {
            Some(token) => token.content.clone(),
            None => self.spelling(TokenId(id)),
        };
        let quoted = |id: u32| serde_json::to_string(&key(id)).expect("a string is JSON");
        let used = (0..self.n_tokens() as u32).filter(|&id| !self.is_unused(TokenId(id)));
        let vocab: Vec<String> = used.map(|id| format!("{}: {id}", quoted(id))).collect();
        let vocab = format!("{{{}}}", vocab.join(", "));
        let mut merges = String::from("#version: 0.2\n");
        for merge in bpe.merger.pairs.merges() {
            merges.push_str(&format!("{} {}\n", key(merge.left), key(merge.right)));
        }
        // Which tokens are special follows from what merges make; it must follow as it is.
        let names = (Path::new("vocab.json"), Path::new("merges.txt"));
        let again = Tokenizer::from_gpt2_files((vocab.as_bytes(), names.0), (merges.as_bytes(), names.1));
        let special = |tokenizer: &Tokenizer| tokenizer.added.iter().map(|token| token.id).collect::<Vec<_>>();
        let same =
            |again: &Tokenizer| special(again) == special(self) && again.tokens().iter().eq(self.tokens().iter());
        match again {
            Ok(again) if same(&again) => Ok((vocab, merges)),
            _ => Err(refuse("cannot say which tokens are special: those that no merge makes are others")),
        }
    }
}

/// The merges, two tokens each.
fn read_merges(file: &[u8]) -> Result<Vec<(&str, &str)>, String> {
    let file = std::str::from_utf8(file).map_err(|error| format!("is not UTF-8: {error}"))?;
    let mut merges = Vec::new();
    for (number, line) in file.lines().enumerate() {
        if line.starts_with("#version") || line.is_empty() {
            continue;
        }
        match line.split_once(' ') {
            Some((left, right)) if !right.contains(' ') => merges.push((left, right)),
            _ => {
                let shown: String = line.chars().take(60).collect();
                return Err(format!("line {}: '{shown}' is not two tokens with a space between them", number + 1));
            }
        }
    }
    Ok(merges)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::progress::Silent;
    use crate::text::Corpus;
    use crate::tokens::{BpeConfig, SpecialTokens, learn_bpe};

    fn read(vocab: &str, merges: &str) -> Result<Tokenizer> {
        let (vocab, merges) = (vocab.as_bytes(), merges.as_bytes());
        Tokenizer::from_gpt2_files((vocab, Path::new("vocab.json")), (merges, Path::new("merges.txt")))
    }

    #[test]
    fn what_is_written_reads_as_the_same_tokenizer() {
        let config = BpeConfig { vocab_size: 340, special_tokens: vec!["<|end|>".into()], ..BpeConfig::default() };
        let text = "the king and the queen of the kings; 中文 中文字\n".repeat(3);
        let tokenizer = learn_bpe(&Corpus::from_text(text), &config, &Silent).unwrap();
        let (vocab, merges) = tokenizer.to_gpt2_files().unwrap();
        assert!(merges.starts_with("#version: 0.2\n"));
        assert_eq!(read(&vocab, &merges).unwrap().to_json(), tokenizer.to_json());
        let last = tokenizer.n_tokens() as u32 - 1;
        let gap = vocab.replace(&format!(": {last}}}"), &format!(": {}}}", last + 7));
        let again = read(&gap, &merges).unwrap();
        assert!(again.is_unused(TokenId(last)) && !again.is_unused(TokenId(last + 7)));
        assert_eq!(again.to_gpt2_files().unwrap(), (gap, merges));
    }

    #[test]
    fn a_token_that_no_merge_makes_is_special_or_the_text_that_it_spells() {
        let tokenizer =
            learn_bpe(&Corpus::from_text("a"), &BpeConfig { vocab_size: 256, ..BpeConfig::default() }, &Silent);
        let (vocab, merges) = tokenizer.unwrap().to_gpt2_files().unwrap();
        let more = r#", "<|end|>": 256, "Ġzork": 257, "<｜end｜>": 258}"#;
        let read = read(&(vocab.strip_suffix('}').unwrap().to_string() + more), &merges).unwrap();
        assert_eq!([256, 257, 258].map(|id| read.is_special(TokenId(id))), [true, false, true]);
        assert_eq!(read.decode(&[TokenId(257)]).unwrap(), b" zork");
        assert_eq!(read.decode(&[TokenId(258)]).unwrap(), "<｜end｜>".as_bytes());
        assert_eq!(read.encode_with("<｜end｜><|end|>".as_bytes(), SpecialTokens::Found), [258, 256].map(TokenId));
        assert_eq!(read.decode(&read.encode("Ġzork zork".as_bytes())).unwrap(), "Ġzork zork".as_bytes());
    }

    #[test]
    fn what_the_files_cannot_say_is_refused_by_name() {
        let special = vec!["<|end|>".into()];
        let config = BpeConfig { vocab_size: 270, special_tokens: special, ..BpeConfig::default() };
        let tokenizer = learn_bpe(&Corpus::from_text("low lower lowest\n".repeat(9)), &config, &Silent).unwrap();
        let json = tokenizer.to_json();
        let read = |json: &str| Tokenizer::from_json(json.as_bytes(), Path::new("t.json")).unwrap();
        let frame = r#""post_processor": {"type": "BertProcessing", "sep": ["<|end|>", 0], "cls": ["<|end|>", 0]}"#;
        let pattern = r#"{"type": "Split", "pattern": {"Regex": " ?."}, "behavior": "Isolated"}, {"type": "ByteLevel", "add_prefix_space": false, "use_regex": false}"#;
        let by_bytes = r#"{"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true}"#;
        let by_pattern = format!(r#"{{"type": "Sequence", "pretokenizers": [{pattern}]}}"#);
        for (from, to, reason) in [
            (r#""lstrip": false"#, r#""lstrip": true"#, "added tokens like <|end|>"),
            (r#""normalizer": null"#, r#""normalizer": {"type": "NFC"}"#, "a normalizer"),
            (r#""post_processor": null"#, frame, "a post-processor"),
            (r#""ignore_merges": false"#, r#""ignore_merges": true"#, "ignore_merges"),
            (by_bytes, &by_pattern, "another pattern"),
            // Ordinary, though no merge makes it; and special, though its spelling is that of a text.
            (r#""vocab": {"#, r#""vocab": {"zork": 270, "#, "which tokens are special"),
            ("<|end|>", "Ġend", "which tokens are special"),
        ] {
            let other = json.replace(from, to);
            assert_ne!(other, json, "{from}");
            let error = read(&other).to_gpt2_files().unwrap_err().to_string();
            assert!(error.contains(reason), "{error:?} does not say {reason:?}");
        }
        // No loss: a flag without effect, which GPT-2's own file has, and a post-processor that puts nothing beside a text.
        assert!(read(&json.replace(r#""normalized": false"#, r#""normalized": true"#)).to_gpt2_files().is_ok());
        let trims = r#""post_processor": {"type": "ByteLevel", "trim_offsets": false}"#;
        assert!(read(&json.replace(r#""post_processor": null"#, trims)).to_gpt2_files().is_ok());
    }

    #[test]
    fn hostile_files_are_refused_by_name_and_line() {
        let tokenizer =
            learn_bpe(&Corpus::from_text("ab ab"), &BpeConfig { vocab_size: 257, ..BpeConfig::default() }, &Silent);
        let (vocab, merges) = tokenizer.unwrap().to_gpt2_files().unwrap();
        assert!(read(&vocab, &merges).is_ok());
        let cases = [
            (vocab.clone(), "a b c\n".to_string(), "merges.txt: line 1: 'a b c' is not two"),
            (vocab.clone(), format!("{merges}ab\n"), "merges.txt: line 3"),
            (vocab.clone(), "a x\n".into(), "vocab.json: merge 0, \"a\" \"x\", needs the token \"ax\""),
            (vocab.replace("256", "3000"), merges.clone(), "id 3000"),
            (vocab.replace("256", "\"x\""), merges.clone(), "vocab.json"),
            (vocab.replace('{', "["), merges.clone(), "vocab.json"),
            ("{".repeat(100_000), merges.clone(), "vocab.json"),
        ];
        for (vocab, merges, reason) in cases {
            let error = read(&vocab, &merges).unwrap_err().to_string();
            assert!(error.contains(reason), "{error:?} does not say {reason:?}");
        }
    }
}
