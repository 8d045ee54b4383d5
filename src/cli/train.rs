//! `wordgrove train`: text files → a model folder.

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use clap::builder::PossibleValue;
use serde_json::{Map, Value, json};
use wordgrove::files::parent;
use wordgrove::text::{Corpus, Form, Normalizer};
use wordgrove::tokens::{BpeConfig, IdStream, WordSplit, WordsConfig, encode_corpus, learn_bpe, learn_words};
use wordgrove::vectors::{Model, ModelConfig};
use wordgrove::{
    Architecture, CbowGradient, Checkpoint, CheckpointFolder, Checkpoints, Error, Event, HuffmanTree, Loss, Progress,
    Tokenizer, TrainConfig, TrainState, Trained, train_from,
};

use super::failure::{Failure, Outcome};
use super::inputs::{spare, spare_model};
use super::memory;
use super::number::{bytes, minutes, share, whole};
use super::output::{decimal, grouped, print_json};
use super::resume::{self, Given};
use super::terminal::Terminal;
use super::tokenizer;

/// What `train` is told.
#[derive(Args)]
#[command(
    after_help = "The loss that is shown is exact: the mean of -log2 P(token | context) in bits. With --loss ns there is \
    no such probability, and what is shown is the objective of negative sampling. A lower loss on the held-out lines \
    means better predictions; it need not mean better analogies.\n\nFlags of word2vec.c, fastText and \
    gensim are understood: --size, --ws, --iter, --alpha, --workers, --minCount, -cbow 0, …"
)]
pub struct Arguments {
    /// Text files or folders; - is standard input. Plain, .gz, .zst or .xz. A line is a sentence
    #[arg(value_name = "TEXT", required_unless_present_any = ["inputs", "resume"])]
    texts: Vec<PathBuf>,
    /// The same as TEXT
    #[arg(long = "input", alias = "train", value_name = "TEXT", hide = true)]
    inputs: Vec<PathBuf>,
    /// The model folder to write; a model that is there is replaced when the new one is complete
    #[arg(short, long, value_name = "MODEL")]
    output: PathBuf,
    /// What a token is: pieces of words learned from the text, so that nothing is unknown; or whole words
    #[arg(long, value_name = "KIND", default_value = "bpe", value_parser = ["bpe", "word"])]
    tokens: String,
    /// How many tokens to learn (bpe), 256 or more
    #[arg(long, value_name = "N", default_value_t = 32_000, allow_negative_numbers = true, value_parser = whole(256..=1usize << 22))]
    vocab_size: usize,
    /// Leave out words that occur less often (word)
    #[arg(long, alias = "minCount", alias = "mincount", value_name = "N", default_value_t = 5, allow_negative_numbers = true, value_parser = whole(0..=u64::MAX))]
    min_count: u64,
    /// Keep only the N most frequent words (word)
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = whole(1..=usize::MAX))]
    max_vocab: Option<usize>,
    /// Where words end (word): at white space and around punctuation, or at white space only
    #[arg(long, value_name = "WHERE", default_value = "punctuation", value_parser = ["punctuation", "whitespace"])]
    split: String,
    /// Use this tokenizer.json, or that of this model, instead of learning one
    #[arg(
        long,
        value_name = "FILE",
        conflicts_with_all = ["tokens", "vocab_size", "min_count", "max_vocab", "split", "lowercase", "normalize"]
    )]
    tokenizer: Option<PathBuf>,
    /// Turn the text into lower case
    #[arg(long)]
    lowercase: bool,
    /// Bring the text into a Unicode normal form
    #[arg(long, value_name = "FORM", value_parser = ["nfc", "nfkc"])]
    normalize: Option<String>,
    /// How a token is predicted: from the mean of its context (cbow), or from each of its neighbours (skip-gram)
    /// [default: cbow]
    #[arg(
        long,
        alias = "model",
        value_name = "NAME",
        value_parser = [PossibleValue::new("cbow"), PossibleValue::new("skip-gram").alias("skipgram")]
    )]
    architecture: Option<String>,
    #[arg(long, hide = true, value_parser = clap::value_parser!(u8).range(0..=1), conflicts_with_all = ["architecture", "sg"])]
    cbow: Option<u8>,
    #[arg(long, hide = true, value_parser = clap::value_parser!(u8).range(0..=1), conflicts_with = "architecture")]
    sg: Option<u8>,
    /// What is learned to predict: a token's path in the Huffman tree, with an exact loss (hs); or the token among some
    /// that are drawn at random (ns: negative sampling) [default: hs]
    #[arg(long, value_name = "LOSS", value_parser = ["hs", "ns"])]
    loss: Option<String>,
    #[arg(long, hide = true, value_parser = clap::value_parser!(u8).range(0..=1), conflicts_with = "loss")]
    hs: Option<u8>,
    /// How many tokens are drawn for each center (ns), 1 to 100 [default: 5]
    #[arg(long, alias = "neg", value_name = "N", allow_negative_numbers = true, value_parser = whole(0..=100usize))]
    negative: Option<usize>,
    /// A token is drawn in proportion to its count to this power (ns), -2 to 2 [default: 0.75]
    #[arg(long, value_name = "X", allow_negative_numbers = true)]
    ns_exponent: Option<f64>,
    /// What each context receives of the gradient (cbow): the whole, as in word2vec.c, or its share of the mean, the
    /// corrected gradient, which wants a higher learning rate [default: whole]
    #[arg(long, value_name = "HOW", value_parser = ["whole", "mean"])]
    cbow_gradient: Option<String>,
    /// Numbers in a vector, 1 to 16384, or auto (by the size of the vocabulary)
    #[arg(
        long,
        alias = "size",
        alias = "vector-size",
        value_name = "N",
        default_value = "100",
        allow_negative_numbers = true
    )]
    dim: String,
    /// The farthest that a context may be, in tokens, 1 to 1000
    #[arg(long, alias = "ws", value_name = "N", default_value_t = 5, allow_negative_numbers = true, value_parser = whole(1..=1000usize))]
    window: usize,
    /// Passes over the text
    #[arg(long, alias = "epoch", alias = "iter", value_name = "N", default_value_t = 5, allow_negative_numbers = true, value_parser = whole(1..=100_000u32))]
    epochs: u32,
    /// The learning rate at the start, above 0 and at most 10; it falls to a ten-thousandth of it [default: 0.05 for
    /// cbow, 0.025 for skip-gram]
    #[arg(long, alias = "lr", alias = "alpha", value_name = "R", allow_negative_numbers = true)]
    learning_rate: Option<f32>,
    /// The share of the text above which a token is thinned out, 0 (never) to 1
    #[arg(
        long,
        short_alias = 't',
        alias = "discard",
        value_name = "SHARE",
        default_value_t = 1e-3,
        allow_negative_numbers = true
    )]
    sample: f64,
    /// Worker threads, 1 to 1024 [default: all cores]. With one, the same seed gives the same bytes
    #[arg(long, alias = "thread", alias = "workers", value_name = "N", allow_negative_numbers = true, value_parser = whole(1..=1024usize))]
    threads: Option<usize>,
    /// The same bytes for any number of threads, at the price of some speed
    #[arg(long)]
    deterministic: bool,
    /// Where all random choices come from
    #[arg(long, value_name = "N", default_value_t = 1, allow_negative_numbers = true, value_parser = whole(0..=u64::MAX))]
    seed: u64,
    /// The share of the lines that is kept out of training to measure the loss on, up to 50%
    #[arg(long, value_name = "SHARE", default_value = "0.1%", value_parser = share, allow_negative_numbers = true)]
    hold_out: f64,
    /// Go on with the unfinished run that was to make this model: its settings, its tokenizer and, unless they are given
    /// again, its texts
    #[arg(long)]
    resume: bool,
    /// Begin anew where an unfinished run lies, and lose it
    #[arg(long, conflicts_with = "resume")]
    start_over: bool,
    /// Keep what is learned in MODEL.checkpoint, every so many minutes and at Ctrl-C; 0 is never
    #[arg(long, value_name = "MINUTES", default_value = "10", allow_negative_numbers = true, value_parser = minutes)]
    checkpoint_every: Duration,
    /// Refuse to start when more memory than this would be needed, like 4G [default: what the machine has free]
    #[arg(long, value_name = "SIZE", allow_hyphen_values = true, value_parser = bytes)]
    memory_limit: Option<u64>,
    /// Write what happens to this file, a JSON object a line
    #[arg(long, value_name = "FILE")]
    log: Option<PathBuf>,
    /// Print a JSON object at the end
    #[arg(long)]
    json: bool,
    /// Print nothing but warnings and errors
    #[arg(long, short)]
    quiet: bool,
    /// What was on the command line, to tell it from defaults
    #[arg(skip)]
    pub given: Given,
}

