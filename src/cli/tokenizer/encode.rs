//! `wordgrove tokenizer encode`: text → ids.

use std::borrow::Cow;
use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};

use clap::Args;
use serde::{Serialize, Serializer};
use wordgrove::tokens::{EncodedText, EncodedToken, SpecialTokens};
use wordgrove::{Error, Tokenizer};

use super::{TokenizerArguments, each_chunk};
use crate::cli::failure::Outcome;
use crate::cli::output::{columns, escaped, out, padded};

/// What `tokenizer encode` is told.
#[derive(Args)]
pub struct Arguments {
    #[command(flatten)]
    tokenizer: TokenizerArguments,
    /// Text files or folders; - is standard input, which is also read when none is given. Plain, .gz, .zst or .xz
    #[arg(value_name = "TEXT")]
    texts: Vec<PathBuf>,
    /// These words instead of files
    #[arg(long, value_name = "WORDS", conflicts_with = "texts")]
    text: Option<String>,
    /// Take special tokens in the text for what they are, not for plain characters
    #[arg(long)]
    special_tokens: bool,
    /// The same, and put those around the text that the tokenizer's file wants there, as Hugging Face's encode does
    #[arg(long)]
    add_special_tokens: bool,
    /// Show the pieces, with the id, the place in bytes, the spelling and the bytes of each
    #[arg(long, conflicts_with = "json")]
    show: bool,
    /// Print JSON, an object a line: ids, tokens, offsets (where each token begins and ends, in bytes) and the text that these
    /// are in, where it is not the line itself
    #[arg(long)]
    json: bool,
}

pub fn run(arguments: &Arguments) -> Outcome {
    let tokenizer = arguments.tokenizer.open()?;
    let special = match (arguments.special_tokens, arguments.add_special_tokens) {
        (_, true) => SpecialTokens::Framed,
        (true, false) => SpecialTokens::Found,
        (false, false) => SpecialTokens::AsText,
    };
    let is_colored = io::stdout().is_terminal()
        && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
        && std::env::var_os("TERM").is_none_or(|term| term != "dumb");
    let print = |out: &mut Vec<u8>, line: &[u8]| -> io::Result<()> {
        if arguments.show {
            show(out, &tokenizer, &tokenizer.encode_with_offsets(line, special), is_colored)
        } else if arguments.json {
            print_json(out, &tokenizer, &tokenizer.encode_with_offsets(line, special))
        } else {
            for (place, id) in tokenizer.encode_with(line, special).into_iter().enumerate() {
                write!(out, "{}{}", if place == 0 { "" } else { " " }, id.0)?;
            }
            writeln!(out)
        }
    };
    let mut out = out();
    if let Some(text) = &arguments.text {
        let mut printed = Vec::new();
        print(&mut printed, text.as_bytes())?;
        out.write_all(&printed)?;
        return Ok(out.flush()?);
    }
    let given = &arguments.texts[..];
    let texts = if given.is_empty() { &[PathBuf::from("-")] } else { given };
    if let Some(missing) = texts.iter().find(|path| **path != Path::new("-") && !path.exists()) {
        let reason = "no such file or folder: check the name, or give the words themselves with --text";
        return Err(Error::io(missing)(io::Error::other(reason)).into());
    }
    each_chunk(
        texts,
        |chunk| {
            let mut printed = Vec::new();
            chunk.lines().try_for_each(|line| print(&mut printed, line.text)).map(|()| printed)
        },
        |printed| Ok(out.write_all(&printed?)?),
    )?;
    Ok(out.flush()?)
}

/// A line in JSON; the lists are made while they are written, since a line may have millions of tokens.
#[derive(Serialize)]
struct Line<'a, I, T, O> {
    ids: I,
    tokens: T,
    offsets: O,
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<Cow<'a, str>>,
}

struct Listed<I>(I);

impl<I: Iterator<Item: Serialize> + Clone> Serialize for Listed<I> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.clone())
    }
}

fn print_json(out: &mut Vec<u8>, tokenizer: &Tokenizer, encoded: &EncodedText) -> io::Result<()> {
    let tokens = encoded.tokens.iter();
    let line = Line {
        ids: Listed(tokens.clone().map(|token| token.id.0)),
        tokens: Listed(tokens.clone().map(|token| tokenizer.spelling(token.id))),
        offsets: Listed(tokens.map(|token| [token.range.start, token.range.end])),
        text: (!tokenizer.normalizer().is_identity()).then(|| String::from_utf8_lossy(&encoded.text)),
    };
    serde_json::to_writer(&mut *out, &line)?;
    writeln!(out)
}

/// The text with its pieces side by side, in turning colours where there are any, then a line for each piece.
fn show(out: &mut Vec<u8>, tokenizer: &Tokenizer, encoded: &EncodedText, is_colored: bool) -> io::Result<()> {
    const BACKGROUNDS: [u8; 5] = [44, 42, 45, 46, 43];
    for (i, token) in encoded.tokens.iter().enumerate() {
        let text = String::from_utf8_lossy(tokenizer.bytes(token.id));
        let text = escaped(&text);
        if is_colored {
            write!(out, "\x1b[{};30m{text}\x1b[0m", BACKGROUNDS[i % BACKGROUNDS.len()])?;
        } else {
            write!(out, "{}{text}", if i == 0 { "" } else { "|" })?;
        }
    }
    writeln!(out)?;
    let place = |token: &EncodedToken| format!("{}..{}", token.range.start, token.range.end);
    let spelling = |token: &EncodedToken| tokenizer.spelling(token.id);
    let widest = |width: &dyn Fn(&EncodedToken) -> usize| encoded.tokens.iter().map(width).max().unwrap_or(0);
    let (place_width, width) =
        (widest(&|token| place(token).len()), widest(&|token| columns(&escaped(&spelling(token)))));
    for token in &encoded.tokens {
        let (place, spelling) = (place(token), padded(&spelling(token), width));
        let bytes: Vec<String> = tokenizer.bytes(token.id).iter().map(|byte| format!("{byte:02x}")).collect();
        writeln!(out, "  {:>8}  {place:>place_width$}  {spelling}  {}", token.id.0, bytes.join(" "))?;
    }
    Ok(())
}
