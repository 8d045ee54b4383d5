//! Any bytes are a tokenizer.json or an error, and what is read can be used and written.
#![no_main]

use std::path::Path;

use libfuzzer_sys::fuzz_target;
use wordgrove::tokens::SpecialTokens;
use wordgrove::{TokenId, Tokenizer};

fuzz_target!(|json: &[u8]| {
    if let Ok(tokenizer) = Tokenizer::from_json(json, Path::new("fuzz")) {
        let ids = tokenizer.encode_with(json, SpecialTokens::Framed);
        tokenizer.decode(&ids).expect("its own ids are in the vocabulary");
        let written = tokenizer.to_json();
        let again = Tokenizer::from_json(written.as_bytes(), Path::new("again")).expect("what is written can be read");
        assert_eq!(again.to_json(), written);
        assert_eq!(again.encode_with(json, SpecialTokens::Framed), ids);
        for id in (0..tokenizer.n_tokens() as u32).map(TokenId) {
            assert_eq!(tokenizer.decode(&[id]).is_err(), tokenizer.is_unused(id));
        }
    }
});
