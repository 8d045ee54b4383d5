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

use std::borrow::Cow;
use std::fmt;

use hashbrown::HashMap;
use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use crate::text::{Form, Normalizer};
use crate::tokens::added::{AddedToken, AddedTokens};
use crate::tokens::bpe::{Bpe, Merge};
use crate::tokens::token_table::TokenTable;
use crate::tokens::tokenizer::Model;
use crate::tokens::words::{WordSplit, Words, unknown_spelling};
use crate::tokens::{Pattern, TokenId, Tokenizer, byte_alphabet};

/// Reads a file; the error says what in it cannot be used.
pub(super) fn read(json: &[u8]) -> Result<Tokenizer, String> {
    let json = json.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(json);
    let json = std::str::from_utf8(json).map_err(|error| format!("is not UTF-8: {error}"))?;
    let file: File = serde_json::from_str(json).map_err(|error| format!("is no tokenizer.json: {error}"))?;
    if let Some(version) = file.version.as_deref()
        && !["1.0", "2.0"].contains(&version)
    {
        return Err(format!("has version {version:?}, expected \"1.0\" or \"2.0\""));
    }
    for (name, part) in [("truncation", file.truncation), ("padding", file.padding)] {
        if part.is_some() {
            return Err(format!("asks for {name}, which is not done here; set it to null"));
        }
    }
    let normalizer = match file.normalizer {
        None => Normalizer::default(),
        Some(part) => read_normalizer(parse("normalizer", part)?)?,
    };
    let added: Vec<Added> = file.added_tokens.map_or(Ok(Vec::new()), |part| parse("added_tokens", part))?;
    let kind: ModelKind = parse("model", file.model)?;
    match (kind.r#type.as_deref(), kind.merges.is_some()) {
        (Some("BPE"), _) | (None, true) => {
            let pattern = read_bpe_splitting(file.pre_tokenizer, file.decoder, kind.byte_level == Some(true))?;
            Ok(Tokenizer::from_bpe(read_bpe(file.model, added, pattern, normalizer)?, normalizer))
        }
        (Some("WordLevel"), _) => {
            let split = read_word_splitting(file.pre_tokenizer, file.decoder)?;
            Ok(Tokenizer::from_word_model(read_words(file.model, &added, split)?, normalizer))
        }
        (Some(kind), _) => Err(format!("has a model of type {kind:?}, expected \"BPE\" or \"WordLevel\"")),
        (None, false) => Err("has a model without a type, expected \"BPE\" or \"WordLevel\"".into()),
    }
}

/// The parts of a file; `null` reads as `None`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File<'a> {
    version: Option<String>,
    #[serde(borrow)]
    truncation: Option<&'a RawValue>,
    padding: Option<&'a RawValue>,
    added_tokens: Option<&'a RawValue>,
    normalizer: Option<&'a RawValue>,
    pre_tokenizer: Option<&'a RawValue>,
    #[serde(rename = "post_processor")]
    _post_processor: Option<&'a RawValue>,
    decoder: Option<&'a RawValue>,
    model: &'a RawValue,
}

fn parse<'a, T: Deserialize<'a>>(part: &str, json: &'a RawValue) -> Result<T, String> {
    serde_json::from_str(json.get()).map_err(|error| in_part(part, error))
}

/// serde's message, whose line and column count from the beginning of the part.
fn in_part(part: &str, error: serde_json::Error) -> String {
    format!("cannot use its {part}: {error} of the {part}")
}

#[derive(Deserialize)]
#[serde(tag = "type", deny_unknown_fields)]
enum NormalizerPart {
    Lowercase {},
    #[serde(rename = "NFC")]
    Nfc {},
    #[serde(rename = "NFKC")]
    Nfkc {},
    Sequence {
        normalizers: Vec<NormalizerStep>,
    },
}

#[derive(Deserialize)]
#[serde(tag = "type", deny_unknown_fields)]
enum NormalizerStep {
    Lowercase {},
    #[serde(rename = "NFC")]
    Nfc {},
    #[serde(rename = "NFKC")]
    Nfkc {},
}

