//! `.tiktoken` files: a line `base64(bytes) SPACE rank` for each token.
//!
//! The file has neither pattern nor special tokens, so the caller gives the pattern. It has no merges either, but they
//! follow from the ranks: merging the bytes of a token by the ranks below its own must leave two parts, and these are
//! its merge. Ranks are ids, and stay as they are; those that the file leaves out (for special tokens, mostly) are unused.

use std::path::Path;

use crate::error::{Error, Result};
use crate::text::Normalizer;
use crate::tokens::added::AddedTokens;
use crate::tokens::bpe::{Bpe, MAX_TOKENS, Merge};
use crate::tokens::open::without_bom;
use crate::tokens::token_table::TokenTable;
use crate::tokens::tokenizer::Model;
use crate::tokens::{Pattern, TokenId, Tokenizer};

/// Finding a token's parts takes time in the square of its length. The longest known tokens are 128 spaces.
const MAX_TOKEN: usize = 1024;

impl Tokenizer {
    /// Reads the bytes of a `.tiktoken` file; `path` is for messages.
    ///
    /// # Errors
    /// [`Error::Format`] names the line, and says what it should be.
    pub fn from_tiktoken(file: &[u8], path: &Path, pattern: Pattern) -> Result<Tokenizer> {
        let bpe = read(without_bom(file), pattern).map_err(|reason| Error::format(path, reason))?;
        Ok(Tokenizer::from_bpe(bpe, AddedTokens::default(), Normalizer::default()))
    }

    /// The `.tiktoken` file, as text. It has no place for pattern, normalizer and added tokens.
    ///
    /// # Errors
    /// [`Error::Config`] for whole words, and for a BPE whose merges are not in the order of its ids, or are several for
    /// one token, or none: the file can say only the ids.
    pub fn to_tiktoken(&self) -> Result<String> {
        let refuse = |reason: &str| Err(Error::config("tiktoken", reason));
        let Model::Bpe(bpe) = &self.model else {
            return refuse("these are whole words, the format is for byte-level BPE");
        };
        let merges = bpe.merger.pairs.merges();
        let is_ranked = |id: u32| self.added.get(TokenId(id)).is_none() && !bpe.tokens.is_unused(id as usize);
        let ranked = || (0..bpe.tokens.len() as u32).filter(|&id| is_ranked(id));
        let made = ranked().filter(|&id| bpe.tokens.get(id as usize).len() > 1);
        if !made.eq(merges.iter().map(|merge| merge.merged)) {
            return refuse("its ids are not ranks: the tokens that merges make are not in the order of the merges");
        }
        let mut out = String::new();
        for rank in ranked() {
            out.push_str(&to_base64(bpe.tokens.get(rank as usize)));
            out.push_str(&format!(" {rank}\n"));
        }
        Ok(out)
    }
}

fn read(file: &[u8], pattern: Pattern) -> Result<Bpe, String> {
    let mut tokens = TokenTable::default();
    for (rank, line) in lines_by_rank(file)? {
        let (number, token) = (line.number, from_base64(line.base64).unwrap_or_default());
        // Whisper's file ends in one, which no text ever becomes.
        if token.is_empty() {
            continue;
        }
        while tokens.len() < rank as usize {
            tokens.push_unused();
        }
        match token.len() {
            ..=MAX_TOKEN => match tokens.find(&token) {
                Some(before) => return Err(format!("line {number}: repeats the token of rank {before}")),
                None => tokens.push(&token),
            },
            len => return Err(format!("line {number}: has a token of {len} bytes, expected at most {MAX_TOKEN}")),
        }
    }
    let mut merges = Vec::new();
    for rank in 0..tokens.len() {
        if tokens.get(rank).len() > 1 {
            let parts = parts(&tokens, rank as u32);
            let [left, right] = parts[..] else {
                return Err(format!(
                    "the token of rank {rank} is {} parts by the ranks below it, expected 2: no BPE made it",
                    parts.len()
                ));
            };
            merges.push(Merge { left, right, merged: rank as u32 });
        }
    }
    Bpe::new(tokens, merges, pattern)
        .map_err(|byte| format!("has no token for the byte 0x{byte:02X}, expected all 256"))
}

/// A line of the file.
struct Line<'f> {
    number: usize,
    base64: &'f [u8],
}

