//! A text, 1024 bytes at a time, as masks of what kind of character each byte belongs to.
//!
//! In: a text. Out: for each window of it masks in which characters beyond ASCII have all their bytes, and a way to write
//! down which bytes are the first of a piece. What makes a byte one is the patterns' business.

use super::classes::{Class, LETTER, LOWER, MARK, NUMBER, UPPER, WHITE, class_at};
use crate::math::{ByteClassifier, ByteMasks};

/// So many bytes at a time: 16 masks of each kind, which stay in the nearest cache.
pub(super) const WINDOW: usize = 1024;

/// Masks of a window.
pub(super) const MASKS: usize = WINDOW / 64;

/// In 64 bytes with so many beyond ASCII the characters of Chinese are looked for together.
const WORTH_HAN: u32 = 12;

/// So many places are written at a time, wanted or not: there are seldom more in 64 bytes than two times as many, and the
/// processor guesses well how often that is.
const WRITTEN: usize = 8;

/// Room for the places of a window.
pub(super) type Found = [usize; WINDOW + WRITTEN];

/// Nothing found yet.
pub(super) const EMPTY: Found = [0; WINDOW + WRITTEN];

/// A stretch of a text.
#[derive(Debug)]
pub(super) struct Window {
    /// Where it begins in the text, and how many bytes it has.
    pub(super) start: usize,
    pub(super) n_bytes: usize,
    pub(super) masks: [ByteMasks; MASKS],
    /// The white characters beyond ASCII: their first byte in the window, and their length.
    pub(super) wide_white: Vec<(usize, usize)>,
    /// The same of those that are neither letters nor numbers nor white, bytes that are no characters included.
    pub(super) wide_symbols: Vec<(usize, usize)>,
    /// Bytes of letters that are neither upper nor lower case.
    pub(super) caseless: [u64; MASKS],
    pub(super) has_marks: bool,
}

impl Window {
    pub(super) fn new() -> Window {
        Window {
            start: 0,
            n_bytes: 0,
            masks: [ByteMasks::default(); MASKS],
            wide_white: Vec::new(),
            wide_symbols: Vec::new(),
            caseless: [0; MASKS],
            has_marks: false,
        }
    }

    /// Where the window ends in the text.
    pub(super) fn end(&self) -> usize {
        self.start + self.n_bytes
    }

    /// How many masks there are.
    pub(super) fn n_blocks(&self) -> usize {
        self.n_bytes.div_ceil(64)
    }

    /// Moves to the text from `start` on.
    pub(super) fn move_to(&mut self, text: &[u8], start: usize, classifier: ByteClassifier) {
        let end = window_end(text, start);
        (self.start, self.n_bytes) = (start, end - start);
        let n_blocks = self.n_blocks();
        classifier.classify(&text[start..end], &mut self.masks[..n_blocks]);
        self.wide_white.clear();
        self.wide_symbols.clear();
        self.caseless = [0; MASKS];
        self.has_marks = false;
        let mut done = 0;
        // The bytes at the front of a block that belong to a Chinese character of the block before.
        let mut han_before = 0;
        for block in 0..n_blocks {
            let mut high = self.masks[block].high;
            if high.count_ones() >= WORTH_HAN {
                let first = classifier.han(&text[start + block * 64..]) & high;
                let han = first | first << 1 | first << 2 | han_before;
                han_before = first >> 62 | first >> 63;
                self.masks[block].letter |= han;
                self.caseless[block] |= han;
                high &= !han;
            } else {
                self.masks[block].letter |= han_before;
                self.caseless[block] |= han_before;
                high &= !han_before;
                han_before = 0;
            }
            while high != 0 {
                let at = block * 64 + high.trailing_zeros() as usize;
                high &= high - 1;
                if at < done {
                    continue;
                }
                let (class, len) = class_at(text, start + at);
                done = at + len;
                self.add(class, at, len);
                // The rest of the character in this block.
                high &= u64::MAX.checked_shl((done - block * 64) as u32).unwrap_or(0);
            }
        }
    }

    /// Puts a character beyond ASCII into the masks, with all its bytes.
    #[inline]
    fn add(&mut self, class: Class, at: usize, len: usize) {
        if class & MARK != 0 {
            self.has_marks = true;
        }
        match class & (LETTER | NUMBER | WHITE) {
            0 => return self.wide_symbols.push((at, len)),
            WHITE => self.wide_white.push((at, len)),
            _ => {}
        }
        let (block, bit) = (at / 64, at % 64);
        // In this block and, where the character ends there, in the next.
        let bits = ((1u128 << len) - 1) << bit;
        for (block, bits) in [(block, bits as u64), (block + 1, (bits >> 64) as u64)] {
            if bits == 0 {
                continue;
            }
            let masks = &mut self.masks[block];
            masks.letter |= if class & LETTER != 0 { bits } else { 0 };
            masks.upper |= if class & UPPER != 0 { bits } else { 0 };
            masks.digit |= if class & NUMBER != 0 { bits } else { 0 };
            masks.white |= if class & WHITE != 0 { bits } else { 0 };
            self.caseless[block] |= if class & LETTER != 0 && class & (UPPER | LOWER) == 0 { bits } else { 0 };
        }
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

/// Writes `start` and the place of each bit of a block behind the `n_found` that there are; returns how many there are
/// then.
#[inline]
pub(super) fn write(mut bits: u64, start: usize, found: &mut Found, mut n_found: usize) -> usize {
    let behind = n_found + bits.count_ones() as usize;
    while n_found < behind {
        for place in &mut found[n_found..n_found + WRITTEN] {
            *place = start + bits.trailing_zeros() as usize;
            bits &= bits.wrapping_sub(1);
        }
        n_found += WRITTEN;
    }
    behind
}
