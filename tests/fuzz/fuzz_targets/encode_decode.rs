//! A tokenizer learned from any bytes gives any bytes back, whatever the pattern. The first byte picks the settings, the
//! rest is the text.
#![no_main]

use libfuzzer_sys::fuzz_target;
use wordgrove::Silent;
use wordgrove::text::Corpus;
use wordgrove::tokens::{BpeConfig, Pattern, SpecialTokens, StreamDecoder, learn_bpe};

fuzz_target!(|data: &[u8]| {
    let Some((&settings, text)) = data.split_first() else { return };
    let mut config = BpeConfig::default();
    config.vocab_size = 256 + usize::from(settings >> 3) * 8;
    config.min_frequency = 0;
    let custom = |source| Pattern::custom(source).expect("a pattern that can be used");
    config.pattern = match settings & 7 {
        0 => Pattern::Gpt2,
        1 => Pattern::Cl100k,
        2 => Pattern::O200k,
        3 => Pattern::Cl100kTiktoken,
        4 => custom(r"\p{N}| ?\p{L}++[\r\n]*+|\s++$|\s+(?!\S)|\s"),
        5 => Pattern::sequence([custom(r"\p{N}{1,3}"), custom("[一-龥]+"), Pattern::Gpt2]),
        _ => Pattern::Whole,
    };
    let Ok(tokenizer) = learn_bpe(&Corpus::from_text(text), &config, &Silent) else { return };
    let ids = tokenizer.encode(text);
    assert_eq!(tokenizer.decode(&ids).expect("its own ids"), text);
    let encoded = tokenizer.encode_with_offsets(text, SpecialTokens::AsText);
    assert!(encoded.tokens.iter().map(|token| token.id).eq(ids.iter().copied()));
    let mut decoder = StreamDecoder::new(&tokenizer);
    let mut streamed = String::new();
    for id in ids {
        streamed.push_str(&decoder.push(id).expect("its own id"));
    }
    streamed.push_str(&decoder.finish());
    assert_eq!(streamed, String::from_utf8_lossy(text));
});
