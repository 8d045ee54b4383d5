//! `model` → [`Bpe`] or [`Words`], with the added tokens.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::merges::{Mergeable, Room};
use super::read::{Added, in_part, parse, shortened};
use super::vocab::{Spellings, by_id};
use crate::text::Normalizer;
use crate::tokens::added::{AddedToken, AddedTokens};
use crate::tokens::bpe::{Bpe, MAX_TOKENS, Merge};
use crate::tokens::spelling::word_of_key;
use crate::tokens::token_table::TokenTable;
use crate::tokens::words::{WordSplit, Words};
use crate::tokens::{Pattern, TokenId, byte_alphabet};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct BpeModel<'a> {
    #[serde(rename = "type")]
    _type: Option<String>,
    dropout: Option<f64>,
    // Where every byte has a token, nothing is ever unknown, and none of the next three has a say.
    #[serde(rename = "unk_token")]
    _unk_token: Option<String>,
    #[serde(rename = "fuse_unk")]
    _fuse_unk: Option<bool>,
    #[serde(rename = "byte_fallback")]
    _byte_fallback: Option<bool>,
    continuing_subword_prefix: Option<String>,
    end_of_word_suffix: Option<String>,
    ignore_merges: Option<bool>,
    #[serde(rename = "byte_level")]
    _byte_level: Option<bool>,
    #[serde(borrow)]
    vocab: &'a RawValue,
    merges: &'a RawValue,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WordModel<'a> {
    #[serde(rename = "type")]
    _type: Option<String>,
    #[serde(borrow)]
    vocab: &'a RawValue,
    unk_token: String,
}

/// Words have 32-bit ids, and one number is none.
const MAX_WORDS: usize = u32::MAX as usize;

pub(super) fn read_bpe(
    model: &RawValue,
    added: &[Added],
    pattern: Pattern,
    normalizer: Normalizer,
) -> Result<(Bpe, AddedTokens), String> {
    let model: BpeModel = parse("model", model)?;
    if model.dropout.is_some_and(|dropout| dropout != 0.0) {
        return Err("has a model with dropout, which is not done here; set it to null".into());
    }
    let affixes = [
        ("continuing_subword_prefix", model.continuing_subword_prefix),
        ("end_of_word_suffix", model.end_of_word_suffix),
    ];
    for (name, affix) in affixes {
        if affix.is_some_and(|affix| !affix.is_empty()) {
            return Err(format!("has a model with {name}, which is not done here"));
        }
    }
    let explain = |error| in_part("vocab", error);
    let Spellings { by_id, outside } = by_id(model.vocab.get(), MAX_TOKENS, added, explain)?;
    let added = added_tokens(added, normalizer)?;
    let mut tokens = token_table(by_id, &added)?;
    // A message about another type would quote all of it.
    if !model.merges.get().starts_with('[') {
        return Err("cannot use its merges: expected a list".into());
    }
    let mergeable = Mergeable { tokens: &tokens, added: &added, outside: &outside };
    let merges = mergeable.read(model.merges.get()).map_err(|error| in_part("merges", error))?;
    if merges.iter().any(|merge| added.get(TokenId(merge.merged)).is_some()) {
        tokens = told_apart(&tokens, &added, &merges);
    }
    let mut bpe = build_bpe(tokens, merges, pattern)?;
    if model.ignore_merges == Some(true) {
        bpe.prefer_whole_pieces();
    }
    Ok((bpe, added))
}

fn added_tokens(added: &[Added], normalizer: Normalizer) -> Result<AddedTokens, String> {
    let tokens = added.iter().map(|token| AddedToken {
        // Below the number of tokens, as has been found out.
        id: token.id as u32,
        content: token.content.to_string(),
        single_word: token.single_word,
        lstrip: token.lstrip,
        rstrip: token.rstrip,
        normalized: token.normalized.unwrap_or(!token.special),
        special: token.special,
    });
    AddedTokens::new(tokens.collect(), normalizer)
}

