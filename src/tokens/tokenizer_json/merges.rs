//! `merges` → [`Merge`]s. They become ids as they are read, and are never kept as text.

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, Error as _, SeqAccess, Visitor};

use super::vocab::{BorrowedStr, Spellings};
use crate::tokens::bpe::{MAX_TOKENS, Merge};

impl Spellings<'_> {
    /// The merge of two tokens; `joined` is room to write in.
    pub(super) fn merge(&self, rank: usize, left: &str, right: &str, joined: &mut String) -> Result<Merge, String> {
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
pub(super) struct Merges<'s, 'a> {
    pub(super) spellings: &'s Spellings<'a>,
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
