//! A pattern that is not written out here, through an automaton.
//!
//! In: a regular expression. Out: where its matches end, in time that is linear in the text whatever the pattern. The
//! automaton has no look-ahead. But the patterns of the field have it at one place only: they end in
//! `|\s+(?!\S)|\s+`. So what is before that goes to the automaton, and that is done by hand.
//!
//! A match may have to look far ahead, in vain, and be short: `[^c]*c|a` in `aaa…`. To look as far again from the next
//! character would take time in the square of the text, as with every engine that only knows one match at a time. Here it
//! is remembered in which states the automaton was at which places without finding more from there (Reps 1998, *Maximal
//! munch tokenization in linear time*).

use std::panic::{RefUnwindSafe, UnwindSafe};

use hashbrown::HashSet;
use regex_automata::hybrid::LazyStateID;
use regex_automata::hybrid::dfa::{Cache, DFA};
use regex_automata::nfa::thompson::{self, WhichCaptures};
use regex_automata::util::pool::Pool;
use regex_automata::util::start;
use regex_automata::{Anchored, Input};
use regex_syntax::ParserBuilder;

use super::LineFeed;
use super::classes::{WHITE, class_at};
use super::dialect;
use super::gpt2::white_end;

/// What every pattern with a look-ahead ends in.
const TAIL: &str = r"|\s+(?!\S)|\s+";

/// Other spellings of it. The last white character of a run is one by itself, and the white space at the end of a text is
/// one piece, in all of them.
const TAILS: [&str; 5] =
    [r"|\s++$|\s+(?!\S)|\s", r"|\s++$|\s+(?!\S)|\s+", r"|\s+\z|\s+(?!\S)|\s+", r"|\s+(?!\S)|\s", TAIL];

/// Compiled patterns may take so many bytes.
const MAX_SIZE: usize = 1 << 22;

/// At every so many bytes it is remembered that nothing more was found from there, and asked whether it is known.
const STRIDE: usize = 32;

/// A pattern and how to apply it.
#[derive(Debug)]
pub struct CustomPattern {
    source: String,
    /// All of it, or all but the tail.
    head: DFA,
    has_tail: bool,
    /// Whether a match can begin with a byte, but for the first of a text.
    begins: [bool; 256],
    caches: Pool<Cache, NewCache>,
}

type NewCache = Box<dyn Fn() -> Cache + Send + Sync + UnwindSafe + RefUnwindSafe>;

/// The pattern without possessive repetitions, and with the usual spelling of its end.
pub(super) fn plain(source: &str) -> Result<String, String> {
    let head = TAILS.iter().find_map(|tail| source.strip_suffix(tail));
    let plain = dialect::translate(head.unwrap_or(source)).map_err(|error| explain(source, &error))?;
    Ok(if head.is_some() { plain + TAIL } else { plain })
}

fn explain(source: &str, error: &dyn std::fmt::Display) -> String {
    format!("cannot use the pattern {source:?}: {error}; a look-ahead is possible only as {TAIL:?} at the end")
}

/// Why no step of the automaton fails: it would by running out of memory for its states, but then begins anew, and at
/// look-arounds for words, which [`dialect`] refuses.
const NEVER_FAILS: &str = "this automaton has no reason to give up";

impl CustomPattern {
    /// `plain` is what [`plain`] makes of `source`.
    pub(super) fn new(source: &str, plain: &str) -> Result<CustomPattern, String> {
        let head = plain.strip_suffix(TAIL);
        let has_tail = head.is_some();
        let head = head.unwrap_or(plain);
        // Over bytes, since a text may be any.
        let hir = ParserBuilder::new().utf8(false).build().parse(head).map_err(|error| explain(source, &error))?;
        let config = thompson::Config::new().utf8(false).nfa_size_limit(Some(MAX_SIZE));
        let mut compiler = thompson::Compiler::new();
        let nfa = compiler.configure(config.which_captures(WhichCaptures::None)).build_from_hir(&hir);
        let nfa = nfa.map_err(|_| explain(source, &format!("it takes more than {MAX_SIZE} bytes when compiled")))?;
        let mut builder = DFA::builder();
        let builder = builder.configure(DFA::config().skip_cache_capacity_check(true));
        let head = builder.build_from_nfa(nfa).map_err(|error| explain(source, &error))?;
        let begins = begins(&head);
        let of = head.clone();
        let caches = Pool::new(Box::new(move || of.create_cache()) as NewCache);
        Ok(CustomPattern { source: source.to_string(), head, has_tail, begins, caches })
    }

    /// The pattern as it was given.
    pub(super) fn source(&self) -> &str {
        &self.source
    }

    /// Hands the ends of all pieces of `text` to `end`. What the pattern leaves out between its matches is a piece too,
    /// and an empty match parts what is before it from what is behind.
    pub(super) fn scan(&self, text: &[u8], mut end: impl FnMut(usize)) {
        let mut cache = self.caches.get();
        let n_cleared = cache.clear_count();
        let mut search = Search { pattern: self, text, cache: &mut cache, n_cleared, in_vain: HashSet::new() };
        let mut done = 0;
        let mut cut = |at: usize| {
            if at > done {
                end(at);
                done = at;
            }
        };
        let mut at = 0;
        while at < text.len() {
            let stop = if at == 0 || self.begins[usize::from(text[at])] { search.match_end(at) } else { None };
            if let Some(stop) = stop.filter(|&stop| stop > at) {
                cut(at);
                cut(stop);
                at = stop;
                continue;
            }
            let (class, len) = class_at(text, at);
            if stop.is_some() {
                cut(at);
            } else if self.has_tail && class & WHITE != 0 {
                cut(at);
                at = white_end(text, at, LineFeed::Within);
                cut(at);
                continue;
            }
            at += len;
        }
        cut(text.len());
    }
}