fn usage<T>(text: &str) -> Outcome<T> {
    Err(Failure::Usage(text.to_string()))
}

impl Arguments {
    fn architecture(&self) -> Outcome<Architecture> {
        Ok(match (&self.architecture, self.cbow, self.sg) {
            (Some(name), ..) => name.parse()?,
            (None, Some(0), _) | (None, _, Some(1)) => Architecture::SkipGram,
            _ => Architecture::Cbow,
        })
    }

    /// In word2vec.c `-hs` and `-negative` are two switches that may both be on; here there is one loss.
    fn loss(&self) -> Outcome<Loss> {
        let is_sampled = match (self.loss.as_deref(), self.hs, self.negative) {
            (Some(loss), ..) => loss == "ns",
            (None, Some(hs), _) => hs == 0,
            (None, None, negative) => negative.is_some_and(|n| n > 0),
        };
        match (is_sampled, self.negative, self.ns_exponent) {
            (true, Some(0), _) => usage("--negative: 0 leaves nothing to learn from, expected 1 to 100 (or --loss hs)"),
            (true, ..) => Ok(Loss::NegativeSampling {
                negatives: self.negative.unwrap_or(Loss::DEFAULT_NEGATIVES),
                exponent: self.ns_exponent.unwrap_or(Loss::DEFAULT_EXPONENT),
            }),
            (false, Some(1..), _) => {
                usage("--negative: hierarchical softmax draws none, and one loss is trained, not two: add --loss ns")
            }
            (false, _, Some(_)) => usage("--ns-exponent: hierarchical softmax draws nothing: add --loss ns"),
            (false, ..) => Ok(Loss::HierarchicalSoftmax),
        }
    }

