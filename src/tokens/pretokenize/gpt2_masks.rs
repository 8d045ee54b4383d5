//! GPT-2's pattern, 64 bytes at a time.
//!
//! In: a text. Out: the same pieces as [`gpt2`](super::gpt2), whose rules are here said in bits: which bytes are the
//! first of a piece follows from what kind of character each byte belongs to, and the byte before it, and the byte after
//! it. Only apostrophes, characters beyond ASCII and white space of several bytes are looked at one by one.

use std::ops::Range;

use super::LineFeed;
use super::classes::{LETTER, NUMBER, WHITE, class_at};
use super::gpt2::contraction;
use crate::math::{ByteClassifier, ByteMasks};

/// So many bytes at a time: 16 masks of each kind, which stay in the nearest cache.
pub(super) const WINDOW: usize = 1024;

/// So many places are written at a time, wanted or not: there are seldom more in 64 bytes than two times as many, and the
/// processor guesses well how often that is.
const WRITTEN: usize = 8;

/// Hands the ends of all pieces of `text` to `ends`, many at a time and ascending.
pub(super) fn scan(text: &[u8], line_feed: LineFeed, classifier: ByteClassifier, mut ends: impl FnMut(&[usize])) {
    let mut masks = [ByteMasks::default(); WINDOW / 64];
    let mut found = [0; WINDOW + WRITTEN];
    let mut before = Before::default();
    let mut wide_white = Vec::new();
    let mut start = 0;
    while start < text.len() {
        let end = window_end(text, start);
        let masks = &mut masks[..(end - start).div_ceil(64)];
        classifier.classify(&text[start..end], masks);
        add_wide_characters(text, start, masks, &mut wide_white);
        let n = starts(text, start..end, masks, line_feed, &mut before, &wide_white, &mut found);
        // The beginning of the text is no end.
        ends(if start == 0 { &found[1..n] } else { &found[..n] });
        start = end;
    }
    if !text.is_empty() {
        ends(&[text.len()]);
    }
}

/// Where the window that begins at `start` ends: not inside a character.
fn window_end(text: &[u8], start: usize) -> usize {
    let end = start + WINDOW;
    if end >= text.len() {
        return text.len();
    }
    // A character has at most three bytes after its first. Where there is no first byte among these, they are no
    // character either, and any cut will do.
    let is_inside = |at: &usize| text[*at] & 0xC0 == 0x80;
    (end - 3..=end).rev().find(|at| !is_inside(at)).unwrap_or(end)
}

/// Puts the characters beyond ASCII into the masks, each with all its bytes; the white ones also into `wide_white`, as
/// their first byte in the window and their length.
fn add_wide_characters(text: &[u8], start: usize, masks: &mut [ByteMasks], wide_white: &mut Vec<(usize, usize)>) {
    wide_white.clear();
    let mut done = 0;
    for block in 0..masks.len() {
        let mut high = masks[block].high;
        while high != 0 {
            let at = block * 64 + high.trailing_zeros() as usize;
            high &= high - 1;
            if at < done {
                continue;
            }
            let (class, len) = class_at(text, start + at);
            done = at + len;
            if class & (LETTER | NUMBER | WHITE) == 0 {
                continue;
            }
            if class & WHITE != 0 {
                wide_white.push((at, len));
            }
            for at in at..done {
                let masks = &mut masks[at / 64];
                let bit = 1 << (at % 64);
                masks.letter |= if class & LETTER != 0 { bit } else { 0 };
                masks.digit |= if class & NUMBER != 0 { bit } else { 0 };
                masks.white |= if class & WHITE != 0 { bit } else { 0 };
            }
        }
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
fn starts(
    text: &[u8],
    window: Range<usize>,
    masks: &[ByteMasks],
    line_feed: LineFeed,
    before: &mut Before,
    wide_white: &[(usize, usize)],
    found: &mut [usize; WINDOW + WRITTEN],
) -> usize {
    let n_bytes = window.end - window.start;
    // White space is split before what follows it; the end of the text splits nothing, as if white space followed.
    let white_behind = window.end == text.len() || class_at(text, window.end).0 & WHITE != 0;
    let mut starts = [0u64; WINDOW / 64];
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
    for &(at, len) in wide_white {
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
        if before.contraction_end < window.end {
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
        let mut left = starts[block];
        let behind = n_found + left.count_ones() as usize;
        while n_found < behind {
            for place in &mut found[n_found..n_found + WRITTEN] {
                *place = window.start + block * 64 + left.trailing_zeros() as usize;
                left &= left.wrapping_sub(1);
            }
            n_found += WRITTEN;
        }
        n_found = behind;
    }
    n_found
}

/// Clears a bit and tells whether it was set.
fn take(bits: &mut [u64], at: usize) -> bool {
    let was = bits[at / 64] >> (at % 64) & 1 == 1;
    bits[at / 64] &= !(1 << (at % 64));
    was
}

fn put(bits: &mut [u64], at: usize) {
    bits[at / 64] |= 1 << (at % 64);
}
