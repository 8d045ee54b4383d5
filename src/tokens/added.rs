//! Tokens that no merge makes: they are looked for in the text before it is cut.
//!
//! In: a text. Out: the tokens found in it and the stretches between them. The one idea: special tokens (`<|endoftext|>`)
//! mean something to a program, so in a text that comes from people they are ordinary characters unless the caller says
//! otherwise; added tokens that are not special are vocabulary, and always found.
//!
//! The rules are those of Hugging Face tokenizers: the leftmost, then the longest; `single_word` wants no word character
//! on either side, `lstrip` and `rstrip` take the white space beside, `normalized` ones are found in the normalised text.

use std::ops::Range;

use regex::bytes::{Regex, RegexBuilder};

use crate::text::Normalizer;
use crate::tokens::TokenId;
use crate::tokens::pretokenize::classes::{WHITE, WORD, class_at};

/// Whether special tokens are found in a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SpecialTokens {
    /// They are characters like others. Right for texts that come from people.
    #[default]
    AsText,
    /// Each becomes its one id.
    Found,
    /// The same, and those that the tokenizer's file wants around a text (`<s>`, `</s>`) are put there: what Hugging
    /// Face's `encode` does. Files that want none give the same as [`Found`](SpecialTokens::Found).
    Framed,
}

/// A token that no merge makes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct AddedToken {
    pub(crate) id: u32,
    pub(crate) content: String,
    pub(crate) single_word: bool,
    pub(crate) lstrip: bool,
    pub(crate) rstrip: bool,
    pub(crate) normalized: bool,
    pub(crate) special: bool,
}

/// All added tokens of a tokenizer, and how to find them.
#[derive(Debug, Clone, Default)]
pub(crate) struct AddedTokens {
    /// Ascending by id.
    tokens: Vec<AddedToken>,
    /// In the raw text and in the normalised text, first without and then with the special ones; `None` where there is
    /// nothing to find.
    finders: [[Option<Finder>; 2]; 2],
}

/// Finds the leftmost, then longest, of some tokens.
#[derive(Debug, Clone)]
struct Finder {
    regex: Regex,
    /// By number of the capture group less one: places in [`AddedTokens::tokens`], longest content first.
    order: Vec<usize>,
}

/// A stretch of text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Stretch {
    /// A token, with the white space that it takes.
    Token(TokenId, Range<usize>),
    Text(Range<usize>),
}

impl AddedTokens {
    /// The error says which tokens are too much to look for.
    pub(crate) fn new(mut tokens: Vec<AddedToken>, normalizer: Normalizer) -> Result<AddedTokens, String> {
        tokens.sort_by_key(|token| token.id);
        let finder = |normalized: bool, special: SpecialTokens| -> Result<Option<Finder>, String> {
            let wanted = |token: &AddedToken| {
                token.normalized == normalized && (!token.special || special == SpecialTokens::Found)
            };
            Finder::new(&tokens, wanted, if normalized { normalizer } else { Normalizer::default() })
        };
        let finders = [
            [finder(false, SpecialTokens::AsText)?, finder(false, SpecialTokens::Found)?],
            [finder(true, SpecialTokens::AsText)?, finder(true, SpecialTokens::Found)?],
        ];
        Ok(AddedTokens { tokens, finders })
    }

    /// Whether any token can be found at all.
    pub(crate) fn finds_any(&self, special: SpecialTokens) -> bool {
        self.finders.iter().any(|finders| finders[which(special)].is_some())
    }

    /// Cuts the raw text.
    pub(crate) fn cut_raw(&self, text: &[u8], special: SpecialTokens) -> Vec<Stretch> {
        self.cut(text, &self.finders[0][which(special)])
    }

    /// Cuts a stretch of raw text that has been normalised since.
    pub(crate) fn cut_normalized(&self, text: &[u8], special: SpecialTokens) -> Vec<Stretch> {
        self.cut(text, &self.finders[1][which(special)])
    }

    fn cut(&self, text: &[u8], finder: &Option<Finder>) -> Vec<Stretch> {
        let mut stretches = Vec::new();
        let mut done = 0;
        if let Some(finder) = finder {
            for found in finder.regex.captures_iter(text) {
                let Some(all) = found.get(0) else { continue };
                let Some(group) = (1..found.len()).find(|&group| found.get(group).is_some()) else { continue };
                let token = &self.tokens[finder.order[group - 1]];
                let (mut start, mut end) = (all.start(), all.end());
                if token.single_word && (word_before(text, start) || word_at(text, end)) {
                    continue;
                }
                if token.lstrip {
                    start = white_start(text, start).max(done);
                }
                if token.rstrip {
                    end = white_end(text, end);
                }
                if done < start {
                    stretches.push(Stretch::Text(done..start));
                }
                stretches.push(Stretch::Token(TokenId(token.id), start..end));
                done = end;
            }
        }
        if done < text.len() {
            stretches.push(Stretch::Text(done..text.len()));
        }
        stretches
    }

