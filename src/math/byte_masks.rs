//! Where in a text the letters are, the spaces, …: one bit a byte.
//!
//! In: bytes. Out: for each 64 of them a mask per kind of ASCII character; and one of the Chinese characters, for those who
//! ask. With masks, a run of letters ends where the bits of `letters & !(letters << 1)` say, for 64 bytes at once.

use crate::math::machine::{Detected, chosen};
#[cfg(target_arch = "x86_64")]
use crate::math::{avx2::Avx2, avx512::Avx512};

/// 64 bytes of text; bit i belongs to byte i.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct ByteMasks {
    /// `A`–`Z`, `a`–`z`
    pub(crate) letter: u64,
    /// `A`–`Z`
    pub(crate) upper: u64,
    /// `0`–`9`
    pub(crate) digit: u64,
    /// Space, tab, line feed, vertical tab, form feed, carriage return.
    pub(crate) white: u64,
    /// Space.
    pub(crate) space: u64,
    /// Line feed.
    pub(crate) line_feed: u64,
    /// Carriage return.
    pub(crate) carriage_return: u64,
    /// `'`
    pub(crate) apostrophe: u64,
    /// `/`
    pub(crate) slash: u64,
    /// Bytes from 128 on: parts of longer characters.
    pub(crate) high: u64,
}

/// A way to make masks quickly; there is one only where its instructions are.
#[derive(Debug, Clone, Copy)]
pub(crate) enum ByteClassifier {
    #[cfg(target_arch = "x86_64")]
    Avx2(Avx2),
    #[cfg(target_arch = "x86_64")]
    Avx512(Avx512),
}

impl ByteClassifier {
    /// That of the chosen machine, if it has one.
    pub(crate) fn chosen() -> Option<ByteClassifier> {
        ByteClassifier::of(chosen().ok()?)
    }

    fn of(machine: Detected) -> Option<ByteClassifier> {
        match machine {
            Detected::Plain(_) => None,
            #[cfg(target_arch = "aarch64")]
            Detected::Neon(_) => None,
            #[cfg(target_arch = "x86_64")]
            Detected::Avx2(machine) => Some(ByteClassifier::Avx2(machine)),
            #[cfg(target_arch = "x86_64")]
            Detected::Avx512(machine) => Some(ByteClassifier::Avx512(machine)),
        }
    }

    /// All that this computer has.
    #[cfg(test)]
    pub(crate) fn all() -> Vec<ByteClassifier> {
        Detected::all().into_iter().filter_map(ByteClassifier::of).collect()
    }

    /// Fills a mask for each 64 bytes; the last 64 may be fewer, and what is missing counts as zero bytes.
    #[cfg_attr(not(target_arch = "x86_64"), allow(unused_variables, reason = "there is none to classify with"))]
    pub(crate) fn classify(self, text: &[u8], masks: &mut [ByteMasks]) {
        assert_eq!(masks.len(), text.len().div_ceil(64));
        let (blocks, rest) = text.as_chunks::<64>();
        let mut last = [0; 64];
        last[..rest.len()].copy_from_slice(rest);
        let (whole, partial) = masks.split_at_mut(blocks.len());
        match self {
            #[cfg(target_arch = "x86_64")]
            ByteClassifier::Avx2(_) => {
                // SAFETY: an `Avx2` exists only where AVX2 was found.
                unsafe {
                    x86::classify_avx2(blocks, whole);
                    x86::classify_avx2(&[last], partial);
                }
            }
            #[cfg(target_arch = "x86_64")]
            ByteClassifier::Avx512(_) => {
                // SAFETY: an `Avx512` exists only where AVX-512 F and BW were found.
                unsafe {
                    x86::classify_avx512(blocks, whole);
                    x86::classify_avx512(&[last], partial);
                }
            }
        }
    }

    /// Which of the first 64 bytes begin a character from U+4E00 to U+9FFF.
    #[cfg_attr(not(target_arch = "x86_64"), allow(unused_variables, reason = "there is none to look with"))]
    pub(crate) fn han(self, text: &[u8]) -> u64 {
        let mut last = [0; 66];
        let bytes = match text.first_chunk() {
            Some(bytes) => bytes,
            None => {
                last[..text.len()].copy_from_slice(text);
                &last
            }
        };
        match self {
            #[cfg(target_arch = "x86_64")]
            // SAFETY: an `Avx2` exists only where AVX2 was found.
            ByteClassifier::Avx2(_) => unsafe { x86::han_avx2(bytes) },
            #[cfg(target_arch = "x86_64")]
            // SAFETY: an `Avx512` exists only where AVX-512 F and BW were found.
            ByteClassifier::Avx512(_) => unsafe { x86::han_avx512(bytes) },
        }
    }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64::*;