    fn cbow_gradient(&self, architecture: Architecture) -> Outcome<CbowGradient> {
        match (self.cbow_gradient.as_deref(), architecture) {
            (Some(_), Architecture::SkipGram) => usage("--cbow-gradient: skip-gram has one context at a time"),
            (Some("mean"), _) => Ok(CbowGradient::Mean),
            _ => Ok(CbowGradient::Whole),
        }
    }

    fn normalizer(&self) -> Normalizer {
        let form = self.normalize.as_deref().map(|form| if form == "nfc" { Form::Nfc } else { Form::Nfkc });
        Normalizer { lowercase: self.lowercase, form }
    }

    fn config(&self) -> Outcome<TrainConfig> {
        let dim = match self.dim.as_str() {
            // Settled when the size of the vocabulary is known.
            "auto" => TrainConfig::default().dim,
            number => number.parse().map_err(|_| {
                Failure::Usage(format!("--dim: '{number}', expected a whole number from 1 to 16384, or auto"))
            })?,
        };
        let architecture = self.architecture()?;
        let config = TrainConfig {
            architecture,
            loss: self.loss()?,
            cbow_gradient: self.cbow_gradient(architecture)?,
            dim,
            window: self.window,
            epochs: self.epochs,
            learning_rate: self.learning_rate,
            sample: self.sample,
            workers: self.threads.unwrap_or(TrainConfig::default().workers),
            seed: self.seed,
            deterministic: self.deterministic,
            hold_out: self.hold_out,
        };
        config.check()?;
        Ok(config)
    }

