//! Seconds and megabytes per second of the tokenizer, stage by stage.
//!
//! `cargo bench --bench tokens -- TEXT [VOCAB_SIZE] [TOKENIZER_OUT]`; set RAYON_NUM_THREADS=1 for one thread.

use std::path::{Path, PathBuf};
use std::time::Instant;

use wordgrove::text::Corpus;
use wordgrove::tokens::{BpeConfig, encode_corpus, learn_bpe};
use wordgrove::{Silent, TokenId};

fn main() -> wordgrove::Result<()> {
    let mut arguments = std::env::args().skip(1).filter(|argument| argument != "--bench");
    let Some(text) = arguments.next() else {
        eprintln!("usage: cargo bench --bench tokens -- TEXT [VOCAB_SIZE] [TOKENIZER_OUT]");
        return Ok(());
    };
    let mut config = BpeConfig::default();
    if let Some(vocab_size) = arguments.next() {
        config.vocab_size = vocab_size.parse().expect("VOCAB_SIZE is a number");
    }
    let corpus = Corpus::open(&[PathBuf::from(&text)])?;
    let bytes = std::fs::read(&text).map_err(wordgrove::Error::io(&text))?;
    let megabytes = bytes.len() as f64 / 1e6;
    println!("{text}: {megabytes:.1} MB, {} threads", rayon::current_num_threads());

    let (tokenizer, seconds) = timed(|| learn_bpe(&corpus, &config, &Silent));
    let tokenizer = tokenizer?;
    println!("learn {} tokens: {seconds:.3} s, {:.1} MB/s", tokenizer.n_tokens(), megabytes / seconds);
    if let Some(out) = arguments.next() {
        std::fs::write(&out, tokenizer.to_json()).map_err(wordgrove::Error::io(&out))?;
    }
    for pass in ["first", "second", "third"] {
        let (stream, seconds) = timed(|| encode_corpus(&corpus, &tokenizer, Path::new("/tmp"), &Silent));
        println!("encode, {pass} pass: {seconds:.3} s, {:.1} MB/s, {} ids", megabytes / seconds, stream?.n_ids());
    }
    let (ids, seconds): (Vec<TokenId>, f64) = timed(|| tokenizer.encode(&bytes));
    println!("encode as one text: {seconds:.3} s, {:.1} MB/s, {} ids", megabytes / seconds, ids.len());
    let (decoded, seconds) = timed(|| tokenizer.decode(&ids));
    println!("decode: {seconds:.3} s, {:.1} MB/s", megabytes / seconds);
    assert!(decoded? == bytes, "decoding gives the text back");
    Ok(())
}

fn timed<T>(work: impl FnOnce() -> T) -> (T, f64) {
    let start = Instant::now();
    let result = work();
    (result, start.elapsed().as_secs_f64())
}