fn read_normalizer(part: NormalizerPart) -> Result<Normalizer, String> {
    let steps = match part {
        NormalizerPart::Lowercase {} => vec![NormalizerStep::Lowercase {}],
        NormalizerPart::Nfc {} => vec![NormalizerStep::Nfc {}],
        NormalizerPart::Nfkc {} => vec![NormalizerStep::Nfkc {}],
        NormalizerPart::Sequence { normalizers } => normalizers,
    };
    let mut normalizer = Normalizer::default();
    for step in steps {
        match step {
            NormalizerStep::Lowercase {} => normalizer.lowercase = true,
            NormalizerStep::Nfc {} | NormalizerStep::Nfkc {} if normalizer.lowercase || normalizer.form.is_some() => {
                return Err("cannot use its normalizer: a Unicode form can only come once and before Lowercase".into());
            }
            NormalizerStep::Nfc {} => normalizer.form = Some(Form::Nfc),
            NormalizerStep::Nfkc {} => normalizer.form = Some(Form::Nfkc),
        }
    }
    Ok(normalizer)
}

/// A pre-tokenizer.
#[derive(Deserialize)]
#[serde(tag = "type", deny_unknown_fields)]
enum PreTokenizer {
    ByteLevel {
        add_prefix_space: Option<bool>,
        #[serde(rename = "trim_offsets")]
        _trim_offsets: Option<bool>,
        use_regex: Option<bool>,
    },
    Split {
        pattern: SplitPattern,
        behavior: String,
        #[serde(default)]
        invert: bool,
    },
    Sequence {
        pretokenizers: Vec<PreTokenizer>,
    },
    Whitespace {},
    WhitespaceSplit {},
}

#[derive(Deserialize)]
enum SplitPattern {
    Regex(String),
    String(String),
}

/// What a pre-tokenizer of a BPE amounts to: at most one cut by a pattern, then bytes.
fn read_bpe_splitting(
    pre_tokenizer: Option<&RawValue>,
    decoder: Option<&RawValue>,
    mut is_byte_level: bool,
) -> Result<Pattern, String> {
    let steps = match pre_tokenizer.map(|part| parse("pre_tokenizer", part)).transpose()? {
        None => Vec::new(),
        Some(PreTokenizer::Sequence { pretokenizers }) => pretokenizers,
        Some(step) => vec![step],
    };
    let mut pattern = None;
    for step in steps {
        let cut = match step {
            PreTokenizer::ByteLevel { add_prefix_space: Some(true), .. } => {
                return Err("has a pre_tokenizer with add_prefix_space, which is not done here".into());
            }
            PreTokenizer::ByteLevel { use_regex, .. } => {
                is_byte_level = true;
                if use_regex == Some(false) { None } else { Some(Pattern::Gpt2) }
            }
            PreTokenizer::Split { pattern: SplitPattern::Regex(source), behavior, invert } => {
                let pattern = Pattern::custom(&source).map_err(|error| format!("cannot use its {error}"))?;
                // Between the matches of the patterns that are known there is nothing, so they may as well be removed.
                let keeps_all = behavior == "Isolated" && !invert
                    || behavior == "Removed" && invert && !matches!(pattern, Pattern::Custom(_));
                if !keeps_all {
                    let how = if invert { ", inverted" } else { "" };
                    return Err(format!("has a Split with behavior {behavior:?}{how}, expected \"Isolated\""));
                }
                Some(pattern)
            }
            PreTokenizer::Split { pattern: SplitPattern::String(text), .. } => {
                return Err(format!("has a Split at the text {text:?}, expected a Regex"));
            }
            PreTokenizer::Sequence { .. } | PreTokenizer::Whitespace {} | PreTokenizer::WhitespaceSplit {} => {
                return Err("has a pre_tokenizer for a BPE that is neither ByteLevel nor Split".into());
            }
        };
        if cut.is_some() && pattern.is_some() {
            return Err("has a pre_tokenizer that cuts by two patterns, which is not done here".into());
        }
        pattern = pattern.or(cut);
    }
    if !is_byte_level {
        return Err("has a BPE without ByteLevel pre_tokenizer: only byte-level BPE is done here".into());
    }
    read_decoder(decoder, Some("ByteLevel"))?;
    Ok(pattern.unwrap_or(Pattern::Whole))
}

fn read_word_splitting(pre_tokenizer: Option<&RawValue>, decoder: Option<&RawValue>) -> Result<WordSplit, String> {
    let split = match pre_tokenizer.map(|part| parse("pre_tokenizer", part)).transpose()? {
        Some(PreTokenizer::Whitespace {}) => WordSplit::Words,
        Some(PreTokenizer::WhitespaceSplit {}) => WordSplit::WhiteSpace,
        _ => return Err("has whole words without a pre_tokenizer Whitespace or WhitespaceSplit".into()),
    };
    read_decoder(decoder, None)?;
    Ok(split)
}

