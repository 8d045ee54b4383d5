//! `wordgrove transformer generate`: a text goes on.

use std::io::Write;
use std::ops::ControlFlow;

use clap::Args;
use serde_json::json;
use wordgrove::TokenId;
use wordgrove::tokens::StreamDecoder;
use wordgrove::transformer::{GenerateConfig, Sampling, Shape, StopWords, generate, is_text, line_end, text_ids};

use super::{ModelArguments, text, use_threads};
use crate::cli::failure::{Failure, Outcome};
use crate::cli::number::{real, whole};
use crate::cli::output::{escaped, out, print_json};

/// What `transformer generate` is told.
#[derive(Args)]
#[command(
    after_help = "With the same seed and the same number of threads the same text comes. Words that are not in the \
    vocabulary of a model of whole words are left out of PROMPT, as they were when it learned."
)]
pub struct Arguments {
    #[command(flatten)]
    model: ModelArguments,
    /// How the text begins; - is standard input; without it the text begins like a line
    #[arg(value_name = "PROMPT")]
    prompt: Vec<String>,
    /// How many tokens to write; 0: until it is stopped
    #[arg(short = 'n', long, alias = "max-tokens", value_name = "N", default_value_t = 200, allow_negative_numbers = true, value_parser = whole(0..=u64::MAX))]
    tokens: u64,
    /// Below 1 the text becomes more usual, above 1 less, 0 to 1000; 0 always takes the most probable token
    #[arg(short = 't', long, value_name = "T", default_value_t = 1.0, allow_negative_numbers = true, value_parser = real("from 0 to 1000"))]
    temperature: f64,
    /// Draw only from the K most probable tokens, 1 or more
    #[arg(long, value_name = "K", allow_negative_numbers = true, value_parser = whole(1..=usize::MAX))]
    top_k: Option<usize>,
    /// Draw only from the most probable tokens that together have this probability, above 0 and at most 1
    #[arg(long, value_name = "P", default_value_t = 1.0, allow_negative_numbers = true, value_parser = real("above 0 and at most 1"))]
    top_p: f64,
    /// Where all random choices come from
    #[arg(long, value_name = "N", default_value_t = 1, allow_negative_numbers = true, value_parser = whole(0..=u64::MAX))]
    seed: u64,
    /// Stop before this text; may be given several times
    #[arg(long, value_name = "TEXT")]
    stop: Vec<String>,
    /// Tokens at the beginning that are never forgotten (models with rotary positions) [default: 4, but at most half of the
    /// context]
    #[arg(long = "sinks", value_name = "N", allow_negative_numbers = true, value_parser = whole(0..=1usize << 20))]
    n_sinks: Option<usize>,
    /// The most recent tokens that are remembered beside them [default: what the context has room for]
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = whole(1..=1usize << 20))]
    window: Option<usize>,
    /// Print control characters as they are, not as escapes
    #[arg(long)]
    raw: bool,
    /// Print a JSON object at the end instead of the text as it comes
    #[arg(long)]
    json: bool,
}

pub fn run(arguments: &Arguments) -> Outcome {
    let sampling = Sampling { temperature: arguments.temperature, top_k: arguments.top_k, top_p: arguments.top_p };
    sampling.check()?;
    let config =
        GenerateConfig { sampling, seed: arguments.seed, n_sinks: arguments.n_sinks, window: arguments.window };
    use_threads(arguments.model.threads)?;
    let (transformer, tokenizer) = arguments.model.open_to(&[Shape::Decoder], "continues a text")?;
    let prompt = text(&arguments.prompt)?;
    let ids = text_ids(transformer.config(), &tokenizer, &prompt);
    if ids.is_empty() {
        return Err(Failure::Usage(
            "PROMPT: this model does not say how a text begins: give it some words".to_string(),
        ));
    }
    let space = if tokenizer.is_words() && !prompt.is_empty() { " " } else { "" };
    let mut text = Text {
        before: format!("{prompt}{space}"),
        stop: StopWords::new(&arguments.stop),
        kept: arguments.json.then(Kept::default),
        is_raw: arguments.raw,
    };
    let mut decoder = StreamDecoder::new(&tokenizer);
    let (line_end, end_id) = (line_end(transformer.config()), transformer.config().end_id);
    let mut n_new = 0;
    // Written to by the callback, which can only pass on errors of the library.
    let mut failed = None;
    generate(&transformer, &ids, &config, &mut |id| {
        // Other people's models end a text with a mark.
        if end_id == Some(id.0) {
            return Ok(ControlFlow::Break(()));
        }
        n_new += 1;
        let piece = if Some(id) == line_end && tokenizer.is_words() {
            decoder = StreamDecoder::new(&tokenizer);
            "\n".to_string()
        } else if is_text(transformer.config(), &tokenizer, id) {
            decoder.push(id)?
        } else {
            String::new()
        };
        let flow = text.push(&piece, Some(id)).unwrap_or_else(|failure| {
            failed = Some(failure);
            ControlFlow::Break(())
        });
        Ok(if n_new == arguments.tokens { ControlFlow::Break(()) } else { flow })
    })?;
    if let Some(failure) = failed {
        return Err(failure);
    }
    let held = decoder.finish();
    text.finish(&held)?;
    if let Some(Kept { text, ids }) = text.kept {
        print_json(&json!({"prompt": prompt, "text": text, "ids": ids}))?;
    }
    Ok(())
}

/// The text as it comes.
struct Text {
    /// What is to be shown before it, once there is something to follow.
    before: String,
    stop: StopWords,
    /// What is printed at the end, where it is not shown as it comes: a text without end must not fill the memory.
    kept: Option<Kept>,
    is_raw: bool,
}

#[derive(Default)]
struct Kept {
    text: String,
    ids: Vec<u32>,
}

impl Text {
    fn push(&mut self, piece: &str, id: Option<TokenId>) -> Outcome<ControlFlow<()>> {
        let (shown, flow) = self.stop.push(piece);
        if let Some(kept) = &mut self.kept {
            kept.ids.extend(id.map(|id| id.0));
        }
        let before = std::mem::take(&mut self.before);
        if self.kept.is_none() {
            self.show(&before)?;
        }
        self.show(&shown)?;
        Ok(flow)
    }

    fn show(&mut self, text: &str) -> Outcome {
        if let Some(kept) = &mut self.kept {
            kept.text.push_str(text);
            return Ok(());
        }
        if text.is_empty() {
            return Ok(());
        }
        let mut out = out();
        let text = if self.is_raw { text.into() } else { escaped(text) };
        out.write_all(text.as_bytes())?;
        // As it comes, or there would be nothing to watch.
        Ok(out.flush()?)
    }

    fn finish(&mut self, rest: &str) -> Outcome {
        // What ends the text here is its end, whatever it is.
        let _ = self.push(rest, None)?;
        let held = std::mem::take(&mut self.stop).finish();
        self.show(&held)?;
        if self.kept.is_none() { self.show("\n") } else { Ok(()) }
    }
}
