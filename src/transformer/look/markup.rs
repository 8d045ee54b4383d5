//! What the pages share: text made safe for HTML and SVG, and colours for light and dark.

use std::borrow::Cow;
use std::io::{self, Write};

use crate::transformer::look::reading::ReadToken;

/// A text as it may stand in HTML and SVG, also inside quotes. Control characters, which XML does not allow, and those
/// that turn the direction of writing are spelled as escapes.
pub(super) fn escaped(text: &str) -> Cow<'_, str> {
    let is_harmful = |c: char| {
        c.is_control()
            || matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{fffe}' | '\u{ffff}')
    };
    if !text.contains(|c| matches!(c, '&' | '<' | '>' | '"' | '\'') || is_harmful(c)) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c if is_harmful(c) => out.extend(c.escape_unicode()),
            c => out.push(c),
        }
    }
    Cow::Owned(out)
}

/// At most `most` characters of a label, the last one an ellipsis where there are more.
pub(super) fn cut(label: &str, most: usize) -> Cow<'_, str> {
    match label.char_indices().nth(most) {
        None => Cow::Borrowed(label),
        Some(_) => Cow::Owned(label.chars().take(most - 1).chain(['…']).collect()),
    }
}

/// Colours by purpose, for light and for dark.
pub(super) const COLOURS: &str = "\
:root{color-scheme:light dark;--paper:#fdfcf9;--ink:#22262b;--soft:#667;--line:#dcd9d0;--raised:#fff;--more:#b3541e;\
--less:#1f5fa8;--seen:#1d6f5c}\
@media(prefers-color-scheme:dark){:root{--paper:#15181c;--ink:#e6e4df;--soft:#9aa;--line:#333940;--raised:#1c2026;\
--more:#f0995c;--less:#73b0f4;--seen:#5fd0b3}}";

/// The beginning of a page, up to where its content begins. Nothing in it comes from elsewhere.
pub(super) fn write_head(out: &mut dyn Write, title: &str, style: &str) -> io::Result<()> {
    let title = escaped(title);
    write!(
        out,
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<title>{title}</title>\n\
         <style>{COLOURS}\
         *{{box-sizing:border-box}}\
         body{{margin:0 auto;max-width:1400px;padding:1.2rem clamp(.8rem,3vw,2.4rem) 4rem;background:var(--paper);\
         color:var(--ink);font:16px/1.5 system-ui,sans-serif}}\
         h1{{font-size:1.45rem;line-height:1.25;margin:.4rem 0}}h2{{font-size:1.15rem;margin:2rem 0 .6rem}}\
         h3{{font-size:1rem;margin:1.2rem 0 .3rem}}p{{margin:.4rem 0;max-width:70ch}}.soft{{color:var(--soft)}}\
         .tokens span{{display:inline-block;border:1px solid var(--line);border-radius:4px;background:var(--raised);\
         padding:0 .4em;margin:.12em .2em .12em 0;font:14px/1.6 ui-monospace,monospace;white-space:pre}}\
         {style}</style>\n</head>\n<body>\n"
    )
}

/// A line of tokens, under a name.
pub(super) fn write_tokens(out: &mut dyn Write, name: &str, tokens: &[ReadToken]) -> io::Result<()> {
    if tokens.is_empty() {
        return Ok(());
    }
    write!(out, "<p class=\"tokens\"><b class=\"soft\">{name}</b> ")?;
    for token in tokens {
        write!(out, "<span title=\"id {}\">{}</span>", token.id, escaped(&token.token))?;
    }
    writeln!(out, "</p>")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_token_becomes_markup() {
        assert_eq!(escaped("<script>&\"'"), "&lt;script&gt;&amp;&quot;&#39;");
        assert_eq!(escaped("a\u{0}\u{1b}[m\u{202e}\n"), "a\\u{0}\\u{1b}[m\\u{202e}\\u{a}");
        assert!(matches!(escaped("北京 café"), Cow::Borrowed(_)));
    }

    #[test]
    fn long_labels_end_in_an_ellipsis() {
        assert_eq!([cut("abc", 3), cut("abcd", 3), cut("北京上海", 2)], ["abc", "ab…", "北…"]);
    }
}