/// The lines in the order of their ranks, which are different; at most every second rank is left out.
fn lines_by_rank(file: &[u8]) -> Result<Vec<(u32, Line<'_>)>, String> {
    let mut lines: Vec<(u32, Line)> = Vec::new();
    for (at, line) in file.split(|&byte| byte == b'\n').enumerate() {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if line.is_empty() {
            continue;
        }
        let number = at + 1;
        let parts = line.iter().position(|&byte| byte == b' ').map(|space| (&line[..space], &line[space + 1..]));
        let parts = parts.and_then(|(base64, rank)| {
            Some((from_base64(base64).map(|_| base64)?, std::str::from_utf8(rank).ok()?.parse().ok()?))
        });
        let Some((base64, rank)) = parts else {
            let shown = String::from_utf8_lossy(&line[..line.len().min(60)]).into_owned();
            return Err(format!("line {number}: '{shown}' is not base64, a space and a rank"));
        };
        if lines.len() == MAX_TOKENS {
            return Err(format!("line {number}: has more than {MAX_TOKENS} tokens before it"));
        }
        lines.push((rank, Line { number, base64 }));
    }
    lines.sort_by_key(|(rank, _)| *rank);
    if let Some(pair) = lines.windows(2).find(|pair| pair[0].0 == pair[1].0) {
        return Err(format!("line {}: repeats the rank {} of line {}", pair[1].1.number, pair[1].0, pair[0].1.number));
    }
    if let Some((rank, line)) = lines.last().filter(|(rank, _)| *rank as usize >= 2 * lines.len()) {
        return Err(format!(
            "line {}: has rank {rank}, but there are only {} tokens; ranks are rows, and at most every second may be \
             without a token",
            line.number,
            lines.len()
        ));
    }
    Ok(lines)
}

/// What the bytes of a token are merged to by ranks below its own.
fn parts(tokens: &TokenTable, rank: u32) -> Vec<u32> {
    let bytes = tokens.get(rank as usize);
    // The beginnings of the parts, and the end.
    let mut cuts: Vec<usize> = (0..=bytes.len()).collect();
    let joined = |cuts: &[usize], at: usize| {
        let end = *cuts.get(at + 2)?;
        tokens.find(&bytes[cuts[at]..end]).filter(|&joined| joined < rank)
    };
    let mut ranks: Vec<Option<u32>> = (0..cuts.len()).map(|at| joined(&cuts, at)).collect();
    while let Some((_, at)) = ranks.iter().enumerate().filter_map(|(at, rank)| Some(((*rank)?, at))).min() {
        cuts.remove(at + 1);
        ranks.remove(at + 1);
        ranks[at] = joined(&cuts, at);
        if at > 0 {
            ranks[at - 1] = joined(&cuts, at - 1);
        }
    }
    // A byte without a token is one part too many, and is told in the end.
    cuts.windows(2).map(|cut| tokens.find(&bytes[cut[0]..cut[1]]).unwrap_or(rank)).collect()
}

const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

fn to_base64(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for group in bytes.chunks(3) {
        let mut padded = [0; 4];
        padded[1..=group.len()].copy_from_slice(group);
        let bits = u32::from_be_bytes(padded);
        for place in 0..4 {
            let digit = DIGITS[(bits >> (18 - 6 * place) & 63) as usize];
            out.push(if place <= group.len() { char::from(digit) } else { '=' });
        }
    }
    out
}

