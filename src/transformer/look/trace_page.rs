//! A trace → one page that needs nothing but itself.
//!
//! In: sections of steps. Out: HTML in which sections and the parameters of each step can be folded, and matrices are
//! tables: orange for what is above zero, blue for what is below, the stronger the larger.

use std::io::{self, Write};

use crate::transformer::look::labelled_matrix::{LabelledMatrix, Shown, shown};
use crate::transformer::look::markup::{cut, escaped, write_head, write_tokens};
use crate::transformer::look::trace::{Candidate, Prediction, Section, Step, Trace};

/// The longest label, in characters.
const LABEL: usize = 20;

/// So many sections can be open at first.
const OPEN_SECTIONS: usize = 12;

/// How a trace is written as a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TracePage {
    /// Digits behind the point. 3 reads well.
    pub digits: usize,
    /// The most rows and columns of a matrix that are shown; of larger ones the first and the last.
    pub most: [usize; 2],
}

const STYLE: &str = "\
details>summary{cursor:pointer}details.section{border-top:1px solid var(--line);padding:.4rem 0 .8rem}\
details.section>summary{font-weight:600;font-size:1.1rem;padding:.35rem 0}\
.steps{display:flex;flex-wrap:wrap;gap:.2rem 2.6rem}.step{margin:.7rem 0 .9rem;max-width:100%}.step h3{margin:0;font-size:1rem;display:flex;flex-wrap:wrap;gap:.1rem .9rem;\
align-items:baseline}.step h3 b{color:var(--soft);font-weight:400;min-width:1.6em;text-align:right}\
code{font:14px/1.5 ui-monospace,monospace;color:var(--soft);font-weight:400}\
.row{display:flex;flex-wrap:wrap;gap:.7rem 1.4rem;padding-left:2.4em}\
.scroll{overflow-x:auto;max-width:100%}\
table{border-collapse:collapse;font:13px/1.5 ui-monospace,monospace;font-variant-numeric:tabular-nums;background:var(--raised)}\
caption{caption-side:top;text-align:left;color:var(--soft);padding:.2rem 0}\
th{font-weight:400;color:var(--soft);padding:.05rem .5rem;white-space:pre}tbody th{text-align:right;border-right:1px solid \
var(--line)}thead th{text-align:right;border-bottom:1px solid var(--line)}\
td{text-align:right;padding:.05rem .5rem;min-width:3.4em;color:var(--ink)}td.gap,th.gap{min-width:0;color:var(--soft);text-align:center}\
td.p{background:color-mix(in srgb,var(--more) calc(var(--v)*1%),transparent)}\
td.n{background:color-mix(in srgb,var(--less) calc(var(--v)*1%),transparent)}td.x{color:var(--soft)}\
.learned{padding-left:2.4em;margin-top:.3rem}.learned summary{color:var(--soft);font-size:.9rem}.learned .row{padding-left:0}\
.answer{border:1px solid var(--line);background:var(--raised);border-radius:8px;padding:.6rem 1rem;margin:.8rem 0}\
.bar{display:inline-block;height:.7em;background:var(--seen);border-radius:2px;vertical-align:baseline}\
.answer td{text-align:left;min-width:0}.answer table{background:none}\
nav ol{columns:2;column-gap:2rem;max-width:60rem;padding-left:1.6em;margin:.3rem 0 1rem}\
@media(max-width:640px){.row,.learned{padding-left:.4em}nav ol{columns:1}}\
a{color:inherit}";

/// Writes a trace as one HTML page.
///
/// # Errors
/// Whatever `out` refuses.
pub fn write_trace_html(out: &mut dyn Write, trace: &Trace, title: &str, page: TracePage) -> io::Result<()> {
    write_head(out, title, STYLE)?;
    write_opening(out, trace, title)?;
    for (number, section) in trace.sections.iter().enumerate() {
        let is_last = number + 1 == trace.sections.len();
        let open = if trace.sections.len() <= OPEN_SECTIONS || number == 0 || is_last { " open" } else { "" };
        let title = escaped(&section.title);
        writeln!(out, "<details class=\"section\" id=\"s{number}\"{open}><summary>{title}</summary>")?;
        write_section(out, section, page)?;
        writeln!(out, "</details>")?;
    }
    write_answers(out, trace)?;
    writeln!(out, "</body>\n</html>")
}

fn write_opening(out: &mut dyn Write, trace: &Trace, title: &str) -> io::Result<()> {
    writeln!(out, "<h1>{}</h1>", escaped(title))?;
    write_tokens(out, if trace.target.is_empty() { "text" } else { "source" }, &trace.source)?;
    write_tokens(out, if trace.source.is_empty() { "text" } else { "target so far" }, &trace.target)?;
    write_answers(out, trace)?;
    writeln!(out, "<nav><ol>")?;
    for (number, section) in trace.sections.iter().enumerate() {
        writeln!(out, "<li><a href=\"#s{number}\">{}</a></li>", escaped(&section.title))?;
    }
    writeln!(out, "</ol></nav>")
}

