//! `wordgrove transformer trace`: every step of one pass.

use std::collections::BTreeSet;
use std::io::{self, Write};
use std::path::PathBuf;

use clap::Args;
use wordgrove::transformer::look::{
    LabelledMatrix, Prediction, ReadToken, Reading, Shown, Step, Trace, TracePage, shown, trace, write_trace_html,
};

use super::look::{ReadingArguments, check_output, write_output};
use super::{ModelArguments, use_threads};
use crate::cli::failure::{Failure, Outcome};
use crate::cli::number::whole;
use crate::cli::output::{columns, escaped, out, padded, print_json};

/// What `transformer trace` is told.
#[derive(Args)]
#[command(
    after_help = "A decoder predicts the token that follows TEXT, an encoder-decoder the first word of its answer, or with \
    --target the one that comes after that, an encoder what each <mask> hides.\n\n  wordgrove transformer trace \
    models/translator 'a dog runs' --target 'ein' --html trace.html"
)]
pub struct Arguments {
    #[command(flatten)]
    model: ModelArguments,
    #[command(flatten)]
    reading: ReadingArguments,
    /// Show only these steps, by their numbers: 7 or 3-9,15
    #[arg(long, value_name = "LIST", value_parser = step_numbers)]
    steps: Option<BTreeSet<usize>>,
    /// Digits behind the point, 0 to 9
    #[arg(long, value_name = "N", default_value_t = 3, allow_negative_numbers = true, value_parser = whole(0..=9usize))]
    digits: usize,
    /// Show large matrices whole, not their first and last rows and columns
    #[arg(long)]
    full: bool,
    /// Show what was learned, too: the matrices and vectors that go into each step
    #[arg(long)]
    parameters: bool,
    /// How many of the most probable tokens to show
    #[arg(short, value_name = "K", default_value_t = 5, allow_negative_numbers = true, value_parser = whole(1..=1usize << 24))]
    k: usize,
    /// Write a page to this file instead, which needs nothing but itself
    #[arg(long, value_name = "FILE", conflicts_with_all = ["json", "steps", "parameters"])]
    html: Option<PathBuf>,
    /// Print all the numbers, a JSON object
    #[arg(long, conflicts_with_all = ["steps", "parameters"])]
    json: bool,
}

/// The most rows and columns of a matrix where not all is shown.
const MOST: [usize; 2] = [20, 12];

/// Matrices stand beside each other up to so many columns of the terminal, a little space between them.
const WIDTH: usize = 110;
const BETWEEN: usize = 4;

/// The widest label.
const LABEL: usize = 16;

pub fn run(arguments: &Arguments) -> Outcome {
    check_output(&arguments.model.model, "--html", arguments.html.as_deref())?;
    use_threads(arguments.model.threads)?;
    let (transformer, tokenizer) = arguments.model.open()?;
    let text = arguments.reading.text()?;
    let reading = Reading::new(&transformer, &tokenizer, &text, arguments.reading.target.as_deref())?;
    let found = trace(&transformer, &tokenizer, &reading, arguments.k)?;
    if arguments.json {
        return Ok(print_json(&found)?);
    }
    let most = if arguments.full { [usize::MAX; 2] } else { MOST };
    if let Some(path) = &arguments.html {
        let title = format!("Step by step: {}", arguments.model.name());
        let page = TracePage { digits: arguments.digits, most };
        return write_output(Some(path), |out| write_trace_html(out, &found, &title, page));
    }
    let n_steps = found.sections.iter().map(|section| section.steps.len()).sum::<usize>();
    if let Some(wrong) = arguments.steps.iter().flatten().find(|&&step| !(1..=n_steps).contains(&step)) {
        return Err(Failure::Usage(format!("--steps: {wrong} is not one of the steps, expected 1 to {n_steps}")));
    }
    let mut out = out();
    print(&mut out, &found, arguments, most)?;
    Ok(out.flush()?)
}

/// `3-9,15` as a set; at most a million numbers.
fn step_numbers(text: &str) -> Result<BTreeSet<usize>, String> {
    let wrong = || "expected numbers like 7 or 3-9,15".to_string();
    let mut found = BTreeSet::new();
    for part in text.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last) = (first.trim().parse::<usize>(), last.trim().parse::<usize>());
        let (Ok(first), Ok(last)) = (first, last) else { return Err(wrong()) };
        if first > last || last - first >= 1_000_000 {
            return Err(wrong());
        }
        found.extend(first..=last);
    }
    Ok(found)
}

