//! GPT-2's pattern, one character after the other.
//!
//! `'(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+` (Radford et al. 2019, `encoder.py`): a
//! contraction; or a run of letters, of numbers or of symbols with the one space before it; or white space, of which
//! the last character is left for what follows.

use super::LineFeed;
use super::classes::{LETTER, NUMBER, WHITE, class_at};

/// The end of the piece that begins at `start`.
pub(super) fn piece_end(text: &[u8], start: usize, line_feed: LineFeed) -> usize {
    if text[start] == b'\''
        && let Some(len) = contraction(&text[start + 1..])
    {
        return start + 1 + len;
    }
    let mut at = start;
    let (mut class, mut len) = class_at(text, start);
    if text[start] == b' ' && start + 1 < text.len() {
        let (next_class, next_len) = class_at(text, start + 1);
        if next_class & WHITE == 0 {
            (at, class, len) = (start + 1, next_class, next_len);
        }
    }
    if class & WHITE != 0 {
        return white_end(text, start, line_feed);
    }
    let kind = class & (LETTER | NUMBER);
    loop {
        at += len;
        if at == text.len() {
            return at;
        }
        (class, len) = class_at(text, at);
        if class & (LETTER | NUMBER | WHITE) != kind {
            return at;
        }
    }
}

/// The length of `s`, `t`, `re`, … at the beginning of what follows an apostrophe.
pub(super) fn contraction(rest: &[u8]) -> Option<usize> {
    match rest {
        [b's' | b'd' | b'm' | b't', ..] => Some(1),
        [b'l', b'l', ..] | [b'v', b'e', ..] | [b'r', b'e', ..] => Some(2),
        _ => None,
    }
}

/// The end of `\s+(?!\S)|\s+` at `start`: the whole run at the end of a text, else the run without its last character,
/// else the one character.
pub(super) fn white_end(text: &[u8], start: usize, line_feed: LineFeed) -> usize {
    let (mut last, mut at) = (start, start);
    while at < text.len() {
        let (class, len) = class_at(text, at);
        if class & WHITE == 0 {
            return if last > start { last } else { at };
        }
        last = at;
        at += len;
        if line_feed == LineFeed::Ends && text[last] == b'\n' {
            return at;
        }
    }
    at
}
