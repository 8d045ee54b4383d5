//! The numbers of a model: `model.safetensors`.
//!
//! In: the bytes of a mapped file; out: tables over them. And back, row by row, without a second copy of anything.
//!
//! A safetensors file is eight bytes with the length n of the header, n bytes of JSON that gives each tensor's type, shape
//! and place, and the numbers, little-endian and without gaps.

use std::io::{self, Write};
use std::ops::Range;

use byteorder::{ByteOrder, LittleEndian};
use safetensors::{Dtype, SafeTensors};
use serde_json::{Map, json};

use crate::files::FileBytes;
use crate::vectors::embeddings::Rows;

/// What `model.safetensors` holds.
pub(crate) struct Contents {
    pub embeddings: Rows,
    pub nodes: Option<Rows>,
    pub outputs: Option<Rows>,
    pub counts: Option<Vec<u64>>,
}

/// Reads what [`write_tensors`] wrote, or whoever else has a tensor `embeddings` of as many rows as there are tokens.
pub(crate) fn read_tensors(bytes: &FileBytes, n_tokens: usize) -> Result<Contents, String> {
    // The crate checks the length of the header and that tensors fill the file without gaps or overlap.
    let tensors = SafeTensors::deserialize(bytes).map_err(|error| {
        format!("is no whole safetensors file: {error}; was it cut short? copy it again, or train anew")
    })?;
    let place = |data: &[u8]| -> Range<usize> {
        let start = data.as_ptr() as usize - bytes.as_ptr() as usize;
        start..start + data.len()
    };
    let matrix = |name: &str| -> Result<Option<Rows>, String> {
        let Ok(tensor) = tensors.tensor(name) else { return Ok(None) };
        let [n_rows, dim @ (1..)] = *tensor.shape() else {
            return Err(format!("'{name}' has shape {:?}, expected rows and numbers per row", tensor.shape()));
        };
        if tensor.dtype() != Dtype::F32 {
            return Err(format!("'{name}' is of type {}, expected F32: convert it", tensor.dtype()));
        }
        Ok(Some(Rows::from_file(bytes, place(tensor.data()), n_rows, dim)))
    };
    let Some(embeddings) = matrix("embeddings")? else {
        let names = tensors.names().join("', '");
        return Err(format!("has no tensor 'embeddings' but '{names}': not a model of word vectors"));
    };
    if embeddings.n_rows() != n_tokens {
        return Err(format!("'embeddings' has {} rows, tokenizer.json has {n_tokens} tokens", embeddings.n_rows()));
    }
    let beside = |name: &str, wanted: [usize; 2]| match matrix(name)? {
        Some(rows) if [rows.n_rows(), rows.dim()] != wanted => {
            let found = [rows.n_rows(), rows.dim()];
            Err(format!("'{name}' has shape {found:?}, 'embeddings' calls for {wanted:?}"))
        }
        rows => Ok(rows),
    };
    let nodes = beside("nodes", [n_tokens.saturating_sub(1), embeddings.dim()])?;
    let outputs = beside("outputs", [n_tokens, embeddings.dim()])?;
    if nodes.is_some() && outputs.is_some() {
        return Err("has both 'nodes' and 'outputs', expected one of them: it was trained with one loss".to_string());
    }
    let counts = match tensors.tensor("counts") {
        Err(_) => None,
        Ok(tensor) if tensor.shape() != [n_tokens] || !matches!(tensor.dtype(), Dtype::I64 | Dtype::U64) => {
            let (dtype, shape) = (tensor.dtype(), tensor.shape());
            return Err(format!("'counts' is {dtype} {shape:?}, expected I64 [{n_tokens}]"));
        }
        Ok(tensor) => {
            let mut counts = vec![0; n_tokens];
            LittleEndian::read_i64_into(tensor.data(), &mut counts);
            let counts: Result<Vec<u64>, _> = counts.into_iter().map(u64::try_from).collect();
            Some(counts.map_err(|_| "'counts' holds a negative number".to_string())?)
        }
    };
    Ok(Contents { embeddings, nodes, outputs, counts })
}

