//! Case and Unicode form.
//!
//! In: bytes, mostly UTF-8. Out: the same text in one spelling, so that `Café`, `café` and `cafe` + accent count as one
//! word. Bytes that are not UTF-8 stay as they are.

use std::borrow::Cow;

use unicode_normalization::{IsNormalized, UnicodeNormalization, is_nfc_quick, is_nfkc_quick};

/// What to change in a text before it is cut into tokens; the default changes nothing.
///
/// The form is applied first, then the lower case. Lower-casing is per character (`char::to_lowercase`), without the
/// rule that spells a Greek sigma at a word's end `ς`: `ΟΔΟΣ` becomes `οδοσ`. It equals the `Lowercase` normalizer of
/// Hugging Face tokenizers, into which a tokenizer with this setting is written, and does not depend on where a text is
/// cut.
///
/// The forms are those of the present Unicode. Hugging Face's tables are some versions older and leave alone what came since,
/// some 240 rare characters.
///
/// # Example
/// ```
/// use wordgrove::text::{Form, Normalizer};
/// let normalizer = Normalizer { lowercase: true, form: Some(Form::Nfc) };
/// assert_eq!(&*normalizer.apply("CAFE\u{301} \u{212a}".as_bytes()), "caf\u{e9} k".as_bytes());
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Normalizer {
    /// Every letter in lower case.
    pub lowercase: bool,
    /// One spelling for characters that can be spelled in several ways.
    pub form: Option<Form>,
}

/// A Unicode normalisation form (Unicode Standard Annex 15).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// Letters with their accents in one code point; nothing visible changes.
    Nfc,
    /// Also look-alikes in their plain form: `ﬁ` becomes `fi`, full-width `Ａ` becomes `A`.
    Nfkc,
}

impl Normalizer {
    /// Whether [`apply`](Normalizer::apply) gives back every text as it is.
    pub fn is_identity(&self) -> bool {
        *self == Normalizer::default()
    }

    /// The text in the spelling that is asked for; borrowed where nothing changes.
    pub fn apply<'a>(&self, text: &'a [u8]) -> Cow<'a, [u8]> {
        if self.is_identity() {
            return Cow::Borrowed(text);
        }
        if text.is_ascii() {
            // Every form leaves ASCII alone.
            return if self.lowercase && text.iter().any(u8::is_ascii_uppercase) {
                Cow::Owned(text.to_ascii_lowercase())
            } else {
                Cow::Borrowed(text)
            };
        }
        let mut out = Vec::with_capacity(text.len() + 16);
        for chunk in text.utf8_chunks() {
            self.push_normalized(chunk.valid(), &mut out);
            out.extend_from_slice(chunk.invalid());
        }
        if out == text { Cow::Borrowed(text) } else { Cow::Owned(out) }
    }

    fn push_normalized(&self, text: &str, out: &mut Vec<u8>) {
        match self.form {
            Some(Form::Nfc) if is_nfc_quick(text.chars()) != IsNormalized::Yes => self.push_cased(text.nfc(), out),
            Some(Form::Nfkc) if is_nfkc_quick(text.chars()) != IsNormalized::Yes => self.push_cased(text.nfkc(), out),
            _ if self.lowercase => self.push_cased(text.chars(), out),
            _ => out.extend_from_slice(text.as_bytes()),
        }
    }

    fn push_cased(&self, chars: impl Iterator<Item = char>, out: &mut Vec<u8>) {
        let mut push = |char: char| out.extend_from_slice(char.encode_utf8(&mut [0; 4]).as_bytes());
        if self.lowercase {
            chars.flat_map(char::to_lowercase).for_each(push);
        } else {
            chars.for_each(&mut push);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn normalized(lowercase: bool, form: Option<Form>, text: &str) -> String {
        String::from_utf8(Normalizer { lowercase, form }.apply(text.as_bytes()).into_owned()).unwrap()
    }

    #[test]
    fn lower_case_is_per_character() {
        for (text, expected) in [
            ("The KING", "the king"),
            ("ΟΔΟΣ ΟΔΟΣ", "οδοσ οδοσ"),
            ("İstanbul", "i\u{307}stanbul"),
            ("ẞ Ǆ Ǆ", "ß ǆ ǆ"),
            ("日本 ЖУК", "日本 жук"),
        ] {
            assert_eq!(normalized(true, None, text), expected);
        }
    }

    #[test]
    fn the_form_comes_before_the_case() {
        assert_eq!(normalized(false, Some(Form::Nfc), "e\u{301} ﬁ"), "\u{e9} ﬁ");
        assert_eq!(normalized(false, Some(Form::Nfkc), "e\u{301} ﬁ Ａ"), "\u{e9} fi A");
        assert_eq!(normalized(true, Some(Form::Nfkc), "E\u{301} Ａ"), "\u{e9} a");
        // U+2126, the ohm sign, is a capital omega only after normalisation.
        assert_eq!(normalized(true, Some(Form::Nfc), "\u{2126}"), "ω");
    }

    #[test]
    fn invalid_bytes_stay() {
        let normalizer = Normalizer { lowercase: true, form: Some(Form::Nfc) };
        assert_eq!(&*normalizer.apply(b"AB\xff\xc3CD\xed\xa0\x80E\0"), b"ab\xff\xc3cd\xed\xa0\x80e\0");
        assert_eq!(&*normalizer.apply(b"\xc3\x84\xff\xc3\x84"), b"\xc3\xa4\xff\xc3\xa4");
    }

    #[test]
    fn what_does_not_change_is_borrowed() {
        let normalizer = Normalizer { lowercase: true, form: Some(Form::Nfkc) };
        assert!(matches!(normalizer.apply(b"plain words"), Cow::Borrowed(_)));
        assert!(matches!(normalizer.apply("größe".as_bytes()), Cow::Borrowed(_)));
        assert!(matches!(Normalizer::default().apply("A\u{301}".as_bytes()), Cow::Borrowed(_)));
    }
}