fn read_decoder(decoder: Option<&RawValue>, allowed: Option<&str>) -> Result<(), String> {
    let Some(decoder) = decoder else { return Ok(()) };
    let step: Decoder = parse("decoder", decoder)?;
    if allowed == Some(step.r#type.as_str()) {
        return Ok(());
    }
    Err(format!("has a decoder of type {:?}, expected {}", step.r#type, allowed.unwrap_or("none")))
}

#[derive(Deserialize)]
struct Decoder {
    r#type: String,
}

/// A token that is not made by the model.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Added<'a> {
    id: u64,
    #[serde(borrow)]
    content: Cow<'a, str>,
    #[serde(default)]
    single_word: bool,
    #[serde(default)]
    lstrip: bool,
    #[serde(default)]
    rstrip: bool,
    normalized: Option<bool>,
    special: bool,
}

/// What decides how the model is read.
#[derive(Deserialize)]
struct ModelKind<'a> {
    r#type: Option<String>,
    byte_level: Option<bool>,
    #[serde(borrow)]
    merges: Option<&'a RawValue>,
}

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
    vocab: Vocab<'a>,
    merges: &'a RawValue,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WordModel<'a> {
    #[serde(rename = "type")]
    _type: Option<String>,
    #[serde(borrow)]
    vocab: Vocab<'a>,
    unk_token: String,
}

/// The `vocab` of a model in the order of the file.
struct Vocab<'a>(Vec<(Cow<'a, str>, u64)>);

impl<'de: 'a, 'a> Deserialize<'de> for Vocab<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Entries;
        impl<'de> Visitor<'de> for Entries {
            type Value = Vec<(Cow<'de, str>, u64)>;

            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("a map of tokens to ids")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut entries = Vec::new();
                while let Some((token, id)) = map.next_entry::<BorrowedStr<'de>, u64>()? {
                    entries.push((token.0, id));
                }
                Ok(entries)
            }
        }
        deserializer.deserialize_map(Entries).map(Vocab)
    }
}

/// A string that stays in the file's bytes unless it has escapes.
#[derive(Deserialize)]
struct BorrowedStr<'a>(#[serde(borrow)] Cow<'a, str>);

/// The tokens by id, spelled as in the file.
struct Spellings<'a> {
    by_id: Vec<Cow<'a, str>>,
    ids: HashMap<Cow<'a, str>, u64>,
}

