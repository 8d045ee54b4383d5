//! Tokens that no merge makes: they are looked for in the text before it is cut.
//!
//! In: a text. Out: the tokens found in it and the stretches between them. The one idea: special tokens (`<|endoftext|>`)
//! mean something to a program, so in a text that comes from people they are ordinary characters unless the caller says
//! otherwise; added tokens that are not special are vocabulary, and always found.
//!
//! The rules are those of Hugging Face tokenizers: the leftmost, then the longest; `single_word` wants no word character
//! on either side, `lstrip` and `rstrip` take the white space beside, `normalized` ones are found in the normalised text.
//! But white space that one token has taken is not a part of another, too.

use std::borrow::Cow;
use std::ops::Range;
use std::sync::OnceLock;

use aho_corasick::{AhoCorasick, AhoCorasickKind, MatchKind};

use crate::text::Normalizer;
use crate::tokens::TokenId;
use crate::tokens::pretokenize::classes::{WHITE, WORD, class_at};
use crate::tokens::token_table::TokenTable;

/// The longest added token, in bytes. Finding the longest of several may look so far ahead at every place of a text, so
/// this bounds the time for a byte. The longest known ones have about a hundred.
const MAX_LEN: usize = 1024;

/// The most bytes of all added tokens together. The automaton that finds them takes about fifty times as much, and a
/// third of a second for a megabyte. 100,000 tokens of the usual kind are one megabyte.
const MAX_BYTES: usize = 1 << 22;

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

/// A token of `added_tokens`.
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

impl AddedToken {
    /// A special token, found as it is spelled.
    pub(crate) fn special(id: u32, content: impl Into<String>) -> AddedToken {
        let (single_word, lstrip, rstrip, normalized) = (false, false, false, false);
        AddedToken { id, content: content.into(), single_word, lstrip, rstrip, normalized, special: true }
    }

    fn text(&self, normalizer: Normalizer) -> Cow<'_, [u8]> {
        let content = self.content.as_bytes();
        if self.normalized { normalizer.apply(content) } else { Cow::Borrowed(content) }
    }
}

/// All added tokens of a tokenizer, and how to find them.
#[derive(Debug, Clone, Default)]
pub(crate) struct AddedTokens {
    /// Ascending by id.
    tokens: Vec<AddedToken>,
    /// What they are called, by their places in `tokens`.
    contents: TokenTable,
    has_ordinary: bool,
    normalizer: Normalizer,
    /// For the raw text and for the normalised text, made when first asked for.
    finders: OnceLock<[Finder; 2]>,
}

/// Finds the leftmost, then longest, of some tokens.
#[derive(Debug, Clone)]
struct Finder {
    /// `None` where there is nothing to find.
    search: Option<AhoCorasick>,
    /// By the number of the pattern, places in [`AddedTokens::tokens`].
    places: Vec<u32>,
}

/// A stretch of text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Stretch {
    /// A token, with the white space that it takes.
    Token(TokenId, Range<usize>),
    Text(Range<usize>),
}

impl AddedTokens {
    /// The error says which token cannot be looked for.
    pub(crate) fn new(mut tokens: Vec<AddedToken>, normalizer: Normalizer) -> Result<AddedTokens, String> {
        tokens.sort_by_key(|token| token.id);
        let mut n_bytes = 0;
        let mut contents = TokenTable::default();
        for token in &tokens {
            let (content, len) = (&token.content, token.text(normalizer).len());
            if len > MAX_LEN {
                let beginning: String = content.chars().take(20).collect();
                return Err(format!("has an added token of {len} bytes, {beginning:?}…, expected at most {MAX_LEN}"));
            }
            n_bytes += len;
            if contents.find(content.as_bytes()).is_some() {
                return Err(format!("has the added token {content:?} twice"));
            }
            contents.push(content.as_bytes());
        }
        if n_bytes > MAX_BYTES {
            return Err(format!("has added tokens of {n_bytes} bytes together, expected at most {MAX_BYTES}"));
        }
        let has_ordinary = tokens.iter().any(|token| !token.special);
        Ok(AddedTokens { tokens, contents, has_ordinary, normalizer, finders: OnceLock::new() })
    }

