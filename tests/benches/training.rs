//! Training on more and more threads, and what the threads have to share.
//!
//! `cargo bench --bench training -- TEXT [THREADS…]`: a text of words and spaces, a line a sentence. Each turn trains one
//! epoch on every number of threads, and beside it the same threads run a loop of nothing but fused multiply-adds: where
//! two threads share a core, the loop tells what a second thread can gain at all. Both are in words and operations per
//! second of the wall clock, so the machine must be quiet.
//!
//! Then it counts, from the tree and the counts of the text, how many cache lines of the shared matrices a token of the
//! text makes a worker write, and how often the busiest of them: lines that many cores write are what keeps this
//! algorithm from scaling.

#[path = "clock.rs"]
mod clock;
#[path = "median.rs"]
mod median;

use std::path::{Path, PathBuf};

use clock::Clock;
use median::median;
use wordgrove::math::measure::multiply_add_here;
use wordgrove::text::Corpus;
use wordgrove::tokens::{WordSplit, WordsConfig, encode_corpus, learn_words};
use wordgrove::training::{REPLICATED_NODES, TOKENS_PER_MERGE};
use wordgrove::{Architecture, HuffmanTree, IdStream, Silent, TokenId, TrainConfig, train};

const TURNS: usize = 5;
const DIM: usize = 100;

fn main() -> wordgrove::Result<()> {
    let mut arguments = std::env::args().skip(1).filter(|argument| argument != "--bench");
    let Some(text) = arguments.next() else {
        eprintln!("usage: cargo bench --bench training -- TEXT [THREADS…]");
        return Ok(());
    };
    let mut threads: Vec<usize> = arguments.map(|n| n.parse().expect("THREADS are numbers")).collect();
    if threads.is_empty() {
        let most = std::thread::available_parallelism().map_or(1, usize::from);
        threads = std::iter::successors(Some(1), |n| Some(n * 2)).take_while(|&n| n <= most).collect();
    }
    let corpus = Corpus::open(&[PathBuf::from(text)])?;
    let words = WordsConfig { split: WordSplit::WhiteSpace, ..WordsConfig::default() };
    let tokenizer = learn_words(&corpus, &words, &Silent)?;
    let stream = encode_corpus(&corpus, &tokenizer, Path::new("/tmp"), &Silent)?;
    let tree = HuffmanTree::from_counts(stream.counts())?;
    println!("{} words, {} types, dim {DIM}, {}", stream.n_ids(), tree.n_tokens(), wordgrove::math::cpu()?);
    for architecture in [Architecture::SkipGram, Architecture::Cbow] {
        scaling(&stream, &tree, architecture, &threads)?;
    }
    shared_lines(&tree, stream.counts());
    Ok(())
}

/// Prints what several threads gain over the first number of them.
fn scaling(
    stream: &IdStream,
    tree: &HuffmanTree,
    architecture: Architecture,
    threads: &[usize],
) -> wordgrove::Result<()> {
    let mut trained = vec![Vec::new(); threads.len()];
    let mut looped = vec![Vec::new(); threads.len()];
    let mut bits = vec![0.0; threads.len()];
    for _ in 0..TURNS {
        for (i, &workers) in threads.iter().enumerate() {
            let config = TrainConfig { architecture, dim: DIM, epochs: 1, workers, ..TrainConfig::default() };
            let epoch = train(stream, tree, &config, &Silent)?.epochs.remove(0);
            trained[i].push(epoch.tokens_per_second);
            bits[i] = epoch.held_out_bits.unwrap_or(f64::NAN);
            looped[i].push(loop_on(workers));
        }
    }
    println!("\n| {architecture}, threads | words/s | gain | multiply-add gain | of that | held-out bits |");
    println!("|---|---|---|---|---|---|");
    for (i, &workers) in threads.iter().enumerate() {
        // Turn by turn, so that a change of the machine's pace in between falls out.
        let gain = |rates: &[Vec<f64>]| {
            let mut gains: Vec<f64> = rates[i].iter().zip(&rates[0]).map(|(many, one)| many / one).collect();
            median(&mut gains)
        };
        let (gained, possible) = (gain(&trained), gain(&looped));
        let share = gained / possible * 100.0;
        let rate = median(&mut trained[i].clone()) / 1e6;
        println!("| {workers} | {rate:.2} M | {gained:.2} | {possible:.2} | {share:.0} % | {:.3} |", bits[i]);
    }
    Ok(())
}

/// Operations a second of the wall clock, of a loop of multiply-adds on so many threads at once.
fn loop_on(workers: usize) -> f64 {
    const ROUNDS: u64 = 60_000_000;
    let clock = Clock::start();
    let operations: f64 = std::thread::scope(|scope| {
        let handles: Vec<_> = (0..workers).map(|_| scope.spawn(|| multiply_add_here(ROUNDS))).collect();
        handles.into_iter().map(|handle| handle.join().expect("a loop of additions does not fail")).sum()
    });
    operations / clock.read().1
}

/// Prints how many lines of shared rows a skip-gram worker writes for a token of the text, and the busiest of them.
fn shared_lines(tree: &HuffmanTree, counts: &[u64]) {
    const WINDOW: f64 = 5.0;
    const SAMPLE: f64 = 1e-3;
    let lines = (DIM * 4).div_ceil(64) as f64;
    let total: u64 = counts.iter().sum();
    // What stays of each type after thinning, as a share of the text.
    let kept = |count: u64| {
        let share = count as f64 / total as f64;
        if share > 0.0 { share * ((SAMPLE / share).sqrt() + SAMPLE / share).min(1.0) } else { 0.0 }
    };
    let kept: Vec<f64> = counts.iter().map(|&count| kept(count)).collect();
    let of_text: f64 = kept.iter().sum();
    // A path is walked once for each batch of contexts: 6 on average in a window of up to 10, in batches of at most 6.
    let contexts = WINDOW + 1.0;
    let batches = (1..=5u32).map(|radius| f64::from((2 * radius).div_ceil(6))).sum::<f64>() / 5.0;
    let mut visits = vec![0.0; tree.n_nodes()];
    for (id, &share) in kept.iter().enumerate() {
        for &node in tree.path(TokenId(id as u32)).nodes {
            visits[node as usize] += share * batches;
        }
    }
    let (top, tail) = visits.split_at(REPLICATED_NODES.min(visits.len()));
    let merged = lines * top.len() as f64 / TOKENS_PER_MERGE as f64;
    let (top, tail_lines) = (top.iter().sum::<f64>() * lines, tail.iter().sum::<f64>() * lines);
    let inputs = of_text * contexts * lines;
    let busiest = |rates: &[f64], times: f64| rates.iter().copied().fold(0.0, f64::max) * times;
    println!("\nshared cache lines that a worker writes for a token of the text (skip-gram, window 5, sample 1e-3):");
    println!("| rows | lines a token | the busiest line |");
    println!("|---|---|---|");
    println!(
        "| the {REPLICATED_NODES} top nodes, were they shared | {top:.1} | once in {:.1} tokens |",
        1.0 / visits[0]
    );
    println!(
        "| the top nodes as they are: copies, merged every {TOKENS_PER_MERGE} tokens | {merged:.1} | once in {TOKENS_PER_MERGE} tokens |"
    );
    println!("| the other nodes | {tail_lines:.1} | once in {:.0} tokens |", 1.0 / busiest(tail, 1.0));
    println!("| input rows | {inputs:.1} | once in {:.0} tokens |", 1.0 / busiest(&kept, contexts));
}
