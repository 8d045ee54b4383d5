//! The patterns of GPT-4 and GPT-4o, 64 bytes at a time.
//!
//! In: a text. Out: the same pieces as [`cl100k`](super::cl100k) and [`o200k`](super::o200k), whose rules are here said in
//! bits. What bits cannot say is looked at one by one: apostrophes, numbers, characters beyond ASCII that are no letters,
//! and white space behind a line end. Where GPT-4o's pattern looks ahead (marks, letters without case before upper case,
//! a slash behind a line end), the scanner that goes by characters does a whole window.
//!
//! What precedes a piece does not matter to it. So each piece begins where the one before ends, and
//!
//! - a run of letters begins with the one character before it, unless that is a line end, a number, or a symbol that
//!   belongs to other symbols or a space;
//! - a run of symbols begins with the space before it, and takes the line ends behind it;
//! - white space that is left is cut behind its last line end, and before its last character if that is none;
//! - numbers are cut after every third.

use super::LineFeed;
use super::cl100k::{any_case_contraction, is_line_end};
use super::classes::{NUMBER, WHITE, class_at};
use super::o200k;
use super::windows::{EMPTY, Found, MASKS, Window, write};
use crate::math::{ByteClassifier, ByteMasks};
use crate::tokens::bits::{has, put, take};

/// Whose rules.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rules {
    /// Contractions are pieces.
    Cl100k,
    /// Contractions belong to the word before them, and words end before upper case that follows lower case.
    O200k,
}

/// Hands the ends of all pieces of `text` to `ends`, many at a time and ascending.
pub(super) fn scan(
    text: &[u8],
    rules: Rules,
    line_feed: LineFeed,
    classifier: ByteClassifier,
    mut ends: impl FnMut(&[usize]),
) {
    let mut window = Window::new();
    let mut found = EMPTY;
    let mut before = Before::default();
    let mut at = 0;
    // Where the last piece begins that was found; whether that is where the window begins.
    let (mut last, mut is_known) = (0, true);
    while at < text.len() {
        window.move_to(text, at, classifier);
        match starts(text, &window, rules, line_feed, &mut before, &mut found) {
            Some(n) => {
                let new = &found[usize::from(is_known)..n];
                ends(new);
                last = new.last().copied().unwrap_or(last);
                (at, is_known) = (window.end(), false);
            }
            None => {
                let mut n_found = 0;
                while last < window.end() {
                    last = o200k::piece_end(text, last, line_feed);
                    if last < text.len() {
                        found[n_found] = last;
                        n_found += 1;
                    }
                }
                ends(&found[..n_found]);
                // A piece begins here, as if the text did.
                (at, is_known, before) = (last, true, Before::default());
            }
        }
    }
    if !text.is_empty() {
        ends(&[text.len()]);
    }
}

/// What the window before has to say to the next: bit 0 is about the last byte.
#[derive(Debug, Clone, Copy, Default)]
struct Before {
    letter: u64,
    lower: u64,
    caseless: u64,
    number: u64,
    symbol: u64,
    space: u64,
    line_feed: u64,
    /// White, and not a line end.
    narrow: u64,
    /// White, and a line end, that no symbols have taken; either of them.
    left_white: u64,
    left_end: u64,
    /// A line end that symbols have taken.
    taken: u64,
    /// A symbol or such a line end: another line end would be taken, too.
    takes: u64,
    /// A symbol that is a piece so far: a letter would belong to it.
    lone: u64,
    /// How many numbers the last piece has so far, if the last character is one.
    n_numbers: usize,
    /// Where a contraction ends that began in a window before; 0 if there is none.
    contraction_end: usize,
}

