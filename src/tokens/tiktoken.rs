//! `.tiktoken` files: a line `base64(bytes) SPACE rank` for each token.
//!
//! The file has neither pattern nor special tokens, so the caller gives the pattern. It has no merges either, but they
//! follow from the ranks: merging the bytes of a token by the ranks below its own must leave two parts, and these are
//! its merge. Ranks are ids, and stay as they are; those that the file leaves out (for special tokens, mostly) are unused.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::path::Path;

use crate::error::{Error, Result};
use crate::text::Normalizer;
use crate::tokens::added::AddedTokens;
use crate::tokens::bpe::{Bpe, MAX_TOKENS, Merge};
use crate::tokens::open::without_bom;
use crate::tokens::token_table::TokenTable;
use crate::tokens::tokenizer::Model;
use crate::tokens::{Pattern, Tokenizer};

/// A token may have so many bytes, which bounds the time to find its parts. The longest known tokens are 128 spaces.
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

    /// The `.tiktoken` file, as text. It has no place for the [pattern](Tokenizer::pattern): whoever reads it must be told.
    ///
    /// # Errors
    /// [`Error::Config`] for what the file cannot say: whole words, added tokens, a normalizer, what is put around a text;
    /// and for a BPE whose merges do not follow from its ids.
    pub fn to_tiktoken(&self) -> Result<String> {
        let refuse = |reason: &str| Error::config("tiktoken", reason);
        let Model::Bpe(bpe) = &self.model else {
            return Err(refuse("these are whole words, the format is for byte-level BPE"));
        };
        self.check_bare(|_| false).map_err(|reason| refuse(&reason))?;
        let is_used = |id: &u32| !bpe.tokens.is_unused(*id as usize);
        let ranked = || (0..bpe.tokens.len() as u32).filter(is_used);
        let mut out = String::new();
        for rank in ranked() {
            out.push_str(&to_base64(bpe.tokens.get(rank as usize)));
            out.push_str(&format!(" {rank}\n"));
        }
        // The one that is read must be the one that was written.
        let again =
            read(out.as_bytes(), Pattern::Whole).map(|again| again.merger.pairs.merges() == bpe.merger.pairs.merges());
        match again {
            Ok(true) => Ok(out),
            Ok(false) => Err(refuse("its ids are not ranks: the merges that follow from them are others")),
            Err(reason) => Err(refuse(&format!("its ids are not ranks: such a file {reason}"))),
        }
    }
}