fn print(out: &mut dyn Write, trace: &Trace, arguments: &Arguments, most: [usize; 2]) -> Outcome {
    for (name, tokens) in [("source", &trace.source), ("target so far", &trace.target)] {
        // A model that reads one text has no need of the names.
        let name = if trace.source.is_empty() || trace.target.is_empty() { "text" } else { name };
        if !tokens.is_empty() {
            writeln!(out, "{name}: {}", tokens.iter().map(label).collect::<Vec<_>>().join(" "))?;
        }
    }
    let is_shown = |step: &&Step| arguments.steps.as_ref().is_none_or(|steps| steps.contains(&step.number));
    for section in &trace.sections {
        let mut steps = section.steps.iter().filter(is_shown).peekable();
        if steps.peek().is_some() {
            let rule = "─".repeat(WIDTH.saturating_sub(section.title.chars().count() + 4));
            writeln!(out, "\n── {} {rule}", section.title)?;
        }
        for step in steps {
            writeln!(out, "\n{:>3}  {}:  {}", step.number, step.title, step.formula)?;
            print_matrices(out, &step.matrices, arguments.digits, most)?;
            if arguments.parameters {
                for learned in &step.learned {
                    writeln!(out, "     {} = {} {:?}", learned.symbol, learned.place(), learned.shape())?;
                    let matrix = LabelledMatrix { title: String::new(), ..learned.matrix()? };
                    print_matrices(out, &[matrix], arguments.digits, most)?;
                }
            }
        }
    }
    print_predictions(out, trace)?;
    Ok(())
}

fn label(token: &ReadToken) -> String {
    one_line(&token.token)
}

/// A label as it may be printed: no line feed in it either.
fn one_line(label: &str) -> String {
    escaped(label).replace('\n', "\\n")
}

fn print_matrices(out: &mut dyn Write, matrices: &[LabelledMatrix], digits: usize, most: [usize; 2]) -> io::Result<()> {
    let blocks: Vec<Vec<String>> = matrices.iter().map(|matrix| block(matrix, digits, most)).collect();
    let width = |block: &[String]| block.iter().map(|line| columns(line)).max().unwrap_or(0);
    let mut rest = &blocks[..];
    while let Some((first, others)) = rest.split_first() {
        let mut together = 1;
        let mut total = width(first);
        for block in others {
            total += BETWEEN + width(block);
            if total > WIDTH || block.len() != first.len() {
                break;
            }
            together += 1;
        }
        let (line, after) = rest.split_at(together);
        for row in 0..first.len() {
            let parts: Vec<String> = line.iter().map(|block| padded(&block[row], width(block) + BETWEEN)).collect();
            writeln!(out, "     {}", parts.concat().trim_end())?;
        }
        rest = after;
    }
    Ok(())
}

/// A matrix as lines: its title, its columns' labels, its rows.
fn block(matrix: &LabelledMatrix, digits: usize, most: [usize; 2]) -> Vec<String> {
    let (rows, places) = (shown(matrix.rows.len(), most[0]), shown(matrix.columns.len(), most[1]));
    let short = |label: &str| {
        let label = one_line(label);
        match label.chars().count() > LABEL {
            true => label.chars().take(LABEL - 1).chain(['…']).collect(),
            false => label,
        }
    };
    let mut table: Vec<Vec<String>> = Vec::with_capacity(rows.len() + 1);
    let head = places.iter().map(|place| match place {
        Shown::At(column) => short(&matrix.columns[*column]),
        Shown::Gap => "…".to_string(),
    });
    table.push([String::new()].into_iter().chain(head).collect());
    for row in rows {
        let Shown::At(row) = row else {
            table.push(vec!["⋮".to_string(); places.len() + 1]);
            continue;
        };
        let numbers = places.iter().map(|place| match place {
            Shown::At(column) => matrix.text(matrix.row(row)[*column], digits),
            Shown::Gap => "…".to_string(),
        });
        table.push([short(&matrix.rows[row])].into_iter().chain(numbers).collect());
    }
    let widths: Vec<usize> =
        (0..=places.len()).map(|column| table.iter().map(|row| columns(&row[column])).max().unwrap_or(0)).collect();
    let line = |row: &Vec<String>| {
        let mut line = padded(&row[0], widths[0]);
        for (text, width) in row.iter().zip(&widths).skip(1) {
            line.push_str("  ");
            line.push_str(&" ".repeat(width - columns(text)));
            line.push_str(text);
        }
        line
    };
    let title = (!matrix.title.is_empty()).then(|| one_line(&matrix.title));
    title.into_iter().chain(table.iter().map(line)).collect()
}

fn print_predictions(out: &mut dyn Write, trace: &Trace) -> io::Result<()> {
    if trace.predictions.is_empty() {
        return writeln!(out, "\nno token is hidden in the text, so none is guessed");
    }
    let (read, what) = match trace.target.is_empty() {
        true => (&trace.source, "hidden at"),
        false => (&trace.target, "after"),
    };
    for Prediction { position, candidates } in &trace.predictions {
        writeln!(out, "\n{what} {} (position {}):", label(&read[*position]), position + 1)?;
        let width = candidates.iter().map(|found| columns(&one_line(&found.token))).max().unwrap_or(0);
        for found in candidates {
            writeln!(out, "  {}  {:.4}", padded(&one_line(&found.token), width), found.probability)?;
        }
        if let Some(best) = candidates.first() {
            writeln!(out, "predicted: {}", one_line(&best.token))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_named_one_by_one_or_in_ranges() {
        assert_eq!(step_numbers("7").unwrap().into_iter().collect::<Vec<_>>(), [7]);
        assert_eq!(step_numbers("3-5, 9,4").unwrap().into_iter().collect::<Vec<_>>(), [3, 4, 5, 9]);
        for wrong in ["", "a", "5-3", "1-", "-2", "1-99999999", "1,,2"] {
            assert!(step_numbers(wrong).is_err(), "{wrong}");
        }
    }
}
