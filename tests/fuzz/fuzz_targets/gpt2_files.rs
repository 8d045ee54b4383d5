//! Any bytes are a vocab.json and a merges.txt or an error. The first byte says whether the rest is the two files, parted by
//! the first zero byte, or how to build them; see `skeleton`.
#![no_main]

mod skeleton;

use std::path::Path;

use libfuzzer_sys::fuzz_target;
use skeleton::{Skeleton, byte, field};
use wordgrove::Tokenizer;

fuzz_target!(|data: &[u8]| {
    let mut data = data;
    if byte(&mut data) % 2 == 0 {
        let (vocab, merges) = (field(&mut data), data);
        return check(vocab, merges, data);
    }
    let skeleton = Skeleton::grow(&mut data);
    let mut vocab = skeleton.vocab();
    // A token that no merge makes, and a line that may be anything.
    let token = String::from_utf8_lossy(field(&mut data)).into_owned();
    if !token.is_empty() {
        let n_tokens = vocab.len();
        vocab.entry(token).or_insert(n_tokens.into());
    }
    let line = String::from_utf8_lossy(field(&mut data)).into_owned();
    let mut merges = format!("#version: 0.2\n{}\n", skeleton.spelled_merges().join("\n"));
    merges.push_str(&line);
    check(serde_json::Value::from(vocab).to_string().as_bytes(), merges.as_bytes(), data);
});

fn check(vocab: &[u8], merges: &[u8], text: &[u8]) {
    let read = |vocab: &[u8], merges: &[u8]| {
        Tokenizer::from_gpt2_files((vocab, Path::new("vocab")), (merges, Path::new("merges")))
    };
    let Ok(tokenizer) = read(vocab, merges) else { return };
    let ids = tokenizer.encode(text);
    assert_eq!(tokenizer.decode(&ids).expect("its own ids"), text);
    if let Ok((vocab, merges)) = tokenizer.to_gpt2_files() {
        let again = read(vocab.as_bytes(), merges.as_bytes()).expect("what is written can be read");
        assert_eq!(again.encode(text), ids);
    }
}