/// The bytes of each token; added tokens, but for single bytes, hidden and as they stand in a text.
fn token_table(by_id: Vec<Option<Cow<str>>>, added: &AddedTokens) -> Result<TokenTable, String> {
    let n_bytes = by_id.iter().flatten().map(|spelling| spelling.len()).sum();
    let mut tokens = TokenTable::with_capacity(by_id.len(), n_bytes);
    for (id, spelling) in by_id.into_iter().enumerate() {
        let Some(spelling) = spelling else {
            tokens.push_unused();
            continue;
        };
        match (byte_alphabet::bytes_of(&spelling), added.get(TokenId(id as u32))) {
            (bytes, Some(token)) if bytes.as_ref().is_none_or(|bytes| bytes.len() != 1) => {
                tokens.push_hidden(&added.text(token));
            }
            (Some(bytes), _) => match tokens.find(&bytes) {
                None => tokens.push(&bytes),
                Some(before) => {
                    return Err(format!("has token {spelling:?} twice, with the ids {before} and {id}"));
                }
            },
            (None, _) => {
                return Err(format!("has token {spelling:?} (id {id}), which is not in the byte-level alphabet"));
            }
        }
    }
    Ok(tokens)
}

/// The table once more, now that the merges are known: added tokens that a merge makes have the bytes that they are made
/// of, and can be found; others stand for themselves, and are hidden.
fn told_apart(tokens: &TokenTable, added: &AddedTokens, merges: &[Merge]) -> TokenTable {
    let mut is_made = vec![false; tokens.len()];
    merges.iter().for_each(|merge| is_made[merge.merged as usize] = true);
    let mut again = TokenTable::default();
    for (id, bytes) in tokens.iter().enumerate() {
        let added_token = added.get(TokenId(id as u32));
        let spelled = added_token.and_then(|token| byte_alphabet::bytes_of(&token.content));
        match (added_token, spelled) {
            (_, Some(bytes)) if is_made[id] || bytes.len() == 1 => again.push(&bytes),
            (Some(token), _) => again.push_hidden(&added.text(token)),
            (None, _) if tokens.is_unused(id) => again.push_unused(),
            (None, _) => again.push(bytes),
        }
    }
    again
}

/// A BPE of GPT-2's `vocab.json` and the lines of its `merges.txt`.
pub(in crate::tokens) fn read_gpt2(
    vocab: &[u8],
    merges: &[(&str, &str)],
    pattern: Pattern,
) -> Result<(Bpe, AddedTokens), String> {
    read_gpt2_parts(vocab, merges, pattern).map_err(shortened)
}

fn read_gpt2_parts(vocab: &[u8], merges: &[(&str, &str)], pattern: Pattern) -> Result<(Bpe, AddedTokens), String> {
    let vocab = std::str::from_utf8(vocab).map_err(|error| format!("is not UTF-8: {error}"))?;
    let explain = |error| format!("is no vocab.json: {error}");
    let Spellings { by_id, outside } = by_id(vocab, MAX_TOKENS, &[], explain)?;
    // Those that are not in the alphabet can only be special. Others are known when all merges are.
    let spelled = by_id.iter().enumerate().filter_map(|(id, spelling)| Some((id as u32, spelling.as_ref()?)));
    let foreign = spelled.filter(|(_, spelling)| byte_alphabet::bytes_of(spelling).is_none());
    let mut special: Vec<AddedToken> = foreign.map(|(id, content)| AddedToken::special(id, &**content)).collect();
    let added = AddedTokens::new(special.clone(), Normalizer::default())?;
    let tokens = token_table(by_id, &added)?;
    let mergeable = Mergeable { tokens: &tokens, added: &added, outside: &outside };
    let mut known = Vec::with_capacity(merges.len());
    let mut room = Room::default();
    for (rank, (left, right)) in merges.iter().enumerate() {
        known.push(mergeable.merge(rank, left, right, &mut room)?);
    }
    let mut is_made = vec![false; tokens.len()];
    known.iter().for_each(|merge| is_made[merge.merged as usize] = true);
    for (id, bytes) in tokens.iter().enumerate() {
        // Where a byte is spelled with another character, this is text that no merge makes, and not a special token.
        let is_plain = bytes.iter().all(u8::is_ascii_graphic);
        if !is_made[id] && bytes.len() > 1 && is_plain && added.get(TokenId(id as u32)).is_none() {
            special.push(AddedToken::special(id as u32, String::from_utf8_lossy(bytes)));
        }
    }
    let added = AddedTokens::new(special, Normalizer::default())?;
    let tokens = told_apart(&tokens, &added, &known);
    Ok((build_bpe(tokens, known, pattern)?, added))
}

