//! Attention maps → one page, or one picture, that needs nothing but itself.
//!
//! In: maps. Out: a grid of them, layers downwards and heads to the right: who asks in rows, who is asked in columns, the
//! shade of a cell is the probability, the exact one shows where the pointer rests. No script, no font, no network.

use std::io::{self, Write};

use crate::transformer::look::attention_map::{AttentionKeys, AttentionMap, AttentionMaps};
use crate::transformer::look::markup::{COLOURS, cut, escaped, write_head, write_tokens};

/// Pixels of a line of text, and of one character of it, about.
const LINE: f64 = 16.0;
const CHARACTER: f64 = 7.3;

/// The longest label, in characters.
const LABEL: usize = 16;

/// Space around a map in a picture of many.
const GAP: f64 = 24.0;

/// How the cells and labels of a map look; the same in a page and in a picture.
const MAP_STYLE: &str = "\
.map text{font:12px ui-monospace,monospace;fill:var(--ink)}.map .k{text-anchor:start}.map .q{text-anchor:end}\
.map path{fill:var(--seen)}.map .frame{fill:none;stroke:var(--line)}.map path:hover{stroke:var(--more);stroke-width:2}\
.map .title{font:bold 13px system-ui,sans-serif}";

const KINDS: [AttentionKeys; 3] = [AttentionKeys::Encoder, AttentionKeys::Decoder, AttentionKeys::Cross];

/// What a kind of attention is called.
fn title(of: AttentionKeys, maps: &AttentionMaps) -> &'static str {
    match of {
        AttentionKeys::Encoder if maps.target.is_empty() => "Each token looks at all",
        AttentionKeys::Encoder => "Encoder: the source looks at itself",
        AttentionKeys::Decoder if maps.source.is_empty() => "Each token looks at itself and those before it",
        AttentionKeys::Decoder => "Decoder: the target looks at itself, and not ahead",
        AttentionKeys::Cross => "Decoder: the target looks at the source",
    }
}

/// The sizes of a map.
struct Frame {
    cell: f64,
    /// Where the cells begin.
    left: f64,
    top: f64,
    width: f64,
    height: f64,
}

impl Frame {
    fn new(maps: &AttentionMaps, of: AttentionKeys) -> Frame {
        let (queries, keys) = maps.sides(of);
        let longest = |tokens: &[crate::transformer::look::ReadToken]| {
            tokens.iter().map(|token| columns(&cut(&token.token, LABEL))).max().unwrap_or(0) as f64 * CHARACTER
        };
        // Small enough for a screen, but never too small to read a label beside it.
        let cell = (420.0 / keys.len().max(queries.len()) as f64).clamp(13.0, 26.0);
        let (left, top) = (longest(queries) + 10.0, longest(keys) + 10.0);
        let width = left + cell * keys.len() as f64 + 2.0;
        Frame { cell, left, top, width, height: top + cell * queries.len() as f64 + 2.0 }
    }
}

/// How many characters wide a label is; those of Chinese, Japanese and Korean count twice, escapes as they are spelled.
fn columns(label: &str) -> usize {
    let width = |c: char| match c as u32 {
        0x1100..=0x115f | 0x2e80..=0xa4cf | 0xac00..=0xd7a3 | 0xf900..=0xfaff | 0xfe30..=0xfe6f | 0xff00..=0xffe6 => 2,
        _ if c.is_control() => 6,
        _ => 1,
    };
    label.chars().map(width).sum()
}

/// One map, its corner at 0, 0.
fn write_map(out: &mut dyn Write, maps: &AttentionMaps, map: &AttentionMap, frame: &Frame) -> io::Result<()> {
    let (queries, keys) = maps.sides(map.of);
    let Frame { cell, left, top, .. } = *frame;
    for (column, key) in keys.iter().enumerate() {
        let x = left + (column as f64 + 0.5) * cell + 4.0;
        let label = escaped(&cut(&key.token, LABEL)).into_owned();
        write!(out, "<text class=\"k\" transform=\"translate({x:.1} {:.1}) rotate(-90)\">{label}</text>", top - 5.0)?;
    }
    writeln!(out)?;
    for (row, (query, probabilities)) in queries.iter().zip(&map.probabilities).enumerate() {
        let y = top + row as f64 * cell;
        let label = cut(&query.token, LABEL);
        write!(out, "<text class=\"q\" x=\"{:.1}\" y=\"{:.1}\">", left - 5.0, y + cell / 2.0 + 4.0)?;
        write!(out, "{}</text>", escaped(&label))?;
        for (column, &probability) in probabilities.iter().enumerate() {
            // What is masked has no cell, so that a causal map shows its triangle.
            if probability == 0.0 {
                continue;
            }
            let x = left + column as f64 * cell;
            // Faint cells stay visible: what is looked at a little is not what cannot be seen.
            let shade =
                if probability.is_finite() { 0.04 + 0.96 * f64::from(probability.clamp(0.0, 1.0)) } else { 0.0 };
            let key = cut(&keys[column].token, LABEL);
            write!(
                out,
                "<path d=\"M{x:.1} {y:.1}h{cell:.1}v{cell:.1}h-{cell:.1}z\" fill-opacity=\"{shade:.3}\"><title>{} → {}: {}\
                 </title></path>",
                escaped(&label),
                escaped(&key),
                probability_text(probability)
            )?;
        }
        writeln!(out)?;
    }
    let (width, height) = (cell * keys.len() as f64, cell * queries.len() as f64);
    writeln!(out, "<path class=\"frame\" d=\"M{left:.1} {top:.1}h{width:.1}v{height:.1}h-{width:.1}z\"/>")
}

