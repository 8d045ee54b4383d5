//! `tokenizer.json`, the format of Hugging Face tokenizers: versions 1.0 and 2.0 are read, 1.0 is written.
//!
//! In: the bytes of such a file. Out: a [`Tokenizer`], and back. The one idea: every part of the file is either honoured
//! or refused by its name; what cannot change any id of a byte-level BPE or a word list is accepted.
//!
//! | part | accepted |
//! |---|---|
//! | `model` | `BPE` in which every byte has a token, without dropout, prefix and suffix; `WordLevel` |
//! | `normalizer` | none, `Lowercase`, `NFC`, `NFKC`, a `Sequence` of a form and then `Lowercase` |
//! | `pre_tokenizer` | for BPE `ByteLevel` and at most one `Split` by a regex; for words `Whitespace`, `WhitespaceSplit` |
//! | `decoder` | none, `ByteLevel` |
//! | `added_tokens` | any; they are rows |
//! | `post_processor` | any: it puts special tokens around a text on request, which is never made here |
//! | `truncation`, `padding` | none |
//!
//! Ids are rows, so they must be 0, 1, 2, … without a gap.

mod read;
mod write;

pub(super) use read::{read, read_gpt2};
pub(super) use write::write;

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::write::quoted;
    use crate::progress::Silent;
    use crate::text::{Corpus, Form, Normalizer};
    use crate::tokens::{
        BpeConfig, SpecialTokens, TokenId, Tokenizer, WordsConfig, byte_alphabet, learn_bpe, learn_words,
    };

    fn small_bpe() -> Tokenizer {
        let text = "the king and the queen \"of\" the kings; 中文 中文字 'tis don't — naïve\r\n".repeat(3);
        let config = BpeConfig {
            vocab_size: 320,
            normalizer: Normalizer { lowercase: true, form: Some(Form::Nfkc) },
            ..BpeConfig::default()
        };
        learn_bpe(&Corpus::from_text(text), &config, &Silent).unwrap()
    }

    /// Refused with a message.
    fn refused(json: &str) -> String {
        let error = Tokenizer::from_json(json.as_bytes(), Path::new("t.json")).unwrap_err().to_string();
        assert!(error.starts_with("t.json: "), "{error}");
        error
    }

    /// A file with all bytes, and more to put into its model.
    fn file(more_vocab: &str, merges: &str, more: &str) -> String {
        let bytes: Vec<String> = byte_alphabet::bytes_in_order()
            .enumerate()
            .map(|(id, byte)| format!("{}:{id}", quoted(&byte_alphabet::spell(&[byte]))))
            .collect();
        format!(
            r#"{{"version":"1.0","pre_tokenizer":{{"type":"ByteLevel","add_prefix_space":false}},
            "model":{{"type":"BPE","vocab":{{{}{more_vocab}}},"merges":{merges}}}{more}}}"#,
            bytes.join(",")
        )
    }

    #[test]
    fn what_is_written_reads_as_the_same_tokenizer() {
        let config = WordsConfig { min_count: 1, ..WordsConfig::default() };
        let words = learn_words(&Corpus::from_text("a b \"c\" \\ [UNK] é"), &config, &Silent).unwrap();
        let listed = Tokenizer::from_words(vec![b"new".to_vec(), b"[UNK]".to_vec()]).unwrap();
        for tokenizer in [small_bpe(), words, listed] {
            let json = tokenizer.to_json();
            let again = Tokenizer::from_json(json.as_bytes(), Path::new("t.json")).unwrap();
            assert_eq!(again.to_json(), json);
            assert_eq!(again.normalizer(), tokenizer.normalizer());
            let text = "The KING ﬁnds 中文字, don't \"c\" ② [UNK] new\n".as_bytes();
            assert_eq!(again.encode(text), tokenizer.encode(text));
            assert_eq!(again.is_words(), tokenizer.is_words());
        }
    }

    #[test]
    fn merges_are_read_in_both_forms_and_added_tokens_are_rows() {
        let more = r#","added_tokens":[{"id":258,"content":"<|end|>","special":true}]"#;
        for merges in [r#"[["a","b"],["Ġ","ab"]]"#, r#"["a b","Ġ ab"]"#] {
            let json = file(r#","ab":256,"Ġab":257"#, merges, more);
            let tokenizer = Tokenizer::from_json(json.as_bytes(), Path::new("t.json")).unwrap();
            assert_eq!(tokenizer.encode(b"ab ab"), [TokenId(256), TokenId(257)]);
            assert!(tokenizer.is_special(TokenId(258)) && !tokenizer.is_special(TokenId(257)));
            assert_eq!(tokenizer.bytes(TokenId(258)), b"<|end|>");
            assert!(tokenizer.encode(b"<|end|>").len() > 1, "a text is a text");
            let ids = tokenizer.encode_with(b"ab<|end|> ab", SpecialTokens::Found);
            assert_eq!(ids, [TokenId(256), TokenId(258), TokenId(257)]);
            assert_eq!(tokenizer.decode(&ids).unwrap(), b"ab<|end|> ab");
            let again = Tokenizer::from_json(tokenizer.to_json().as_bytes(), Path::new("t.json")).unwrap();
            assert_eq!(again.to_json(), tokenizer.to_json());
        }
    }

    #[test]
    fn splits_whole_pieces_and_version_2_are_read() {
        let split = r#"{"type":"Split","pattern":{"Regex":" ?[a-z]+"},"behavior":"Isolated","invert":false}"#;
        let bare = r#"{"type":"ByteLevel","add_prefix_space":false}"#;
        let unsplit = r#"{"type":"ByteLevel","add_prefix_space":false,"use_regex":false}"#;
        let first = file(r#","ab":256,"bc":257,"abc":258"#, r#"["b c","a bc"]"#, "");
        let two = first.replace(bare, split).replace("\"1.0\"", "\"2.0\"");
        let two = two.replace("\"type\":\"BPE\"", "\"type\":\"BPE\",\"byte_level\":true");
        let one = first.replace(bare, &format!(r#"{{"type":"Sequence","pretokenizers":[{split},{unsplit}]}}"#));
        for json in [one, two] {
            let tokenizer = Tokenizer::from_json(json.as_bytes(), Path::new("t.json")).unwrap();
            assert_eq!(tokenizer.encode(b"abc"), [TokenId(258)]);
            assert_eq!(
                Tokenizer::from_json(tokenizer.to_json().as_bytes(), Path::new("t.json")).unwrap().to_json(),
                tokenizer.to_json()
            );
        }
        let whole =
            first.replace(bare, unsplit).replace("\"abc\"", "\"b Ġ\"").replace("a bc", "bc Ġ").replace("b Ġ", "bcĠ");
        let tokenizer = Tokenizer::from_json(whole.as_bytes(), Path::new("t.json")).unwrap();
        assert_eq!(tokenizer.encode(b"bc "), [TokenId(258)]);
        // ab is no merge, but it is a token.
        let ignoring = first.replace("\"type\":\"BPE\"", "\"type\":\"BPE\",\"ignore_merges\":true");
        let tokenizer = Tokenizer::from_json(ignoring.as_bytes(), Path::new("t.json")).unwrap();
        assert_eq!((tokenizer.encode(b"ab").len(), tokenizer.encode(b"abb").len()), (1, 3));
        assert!(tokenizer.to_json().contains("\"ignore_merges\": true"));
    }

    #[test]
    fn hostile_files_are_refused_with_the_reason() {
        let ok = file("", "[]", "");
        assert!(Tokenizer::from_json(ok.as_bytes(), Path::new("t.json")).is_ok());
        let cases = [
            (file("", r#"[["a","b"]]"#, ""), r#"needs the token "ab""#),
            (file("", r#"[["a","xyz"]]"#, ""), r#"needs the token "xyz""#),
            (file(r#","ab":256"#, r#"["a b c"]"#, ""), "is not two tokens"),
            (file(r#","ab":256"#, r#"[["a","b","c"]]"#, ""), "merges"),
            (file(r#","ab":256,"ab":257"#, "[]", ""), r#"token "ab" twice"#),
            (file(r#","ab":255"#, "[]", ""), "the id 255 to two tokens"),
            (file(r#","ab":257"#, "[]", ""), "without a gap"),
            (file(r#","ab":4000000000"#, "[]", ""), "id 4000000000"),
            (file(r#","ab":18446744073709551615"#, "[]", ""), "id 18446744073709551615"),
            (file(r#","ab":-1"#, "[]", ""), "model"),
            (file(r#","ab":"256""#, "[]", ""), "model"),
            (file(r#","a b":256"#, "[]", ""), "byte-level alphabet"),
            (file("", r#""ab""#, ""), "merges"),
            (file("", "{}", ""), "merges"),
            (file("", "[1]", ""), "merges"),
            (file("", "[]", r#","extra":1"#), "unknown field `extra`"),
            (file("", "[]", r#","padding":{}"#), "padding"),
            (file("", "[]", r#","truncation":{"max_length":0}"#), "truncation"),
            (file("", "[]", r#","normalizer":{"type":"StripAccents"}"#), "StripAccents"),
            (file("", "[]", r#","decoder":{"type":"WordPiece"}"#), "WordPiece"),
            (file("", "[]", r#","added_tokens":[{"id":3,"content":"xy","special":true}]"#), "the id 3 to two tokens"),
            (file("", "[]", r#","added_tokens":{}"#), "added_tokens"),
            (ok.replace("\"1.0\"", "\"3.0\""), "version \"3.0\""),
            (ok.replace("\"1.0\"", "1"), "no tokenizer.json"),
            (ok.replace("ByteLevel", "Metaspace"), "Metaspace"),
            (ok.replace("\"BPE\"", "\"Unigram\""), "Unigram"),
            (ok.replace("\"a\":64,", ""), "without a gap"),
            (ok.replace("\"a\":64", "\"aa\":64"), "byte 0x61"),
            (ok.replace("\"BPE\"", "\"BPE\",\"dropout\":0.1"), "dropout"),
            (ok.replace("\"BPE\"", "\"BPE\",\"end_of_word_suffix\":\"</w>\""), "end_of_word_suffix"),
            (ok.replace("\"BPE\"", "\"BPE\",\"surprise\":1"), "surprise"),
            (ok[..ok.len() / 2].to_string(), "no tokenizer.json"),
            (String::new(), "no tokenizer.json"),
            ("[]".into(), "no tokenizer.json"),
            ("[".repeat(1_000_000), "no tokenizer.json"),
            (
                file("", "[]", &format!(r#","normalizer":{}1{}"#, "[".repeat(100_000), "]".repeat(100_000))),
                "normalizer",
            ),
            (file("", &format!("{}1{}", "[".repeat(100_000), "]".repeat(100_000)), ""), "merges"),
        ];
        for (json, reason) in cases {
            let error = refused(&json);
            assert!(error.contains(reason), "{error:?} does not say {reason:?}");
        }
        assert!(Tokenizer::from_json(b"\xFF\xFE{\0", Path::new("t.json")).unwrap_err().to_string().contains("UTF-8"));
    }

    #[test]
    fn very_many_merges_are_read_or_refused_quickly() {
        let mut merges = String::from("[");
        for _ in 0..300_000 {
            merges.push_str("[\"a\",\"b\"],");
        }
        let json = file(r#","ab":256"#, &(merges + r#"["a","x"]]"#), "");
        assert!(refused(&json).contains("merge 300000"));
    }

    #[test]
    fn every_beginning_of_a_file_is_refused() {
        let json = file(r#","ab":256"#, r#"[["a","b"]]"#, "");
        for end in 0..json.len() {
            if json.is_char_boundary(end) {
                assert!(Tokenizer::from_json(&json.as_bytes()[..end], Path::new("t.json")).is_err());
            }
        }
    }
}
