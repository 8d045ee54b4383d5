//! Numbers in rows and columns, with labels, for people.

use serde::ser::SerializeStruct;
use serde::{Serialize, Serializer};

/// A matrix to look at.
#[derive(Debug, Clone, PartialEq)]
pub struct LabelledMatrix {
    /// What it is called beside others of the same step: `head 1`. Empty where it is alone.
    pub title: String,
    /// A label for each row: the token, as a rule. May hold control characters: escape them before printing.
    pub rows: Vec<String>,
    /// A label for each column.
    pub columns: Vec<String>,
    /// Row by row. May hold −∞, where attention is masked, and whatever a broken model comes to.
    pub numbers: Vec<f32>,
    /// Whether these are whole numbers, like ids.
    pub is_whole: bool,
}

impl LabelledMatrix {
    /// A matrix whose columns are numbered from 0.
    pub(super) fn new(title: impl Into<String>, rows: &[String], numbers: Vec<f32>) -> LabelledMatrix {
        let n_columns = numbers.len().checked_div(rows.len()).unwrap_or(0);
        let columns = (0..n_columns).map(|column| column.to_string()).collect();
        LabelledMatrix::labelled(title, rows, columns, numbers)
    }

    /// A matrix whose columns have names.
    pub(super) fn labelled(
        title: impl Into<String>,
        rows: &[String],
        columns: Vec<String>,
        numbers: Vec<f32>,
    ) -> LabelledMatrix {
        assert_eq!(numbers.len(), rows.len() * columns.len(), "a number for each row and column");
        LabelledMatrix { title: title.into(), rows: rows.to_vec(), columns, numbers, is_whole: false }
    }

    /// One of its rows.
    pub fn row(&self, row: usize) -> &[f32] {
        &self.numbers[row * self.columns.len()..][..self.columns.len()]
    }

    /// The largest size of a finite number in it; 0 where there is none.
    pub fn largest(&self) -> f32 {
        self.numbers.iter().filter(|x| x.is_finite()).fold(0.0, |largest, x| x.abs().max(largest))
    }

    /// A number of it as text: `0.123`, `−∞`, `NaN`.
    pub fn text(&self, number: f32, digits: usize) -> String {
        if number == f32::NEG_INFINITY {
            return "−∞".to_string();
        }
        if number == f32::INFINITY {
            return "∞".to_string();
        }
        if number.is_nan() {
            return "NaN".to_string();
        }
        let digits = if self.is_whole { 0 } else { digits };
        // Beyond seven digits an f32 has nothing more to say, and a column would grow by thirty.
        let text = match number.abs() >= 1e7 {
            true => format!("{number:.digits$e}"),
            false => format!("{number:.digits$}"),
        };
        // A small number that rounds to nothing has no sign worth showing.
        match text.strip_prefix('-') {
            Some(rest) if rest.bytes().all(|byte| matches!(byte, b'0' | b'.')) => rest.to_string(),
            _ => text,
        }
    }
}

impl Serialize for LabelledMatrix {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut object = serializer.serialize_struct("LabelledMatrix", 4)?;
        object.serialize_field("title", &self.title)?;
        object.serialize_field("rows", &self.rows)?;
        object.serialize_field("columns", &self.columns)?;
        let rows: Vec<&[f32]> = (0..self.rows.len()).map(|row| self.row(row)).collect();
        object.serialize_field("numbers", &rows)?;
        object.end()
    }
}

/// A place in a list that is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shown {
    /// This one.
    At(usize),
    /// Some are left out here.
    Gap,
}

/// Which of `n` are shown where there is room for `most`: all, or the first and the last ones with a gap between them.
///
/// # Example
/// ```
/// use wordgrove::transformer::look::{Shown, shown};
/// assert_eq!(shown(3, 3), [0, 1, 2].map(Shown::At));
/// assert_eq!(shown(9, 4), [Shown::At(0), Shown::At(1), Shown::Gap, Shown::At(8)]);
/// ```
pub fn shown(n: usize, most: usize) -> Vec<Shown> {
    if n <= most {
        return (0..n).map(Shown::At).collect();
    }
    let first = most / 2;
    let last = most.saturating_sub(first + 1);
    (0..first).map(Shown::At).chain([Shown::Gap]).chain((n - last..n).map(Shown::At)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strange_numbers_are_shown_as_what_they_are() {
        let matrix = LabelledMatrix::new("", &["a".to_string()], vec![0.0]);
        let text = |x: f32| matrix.text(x, 3);
        assert_eq!([text(0.12345), text(-0.0001), text(f32::NEG_INFINITY)], ["0.123", "0.000", "−∞"]);
        assert_eq!([text(f32::NAN), text(f32::INFINITY), text(-3.4e38)], ["NaN", "∞", "-3.400e38"]);
        let strange = LabelledMatrix::new("", &["a".to_string()], vec![f32::NAN, f32::NEG_INFINITY, -2.0]);
        assert_eq!(strange.largest(), 2.0);
        assert_eq!(serde_json::to_value(&strange).unwrap()["numbers"], serde_json::json!([[null, null, -2.0]]));
    }

    #[test]
    fn long_lists_show_both_ends() {
        assert_eq!(shown(0, 5), []);
        for (n, most) in [(6, 5), (7, 1), (100, 2), (100, 20)] {
            let found = shown(n, most);
            assert!(found.len() == most.max(1) && found.contains(&Shown::Gap), "{n} {most}: {found:?}");
        }
    }
}
