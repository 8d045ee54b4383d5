//! What a file is, from its first bytes.
//!
//! In: the first [`HEAD`] bytes of a file. Out: text, a compressed stream, or the name of a kind of file that is no
//! text. Names and extensions don't matter. Any bytes that no well-known format begins with are text: a byte-level
//! tokenizer takes them all.

use crate::text::compression::Compression;

/// How many bytes [`recognize`] wants to see: a tar archive shows itself only at byte 257.
pub(super) const HEAD: usize = 512;

/// What the first bytes tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Recognized {
    /// Bytes to train on.
    Text,
    /// Something that is decompressed on the way.
    Compressed(Compression),
    /// Something else.
    NotText {
        /// With its article: `a PDF document`.
        what: &'static str,
        /// What to do instead.
        advice: &'static str,
    },
}

/// The byte order mark of UTF-8, which some editors put at a file's start; it is no part of the text.
pub(super) const UTF8_BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

const UNPACK: &str = "unpack it and give the text files inside";
const EXTRACT: &str = "save or convert it as plain text";
const MODEL: &str = "give the text to train on, not a model";

/// Tells what begins with `head`, the first [`HEAD`] bytes of a file or all that it has.
pub(super) fn recognize(head: &[u8]) -> Recognized {
    let refuse = |what, advice| Recognized::NotText { what, advice };
    if let Some(compression) = Compression::of(head) {
        return Recognized::Compressed(compression);
    }
    if head.get(257..262) == Some(b"ustar") {
        return refuse("a tar archive", UNPACK);
    }
    if head.starts_with(b"RIFF") && matches!(head.get(8..12), Some(b"WAVE" | b"AVI " | b"WEBP")) {
        return refuse("a sound, film or picture file", EXTRACT);
    }
    if head.starts_with(b"BZh") && matches!(head.get(4..10), Some(b"1AY&SY" | b"\x17\x72\x45\x38\x50\x90")) {
        return refuse("a bzip2 file", "decompress it with bunzip2, or recompress it as .gz, .zst or .xz");
    }
    if let [0x80, 2..=5, ..] = head {
        return refuse("a Python pickle", "it may run code when it is opened; save the text as plain text");
    }
    match MAGIC.iter().find(|(magic, _, _)| head.starts_with(magic)) {
        Some(&(_, what, advice)) => refuse(what, advice),
        None => Recognized::Text,
    }
}

