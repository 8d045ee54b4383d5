//! Seconds and megabytes per second of the tokenizer, stage by stage, in CPU seconds over all threads.
//!
//! `cargo bench --bench tokens -- TEXT [VOCAB_SIZE] [TOKENIZER_OUT]`; set RAYON_NUM_THREADS=1 for one thread.
//! `-- --encode TOKENIZER TEXT` only encodes and decodes documents, with a `tokenizer.json` that there is already.
//! `-- --hostile TOKENIZER` encodes long runs without a space instead, prints how the time grows with the length, where 1 is in
//! proportion, and fails where it grows faster. `tokens_peers.py` beside this file runs it and the tools of other people side
//! by side, and compares the hash of the ids.

#[path = "clock.rs"]
mod clock;
#[path = "peak.rs"]
mod peak;

use std::path::{Path, PathBuf};

use clock::Clock;
use peak::peak_mebibytes;
use sha2::{Digest, Sha256};
use wordgrove::text::Corpus;
use wordgrove::tokens::{BpeConfig, encode_corpus, learn_bpe};
use wordgrove::{Silent, TokenId, Tokenizer};

/// A document, as a server or a data loader would hand them over.
const DOCUMENT: usize = 8192;

fn main() -> wordgrove::Result<()> {
    let mut arguments = std::env::args().skip(1).filter(|argument| argument != "--bench");
    let Some(text) = arguments.next() else {
        eprintln!("usage: cargo bench --bench tokens -- TEXT [VOCAB_SIZE] [TOKENIZER_OUT]");
        return Ok(());
    };
    if text == "--hostile" {
        return hostile(Path::new(&arguments.next().unwrap_or_else(|| "tokenizer.json".into())));
    }
    if text == "--encode" {
        let (Some(tokenizer), Some(text)) = (arguments.next(), arguments.next()) else {
            eprintln!("usage: cargo bench --bench tokens -- --encode TOKENIZER TEXT");
            return Ok(());
        };
        return documents_there_and_back(&Tokenizer::read(Path::new(&tokenizer))?, Path::new(&text));
    }
    let mut config = BpeConfig::default();
    if let Some(vocab_size) = arguments.next() {
        config.vocab_size = vocab_size.parse().expect("VOCAB_SIZE is a number");
    }
    let corpus = Corpus::open(&[PathBuf::from(&text)])?;
    let megabytes = std::fs::metadata(&text).map_err(wordgrove::Error::io(&text))?.len() as f64 / 1e6;
    println!("{text}: {megabytes:.1} MB, {} threads, {}", rayon::current_num_threads(), wordgrove::math::cpu()?);
    let clock = Clock::start();
    let tokenizer = learn_bpe(&corpus, &config, &Silent)?;
    report(clock, &format!("learn {} tokens", tokenizer.n_tokens()), megabytes);
    println!("peak memory after learning: {} MiB", peak_mebibytes());
    if let Some(out) = arguments.next() {
        std::fs::write(&out, tokenizer.to_json()).map_err(wordgrove::Error::io(&out))?;
    }

    for pass in 1..=3 {
        let clock = Clock::start();
        encode_corpus(&corpus, &tokenizer, Path::new("/tmp"), &Silent)?;
        report(clock, &format!("encode the corpus into an id stream, pass {pass}"), megabytes);
    }

    // A fresh copy has seen nothing.
    documents_there_and_back(&tokenizer.clone(), Path::new(&text))
}

/// Encodes a text three times and decodes it once, in documents on one thread.
fn documents_there_and_back(tokenizer: &Tokenizer, text: &Path) -> wordgrove::Result<()> {
    let bytes = std::fs::read(text).map_err(wordgrove::Error::io(text))?;
    let megabytes = bytes.len() as f64 / 1e6;
    let documents: Vec<&[u8]> = documents(&bytes);
    let mut encoded: Vec<Vec<TokenId>> = Vec::new();
    for pass in 1..=3 {
        let clock = Clock::start();
        encoded = documents.iter().map(|document| tokenizer.encode(document)).collect();
        report(clock, &format!("encode documents on one thread, pass {pass}"), megabytes);
    }
    println!("{} ids, sha256 {}", encoded.iter().map(Vec::len).sum::<usize>(), hash_of(&encoded));
    let clock = Clock::start();
    let n_bytes: usize = encoded.iter().map(|ids| tokenizer.decode(ids).map_or(0, |text| text.len())).sum();
    report(clock, "decode documents on one thread", megabytes);
    assert_eq!(n_bytes, bytes.len(), "decoding gives the text back");
    Ok(())
}

