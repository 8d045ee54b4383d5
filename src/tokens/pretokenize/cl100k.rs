//! GPT-4's pattern (cl100k), which Llama 3 uses too.
//!
//! `(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+`: a
//! contraction in either case; a run of letters with any one character before it; up to three digits; a run of symbols
//! with the space before it and the line ends behind it; white space up to its last line end; other white space.
//!
//! This is the form in which OpenAI published it and which `tokenizer.json` files carry. Newer versions of tiktoken have
//! `\s++$` before the line ends: only there, white space at the very end of a text is one piece even with a line end in
//! its middle. That form is here, too.

use super::LineFeed;
use super::classes::{LETTER, NUMBER, WHITE, class_at};
use super::gpt2::white_end;

/// The end of the piece that begins at `start`.
pub(super) fn piece_end(text: &[u8], start: usize, line_feed: LineFeed) -> usize {
    if let Some(len) = any_case_contraction(&text[start..]) {
        return start + len;
    }
    let (class, len) = class_at(text, start);
    if class & LETTER != 0 {
        return run_end(text, start + len, |class| class & LETTER != 0);
    }
    if class & NUMBER != 0 {
        return up_to_three_numbers(text, start);
    }
    let next = start + len;
    if !is_line_end(text[start]) && next < text.len() && class_at(text, next).0 & LETTER != 0 {
        return run_end(text, next, |class| class & LETTER != 0);
    }
    symbols_or_white(text, start, is_line_end, line_feed)
}

/// The same in the form of newer versions of tiktoken.
pub(super) fn tiktoken_piece_end(text: &[u8], start: usize, line_feed: LineFeed) -> usize {
    let mut at = start;
    while at < text.len() {
        let (class, len) = class_at(text, at);
        if class & WHITE == 0 {
            return piece_end(text, start, line_feed);
        }
        at += len;
        if line_feed == LineFeed::Ends && text[at - 1] == b'\n' {
            break;
        }
    }
    at
}

/// The length of `'s`, `'T`, `'Re`, … at the beginning of `text`. `ſ`, the long s, is an s in another case.
pub(super) fn any_case_contraction(text: &[u8]) -> Option<usize> {
    let [b'\'', rest @ ..] = text else { return None };
    match *rest {
        [0xC5, 0xBF, ..] => Some(3),
        [first, ..] if b"sdmt".contains(&first.to_ascii_lowercase()) => Some(2),
        [first, second, ..] => {
            let lower = [first.to_ascii_lowercase(), second.to_ascii_lowercase()];
            matches!(&lower, b"ll" | b"ve" | b"re").then_some(3)
        }
        _ => None,
    }
}

/// The end of `\p{N}{1,3}` at a number.
pub(super) fn up_to_three_numbers(text: &[u8], start: usize) -> usize {
    let mut at = start;
    for _ in 0..3 {
        if at == text.len() {
            break;
        }
        let (class, len) = class_at(text, at);
        if class & NUMBER == 0 {
            break;
        }
        at += len;
    }
    at
}

/// The end of ` ?[^\s\p{L}\p{N}]+X*|\s*[\r\n]+|\s+(?!\S)|\s+` at what is neither letter nor number, where X is what
/// `follows` takes.
pub(super) fn symbols_or_white(text: &[u8], start: usize, follows: impl Fn(u8) -> bool, line_feed: LineFeed) -> usize {
    let (class, len) = class_at(text, start);
    let is_symbol = |class| class & (LETTER | NUMBER | WHITE) == 0;
    let first_symbol = if text[start] == b' ' { start + len } else { start };
    if first_symbol < text.len() && is_symbol(class_at(text, first_symbol).0) {
        let mut at = run_end(text, first_symbol, is_symbol);
        while at < text.len() && follows(text[at]) {
            at += 1;
            if line_feed == LineFeed::Ends && text[at - 1] == b'\n' {
                break;
            }
        }
        return at;
    }
    debug_assert!(class & WHITE != 0);
    let mut at = start;
    let mut line_end = None;
    while at < text.len() {
        let (class, len) = class_at(text, at);
        if class & WHITE == 0 {
            break;
        }
        at += len;
        if is_line_end(text[at - 1]) {
            line_end = Some(at);
            if line_feed == LineFeed::Ends && text[at - 1] == b'\n' {
                break;
            }
        }
    }
    line_end.unwrap_or_else(|| white_end(text, start, line_feed))
}

pub(super) fn is_line_end(byte: u8) -> bool {
    byte == b'\r' || byte == b'\n'
}

/// The end of the run of characters that `belongs` takes.
pub(super) fn run_end(text: &[u8], start: usize, belongs: impl Fn(u8) -> bool) -> usize {
    let mut at = start;
    while at < text.len() {
        let (class, len) = class_at(text, at);
        if !belongs(class) {
            break;
        }
        at += len;
    }
    at
}
