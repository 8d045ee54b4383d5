//! `wordgrove evaluate`: question sets and word pairs.

use std::io::{self, Write};
use std::path::PathBuf;

use clap::Args;
use serde_json::json;
use wordgrove::query::{ComposedWords, PairReport, QuestionReport, QuestionSet, Tally, WordPairs, answer, correlate};

use super::analogy::Method;
use super::failure::{Failure, Outcome};
use super::model::ModelArguments;
use super::number::whole;
use super::output::{columns, escaped, out, padded, print_json};

/// What `evaluate` is told.
#[derive(Args)]
pub struct Arguments {
    #[command(flatten)]
    model: ModelArguments,
    /// Analogy questions: four words a line, sections begin with `: name`
    #[arg(long, value_name = "FILE")]
    analogies: Vec<PathBuf>,
    /// Word pairs with a score by people: word, word and number a line
    #[arg(long, value_name = "FILE")]
    pairs: Vec<PathBuf>,
    /// Only the N most frequent words take part in analogies
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = whole(1..=usize::MAX))]
    top_vocab: Option<usize>,
    /// How analogies are scored
    #[arg(long, value_name = "METHOD", default_value = "add")]
    method: Method,
    /// Leave out word pairs of which a word is composed of several tokens
    #[arg(long)]
    whole_words: bool,
    /// Print a JSON object
    #[arg(long)]
    json: bool,
}

pub fn run(arguments: &Arguments) -> Outcome {
    if arguments.analogies.is_empty() && arguments.pairs.is_empty() {
        return Err(Failure::Usage("nothing to evaluate: give --analogies FILE or --pairs FILE".to_string()));
    }
    let sets = arguments.analogies.iter().map(|path| QuestionSet::read(path)).collect::<Result<Vec<_>, _>>()?;
    let pairs = arguments.pairs.iter().map(|path| WordPairs::read(path)).collect::<Result<Vec<_>, _>>()?;
    let embeddings = arguments.model.open()?.embeddings;
    let composed = if arguments.whole_words { ComposedWords::Skip } else { ComposedWords::Include };
    let questions: Vec<QuestionReport> =
        sets.iter().map(|set| answer(&embeddings, set, arguments.method.into(), arguments.top_vocab)).collect();
    let correlations: Vec<PairReport> = pairs.iter().map(|set| correlate(&embeddings, set, composed)).collect();
    if arguments.json {
        return Ok(print_json(&json!({"analogies": questions, "pairs": correlations}))?);
    }
    let mut out = out();
    for report in &questions {
        print_questions(&mut out, report)?;
    }
    for report in &correlations {
        print_pairs(&mut out, report)?;
    }
    Ok(out.flush()?)
}

/// Prints a table: a line a section, the total last.
pub fn print_questions(out: &mut dyn Write, report: &QuestionReport) -> io::Result<()> {
    let among = report.top_vocab.map_or(String::new(), |n| format!(", among the {n} most frequent words"));
    writeln!(out, "{}{among}", escaped(&report.file))?;
    let width = report.sections.iter().map(|section| columns(&escaped(&section.name))).max().unwrap_or(0).max(7);
    writeln!(out, "  {:width$}  correct / answered /  asked  accuracy  95 % interval  of all", "section")?;
    let mut line = |name: &str, tally: &Tally| {
        let percent = |share: Option<f64>| share.map_or("–".to_string(), |share| format!("{:.1} %", 100.0 * share));
        let interval =
            tally.interval.map_or("–".to_string(), |[low, high]| format!("{:.1}–{:.1} %", 100.0 * low, 100.0 * high));
        writeln!(
            out,
            "  {}  {:>7} / {:>8} / {:>6}  {:>8}  {interval:>13}  {:>6}",
            padded(name, width),
            tally.correct,
            tally.answered,
            tally.asked,
            percent(tally.accuracy),
            percent(tally.accuracy_of_all)
        )
    };
    for section in &report.sections {
        line(&section.name, &section.tally)?;
    }
    line("total", &report.total)
}

fn print_pairs(out: &mut dyn Write, report: &PairReport) -> io::Result<()> {
    let spearman = report.spearman.map_or("–".to_string(), |rho| format!("{rho:.4}"));
    let composed = match report.composed {
        0 => String::new(),
        n => format!(", {n} of them with a word composed of several tokens"),
    };
    let file = escaped(&report.file);
    writeln!(out, "{file}: Spearman {spearman} on {} of {} pairs{composed}", report.answered, report.asked)
}
