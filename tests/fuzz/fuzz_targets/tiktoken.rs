//! Any bytes are a .tiktoken file or an error, and what is read is written as it was. The first byte says whether the rest is
//! the file, or how to build one; see `skeleton`.
#![no_main]

mod skeleton;

use std::path::Path;

use libfuzzer_sys::fuzz_target;
use skeleton::{Skeleton, byte, field};
use wordgrove::Tokenizer;
use wordgrove::tokens::Pattern;

fuzz_target!(|data: &[u8]| {
    let mut data = data;
    if byte(&mut data) % 2 == 0 {
        return check(data, data);
    }
    let skeleton = Skeleton::grow(&mut data);
    let mut file = String::new();
    for (rank, token) in skeleton.tokens.iter().enumerate() {
        file.push_str(&format!("{} {rank}\n", base64(token)));
    }
    // A line that may be anything.
    file.push_str(&String::from_utf8_lossy(field(&mut data)));
    check(file.as_bytes(), data);
});

fn check(file: &[u8], text: &[u8]) {
    let Ok(tokenizer) = Tokenizer::from_tiktoken(file, Path::new("fuzz"), Pattern::Cl100k) else { return };
    let ids = tokenizer.encode(text);
    assert_eq!(tokenizer.decode(&ids).expect("its own ids"), text);
    if let Ok(written) = tokenizer.to_tiktoken() {
        let again = Tokenizer::from_tiktoken(written.as_bytes(), Path::new("again"), Pattern::Cl100k);
        assert_eq!(again.expect("what is written can be read").encode(text), ids);
    }
}

fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let group = |group: &[u8]| {
        let mut padded = [0; 4];
        padded[1..=group.len()].copy_from_slice(group);
        let bits = u32::from_be_bytes(padded);
        let digit = |place: usize| match place <= group.len() {
            true => char::from(DIGITS[(bits >> (18 - 6 * place) & 63) as usize]),
            false => '=',
        };
        [0, 1, 2, 3].map(digit)
    };
    bytes.chunks(3).flat_map(group).collect()
}
