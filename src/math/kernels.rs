//! Sums and products over rows.

/// The inner product of two rows of equal length.
pub fn dot(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len());
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// The inner products of `query` with each of the rows, `[n_rows, dim]` packed without padding; `out` is `[n_rows]`.
pub fn row_dots(rows: &[f32], query: &[f32], out: &mut [f32]) {
    assert_eq!(rows.len(), query.len() * out.len());
    for (row, out) in rows.chunks_exact(query.len()).zip(out) {
        *out = dot(row, query);
    }
}
