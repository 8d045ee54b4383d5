//! The names of rows, when a file brings its own.
//!
//! In: names in row order. Out: the name of a row, the row of a name. All names lie in one string of bytes, and the hash
//! table holds row numbers only: a million words cost their bytes and some twenty more each.

use std::hash::BuildHasher;

use hashbrown::{DefaultHashBuilder, HashTable};

/// Names, each once, numbered in the order in which they came.
#[derive(Debug, Clone, Default)]
pub(crate) struct Names {
    bytes: Vec<u8>,
    /// Name i ends here and begins where the one before it ends.
    ends: Vec<usize>,
    rows: HashTable<u32>,
    /// Seeded at random, so that no file can be made whose names all collide.
    hasher: DefaultHashBuilder,
}

impl Names {
    /// How many names.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// The name of a row.
    pub fn get(&self, row: usize) -> &[u8] {
        name(&self.bytes, &self.ends, row)
    }

    /// The row of a name.
    pub fn find(&self, wanted: &[u8]) -> Option<usize> {
        let hash = self.hasher.hash_one(wanted);
        self.rows.find(hash, |&row| self.get(row as usize) == wanted).map(|&row| row as usize)
    }

    /// Adds a name as the next row; `false`, and nothing added, when there is such a name already.
    pub fn push(&mut self, new: &[u8]) -> bool {
        let Names { bytes, ends, rows, hasher } = self;
        let hash = hasher.hash_one(new);
        if rows.find(hash, |&row| name(bytes, ends, row as usize) == new).is_some() {
            return false;
        }
        let row = u32::try_from(ends.len()).expect("more than 2^32 names");
        bytes.extend_from_slice(new);
        ends.push(bytes.len());
        rows.insert_unique(hash, row, |&row| hasher.hash_one(name(bytes, ends, row as usize)));
        true
    }
}

fn name<'a>(bytes: &'a [u8], ends: &[usize], row: usize) -> &'a [u8] {
    let start = if row == 0 { 0 } else { ends[row - 1] };
    &bytes[start..ends[row]]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_found_by_row_and_rows_by_name() {
        let mut names = Names::default();
        let words: Vec<String> = (0..1000).map(|i| format!("word{}", i * 7)).collect();
        assert!(words.iter().all(|word| names.push(word.as_bytes())));
        assert!(names.push(b""), "an empty name is a name");
        assert!(!names.push(b"word0"), "a second one is not taken");
        assert_eq!(names.len(), 1001);
        for (row, word) in words.iter().enumerate() {
            assert_eq!(names.get(row), word.as_bytes());
            assert_eq!(names.find(word.as_bytes()), Some(row));
        }
        assert_eq!(names.find(b""), Some(1000));
        assert_eq!(names.find(b"word1"), None);
    }
}
