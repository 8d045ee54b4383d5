//! Many byte strings in one place, by number, and back.

use std::hash::BuildHasher;

use hashbrown::{DefaultHashBuilder, HashTable};

/// So many bytes are copied at once.
const OVER: usize = 16;

/// Room for so many bytes of each string in a text that is put together; English has five.
const USUAL: usize = 6;

/// The length of all strings of so many bytes and more; of an empty one only where its number is not used.
const LONG: u64 = 255;

/// Byte strings, numbered from 0 in the order they came, all in one stretch of memory.
#[derive(Debug, Clone, Default)]
pub(crate) struct TokenTable {
    bytes: Vec<u8>,
    /// Where each begins, above 8 bits of its length up to [`LONG`].
    spans: Vec<u64>,
    /// The numbers, by the hash of their bytes.
    numbers: HashTable<u32>,
    /// Drawn anew for each table: strings come from files, and must not be able to choose where they all meet.
    hasher: DefaultHashBuilder,
}

impl TokenTable {
    /// An empty table with room for so many strings of so many bytes together.
    pub(crate) fn with_capacity(n: usize, n_bytes: usize) -> TokenTable {
        TokenTable {
            bytes: Vec::with_capacity(n_bytes),
            spans: Vec::with_capacity(n),
            numbers: HashTable::with_capacity(n),
            hasher: DefaultHashBuilder::default(),
        }
    }

    /// How many strings there are.
    pub(crate) fn len(&self) -> usize {
        self.spans.len()
    }

    /// The string of a number, which must be below [`len`](Self::len).
    #[inline]
    pub(crate) fn get(&self, number: usize) -> &[u8] {
        get(&self.bytes, &self.spans, number)
    }

    /// The strings of these numbers, one after the other; the error is the place of the first number that there is not, or
    /// that is not used.
    pub(crate) fn join(&self, numbers: impl ExactSizeIterator<Item = usize>) -> Result<Vec<u8>, usize> {
        // Zeros that nobody writes over take no memory.
        let mut joined = vec![0; numbers.len() * USUAL + OVER];
        let mut at = 0;
        for (place, number) in numbers.enumerate() {
            let span = *self.spans.get(number).ok_or(place)?;
            let (start, len) = ((span >> 8) as usize, (span & LONG) as usize);
            let from = self.bytes.get(start..).and_then(<[u8]>::first_chunk::<OVER>);
            // Nearly all strings are short, and copying a fixed length is quicker than copying theirs: what is copied too
            // much is written over by the next.
            match (from, joined.get_mut(at..).and_then(<[u8]>::first_chunk_mut::<OVER>)) {
                (Some(from), Some(to)) if len <= OVER => {
                    *to = *from;
                    at += len;
                }
                _ => {
                    let token = self.get(number);
                    if token.is_empty() && len > 0 {
                        return Err(place);
                    }
                    if joined.len() < at + token.len() + OVER {
                        joined.resize(2 * joined.len() + token.len(), 0);
                    }
                    joined[at..at + token.len()].copy_from_slice(token);
                    at += token.len();
                }
            }
        }
        joined.truncate(at);
        Ok(joined)
    }

    /// The number of a string.
    pub(crate) fn find(&self, token: &[u8]) -> Option<u32> {
        let same = |&number: &u32| self.get(number as usize) == token;
        self.numbers.find(self.hasher.hash_one(token), same).copied()
    }

    /// The number of a string, which is added if it is not there yet.
    pub(crate) fn find_or_add(&mut self, token: &[u8]) -> u32 {
        if let Some(number) = self.find(token) {
            return number;
        }
        self.push(token);
        self.len() as u32 - 1
    }

    /// Adds a string; if it is there already, [`find`](Self::find) keeps giving the first.
    ///
    /// # Panics
    /// At the 2³²nd string.
    pub(crate) fn push(&mut self, token: &[u8]) {
        let number = u32::try_from(self.len()).expect("fewer than 2^32 different strings");
        let known = self.find(token).is_some();
        self.push_hidden(token);
        if !known {
            let (bytes, spans, hasher) = (&self.bytes, &self.spans, &self.hasher);
            let hash = |&number: &u32| hasher.hash_one(get(bytes, spans, number as usize));
            self.numbers.insert_unique(hasher.hash_one(token), number, hash);
        }
    }