/// With as many digits as tell small ones apart.
fn probability_text(probability: f32) -> String {
    match probability {
        p if p.is_nan() => "NaN".to_string(),
        p if p < 0.0001 => format!("{p:.2e}"),
        p => format!("{p:.4}"),
    }
}

/// Writes the maps as one HTML page.
///
/// # Errors
/// Whatever `out` refuses.
pub fn write_attention_html(out: &mut dyn Write, maps: &AttentionMaps, title_text: &str) -> io::Result<()> {
    let style = format!(
        "{MAP_STYLE}.layer{{display:flex;gap:1rem 1.4rem;overflow-x:auto;padding:.2rem 0 .8rem;align-items:flex-start}}\
         figure{{margin:0;flex:none;background:var(--raised);border:1px solid var(--line);border-radius:8px;\
         padding:.5rem .7rem .7rem}}figcaption{{font-size:.86rem;color:var(--soft);margin-bottom:.2rem}}svg{{display:block}}"
    );
    write_head(out, title_text, &style)?;
    writeln!(out, "<h1>{}</h1>", escaped(title_text))?;
    write_tokens(out, "source", &maps.source)?;
    write_tokens(out, if maps.source.is_empty() { "text" } else { "target" }, &maps.target)?;
    writeln!(
        out,
        "<p class=\"soft\">Each row is a token that looks, each column one that is looked at; the stronger the shade, the more. \
         A row sums to 1. Rest the pointer on a cell for its probability.</p>"
    )?;
    for of in KINDS {
        if !maps.maps.iter().any(|map| map.of == of) {
            continue;
        }
        writeln!(out, "<h2>{}</h2>", title(of, maps))?;
        let frame = Frame::new(maps, of);
        let of_kind: Vec<&AttentionMap> = maps.maps.iter().filter(|map| map.of == of).collect();
        for layer in of_kind.chunk_by(|a, b| a.layer == b.layer) {
            writeln!(out, "<h3>layer {}</h3><div class=\"layer\">", layer[0].layer)?;
            for map in layer {
                let Frame { width, height, .. } = frame;
                write!(out, "<figure><figcaption>head {}</figcaption>", map.head)?;
                writeln!(
                    out,
                    "<svg class=\"map\" width=\"{width:.0}\" height=\"{height:.0}\" viewBox=\"0 0 {width:.1} {height:.1}\" \
                     role=\"img\" aria-label=\"layer {}, head {}\">",
                    map.layer, map.head
                )?;
                write_map(out, maps, map, &frame)?;
                writeln!(out, "</svg></figure>")?;
            }
            writeln!(out, "</div>")?;
        }
    }
    writeln!(out, "</body>\n</html>")
}

/// Writes the maps as one SVG picture.
///
/// # Errors
/// Whatever `out` refuses.
pub fn write_attention_svg(out: &mut dyn Write, maps: &AttentionMaps, title_text: &str) -> io::Result<()> {
    // Where everything stands is found out first, as the picture's size is written first.
    let (mut placed, mut titles) = (Vec::new(), vec![(GAP, GAP + LINE, title_text.to_string())]);
    let (mut y, mut right) = (GAP + 2.0 * LINE, title_text.chars().count() as f64 * CHARACTER + 2.0 * GAP);
    for of in KINDS {
        let of_kind: Vec<&AttentionMap> = maps.maps.iter().filter(|map| map.of == of).collect();
        if of_kind.is_empty() {
            continue;
        }
        y += LINE;
        titles.push((GAP, y, title(of, maps).to_string()));
        right = f64::max(right, title(of, maps).len() as f64 * CHARACTER + 2.0 * GAP);
        y += LINE;
        for layer in of_kind.chunk_by(|a, b| a.layer == b.layer) {
            let frame = Frame::new(maps, of);
            let mut x = GAP;
            for map in layer {
                titles.push((x, y + LINE, format!("layer {}, head {}", map.layer, map.head)));
                placed.push((x, y + 1.5 * LINE, *map));
                x += f64::max(frame.width, 20.0 * CHARACTER) + GAP;
            }
            right = right.max(x);
            y += frame.height + 1.5 * LINE + GAP;
        }
    }
    writeln!(
        out,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" class=\"map\" width=\"{right:.0}\" height=\"{y:.0}\" viewBox=\"0 0 \
         {right:.1} {y:.1}\">\n<title>{}</title>\n<style>{COLOURS}{MAP_STYLE}.paper{{fill:var(--paper)}}</style>\n<rect \
         class=\"paper\" width=\"100%\" height=\"100%\"/>",
        escaped(title_text)
    )?;
    for (x, y, text) in titles {
        writeln!(out, "<text class=\"title\" x=\"{x:.1}\" y=\"{y:.1}\">{}</text>", escaped(&text))?;
    }
    for (x, y, map) in placed {
        writeln!(out, "<g transform=\"translate({x:.1} {y:.1})\">")?;
        write_map(out, maps, map, &Frame::new(maps, map.of))?;
        writeln!(out, "</g>")?;
    }
    writeln!(out, "</svg>")
}