/// Puts vocabulary and added tokens in the order of their ids, which must be 0, 1, 2, ….
fn by_id<'a>(vocab: Vocab<'a>, added: &[Added<'a>]) -> Result<Spellings<'a>, String> {
    let mut ids: HashMap<Cow<'a, str>, u64> = HashMap::with_capacity(vocab.0.len());
    let mut in_order = vocab.0;
    for (spelling, id) in &in_order {
        if let Some(before) = ids.insert(spelling.clone(), *id) {
            return Err(format!("has token {spelling:?} twice, with the ids {before} and {id}"));
        }
    }
    for token in added {
        match ids.insert(token.content.clone(), token.id) {
            None => in_order.push((token.content.clone(), token.id)),
            Some(before) if before == token.id => {}
            Some(before) => {
                let (content, id) = (&token.content, token.id);
                return Err(format!("has token {content:?} twice, with the ids {before} and {id}"));
            }
        }
    }
    let n_tokens = in_order.len();
    let mut by_id: Vec<Option<Cow<'a, str>>> = vec![None; n_tokens];
    for (spelling, id) in in_order {
        match usize::try_from(id).ok().and_then(|place| by_id.get_mut(place)) {
            Some(place @ None) => *place = Some(spelling),
            Some(Some(other)) => return Err(format!("gives the id {id} to two tokens, {other:?} and {spelling:?}")),
            None => {
                let reason = "ids are rows and must be 0, 1, 2, … without a gap";
                return Err(format!("gives token {spelling:?} the id {id}, but has only {n_tokens} tokens; {reason}"));
            }
        }
    }
    // As many places as tokens, and no place taken twice: each is filled.
    Ok(Spellings { by_id: by_id.into_iter().flatten().collect(), ids })
}

fn read_bpe(model: &RawValue, added: Vec<Added>, pattern: Pattern, normalizer: Normalizer) -> Result<Bpe, String> {
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
    let spellings = by_id(model.vocab, &added)?;
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
    let mut json = serde_json::Deserializer::from_str(model.merges.get());
    let merges = Merges { spellings: &spellings }.deserialize(&mut json).map_err(|error| in_part("merges", error))?;
    let mut bpe = build_bpe(&spellings, merges, added, pattern)?;
    if model.ignore_merges == Some(true) {
        bpe.prefer_whole_pieces();
    }
    Ok(bpe)
}

/// A BPE of GPT-2's `vocab.json` and the lines of its `merges.txt`.
pub(super) fn read_gpt2(vocab: &[u8], merges: &[(&str, &str)]) -> Result<Bpe, String> {
    let vocab: Vocab = serde_json::from_slice(vocab).map_err(|error| format!("is no vocab.json: {error}"))?;
    let spellings = by_id(vocab, &[])?;
    let mut known = Vec::with_capacity(merges.len());
    for (rank, (left, right)) in merges.iter().enumerate() {
        known.push(spellings.merge(rank, left, right, &mut String::new())?);
    }
    let mut is_made = vec![false; spellings.by_id.len()];
    known.iter().for_each(|merge| is_made[merge.merged as usize] = true);
    let special = spellings.by_id.iter().enumerate().filter(|&(id, spelling)| {
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

impl Spellings<'_> {
    /// The merge of two tokens; `joined` is room to write in.
    fn merge(&self, rank: usize, left: &str, right: &str, joined: &mut String) -> Result<Merge, String> {
        joined.clear();
        joined.push_str(left);
        joined.push_str(right);
        let find = |token: &str| {
            let unknown = || format!("merge {rank}, {left:?} {right:?}, needs the token {token:?}, which is not there");
            self.ids.get(token).map(|&id| id as u32).ok_or_else(unknown)
        };
        Ok(Merge { left: find(left)?, right: find(right)?, merged: find(joined)? })
    }
}

/// Reads merges straight into ids, in either form: `["a", "b"]` or `"a b"`.
struct Merges<'s, 'a> {
    spellings: &'s Spellings<'a>,
}

impl<'de> DeserializeSeed<'de> for Merges<'_, '_> {
    type Value = Vec<Merge>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for Merges<'_, '_> {
    type Value = Vec<Merge>;

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("a list of merges")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        let mut merges = Vec::new();
        let mut joined = String::new();
        while let Some(parts) = seq.next_element::<MergeParts>()? {
            let rank = merges.len();
            let (left, right) = match &parts {
                MergeParts::Pair(left, right) => (&**left, &**right),
                MergeParts::Line(line) => match line.split_once(' ') {
                    Some((left, right)) if !right.contains(' ') => (left, right),
                    _ => return Err(A::Error::custom(format!("merge {rank}, {line:?}, is not two tokens"))),
                },
            };
            merges.push(self.spellings.merge(rank, left, right, &mut joined).map_err(A::Error::custom)?);
        }
        Ok(merges)
    }
}

/// The two tokens of a merge as the file has them.
enum MergeParts<'a> {
    Pair(Cow<'a, str>, Cow<'a, str>),
    Line(Cow<'a, str>),
}

impl<'de: 'a, 'a> Deserialize<'de> for MergeParts<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct PairOrLine;
        impl<'de> Visitor<'de> for PairOrLine {
            type Value = MergeParts<'de>;

            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("a merge, [\"a\", \"b\"] or \"a b\"")
            }

            fn visit_borrowed_str<E>(self, line: &'de str) -> Result<Self::Value, E> {
                Ok(MergeParts::Line(line.into()))
            }

            fn visit_str<E>(self, line: &str) -> Result<Self::Value, E> {
                Ok(MergeParts::Line(line.to_owned().into()))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
                let mut next = |n| seq.next_element::<BorrowedStr>()?.ok_or_else(|| A::Error::invalid_length(n, &self));
                let (left, right) = (next(0)?.0, next(1)?.0);
                match seq.next_element::<serde::de::IgnoredAny>()? {
                    None => Ok(MergeParts::Pair(left, right)),
                    Some(_) => Err(A::Error::invalid_length(3, &PairOrLine)),
                }
            }
        }
        deserializer.deserialize_any(PairOrLine)
    }
}

fn read_words(model: &RawValue, added: &[Added], split: WordSplit) -> Result<Words, String> {
    let model: WordModel = parse("model", model)?;
    if let Some(token) = added.iter().find(|token| token.content != model.unk_token) {
        return Err(format!("has the added token {:?}, which is not done with whole words", token.content));
    }
    let spellings = by_id(model.vocab, added)?;
    let mut words = TokenTable::default();
    for spelling in &spellings.by_id {
        words.push(spelling.as_bytes());
    }
    let unknown = words.find(model.unk_token.as_bytes()).map(TokenId);
    Ok(Words { words, unknown, split })
}

