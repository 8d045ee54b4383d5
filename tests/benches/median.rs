//! What several turns come to.

/// The one in the middle: a turn that something else on the machine has slowed down does not count.
pub fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