fn build_bpe(tokens: TokenTable, merges: Vec<Merge>, pattern: Pattern) -> Result<Bpe, String> {
    Bpe::new(tokens, merges, pattern).map_err(|byte| {
        format!(
            "has no token for the byte 0x{byte:02X} ({:?}), so that some texts could not be encoded; \
             learn it with all 256 bytes (initial_alphabet = ByteLevel.alphabet())",
            byte_alphabet::character_of(byte)
        )
    })
}

pub(super) fn read_words(
    model: &RawValue,
    added: &[Added],
    split: WordSplit,
    normalizer: Normalizer,
) -> Result<(Words, AddedTokens), String> {
    let model: WordModel = parse("model", model)?;
    let explain = |error| in_part("vocab", error);
    let Spellings { by_id, outside } = by_id(model.vocab.get(), MAX_WORDS, added, explain)?;
    let added = added_tokens(added, normalizer)?;
    let mut words = TokenTable::default();
    let mut unknown = None;
    for (id, key) in by_id.iter().enumerate() {
        let Some(key) = key else {
            words.push_unused();
            continue;
        };
        if **key == model.unk_token {
            unknown = Some(TokenId(id as u32));
        }
        let word = word_of_key(key);
        match added.get(TokenId(id as u32)) {
            // A word of a text that is spelled like a special token is not that token.
            Some(token) if token.special && unknown != Some(TokenId(token.id)) || outside.contains(&(id as u32)) => {
                words.push_hidden(&added.text(token));
            }
            _ => match words.find(&word) {
                None => words.push(&word),
                Some(before) => return Err(format!("has token {key:?} twice, with the ids {before} and {id}")),
            },
        }
    }
    Ok((Words { words, unknown, split }, added))
}

#[cfg(test)]
mod tests {
    use crate::tokens::tokenizer_json::sample::{accepted, file, refused};
    use crate::tokens::{SpecialTokens, TokenId};

