//! `wordgrove demo`: the main job, from text to answers, on the corpus that is shipped.

use std::io::Write;
use std::path::PathBuf;
use std::time::Instant;

use clap::Args;
use serde_json::{Map, json};
use wordgrove::files::parent;
use wordgrove::query::{Candidates, Expression, Method, QuestionSet, analogy, answer, nearest};
use wordgrove::text::Corpus;
use wordgrove::tokens::{BpeConfig, encode_corpus, learn_bpe};
use wordgrove::vectors::{Embeddings, Model, ModelConfig};
use wordgrove::{Architecture, Error, HuffmanTree, TrainConfig, train};

use super::evaluate::print_questions;
use super::failure::Outcome;
use super::output::{grouped, out};
use super::query::print_answers;
use super::terminal::Terminal;

// Compiled in, so that the demo works wherever the program is.
const ENGLISH: &str = include_str!("../../corpora/english.txt");
const CHINESE: &str = include_str!("../../corpora/chinese.txt");
const QUESTIONS: &str = include_str!("../../corpora/analogies.txt");

/// What `demo` is told.
#[derive(Args)]
pub struct Arguments {
    /// The model folder to write; the Chinese one gets the same name with -chinese behind it
    #[arg(short, long, value_name = "MODEL", default_value = "models/demo")]
    output: PathBuf,
}

/// One text and what to do with it.
struct Sample<'a> {
    text: &'static str,
    vocab_size: usize,
    config: TrainConfig,
    output: &'a PathBuf,
}

pub fn run(arguments: &Arguments) -> Outcome {
    let started = Instant::now();
    let chinese = arguments
        .output
        .with_file_name(format!("{}-chinese", arguments.output.file_name().unwrap_or_default().display()));
    for path in [&arguments.output, &chinese] {
        // The default lies in a folder that only this repository has.
        if parent(path).ends_with("models") && !parent(path).exists() {
            std::fs::create_dir(parent(path)).map_err(Error::io(parent(path)))?;
        }
        Model::check_destination(path, 1 << 13, 100)?;
    }
    let terminal = Terminal::new(false, None)?;
    say(&format!(
        "wordgrove demo: {} of made English in, answers out. (The text is generated; corpora/README.md says how.)",
        super::output::size(ENGLISH.len() as u64)
    ))?;
    // One worker, so that everybody sees the same numbers.
    let config = TrainConfig {
        architecture: Architecture::SkipGram,
        dim: 64,
        epochs: 10,
        workers: 1,
        hold_out: 0.01,
        ..TrainConfig::default()
    };
    let sample = Sample { text: ENGLISH, vocab_size: 5_500, config: config.clone(), output: &arguments.output };
    let english = grow(&sample, &terminal)?;

    say("\n4. Arithmetic with words: what is to woman as father is to man?\n")?;
    let expression = Expression::parse(&["father", "-", "man", "+", "woman"])?;
    let candidates = Candidates { k: 5, ..Candidates::default() };
    let found = analogy(&english, &expression, Method::Add, candidates)?;
    say(&found.query)?;
    print_answers(&mut out(), &found.results, &found.excluded)?;
    for word in ["king", "Paris", "walked"] {
        let found = nearest(&english, word, candidates)?;
        say(&format!("\nnearest to {word}"))?;
        print_answers(&mut out(), &found.results, &[])?;
    }

    say("\n5. How much was learned: the relations that are planted in the text\n")?;
    let questions = QuestionSet::parse(QUESTIONS.as_bytes(), "corpora/analogies.txt".as_ref())?;
    print_questions(&mut out(), &answer(&english, &questions, Method::Add, None))?;

    say("\n6. The same for Chinese, which has no spaces between words\n")?;
    let config = TrainConfig { epochs: 30, ..config };
    let sample = Sample { text: CHINESE, vocab_size: 1_200, config, output: &chinese };
    let vectors = grow(&sample, &terminal)?;
    for word in ["国王", "北京"] {
        let found = nearest(&vectors, word, candidates)?;
        say(&format!("\nnearest to {word}"))?;
        print_answers(&mut out(), &found.results, &[])?;
    }

    say(&format!("\nDone in {:.1} s. Next:\n", started.elapsed().as_secs_f64()))?;
    let model = arguments.output.display();
    say(&format!(
        "  wordgrove nearest {model} queen\n  wordgrove analogy {model} Paris - France + Japan\n  \
         wordgrove explain {model} mother\n  wordgrove convert {model} vectors.txt\n  \
         wordgrove train YOUR_TEXT -o models/mine\n\n(from a clone: cargo run --release -- nearest {model} queen)"
    ))
}

/// Learns tokens, builds the tree, trains and saves; returns the vectors as they were saved.
fn grow(sample: &Sample<'_>, terminal: &Terminal) -> Outcome<Embeddings> {
    let corpus = Corpus::from_text(sample.text);
    let tokenizer = learn_bpe(&corpus, &BpeConfig { vocab_size: sample.vocab_size, ..BpeConfig::default() }, terminal)?;
    let stream = encode_corpus(&corpus, &tokenizer, &parent(sample.output), terminal)?;
    say(&format!(
        "1. Tokens: a byte-level BPE of {} tokens makes {} tokens of the text",
        grouped(tokenizer.n_tokens() as u64),
        grouped(stream.n_ids())
    ))?;
    let tree = HuffmanTree::from_counts(stream.counts())?;
    let branches: u64 = stream.counts().iter().zip(tree.paths()).map(|(&count, path)| count * path.len() as u64).sum();
    say(&format!(
        "2. Tree: {:.1} branches to a token on average, where equal codes need {:.1}",
        branches as f64 / stream.n_ids() as f64,
        (tokenizer.n_tokens() as f64).log2()
    ))?;
    say(&format!(
        "3. Training: skip-gram, {} numbers a vector, {} epochs; the loss is the exact mean of -log2 P(token | context)",
        sample.config.dim, sample.config.epochs
    ))?;
    let trained = train(&stream, &tree, &sample.config, terminal)?;
    let model = ModelConfig {
        wordgrove_version: env!("CARGO_PKG_VERSION").to_string(),
        loss: Some(sample.config.loss.to_string()),
        architecture: Some(sample.config.architecture.to_string()),
        tokens: "bpe".to_string(),
        dim: sample.config.dim,
        settings: json!({"epochs": sample.config.epochs, "vocab-size": sample.vocab_size, "seed": sample.config.seed})
            .as_object()
            .cloned()
            .unwrap_or_else(Map::new),
        epochs: trained.epochs,
        n_text_tokens: stream.n_ids(),
        n_sentences: stream.n_sentences(),
    };
    Model::save(sample.output, &tokenizer, &trained.input, Some(&trained.output), stream.counts(), &model)?;
    terminal.finish()?;
    say(&format!("   saved {}", sample.output.display()))?;
    Ok(Model::open(sample.output)?.embeddings)
}

fn say(line: &str) -> Outcome {
    let mut out = out();
    writeln!(out, "{line}")?;
    Ok(out.flush()?)
}
