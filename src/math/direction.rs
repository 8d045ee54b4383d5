//! Lengths and directions of vectors.

use crate::math::dot;

/// The Euclidean length of a vector.
pub fn norm(vector: &[f32]) -> f32 {
    let squares = dot(vector, vector);
    if squares.is_normal() {
        return squares.sqrt();
    }
    // The squares left the range of f32, which the length itself need not do.
    vector.iter().map(|&x| f64::from(x) * f64::from(x)).sum::<f64>().sqrt() as f32
}

/// Whether a vector of this length points anywhere.
pub fn is_direction(norm: f32) -> bool {
    norm.is_finite() && norm > 0.0
}

/// A vector of length 1 in the same direction; zeros when there is none.
pub fn unit(vector: &[f32]) -> Vec<f32> {
    let norm = norm(vector);
    if !is_direction(norm) {
        return vec![0.0; vector.len()];
    }
    vector.iter().map(|x| x / norm).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_euclidean_also_at_the_ends_of_the_range() {
        for scale in [1.0, 1e30, 1e-30] {
            let found = norm(&[3.0 * scale, 4.0 * scale]);
            // Rounded twice: the scaled numbers, and the root.
            assert!((found / (5.0 * scale) - 1.0).abs() < 3e-7, "{found}");
        }
        assert!(unit(&[3e30, 4e30]).iter().zip([0.6, 0.8]).all(|(found, wanted)| (found - wanted).abs() < 1e-6));
    }

    #[test]
    fn nothing_and_nowhere_have_no_direction() {
        for vector in [[0.0, 0.0], [f32::NAN, 1.0], [f32::INFINITY, 1.0]] {
            assert!(!is_direction(norm(&vector)));
            assert_eq!(unit(&vector), [0.0, 0.0]);
        }
        assert_eq!(norm(&[]), 0.0);
    }
}