    #[test]
    fn merges_are_read_in_both_forms_and_added_tokens_are_rows() {
        let more = r#","added_tokens":[{"id":258,"content":"<|end|>","special":true}]"#;
        for merges in [r#"[["a","b"],["Ġ","ab"]]"#, r#"["a b","Ġ ab"]"#] {
            let json = file(r#","ab":256,"Ġab":257"#, merges, more);
            let tokenizer = accepted(&json);
            assert_eq!(tokenizer.encode(b"ab ab"), [TokenId(256), TokenId(257)]);
            assert!(tokenizer.is_special(TokenId(258)) && !tokenizer.is_special(TokenId(257)));
            assert_eq!(tokenizer.bytes(TokenId(258)), b"<|end|>");
            assert!(tokenizer.encode(b"<|end|>").len() > 1, "a text is a text");
            let ids = tokenizer.encode_with(b"ab<|end|> ab", SpecialTokens::Found);
            assert_eq!(ids, [TokenId(256), TokenId(258), TokenId(257)]);
            assert_eq!(tokenizer.decode(&ids).unwrap(), b"ab<|end|> ab");
            let again = accepted(&tokenizer.to_json());
            assert_eq!(again.to_json(), tokenizer.to_json());
        }
    }

    #[test]
    fn an_added_token_that_merges_make_too_is_what_they_make_of_it() {
        // Ids and texts by tokenizers 0.23.
        let json = file(
            r#","th":256,"the":257,"Ġthe":258"#,
            r#"["t h","th e","Ġ the"]"#,
            r#","added_tokens":[{"id":258,"content":"Ġthe","special":false},{"id":0,"content":"!","special":true}]"#,
        );
        let tokenizer = accepted(&json);
        let ids = tokenizer.encode_with(b"in the!", SpecialTokens::Found);
        assert_eq!(ids, [72, 77, 258, 0].map(TokenId));
        assert_eq!(tokenizer.decode(&ids).unwrap(), b"in the!");
        assert_eq!(tokenizer.encode("Ġthe x".as_bytes()), [258, 220, 87].map(TokenId));
        let encoded = tokenizer.encode_with_offsets(b"in the", SpecialTokens::AsText);
        assert_eq!(encoded.tokens.last().map(|token| token.range.clone()), Some(2..6));
        assert_eq!(tokenizer.spelling(TokenId(258)), "Ġthe");
        assert_eq!(tokenizer.id_of_spelling("Ġthe"), Some(TokenId(258)));
        assert_eq!(accepted(&tokenizer.to_json()).to_json(), tokenizer.to_json());
        // One that nothing makes stands for itself, so that a text comes back as it was.
        let json = file(r#","Ġzork":256"#, "[]", r#","added_tokens":[{"id":256,"content":"Ġzork","special":false}]"#);
        let tokenizer = accepted(&json);
        for text in ["Ġzork", " zork"] {
            assert_eq!(tokenizer.decode(&tokenizer.encode(text.as_bytes())).unwrap(), text.as_bytes());
        }
        assert_eq!(tokenizer.encode("Ġzork".as_bytes()), [TokenId(256)]);
        assert_eq!(accepted(&tokenizer.to_json()).to_json(), tokenizer.to_json());
    }

    #[test]
    fn an_added_token_that_is_found_in_normalised_text_is_that_text() {
        let json = file(
            "",
            "[]",
            r#","normalizer":{"type":"Lowercase"},"added_tokens":[{"id":256,"content":"AB","special":false}]"#,
        );
        let tokenizer = accepted(&json);
        assert_eq!(tokenizer.encode(b"xAb"), [TokenId(87), TokenId(256)]);
        assert_eq!(tokenizer.decode(&tokenizer.encode(b"xAb")).unwrap(), b"xab");
        assert_eq!(
            (tokenizer.spelling(TokenId(256)), tokenizer.id_of_spelling("AB")),
            ("AB".into(), Some(TokenId(256)))
        );
    }

    /// A file of words, cut at white space.
    fn words(vocab: &str, added: &str) -> String {
        format!(
            r#"{{"version":"1.0","added_tokens":[{added}],"pre_tokenizer":{{"type":"WhitespaceSplit"}},
            "model":{{"type":"WordLevel","vocab":{vocab},"unk_token":"[UNK]"}}}}"#
        )
    }

