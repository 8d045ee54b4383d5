//! GPT-4o's pattern (o200k).
//!
//! With U = `[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]`, L = `[\p{Ll}\p{Lm}\p{Lo}\p{M}]`, P = `[^\r\n\p{L}\p{N}]` and
//! C = `(?i:'s|'t|'re|'ve|'m|'ll|'d)` it is
//! `P?U*L+C?|P?U+L*C?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+`: words are cut where lower case
//! turns to upper (`wordGrove` is two), and keep their contraction. Letters without case and marks are in U and in L.

use super::LineFeed;
use super::cl100k::{any_case_contraction, is_line_end, run_end, symbols_or_white, up_to_three_numbers};
use super::classes::{Class, LETTER, LOWER, MARK, NUMBER, UPPER, class_at};

/// The end of the piece that begins at `start`.
pub(super) fn piece_end(text: &[u8], start: usize, line_feed: LineFeed) -> usize {
    let (class, len) = class_at(text, start);
    // `P?` takes a character if it can and gives it back if nothing fits behind it; what begins with a letter has none.
    let behind_prefix = (class & (LETTER | NUMBER) == 0 && !is_line_end(text[start])).then_some(start + len);
    let word = behind_prefix
        .and_then(|behind| ends_low(text, behind))
        .or_else(|| ends_low(text, start))
        .or_else(|| behind_prefix.and_then(|behind| begins_high(text, behind)))
        .or_else(|| begins_high(text, start));
    if let Some(end) = word {
        return end + any_case_contraction(&text[end..]).unwrap_or(0);
    }
    if class & NUMBER != 0 {
        return up_to_three_numbers(text, start);
    }
    symbols_or_white(text, start, |byte| is_line_end(byte) || byte == b'/', line_feed)
}

fn is_high(class: Class) -> bool {
    class & MARK != 0 || class & LETTER != 0 && class & LOWER == 0
}

fn is_low(class: Class) -> bool {
    class & MARK != 0 || class & LETTER != 0 && class & UPPER == 0
}

/// The end of `U*L+`. `U*` takes all it can, then gives back until something of L follows.
fn ends_low(text: &[u8], start: usize) -> Option<usize> {
    let mut at = start;
    // Behind the last character that is in U and in L.
    let mut behind_both = None;
    while at < text.len() {
        let (class, len) = class_at(text, at);
        if !is_high(class) {
            break;
        }
        at += len;
        if is_low(class) {
            behind_both = Some(at);
        }
    }
    let end = run_end(text, at, is_low);
    if end > at { Some(end) } else { behind_both }
}

/// The end of `U+L*`.
fn begins_high(text: &[u8], start: usize) -> Option<usize> {
    let end = run_end(text, start, is_high);
    (end > start).then(|| run_end(text, end, is_low))
}