/// The bytes of a base64 text; `=` alone, which Whisper's file has for no bytes, is none.
fn from_base64(text: &[u8]) -> Option<Vec<u8>> {
    if text == b"=" {
        return Some(Vec::new());
    }
    if !text.len().is_multiple_of(4) {
        return None;
    }
    let digits = text.strip_suffix(b"==").or_else(|| text.strip_suffix(b"=")).unwrap_or(text);
    let mut bytes = Vec::with_capacity(text.len() / 4 * 3);
    for group in digits.chunks(4) {
        let mut bits = 0;
        for &digit in group {
            bits = bits << 6 | DIGITS.iter().position(|&other| other == digit)? as u32;
        }
        bits <<= 6 * (4 - group.len());
        bytes.extend_from_slice(&bits.to_be_bytes()[1..group.len()]);
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::progress::Silent;
    use crate::text::Corpus;
    use crate::tokens::{BpeConfig, learn_bpe};

    #[test]
    fn base64_is_that_of_the_rfc() {
        for (bytes, text) in [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foob", "Zm9vYg==")] {
            assert_eq!(to_base64(bytes.as_bytes()), text);
            assert_eq!(from_base64(text.as_bytes()).unwrap(), bytes.as_bytes());
        }
        assert_eq!(from_base64(&to_base64(&[255, 254, 0, 62]).into_bytes()).unwrap(), [255, 254, 0, 62]);
        assert!(from_base64(b"Zg=").is_none() && from_base64(b"Z!==").is_none() && from_base64(b"====").is_none());
    }

    #[test]
    fn merges_come_back_from_the_ranks() {
        let config = BpeConfig { vocab_size: 340, ..BpeConfig::default() };
        let text = "the king and the queen of the kings; aaaaaaa 中文 中文字\n".repeat(3);
        let tokenizer = learn_bpe(&Corpus::from_text(text), &config, &Silent).unwrap();
        let file = tokenizer.to_tiktoken().unwrap();
        let again = Tokenizer::from_tiktoken(file.as_bytes(), Path::new("t"), Pattern::Gpt2).unwrap();
        assert_eq!(again.to_json(), tokenizer.to_json());
        assert!(Tokenizer::from_words(vec![b"a".to_vec()]).unwrap().to_tiktoken().is_err());
    }

    #[test]
    fn ranks_that_are_left_out_are_unused_and_others_stay() {
        let config = BpeConfig { vocab_size: 300, special_tokens: vec!["<s>".into()], ..BpeConfig::default() };
        let tokenizer = learn_bpe(&Corpus::from_text("low lower lowest\n".repeat(9)), &config, &Silent).unwrap();
        let file = tokenizer.to_tiktoken().unwrap();
        assert!(!file.contains(" 0\n") && file.ends_with(&format!(" {}\n", tokenizer.n_tokens() - 1)));
        // Any order, an empty token as Whisper's file has it, and a rank beyond a gap.
        let mut lines: Vec<&str> = file.lines().collect();
        lines.reverse();
        let (empty, far) = (format!("= {}", tokenizer.n_tokens()), format!("bG93bG93 {}", tokenizer.n_tokens() + 5));
        lines.extend([&*far, &*empty]);
        let again = Tokenizer::from_tiktoken(lines.join("\n").as_bytes(), Path::new("t"), Pattern::Gpt2).unwrap();
        assert_eq!(again.encode(b"the lowest"), tokenizer.encode(b"the lowest"));
        assert_eq!(again.n_tokens(), tokenizer.n_tokens() + 6);
        for id in [0, tokenizer.n_tokens(), tokenizer.n_tokens() + 4].map(|id| TokenId(id as u32)) {
            assert!(again.is_unused(id) && again.decode(&[id]).is_err(), "{id:?}");
        }
        assert_eq!(again.encode(b"lowlow"), [TokenId(again.n_tokens() as u32 - 1)]);
        assert_eq!(again.to_tiktoken().unwrap(), format!("{file}{far}\n"));
    }

    #[test]
    fn hostile_files_are_refused_with_the_line() {
        let bytes: Vec<String> = (0..=255).map(|byte: u8| format!("{} {byte}\n", to_base64(&[byte]))).collect();
        let all = bytes.concat();
        let read =
            |file: String| match Tokenizer::from_tiktoken(file.as_bytes(), Path::new("t.tiktoken"), Pattern::Gpt2) {
                Ok(_) => "accepted".to_string(),
                Err(error) => error.to_string(),
            };
        let line = |bytes: &[u8], rank: &str| format!("{all}{} {rank}\n", to_base64(bytes));
        assert_eq!(read(all.clone()), "accepted");
        assert_eq!(read(line(b"ab", "256")), "accepted");
        let cases = [
            (bytes[..255].concat(), "byte 0xFF"),
            (line(b"ab", "514"), "line 257: has rank 514, but there are only 257 tokens"),
            (line(b"ab", "4000000000"), "has rank 4000000000"),
            (line(b"ab", "7"), "line 257: repeats the rank 7 of line 8"),
            (line(b"ab", "-1"), "line 257: 'YWI= -1' is not"),
            (line(b"ab", "99999999999999999999"), "line 257"),
            (line(b"a", "256"), "repeats the token of rank 97"),
            (line(b"abc", "256"), "3 parts"),
            (line(&[b'a'; 2000], "256"), "2000 bytes"),
            (format!("{all}YWI=256\n"), "line 257"),
            (format!("{all}Y!I= 256\n"), "not base64"),
            ("\0\u{1}".into(), "line 1"),
            (String::new(), "byte 0x00"),
        ];
        for (file, reason) in cases {
            let error = read(file);
            assert!(error.contains(reason), "{error:?} does not say {reason:?}");
        }
    }
}
