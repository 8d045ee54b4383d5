//! A worker's own copy of the rows that everybody writes.
//!
//! Every step touches the root of the tree, half of them each of its children, and so on. Were those rows shared, each
//! of their cache lines would travel between the cores with every step, and a second worker would gain nothing. So each
//! worker steps on a copy of the first rows and now and then brings it together with the shared ones: it adds what it
//! has changed since the last time, and takes over what the others have added. Only merging touches the shared rows,
//! one worker at a time, so that no step is lost.

use std::sync::Mutex;

use crate::math::Matrix;
use crate::math::machine::Machine;
use crate::math::shared::SharedMatrix;

/// A copy of the first rows of a shared matrix.
pub(crate) struct Replica<'a> {
    shared: SharedMatrix<'a>,
    // Held while merging, by whichever worker it is.
    turn: &'a Mutex<()>,
    // The rows as this worker sees them. Only `base` touches them, as steps hold pointers and not references; the
    // matrix is here to be freed.
    base: *mut f32,
    own: Matrix,
    // The rows as they were shared when this worker last looked.
    seen: Matrix,
}

impl<'a> Replica<'a> {
    /// Copies the first `n_rows` rows. All replicas of a matrix take the same `turn`.
    pub(crate) fn new<M: Machine>(m: M, shared: SharedMatrix<'a>, n_rows: usize, turn: &'a Mutex<()>) -> Replica<'a> {
        let zeros = Matrix::zeros(n_rows, shared.stride());
        // Nothing of its own yet: merging zeros that were seen as zeros is copying.
        let mut own = zeros.clone();
        let base = own.as_mut_slice().as_mut_ptr();
        let mut replica = Replica { shared, turn, base, own, seen: zeros };
        replica.merge(m);
        replica
    }

    /// Where this worker's copy of a row is, for rows that it has copied.
    #[inline(always)]
    pub(crate) fn row(&self, row: usize) -> Option<*mut f32> {
        // SAFETY: in bounds of the allocation behind `base`, which moving the matrix does not move.
        (row < self.own.n_rows()).then(|| unsafe { self.base.add(row * self.seen.stride()) })
    }

    /// Adds to the shared rows what this worker has changed, and takes over the result.
    #[inline(always)]
    pub(crate) fn merge<M: Machine>(&mut self, m: M) {
        let _turn = self.turn.lock().expect("no worker panics while it adds numbers");
        let stride = self.seen.stride();
        for row in 0..self.own.n_rows() {
            let shared = self.shared.row(row);
            for at in (0..stride).step_by(M::LANES) {
                // SAFETY: all three have `stride` numbers a row, and the first two belong to this worker.
                unsafe {
                    let own = self.base.add(row * stride + at);
                    let seen = self.seen.as_mut_slice().as_mut_ptr().add(row * stride + at);
                    let changed = m.fma(m.load(seen), m.splat(-1.0), m.load(own));
                    let new = m.add(m.load_shared(shared.add(at)), changed);
                    m.store_shared(shared.add(at), new);
                    m.store(own, new);
                    m.store(seen, new);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::math::machine::{Detected, Work};

    struct TwoWorkers;

    impl Work for TwoWorkers {
        type Output = ();

        #[inline(always)]
        fn run<M: Machine>(self, m: M) {
            let mut matrix = Matrix::zeros(5, 20);
            matrix.row_mut(2).fill(1.0);
            let turn = Mutex::new(());
            let shared = SharedMatrix::new(&mut matrix);
            let mut first = Replica::new(m, shared, 3, &turn);
            let mut second = Replica::new(m, shared, 3, &turn);
            assert!(first.row(3).is_none());
            let add = |replica: &Replica<'_>, row: usize, x: f32| {
                let row = replica.row(row).unwrap();
                // SAFETY: the row has 32 numbers and nobody else looks at it.
                unsafe { *row.add(7) += x };
            };
            add(&first, 2, 0.5);
            add(&second, 2, 0.25);
            add(&second, 0, 3.0);
            first.merge(m);
            second.merge(m);
            first.merge(m);
            second.merge(m); // nothing new: nothing changes
            // SAFETY: as above.
            assert_eq!(unsafe { (*first.row(2).unwrap().add(7), *first.row(0).unwrap().add(7)) }, (1.75, 3.0));
            drop((first, second));
            assert_eq!((matrix.row(2)[7], matrix.row(2)[8], matrix.row(0)[7]), (1.75, 1.0, 3.0));
        }
    }

    #[test]
    fn what_two_workers_changed_adds_up_on_every_machine() {
        Detected::all().into_iter().for_each(|machine| machine.run(TwoWorkers));
    }
}
