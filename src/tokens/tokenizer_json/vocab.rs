//! `vocab` and `added_tokens` → what each id is called.

use std::borrow::Cow;
use std::fmt;

use hashbrown::{HashMap, HashSet};
use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, Visitor};

use super::read::Added;

/// The tokens of a file, spelled as there.
pub(super) struct Spellings<'a> {
    /// `None` for ids that no token has.
    pub(super) by_id: Vec<Option<Cow<'a, str>>>,
    /// The ids of added tokens that `vocab` has not.
    pub(super) outside: HashSet<u32>,
}

/// Puts the tokens of a `vocab`, at most so many, and the added tokens in the order of their ids.
///
/// Ids are rows, so an id far beyond the number of tokens would cost what no file of that size should: at most every
/// second id may be without a token.
///
/// Keys that are there twice are not noticed here. `explain` is told what is wrong with the JSON.
pub(super) fn by_id<'a>(
    vocab: &'a str,
    most: usize,
    added: &[Added<'a>],
    explain: impl Fn(serde_json::Error) -> String,
) -> Result<Spellings<'a>, String> {
    // Read twice, so that nothing is ever kept in the order of the file.
    let added_ids: HashMap<&str, u64> = added.iter().map(|token| (&*token.content, token.id)).collect();
    let mut in_vocab = HashSet::new();
    let mut n_tokens = 0;
    let mut highest: Option<(Cow<str>, u64)> = None;
    for_each_entry(vocab, &explain, |spelling, id| {
        n_tokens += 1;
        if n_tokens > most {
            return Err(format!("has more than {most} tokens"));
        }
        if let Some(&added_id) = added_ids.get(&*spelling) {
            if added_id != id {
                return Err(format!("has token {spelling:?} twice, with the ids {id} and {added_id}"));
            }
            in_vocab.insert(id);
        }
        if highest.as_ref().is_none_or(|&(_, most)| id > most) {
            highest = Some((spelling, id));
        }
        Ok(())
    })?;
    let outside = || added.iter().filter(|token| !in_vocab.contains(&token.id));
    for token in outside() {
        n_tokens += 1;
        if highest.as_ref().is_none_or(|&(_, most)| token.id > most) {
            highest = Some((token.content.clone(), token.id));
        }
    }
    if let Some((spelling, id)) = highest.as_ref().filter(|(_, id)| *id >= 2 * n_tokens as u64) {
        return Err(format!(
            "gives token {spelling:?} the id {id}, but has only {n_tokens} tokens; ids are rows, and at most every second \
             may be without a token"
        ));
    }
    let mut by_id: Vec<Option<Cow<'a, str>>> = vec![None; highest.map_or(0, |(_, id)| id as usize + 1)];
    let mut put = |spelling: Cow<'a, str>, id: u64| match &mut by_id[id as usize] {
        place @ None => {
            *place = Some(spelling);
            Ok(())
        }
        Some(other) => Err(format!("gives the id {id} to two tokens, {other:?} and {spelling:?}")),
    };
    for_each_entry(vocab, &explain, &mut put)?;
    outside().try_for_each(|token| put(token.content.clone(), token.id))?;
    let outside = outside().map(|token| token.id as u32).collect();
    Ok(Spellings { by_id, outside })
}

/// Hands each token and its id to `entry`, in the order of the file, until that says what is wrong with one.
pub(super) fn for_each_entry<'a>(
    vocab: &'a str,
    explain: impl Fn(serde_json::Error) -> String,
    entry: impl FnMut(Cow<'a, str>, u64) -> Result<(), String>,
) -> Result<(), String> {
    let mut wrong = None;
    let read = Entries { entry, wrong: &mut wrong }.deserialize(&mut serde_json::Deserializer::from_str(vocab));
    match wrong {
        Some(reason) => Err(reason),
        None => read.map_err(explain),
    }
}

struct Entries<'w, F> {
    entry: F,
    wrong: &'w mut Option<String>,
}

impl<'de, F: FnMut(Cow<'de, str>, u64) -> Result<(), String>> DeserializeSeed<'de> for Entries<'_, F> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de, F: FnMut(Cow<'de, str>, u64) -> Result<(), String>> Visitor<'de> for Entries<'_, F> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("a map of tokens to ids")
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<(), A::Error> {
        while let Some((token, id)) = map.next_entry::<BorrowedStr<'de>, u64>()? {
            if let Err(reason) = (self.entry)(token.0, id) {
                *self.wrong = Some(reason);
                return Err(A::Error::custom("what is wrong has been said"));
            }
        }
        Ok(())
    }
}

/// A string that stays in the file's bytes unless it has escapes.
#[derive(Deserialize)]
pub(super) struct BorrowedStr<'a>(#[serde(borrow)] pub(super) Cow<'a, str>);
