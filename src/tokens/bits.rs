//! Sets of small numbers, a bit for each.

/// Whether a number is in the set.
#[inline]
pub(super) fn has(bits: &[u64], at: usize) -> bool {
    bits[at / 64] >> (at % 64) & 1 == 1
}

/// Puts a number into the set.
#[inline]
pub(super) fn put(bits: &mut [u64], at: usize) {
    bits[at / 64] |= 1 << (at % 64);
}

/// Takes a number out of the set and tells whether it was in it.
#[inline]
pub(super) fn take(bits: &mut [u64], at: usize) -> bool {
    let was = has(bits, at);
    bits[at / 64] &= !(1 << (at % 64));
    was
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_in_a_set_from_when_they_are_put_until_they_are_taken() {
        let mut bits = [0; 3];
        for at in [0, 63, 64, 191] {
            assert!(!has(&bits, at) && !take(&mut bits, at));
            put(&mut bits, at);
            put(&mut bits, at);
            assert!(has(&bits, at));
        }
        assert_eq!(bits, [1 | 1 << 63, 1, 1 << 63]);
        assert!(take(&mut bits, 63) && !has(&bits, 63) && has(&bits, 64));
    }
}