fn read(file: &[u8], pattern: Pattern) -> Result<Bpe, String> {
    let mut tokens = TokenTable::default();
    for (rank, start) in lines_by_rank(file)? {
        let line = line_at(file, start);
        let token = line.split(|&byte| byte == b' ').next().and_then(from_base64).unwrap_or_default();
        // Whisper's file ends in one, which no text ever becomes.
        if token.is_empty() {
            continue;
        }
        while tokens.len() < rank as usize {
            tokens.push_unused();
        }
        let number = || line_number(file, start);
        match token.len() {
            ..=MAX_TOKEN => match tokens.find(&token) {
                Some(before) => return Err(format!("line {}: repeats the token of rank {before}", number())),
                None => tokens.push(&token),
            },
            len => return Err(format!("line {}: has a token of {len} bytes, expected at most {MAX_TOKEN}", number())),
        }
    }
    let mut merges = Vec::with_capacity(tokens.len());
    let mut parts = Parts::default();
    for rank in 0..tokens.len() {
        if tokens.get(rank).len() > 1 {
            let parts = parts.of(&tokens, rank as u32);
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

/// The line that begins at `start`, without its end.
fn line_at(file: &[u8], start: usize) -> &[u8] {
    let line = file[start..].split(|&byte| byte == b'\n').next().unwrap_or_default();
    line.strip_suffix(b"\r").unwrap_or(line)
}

/// The number of the line that begins at `start`, the first being 1.
fn line_number(file: &[u8], start: usize) -> usize {
    1 + file[..start].iter().filter(|&&byte| byte == b'\n').count()
}

/// Ranks and where their lines begin, in the order of the ranks, which are different; at most every second rank is left
/// out.
fn lines_by_rank(file: &[u8]) -> Result<Vec<(u32, usize)>, String> {
    let mut lines: Vec<(u32, usize)> = Vec::new();
    let mut start = 0;
    while start < file.len() {
        let line = line_at(file, start);
        if !line.is_empty() {
            let parts = line.iter().position(|&byte| byte == b' ').map(|space| (&line[..space], &line[space + 1..]));
            let rank = parts.and_then(|(base64, rank)| {
                from_base64(base64)?;
                std::str::from_utf8(rank).ok()?.parse().ok()
            });
            let Some(rank) = rank else {
                let shown = String::from_utf8_lossy(&line[..line.len().min(60)]).into_owned();
                return Err(format!("line {}: '{shown}' is not base64, a space and a rank", line_number(file, start)));
            };
            if lines.len() == MAX_TOKENS {
                return Err(format!("line {}: has more than {MAX_TOKENS} tokens before it", line_number(file, start)));
            }
            lines.push((rank, start));
        }
        start += file[start..].iter().position(|&byte| byte == b'\n').map_or(file.len() - start, |end| end + 1);
    }
    lines.sort_unstable();
    if let Some(pair) = lines.windows(2).find(|pair| pair[0].0 == pair[1].0) {
        let [first, second] = [pair[0].1, pair[1].1].map(|start| line_number(file, start));
        return Err(format!("line {second}: repeats the rank {} of line {first}", pair[1].0));
    }
    if let Some(&(rank, start)) = lines.last().filter(|(rank, _)| *rank as usize >= 2 * lines.len()) {
        return Err(format!(
            "line {}: has rank {rank}, but there are only {} tokens; ranks are rows, and at most every second may be \
             without a token",
            line_number(file, start),
            lines.len()
        ));
    }
    Ok(lines)
}

/// Room to find the parts of tokens in.
#[derive(Default)]
struct Parts {
    /// Where the part ends that begins at a byte; 0 where none begins any more.
    ends: Vec<usize>,
    /// Where the part begins that ends before a byte.
    before: Vec<usize>,
    /// Two neighbours that could merge: the rank that they would have, and where they begin, meet and end.
    pairs: BinaryHeap<Reverse<(u32, usize, usize, usize)>>,
}

impl Parts {
    /// What the bytes of a token are merged to by ranks below its own: the lowest rank first, the leftmost of equals.
    fn of(&mut self, tokens: &TokenTable, rank: u32) -> Vec<u32> {
        let bytes = tokens.get(rank as usize);
        let Parts { ends, before, pairs } = self;
        ends.clear();
        ends.extend(1..=bytes.len());
        before.clear();
        before.extend((0..bytes.len()).map(|at| at.saturating_sub(1)));
        pairs.clear();
        let pair = |ends: &[usize], start: usize| {
            let middle = ends[start];
            let end = *ends.get(middle)?;
            let joined = tokens.find(&bytes[start..end]).filter(|&joined| joined < rank)?;
            Some(Reverse((joined, start, middle, end)))
        };
        pairs.extend((0..bytes.len()).filter_map(|start| pair(ends, start)));
        while let Some(Reverse((_, start, middle, end))) = pairs.pop() {
            if ends[start] != middle || ends[middle] != end {
                continue;
            }
            ends[start] = end;
            ends[middle] = 0;
            if let Some(before) = before.get_mut(end) {
                *before = start;
            }
            pairs.extend(pair(ends, start));
            if start > 0 {
                pairs.extend(pair(ends, before[start]));
            }
        }
        // A byte without a token is one part too many, and is told in the end.
        let starts = (0..bytes.len()).filter(|&start| ends[start] > 0);
        starts.map(|start| tokens.find(&bytes[start..ends[start]]).unwrap_or(rank)).collect()
    }
}

/// What each digit of base64 stands for; [`NO_DIGIT`] for other characters.
static VALUES: [u8; 256] = {
    let mut values = [NO_DIGIT; 256];
    let mut value = 0;
    while value < DIGITS.len() {
        values[DIGITS[value] as usize] = value as u8;
        value += 1;
    }
    values
};

const NO_DIGIT: u8 = u8::MAX;

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
            let value = VALUES[usize::from(digit)];
            if value == NO_DIGIT {
                return None;
            }
            bits = bits << 6 | u32::from(value);
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
    use crate::tokens::{BpeConfig, TokenId, learn_bpe};

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
        let config = BpeConfig { vocab_size: 300, ..BpeConfig::default() };
        let tokenizer = learn_bpe(&Corpus::from_text("low lower lowest\n".repeat(9)), &config, &Silent).unwrap();
        let file = tokenizer.to_tiktoken().unwrap();
        // Rank 0 is left out.
        let later = |line: &str| {
            line.split_once(' ').map(|(token, rank)| format!("{token} {}\n", rank.parse::<u32>().unwrap() + 1))
        };
        let file: String = file.lines().filter_map(later).collect();
        let last = tokenizer.n_tokens();
        let tokenizer = Tokenizer::from_tiktoken(file.as_bytes(), Path::new("t"), Pattern::Gpt2).unwrap();
        assert_eq!(tokenizer.n_tokens(), last + 1);
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
    fn what_the_file_cannot_say_is_refused_by_name() {
        let corpus = Corpus::from_text("low lower lowest\n".repeat(9));
        let learn = |config: &BpeConfig| learn_bpe(&corpus, config, &Silent).unwrap();
        let plain = BpeConfig { vocab_size: 270, ..BpeConfig::default() };
        let special = learn(&BpeConfig { special_tokens: vec!["<a>".into(), "<b>".into()], ..plain.clone() });
        let normalizer = Normalizer { lowercase: true, form: None };
        for (tokenizer, reason) in [
            (special.clone(), "no place for added tokens like <a> <b>"),
            (learn(&BpeConfig { normalizer, ..plain.clone() }), "no place for a normalizer"),
            (Tokenizer::from_words(vec![b"a".to_vec()]).unwrap(), "whole words"),
        ] {
            let error = tokenizer.to_tiktoken().unwrap_err().to_string();
            assert!(error.contains(reason), "{error}");
        }
        let bare = special.without_added_tokens();
        assert!(bare.is_unused(TokenId(0)) && bare.to_tiktoken().unwrap().starts_with("IQ== 2\n"));
        assert_eq!(bare.encode(b"lowest"), special.encode(b"lowest"));
        // Merges in another order than the tokens that they make.
        let json = learn(&plain).to_json();
        let (first, second) = ("[\"l\", \"o\"]", "[\"lo\", \"w\"]");
        let swapped = json.replace(first, "@@").replace(second, first).replace("@@", second);
        let swapped = Tokenizer::from_json(swapped.as_bytes(), Path::new("t.json")).unwrap();
        assert!(swapped.to_tiktoken().unwrap_err().to_string().contains("not ranks"));
    }

    #[test]
    fn the_parts_of_long_tokens_are_found_quickly() {
        // 512 bytes each, of two halves: 4 seconds when all pairs are looked at for each merge.
        let mut file: String = (0..=255).map(|byte: u8| format!("{} {byte}\n", to_base64(&[byte]))).collect();
        let mut rank = 256;
        let mut push = |token: &[u8]| {
            file.push_str(&format!("{} {rank}\n", to_base64(token)));
            rank += 1;
        };
        let halves: Vec<Vec<u8>> = (0..100u8).map(|byte| vec![byte; 256]).collect();
        for len in [2, 4, 8, 16, 32, 64, 128, 256] {
            halves.iter().for_each(|half| push(&half[..len]));
        }
        for left in &halves {
            for right in halves.iter().filter(|right| *right != left) {
                push(&[&left[..], right].concat());
            }
        }
        let tokenizer = Tokenizer::from_tiktoken(file.as_bytes(), Path::new("t"), Pattern::Whole).unwrap();
        assert_eq!(tokenizer.n_merges(), 800 + 9900);
        assert_eq!(tokenizer.encode(&[&halves[3][..], &halves[7]].concat()).len(), 1);
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
