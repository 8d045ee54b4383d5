//! Large tables of numbers that are read here and there.
//!
//! In small pages each access to such a table also misses the processor's list of pages. So large tables ask the system
//! for large pages, before anything is written to them; where it has none, nothing is lost.

use bytemuck::Pod;
use memmap2::MmapMut;

/// From this size on large pages (2 MiB on most machines) are worth while.
const LARGE: usize = 4 << 20;

/// A table that is zero at first.
#[derive(Debug)]
pub(crate) struct Zeroed<T> {
    memory: Memory<T>,
    len: usize,
}

#[derive(Debug)]
enum Memory<T> {
    Mapped(MmapMut),
    Owned(Vec<T>),
}

impl<T: Pod> Zeroed<T> {
    /// A table of `len` zeros.
    pub(crate) fn new(len: usize) -> Zeroed<T> {
        let memory = match len.checked_mul(size_of::<T>()) {
            Some(size) if size >= LARGE => MmapMut::map_anon(size).ok().map(|map| {
                // A wish, not a need.
                #[cfg(target_os = "linux")]
                let _ = map.advise(memmap2::Advice::HugePage);
                Memory::Mapped(map)
            }),
            _ => None,
        };
        Zeroed { memory: memory.unwrap_or_else(|| Memory::Owned(vec![T::zeroed(); len])), len }
    }

    /// The table.
    #[inline]
    pub(crate) fn as_slice(&self) -> &[T] {
        match &self.memory {
            Memory::Mapped(map) => &bytemuck::cast_slice(map)[..self.len],
            Memory::Owned(vec) => vec,
        }
    }

    /// The table, to write to.
    #[inline]
    pub(crate) fn as_mut_slice(&mut self) -> &mut [T] {
        match &mut self.memory {
            Memory::Mapped(map) => &mut bytemuck::cast_slice_mut(map)[..self.len],
            Memory::Owned(vec) => vec,
        }
    }
}

impl<T: Pod> Default for Zeroed<T> {
    fn default() -> Zeroed<T> {
        Zeroed { memory: Memory::Owned(Vec::new()), len: 0 }
    }
}

impl<T: Pod> Clone for Zeroed<T> {
    fn clone(&self) -> Zeroed<T> {
        let mut copy = Zeroed::new(self.len);
        copy.as_mut_slice().copy_from_slice(self.as_slice());
        copy
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_and_large_tables_are_zero_and_keep_what_is_written() {
        for len in [0, 1, 1000, LARGE / 16, LARGE / 16 + 3] {
            let mut table: Zeroed<u128> = Zeroed::new(len);
            assert_eq!(table.as_slice().len(), len);
            assert!(table.as_slice().iter().all(|&number| number == 0));
            if let Some(last) = table.as_mut_slice().last_mut() {
                *last = 7;
                assert_eq!(table.clone().as_slice().last(), Some(&7));
            }
        }
        assert!(Zeroed::<u8>::default().as_slice().is_empty());
    }
}