    /// The settings that the command line asks for, where they are to be those of an unfinished run.
    fn settings_to_resume(&self, checkpoint: &Checkpoint) -> Outcome<Map<String, Value>> {
        let mut config = self.config()?;
        if self.dim == "auto" {
            config.dim = TrainConfig::auto_dim(checkpoint.tokenizer.n_tokens());
        }
        let mut settings = settings(self, &checkpoint.tokenizer, &config);
        // These would otherwise be those of the tokenizer, as far as they apply to it.
        let tokenizer = json!({
            "tokens": self.tokens, "lowercase": self.lowercase, "normalize": self.normalize,
            "vocab-size": self.vocab_size, "min-count": self.min_count, "max-vocab": self.max_vocab, "split": self.split,
        });
        settings.extend(tokenizer.as_object().cloned().unwrap_or_default());
        // Compared by what is in it, not by its name.
        settings.remove("tokenizer");
        Ok(settings)
    }

    /// The tokenizer that was given or, when it is to be learned, how.
    fn check_tokens(&self) -> Outcome<(BpeConfig, WordsConfig)> {
        let bpe = BpeConfig { vocab_size: self.vocab_size, normalizer: self.normalizer(), ..BpeConfig::default() };
        let words = WordsConfig {
            min_count: self.min_count,
            max_vocab: self.max_vocab,
            split: if self.split == "whitespace" { WordSplit::WhiteSpace } else { WordSplit::Words },
            normalizer: self.normalizer(),
        };
        if self.tokens == "bpe" {
            bpe.check()?
        } else {
            words.check()?
        }
        Ok((bpe, words))
    }
}

pub fn run(arguments: &Arguments) -> Outcome {
    let config = arguments.config()?;
    let (bpe, words) = arguments.check_tokens()?;
    let given = arguments.tokenizer.as_deref().map(tokenizer::open).transpose()?;
    // What can be found out before the work begins is found out before the work begins.
    check_destination(arguments, given.as_ref().map_or(256, Tokenizer::n_tokens), config.dim)?;
    let texts: Vec<PathBuf> = arguments.texts.iter().chain(&arguments.inputs).cloned().collect();
    if let Some(log) = &arguments.log {
        spare(&texts, "--log", log)?;
        spare_model(&arguments.output, "--log", log)?;
    }
    let at = resume::folder(&arguments.output);
    let mut folder = CheckpointFolder::open(&at)?;
    if !arguments.resume && !arguments.start_over {
        resume::check_nothing_is_lost(&folder)?;
    }
    let new = if arguments.resume { Terminal::going_on } else { Terminal::new };
    let terminal = new(arguments.quiet, arguments.log.as_deref())?;
    let outcome = if arguments.resume {
        let checkpoint = resume::read(&mut folder, &at, &terminal)?;
        go_on(arguments, checkpoint, given, texts, &folder, &terminal)
    } else {
        begin(arguments, config, (bpe, words), given, texts, &mut folder, &terminal)
    };
    let finished = outcome.map_err(|failure| match failure {
        Failure::Library(error) => Failure::Library(resume::advise(error, &folder, &arguments.output)),
        other => other,
    })?;
    if let Err(error) = folder.clear() {
        terminal.report(&Event::Warning(&format!("checkpoints that are no longer needed: {error}")));
    }
    terminal.log(&json!({"event": "saved", "model": arguments.output.display().to_string()}));
    terminal.finish()?;
    terminal.say(&format!(
        "saved {}\ntry: wordgrove nearest {0} WORD\n     wordgrove analogy {0} father - man + woman",
        arguments.output.display()
    ));
    if arguments.json {
        print_json(&finished)?;
    }
    Ok(())
}

/// A run from its beginning; returns its summary.
fn begin(
    arguments: &Arguments,
    mut config: TrainConfig,
    (bpe, words): (BpeConfig, WordsConfig),
    given: Option<Tokenizer>,
    texts: Vec<PathBuf>,
    folder: &mut CheckpointFolder,
    terminal: &Terminal,
) -> Outcome<Value> {
    start_threads(config.workers)?;
    let corpus = Corpus::open_with(&texts, terminal)?;
    let tokenizer = match given {
        Some(tokenizer) => tokenizer,
        None if arguments.tokens == "bpe" => learn_bpe(&corpus, &bpe, terminal)?,
        None => learn_words(&corpus, &words, terminal)?,
    };
    if arguments.dim == "auto" {
        config.dim = TrainConfig::auto_dim(tokenizer.n_tokens());
    }
    let stream = encode(arguments, &corpus, &tokenizer, &config, terminal)?;
    let state = TrainState::begin(&stream, &config)?;
    folder.clear()?;
    let settings = settings(arguments, &tokenizer, &config);
    let run = Run { config: &config, tokenizer: &tokenizer, stream: &stream, settings, texts: &texts };
    finish(arguments, run, state, folder, terminal)
}