    /// All of them, ascending by id.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &AddedToken> {
        self.tokens.iter()
    }

    /// The added token of an id.
    pub(crate) fn get(&self, id: TokenId) -> Option<&AddedToken> {
        self.tokens.binary_search_by_key(&id.0, |token| token.id).ok().map(|place| &self.tokens[place])
    }

    /// The added token of these characters.
    pub(crate) fn find(&self, content: &str) -> Option<TokenId> {
        self.tokens.iter().find(|token| token.content == content).map(|token| TokenId(token.id))
    }
}

/// Which of two finders.
fn which(special: SpecialTokens) -> usize {
    match special {
        SpecialTokens::AsText => 0,
        SpecialTokens::Found | SpecialTokens::Framed => 1,
    }
}

impl Finder {
    fn new(
        tokens: &[AddedToken],
        wanted: impl Fn(&AddedToken) -> bool,
        normalizer: Normalizer,
    ) -> Result<Option<Finder>, String> {
        let mut order: Vec<usize> =
            (0..tokens.len()).filter(|&at| !tokens[at].content.is_empty() && wanted(&tokens[at])).collect();
        if order.is_empty() {
            return Ok(None);
        }
        // The engine takes the first alternative that matches at the leftmost place; so the longest must come first.
        let content = |at: usize| normalizer.apply(tokens[at].content.as_bytes()).into_owned();
        order.sort_by_key(|&at| std::cmp::Reverse(content(at).len()));
        let alternatives: Vec<String> =
            order.iter().map(|&at| format!("({})", regex::escape(&String::from_utf8_lossy(&content(at))))).collect();
        let regex = RegexBuilder::new(&alternatives.join("|")).size_limit(1 << 26).build();
        let regex =
            regex.map_err(|error| format!("has {} added tokens, too many to look for: {error}", order.len()))?;
        Ok(Some(Finder { regex, order }))
    }
}

fn word_at(text: &[u8], at: usize) -> bool {
    at < text.len() && class_at(text, at).0 & WORD != 0
}

fn word_before(text: &[u8], at: usize) -> bool {
    at > 0 && class_at(text, character_before(text, at)).0 & WORD != 0
}

/// Where the character begins that ends at `at`.
fn character_before(text: &[u8], at: usize) -> usize {
    let fits = |&start: &usize| start + class_at(text, start).1 == at;
    (at.saturating_sub(4)..at).find(fits).unwrap_or(at - 1)
}

fn white_start(text: &[u8], at: usize) -> usize {
    let mut start = at;
    while start > 0 && class_at(text, character_before(text, start)).0 & WHITE != 0 {
        start = character_before(text, start);
    }
    start
}

fn white_end(text: &[u8], at: usize) -> usize {
    let mut end = at;
    while end < text.len() {
        let (class, len) = class_at(text, end);
        if class & WHITE == 0 {
            break;
        }
        end += len;
    }
    end
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(id: u32, content: &str) -> AddedToken {
        AddedToken {
            id,
            content: content.into(),
            single_word: false,
            lstrip: false,
            rstrip: false,
            normalized: false,
            special: true,
        }
    }

    fn cut(tokens: Vec<AddedToken>, text: &str) -> Vec<String> {
        let added = AddedTokens::new(tokens, Normalizer::default()).unwrap();
        let show = |stretch| match stretch {
            Stretch::Token(id, _) => format!("<{}>", id.0),
            Stretch::Text(range) => text[range].to_string(),
        };
        added.cut_raw(text.as_bytes(), SpecialTokens::Found).into_iter().map(show).collect()
    }

    #[test]
    fn the_leftmost_and_then_the_longest_is_found() {
        let tokens = vec![token(1, "<a>"), token(2, "<a><b>"), token(3, "a")];
        assert_eq!(cut(tokens, "x<a><b>a <a>"), ["x", "<2>", "<3>", " ", "<1>"]);
        assert_eq!(cut(vec![token(1, ".*")], "x.*y"), ["x", "<1>", "y"]);
    }

    #[test]
    fn white_space_beside_is_taken_and_words_are_left_whole() {
        let strips = AddedToken { lstrip: true, rstrip: true, ..token(1, "<m>") };
        assert_eq!(cut(vec![strips], "a \u{3000} <m> \n b <m><m> "), ["a", "<1>", "b", "<1>", "<1>"]);
        let whole = AddedToken { single_word: true, ..token(1, "cat") };
        assert_eq!(cut(vec![whole], "cat éцcat cats -cat-"), ["<1>", " éцcat cats -", "<1>", "-"]);
    }

    #[test]
    fn special_tokens_are_text_unless_they_are_asked_for() {
        let plain = AddedToken { special: false, ..token(2, "<b>") };
        let added = AddedTokens::new(vec![token(1, "<a>"), plain], Normalizer::default()).unwrap();
        let stretches = added.cut_raw(b"<a><b>", SpecialTokens::AsText);
        assert_eq!(stretches, [Stretch::Text(0..3), Stretch::Token(TokenId(2), 3..6)]);
        assert!(added.finds_any(SpecialTokens::AsText));
        let special = AddedTokens::new(vec![token(1, "<a>")], Normalizer::default()).unwrap();
        assert!(!special.finds_any(SpecialTokens::AsText) && special.finds_any(SpecialTokens::Found));
    }
}