    /// Whether any token can be found at all.
    pub(crate) fn finds_any(&self, special: SpecialTokens) -> bool {
        match special {
            SpecialTokens::AsText => self.has_ordinary,
            SpecialTokens::Found | SpecialTokens::Framed => !self.tokens.is_empty(),
        }
    }

    /// Cuts the raw text.
    pub(crate) fn cut_raw(&self, text: &[u8], special: SpecialTokens) -> Vec<Stretch> {
        self.cut(text, special, &self.finders()[0])
    }

    /// Cuts a stretch of raw text that has been normalised since.
    pub(crate) fn cut_normalized(&self, text: &[u8], special: SpecialTokens) -> Vec<Stretch> {
        self.cut(text, special, &self.finders()[1])
    }

    fn cut(&self, text: &[u8], special: SpecialTokens, finder: &Finder) -> Vec<Stretch> {
        let mut stretches = Vec::new();
        let mut done = 0;
        for found in finder.search.iter().flat_map(|search| search.find_iter(text)) {
            let token = &self.tokens[finder.places[found.pattern().as_usize()] as usize];
            let (mut start, mut end) = (found.start(), found.end());
            // What is passed over here hides shorter tokens within it, as with Hugging Face.
            if token.special && special == SpecialTokens::AsText
                || token.single_word && (word_before(text, start) || word_at(text, end))
                // White space that the token before has taken.
                || start < done
            {
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
        if done < text.len() {
            stretches.push(Stretch::Text(done..text.len()));
        }
        stretches
    }

    fn finders(&self) -> &[Finder; 2] {
        self.finders.get_or_init(|| [false, true].map(|normalized| self.finder(normalized)))
    }

    fn finder(&self, normalized: bool) -> Finder {
        let is_wanted = |token: &AddedToken| token.normalized == normalized && !token.content.is_empty();
        let places = (0..self.tokens.len() as u32).filter(|&place| is_wanted(&self.tokens[place as usize]));
        let places: Vec<u32> = places.collect();
        let texts = places.iter().map(|&place| self.tokens[place as usize].text(self.normalizer));
        let search = (!places.is_empty()).then(|| {
            let mut builder = AhoCorasick::builder();
            // Other kinds take a kilobyte for each byte of a token.
            builder.match_kind(MatchKind::LeftmostLongest).kind(Some(AhoCorasickKind::ContiguousNFA));
            builder.build(texts).expect("MAX_BYTES is far below what an automaton may have")
        });
        Finder { search, places }
    }

    /// What stands in a text where one of them is found: its content, normalised if that is looked for.
    pub(crate) fn text<'t>(&self, token: &'t AddedToken) -> Cow<'t, [u8]> {
        token.text(self.normalizer)
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.tokens.len()
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
    pub(crate) fn find(&self, content: &str) -> Option<&AddedToken> {
        self.contents.find(content.as_bytes()).map(|place| &self.tokens[place as usize])
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
        let tokens = vec![AddedToken::special(1, "<a>"), AddedToken::special(2, "<a><b>"), AddedToken::special(3, "a")];
        assert_eq!(cut(tokens, "x<a><b>a <a>"), ["x", "<2>", "<3>", " ", "<1>"]);
        assert_eq!(cut(vec![AddedToken::special(1, ".*")], "x.*y"), ["x", "<1>", "y"]);
    }

    #[test]
    fn very_many_and_long_tokens_are_found_at_once() {
        // A regular expression of them takes 33 GB.
        let content = |id: u32| format!("<|{id}{}|>", "x".repeat(130));
        let tokens = (0..15_000).map(|id| AddedToken::special(id, content(id))).collect();
        let added = AddedTokens::new(tokens, Normalizer::default()).unwrap();
        let text: String = (0..15_000).map(|id| content(id) + " ").collect();
        let stretches = added.cut_raw(text.as_bytes(), SpecialTokens::Found);
        let found = stretches.iter().filter_map(|stretch| match stretch {
            Stretch::Token(id, _) => Some(id.0),
            Stretch::Text(_) => None,
        });
        assert!(found.eq(0..15_000));
        assert!((0..15_000).all(|id| added.find(&content(id)).map(|token| token.id) == Some(id)));
        let refused = |tokens| AddedTokens::new(tokens, Normalizer::default()).unwrap_err();
        assert!(refused(vec![AddedToken::special(0, "x".repeat(1025))]).contains("of 1025 bytes"));
        assert!(refused(vec![AddedToken::special(0, "x"), AddedToken::special(1, "x")]).contains("\"x\" twice"));
        let many = (0..4_200).map(|id| AddedToken::special(id, format!("{id}{}", "x".repeat(1000))));
        assert!(refused(many.collect()).contains("expected at most 4194304"));
    }

    #[test]
    fn of_tokens_that_normalise_to_the_same_the_first_is_found() {
        let normalizer = Normalizer { lowercase: true, form: None };
        let token = |id, content| AddedToken { normalized: true, ..AddedToken::special(id, content) };
        let added = AddedTokens::new(vec![token(2, "ab"), token(1, "AB"), token(3, "b")], normalizer).unwrap();
        let stretches = added.cut_normalized(b"ab b", SpecialTokens::Found);
        let expected = [Stretch::Token(TokenId(1), 0..2), Stretch::Text(2..3), Stretch::Token(TokenId(3), 3..4)];
        assert_eq!(stretches, expected);
        assert_eq!(added.cut_raw(b"ab", SpecialTokens::Found), [Stretch::Text(0..2)]);
    }

    #[test]
    fn white_space_beside_is_taken_and_words_are_left_whole() {
        let strips = AddedToken { lstrip: true, rstrip: true, ..AddedToken::special(1, "<m>") };
        assert_eq!(cut(vec![strips], "a \u{3000} <m> \n b <m><m> "), ["a", "<1>", "b", "<1>", "<1>"]);
        // White space that one token has taken is no other token.
        let (takes, white) =
            (AddedToken { rstrip: true, ..AddedToken::special(1, "<m>") }, AddedToken::special(2, " "));
        assert_eq!(cut(vec![takes, white], "<m>  a "), ["<1>", "a", "<2>"]);
        let whole = AddedToken { single_word: true, ..AddedToken::special(1, "cat") };
        assert_eq!(cut(vec![whole], "cat éцcat cats -cat-"), ["<1>", " éцcat cats -", "<1>", "-"]);
    }

    #[test]
    fn special_tokens_are_text_unless_they_are_asked_for() {
        let plain = AddedToken { special: false, ..AddedToken::special(2, "<b>") };
        let added = AddedTokens::new(vec![AddedToken::special(1, "<a>"), plain], Normalizer::default()).unwrap();
        let stretches = added.cut_raw(b"<a><b>", SpecialTokens::AsText);
        assert_eq!(stretches, [Stretch::Text(0..3), Stretch::Token(TokenId(2), 3..6)]);
        // What is in one is not found either. By tokenizers 0.23, encode_special_tokens = True.
        let within = AddedToken { special: false, ..AddedToken::special(2, "|a") };
        let within = AddedTokens::new(vec![AddedToken::special(1, "<|a|>"), within], Normalizer::default()).unwrap();
        let stretches = within.cut_raw(b"<|a|><|a", SpecialTokens::AsText);
        assert_eq!(stretches, [Stretch::Text(0..6), Stretch::Token(TokenId(2), 6..8)]);
        assert!(added.finds_any(SpecialTokens::AsText));
        let special = AddedTokens::new(vec![AddedToken::special(1, "<a>")], Normalizer::default()).unwrap();
        assert!(!special.finds_any(SpecialTokens::AsText) && special.finds_any(SpecialTokens::Found));
    }
}
