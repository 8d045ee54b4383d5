//! What kind of character this is: letter, number, white space, …
//!
//! In: a character, or the bytes at a place in a text. Out: a set of classes. The one idea: the runs of
//! [`class_table`](super::class_table) are spread once into a two-stage table, 256 characters a block, equal blocks
//! shared.
//!
//! A byte that is not part of valid UTF-8 counts as one character of no class, like U+FFFD, which the patterns treat as
//! a symbol. So any bytes have pieces, and a text and its lossy decoding are cut at the same places.

use std::sync::LazyLock;

use super::class_table::RUNS;

/// A set of character classes.
pub(crate) type Class = u8;

/// `\p{L}`
pub(crate) const LETTER: Class = 1;
/// `\p{N}`
pub(crate) const NUMBER: Class = 2;
/// `\s`, that is `\p{White_Space}`
pub(crate) const WHITE: Class = 4;
/// `\p{Lu}` and `\p{Lt}`: upper and title case letters
pub(crate) const UPPER: Class = 8;
/// `\p{Ll}`: lower case letters
pub(crate) const LOWER: Class = 16;
/// `\p{M}`: marks
pub(crate) const MARK: Class = 32;
/// `\w` as the regex crate has it: alphabetic, marks, decimal digits, connectors, joiners
pub(crate) const WORD: Class = 64;

/// The classes of the bytes 0 to 127; 0 for all others.
pub(crate) static ASCII: [Class; 256] = {
    let mut ascii = [0; 256];
    let (mut run, mut left, mut byte) = (0, RUNS[0].0, 0);
    while byte < 128 {
        if left == 0 {
            run += 1;
            left = RUNS[run].0;
        }
        ascii[byte] = RUNS[run].1;
        left -= 1;
        byte += 1;
    }
    ascii
};

/// The classes of a character.
#[cfg(test)]
pub(crate) fn class_of(character: char) -> Class {
    TABLE.class(character as u32)
}

/// The classes and the length in bytes of the character at `text[at..]`; a byte of invalid UTF-8 has none and length 1.
pub(crate) fn class_at(text: &[u8], at: usize) -> (Class, usize) {
    let first = text[at];
    if first < 0x80 {
        return (ASCII[first as usize], 1);
    }
    match decode(text, at) {
        Some((character, len)) => (TABLE.class(character), len),
        None => (0, 1),
    }
}

/// The character at `text[at..]`, which begins with a byte of 128 or more, and its length; `None` if it is not UTF-8.
fn decode(text: &[u8], at: usize) -> Option<(u32, usize)> {
    let continuation = |index: usize| match text.get(at + index) {
        Some(&byte) if byte & 0xC0 == 0x80 => Some(u32::from(byte & 0x3F)),
        _ => None,
    };
    let first = u32::from(text[at]);
    match first {
        0xC2..=0xDF => Some(((first & 0x1F) << 6 | continuation(1)?, 2)),
        0xE0..=0xEF => {
            let character = (first & 0x0F) << 12 | continuation(1)? << 6 | continuation(2)?;
            // Too long for what it says, or half of a surrogate pair.
            (character >= 0x800 && !(0xD800..0xE000).contains(&character)).then_some((character, 3))
        }
        0xF0..=0xF4 => {
            let character = (first & 0x07) << 18 | continuation(1)? << 12 | continuation(2)? << 6 | continuation(3)?;
            (0x1_0000..0x11_0000).contains(&character).then_some((character, 4))
        }
        _ => None,
    }
}

struct Table {
    /// Block number of each 256 characters.
    blocks: Vec<u8>,
    /// `[n_blocks, 256]`
    classes: Vec<Class>,
}

impl Table {
    fn class(&self, character: u32) -> Class {
        let block = self.blocks[(character >> 8) as usize] as usize;
        self.classes[block << 8 | (character & 0xFF) as usize]
    }
}

