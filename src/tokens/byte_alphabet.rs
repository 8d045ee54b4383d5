//! Bytes as printable characters.
//!
//! In: bytes. Out: text in which each byte is one printable character, as GPT-2 introduced it and `tokenizer.json` uses
//! it. Bytes that Latin-1 prints stand for themselves; the others, in order, for U+0100, U+0101, …: the space is `Ġ`,
//! the line feed `Ċ`.

/// The character of each byte.
static CHARACTERS: [char; 256] = {
    let mut characters = ['\0'; 256];
    let (mut byte, mut next) = (0, 0x100);
    while byte < 256 {
        characters[byte] = if is_printable(byte as u8) {
            byte as u8 as char
        } else {
            next += 1;
            match char::from_u32(next - 1) {
                Some(character) => character,
                None => unreachable!(),
            }
        };
        byte += 1;
    }
    characters
};

const fn is_printable(byte: u8) -> bool {
    matches!(byte, 33..=126 | 161..=172 | 174..=255)
}

/// The character that stands for `byte`.
pub(crate) fn character_of(byte: u8) -> char {
    CHARACTERS[byte as usize]
}

/// The byte that `character` stands for.
pub(crate) fn byte_of(character: char) -> Option<u8> {
    match character as u32 {
        code @ 0..0x100 => Some(code as u8).filter(|&byte| is_printable(byte)),
        code @ 0x100..0x144 => SHIFTED.get(code as usize - 0x100).copied(),
        _ => None,
    }
}

/// The bytes that U+0100, U+0101, … stand for.
static SHIFTED: [u8; 68] = {
    let mut shifted = [0; 68];
    let (mut byte, mut next) = (0, 0);
    while byte < 256 {
        if !is_printable(byte as u8) {
            shifted[next] = byte as u8;
            next += 1;
        }
        byte += 1;
    }
    shifted
};

/// The printable spelling of `bytes`.
pub(crate) fn spell(bytes: &[u8]) -> String {
    bytes.iter().map(|&byte| character_of(byte)).collect()
}

/// The bytes of a printable spelling; `None` if a character stands for no byte.
pub(crate) fn bytes_of(spelling: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(spelling.len());
    push_bytes_of(spelling, &mut bytes).then_some(bytes)
}

/// Appends the bytes of a printable spelling; `false` if a character stands for no byte.
pub(crate) fn push_bytes_of(spelling: &str, bytes: &mut Vec<u8>) -> bool {
    spelling.chars().all(|character| byte_of(character).map(|byte| bytes.push(byte)).is_some())
}

/// All bytes in the order of their characters, which is the order in which Hugging Face's trainer numbers them: 33–126,
/// 161–172, 174–255, then 0–32, 127–160, 173.
pub(crate) fn bytes_in_order() -> impl Iterator<Item = u8> {
    let printable = |byte: &u8| is_printable(*byte);
    (0..=255u8).filter(printable).chain((0..=255u8).filter(move |byte| !printable(byte)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_has_its_own_character_and_comes_back() {
        let all: Vec<u8> = (0..=255).collect();
        let spelling = spell(&all);
        assert_eq!(bytes_of(&spelling).unwrap(), all);
        assert_eq!(spell(b" \n\0a\xAD"), "ĠĊĀaŃ");
        assert_eq!(bytes_of("a b"), None);
        assert_eq!(bytes_of("ń"), None);
        assert!(spelling.chars().all(|character| !character.is_whitespace() && !character.is_control()));
    }

    #[test]
    fn the_order_is_that_of_the_characters() {
        let characters: Vec<char> = bytes_in_order().map(character_of).collect();
        assert_eq!(characters.len(), 256);
        assert!(characters.is_sorted());
    }
}