    use super::ByteMasks;

    /// # Safety
    /// The processor has AVX-512 F and BW.
    #[target_feature(enable = "avx512f,avx512bw")]
    pub(super) unsafe fn classify_avx512(blocks: &[[u8; 64]], masks: &mut [ByteMasks]) {
        for (block, masks) in blocks.iter().zip(masks) {
            // SAFETY: a block is 64 bytes long.
            let bytes = unsafe { _mm512_loadu_si512(block.as_ptr().cast()) };
            let equals = |byte: u8| _mm512_cmpeq_epi8_mask(bytes, _mm512_set1_epi8(byte as i8));
            // One comparison for a range: below `first` the difference wraps around to a large number.
            let within = |bytes: __m512i, first: u8, count: u8| {
                let from_first = _mm512_sub_epi8(bytes, _mm512_set1_epi8(first as i8));
                _mm512_cmplt_epu8_mask(from_first, _mm512_set1_epi8(count as i8))
            };
            let space = equals(b' ');
            *masks = ByteMasks {
                letter: within(_mm512_or_si512(bytes, _mm512_set1_epi8(0x20)), b'a', 26),
                upper: within(bytes, b'A', 26),
                digit: within(bytes, b'0', 10),
                white: within(bytes, b'\t', 5) | space,
                space,
                line_feed: equals(b'\n'),
                carriage_return: equals(b'\r'),
                apostrophe: equals(b'\''),
                slash: equals(b'/'),
                high: _mm512_movepi8_mask(bytes),
            };
        }
    }

    /// # Safety
    /// The processor has AVX2.
    #[target_feature(enable = "avx2")]
    pub(super) unsafe fn classify_avx2(blocks: &[[u8; 64]], masks: &mut [ByteMasks]) {
        for (block, masks) in blocks.iter().zip(masks) {
            // SAFETY: a block is 64 bytes long.
            let halves = unsafe {
                [_mm256_loadu_si256(block.as_ptr().cast()), _mm256_loadu_si256(block.as_ptr().add(32).cast())]
            };
            let equals = |byte: u8| mask(halves.map(|half| _mm256_cmpeq_epi8(half, _mm256_set1_epi8(byte as i8))));
            // AVX2 has no unsigned comparison, but x ≤ n is min(x, n) = x.
            let within = |halves: [__m256i; 2], first: u8, count: u8| {
                mask(halves.map(|half| {
                    let from_first = _mm256_sub_epi8(half, _mm256_set1_epi8(first as i8));
                    _mm256_cmpeq_epi8(_mm256_min_epu8(from_first, _mm256_set1_epi8(count as i8 - 1)), from_first)
                }))
            };
            let space = equals(b' ');
            *masks = ByteMasks {
                letter: within(halves.map(|half| _mm256_or_si256(half, _mm256_set1_epi8(0x20))), b'a', 26),
                upper: within(halves, b'A', 26),
                digit: within(halves, b'0', 10),
                white: within(halves, b'\t', 5) | space,
                space,
                line_feed: equals(b'\n'),
                carriage_return: equals(b'\r'),
                apostrophe: equals(b'\''),
                slash: equals(b'/'),
                high: mask(halves),
            };
        }
    }

    /// # Safety
    /// The processor has AVX-512 F and BW.
    #[target_feature(enable = "avx512f,avx512bw")]
    pub(super) unsafe fn han_avx512(text: &[u8; 66]) -> u64 {
        // SAFETY: 64 bytes from each of the first three places are within the 66.
        let [first, second, third] =
            [0, 1, 2].map(|place| unsafe { _mm512_loadu_si512(text.as_ptr().add(place).cast()) });
        let within = |bytes: __m512i, first: u8, count: u8| {
            let from_first = _mm512_sub_epi8(bytes, _mm512_set1_epi8(first as i8));
            _mm512_cmplt_epu8_mask(from_first, _mm512_set1_epi8(count as i8))
        };
        // E4 B8 80 is the first, E9 BF BF the last.
        let all = within(first, 0xE5, 5) & within(second, 0x80, 64);
        let some = within(first, 0xE4, 1) & within(second, 0xB8, 8);
        (all | some) & within(third, 0x80, 64)
    }