static TABLE: LazyLock<Table> = LazyLock::new(|| {
    let mut flat = Vec::with_capacity(0x11_0000);
    for &(len, class) in RUNS {
        flat.resize(flat.len() + len as usize, class);
    }
    let mut seen: hashbrown::HashMap<&[Class], u8> = hashbrown::HashMap::new();
    let mut table = Table { blocks: Vec::with_capacity(0x1100), classes: Vec::new() };
    for block in flat.chunks_exact(256) {
        let number = *seen.entry(block).or_insert_with(|| {
            let number = u8::try_from(table.classes.len() / 256).expect("fewer than 256 different blocks");
            table.classes.extend_from_slice(block);
            number
        });
        table.blocks.push(number);
    }
    table
});

#[cfg(test)]
mod tests {
    use std::fmt::Write;

    use regex_syntax::hir::{Class as SyntaxClass, HirKind};

    use super::*;

    /// The characters of a class by the regex crates' own tables.
    fn members(class: &str) -> Vec<(u32, u32)> {
        match regex_syntax::parse(class).unwrap().kind() {
            HirKind::Class(SyntaxClass::Unicode(class)) => {
                class.ranges().iter().map(|range| (range.start() as u32, range.end() as u32)).collect()
            }
            kind => panic!("{class} is {kind:?}"),
        }
    }

    #[test]
    fn the_table_agrees_with_the_regex_crates() {
        let mut flat = vec![0u8; 0x11_0000];
        let classes = [
            (r"\p{L}", LETTER),
            (r"\p{N}", NUMBER),
            (r"\s", WHITE),
            (r"[\p{Lu}\p{Lt}]", UPPER),
            (r"\p{Ll}", LOWER),
            (r"\p{M}", MARK),
            (r"\w", WORD),
        ];
        for (pattern, class) in classes {
            for (first, last) in members(pattern) {
                for character in first..=last {
                    flat[character as usize] |= class;
                }
            }
        }
        let mut runs: Vec<(u32, Class)> = Vec::new();
        for class in flat {
            match runs.last_mut() {
                Some((len, of)) if *of == class => *len += 1,
                _ => runs.push((1, class)),
            }
        }
        if runs != RUNS {
            let path = std::env::temp_dir().join("class_table.rs");
            std::fs::write(&path, source(&runs)).unwrap();
            panic!("the table is of another Unicode version; the one of regex-syntax is in {}", path.display());
        }
    }

    /// The source text of the table.
    fn source(runs: &[(u32, Class)]) -> String {
        let mut source = String::from(
            "//! Generated from regex-syntax by the test of `classes.rs`, which also says when it is out of date.\n\n\
             use super::classes::Class;\n\n\
             /// How many characters in a row, from U+0000 on, have which classes.\n#[rustfmt::skip]\n\
             pub(super) static RUNS: &[(u32, Class)] = &[\n",
        );
        for line in runs.chunks(12) {
            source.push_str("   ");
            for (len, class) in line {
                write!(source, " ({len},{class}),").unwrap();
            }
            source.push('\n');
        }
        source.push_str("];\n");
        source
    }

    #[test]
    fn characters_are_decoded_as_the_standard_library_does() {
        for character in ('\0'..=char::MAX).step_by(7).chain(['\u{7F}', '\u{80}', '\u{7FF}', '\u{800}', '\u{FFFF}']) {
            let mut buffer = [0; 4];
            let text = character.encode_utf8(&mut buffer).as_bytes();
            assert_eq!(class_at(text, 0), (class_of(character), text.len()), "{character:?}");
        }
        // Every pair, and triples and quadruples around the edges: valid exactly when the standard library says so.
        let edges = [0x00, 0x7F, 0x80, 0x8F, 0x90, 0x9F, 0xA0, 0xBF, 0xC0, 0xFF];
        for first in 0x80..=0xFF {
            for second in edges {
                for third in edges {
                    for fourth in edges {
                        let text = [first, second, third, fourth];
                        let valid = (2..=4)
                            .find(|&len| std::str::from_utf8(&text[..len]).is_ok_and(|s| s.chars().count() == 1));
                        assert_eq!(decode(&text, 0).map(|(_, len)| len), valid, "{text:x?}");
                    }
                }
            }
        }
    }

    #[test]
    fn white_space_is_that_of_char() {
        for character in '\0'..=char::MAX {
            assert_eq!(class_of(character) & WHITE != 0, character.is_whitespace(), "{character:?}");
        }
    }
}
