//! GPT-2's pattern, 64 bytes at a time.
//!
//! In: a text. Out: the same pieces as [`gpt2`](super::gpt2), whose rules are here said in bits: which bytes are the
//! first of a piece follows from what kind of character each byte belongs to, and the byte before it, and the byte after
//! it. Only apostrophes, characters beyond ASCII and white space of several bytes are looked at one by one.

use super::LineFeed;
use super::classes::{WHITE, class_at};
use super::gpt2::contraction;
use super::windows::{EMPTY, Found, MASKS, Window, write};
use crate::math::{ByteClassifier, ByteMasks};
use crate::tokens::bits::{put, take};

/// Hands the ends of all pieces of `text` to `ends`, many at a time and ascending.
pub(super) fn scan(text: &[u8], line_feed: LineFeed, classifier: ByteClassifier, mut ends: impl FnMut(&[usize])) {
    let mut window = Window::new();
    let mut found = EMPTY;
    let mut before = Before::default();
    while window.end() < text.len() {
        window.move_to(text, window.end(), classifier);
        let n = starts(text, &window, line_feed, &mut before, &mut found);
        // The beginning of the text is no end.
        ends(if window.start == 0 { &found[1..n] } else { &found[..n] });
    }
    if !text.is_empty() {
        ends(&[text.len()]);
    }
}

/// What the window before has to say to the next.
#[derive(Debug, Clone, Copy, Default)]
struct Before {
    /// Bit 0: whether the last byte was of this kind.
    letter: u64,
    digit: u64,
    space: u64,
    symbol: u64,
    white: u64,
    line_feed: u64,
    /// Where a contraction ends that began in a window before; 0 if there is none.
    contraction_end: usize,
}

/// Writes the first bytes of all pieces that begin in the window to `found`; returns how many there are.
fn starts(text: &[u8], window: &Window, line_feed: LineFeed, before: &mut Before, found: &mut Found) -> usize {
    let n_bytes = window.n_bytes;
    let masks = &window.masks[..window.n_blocks()];
    // White space is split before what follows it; the end of the text splits nothing, as if white space followed.
    let white_behind = window.end() == text.len() || class_at(text, window.end()).0 & WHITE != 0;
    let mut starts = [0u64; MASKS];
    for (block, mask) in masks.iter().enumerate() {
        let n_inside = (n_bytes - block * 64).min(64);
        let &ByteMasks { letter, digit, white, space, line_feed: feed, .. } = mask;
        let inside = !0 >> (64 - n_inside);
        let symbol = !(letter | digit | white) & inside;
        let runs_on = letter & (letter << 1 | before.letter)
            | digit & (digit << 1 | before.digit)
            | symbol & (symbol << 1 | before.symbol);
        let next_white = match masks.get(block + 1) {
            Some(next) => white >> 1 | next.white << 63,
            None => white >> 1 | u64::from(white_behind) << (n_inside - 1),
        };
        let first_white = white & !(white << 1 | before.white);
        let last_white = white & !next_white;
        let starts_white = match line_feed {
            LineFeed::Within => first_white | last_white,
            LineFeed::Ends => first_white | white & (feed << 1 | before.line_feed) | last_white & !feed,
        };
        starts[block] = !white & inside & !runs_on & !(space << 1 | before.space) | starts_white;
        let last = |mask: u64| mask >> (n_inside - 1) & 1;
        before.letter = last(letter);
        before.digit = last(digit);
        before.symbol = last(symbol);
        before.white = last(white);
        before.space = last(space);
        before.line_feed = last(feed);
    }

    // What was said of the last byte of a white character is true of its first.
    for &(at, len) in &window.wide_white {
        let last = at + len - 1;
        if take(&mut starts, last) {
            put(&mut starts, at);
        }
    }

    // A contraction is a piece, and so the next begins behind it, not behind the apostrophe.
    if before.contraction_end >= window.start {
        for at in window.start..before.contraction_end {
            take(&mut starts, at - window.start);
        }
        if before.contraction_end < window.end() {
            put(&mut starts, before.contraction_end - window.start);
        }
    }
    let mut n_found = 0;
    for block in 0..masks.len() {
        let mut apostrophes = masks[block].apostrophe & starts[block];
        while apostrophes != 0 {
            let at = block * 64 + apostrophes.trailing_zeros() as usize;
            apostrophes &= apostrophes - 1;
            if let Some(len) = contraction(&text[window.start + at + 1..]) {
                let end = at + 1 + len;
                for inner in at + 1..end.min(n_bytes) {
                    take(&mut starts, inner);
                }
                if end < n_bytes {
                    put(&mut starts, end);
                } else {
                    before.contraction_end = window.start + end;
                }
            }
        }
        n_found = write(starts[block], window.start + block * 64, found, n_found);
    }
    n_found
}
