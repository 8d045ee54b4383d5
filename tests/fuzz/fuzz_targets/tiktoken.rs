//! Any bytes are a .tiktoken file or an error, and what is read is written as it was.
#![no_main]

use std::path::Path;

use libfuzzer_sys::fuzz_target;
use wordgrove::Tokenizer;
use wordgrove::tokens::Pattern;

fuzz_target!(|file: &[u8]| {
    if let Ok(tokenizer) = Tokenizer::from_tiktoken(file, Path::new("fuzz"), Pattern::Cl100k) {
        assert_eq!(tokenizer.decode(&tokenizer.encode(file)).expect("its own ids"), file);
        if let Ok(written) = tokenizer.to_tiktoken() {
            let again = Tokenizer::from_tiktoken(written.as_bytes(), Path::new("again"), Pattern::Cl100k);
            assert_eq!(again.expect("what is written can be read").encode(file), tokenizer.encode(file));
        }
    }
});
