//! `vocab` and `added_tokens` → the tokens by id.

use std::borrow::Cow;
use std::fmt;

use hashbrown::HashMap;
use serde::Deserialize;
use serde::de::{Deserializer, Error as _, MapAccess, Visitor};

use super::read::Added;

/// The `vocab` of a model in the order of the file, at most `MOST`.
pub(super) struct Vocab<'a, const MOST: usize>(Vec<(Cow<'a, str>, u64)>);

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
pub(super) struct BorrowedStr<'a>(#[serde(borrow)] pub(super) Cow<'a, str>);

/// The tokens by id, spelled as in the file.
pub(super) struct Spellings<'a> {
    /// `None` for ids that no token has.
    pub(super) by_id: Vec<Option<Cow<'a, str>>>,
    pub(super) ids: HashMap<Cow<'a, str>, u64>,
}

/// Whether every id must have a token.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Gaps {
    Allowed,
    Refused,
}

/// Puts vocabulary and added tokens in the order of their ids.
///
/// Ids are rows, so an id far beyond the number of tokens would cost what no file of that size should: at most every
/// second id may be without a token.
pub(super) fn by_id<'a, const MOST: usize>(
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