/// What goes into `model.safetensors`.
pub(crate) struct Tensors<'a> {
    pub counts: Option<&'a [u64]>,
    pub embeddings: Table<'a>,
    pub nodes: Option<Table<'a>>,
    pub outputs: Option<Table<'a>>,
}

/// Rows to write, wherever they lie: `[n_rows, dim]`.
#[derive(Clone, Copy)]
pub(crate) struct Table<'a> {
    pub n_rows: usize,
    pub dim: usize,
    pub row: &'a dyn Fn(usize) -> &'a [f32],
}

/// Writes a safetensors file, row by row.
pub(crate) fn write_tensors(out: &mut dyn Write, tensors: &Tensors<'_>) -> io::Result<()> {
    // The counts stand first: they need eight-byte places, and the rest stays in step with four.
    let counts = tensors.counts.unwrap_or_default();
    let matrices = [
        ("embeddings", Some(&tensors.embeddings)),
        ("nodes", tensors.nodes.as_ref()),
        ("outputs", tensors.outputs.as_ref()),
    ];
    let mut header = Map::new();
    let mut end = 0;
    let mut add = |name: &str, dtype: &str, shape: &[usize], size_bytes: usize| {
        let tensor = json!({ "dtype": dtype, "shape": shape, "data_offsets": [end, end + size_bytes] });
        end += size_bytes;
        header.insert(name.to_string(), tensor);
    };
    if tensors.counts.is_some() {
        add("counts", "I64", &[counts.len()], 8 * counts.len());
    }
    for (name, table) in matrices {
        if let Some(table) = table {
            add(name, "F32", &[table.n_rows, table.dim], 4 * table.n_rows * table.dim);
        }
    }
    // Older versions of transformers refuse a file that doesn't say so.
    header.insert("__metadata__".to_string(), json!({ "format": "pt" }));
    let mut header = serde_json::to_vec(&header)?;
    // Spaces up to a multiple of 64 bytes, so that a mapped file has its numbers where they can be used in place.
    header.resize((8 + header.len()).next_multiple_of(64) - 8, b' ');
    out.write_all(&(header.len() as u64).to_le_bytes())?;
    out.write_all(&header)?;

    for &count in counts {
        let count = i64::try_from(count).map_err(|_| io::Error::other(format!("a count of {count} is too large")))?;
        out.write_all(&count.to_le_bytes())?;
    }
    for table in matrices.into_iter().filter_map(|(_, table)| table) {
        let mut bytes = vec![0; 4 * table.dim];
        for row in 0..table.n_rows {
            LittleEndian::write_f32_into((table.row)(row), &mut bytes);
            out.write_all(&bytes)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::math::Matrix;

    fn matrix(n_rows: usize, dim: usize) -> Matrix {
        let mut matrix = Matrix::zeros(n_rows, dim);
        for row in 0..n_rows {
            matrix.row_mut(row).iter_mut().enumerate().for_each(|(i, x)| *x = (row * dim + i) as f32 / 7.0);
        }
        matrix
    }

    fn tensors() -> Vec<u8> {
        let (input, output) = (matrix(3, 5), matrix(2, 5));
        let (input_row, output_row) = (|row| input.row(row), |row| output.row(row));
        let tensors = Tensors {
            counts: Some(&[9, 4, 0]),
            embeddings: Table { n_rows: 3, dim: 5, row: &input_row },
            nodes: Some(Table { n_rows: 2, dim: 5, row: &output_row }),
            outputs: None,
        };
        let mut bytes = Vec::new();
        write_tensors(&mut bytes, &tensors).unwrap();
        bytes
    }

    #[test]
    fn tensors_read_back_as_they_were() {
        let contents = read_tensors(&FileBytes::from(tensors()), 3).unwrap();
        assert_eq!(contents.counts, Some(vec![9, 4, 0]));
        let nodes = contents.nodes.unwrap();
        for (rows, original) in [(&contents.embeddings, matrix(3, 5)), (&nodes, matrix(2, 5))] {
            assert_eq!((rows.n_rows(), rows.dim()), (original.n_rows(), original.dim()));
            (0..rows.n_rows()).for_each(|row| assert_eq!(rows.row(row), original.row(row)));
        }
    }

    #[test]
    fn every_prefix_is_an_error() {
        let bytes = tensors();
        for end in 0..bytes.len() {
            assert!(read_tensors(&FileBytes::from(bytes[..end].to_vec()), 3).is_err(), "{end} bytes");
        }
    }

    fn with_header(header: &str, data: usize) -> FileBytes {
        let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
        bytes.extend_from_slice(header.as_bytes());
        bytes.resize(bytes.len() + data, 0);
        FileBytes::from(bytes)
    }

    #[test]
    fn every_lie_of_a_header_is_an_error_that_says_so() {
        let tensor = |name: &str, dtype: &str, shape: &str, from: usize, to: usize| {
            format!(r#""{name}":{{"dtype":"{dtype}","shape":{shape},"data_offsets":[{from},{to}]}}"#)
        };
        let good = tensor("embeddings", "F32", "[2,1]", 0, 8);
        let cases = [
            (tensor("embedding.weight", "F32", "[2,1]", 0, 8), 8, "no tensor 'embeddings'"),
            (tensor("embeddings", "F16", "[2,2]", 0, 8), 8, "F16"),
            (tensor("embeddings", "F32", "[2]", 0, 8), 8, "shape [2]"),
            (tensor("embeddings", "F32", "[3,1]", 0, 12), 12, "3 rows"),
            (tensor("embeddings", "F32", "[2,0]", 0, 0), 0, "shape [2, 0]"),
            (tensor("embeddings", "F32", "[2,99999999999999]", 0, 8), 8, ""),
            (tensor("embeddings", "F32", "[18446744073709551615,18446744073709551615]", 0, 8), 8, ""),
            (tensor("embeddings", "F32", "[2,1]", 4, 12), 12, ""),
            (format!("{good},{}", tensor("nodes", "F32", "[2,1]", 8, 16)), 16, "'nodes'"),
            (format!("{good},{}", tensor("nodes", "F32", "[1,1]", 4, 8)), 8, ""),
            (format!("{good},{}", tensor("outputs", "F32", "[1,1]", 8, 12)), 12, "'outputs'"),
            (format!("{good},{}", tensor("outputs", "F16", "[2,1]", 8, 12)), 12, "'outputs'"),
            (
                format!(
                    "{good},{},{}",
                    tensor("nodes", "F32", "[1,1]", 8, 12),
                    tensor("outputs", "F32", "[2,1]", 12, 20)
                ),
                20,
                "both",
            ),
            (format!("{good},{}", tensor("counts", "F32", "[2]", 8, 16)), 16, "'counts'"),
            (format!("{good},{}", tensor("counts", "I64", "[1]", 8, 16)), 16, "'counts'"),
            (good.clone(), 12, ""),
        ];
        for (header, data, wanted) in cases {
            let error = read_tensors(&with_header(&format!("{{{header}}}"), data), 2).err();
            assert!(error.as_ref().is_some_and(|error| error.contains(wanted)), "{header}: {error:?}");
        }
        assert!(read_tensors(&with_header(&format!("{{{good}}}"), 8), 2).is_ok(), "the good one is good");
        assert!(read_tensors(&with_header(&"[".repeat(100_000), 8), 2).is_err(), "deep JSON");
        assert!(read_tensors(&FileBytes::from(vec![0xff_u8; 64]), 2).is_err(), "a header of 2^64 bytes");
    }
}