    #[test]
    fn added_tokens_are_found_beside_words() {
        // Ids by tokenizers 0.23; as text with encode_special_tokens = True.
        let vocab = r#"{"a":0,"b":1,"[UNK]":2}"#;
        let pad =
            r#"{"id":3,"content":"<pad>","special":true},{"id":4,"content":"<end>","special":true,"lstrip":true}"#;
        let plain = r#"{"id":3,"content":"b-","special":false}"#;
        let unknown = r#"{"id":2,"content":"[UNK]","special":true}"#;
        let cases = [
            (pad, "a<pad>b <end>", vec![0, 3, 1, 4], vec![2, 2]),
            (pad, "c <pad>", vec![2, 3], vec![2, 2]),
            (unknown, "a[UNK]b", vec![0, 2, 1], vec![2]),
            (unknown, "c [UNK]", vec![2, 2], vec![2, 2]),
            (plain, "ab-b b", vec![0, 3, 1, 1], vec![0, 3, 1, 1]),
        ];
        let ids = |ids: Vec<u32>| ids.into_iter().map(TokenId).collect::<Vec<_>>();
        for (added, text, found, as_text) in cases {
            let tokenizer = accepted(&words(vocab, added));
            for tokenizer in [accepted(&tokenizer.to_json()), tokenizer] {
                assert_eq!(tokenizer.encode_with(text.as_bytes(), SpecialTokens::Found), ids(found.clone()), "{text}");
                assert_eq!(tokenizer.encode(text.as_bytes()), ids(as_text.clone()), "{text}");
                let placed = tokenizer.encode_with_offsets(text.as_bytes(), SpecialTokens::Found);
                assert_eq!(placed.text, text.as_bytes());
                assert!(placed.tokens.iter().map(|token| token.id).eq(ids(found.clone())));
            }
        }
        let tokenizer = accepted(&words(vocab, pad));
        assert!(tokenizer.is_special(TokenId(3)) && !tokenizer.is_special(TokenId(1)));
        assert_eq!(tokenizer.decode(&ids(vec![0, 3, 1, 4])).unwrap(), b"a <pad> b <end>");
        let gaps = accepted(&words(
            r#"{"a":0,"b":7,"[UNK]":2}"#,
            &(3..6)
                .map(|id| format!(r#"{{"id":{id},"content":"<{id}>","special":true}}"#))
                .collect::<Vec<_>>()
                .join(","),
        ));
        assert_eq!((gaps.encode(b"a b c"), gaps.n_tokens()), (ids(vec![0, 7, 2]), 8));
        assert!(gaps.is_unused(TokenId(1)) && gaps.decode(&ids(vec![0, 1])).is_err());
        assert_eq!(accepted(&gaps.to_json()).to_json(), gaps.to_json());
        let bare = gaps.without_added_tokens();
        assert_eq!((bare.encode(b"a b c <3>"), bare.is_unused(TokenId(3))), (ids(vec![0, 7, 2, 2]), true));
        // In the vocabulary too, a special token is no word of a text.
        let both =
            accepted(&words(r#"{"a":0,"b":1,"[UNK]":2,"<pad>":3}"#, r#"{"id":3,"content":"<pad>","special":true}"#));
        assert_eq!(both.encode(b"a <pad>"), ids(vec![0, 2]));
        for (vocab, added, reason) in [
            (vocab, r#"{"id":9,"content":"<pad>","special":true}"#, "the id 9, but has only 4 tokens"),
            (vocab, r#"{"id":1,"content":"<pad>","special":true}"#, "the id 1 to two tokens"),
            (r#"{"a":0,"b":1,"a":2}"#, "", "\"a\" twice"),
        ] {
            assert!(refused(&words(vocab, added)).contains(reason), "{reason}");
        }
    }

    #[test]
    fn ids_without_a_token_stay_and_cannot_be_decoded() {
        let json = file(
            r#","ab":258,"abc":261"#,
            r#"["a b","ab c"]"#,
            r#","added_tokens":[{"id":300,"content":"∅259","special":true}]"#,
        );
        let tokenizer = accepted(&json);
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
        let again = accepted(&tokenizer.to_json());
        assert_eq!(again.to_json(), tokenizer.to_json());
        assert_eq!((again.n_tokens(), again.encode(b"abcab")), (301, tokenizer.encode(b"abcab")));
    }

    #[test]
    fn of_equal_merges_the_last_counts_and_is_kept() {
        // Ids by tokenizers 0.23, which writes the file that way, too.
        let more = r#"["b c","a b"],"#.replace(['[', ']'], "").repeat(200);
        let json = file(r#","ab":256,"bc":257"#, &format!(r#"["b c","a b",{more}"b c"]"#), "");
        let tokenizer = accepted(&json);
        assert_eq!(tokenizer.encode(b"abc"), [TokenId(256), TokenId(66)]);
        assert_eq!(tokenizer.n_merges(), 2);
        assert_eq!(accepted(&tokenizer.to_json()).encode(b"abc"), tokenizer.encode(b"abc"));
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
}
