//! A tokenizer learned from any bytes gives any bytes back, whatever the pattern, and has the same ids for a line in a corpus.
//! The first byte picks the settings, the rest is the text.
#![no_main]

use libfuzzer_sys::fuzz_target;
use wordgrove::Silent;
use wordgrove::text::Corpus;
use wordgrove::tokens::{BpeConfig, Pattern, SpecialTokens, StreamDecoder, encode_corpus, learn_bpe};

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
        6 => custom(r"\d+\n|\d|\r|[^\d\r]+"),
        _ => Pattern::Whole,
    };
    let Ok(tokenizer) = learn_bpe(&Corpus::from_text(text), &config, &Silent) else { return };
    let ids = tokenizer.encode(text);
    assert_eq!(tokenizer.decode(&ids).expect("its own ids"), text);
    let encoded = tokenizer.encode_with_offsets(text, SpecialTokens::AsText);
    assert!(encoded.tokens.iter().map(|token| token.id).eq(ids.iter().copied()));
    let stream =
        encode_corpus(&Corpus::from_text(text), &tokenizer, &std::env::temp_dir(), &Silent).expect("in memory");
    // A byte order mark at the beginning of a corpus is no text.
    let lines = text.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(text).split(|&byte| byte == b'\n').collect::<Vec<_>>();
    let last = lines.len() - 1;
    let (mut at, mut streamed) = (0, Vec::new());
    while at < stream.n_cells() {
        at += stream.stretch(at..stream.n_cells(), &mut streamed);
    }
    let alone = lines.into_iter().enumerate().flat_map(|(number, line)| {
        // What has no line feed behind it is no line end.
        tokenizer.encode(if number < last { line.strip_suffix(b"\r").unwrap_or(line) } else { line })
    });
    assert!(alone.eq(streamed));
    let mut decoder = StreamDecoder::new(&tokenizer);
    let mut streamed = String::new();
    for id in ids {
        streamed.push_str(&decoder.push(id).expect("its own id"));
    }
    streamed.push_str(&decoder.finish());
    assert_eq!(streamed, String::from_utf8_lossy(text));
});
