//! `merges` → [`Merge`]s. They become ids as they are read, and are never kept as text.

use std::borrow::Cow;
use std::fmt;

use hashbrown::HashSet;
use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, Error as _, IgnoredAny, SeqAccess, Visitor};

use super::vocab::BorrowedStr;
use crate::tokens::added::AddedTokens;
use crate::tokens::bpe::{MAX_TOKENS, Merge};
use crate::tokens::byte_alphabet;
use crate::tokens::token_table::TokenTable;

/// The tokens that merges may speak of: those of `vocab`.
pub(super) struct Mergeable<'t> {
    pub(super) tokens: &'t TokenTable,
    pub(super) added: &'t AddedTokens,
    /// The ids of added tokens that `vocab` has not.
    pub(super) outside: &'t HashSet<u32>,
}

impl Mergeable<'_> {
    fn find(&self, spelling: &str, bytes: &mut Vec<u8>) -> Option<u32> {
        bytes.clear();
        let of_text = if byte_alphabet::push_bytes_of(spelling, bytes) { self.tokens.find(bytes) } else { None };
        let of_added = || Some(self.added.find(spelling)?.id).filter(|id| !self.outside.contains(id));
        of_text.or_else(of_added)
    }

    /// The merge of two tokens.
    pub(super) fn merge(&self, rank: usize, left: &str, right: &str, room: &mut Room) -> Result<Merge, String> {
        let Room { joined, bytes } = room;
        joined.clear();
        joined.push_str(left);
        joined.push_str(right);
        let mut find = |token: &str| {
            let unknown = || {
                format!(
                    "merge {rank}, {left:?} {right:?}, needs the token {token:?}, which the vocabulary does not have"
                )
            };
            self.find(token, bytes).ok_or_else(unknown)
        };
        Ok(Merge { left: find(left)?, right: find(right)?, merged: find(joined)? })
    }

    /// Reads a list of merges.
    pub(super) fn read(&self, json: &str) -> Result<Vec<Merge>, serde_json::Error> {
        // Counted first: what grows while it is filled takes three times its size.
        let Length(n) = serde_json::from_str(json)?;
        let merges = Merges { mergeable: self, merges: Vec::with_capacity(n) };
        let mut merges = merges.deserialize(&mut serde_json::Deserializer::from_str(json))?;
        // Some merges may be there twice, and a hostile file may have nothing but one.
        if merges.len() > self.tokens.len() {
            keep_last(&mut merges);
        }
        Ok(merges)
    }
}

/// Room to write in.
#[derive(Default)]
pub(super) struct Room {
    joined: String,
    bytes: Vec<u8>,
}

/// Of merges of the same two tokens only the last, which is the one that counts.
fn keep_last(merges: &mut Vec<Merge>) {
    let pair = |rank: u32| (merges[rank as usize].left, merges[rank as usize].right);
    let mut ranks: Vec<u32> = (0..merges.len() as u32).collect();
    ranks.sort_unstable_by_key(|&rank| (pair(rank), std::cmp::Reverse(rank)));
    ranks.dedup_by_key(|rank| pair(*rank));
    ranks.sort_unstable();
    *merges = ranks.into_iter().map(|rank| merges[rank as usize]).collect();
}

/// How long a list is, whatever is in it.
struct Length(usize);

impl<'de> Deserialize<'de> for Length {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Items;
        impl<'de> Visitor<'de> for Items {
            type Value = Length;

            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("a list of merges")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Length, A::Error> {
                let mut n = 0;
                while seq.next_element::<IgnoredAny>()?.is_some() {
                    n += 1;
                    if n > MAX_TOKENS {
                        return Err(A::Error::custom(format!("more than {MAX_TOKENS} merges")));
                    }
                }
                Ok(Length(n))
            }
        }
        deserializer.deserialize_seq(Items)
    }
}

/// Reads merges in either form: `["a", "b"]` or `"a b"`.
struct Merges<'m, 't> {
    mergeable: &'m Mergeable<'t>,
    merges: Vec<Merge>,
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

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut seq: A) -> Result<Self::Value, A::Error> {
        let mut room = Room::default();
        while let Some(parts) = seq.next_element::<MergeParts>()? {
            let rank = self.merges.len();
            let (left, right) = match &parts {
                MergeParts::Pair(left, right) => (&**left, &**right),
                MergeParts::Line(line) => match line.split_once(' ') {
                    Some((left, right)) if !right.contains(' ') => (left, right),
                    _ => return Err(A::Error::custom(format!("merge {rank}, {line:?}, is not two tokens"))),
                },
            };
            let merge = self.mergeable.merge(rank, left, right, &mut room).map_err(A::Error::custom)?;
            self.merges.push(merge);
        }
        Ok(self.merges)
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
                match seq.next_element::<IgnoredAny>()? {
                    None => Ok(MergeParts::Pair(left, right)),
                    Some(_) => Err(A::Error::invalid_length(3, &PairOrLine)),
                }
            }
        }
        deserializer.deserialize_any(PairOrLine)
    }
}