/// Writes a file of version 1.0: a line for each token and each merge.
pub(super) fn write(tokenizer: &Tokenizer) -> String {
    let mut out = String::from("{\n  \"version\": \"1.0\",\n  \"truncation\": null,\n  \"padding\": null,\n");
    let added: Vec<String> = match &tokenizer.model {
        Model::Bpe(bpe) => bpe.added.iter().map(added_token).collect(),
        Model::Words(_) => Vec::new(),
    };
    put_list(&mut out, 2, "\"added_tokens\": [", added.iter().map(String::as_str), "],");
    put(&mut out, &format!("  \"normalizer\": {},\n", normalizer(tokenizer.normalizer)));
    let byte_level = |add_prefix_space: bool, use_regex: bool| {
        format!(
            r#"{{"type": "ByteLevel", "add_prefix_space": {add_prefix_space}, "trim_offsets": true, "use_regex": {use_regex}}}"#
        )
    };
    let (pre_tokenizer, decoder) = match &tokenizer.model {
        // The decoder's flags have no bearing; these are what `decoders.ByteLevel()` writes.
        Model::Bpe(bpe) => {
            let pre_tokenizer = match &bpe.pattern {
                Pattern::Gpt2 => byte_level(false, true),
                pattern => match pattern.source() {
                    None => byte_level(false, false),
                    Some(source) => format!(
                        r#"{{"type": "Sequence", "pretokenizers": [{{"type": "Split", "pattern": {{"Regex": {}}}, "behavior": "Isolated", "invert": false}}, {}]}}"#,
                        quoted(source),
                        byte_level(false, false)
                    ),
                },
            };
            (pre_tokenizer, byte_level(true, true))
        }
        Model::Words(words) => match words.split {
            WordSplit::Words => (r#"{"type": "Whitespace"}"#.into(), "null".into()),
            WordSplit::WhiteSpace => (r#"{"type": "WhitespaceSplit"}"#.into(), "null".into()),
        },
    };
    put(&mut out, &format!("  \"pre_tokenizer\": {pre_tokenizer},\n  \"post_processor\": null,\n"));
    put(&mut out, &format!("  \"decoder\": {decoder},\n  \"model\": {{\n"));
    let spelling = |id: usize| match &tokenizer.model {
        Model::Bpe(bpe) => match bpe.added.get(TokenId(id as u32)) {
            Some(token) => quoted(&token.content),
            None => quoted(&tokenizer.spelling(TokenId(id as u32))),
        },
        Model::Words(_) => quoted(&tokenizer.spelling(TokenId(id as u32))),
    };
    let spellings: Vec<String> = (0..tokenizer.n_tokens()).map(spelling).collect();
    let vocab: Vec<String> = spellings.iter().enumerate().map(|(id, spelling)| format!("{spelling}: {id}")).collect();
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
                .map(|merge| format!("[{}, {}]", spellings[merge.left as usize], spellings[merge.right as usize]))
                .collect();
            put_list(&mut out, 4, "\"merges\": [", merges.iter().map(String::as_str), "]");
        }
        Model::Words(words) => {
            put(&mut out, "    \"type\": \"WordLevel\",\n");
            put_list(&mut out, 4, "\"vocab\": {", vocab, "},");
            let unknown = match words.unknown {
                Some(id) => tokenizer.spelling(id),
                None => unknown_spelling(|word| words.words.find(word.as_bytes()).is_some()),
            };
            put(&mut out, &format!("    \"unk_token\": {}\n", quoted(&unknown)));
        }
    }
    out.push_str("  }\n}\n");
    out
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

fn quoted(text: &str) -> String {
    serde_json::to_string(text).expect("a string is JSON")
}

fn added_token(token: &AddedToken) -> String {
    let AddedToken { id, content, single_word, lstrip, rstrip, normalized, special } = token;
    format!(
        r#"{{"id": {id}, "content": {}, "single_word": {single_word}, "lstrip": {lstrip}, "rstrip": {rstrip}, "normalized": {normalized}, "special": {special}}}"#,
        quoted(content)
    )
}

fn normalizer(normalizer: Normalizer) -> String {
    let form = normalizer.form.map(|form| match form {
        Form::Nfc => r#"{"type": "NFC"}"#,
        Form::Nfkc => r#"{"type": "NFKC"}"#,
    });
    let lowercase = normalizer.lowercase.then_some(r#"{"type": "Lowercase"}"#);
    match (form, lowercase) {
        (None, None) => "null".into(),
        (Some(one), None) | (None, Some(one)) => one.into(),
        (Some(form), Some(lowercase)) => format!(r#"{{"type": "Sequence", "normalizers": [{form}, {lowercase}]}}"#),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::progress::Silent;
    use crate::text::Corpus;
    use crate::tokens::{BpeConfig, SpecialTokens, WordsConfig, learn_bpe, learn_words};

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