/// Writes the first bytes of all pieces that begin in the window to `found`; returns how many there are, or `None` where
/// the window has to be gone through by characters.
fn starts(
    text: &[u8],
    window: &Window,
    rules: Rules,
    line_feed: LineFeed,
    before: &mut Before,
    found: &mut Found,
) -> Option<usize> {
    let is_o200k = rules == Rules::O200k;
    if is_o200k && window.has_marks {
        return None;
    }
    let n_bytes = window.n_bytes;
    let masks = &window.masks[..window.n_blocks()];
    let entry = *before;
    // White space is split before what follows it; the end of the text splits nothing, as if white space followed.
    let white_behind = window.end() == text.len() || class_at(text, window.end()).0 & WHITE != 0;
    let mut starts = [0u64; MASKS];
    // White space behind a line end: whether a piece begins there depends on how it goes on.
    let mut undecided = [0u64; MASKS];
    for (block, mask) in masks.iter().enumerate() {
        let n_inside = (n_bytes - block * 64).min(64);
        let last = |mask: u64| mask >> (n_inside - 1) & 1;
        let &ByteMasks { letter, upper, digit, white, space, line_feed: feed, carriage_return, slash, .. } = mask;
        let symbol = !(letter | digit | white) & !0 >> (64 - n_inside);
        let line_end = feed | carriage_return;
        let narrow = white & !line_end;

        // Adding a run's first bit to the run clears the run: so the line ends are found that follow symbols.
        let after_symbol = symbol << 1 | before.takes;
        let run = |bits: u64| bits & !bits.wrapping_add(bits & after_symbol);
        let (taken, takes) = match line_feed {
            LineFeed::Within => (run(line_end), symbol | run(line_end)),
            LineFeed::Ends => {
                let returns = run(carriage_return);
                (returns | feed & (after_symbol | returns << 1), symbol | returns)
            }
        };
        let left_white = white & !taken;
        let left_end = line_end & !taken;
        let behind_feed = match line_feed {
            LineFeed::Within => 0,
            LineFeed::Ends => feed << 1 | before.line_feed,
        };
        let next_white = match masks.get(block + 1) {
            Some(next) => white >> 1 | next.white << 63,
            None => white >> 1 | u64::from(white_behind) << (n_inside - 1),
        };
        let first_symbol = symbol & !(symbol << 1 | before.symbol) & !(space << 1 | before.space);
        let joined = letter << 1 | before.letter | narrow << 1 | before.narrow | first_symbol << 1 | before.lone;
        starts[block] = letter & !joined
            | digit & !(digit << 1 | before.number)
            | first_symbol
            | left_white & !(left_white << 1 | before.left_white)
            | narrow & !next_white
            | white & behind_feed;
        undecided[block] = narrow & (left_end << 1 | before.left_end) & !starts[block];
        if is_o200k {
            let caseless = window.caseless[block];
            let lower = letter & !upper & !caseless;
            if (upper & (caseless << 1 | before.caseless)) | (slash & (taken << 1 | before.taken)) != 0 {
                return None;
            }
            starts[block] |= upper & (lower << 1 | before.lower);
            (before.lower, before.caseless) = (last(lower), last(caseless));
        }
        before.letter = last(letter);
        before.number = last(digit);
        before.symbol = last(symbol);
        before.space = last(space);
        before.line_feed = last(feed);
        before.narrow = last(narrow);
        before.left_white = last(left_white);
        before.left_end = last(left_end);
        before.taken = last(taken);
        before.takes = last(takes);
        before.lone = last(first_symbol);
    }

    // What was said of the last byte of a white character is true of its first.
    for &(at, len) in &window.wide_white {
        if take(&mut starts, at + len - 1) {
            put(&mut starts, at);
        }
    }
    // What was said of a symbol of one byte is true of all.
    for &(at, len) in &window.wide_symbols {
        if !has(&starts, at) {
            continue;
        }
        match at + len {
            end if end == n_bytes => before.lone = 1,
            end if has_letter(masks, end) => _ = take(&mut starts, end),
            _ => {}
        }
    }
    for (block, mut bits) in undecided.into_iter().enumerate() {
        while bits != 0 {
            let at = block * 64 + bits.trailing_zeros() as usize;
            bits &= bits - 1;
            if !goes_on_to_line_end(text, window.start + at) {
                put(&mut starts, at);
            }
        }
    }
    before.n_numbers = cut_numbers(text, window, &entry, &mut starts);
    cut_contractions(text, window, rules, &entry, before, &mut starts);
    let n_found = (0..masks.len()).fold(0, |n, block| write(starts[block], window.start + block * 64, found, n));
    Some(n_found)
}

fn has_letter(masks: &[ByteMasks], at: usize) -> bool {
    masks[at / 64].letter >> (at % 64) & 1 == 1
}

/// Whether the white space at `at` has a line end in it.
fn goes_on_to_line_end(text: &[u8], mut at: usize) -> bool {
    while at < text.len() && !is_line_end(text[at]) {
        let (class, len) = class_at(text, at);
        if class & WHITE == 0 {
            return false;
        }
        at += len;
    }
    at < text.len()
}

/// Cuts runs of numbers after every third; returns how many the last one has since.
fn cut_numbers(text: &[u8], window: &Window, before: &Before, starts: &mut [u64; MASKS]) -> usize {
    let mut n_numbers = before.n_numbers;
    // Behind the last number.
    let mut end = if before.number == 1 { 0 } else { usize::MAX };
    for block in 0..window.n_blocks() {
        let mut numbers = window.masks[block].digit;
        while numbers != 0 {
            let at = block * 64 + numbers.trailing_zeros() as usize;
            numbers &= numbers - 1;
            let is_inside = end != usize::MAX && at < end;
            if is_inside {
                continue;
            }
            n_numbers = match n_numbers {
                _ if at != end => 1,
                3 => {
                    put(starts, at);
                    1
                }
                n => n + 1,
            };
            let (class, len) = class_at(text, window.start + at);
            debug_assert!(class & NUMBER != 0);
            end = at + len;
        }
    }
    n_numbers
}

/// Makes contractions pieces, or parts of the words before them.
fn cut_contractions(
    text: &[u8],
    window: &Window,
    rules: Rules,
    entry: &Before,
    before: &mut Before,
    starts: &mut [u64; MASKS],
) {
    let mut contraction_end = entry.contraction_end;
    if contraction_end >= window.start {
        for at in window.start..contraction_end.min(window.end()) {
            take(starts, at - window.start);
        }
        if contraction_end < window.end() {
            put(starts, contraction_end - window.start);
        }
    }
    for block in 0..window.n_blocks() {
        let mut apostrophes = window.masks[block].apostrophe & starts[block];
        while apostrophes != 0 {
            let at = block * 64 + apostrophes.trailing_zeros() as usize;
            apostrophes &= apostrophes - 1;
            let in_text = window.start + at;
            let Some(len) = any_case_contraction(&text[in_text..]) else { continue };
            if rules == Rules::O200k {
                let after_letter = if at == 0 { entry.letter == 1 } else { has_letter(&window.masks, at - 1) };
                // Behind another contraction, or none, it begins a word.
                if !after_letter || in_text == contraction_end {
                    continue;
                }
                take(starts, at);
            }
            contraction_end = in_text + len;
            let end = at + len;
            for inner in at + 1..end.min(window.n_bytes) {
                take(starts, inner);
            }
            if end < window.n_bytes {
                put(starts, end);
            }
        }
    }
    before.contraction_end = contraction_end;
}
