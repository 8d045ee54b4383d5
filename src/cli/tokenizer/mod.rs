//! `wordgrove tokenizer`: learn a tokenizer, use it, look into it.

mod compare;
mod convert;
mod decode;
mod encode;
mod form;
mod info;
mod train;

use std::io::{self, BufRead};
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use wordgrove::text::{Chunk, Corpus, LongLines};
use wordgrove::tokens::Pattern;
use wordgrove::{Error, Tokenizer};

use super::failure::{Failure, Outcome};
use super::terminal::Terminal;

/// What `tokenizer` is told.
#[derive(Args)]
pub struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Learn a byte-level BPE from text
    Train(train::Arguments),
    /// Text → ids, a line for a line
    Encode(encode::Arguments),
    /// Ids → text, a line for a line
    Decode(decode::Arguments),
    /// What a tokenizer is, and how it fares on a text
    Info(info::Arguments),
    /// Two tokenizers beside each other on a text
    Compare(compare::Arguments),
    /// A tokenizer in another form: tokenizer.json, .tiktoken, vocab.json and merges.txt
    Convert(convert::Arguments),
}

/// A tokenizer, in any form that is read.
#[derive(Args)]
struct TokenizerArguments {
    /// A tokenizer.json, a .tiktoken file, a model folder, or a folder with vocab.json and merges.txt
    #[arg(long, value_name = "FILE")]
    tokenizer: PathBuf,
    #[command(flatten)]
    cutting: CuttingArguments,
}

/// What tokenizers are tried on, and how that is shown.
#[derive(Args)]
struct SurveyArguments {
    /// Text to try it on
    #[arg(value_name = "TEXT")]
    texts: Vec<PathBuf>,
    #[command(flatten)]
    cutting: CuttingArguments,
    /// Print a JSON object
    #[arg(long)]
    json: bool,
}

/// What a tokenizer's file may leave open.
#[derive(Args)]
struct CuttingArguments {
    /// How a .tiktoken file cuts text, which it does not say itself: gpt2, cl100k, o200k, cl100k-tiktoken (as tiktoken has it
    /// now, and the default), none or a regular expression
    #[arg(long, value_name = "PATTERN", value_parser = pattern)]
    pattern: Option<Pattern>,
}

impl CuttingArguments {
    /// Opens a tokenizer; a pattern is refused where the file has another.
    fn open(&self, path: &Path) -> Outcome<Tokenizer> {
        let Some(pattern) = &self.pattern else { return open(path) };
        let tokenizer = Tokenizer::open(path, pattern.clone())?;
        if tokenizer.pattern() == Some(pattern) {
            return Ok(tokenizer);
        }
        let own = tokenizer.pattern().map_or("at words".to_string(), |pattern| pattern_names(pattern).join(", then "));
        Err(Failure::Usage(format!(
            "--pattern: {} says itself how text is cut ({own}); leave --pattern away",
            path.display()
        )))
    }
}

impl TokenizerArguments {
    fn open(&self) -> Outcome<Tokenizer> {
        self.cutting.open(&self.tokenizer)
    }
}

pub fn run(arguments: &Arguments) -> Outcome {
    match &arguments.verb {
        Verb::Train(arguments) => train::run(arguments),
        Verb::Encode(arguments) => encode::run(arguments),
        Verb::Decode(arguments) => decode::run(arguments),
        Verb::Info(arguments) => info::run(arguments),
        Verb::Compare(arguments) => compare::run(arguments),
        Verb::Convert(arguments) => convert::run(arguments),
    }
}

/// How a .tiktoken file cuts text unless something else is said.
const TIKTOKEN: Pattern = Pattern::Cl100kTiktoken;

/// A tokenizer that is named without a pattern.
pub fn open(path: &Path) -> Outcome<Tokenizer> {
    Ok(Tokenizer::open(path, TIKTOKEN)?)
}

/// The patterns that have a name here.
const PATTERNS: [(&str, Pattern); 5] = [
    ("gpt2", Pattern::Gpt2),
    ("cl100k", Pattern::Cl100k),
    ("cl100k-tiktoken", Pattern::Cl100kTiktoken),
    ("o200k", Pattern::O200k),
    ("none", Pattern::Whole),
];

/// A pattern by its name, or a regular expression.
fn pattern(name: &str) -> Result<Pattern, String> {
    match PATTERNS.into_iter().find(|(known, _)| *known == name) {
        Some((_, pattern)) => Ok(pattern),
        // The parser draws its message over several lines.
        None => Pattern::custom(name)
            .map_err(|error| error.to_string().lines().map(str::trim).collect::<Vec<_>>().join(" ")),
    }
}

/// The names of a pattern's steps; a regular expression is its own.
fn pattern_names(pattern: &Pattern) -> Vec<String> {
    let name = PATTERNS.iter().find(|(_, known)| known == pattern).map(|(name, _)| *name);
    match (pattern, name.or(pattern.source())) {
        (Pattern::Sequence(_), _) => pattern.steps().iter().flat_map(pattern_names).collect(),
        (_, name) => name.into_iter().map(String::from).collect(),
    }
}

/// Does the work for what was given: the lines of a file, or of the files of a folder, compressed or not; of standard input as
/// they come when it is `-` or nothing was given; or the given words themselves when there is nothing of that name.
#[cfg(feature = "transformer")]
pub fn each_line(given: &[String], work: &mut dyn FnMut(&[u8]) -> Outcome) -> Outcome {
    let path = match given {
        [] => Path::new("-"),
        [one] => Path::new(one),
        words => return work(words.join(" ").as_bytes()),
    };
    if path == Path::new("-") {
        return each_line_of_input(work);
    }
    if !path.exists() {
        return work(path.as_os_str().as_encoded_bytes());
    }
    each_line_of_files(&[path.to_path_buf()], work)
}

/// The same for standard input, line by line as it comes.
fn each_line_of_input(work: &mut dyn FnMut(&[u8]) -> Outcome) -> Outcome {
    let mut input = io::stdin().lock();
    let mut line = Vec::new();
    while input.read_until(b'\n', &mut line).map_err(Error::io("-"))? > 0 {
        // Line ends are no text here, as they are none in training.
        let text = line.strip_suffix(b"\n").unwrap_or(&line);
        work(text.strip_suffix(b"\r").unwrap_or(text))?;
        line.clear();
    }
    Ok(())
}

/// The same for files and folders.
fn each_line_of_files(paths: &[PathBuf], work: &mut dyn FnMut(&[u8]) -> Outcome) -> Outcome {
    let lines = |chunk: &Chunk| chunk.lines().map(|line| line.text.to_vec()).collect::<Vec<_>>();
    each_chunk(paths, lines, |lines| lines.iter().try_for_each(|line| work(line)))
}

/// Prepares the chunks of files on all threads, each of whole lines, and works on what comes of them in the order of the text.
fn each_chunk<T: Send>(
    paths: &[PathBuf],
    prepare: impl Fn(&Chunk) -> T + Sync,
    mut work: impl FnMut(T) -> Outcome,
) -> Outcome {
    let terminal = Terminal::new(true, None)?;
    let corpus = Corpus::open_with(paths, &terminal)?;
    let mut failure = None;
    let outcome = corpus.for_each_chunk_with(LongLines::Whole, "reading", &terminal, prepare, |prepared| {
        work(prepared).map_err(|error| {
            failure = Some(error);
            // Only to end the work.
            Error::Interrupted(String::new())
        })
    });
    match failure {
        Some(failure) => Err(failure),
        None => Ok(outcome?),
    }
}