/// The rest of a run; returns its summary.
fn go_on(
    arguments: &Arguments,
    checkpoint: Checkpoint,
    given: Option<Tokenizer>,
    texts: Vec<PathBuf>,
    folder: &CheckpointFolder,
    terminal: &Terminal,
) -> Outcome<Value> {
    let wanted = arguments.settings_to_resume(&checkpoint)?;
    resume::check_flags(&arguments.given, &wanted, &checkpoint)?;
    if given.is_some_and(|given| given.to_json() != checkpoint.tokenizer.to_json()) {
        return usage("--tokenizer: is not that of the run; leave it out to go on, or begin anew with --start-over");
    }
    let texts = resume::texts(&checkpoint, texts)?;
    let mut settings = resume::settings(&checkpoint);
    let Checkpoint { mut config, tokenizer, state, text, .. } = checkpoint;
    config.workers = arguments.threads.unwrap_or(config.workers);
    settings.insert("threads".to_string(), json!(config.workers));
    start_threads(config.workers)?;
    let corpus = Corpus::open_with(&texts, terminal)?;
    let stream = encode(arguments, &corpus, &tokenizer, &config, terminal)?;
    if stream.fingerprint() != text {
        return usage("--resume: the text is not that of the run: give the same one, or begin anew with --start-over");
    }
    terminal.say(&format!("going on in epoch {} of {}", state.epoch().min(config.epochs), config.epochs));
    let run = Run { config: &config, tokenizer: &tokenizer, stream: &stream, settings, texts: &texts };
    finish(arguments, run, state, folder, terminal)
}

/// What a run is made of.
struct Run<'a> {
    config: &'a TrainConfig,
    tokenizer: &'a Tokenizer,
    stream: &'a IdStream,
    settings: Map<String, Value>,
    texts: &'a [PathBuf],
}

/// Trains to the end and saves; returns the summary.
fn finish(
    arguments: &Arguments,
    run: Run<'_>,
    state: TrainState,
    folder: &CheckpointFolder,
    terminal: &Terminal,
) -> Outcome<Value> {
    let Run { config, tokenizer, stream, settings, texts } = run;
    let tree = HuffmanTree::from_counts(stream.counts())?;
    let every = arguments.checkpoint_every;
    let mut checkpoints = (!every.is_zero())
        .then(|| Checkpoints::new(folder, every, stream, tokenizer, config, resume::about(&settings, texts)));
    let trained = train_from(state, stream, &tree, config, checkpoints.as_mut(), terminal)?;
    save(&arguments.output, tokenizer, stream, config, settings, &trained)?;
    Ok(summary(arguments, tokenizer, stream, &trained))
}

/// Reading and encoding, too, keep to the number of threads that was asked for.
fn start_threads(n: usize) -> Outcome {
    rayon::ThreadPoolBuilder::new()
        .num_threads(n)
        .build_global()
        .map_err(|error| Failure::Usage(format!("--threads: {n} could not be started: {error}")))
}

/// The corpus as ids, after a look at whether what is to be made of it has room.
fn encode(
    arguments: &Arguments,
    corpus: &Corpus,
    tokenizer: &Tokenizer,
    config: &TrainConfig,
    terminal: &Terminal,
) -> Outcome<IdStream> {
    check_destination(arguments, tokenizer.n_tokens(), config.dim)?;
    memory::check(arguments.memory_limit, tokenizer.n_tokens(), config.dim)?;
    let stream = encode_corpus(corpus, tokenizer, &parent(&arguments.output), terminal)?;
    terminal.say(&format!(
        "{} tokens in {} sentences; {} different ones in the {}; {} vectors of {} numbers by {}, {}",
        grouped(stream.n_ids()),
        grouped(stream.n_sentences()),
        grouped(tokenizer.n_tokens() as u64),
        if tokenizer.is_words() { "vocabulary" } else { "tokenizer" },
        config.architecture,
        config.dim,
        match config.loss {
            Loss::HierarchicalSoftmax => "hierarchical softmax",
            Loss::NegativeSampling { .. } => "negative sampling",
        },
        if config.workers == 1 { "1 worker".to_string() } else { format!("{} workers", config.workers) }
    ));
    Ok(stream)
}