    /// # Safety
    /// The processor has AVX2.
    #[target_feature(enable = "avx2")]
    pub(super) unsafe fn han_avx2(text: &[u8; 66]) -> u64 {
        let [first, second, third] = [0, 1, 2].map(|place| {
            // SAFETY: 32 bytes from each of these places are within the 66.
            [0, 32].map(|half| unsafe { _mm256_loadu_si256(text.as_ptr().add(place + half).cast()) })
        });
        let within = |halves: [__m256i; 2], first: u8, count: u8| {
            mask(halves.map(|half| {
                let from_first = _mm256_sub_epi8(half, _mm256_set1_epi8(first as i8));
                _mm256_cmpeq_epi8(_mm256_min_epu8(from_first, _mm256_set1_epi8(count as i8 - 1)), from_first)
            }))
        };
        let all = within(first, 0xE5, 5) & within(second, 0x80, 64);
        let some = within(first, 0xE4, 1) & within(second, 0xB8, 8);
        (all | some) & within(third, 0x80, 64)
    }

    /// The top bit of each byte.
    #[inline]
    #[target_feature(enable = "avx2")]
    fn mask(halves: [__m256i; 2]) -> u64 {
        let [low, high] = halves.map(|half| _mm256_movemask_epi8(half) as u32);
        u64::from(low) | u64::from(high) << 32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The definition.
    fn classify_plainly(text: &[u8], masks: &mut [ByteMasks]) {
        for (block, masks) in text.chunks(64).zip(masks) {
            let mask = |of: &dyn Fn(u8) -> bool| {
                block.iter().enumerate().fold(0, |mask, (at, &byte)| mask | u64::from(of(byte)) << at)
            };
            *masks = ByteMasks {
                letter: mask(&|byte| byte.is_ascii_alphabetic()),
                upper: mask(&|byte| byte.is_ascii_uppercase()),
                digit: mask(&|byte| byte.is_ascii_digit()),
                white: mask(&|byte| char::from(byte).is_whitespace() && byte.is_ascii()),
                space: mask(&|byte| byte == b' '),
                line_feed: mask(&|byte| byte == b'\n'),
                carriage_return: mask(&|byte| byte == b'\r'),
                apostrophe: mask(&|byte| byte == b'\''),
                slash: mask(&|byte| byte == b'/'),
                high: mask(&|byte| !byte.is_ascii()),
            };
        }
    }

    #[test]
    fn all_machines_agree_with_the_definition_at_every_length() {
        let text: Vec<u8> =
            (0..=255u8).chain((0..=255).rev()).chain((0..=255).map(|byte: u8| byte.wrapping_mul(37))).collect();
        for classifier in ByteClassifier::all() {
            for start in [0, 1, 31, 33, 63] {
                for len in (0..200).chain([256, 320, 700]) {
                    let text = &text[start..start + len];
                    let mut plain = vec![ByteMasks::default(); len.div_ceil(64)];
                    let mut fast = plain.clone();
                    classify_plainly(text, &mut plain);
                    classifier.classify(text, &mut fast);
                    assert_eq!(fast, plain, "{classifier:?}, {len} bytes from {start}");
                }
            }
        }
    }

    #[test]
    fn all_machines_find_the_characters_of_chinese() {
        // The bytes around the limits, each in each place.
        let bytes = [0, 0x7F, 0x80, 0xB7, 0xB8, 0xBF, 0xC0, 0xE3, 0xE4, 0xE5, 0xE9, 0xEA, 0xFF];
        let text: Vec<u8> = (0..bytes.len().pow(3))
            .flat_map(|i| [i, i / bytes.len(), i / bytes.len().pow(2)].map(|i| bytes[i % bytes.len()]))
            .collect();
        for classifier in ByteClassifier::all() {
            for start in 0..text.len() {
                let text = &text[start..text.len().min(start + 90)];
                let is_han = |at: &usize| {
                    let bytes = text.get(*at..at + 3).and_then(|bytes| std::str::from_utf8(bytes).ok());
                    bytes
                        .is_some_and(|character| ('\u{4E00}'..='\u{9FFF}').contains(&character.chars().next().unwrap()))
                };
                let plain = (0..64).filter(is_han).fold(0, |mask, at| mask | 1 << at);
                assert_eq!(classifier.han(text), plain, "{classifier:?}, {text:x?}");
            }
        }
    }
}
