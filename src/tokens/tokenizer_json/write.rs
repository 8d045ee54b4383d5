//! Tokenizer → `tokenizer.json`.

use super::normalizer::write_normalizer;
use crate::tokens::added::AddedToken;
use crate::tokens::spelling::key_of_word;
use crate::tokens::tokenizer::Model;
use crate::tokens::words::{WordSplit, unknown_spelling};
use crate::tokens::{Pattern, TokenId, Tokenizer};

/// Writes a file of version 1.0: a line for each token and each merge.
pub(in crate::tokens) fn write(tokenizer: &Tokenizer) -> String {
    let mut out = String::from("{\n  \"version\": \"1.0\",\n  \"truncation\": null,\n  \"padding\": null,\n");
    let added: Vec<String> = tokenizer.added.iter().map(added_token).collect();
    put_list(&mut out, 2, "\"added_tokens\": [", added.iter().map(String::as_str), "],");
    put(&mut out, &format!("  \"normalizer\": {},\n", write_normalizer(tokenizer.normalizer)));
    let byte_level = |add_prefix_space: bool, use_regex: bool| {
        format!(
            r#"{{"type": "ByteLevel", "add_prefix_space": {add_prefix_space}, "trim_offsets": true, "use_regex": {use_regex}}}"#
        )
    };
    let (pre_tokenizer, decoder) = match &tokenizer.model {
        // The decoder's flags have no bearing; these are what `decoders.ByteLevel()` writes.
        Model::Bpe(bpe) => {
            let split = |pattern: &Pattern| {
                let source = quoted(pattern.source().unwrap_or_default());
                format!(
                    r#"{{"type": "Split", "pattern": {{"Regex": {source}}}, "behavior": "Isolated", "invert": false}}"#
                )
            };
            let pre_tokenizer = match bpe.pattern.steps() {
                [] => byte_level(false, false),
                [Pattern::Gpt2] => byte_level(false, true),
                steps => {
                    let splits: Vec<String> = steps.iter().map(split).collect();
                    format!(
                        r#"{{"type": "Sequence", "pretokenizers": [{}, {}]}}"#,
                        splits.join(", "),
                        byte_level(false, false)
                    )
                }
            };
            (pre_tokenizer, byte_level(true, true))
        }
        Model::Words(words) => match words.split {
            WordSplit::Words => (r#"{"type": "Whitespace"}"#.into(), "null".into()),
            WordSplit::WhiteSpace => (r#"{"type": "WhitespaceSplit"}"#.into(), "null".into()),
        },
    };
    let post_processor = tokenizer.frame.source.as_deref().unwrap_or("null");
    put(&mut out, &format!("  \"pre_tokenizer\": {pre_tokenizer},\n  \"post_processor\": {post_processor},\n"));
    put(&mut out, &format!("  \"decoder\": {decoder},\n  \"model\": {{\n"));
    let key = |id: TokenId| match (tokenizer.added.get(id), &tokenizer.model) {
        (Some(token), _) => quoted(&token.content),
        (None, Model::Bpe(_)) => quoted(&tokenizer.spelling(id)),
        (None, Model::Words(_)) => quoted(&key_of_word(tokenizer.bytes(id))),
    };
    let keys: Vec<String> = (0..tokenizer.n_tokens() as u32).map(|id| key(TokenId(id))).collect();
    let in_vocab = keys.iter().zip(0..).map(|(key, id)| (key, TokenId(id))).take(n_in_vocab(tokenizer));
    let used = in_vocab.filter(|&(_, id)| !tokenizer.is_unused(id));
    let vocab: Vec<String> = used.map(|(key, id)| format!("{key}: {}", id.0)).collect();
    let vocab = vocab.iter().map(String::as_str);
    match &tokenizer.model {
        Model::Bpe(bpe) => {
            put(&mut out, "    \"type\": \"BPE\",\n    \"dropout\": null,\n    \"unk_token\": null,\n");
            put(&mut out, "    \"continuing_subword_prefix\": null,\n    \"end_of_word_suffix\": null,\n");
            put(&mut out, "    \"fuse_unk\": false,\n    \"byte_fallback\": false,\n");
            put(&mut out, &format!("    \"ignore_merges\": {},\n", bpe.merger.whole.is_some()));
            put_list(&mut out, 4, "\"vocab\": {", vocab, "},");
            let merges: Vec<String> = bpe
                .merger
                .pairs
                .merges()
                .iter()
                .map(|merge| format!("[{}, {}]", keys[merge.left as usize], keys[merge.right as usize]))
                .collect();
            put_list(&mut out, 4, "\"merges\": [", merges.iter().map(String::as_str), "]");
        }
        Model::Words(words) => {
            put(&mut out, "    \"type\": \"WordLevel\",\n");
            put_list(&mut out, 4, "\"vocab\": {", vocab, "},");
            let unknown = match words.unknown {
                Some(id) => keys[id.index()].clone(),
                None => quoted(&unknown_spelling(|word| words.words.find(word.as_bytes()).is_some())),
            };
            put(&mut out, &format!("    \"unk_token\": {unknown}\n"));
        }
    }
    out.push_str("  }\n}\n");
    out
}

/// How many ids, the first ones, are in `vocab`.
///
/// Words of a text are looked up there, so that a word that is spelled like an added token would become it. But other
/// programs number added tokens that are not in `vocab` anew, behind as many as are, so only those that stand there anyway
/// can be left out. In the `vocab` of a BPE they do no harm.
fn n_in_vocab(tokenizer: &Tokenizer) -> usize {
    let ids = || (0..tokenizer.n_tokens() as u32).map(TokenId);
    let is_only_added = |id: &TokenId| tokenizer.added.get(*id).is_some() && tokenizer.unknown() != Some(*id);
    match tokenizer.is_words() && !ids().any(|id| tokenizer.is_unused(id)) {
        true => ids().len() - ids().rev().take_while(is_only_added).count(),
        false => ids().len(),
    }
}

fn put(out: &mut String, text: &str) {
    out.push_str(text);
}

/// `open`, the items a line each, `close`, indented by so many spaces.
fn put_list<'s>(out: &mut String, indent: usize, open: &str, items: impl Iterator<Item = &'s str>, close: &str) {
    let margin = &"        "[..indent];
    out.push_str(margin);
    out.push_str(open);
    let mut separator = "\n";
    for item in items {
        out.push_str(separator);
        out.push_str(margin);
        out.push_str("  ");
        out.push_str(item);
        separator = ",\n";
    }
    if separator != "\n" {
        out.push('\n');
        out.push_str(margin);
    }
    out.push_str(close);
    out.push('\n');
}

pub(super) fn quoted(text: &str) -> String {
    serde_json::to_string(text).expect("a string is JSON")
}

fn added_token(token: &AddedToken) -> String {
    let AddedToken { id, content, single_word, lstrip, rstrip, normalized, special } = token;
    format!(
        r#"{{"id": {id}, "content": {}, "single_word": {single_word}, "lstrip": {lstrip}, "rstrip": {rstrip}, "normalized": {normalized}, "special": {special}}}"#,
        quoted(content)
    )
}

#[cfg(test)]
mod tests {
    use crate::progress::Silent;
    use crate::text::{Corpus, Form, Normalizer};
    use crate::tokens::tokenizer_json::sample::accepted;
    use crate::tokens::{BpeConfig, TokenId, Tokenizer, WordSplit, WordsConfig, learn_bpe, learn_words};

    fn small_bpe() -> Tokenizer {
        let text = "the king and the queen \"of\" the kings; 中文 中文字 'tis don't — naïve\r\n".repeat(3);
        let config = BpeConfig {
            vocab_size: 320,
            normalizer: Normalizer { lowercase: true, form: Some(Form::Nfkc) },
            ..BpeConfig::default()
        };
        learn_bpe(&Corpus::from_text(text), &config, &Silent).unwrap()
    }

    #[test]
    fn words_are_written_as_they_are_and_read_again() {
        // The literal word \x20 in a text, and words that are not UTF-8 or have spaces in them.
        let config = WordsConfig { min_count: 1, split: WordSplit::WhiteSpace, ..WordsConfig::default() };
        let learned = learn_words(&Corpus::from_text("a \\x20 \\x5Cx20 b"), &config, &Silent).unwrap();
        let words: [&[u8]; 7] = [b"a b", b"\\x20", b"\xE4", b"\\xE4", b"\\xE4 ", b"\\x5CxE4\\x20 ", b""];
        let listed = Tokenizer::from_words(words.map(<[u8]>::to_vec).to_vec()).unwrap();
        for tokenizer in [learned, listed] {
            let json = tokenizer.to_json();
            let again = accepted(&json);
            assert_eq!(again.to_json(), json);
            for id in (0..tokenizer.n_tokens() as u32).map(TokenId) {
                assert_eq!(again.bytes(id), tokenizer.bytes(id));
            }
            assert_eq!(again.encode(b"a \\x20 \\x5Cx20"), tokenizer.encode(b"a \\x20 \\x5Cx20"));
        }
        let json = Tokenizer::from_words(vec![b"\\x20".to_vec()]).unwrap().to_json();
        assert!(json.contains(r#""\\x20": 0"#), "{json}");
    }

    #[test]
    fn what_is_written_reads_as_the_same_tokenizer() {
        let config = WordsConfig { min_count: 1, ..WordsConfig::default() };
        let words = learn_words(&Corpus::from_text("a b \"c\" \\ [UNK] é"), &config, &Silent).unwrap();
        let listed = Tokenizer::from_words(vec![b"new".to_vec(), b"[UNK]".to_vec()]).unwrap();
        for tokenizer in [small_bpe(), words, listed] {
            let json = tokenizer.to_json();
            let again = accepted(&json);
            assert_eq!(again.to_json(), json);
            assert_eq!(again.normalizer(), tokenizer.normalizer());
            let text = "The KING ﬁnds 中文字, don't \"c\" ② [UNK] new\n".as_bytes();
            assert_eq!(again.encode(text), tokenizer.encode(text));
            assert_eq!(again.is_words(), tokenizer.is_words());
        }
    }
}
