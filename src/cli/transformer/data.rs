//! Texts → what a transformer is trained and measured on.

use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use wordgrove::files::parent;
use wordgrove::text::Corpus;
use wordgrove::tokens::{BpeConfig, IdStream, WordsConfig, encode_corpus, learn_bpe, learn_words};
use wordgrove::transformer::{
    Examples, MaskMarks, MaskedExamples, Order, PairExamples, PairMarks, Pairs, Shape, TextExamples, TransformerConfig,
    line_end,
};
use wordgrove::vectors::Model;
use wordgrove::{Error, Event, Progress, TokenId, Tokenizer};

use crate::cli::failure::{Failure, Outcome};
use crate::cli::number::{share, whole};
use crate::cli::tokenizer;

/// What is learned from.
#[derive(Args)]
pub struct DataArguments {
    /// Text files or folders; - is standard input. Plain, .gz, .zst or .xz. For an encoder-decoder a line is `source TAB
    /// target`
    #[arg(value_name = "TEXT", required = true)]
    pub texts: Vec<PathBuf>,
    /// Start from these word vectors: the same tokens, the token table and, with a tree, its nodes
    #[arg(long, value_name = "VECTORS", help_heading = "Tokens")]
    pub plant: Option<PathBuf>,
    /// Use this tokenizer.json, or that of this model, and start from random vectors
    #[arg(long, value_name = "FILE", help_heading = "Tokens", conflicts_with = "plant")]
    tokenizer: Option<PathBuf>,
    /// What a token is where none are given: pieces of words, so that nothing is unknown; or whole words [default: bpe]
    #[arg(long, value_name = "KIND", help_heading = "Tokens", conflicts_with_all = ["plant", "tokenizer"], value_parser = ["bpe", "word"])]
    tokens: Option<String>,
    /// How many tokens to learn (bpe) [default: 8192]
    #[arg(long, value_name = "N", help_heading = "Tokens", conflicts_with_all = ["plant", "tokenizer"], allow_negative_numbers = true, value_parser = whole(256..=1usize << 24))]
    vocab_size: Option<usize>,
    /// Leave out words that occur less often (word) [default: 5]
    #[arg(long, value_name = "N", help_heading = "Tokens", conflicts_with_all = ["plant", "tokenizer"], allow_negative_numbers = true, value_parser = whole(0..=u64::MAX))]
    min_count: Option<u64>,
    /// Measure the loss on this text
    #[arg(long, value_name = "TEXT", help_heading = "Training", conflicts_with = "hold_out")]
    validation: Option<PathBuf>,
    /// Measure the loss on this share of the text, the last part of it, up to 50% [default: 2%, but at most 50,000 tokens
    /// or 2,000 pairs]
    #[arg(long, value_name = "SHARE", help_heading = "Training", value_parser = share, allow_negative_numbers = true)]
    hold_out: Option<f64>,
}

/// The share that is held out where nothing is said, and the most that it comes to: measuring must not take longer than
/// learning.
const USUAL_SHARE: f64 = 0.02;
const MOST_TOKENS: usize = 50_000;
const MOST_PAIRS: usize = 2_000;

/// What the loss is measured on. A run notes it, and goes on with it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum HeldOut {
    /// The last part of the text, of the usual size.
    Usual,
    /// The last part of the text, this share of it.
    Share(f64),
    /// This text, by its path.
    Text(PathBuf),
}

impl HeldOut {
    /// How many of `n` are held out.
    fn part(&self, n: usize, most: usize) -> usize {
        let part = |share: f64| (n as f64 * share).round() as usize;
        match self {
            HeldOut::Usual => part(USUAL_SHARE).min(most),
            HeldOut::Share(share) => part(*share),
            HeldOut::Text(_) => 0,
        }
    }

    /// As a run notes it.
    pub fn note(&self) -> Value {
        match self {
            // A path that is not UTF-8 cannot be noted as it is.
            HeldOut::Text(path) => json!({ "text": path.to_string_lossy() }),
            other => serde_json::to_value(other).expect("numbers and names"),
        }
    }
}