/// A destination that holds something else is a slip in the command, not bad data.
fn check_destination(arguments: &Arguments, n_tokens: usize, dim: usize) -> Outcome {
    Model::check_destination(&arguments.output, n_tokens, dim).map_err(|error| match error {
        Error::Format { .. } => Failure::Usage(format!("--output: {error}")),
        other => Failure::Library(other),
    })
}

fn save(
    output: &Path,
    tokenizer: &Tokenizer,
    stream: &IdStream,
    config: &TrainConfig,
    settings: Map<String, Value>,
    trained: &Trained,
) -> Outcome {
    let model = ModelConfig {
        wordgrove_version: env!("CARGO_PKG_VERSION").to_string(),
        architecture: Some(config.architecture.to_string()),
        loss: Some(config.loss.to_string()),
        tokens: if tokenizer.is_words() { "word" } else { "bpe" }.to_string(),
        dim: config.dim,
        settings,
        epochs: trained.epochs.clone(),
        n_text_tokens: stream.n_ids(),
        n_sentences: stream.n_sentences(),
    };
    Model::save(output, tokenizer, &trained.input, Some(&trained.output), stream.counts(), &model)?;
    Ok(())
}

/// Every setting as it took effect, by the name of its flag.
fn settings(arguments: &Arguments, tokenizer: &Tokenizer, config: &TrainConfig) -> Map<String, Value> {
    let normalizer = tokenizer.normalizer();
    let form = normalizer.form.map(|form| match form {
        Form::Nfc => "nfc",
        Form::Nfkc => "nfkc",
    });
    let mut settings = json!({
        "texts": arguments.texts.iter().chain(&arguments.inputs).map(|text| text.display().to_string()).collect::<Vec<_>>(),
        "tokens": if tokenizer.is_words() { "word" } else { "bpe" }, "lowercase": normalizer.lowercase, "normalize": form,
        "architecture": config.architecture.to_string(), "loss": config.loss.to_string(), "dim": config.dim, "window": config.window,
        "epochs": config.epochs, "learning-rate": decimal(config.initial_learning_rate()), "sample": config.sample,
        "threads": config.workers, "deterministic": config.deterministic, "seed": config.seed, "hold-out": config.hold_out,
    });
    if let Loss::NegativeSampling { negatives, exponent } = config.loss {
        settings["negative"] = json!(negatives);
        settings["ns-exponent"] = json!(exponent);
    }
    if config.architecture == Architecture::Cbow {
        settings["cbow-gradient"] = json!(config.cbow_gradient.to_string());
    }
    match &arguments.tokenizer {
        Some(tokenizer) => settings["tokenizer"] = json!(tokenizer.display().to_string()),
        None if tokenizer.is_words() => {
            settings["min-count"] = json!(arguments.min_count);
            settings["max-vocab"] = json!(arguments.max_vocab);
            settings["split"] = json!(arguments.split);
        }
        None => settings["vocab-size"] = json!(arguments.vocab_size),
    }
    match settings {
        Value::Object(settings) => settings,
        _ => Map::new(),
    }
}

fn summary(arguments: &Arguments, tokenizer: &Tokenizer, stream: &IdStream, trained: &Trained) -> Value {
    let epochs: Vec<Value> = trained
        .epochs
        .iter()
        .map(|epoch| {
            json!({
                "measure": epoch.measure, "train_bits": epoch.train_bits, "held_out_bits": epoch.held_out_bits,
                "tokens_per_second": epoch.tokens_per_second,
            })
        })
        .collect();
    json!({
        "model": arguments.output.display().to_string(), "tokens": stream.n_ids(), "sentences": stream.n_sentences(),
        "vocabulary": tokenizer.n_tokens(), "dim": trained.input.dim(), "epochs": epochs, "peak_rss_bytes": memory::peak_rss_bytes(),
    })
}