    /// Adds a string that [`find`](Self::find) does not know.
    ///
    /// # Panics
    /// At the 2³²nd string.
    pub(crate) fn push_hidden(&mut self, token: &[u8]) {
        assert!(self.len() < u32::MAX as usize, "fewer than 2^32 strings");
        self.spans.push((self.bytes.len() as u64) << 8 | (token.len() as u64).min(LONG));
        self.bytes.extend_from_slice(token);
    }

    /// Leaves the next number unused: [`get`](Self::get) has no bytes for it, and [`join`](Self::join) refuses it.
    pub(crate) fn push_unused(&mut self) {
        self.push_hidden(b"");
        if let Some(span) = self.spans.last_mut() {
            *span |= LONG;
        }
    }

    /// Whether a number, which must be below [`len`](Self::len), has been left unused.
    pub(crate) fn is_unused(&self, number: usize) -> bool {
        self.spans[number] & LONG == LONG && self.get(number).is_empty()
    }

    /// All strings, in the order of their numbers.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &[u8]> {
        (0..self.len()).map(|number| self.get(number))
    }
}

#[inline]
fn get<'a>(bytes: &'a [u8], spans: &[u64], number: usize) -> &'a [u8] {
    let start = (spans[number] >> 8) as usize;
    let end = match spans[number] & LONG {
        LONG => spans.get(number + 1).map_or(bytes.len(), |next| (next >> 8) as usize),
        len => start + len as usize,
    };
    &bytes[start..end]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_have_numbers_and_numbers_have_strings() {
        let mut table = TokenTable::default();
        for round in 0..2 {
            for number in 0..1000u32 {
                assert_eq!(table.find_or_add(format!("w{number}").as_bytes()), number, "round {round}");
            }
        }
        assert_eq!(table.len(), 1000);
        assert_eq!(table.get(999), b"w999");
        assert_eq!(table.find(b"w1000"), None);
        table.push(b"w7");
        assert_eq!((table.find(b"w7"), table.get(1000)), (Some(7), &b"w7"[..]));
        assert_eq!(table.find_or_add(b""), 1001);
        assert_eq!(table.iter().count(), 1002);
        table.push(&[7; 400]);
        let numbers = [999, 1001, 1002, 0, 1002, 5];
        let expected = [&b"w999"[..], b"", &[7; 400], b"w0", &[7; 400], b"w5"].concat();
        assert_eq!(table.join(numbers.into_iter()).unwrap(), expected);
        assert_eq!(table.join([3, 1003, 2000].into_iter()), Err(1));
        assert_eq!(table.join([].into_iter()).unwrap(), b"");
        table.push_unused();
        table.push(b"last");
        assert!(table.is_unused(1003) && !table.is_unused(1001) && !table.is_unused(1002));
        assert_eq!(table.join([1001, 1004, 1003].into_iter()), Err(2));
        assert_eq!(table.join([1002, 1004].into_iter()).unwrap().len(), 404);
    }

    #[test]
    fn strings_of_any_length_are_put_together() {
        let mut table = TokenTable::default();
        (0..60).for_each(|len| table.push(&vec![len as u8; len]));
        for longest in [1, 5, 8, 16, 17, 60] {
            let numbers: Vec<usize> = (0..3000).map(|i| longest - 1 - i % longest).collect();
            let expected: Vec<u8> = numbers.iter().flat_map(|&number| table.get(number)).copied().collect();
            assert_eq!(table.join(numbers.into_iter()).unwrap(), expected, "up to {longest}");
        }
    }

    #[test]
    fn strings_cannot_be_chosen_so_that_all_meet() {
        // rustc-hash gives them all one hash: their second half makes a factor 0.
        let table = TokenTable::default();
        let strings = (0..1000u64).map(|first| [first.to_le_bytes(), 0x1319_8a2e_0370_7344u64.to_le_bytes()].concat());
        let hashes: hashbrown::HashSet<u64> = strings.map(|string| table.hasher.hash_one(&string[..])).collect();
        assert_eq!(hashes.len(), 1000);
        assert_ne!(table.hasher.hash_one("a"), TokenTable::default().hasher.hash_one("a"));
    }
}