fn write_section(out: &mut dyn Write, section: &Section, page: TracePage) -> io::Result<()> {
    writeln!(out, "<div class=\"steps\">")?;
    for step in &section.steps {
        write_step(out, step, page)?;
    }
    writeln!(out, "</div>")
}

fn write_step(out: &mut dyn Write, step: &Step, page: TracePage) -> io::Result<()> {
    write!(
        out,
        "<div class=\"step\"><h3><b>{}</b> {} <code>{}</code></h3>\n<div class=\"row\">",
        step.number,
        escaped(&step.title),
        escaped(&step.formula)
    )?;
    for matrix in &step.matrices {
        write_matrix(out, matrix, &matrix.title, page)?;
    }
    writeln!(out, "</div>")?;
    if !step.learned.is_empty() {
        let symbols: Vec<&str> = step.learned.iter().map(|learned| learned.symbol).collect();
        writeln!(
            out,
            "<details class=\"learned\"><summary>what was learned: {}</summary><div class=\"row\">",
            escaped(&symbols.join(", "))
        )?;
        for learned in &step.learned {
            let title = format!("{} = {} {:?}", learned.symbol, learned.place(), learned.shape());
            write_matrix(out, &learned.matrix().map_err(io::Error::other)?, &title, page)?;
        }
        writeln!(out, "</div></details>")?;
    }
    writeln!(out, "</div>")
}

fn write_matrix(out: &mut dyn Write, matrix: &LabelledMatrix, title: &str, page: TracePage) -> io::Result<()> {
    let (rows, columns) = (shown(matrix.rows.len(), page.most[0]), shown(matrix.columns.len(), page.most[1]));
    write!(out, "<div class=\"scroll\"><table>")?;
    if !title.is_empty() {
        write!(out, "<caption>{}</caption>", escaped(title))?;
    }
    write!(out, "<thead><tr><th></th>")?;
    for column in &columns {
        match column {
            Shown::At(column) => write!(out, "<th>{}</th>", escaped(&cut(&matrix.columns[*column], LABEL)))?,
            Shown::Gap => write!(out, "<th class=\"gap\">…</th>")?,
        }
    }
    writeln!(out, "</tr></thead><tbody>")?;
    let largest = matrix.largest();
    for row in rows {
        let Shown::At(row) = row else {
            writeln!(out, "<tr><th class=\"gap\">⋮</th><td class=\"gap\" colspan=\"{}\"></td></tr>", columns.len())?;
            continue;
        };
        write!(out, "<tr><th>{}</th>", escaped(&cut(&matrix.rows[row], LABEL)))?;
        for column in &columns {
            match column {
                Shown::At(column) => write_number(out, matrix, matrix.row(row)[*column], largest, page.digits)?,
                Shown::Gap => write!(out, "<td class=\"gap\">…</td>")?,
            }
        }
        writeln!(out, "</tr>")?;
    }
    writeln!(out, "</tbody></table></div>")
}

fn write_number(
    out: &mut dyn Write,
    matrix: &LabelledMatrix,
    number: f32,
    largest: f32,
    digits: usize,
) -> io::Result<()> {
    let text = matrix.text(number, digits);
    if matrix.is_whole {
        return write!(out, "<td>{text}</td>");
    }
    if !number.is_finite() {
        return write!(out, "<td class=\"x\">{text}</td>");
    }
    // Not the full colour, so that the ink stays readable on it.
    let strength = if largest > 0.0 { (60.0 * number.abs() / largest).round() } else { 0.0 };
    let sign = if number < 0.0 { "n" } else { "p" };
    write!(out, "<td class=\"{sign}\" style=\"--v:{strength}\" title=\"{number}\">{text}</td>")
}

fn write_answers(out: &mut dyn Write, trace: &Trace) -> io::Result<()> {
    if trace.predictions.is_empty() {
        return writeln!(out, "<p class=\"answer\">No token is hidden in the text, so none is guessed.</p>");
    }
    let read = if trace.target.is_empty() { &trace.source } else { &trace.target };
    for Prediction { position, candidates } in &trace.predictions {
        let place = escaped(&read[*position].token);
        let what = if trace.target.is_empty() { "hidden at" } else { "after" };
        let Some(Candidate { token, .. }) = candidates.first() else { continue };
        write!(
            out,
            "<div class=\"answer\">{what} <b>{place}</b> (position {}): <b>{}</b><table>",
            position + 1,
            escaped(token)
        )?;
        for Candidate { token, probability, .. } in candidates {
            let width = if probability.is_finite() { 12.0 * probability } else { 0.0 };
            write!(
                out,
                "<tr><td>{}</td><td>{probability:.4}</td><td><span class=\"bar\" style=\"width:{width:.2}rem\"></span></td></tr>",
                escaped(&cut(token, LABEL))
            )?;
        }
        writeln!(out, "</table></div>")?;
    }
    Ok(())
}
