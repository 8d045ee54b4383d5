//! What is printed: words made safe for a terminal, numbers for people, JSON for programs.

use std::borrow::Cow;
use std::io::{self, BufWriter, StdoutLock, Write};

use serde::Serialize;

/// Standard output, buffered.
pub fn out() -> BufWriter<StdoutLock<'static>> {
    BufWriter::new(io::stdout().lock())
}

/// Prints one JSON object on a line of its own.
pub fn print_json(value: &impl Serialize) -> io::Result<()> {
    let mut out = out();
    serde_json::to_writer(&mut out, value)?;
    out.write_all(b"\n")?;
    out.flush()
}

/// A word as it may be shown on a terminal: control characters, which could move the cursor or change colours, and
/// characters that turn the direction of writing are spelled as escapes.
pub fn escaped(word: &str) -> Cow<'_, str> {
    let is_harmful = |c: char| {
        (c.is_control() && c != '\n')
            || matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    if !word.contains(is_harmful) {
        return Cow::Borrowed(word);
    }
    Cow::Owned(word.chars().flat_map(|c| if is_harmful(c) { c.escape_unicode().collect() } else { vec![c] }).collect())
}

/// How many columns of a terminal a text takes: two for a Chinese, Japanese or Korean character and most emoji.
pub fn columns(text: &str) -> usize {
    // The wide blocks of Unicode's EastAsianWidth.txt; a handful of odd characters off costs a ragged column.
    let is_wide = |c: char| {
        matches!(c as u32, 0x1100..=0x115f | 0x2e80..=0xa4cf | 0xac00..=0xd7a3 | 0xf900..=0xfaff | 0xfe30..=0xfe6f
            | 0xff00..=0xff60 | 0xffe0..=0xffe6 | 0x1f300..=0x1faff | 0x20000..=0x3fffd)
    };
    text.chars().map(|c| if is_wide(c) { 2 } else { 1 }).sum()
}

/// A word as it may be shown, filled up with spaces to `width` columns.
pub fn padded(word: &str, width: usize) -> String {
    let word = escaped(word);
    let fill = width.saturating_sub(columns(&word));
    format!("{word}{:fill$}", "")
}

/// `12345678` as `12,345,678`.
pub fn grouped(n: u64) -> String {
    let digits = n.to_string();
    let mut out = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// A number with the digits that it is written with: 0.05, where widening alone gives 0.05000000074505806.
pub fn decimal(number: f32) -> f64 {
    number.to_string().parse().unwrap_or_else(|_| f64::from(number))
}

/// Bytes for people: `49.5 MB`.
pub fn size(bytes: u64) -> String {
    match bytes {
        0..10_000 => format!("{bytes} bytes"),
        10_000..10_000_000 => format!("{} kB", bytes / 1000),
        10_000_000..10_000_000_000 => format!("{:.1} MB", bytes as f64 / 1e6),
        _ => format!("{:.1} GB", bytes as f64 / 1e9),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escape_sequences_cannot_reach_the_terminal() {
        assert_eq!(escaped("caf\u{e9} 北京"), "café 北京");
        assert_eq!(escaped("a\u{1b}[31mb\u{202e}"), "a\\u{1b}[31mb\\u{202e}");
    }

    #[test]
    fn columns_stand_in_line_in_every_script() {
        assert_eq!([columns("king"), columns("café"), columns("中国"), columns("한국")], [4, 4, 4, 4]);
        assert_eq!(
            [padded("中国", 6), padded("king", 6), padded("kings and queens", 6)],
            ["中国  ", "king  ", "kings and queens"]
        );
    }

    #[test]
    fn numbers_read_well() {
        assert_eq!([grouped(0), grouped(999), grouped(1_000), grouped(1_234_567)], ["0", "999", "1,000", "1,234,567"]);
        assert_eq!(decimal(0.05), 0.05);
        assert_eq!(size(49_500_000), "49.5 MB");
    }
}
