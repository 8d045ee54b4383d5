//! `tokenizer.json`, the format of Hugging Face tokenizers: versions 1.0 and 2.0 are read, 1.0 is written.
//!
//! In: the bytes of such a file. Out: a [`Tokenizer`], and back. The one idea: every part of the file is either honoured
//! or refused by its name; what cannot change any id of a byte-level BPE or a word list is accepted.
//!
//! | part | accepted |
//! |---|---|
//! | `model` | `BPE` in which every byte has a token, without dropout, prefix and suffix; `WordLevel` |
//! | `normalizer` | none, `Lowercase`, `NFC`, `NFKC`, a `Sequence` of a form and then `Lowercase` |
//! | `pre_tokenizer` | for BPE any number of `Split`, `Digits` and `Punctuation` and then `ByteLevel`; for words `Whitespace`, `WhitespaceSplit` |
//! | `decoder` | none, `ByteLevel` |
//! | `added_tokens` | any; they are rows |
//! | `post_processor` | `TemplateProcessing`, `BertProcessing`, `RobertaProcessing`, `ByteLevel`, a `Sequence` of them; honoured where a text is encoded with [`SpecialTokens::Framed`](crate::tokens::SpecialTokens) |
//! | `truncation`, `padding` | none |
//!
//! Ids are rows. A BPE may leave some of them without a token (cl100k does), but not more than have one; they stay as
//! they are, see [`Tokenizer::is_unused`](crate::tokens::Tokenizer::is_unused). Those of words must be 0, 1, 2, ….

