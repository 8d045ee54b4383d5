//! A pattern that is not written out here, through a regex engine that takes linear time.
//!
//! That engine has no look-ahead. But the patterns of the field have it at one place only: they end in
//! `|\s+(?!\S)|\s+`. So what is before that goes to the engine, and that is done by hand.

use regex::Regex;

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

/// A pattern and how to apply it.
#[derive(Debug, Clone)]
pub struct CustomPattern {
    source: String,
    /// All of it, or all but the tail.
    head: regex::bytes::Regex,
    has_tail: bool,
}

/// The pattern without possessive repetitions, and with the usual spelling of its end.
pub(super) fn plain(source: &str) -> Result<String, String> {
    let head = TAILS.iter().find_map(|tail| source.strip_suffix(tail));
    let plain = dialect::translate(head.unwrap_or(source)).map_err(|error| explain(source, &error))?;
    Ok(if head.is_some() { plain + TAIL } else { plain })
}

fn explain(source: &str, error: &dyn std::fmt::Display) -> String {
    format!("cannot use the pattern {source:?}: {error}; a look-ahead is possible only as {TAIL:?} at the end")
}

impl CustomPattern {
    /// `plain` is what [`plain`] makes of `source`.
    pub(super) fn new(source: &str, plain: &str) -> Result<CustomPattern, String> {
        let head = plain.strip_suffix(TAIL);
        let has_tail = head.is_some();
        let head = head.unwrap_or(plain);
        // First as text, whose messages are about the pattern, then over bytes, since a text may be any bytes.
        let explain = |error: regex::Error| explain(source, &error);
        regex::RegexBuilder::new(head).size_limit(MAX_SIZE).build().map(|_: Regex| ()).map_err(explain)?;
        let head = regex::bytes::RegexBuilder::new(head).size_limit(MAX_SIZE).build().map_err(explain)?;
        Ok(CustomPattern { source: source.to_string(), head, has_tail })
    }

    /// The pattern as it was given.
    pub(super) fn source(&self) -> &str {
        &self.source
    }

    /// The next match that is not empty; the end of the text if there is none.
    fn find(&self, text: &[u8], mut at: usize) -> (usize, usize) {
        while let Some(found) = self.head.find_at(text, at) {
            if !found.is_empty() {
                return (found.start(), found.end());
            }
            at = found.end() + 1;
            if at > text.len() {
                break;
            }
        }
        (text.len(), text.len())
    }

    /// Hands the ends of all pieces of `text` to `end`. What the pattern leaves out between its matches is a piece too.
    pub(super) fn scan(&self, text: &[u8], mut end: impl FnMut(usize)) {
        let mut at = 0;
        let mut next = None;
        while at < text.len() {
            // The next match stays the next until its beginning is passed.
            let (start, stop) = match next {
                Some((start, stop)) if start >= at => (start, stop),
                _ => self.find(text, at),
            };
            next = Some((start, stop));
            let white = if self.has_tail { first_white(text, at..start) } else { None };
            let stop_before = white.unwrap_or(start);
            if stop_before > at {
                end(stop_before);
            }
            at = match white {
                Some(white) => white_end(text, white, LineFeed::Within),
                None => stop,
            };
            if at > stop_before {
                end(at);
            }
        }
    }
}

/// Where in the range the first white character begins.
fn first_white(text: &[u8], range: std::ops::Range<usize>) -> Option<usize> {
    let mut at = range.start;
    while at < range.end {
        let (class, len) = class_at(text, at);
        if class & WHITE != 0 {
            return Some(at);
        }
        at += len;
    }
    None
}
