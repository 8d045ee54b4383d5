//! Tokens and merges out of any bytes.
//!
//! A file of a BPE is refused unless it has all 256 bytes, every part of every merge and every token that a merge makes. Bytes
//! that are thrown at a reader hardly ever do. So the bytes here say only which tokens merge, and the file is built around
//! that; what is thrown at the reader itself comes in other ways.
#![allow(dead_code, reason = "each target needs some of it")]

/// Tokens are longer by each merge; those of `.tiktoken` files may have so many bytes.
const LONGEST: usize = 1024;

/// Tokens by id, the bytes first, and merges by rank, as ids.
pub struct Skeleton {
    pub tokens: Vec<Vec<u8>>,
    pub merges: Vec<[usize; 3]>,
}

impl Skeleton {
    /// From the front of `data`, which is shorter then: how many merges, and two bytes for each token in them.
    ///
    /// Tokens are the same when their bytes are, so some have several merges, and some merges are there twice.
    pub fn grow(data: &mut &[u8]) -> Skeleton {
        let mut tokens: Vec<Vec<u8>> = (0..=255).map(|byte| vec![byte]).collect();
        let mut merges = Vec::new();
        for _ in 0..byte(data) {
            let [left, right] = [(); 2].map(|()| {
                let pick = usize::from(byte(data)) | usize::from(byte(data)) << 8;
                // Half of them are among the youngest, so that tokens grow.
                if pick % 2 == 0 { pick / 2 % tokens.len() } else { tokens.len() - 1 - pick / 2 % tokens.len().min(16) }
            });
            let bytes = [&tokens[left][..], &tokens[right]].concat();
            if bytes.len() > LONGEST {
                continue;
            }
            let merged = tokens.iter().position(|token| *token == bytes).unwrap_or_else(|| {
                tokens.push(bytes);
                tokens.len() - 1
            });
            merges.push([left, right, merged]);
        }
        Skeleton { tokens, merges }
    }

    /// The tokens as JSON: spelled in the byte-level alphabet, with their ids.
    pub fn vocab(&self) -> serde_json::Map<String, serde_json::Value> {
        self.tokens.iter().enumerate().map(|(id, token)| (spell(token), id.into())).collect()
    }

    /// The merges, spelled, with a space between the parts.
    pub fn spelled_merges(&self) -> Vec<String> {
        let spelled =
            |&[left, right, _]: &[usize; 3]| format!("{} {}", spell(&self.tokens[left]), spell(&self.tokens[right]));
        self.merges.iter().map(spelled).collect()
    }
}

/// The next byte; 0 at the end.
pub fn byte(data: &mut &[u8]) -> u8 {
    let Some((&first, rest)) = data.split_first() else { return 0 };
    *data = rest;
    first
}

/// The bytes up to the next zero, which is taken away.
pub fn field<'d>(data: &mut &'d [u8]) -> &'d [u8] {
    let end = data.iter().position(|&byte| byte == 0).unwrap_or(data.len());
    let field = &data[..end];
    *data = data.get(end + 1..).unwrap_or_default();
    field
}

/// Bytes in GPT-2's alphabet: printable ones stand for themselves, the others come behind.
fn spell(bytes: &[u8]) -> String {
    let is_printable = |byte: u8| matches!(byte, 33..=126 | 161..=172 | 174..=255);
    let character = |&byte: &u8| match is_printable(byte) {
        true => char::from(byte),
        false => char::from_u32(256 + (0..byte).filter(|&byte| !is_printable(byte)).count() as u32).expect("below 512"),
    };
    bytes.iter().map(character).collect()
}
