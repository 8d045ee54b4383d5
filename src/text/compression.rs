//! Compressed streams, decompressed while they are read.
//!
//! In: a reader of `.gz`, `.zst` or `.xz` bytes. Out: a reader of what they hold. Streams that were written one after
//! the other into one file (as `cat a.gz b.gz`, `pigz` or `zstd --adapt` make them) are read one after the other.
//! Memory is bounded: the windows that the formats ask for have a limit.

use std::io::{self, BufRead, BufReader, Read};

use flate2::bufread::MultiGzDecoder;
use lzma_rust2::XzReader;
use ruzstd::decoding::errors::{FrameDecoderError, ReadFrameHeaderError};
use ruzstd::decoding::{BlockDecodingStrategy, FrameDecoder};

/// A format that we read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Compression {
    /// RFC 1952.
    Gzip,
    /// RFC 8878.
    Zstd,
    /// The .xz file format 1.2.
    Xz,
}

/// The most memory that an xz stream may ask for, in KiB: four times what `xz -9` asks for. The zstd decoder has a limit
/// of its own, 128 MiB, which is what `zstd` without `--long` stays under.
const XZ_MEMORY_KIB: u32 = 256 << 10;

const READ_AHEAD: usize = 1 << 17;

impl Compression {
    /// The format whose streams begin with these bytes.
    pub(super) fn of(head: &[u8]) -> Option<Compression> {
        match head {
            [0x1f, 0x8b, 8, ..] => Some(Compression::Gzip),
            [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Some(Compression::Zstd),
            [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => Some(Compression::Xz),
            _ => None,
        }
    }

    /// The format that a file name's ending promises.
    pub(super) fn of_extension(extension: &str) -> Option<Compression> {
        match extension {
            "gz" | "gzip" => Some(Compression::Gzip),
            "zst" | "zstd" => Some(Compression::Zstd),
            "xz" => Some(Compression::Xz),
            _ => None,
        }
    }

    /// The format's name, which is also its program's.
    pub(super) fn name(self) -> &'static str {
        match self {
            Compression::Gzip => "gzip",
            Compression::Zstd => "zstd",
            Compression::Xz => "xz",
        }
    }

    /// What the compressed bytes of `input` hold.
    pub(super) fn decoder(self, input: impl Read + Send + 'static) -> Box<dyn Read + Send> {
        let input = BufReader::with_capacity(READ_AHEAD, input);
        match self {
            Compression::Gzip => Box::new(MultiGzDecoder::new(input)),
            Compression::Zstd => Box::new(ZstdFrames { input, decoder: FrameDecoder::new(), inside: false }),
            Compression::Xz => Box::new(XzReader::new_mem_limit(input, true, XZ_MEMORY_KIB)),
        }
    }
}

/// The frames of a zstd file, one after the other. `ruzstd` reads one frame and does not compare its checksum.
struct ZstdFrames<R> {
    input: R,
    decoder: FrameDecoder,
    /// A frame has been begun and not yet read to its end.
    inside: bool,
}

impl<R: BufRead> Read for ZstdFrames<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        loop {
            if self.inside {
                while self.decoder.can_collect() == 0 && !self.decoder.is_finished() {
                    let one = BlockDecodingStrategy::UptoBlocks(1);
                    self.decoder.decode_blocks(&mut self.input, one).map_err(io::Error::other)?;
                }
                let n = self.decoder.read(buffer)?;
                if n > 0 {
                    return Ok(n);
                }
                let stored = self.decoder.get_checksum_from_data();
                if stored.is_some() && stored != self.decoder.get_calculated_checksum() {
                    return Err(io::Error::other("the checksum does not match"));
                }
                self.inside = false;
            }
            if self.input.fill_buf()?.is_empty() {
                return Ok(0);
            }
            match self.decoder.reset(&mut self.input) {
                Ok(()) => self.inside = true,
                Err(FrameDecoderError::ReadFrameHeaderError(ReadFrameHeaderError::SkipFrame { length, .. })) => {
                    let skipped = io::copy(&mut (&mut self.input).take(length.into()), &mut io::sink())?;
                    if skipped < length.into() {
                        return Err(io::Error::other("a skippable frame is cut short"));
                    }
                }
                Err(error) => return Err(io::Error::other(error)),
            }
        }
    }
}

#[cfg(test)]
pub(in crate::text) mod tests {
    use std::io::Write;

    use lzma_rust2::{XzOptions, XzWriter};
    use ruzstd::encoding::{CompressionLevel, compress_to_vec};

    use super::*;

    pub(in crate::text) fn compress(compression: Compression, text: &[u8]) -> Vec<u8> {
        match compression {
            Compression::Gzip => {
                let mut writer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
                writer.write_all(text).unwrap();
                writer.finish().unwrap()
            }
            Compression::Zstd => compress_to_vec(text, CompressionLevel::Fastest),
            Compression::Xz => {
                let mut writer = XzWriter::new(Vec::new(), XzOptions::with_preset(0)).unwrap();
                writer.write_all(text).unwrap();
                writer.finish().unwrap()
            }
        }
    }

    const ALL: [Compression; 3] = [Compression::Gzip, Compression::Zstd, Compression::Xz];

    fn decompress(compression: Compression, bytes: Vec<u8>) -> io::Result<Vec<u8>> {
        let mut text = Vec::new();
        compression.decoder(io::Cursor::new(bytes)).read_to_end(&mut text)?;
        Ok(text)
    }

    fn sample() -> Vec<u8> {
        (0..20_000u32)
            .flat_map(|i| format!("line {} of the text\n", i.wrapping_mul(2_654_435_761)).into_bytes())
            .collect()
    }

    #[test]
    fn streams_one_after_the_other_are_read_to_the_end() {
        let text = sample();
        for compression in ALL {
            let mut bytes = compress(compression, &text);
            assert_eq!(Compression::of(&bytes), Some(compression));
            bytes.extend(compress(compression, b""));
            bytes.extend(compress(compression, b"and more"));
            let expected = [&text[..], b"and more"].concat();
            assert_eq!(decompress(compression, bytes).unwrap(), expected, "{compression:?}");
        }
    }

    #[test]
    fn zstd_frames_to_be_skipped_are_skipped() {
        let mut bytes = b"\x53\x2a\x4d\x18\x05\0\0\0wort!".to_vec();
        assert_eq!(Compression::of(&bytes), Some(Compression::Zstd));
        bytes.extend(compress(Compression::Zstd, b"text"));
        assert_eq!(decompress(Compression::Zstd, bytes.clone()).unwrap(), b"text");
        bytes.extend(b"\x5f\x2a\x4d\x18\x05\0\0\0wor");
        assert!(decompress(Compression::Zstd, bytes).is_err());
    }

    #[test]
    fn a_stream_that_is_cut_anywhere_is_an_error() {
        for compression in ALL {
            let whole = compress(compression, &sample()[..3000]);
            for len in 1..whole.len() {
                assert!(decompress(compression, whole[..len].to_vec()).is_err(), "{compression:?} cut to {len} bytes");
            }
        }
    }

    #[test]
    fn a_flipped_bit_never_panics_and_never_gives_other_text() {
        let text = &sample()[..2000];
        for compression in ALL {
            let whole = compress(compression, text);
            for at in 0..whole.len() * 8 {
                let mut damaged = whole.clone();
                damaged[at / 8] ^= 1 << (at % 8);
                if let Ok(read) = decompress(compression, damaged) {
                    // gzip's time stamp and flags, zstd's unused bits: nothing of the text hangs on them.
                    assert!(read == text, "{compression:?}, bit {at}");
                }
            }
        }
    }
}