impl fmt::Display for HeldOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            HeldOut::Usual => write!(f, "what is usual"),
            HeldOut::Share(share) => write!(f, "{}%", 100.0 * share),
            HeldOut::Text(path) => write!(f, "{}", path.display()),
        }
    }
}

/// What the batches come from.
pub struct Data {
    pub train: Box<dyn Examples>,
    pub validation: Option<Box<dyn Examples>>,
    /// How often each token occurs, by id, marks included.
    pub counts: Vec<u64>,
}

impl DataArguments {
    /// Refuses what needs no look at the text.
    pub fn check(&self) -> Outcome {
        match self.hold_out {
            Some(share) if !(0.0..=0.5).contains(&share) => {
                Err(Failure::Usage(format!("--hold-out: {share} is out of range, expected 0 to 0.5")))
            }
            _ => Ok(()),
        }
    }

    /// All the files that are read.
    pub fn inputs(&self) -> Vec<PathBuf> {
        self.texts.iter().chain(&self.validation).cloned().collect()
    }

    /// What the loss is to be measured on, where that was said.
    pub fn held_out(&self) -> Option<HeldOut> {
        self.validation.clone().map(HeldOut::Text).or(self.hold_out.map(HeldOut::Share))
    }

    /// The word vectors to start from.
    pub fn vectors(&self) -> Outcome<Option<Model>> {
        Ok(self.plant.as_deref().map(Model::open).transpose()?)
    }

    /// The tokenizer that is given, or else is learned.
    pub fn tokenizer(&self, vectors: Option<&Model>, corpus: &Corpus, progress: &dyn Progress) -> Outcome<Tokenizer> {
        if let Some(model) = vectors {
            let tokenizer = model.embeddings.tokenizer().expect("a model folder has a tokenizer");
            return Ok(tokenizer.clone());
        }
        if let Some(path) = &self.tokenizer {
            return tokenizer::open(path);
        }
        if self.tokens.as_deref() == Some("word") {
            let config = WordsConfig::default();
            let min_count = self.min_count.unwrap_or(config.min_count);
            return Ok(learn_words(corpus, &WordsConfig { min_count, ..config }, progress)?);
        }
        let config = BpeConfig { vocab_size: self.vocab_size.unwrap_or(8192), ..BpeConfig::default() };
        Ok(learn_bpe(corpus, &config, progress)?)
    }
}

/// How texts become batches.
pub struct Reader<'a> {
    pub tokenizer: &'a Tokenizer,
    pub config: &'a TransformerConfig,
    /// Texts, pairs or lines in a batch.
    pub batch_size: usize,
    /// Where the order of batches comes from.
    pub seed: u64,
    /// What the loss is measured on.
    pub held_out: &'a HeldOut,
    /// The folder of the transformer; the ids of a long text are kept in a file beside it meanwhile.
    pub output: &'a Path,
    pub progress: &'a dyn Progress,
}