/// The bytes that a match can begin with where it is not the beginning of a text.
fn begins(dfa: &DFA) -> [bool; 256] {
    let mut cache = dfa.create_cache();
    let within = start::Config::new().look_behind(Some(b' ')).anchored(Anchored::Yes);
    std::array::from_fn(|byte| {
        let state = dfa.start_state(&mut cache, &within).expect(NEVER_FAILS);
        !dfa.next_state(&mut cache, state, byte as u8).expect(NEVER_FAILS).is_dead()
    })
}

/// A pattern on its way through a text.
struct Search<'t> {
    pattern: &'t CustomPattern,
    text: &'t [u8],
    cache: &'t mut Cache,
    /// How often the automaton had forgotten its states when those in `in_vain` were made.
    n_cleared: usize,
    /// States and places from which no further end of a match was found.
    in_vain: HashSet<(LazyStateID, usize)>,
}

impl Search<'_> {
    /// The end of the match that begins at a place.
    fn match_end(&mut self, at: usize) -> Option<usize> {
        let dfa = &self.pattern.head;
        let input = Input::new(self.text).range(at..).anchored(Anchored::Yes);
        let mut state = dfa.start_state_forward(self.cache, &input).expect(NEVER_FAILS);
        let mut found = None;
        // In vain, unless the end of a match is found behind them.
        let mut hopes = Vec::new();
        for place in at..self.text.len() {
            state = dfa.next_state(self.cache, state, self.text[place]).expect(NEVER_FAILS);
            // The automaton says one byte late that a match has ended.
            if state.is_match() {
                found = Some(place);
                hopes.clear();
            }
            if state.is_dead() {
                self.in_vain.extend(hopes);
                return found;
            }
            if place % STRIDE == 0 && place >= found.unwrap_or(at) + STRIDE {
                if self.n_cleared != self.cache.clear_count() {
                    self.n_cleared = self.cache.clear_count();
                    self.in_vain.clear();
                    hopes.clear();
                }
                if self.in_vain.contains(&(state, place)) {
                    self.in_vain.extend(hopes);
                    return found;
                }
                hopes.push((state, place));
            }
        }
        let state = dfa.next_eoi_state(self.cache, state).expect(NEVER_FAILS);
        if state.is_match() {
            return Some(self.text.len());
        }
        self.in_vain.extend(hopes);
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pieces<'t>(pattern: &str, text: &'t str) -> Vec<&'t str> {
        let pattern = CustomPattern::new(pattern, &plain(pattern).unwrap()).unwrap();
        let (mut pieces, mut start) = (Vec::new(), 0);
        pattern.scan(text.as_bytes(), |end| {
            pieces.push(&text[start..end]);
            start = end;
        });
        assert_eq!(start, text.len());
        pieces
    }

    #[test]
    fn pieces_are_those_of_hugging_face() {
        // By tokenizers 0.23: pre_tokenizers.Split(Regex(PATTERN), "isolated").
        let cases: [(&str, &str, &[&str]); 19] = [
            ("x*", "aab", &["a", "a", "b"]),
            ("x*", "axxb", &["a", "xx", "b"]),
            ("a?", "aab", &["a", "a", "b"]),
            ("a|", "aabc", &["a", "a", "b", "c"]),
            ("[a-z]+|x*", "abx--x", &["abx", "-", "-", "x"]),
            (r"\s*", "a  bc", &["a", "  ", "b", "c"]),
            ("", "aé", &["a", "é"]),
            (r"\A", "ab", &["ab"]),
            (r"\z", "ab", &["ab"]),
            (r"\Aa|b", "aab", &["a", "a", "b"]),
            (r"a\z|aa", "aaa", &["aa", "a"]),
            (r"\w+", "ab²¼c\u{200D}d_٣-", &["ab²¼c", "\u{200D}", "d_٣", "-"]),
            (r"\W", "a²-\u{200C}", &["a²", "-", "\u{200C}"]),
            (r"[^\w-]+", "a²- b", &["a²-", " ", "b"]),
            (r"[\W²]", "a²-", &["a", "²", "-"]),
            (r"[\w&&[^b]]", "abc²", &["a", "b", "c", "²"]),
            (r"(?i:'s)", "'ſ'S", &["'ſ", "'S"]),
            (r"(?i:[a-z])", "ſK1", &["ſ", "K", "1"]),
            (r"a+?", "aa-", &["a", "a", "-"]),
        ];
        for (pattern, text, expected) in cases {
            assert_eq!(pieces(pattern, text), expected, "{pattern}");
        }
    }

    #[test]
    fn matches_that_look_far_ahead_in_vain_take_no_more_time() {
        // A12: 12 seconds for 100 KB if every match looks for itself.
        let text = "a".repeat(400_000);
        for pattern in ["[^c]*c|a", "a.*z|a", "a(?:ba*c|)", "(?:a|b)*c|a", r"[a-z]+\d|a|\s+(?!\S)|\s+"] {
            let start = std::time::Instant::now();
            assert_eq!(pieces(pattern, &text).len(), text.len(), "{pattern}");
            assert!(start.elapsed().as_secs() < 10, "{pattern}: {:?}", start.elapsed());
        }
        // What was in vain for one state may not be for another, and what is found is found.
        let text = "a".repeat(1000) + "z" + &"a".repeat(1000) + "c";
        assert_eq!(pieces("a[^c]*z|a", &text).len(), 1 + 1001);
        assert_eq!(pieces("[^c]*c|a", &text), [&*text]);
    }
}