mod post_processor;
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

    /// A file whose text is cut by these steps first.
    fn cut(steps: &str) -> String {
        let bare = r#"{"type":"ByteLevel","add_prefix_space":false}"#;
        let bytes = r#"{"type":"ByteLevel","add_prefix_space":false,"use_regex":false}"#;
        file("", "[]", "").replace(bare, &format!(r#"{{"type":"Sequence","pretokenizers":[{steps},{bytes}]}}"#))
    }

    /// A template in which `x` has this id.
    fn template(single: &str, id: u64) -> String {
        format!(
            r#","post_processor":{{"type":"TemplateProcessing","single":{single},"pair":[],
            "special_tokens":{{"x":{{"id":"x","ids":[{id}],"tokens":["x"]}}}}}}"#
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
    fn ids_without_a_token_stay_and_cannot_be_decoded() {
        let json = file(
            r#","ab":258,"abc":261"#,
            r#"["a b","ab c"]"#,
            r#","added_tokens":[{"id":300,"content":"∅259","special":true}]"#,
        );
        let tokenizer = Tokenizer::from_json(json.as_bytes(), Path::new("t.json")).unwrap();
        assert_eq!(tokenizer.n_tokens(), 301);
        assert_eq!(tokenizer.encode(b"abcab"), [TokenId(261), TokenId(258)]);
        for id in [256, 257, 259, 299].map(TokenId) {
            assert!(tokenizer.is_unused(id) && tokenizer.is_special(id));
            assert_eq!(tokenizer.bytes(id), b"");
            assert_eq!(tokenizer.id_of_spelling(&tokenizer.spelling(id)), Some(id));
            assert_eq!(tokenizer.id_of_name(&tokenizer.name(id)), Some(id));
            let error = tokenizer.decode(&[TokenId(261), id]).unwrap_err().to_string();
            assert!(error.contains(&format!("{} (number 2 of the ids) is an id that no token has", id.0)), "{error}");
        }
        assert_eq!(
            (tokenizer.spelling(TokenId(256)), tokenizer.spelling(TokenId(259))),
            ("∅256".into(), "∅∅259".into())
        );
        assert!(!tokenizer.is_unused(TokenId(300)) && !tokenizer.is_unused(TokenId(258)));
        let again = Tokenizer::from_json(tokenizer.to_json().as_bytes(), Path::new("t.json")).unwrap();
        assert_eq!(again.to_json(), tokenizer.to_json());
        assert_eq!((again.n_tokens(), again.encode(b"abcab")), (301, tokenizer.encode(b"abcab")));
    }

    #[test]
    fn a_frame_is_put_around_a_text_where_it_is_asked_for() {
        let ends = r#""sep":["b",65],"cls":["a",64]"#;
        let single = r#"[{"SpecialToken":{"id":"x","type_id":0}},{"Sequence":{"id":"A","type_id":0}},{"SpecialToken":{"id":"x","type_id":0}}]"#;
        let bytes = r#"{"type":"ByteLevel","add_prefix_space":true,"trim_offsets":false,"use_regex":true}"#;
        let roberta = format!(r#"{{"type":"RobertaProcessing",{ends},"trim_offsets":true,"add_prefix_space":false}}"#);
        let of_template = template(single, 66);
        let of_template = of_template.strip_prefix(r#","post_processor":"#).unwrap();
        let cases = [
            (format!(r#"{{"type":"BertProcessing",{ends}}}"#), vec![64], vec![65]),
            (roberta.clone(), vec![64], vec![65]),
            (of_template.to_string(), vec![66], vec![66]),
            (bytes.to_string(), vec![], vec![]),
            ("null".into(), vec![], vec![]),
            (
                format!(r#"{{"type":"Sequence","processors":[{bytes},{roberta},{of_template}]}}"#),
                vec![66, 64],
                vec![65, 66],
            ),
        ];
        for (part, before, after) in cases {
            let json = file("", "[]", &format!(r#","post_processor":{part}"#));
            let tokenizer = Tokenizer::from_json(json.as_bytes(), Path::new("t.json")).unwrap();
            let (before, after): (Vec<TokenId>, Vec<TokenId>) =
                (before.into_iter().map(TokenId).collect(), after.into_iter().map(TokenId).collect());
            let expected = [before, tokenizer.encode(b"xyz"), after].concat();
            assert_eq!(tokenizer.encode_with(b"xyz", SpecialTokens::Framed), expected, "{part}");
            assert_eq!(tokenizer.encode_with(b"xyz", SpecialTokens::Found).len(), 3);
            let placed = tokenizer.encode_with_offsets(b"xyz", SpecialTokens::Framed);
            assert!(placed.tokens.iter().map(|token| token.id).eq(expected), "{part}");
            assert_eq!(placed.tokens.iter().map(|token| token.range.len()).sum::<usize>(), 3);
            let again = Tokenizer::from_json(tokenizer.to_json().as_bytes(), Path::new("t.json")).unwrap();
            assert_eq!(
                again.encode_with(b"xyz", SpecialTokens::Framed),
                tokenizer.encode_with(b"xyz", SpecialTokens::Framed)
            );
            assert_eq!(again.to_json(), tokenizer.to_json());
        }
    }

    #[test]
    fn several_cuts_are_read_and_written() {
        let steps = concat!(
            r#"{"type":"Digits","individual_digits":true},{"type":"Punctuation","behavior":"Contiguous"},"#,
            r#"{"type":"Split","pattern":{"String":"."},"behavior":"Isolated","invert":false},"#,
            r#"{"type":"Split","pattern":{"Regex":" ?\\p{L}+|\\s+(?!\\S)|\\s+"},"behavior":"Isolated","invert":false}"#
        );
        let json = cut(steps).replace(r#""merges":[]"#, r#""merges":["1 2","! !","a b","Ġ ab"]"#);
        let json = json.replace(r#""vocab":{"#, r#""vocab":{"12":256,"!!":257,"ab":258,"Ġab":259,"#);
        let tokenizer = Tokenizer::from_json(json.as_bytes(), Path::new("t.json")).unwrap();
        let ids = |id: &[u32]| id.iter().copied().map(TokenId).collect::<Vec<_>>();
        assert_eq!(tokenizer.encode(b"12!! ab"), [ids(&[16, 17, 257]), ids(&[259])].concat());
        let again = Tokenizer::from_json(tokenizer.to_json().as_bytes(), Path::new("t.json")).unwrap();
        assert_eq!(again.to_json(), tokenizer.to_json());
        assert_eq!(again.encode(b"12!! ab"), tokenizer.encode(b"12!! ab"));
    }

    #[test]
    fn hostile_files_are_refused_with_the_reason() {
        // A12
        let ok = file("", "[]", "");
        assert!(Tokenizer::from_json(ok.as_bytes(), Path::new("t.json")).is_ok());
        let bytes_first = r#"{"type":"ByteLevel","add_prefix_space":false},{"type":"Digits"}"#;
        let around = r#"[{"SpecialToken":{"id":"x","type_id":0}},{"Sequence":{"id":"A","type_id":0}}]"#;
        let cases = [
            (file("", r#"[["a","b"]]"#, ""), r#"needs the token "ab""#),
            (file("", r#"[["a","xyz"]]"#, ""), r#"needs the token "xyz""#),
            (file(r#","ab":256"#, r#"["a b c"]"#, ""), "is not two tokens"),
            (file(r#","ab":256"#, r#"[["a","b","c"]]"#, ""), "merges"),
            (file(r#","ab":256,"ab":257"#, "[]", ""), r#"token "ab" twice"#),
            (file(r#","ab":255"#, "[]", ""), "the id 255 to two tokens"),
            (file(r#","ab":1000"#, "[]", ""), "the id 1000, but has only 257 tokens"),
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
            (cut(r#"{"type":"Split","pattern":{"Regex":"a$"},"behavior":"Isolated","invert":false}"#), "end of a line"),
            (cut(r#"{"type":"Split","pattern":{"Regex":"a"},"behavior":"Removed","invert":false}"#), "Removed"),
            (cut(r#"{"type":"Punctuation","behavior":"MergedWithNext"}"#), "MergedWithNext"),
            (cut(bytes_first), "behind ByteLevel"),
            (cut(&[r#"{"type":"Digits"}"#; 16].join(",")), "17 steps"),
            (file("", "[]", r#","post_processor":{"type":"Surprise"}"#), "Surprise"),
            (file("", "[]", &template(r#"[{"Sequence":{"id":"B","type_id":0}}]"#, 3)), "\"B\""),
            (file("", "[]", &template(r#"[{"SpecialToken":{"id":"x","type_id":0}}]"#, 3)), "0 times"),
            (
                file("", "[]", &template(r#"[{"SpecialToken":{"id":"y","type_id":0}}]"#, 3)),
                "does not say which ids \"y\"",
            ),
            (file("", "[]", &template(around, 256)), "the id 256 beside a text"),
            (file("", "[]", &template(around, 1 << 40)), "the id 1099511627776"),
            (file(r#","ab":300"#, "[]", &template(around, 299)), "the id 299 beside a text"),
            (ok.replace("\"BPE\"", "\"Unigram\""), "Unigram"),
            (ok.replace("\"a\":64,", ""), "byte 0x61"),
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
        // A12
        let mut merges = String::from("[");
        for _ in 0..300_000 {
            merges.push_str("[\"a\",\"b\"],");
        }
        let json = file(r#","ab":256"#, &(merges + r#"["a","x"]]"#), "");
        assert!(refused(&json).contains("merge 300000"));
        let merges = format!("[{}]", vec![r#""a b""#; (1 << 22) + 1].join(","));
        assert!(refused(&file(r#","ab":256"#, &merges, "")).contains("more than 4194304 merges"));
        let tokens: String = (0..1 << 22).map(|id| format!(",\"x{id}\":{}", id + 256)).collect();
        assert!(refused(&file(&tokens, "[]", "")).contains("more than 4194304 tokens"));
    }

    #[test]
    fn messages_do_not_repeat_a_file() {
        let long = "x".repeat(100_000);
        let cases = [
            file("", &format!("{long:?}"), ""),
            file(&format!(",{long:?}:{long:?}"), "[]", ""),
            file(&format!(",{long:?}:7"), "[]", ""),
            file("", "[]", &format!(r#","version":{long:?}"#)),
            file("", "[]", &format!(r#","post_processor":{long:?}"#)),
        ];
        for json in cases {
            assert!(refused(&json).len() < 1100);
        }
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
