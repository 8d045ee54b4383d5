//! `tokenizer.json` → tokenizer.
//!
//! The file is cut into its parts first, and each part is read by itself, so that a message can name it. Merges become
//! ids as they are read, and are never kept as text.

use std::borrow::Cow;
use std::fmt;

use hashbrown::HashMap;
use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::post_processor::read_frame;
use crate::text::{Form, Normalizer};
use crate::tokens::added::{AddedToken, AddedTokens};
use crate::tokens::bpe::{Bpe, MAX_TOKENS, Merge};
use crate::tokens::token_table::TokenTable;
use crate::tokens::words::{WordSplit, Words};
use crate::tokens::{Pattern, TokenId, Tokenizer, byte_alphabet};

/// Reads a file; the error says what in it cannot be used.
pub(in crate::tokens) fn read(json: &[u8]) -> Result<Tokenizer, String> {
    read_parts(json).map_err(shortened)
}

/// A message from which the middle is left out where it is too long: it may quote what the file has, of any length.
fn shortened(mut message: String) -> String {
    const MOST: usize = 1000;
    if message.len() > MOST {
        let (start, end) =
            (message.floor_char_boundary(MOST / 2), message.ceil_char_boundary(message.len() - MOST / 2));
        message.replace_range(start..end, " … ");
        message.shrink_to_fit();
    }
    message
}

fn read_parts(json: &[u8]) -> Result<Tokenizer, String> {
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
    let mut tokenizer = match (kind.r#type.as_deref(), kind.merges.is_some()) {
        (Some("BPE"), _) | (None, true) => {
            let pattern = read_bpe_splitting(file.pre_tokenizer, file.decoder, kind.byte_level == Some(true))?;
            Tokenizer::from_bpe(read_bpe(file.model, added, pattern, normalizer)?, normalizer)
        }
        (Some("WordLevel"), _) => {
            let split = read_word_splitting(file.pre_tokenizer, file.decoder)?;
            Tokenizer::from_word_model(read_words(file.model, &added, split)?, normalizer)
        }
        (Some(kind), _) => return Err(format!("has a model of type {kind:?}, expected \"BPE\" or \"WordLevel\"")),
        (None, false) => return Err("has a model without a type, expected \"BPE\" or \"WordLevel\"".into()),
    };
    let is_used = |id: TokenId| id.index() < tokenizer.n_tokens() && !tokenizer.is_unused(id);
    tokenizer.frame = read_frame(file.post_processor, is_used)?;
    Ok(tokenizer)
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
    post_processor: Option<&'a RawValue>,
    decoder: Option<&'a RawValue>,
    model: &'a RawValue,
}

pub(super) fn parse<'a, T: Deserialize<'a>>(part: &str, json: &'a RawValue) -> Result<T, String> {
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
    Digits {
        #[serde(default)]
        individual_digits: bool,
    },
    Punctuation {
        behavior: Option<String>,
    },
    Whitespace {},
    WhitespaceSplit {},
}

#[derive(Deserialize)]
enum SplitPattern {
    Regex(String),
    String(String),
}

/// The most steps of a pre-tokenizer; known files have up to five.
const MAX_CUTS: usize = 16;

/// The characters of the pre-tokenizer `Punctuation`: ASCII's, some of which Unicode calls symbols, and Unicode's.
const PUNCTUATION: &str = r"[!-/:-@\[-`{-~\p{P}]";