impl Reader<'_> {
    /// Encodes the texts, and cuts them into batches.
    pub fn read(&self, corpus: &Corpus) -> Outcome<Data> {
        let validation = match self.held_out {
            HeldOut::Text(path) => {
                Some((Corpus::open_with(std::slice::from_ref(path), self.progress)?, path.as_path()))
            }
            _ => None,
        };
        match self.config.shape {
            Shape::EncoderDecoder => self.read_pairs(corpus, validation),
            Shape::Decoder | Shape::Encoder => self.read_text(corpus, validation),
        }
    }

    fn read_pairs(&self, corpus: &Corpus, validation: Option<(Corpus, &Path)>) -> Outcome<Data> {
        let config = self.config;
        let marks = PairMarks {
            start: self.mark("start_id", config.start_id)?,
            end: self.mark("end_id", config.end_id)?,
            pad: self.mark("pad_id", config.pad_id)?,
        };
        let read = |corpus: &Corpus| Pairs::read(corpus, self.tokenizer, config.context_len, self.progress);
        let mut pairs = read(corpus)?;
        let held_out = match validation {
            Some((corpus, path)) => {
                let pairs = read(&corpus)?;
                if pairs.is_empty() {
                    return Err(Error::format(path, "holds no pair to measure the loss on").into());
                }
                pairs
            }
            None => pairs.split_off(self.held_out.part(pairs.len(), MOST_PAIRS)),
        };
        let counts = pairs.counts(config.n_tokens, marks);
        let train = PairExamples::new(pairs, marks, self.batch_size, Order::Shuffled(self.seed))?;
        let validation: Option<Box<dyn Examples>> = match held_out.is_empty() {
            true => None,
            false => Some(Box::new(PairExamples::new(held_out, marks, self.batch_size, Order::Fixed)?)),
        };
        Ok(Data { train: Box::new(train), validation, counts })
    }

    fn read_text(&self, corpus: &Corpus, validation: Option<(Corpus, &Path)>) -> Outcome<Data> {
        let stream = Arc::new(self.encode(corpus)?);
        let mut counts = stream.counts().to_vec();
        if let Some(line_end) = line_end(self.config) {
            counts[line_end.index()] += stream.n_sentences();
        }
        let n_cells = stream.n_cells();
        let cut = n_cells - self.held_out.part(n_cells, MOST_TOKENS);
        let train = self.examples(&stream, 0..cut, Order::Shuffled(self.seed))?;
        let validation = match validation {
            Some((corpus, path)) => {
                let stream = Arc::new(self.encode(&corpus)?);
                let examples = self.examples(&stream, 0..stream.n_cells(), Order::Fixed);
                Some(examples.map_err(|failure| match failure {
                    Failure::Library(Error::TooFew { .. }) => {
                        Error::format(path, "is too short to measure the loss on").into()
                    }
                    other => other,
                })?)
            }
            None if cut < n_cells => match self.examples(&stream, cut..n_cells, Order::Fixed) {
                Err(Failure::Library(Error::TooFew { .. })) => {
                    let text = "the part that is held out is too short to measure the loss on: nothing is measured";
                    self.progress.report(&Event::Warning(text));
                    None
                }
                examples => Some(examples?),
            },
            None => None,
        };
        Ok(Data { train, validation, counts })
    }

    fn encode(&self, corpus: &Corpus) -> Outcome<IdStream> {
        Ok(encode_corpus(corpus, self.tokenizer, &parent(self.output), self.progress)?)
    }

    fn examples(&self, stream: &Arc<IdStream>, cells: Range<usize>, order: Order) -> Outcome<Box<dyn Examples>> {
        let (config, stream) = (self.config, Arc::clone(stream));
        Ok(match config.shape {
            Shape::Encoder => {
                let (mask, pad) = (self.mark("mask_id", config.mask_id)?, self.mark("pad_id", config.pad_id)?);
                // Marks stand behind all other tokens, but in tokenizers of other people.
                let n_plain = Some(mask.0.min(pad.0)).filter(|&n| n > 0).unwrap_or(config.n_tokens as u32);
                let marks = MaskMarks { mask, pad, n_plain };
                Box::new(MaskedExamples::new(stream, cells, marks, config.context_len, self.batch_size, order)?)
            }
            Shape::Decoder | Shape::EncoderDecoder => {
                let line_end = self.mark("start_id", config.start_id)?;
                Box::new(TextExamples::new(stream, cells, line_end, config.context_len, self.batch_size, order)?)
            }
        })
    }

    /// A mark that training needs. A new transformer has it; the folder of one that goes on may have been edited.
    fn mark(&self, name: &str, id: Option<u32>) -> Outcome<TokenId> {
        let reason =
            || format!("has no {name}, and a transformer of shape {} cannot be trained without", self.config.shape);
        Ok(id.map(TokenId).ok_or_else(|| Error::format(self.output.join("config.json"), reason()))?)
    }
}