/// The hash of each document's number of ids and the ids, as 32-bit numbers with the lowest byte first.
fn hash_of(encoded: &[Vec<TokenId>]) -> String {
    let mut hash = Sha256::new();
    for ids in encoded {
        hash.update((ids.len() as u32).to_le_bytes());
        ids.iter().for_each(|id| hash.update(id.0.to_le_bytes()));
    }
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Time may grow with the length to the power of this: a part that is quadratic is far above, the noise of a clock below.
const STEEPEST: f64 = 1.4;

/// Texts on which tokenizers have been known to hang or to overflow their stack, each at three lengths.
fn hostile(tokenizer: &Path) -> wordgrove::Result<()> {
    let tokenizer = Tokenizer::read(tokenizer)?;
    let mut state = 1u64;
    let mut random = move |below: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % below
    };
    let mut drawn = |alphabet: &str| -> String {
        let characters: Vec<char> = alphabet.chars().collect();
        (0..MOST / 4).map(|_| characters[random(characters.len())]).collect()
    };
    const MOST: usize = 4 << 20;
    let mut shapes: Vec<(String, String)> =
        ["a", "^", " ", "\n", "'", "中", "\u{3000}", "\0", "ab", "x9", "é1", "\u{301}"]
            .map(|unit| (format!("{unit:?} again and again"), unit.repeat(MOST / unit.len())))
            .to_vec();
    shapes.push(("random letters".into(), drawn("abcdefghijklmnopqrstuvwxyz").repeat(4)));
    shapes.push(("random a and b".into(), drawn("ab").repeat(4)));
    shapes.push(("letters as frequent as in English".into(), drawn("eeeeetttaaaoooiiinnnssshhhrrrdlluu").repeat(4)));
    tokenizer.encode(&[b'a'; 100]);
    let mut steep = Vec::new();
    for (name, text) in shapes {
        let seconds = [16, 4, 1].map(|part| {
            let mut end = text.len() / part;
            while !text.is_char_boundary(end) {
                end -= 1;
            }
            let times = [0; 5].map(|_| {
                let clock = Clock::start();
                tokenizer.encode(&text.as_bytes()[..end]);
                clock.read().0
            });
            times.into_iter().fold(f64::INFINITY, f64::min)
        });
        let slope = (seconds[2] / seconds[0]).ln() / 16f64.ln();
        let [small, middle, large] = seconds.map(|seconds| seconds * 1e3);
        println!("{name}: {small:.1} ms, {middle:.1} ms, {large:.1} ms for 1/4, 1 and 4 MiB; slope {slope:.2}");
        if slope > STEEPEST {
            steep.push(name);
        }
    }
    assert!(steep.is_empty(), "time grows faster than the length for {}", steep.join(", "));
    Ok(())
}

/// Stretches of about 8 KB that do not begin inside a character.
fn documents(text: &[u8]) -> Vec<&[u8]> {
    let (mut documents, mut start) = (Vec::new(), 0);
    while start < text.len() {
        let mut end = (start + DOCUMENT).min(text.len());
        while end < text.len() && text[end] & 0xC0 == 0x80 {
            end += 1;
        }
        documents.push(&text[start..end]);
        start = end;
    }
    documents
}

fn report(clock: Clock, what: &str, megabytes: f64) {
    let (cpu, wall) = clock.read();
    println!("{what}: {cpu:.3} s CPU, {wall:.3} s, {:.0} MB/s of CPU", megabytes / cpu);
}
