//! Which rows of a large matrix some work touches, and where each of them stands in a small one.
//!
//! In: rows, as they are met. Out: the rows in rising order, and for each its place in that order. A bit per row and a
//! sum per 64 rows are all it takes, so that looking a row up stays within the nearest cache.

/// Some of the rows of a matrix.
#[derive(Debug)]
pub(crate) struct RowSet {
    // Bit r of word w is row 64·w + r.
    words: Vec<u64>,
    // How many rows are in the words before each word; true after `number`.
    before: Vec<u32>,
    rows: Vec<u32>,
}

impl RowSet {
    /// None of `n_rows` rows.
    pub(crate) fn none_of(n_rows: usize) -> RowSet {
        let n_words = n_rows.div_ceil(64);
        RowSet { words: vec![0; n_words], before: vec![0; n_words], rows: Vec::new() }
    }

    /// Adds a row.
    #[inline(always)]
    pub(crate) fn insert(&mut self, row: u32) {
        self.words[row as usize / 64] |= 1 << (row % 64);
    }

    /// Counts the rows, after which [`rows`](Self::rows) and [`place`](Self::place) hold.
    pub(crate) fn number(&mut self) {
        self.rows.clear();
        for (w, &word) in self.words.iter().enumerate() {
            self.before[w] = self.rows.len() as u32;
            let mut rest = word;
            while rest != 0 {
                self.rows.push(64 * w as u32 + rest.trailing_zeros());
                rest &= rest - 1;
            }
        }
    }

    /// The rows, rising.
    pub(crate) fn rows(&self) -> &[u32] {
        &self.rows
    }

    /// Where `row`, which must be in the set, stands among the rows.
    #[inline(always)]
    pub(crate) fn place(&self, row: u32) -> u32 {
        let (w, below) = (row as usize / 64, (1u64 << (row % 64)) - 1);
        self.before[w] + (self.words[w] & below).count_ones()
    }

    /// Takes all rows out again.
    pub(crate) fn clear(&mut self) {
        for &row in &self.rows {
            self.words[row as usize / 64] = 0;
        }
        self.rows.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_rise_and_each_has_its_place_also_after_clearing() {
        let mut set = RowSet::none_of(200);
        for rows in [&[199, 0, 64, 63, 0, 65][..], &[1], &[], &[128, 127, 129]] {
            rows.iter().for_each(|&row| set.insert(row));
            set.number();
            let mut sorted = rows.to_vec();
            sorted.sort();
            sorted.dedup();
            assert_eq!(set.rows(), sorted);
            for (place, &row) in sorted.iter().enumerate() {
                assert_eq!(set.place(row), place as u32);
            }
            set.clear();
        }
    }
}