/// What a pre-tokenizer of a BPE amounts to: cuts by patterns, then bytes.
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
    let custom = |source: &str| Pattern::custom(source).map_err(|error| format!("cannot use its {error}"));
    if steps.len() > MAX_CUTS {
        return Err(format!("has a pre_tokenizer of {} steps, at most {MAX_CUTS} are done here", steps.len()));
    }
    let mut patterns = Vec::new();
    let mut is_spelled = false;
    for step in steps {
        if is_spelled {
            return Err("has a pre_tokenizer that goes on behind ByteLevel, where the text is spelled in another \
                alphabet; that is not done here"
                .into());
        }
        let source = match step {
            PreTokenizer::ByteLevel { add_prefix_space: Some(true), .. } => {
                return Err("has a pre_tokenizer with add_prefix_space, which is not done here".into());
            }
            PreTokenizer::ByteLevel { use_regex, .. } => {
                (is_byte_level, is_spelled) = (true, true);
                if use_regex != Some(false) {
                    patterns.push(Pattern::Gpt2);
                }
                continue;
            }
            PreTokenizer::Split { pattern, behavior, invert } => {
                let pattern = match pattern {
                    SplitPattern::Regex(source) => custom(&source)?,
                    SplitPattern::String(text) => custom(&regex::escape(&text))?,
                };
                // Between the matches of the patterns that are known there is nothing, so they may as well be removed.
                let keeps_all = behavior == "Isolated" && !invert
                    || behavior == "Removed" && invert && !matches!(pattern, Pattern::Custom(_));
                if !keeps_all {
                    let how = if invert { ", inverted" } else { "" };
                    return Err(format!("has a Split with behavior {behavior:?}{how}, expected \"Isolated\""));
                }
                patterns.push(pattern);
                continue;
            }
            PreTokenizer::Digits { individual_digits: true } => r"\p{N}".to_string(),
            PreTokenizer::Digits { individual_digits: false } => r"\p{N}+".to_string(),
            PreTokenizer::Punctuation { behavior } => match behavior.as_deref() {
                None | Some("Isolated") => PUNCTUATION.to_string(),
                Some("Contiguous") => format!("{PUNCTUATION}+"),
                Some(other) => {
                    return Err(format!(
                        "has a Punctuation with behavior {other:?}, expected \"Isolated\" or \"Contiguous\""
                    ));
                }
            },
            PreTokenizer::Sequence { .. } | PreTokenizer::Whitespace {} | PreTokenizer::WhitespaceSplit {} => {
                return Err("has a pre_tokenizer for a BPE other than ByteLevel, Split, Digits and Punctuation".into());
            }
        };
        patterns.push(custom(&source)?);
    }
    if !is_byte_level {
        return Err("has a BPE without ByteLevel pre_tokenizer: only byte-level BPE is done here".into());
    }
    read_decoder(decoder, Some("ByteLevel"))?;
    Ok(Pattern::sequence(patterns))
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

/// The `vocab` of a model in the order of the file, at most `MOST`.
struct Vocab<'a, const MOST: usize>(Vec<(Cow<'a, str>, u64)>);

impl<'de: 'a, 'a, const MOST: usize> Deserialize<'de> for Vocab<'a, MOST> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Entries<const MOST: usize>;
        impl<'de, const MOST: usize> Visitor<'de> for Entries<MOST> {
            type Value = Vec<(Cow<'de, str>, u64)>;

            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("a map of tokens to ids")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut entries = Vec::new();
                while let Some((token, id)) = map.next_entry::<BorrowedStr<'de>, u64>()? {
                    if entries.len() == MOST {
                        return Err(A::Error::custom(format!("more than {MOST} tokens")));
                    }
                    entries.push((token.0, id));
                }
                Ok(entries)
            }
        }
        deserializer.deserialize_map(Entries::<MOST>).map(Vocab)
    }
}

/// A string that stays in the file's bytes unless it has escapes.
#[derive(Deserialize)]
struct BorrowedStr<'a>(#[serde(borrow)] Cow<'a, str>);

/// The tokens by id, spelled as in the file.
struct Spellings<'a> {
    /// `None` for ids that no token has.
    by_id: Vec<Option<Cow<'a, str>>>,
    ids: HashMap<Cow<'a, str>, u64>,
}

/// Whether every id must have a token.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Gaps {
    Allowed,
    Refused,
}

/// Puts vocabulary and added tokens in the order of their ids.
///
/// Ids are rows, so an id far beyond the number of tokens would cost what no file of that size should: at most every
/// second id may be without a token.
fn by_id<'a, const MOST: usize>(
    vocab: Vocab<'a, MOST>,
    added: &[Added<'a>],
    gaps: Gaps,
) -> Result<Spellings<'a>, String> {
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
    let (most, reason) = match gaps {
        Gaps::Allowed => (2 * n_tokens, "ids are rows, and at most every second may be without a token"),
        Gaps::Refused => (n_tokens, "ids are rows and must be 0, 1, 2, … without a gap"),
    };
    let highest = in_order.iter().max_by_key(|(_, id)| *id);
    if let Some((spelling, id)) = highest.filter(|(_, id)| *id >= most as u64) {
        return Err(format!("gives token {spelling:?} the id {id}, but has only {n_tokens} tokens; {reason}"));
    }
    let mut by_id: Vec<Option<Cow<'a, str>>> = vec![None; highest.map_or(0, |(_, id)| *id as usize + 1)];
    for (spelling, id) in in_order {
        match &mut by_id[id as usize] {
            place @ None => *place = Some(spelling),
            Some(other) => return Err(format!("gives the id {id} to two tokens, {other:?} and {spelling:?}")),
        }
    }
    Ok(Spellings { by_id, ids })
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
            if rank == MAX_TOKENS {
                return Err(A::Error::custom(format!("more than {MAX_TOKENS} merges")));
            }
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
    let spellings = by_id(model.vocab, added, Gaps::Refused)?;
    let mut words = TokenTable::default();
    for spelling in spellings.by_id.iter().flatten() {
        words.push(spelling.as_bytes());
    }
    let unknown = words.find(model.unk_token.as_bytes()).map(TokenId);
    Ok(Words { words, unknown, split })
}
