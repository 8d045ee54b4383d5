//! Any bytes are a vocab.json and a merges.txt or an error. The first zero byte parts the two.
#![no_main]

use std::path::Path;

use libfuzzer_sys::fuzz_target;
use wordgrove::Tokenizer;

fuzz_target!(|files: &[u8]| {
    let middle = files.iter().position(|&byte| byte == 0).unwrap_or(files.len());
    let (vocab, merges) = files.split_at(middle);
    let merges = merges.get(1..).unwrap_or_default();
    if let Ok(tokenizer) = Tokenizer::from_gpt2_files((vocab, Path::new("vocab")), (merges, Path::new("merges"))) {
        assert_eq!(tokenizer.decode(&tokenizer.encode(files)).expect("its own ids"), files);
    }
});