/// First bytes, what they mean, what to do. Longer ones stand before their own beginnings.
const MAGIC: &[(&[u8], &str, &str)] = &[
    (b"\xff\xfe\0\0", "UTF-32 text (little-endian)", "convert it with: iconv -f UTF-32 -t UTF-8 FILE > NEW"),
    (b"\0\0\xfe\xff", "UTF-32 text (big-endian)", "convert it with: iconv -f UTF-32 -t UTF-8 FILE > NEW"),
    (b"\xff\xfe", "UTF-16 text (little-endian)", "convert it with: iconv -f UTF-16 -t UTF-8 FILE > NEW"),
    (b"\xfe\xff", "UTF-16 text (big-endian)", "convert it with: iconv -f UTF-16 -t UTF-8 FILE > NEW"),
    (b"PK\x03\x04", "a zip archive (or .docx, .xlsx, .odt, .epub, .npz)", UNPACK),
    (b"PK\x05\x06", "an empty zip archive", UNPACK),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive", UNPACK),
    (b"Rar!\x1a\x07", "a rar archive", UNPACK),
    (b"\x1f\x9d", "a .Z file (compress)", "decompress it with gunzip"),
    (b"\x04\x22\x4d\x18", "an lz4 file", "decompress it, or recompress it as .gz, .zst or .xz"),
    (b"LZIP\x01", "an lzip file", "decompress it, or recompress it as .gz, .zst or .xz"),
    (b"\x5d\0\0", "an lzma file", "decompress it, or recompress it as .gz, .zst or .xz"),
    (b"%PDF-", "a PDF document", EXTRACT),
    (b"%!PS-", "a PostScript document", EXTRACT),
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "an old Office document (.doc, .xls)", EXTRACT),
    (b"{\\rtf", "an RTF document", EXTRACT),
    (b"\x7fELF", "a program (ELF)", EXTRACT),
    (b"\xcf\xfa\xed\xfe", "a program (Mach-O)", EXTRACT),
    (b"\xca\xfe\xba\xbe", "a program (Java or Mach-O)", EXTRACT),
    (b"MZ\x90\0", "a program (Windows)", EXTRACT),
    (b"\0asm", "a program (WebAssembly)", EXTRACT),
    (b"SQLite format 3\0", "an SQLite database", EXTRACT),
    (b"PAR1", "a Parquet table", "write its text column as plain text"),
    (b"ARROW1\0\0", "an Arrow table", "write its text column as plain text"),
    (b"Obj\x01", "an Avro table", "write its text column as plain text"),
    (b"\x89HDF\r\n\x1a\n", "an HDF5 file", "write its text as plain text"),
    (b"\x89PNG\r\n\x1a\n", "a picture (PNG)", EXTRACT),
    (b"\xff\xd8\xff", "a picture (JPEG)", EXTRACT),
    (b"GIF87a", "a picture (GIF)", EXTRACT),
    (b"GIF89a", "a picture (GIF)", EXTRACT),
    (b"II*\0", "a picture (TIFF)", EXTRACT),
    (b"MM\0*", "a picture (TIFF)", EXTRACT),
    (b"OggS\0", "a sound or film file (Ogg)", EXTRACT),
    (b"fLaC\0", "a sound file (FLAC)", EXTRACT),
    (b"ID3\x03\0", "a sound file (MP3)", EXTRACT),
    (b"ID3\x04\0", "a sound file (MP3)", EXTRACT),
    (b"\x1aE\xdf\xa3", "a film (Matroska)", EXTRACT),
    (b"\x93NUMPY", "a numpy array", MODEL),
    (b"GGUF", "a GGUF model", MODEL),
    (b"FiFu", "a finalfusion model", MODEL),
    (b"\xba\x16\x4f\x2f", "a fastText model", MODEL),
];

#[cfg(test)]
mod tests {
    use super::*;

    fn what(head: &[u8]) -> &'static str {
        match recognize(head) {
            Recognized::Text => "text",
            Recognized::Compressed(compression) => compression.name(),
            Recognized::NotText { what, .. } => what,
        }
    }

    #[test]
    fn text_of_any_kind_is_text() {
        let texts: [&[u8]; 9] = [
            b"",
            b"a",
            b"PK is a postcode",
            b"MZ",
            b"BZh9 is how bzip2 begins",
            b"RIFF raff",
            b"\0\0\0\0 some NULs",
            b"\xef\xbb\xbfwith a mark",
            b"\xe9t\xe9 in Latin-1 \xff",
        ];
        for text in texts {
            assert_eq!(what(text), "text", "{}", text.escape_ascii());
        }
    }

    #[test]
    fn other_files_are_named() {
        assert_eq!(what(b"\xff\xfea\0"), "UTF-16 text (little-endian)");
        assert_eq!(what(b"\xff\xfe\0\0a\0\0\0"), "UTF-32 text (little-endian)");
        assert_eq!(what(b"\xfe\xff\0a"), "UTF-16 text (big-endian)");
        assert_eq!(what(b"\0\0\xfe\xff\0\0\0a"), "UTF-32 text (big-endian)");
        assert_eq!(what(b"\x80\x04\x95"), "a Python pickle");
        assert_eq!(what(b"BZh91AY&SY"), "a bzip2 file");
        let mut tar = vec![b'a'; 512];
        tar[257..262].copy_from_slice(b"ustar");
        assert_eq!(what(&tar), "a tar archive");
        for (magic, name, _) in MAGIC {
            assert_eq!(what(magic), *name, "no earlier row hides this one");
        }
    }
}
