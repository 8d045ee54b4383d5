//! Texts → what a transformer is trained and measured on.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;
use wordgrove::text::Corpus;
use wordgrove::tokens::{BpeConfig, IdStream, encode_corpus, learn_bpe};
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
    /// How many tokens to learn where none are given [default: 8192]
    #[arg(long, value_name = "N", help_heading = "Tokens", conflicts_with_all = ["plant", "tokenizer"], allow_negative_numbers = true, value_parser = whole(256..=1usize << 24))]
    vocab_size: Option<usize>,
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
const HELD_OUT: f64 = 0.02;
const MOST_TOKENS: usize = 50_000;
const MOST_PAIRS: usize = 2_000;

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

    /// How many of `n` are held out.
    fn held_out(&self, n: usize, most: usize) -> usize {
        let part = |share: f64| (n as f64 * share).round() as usize;
        self.hold_out.map_or(part(HELD_OUT).min(most), part)
    }

    /// All the files that are read.
    pub fn inputs(&self) -> Vec<PathBuf> {
        self.texts.iter().chain(&self.validation).cloned().collect()
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
        let config = BpeConfig { vocab_size: self.vocab_size.unwrap_or(8192), ..BpeConfig::default() };
        Ok(learn_bpe(corpus, &config, progress)?)
    }

    /// Encodes the texts, and cuts them into batches. The ids of a long text are kept in a file in `spool` meanwhile.
    pub fn read(
        &self,
        corpus: &Corpus,
        tokenizer: &Tokenizer,
        config: &TransformerConfig,
        batch: BatchSettings,
        spool: &Path,
        progress: &dyn Progress,
    ) -> Outcome<Data> {
        let validation = match &self.validation {
            Some(path) => Some((Corpus::open_with(std::slice::from_ref(path), progress)?, path.as_path())),
            None => None,
        };
        let reading = Reading { tokenizer, config, batch, spool, progress };
        match config.shape {
            Shape::EncoderDecoder => self.read_pairs(corpus, validation, &reading),
            Shape::Decoder | Shape::Encoder => self.read_text(corpus, validation, &reading),
        }
    }

    fn read_pairs(&self, corpus: &Corpus, validation: Option<(Corpus, &Path)>, reading: &Reading<'_>) -> Outcome<Data> {
        let Reading { tokenizer, config, batch, progress, .. } = *reading;
        let id = |id: Option<u32>| TokenId(id.expect("an encoder-decoder has its marks"));
        let marks = PairMarks { start: id(config.start_id), end: id(config.end_id), pad: id(config.pad_id) };
        let read = |corpus: &Corpus, path: &Path| Pairs::read(corpus, path, tokenizer, config.context_len, progress);
        let mut pairs = read(corpus, &self.texts[0])?;
        let held_out = match validation {
            Some((corpus, path)) => read(&corpus, path)?,
            None => pairs.split_off(self.held_out(pairs.len(), MOST_PAIRS)),
        };
        let counts = pairs.counts(config.n_tokens, marks);
        let train = PairExamples::new(pairs, marks, batch.size, Order::Shuffled(batch.seed))?;
        let validation: Option<Box<dyn Examples>> = match held_out.is_empty() {
            true => None,
            false => Some(Box::new(PairExamples::new(held_out, marks, batch.size, Order::Fixed)?)),
        };
        Ok(Data { train: Box::new(train), validation, counts })
    }

    fn read_text(&self, corpus: &Corpus, validation: Option<(Corpus, &Path)>, reading: &Reading<'_>) -> Outcome<Data> {
        let stream = Arc::new(reading.encode(corpus)?);
        let mut counts = stream.counts().to_vec();
        if let Some(line_end) = line_end(reading.config) {
            counts[line_end.index()] += stream.n_sentences();
        }
        let n_cells = stream.n_cells();
        let (learned, held_out) = match validation {
            Some((corpus, _)) => {
                let validation = Arc::new(reading.encode(&corpus)?);
                let cells = 0..validation.n_cells();
                (0..n_cells, Some((validation, cells)))
            }
            None => {
                let cut = n_cells - self.held_out(n_cells, MOST_TOKENS);
                (0..cut, (cut < n_cells).then(|| (Arc::clone(&stream), cut..n_cells)))
            }
        };
        let train = reading.examples(stream, learned, Order::Shuffled(reading.batch.seed))?;
        let validation = match held_out {
            Some((stream, cells)) => match reading.examples(stream, cells, Order::Fixed) {
                Err(Failure::Library(Error::TooFew { .. })) => {
                    let text = "the part that is held out is too short to measure the loss on: nothing is measured";
                    reading.progress.report(&Event::Warning(text));
                    None
                }
                examples => Some(examples?),
            },
            None => None,
        };
        Ok(Data { train, validation, counts })
    }
}

/// How batches are made.
#[derive(Clone, Copy)]
pub struct BatchSettings {
    pub size: usize,
    pub seed: u64,
}

/// What all reading of texts needs.
struct Reading<'a> {
    tokenizer: &'a Tokenizer,
    config: &'a TransformerConfig,
    batch: BatchSettings,
    /// Where the ids of a long text are kept meanwhile.
    spool: &'a Path,
    progress: &'a dyn Progress,
}

impl Reading<'_> {
    fn encode(&self, corpus: &Corpus) -> Outcome<IdStream> {
        Ok(encode_corpus(corpus, self.tokenizer, self.spool, self.progress)?)
    }

    fn examples(
        &self,
        stream: Arc<IdStream>,
        cells: std::ops::Range<usize>,
        order: Order,
    ) -> Outcome<Box<dyn Examples>> {
        let (config, size) = (self.config, self.batch.size);
        Ok(match line_end(config) {
            Some(line_end) => Box::new(TextExamples::new(stream, cells, line_end, config.context_len, size, order)?),
            None => {
                let id = |id: Option<u32>| TokenId(id.expect("an encoder has its marks"));
                let (mask, pad) = (id(config.mask_id), id(config.pad_id));
                // Marks stand behind all other tokens, but in tokenizers of other people.
                let n_plain = Some(mask.0.min(pad.0)).filter(|&n| n > 0).unwrap_or(config.n_tokens as u32);
                let marks = MaskMarks { mask, pad, n_plain };
                Box::new(MaskedExamples::new(stream, cells, marks, config.context_len, size, order)?)
            }
        })
    }
}
