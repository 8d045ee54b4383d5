//! `wordgrove transformer attention`: who looks at whom, as a page.

use std::path::PathBuf;

use clap::Args;
use wordgrove::transformer::Shape;
use wordgrove::transformer::look::{
    AttentionChoice, Reading, attention_maps, write_attention_html, write_attention_svg,
};

use super::look::{ReadingArguments, check_output, write_output};
use super::{ModelArguments, use_threads};
use crate::cli::failure::Outcome;
use crate::cli::number::whole;
use crate::cli::output::print_json;

/// What `transformer attention` is told.
#[derive(Args)]
#[command(
    after_help = "One page with a map for every layer and head, that needs nothing but itself. Without --target an \
    encoder-decoder translates TEXT first.\n\n  wordgrove transformer attention models/writer 'the king of france' -o \
    attention.html"
)]
pub struct Arguments {
    #[command(flatten)]
    model: ModelArguments,
    #[command(flatten)]
    reading: ReadingArguments,
    /// The file to write, a picture when it ends in .svg, else a page [default: standard output]
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Only this layer, counted from 1
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = whole(1..=1000usize))]
    layer: Option<usize>,
    /// Only this head, counted from 1
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = whole(1..=16_384usize))]
    head: Option<usize>,
    /// Print the numbers, a JSON object
    #[arg(long, conflicts_with = "output")]
    json: bool,
}

pub fn run(arguments: &Arguments) -> Outcome {
    check_output(&arguments.model.model, "--output", arguments.output.as_deref())?;
    use_threads(arguments.model.threads)?;
    let (transformer, tokenizer) = arguments.model.open()?;
    let text = arguments.reading.text()?;
    let target = arguments.reading.target.as_deref();
    let mut reading = Reading::new(&transformer, &tokenizer, &text, target)?;
    if transformer.config().shape == Shape::EncoderDecoder && target.is_none() {
        reading = reading.translated(&transformer, &tokenizer)?;
    }
    let choice = AttentionChoice { layer: arguments.layer, head: arguments.head };
    let maps = attention_maps(&transformer, &reading, choice)?;
    if arguments.json {
        return Ok(print_json(&maps)?);
    }
    let title = format!("Attention: {}", arguments.model.name());
    let is_picture = |path: &PathBuf| path.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("svg"));
    let write =
        if arguments.output.as_ref().is_some_and(is_picture) { write_attention_svg } else { write_attention_html };
    write_output(arguments.output.as_deref(), |out| write(out, &maps, &title))
}
