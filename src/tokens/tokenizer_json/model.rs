//! `model` → [`Bpe`] or [`Words`].

use serde::Deserialize;
use serde::de::DeserializeSeed;
use serde_json::value::RawValue;

use super::merges::Merges;
use super::read::{Added, in_part, parse, shortened};
use super::vocab::{Gaps, Spellings, Vocab, by_id};
use crate::text::Normalizer;
use crate::tokens::added::{AddedToken, AddedTokens};
use crate::tokens::bpe::{Bpe, MAX_TOKENS, Merge};
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
    vocab: Vocab<'a, MAX_TOKENS>,
    merges: &'a RawValue,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WordModel<'a> {
    #[serde(rename = "type")]
    _type: Option<String>,
    #[serde(borrow)]
    vocab: Vocab<'a, MAX_WORDS>,
    unk_token: String,
}

/// Words have 32-bit ids, and one number is none.
const MAX_WORDS: usize = u32::MAX as usize;

pub(super) fn read_bpe(
    model: &RawValue,
    added: Vec<Added>,
    pattern: Pattern,
    normalizer: Normalizer,
) -> Result<Bpe, String> {
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
    let spellings = by_id(model.vocab, &added, Gaps::Allowed)?;
    let added_tokens = added.into_iter().map(|token| AddedToken {
        id: token.id as u32,
        single_word: token.single_word,
        lstrip: token.lstrip,
        rstrip: token.rstrip,
        normalized: token.normalized.unwrap_or(!token.special),
        special: token.special,
        content: token.content.into_owned(),
    });
    let added = AddedTokens::new(added_tokens.collect(), normalizer)?;
    // A message about another type would quote all of it.
    if !model.merges.get().starts_with('[') {
        return Err("cannot use its merges: expected a list".into());
    }
    let mut json = serde_json::Deserializer::from_str(model.merges.get());
    let merges = Merges { spellings: &spellings }.deserialize(&mut json).map_err(|error| in_part("merges", error))?;
    let mut bpe = build_bpe(&spellings, merges, added, pattern)?;
    if model.ignore_merges == Some(true) {
        bpe.prefer_whole_pieces();
    }
    Ok(bpe)
}

/// A BPE of GPT-2's `vocab.json` and the lines of its `merges.txt`.
pub(in crate::tokens) fn read_gpt2(vocab: &[u8], merges: &[(&str, &str)]) -> Result<Bpe, String> {
    read_gpt2_parts(vocab, merges).map_err(shortened)
}

fn read_gpt2_parts(vocab: &[u8], merges: &[(&str, &str)]) -> Result<Bpe, String> {
    let vocab: Vocab<MAX_TOKENS> =
        serde_json::from_slice(vocab).map_err(|error| format!("is no vocab.json: {error}"))?;
    let spellings = by_id(vocab, &[], Gaps::Allowed)?;
    let mut known = Vec::with_capacity(merges.len());
    for (rank, (left, right)) in merges.iter().enumerate() {
        known.push(spellings.merge(rank, left, right, &mut String::new())?);
    }
    let mut is_made = vec![false; spellings.by_id.len()];
    known.iter().for_each(|merge| is_made[merge.merged as usize] = true);
    let spelled = spellings.by_id.iter().enumerate().filter_map(|(id, spelling)| Some((id, spelling.as_ref()?)));
    let special = spelled.filter(|&(id, spelling)| {
        !is_made[id] && byte_alphabet::bytes_of(spelling).is_none_or(|bytes| bytes.len() != 1)
    });
    let special = special.map(|(id, content)| AddedToken {
        id: id as u32,
        content: content.to_string(),
        single_word: false,
        lstrip: false,
        rstrip: false,
        normalized: false,
        special: true,
    });
    let added = AddedTokens::new(special.collect(), Normalizer::default())?;
    build_bpe(&spellings, known, added, Pattern::Gpt2)
}

fn build_bpe(spellings: &Spellings, merges: Vec<Merge>, added: AddedTokens, pattern: Pattern) -> Result<Bpe, String> {
    let mut tokens = TokenTable::default();
    for (id, spelling) in spellings.by_id.iter().enumerate() {
        let Some(spelling) = spelling else {
            tokens.push_unused();
            continue;
        };
        if added.get(TokenId(id as u32)).is_some() {
            tokens.push_hidden(spelling.as_bytes());
        } else {
            let Some(bytes) = byte_alphabet::bytes_of(spelling) else {
                return Err(format!("has token {spelling:?} (id {id}), which is not in the byte-level alphabet"));
            };
            tokens.push(&bytes);
        }
    }
    Bpe::new(tokens, merges, pattern, added).map_err(|byte| {
        format!(
            "has no token for the byte 0x{byte:02X} ({:?}), so that some texts could not be encoded; \
             learn it with all 256 bytes (initial_alphabet = ByteLevel.alphabet())",
            byte_alphabet::character_of(byte)
        )
    })
}

pub(super) fn read_words(model: &RawValue, added: &[Added], split: WordSplit) -> Result<Words, String> {
    let model: WordModel = parse("model", model)?;
    if let Some(token) = added.iter().find(|token| token.content != model.unk_token) {
        return Err(format!("has the added token {:?}, which is not done with whole words", token.content));
    }
    let spellings = by_id(model.vocab, added, Gaps::Refused)?;
    let mut words = TokenTable::default();
    for spelling in spellings.by_id.iter().flatten() {
        words.push(spelling.as_bytes());
    }
    let unknown = words.find(model.unk_token.as_bytes()).map(TokenId);
    Ok(Words { words, unknown, split })
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
