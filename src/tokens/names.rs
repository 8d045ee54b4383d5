//! What people call a token.
//!
//! In: the bytes of all tokens of a BPE. Out: a name for each, unique, and the token of a name. The one idea: the token
//! that begins with a space is the word as it stands in a sentence, so it gets the plain name; the one without the space
//! continues a word, and is marked `##` where both exist.
//!
//! Tokens that are no whole characters, or nothing but spaces, go by their spelling in the byte-level alphabet. Control
//! characters stay as they are: whoever prints names escapes them.

use std::borrow::Cow;

use hashbrown::HashMap;

use crate::tokens::token_table::TokenTable;
use crate::tokens::tokenizer::Model;
use crate::tokens::{TokenId, Tokenizer, byte_alphabet};

impl Tokenizer {
    /// What people call the token, unique: a BPE token without the space it begins with, `##` before a token that
    /// continues a word of that name, see the [module](crate::tokens); a word as it is [spelled](Tokenizer::spelling).
    ///
    /// May hold control characters: escape them before printing.
    pub fn name(&self, id: TokenId) -> Cow<'_, str> {
        match &self.model {
            Model::Bpe(_) => Cow::Borrowed(self.names().get(id)),
            Model::Words(_) => Cow::Owned(self.spelling(id)),
        }
    }

    /// The token of a name.
    pub fn id_of_name(&self, name: &str) -> Option<TokenId> {
        match &self.model {
            Model::Bpe(_) => self.names().find(name),
            Model::Words(_) => self.id_of_spelling(name),
        }
    }

    fn names(&self) -> &Names {
        self.names.get_or_init(|| Names::new(self.tokens()))
    }
}

/// The names of all tokens.
#[derive(Debug, Clone)]
pub(crate) struct Names {
    /// By id.
    names: Vec<String>,
    ids: HashMap<String, u32>,
}

impl Names {
    pub(crate) fn new(tokens: &TokenTable) -> Names {
        let mut names = vec![String::new(); tokens.len()];
        let mut ids: HashMap<String, u32> = HashMap::with_capacity(tokens.len());
        // Words first: they must not lose their name to a continuation with a lower id.
        for words in [true, false] {
            for (id, bytes) in tokens.iter().enumerate() {
                let word = word(bytes);
                if word.is_some() != words {
                    continue;
                }
                let mut name = match word {
                    Some(word) => word.to_string(),
                    None if tokens.is_unused(id) => unused(id as u32),
                    None => continuation(bytes),
                };
                while ids.contains_key(&name) {
                    name.insert_str(0, "##");
                }
                ids.insert(name.clone(), id as u32);
                names[id] = name;
            }
        }
        Names { names, ids }
    }

    pub(crate) fn get(&self, id: TokenId) -> &str {
        &self.names[id.index()]
    }

    pub(crate) fn find(&self, name: &str) -> Option<TokenId> {
        self.ids.get(name).copied().map(TokenId)
    }
}

/// What an id that no token has goes by. Its first character is in no token's spelling in the byte-level alphabet.
pub(crate) fn unused(id: u32) -> String {
    format!("∅{id}")
}

/// What follows the space of a token that begins with one, if that is a word.
fn word(bytes: &[u8]) -> Option<&str> {
    let word = std::str::from_utf8(bytes.strip_prefix(b" ")?).ok()?;
    (!word.trim_matches(' ').is_empty()).then_some(word)
}

/// The name of a token that is no word by itself.
fn continuation(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) if !text.trim_matches(' ').is_empty() => text.to_string(),
        _ => byte_alphabet::spell(bytes),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_have_plain_names_and_every_name_is_unique() {
        let tokens: [&[u8]; 13] = [
            b"king",
            b" king",
            b"##king",
            b"ing",
            b" ",
            b"   ",
            b"\xE4",
            b" \xE4",
            "Ġä".as_bytes(),
            b"\n",
            b" ##x",
            b"x",
            b" x",
        ];
        let mut table = TokenTable::default();
        tokens.iter().for_each(|token| table.push(token));
        let names = Names::new(&table);
        let all: Vec<&str> = (0..13).map(|id| names.get(TokenId(id))).collect();
        let expected = ["##king", "king", "####king", "ing", "Ġ", "ĠĠĠ", "ä", "Ġä", "##Ġä", "\n", "##x", "####x", "x"];
        assert_eq!(all, expected);
        for (id, name) in all.iter().enumerate() {
            assert_eq!(names.find(name), Some(TokenId(id as u32)));
        }
        assert_eq!(names.find("queen"), None);
    }
}
