//! A worker's own copy of the rows that everybody writes.
//!
//! Every step touches the root of the tree, half of them each of its children, and so on. Were those rows shared, each
//! of their cache lines would travel between the cores with every step, and a second worker would gain nothing. So each
//! worker steps on a copy of the first rows and now and then brings it together with the shared ones: it adds what it
//! has changed since the last time, or the share of it that keeps many workers from overshooting together, and takes over
//! what the others have added. Only merging touches the shared rows, one worker at a time, so that no step is lost.

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
    // How often each has been asked for since.
    visits: Vec<u32>,
}

impl<'a> Replica<'a> {
    /// Copies the first `n_rows` rows. All replicas of a matrix take the same `turn`.
    pub(crate) fn new<M: Machine>(m: M, shared: SharedMatrix<'a>, n_rows: usize, turn: &'a Mutex<()>) -> Replica<'a> {
        let zeros = Matrix::zeros(n_rows, shared.stride());
        // Nothing of its own yet: merging zeros that were seen as zeros is copying.
        let mut own = zeros.clone();
        let base = own.as_mut_slice().as_mut_ptr();
        let mut replica = Replica { shared, turn, base, own, seen: zeros, visits: vec![0; n_rows] };
        replica.merge(m, |_| 1.0);
        replica
    }

    /// Where this worker's copy of a row is, for rows that it has copied; counts as a visit.
    #[inline(always)]
    pub(crate) fn visit(&mut self, row: usize) -> Option<*mut f32> {
        *self.visits.get_mut(row)? += 1;
        // SAFETY: as many visits are counted as there are rows: in bounds of the allocation behind `base`, which moving
        // the matrix does not move.
        Some(unsafe { self.base.add(row * self.seen.stride()) })
    }

    /// Adds to each shared row `share(visits)` times what this worker has changed in so many visits since the last time,
    /// and takes over the result.
    #[inline(always)]
    pub(crate) fn merge<M: Machine>(&mut self, m: M, share: impl Fn(u32) -> f32) {
        let _turn = self.turn.lock().expect("no worker panics while it adds numbers");
        let stride = self.seen.stride();
        for row in 0..self.own.n_rows() {
            let shared = self.shared.row(row);
            let share = m.splat(share(std::mem::take(&mut self.visits[row])));
            for at in (0..stride).step_by(M::LANES) {
                // SAFETY: all three have `stride` numbers a row, and the first two belong to this worker.
                unsafe {
                    let own = self.base.add(row * stride + at);
                    let seen = self.seen.as_mut_slice().as_mut_ptr().add(row * stride + at);
                    let changed = m.fma(m.load(seen), m.splat(-1.0), m.load(own));
                    let new = m.fma(share, changed, m.load_shared(shared.add(at)));
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
            assert!(first.visit(3).is_none());
            let add = |replica: &mut Replica<'_>, row: usize, x: f32| {
                let row = replica.visit(row).unwrap();
                // SAFETY: the row has 32 numbers and nobody else looks at it.
                unsafe { *row.add(7) += x };
            };
            add(&mut first, 2, 0.5);
            add(&mut second, 2, 0.25);
            add(&mut second, 0, 3.0);
            let whole = |_| 1.0;
            first.merge(m, whole);
            second.merge(m, whole);
            first.merge(m, whole);
            second.merge(m, whole); // nothing new: nothing changes
            // SAFETY: as above.
            assert_eq!(unsafe { (*first.visit(2).unwrap().add(7), *first.visit(0).unwrap().add(7)) }, (1.75, 3.0));
            // The second visit of row 2 since: what has changed counts half.
            add(&mut first, 2, 1.0);
            first.merge(m, |visits| if visits == 2 { 0.5 } else { 1.0 });
            second.merge(m, whole);
            drop((first, second));
            assert_eq!((matrix.row(2)[7], matrix.row(2)[8], matrix.row(0)[7]), (2.25, 1.0, 3.0));
        }
    }

    /// What a row comes to when sixteen workers each take it most of the way to 1 at once, again and again.
    struct SixteenAtOnce {
        share: f32,
    }

    impl Work for SixteenAtOnce {
        type Output = f32;

        #[inline(always)]
        fn run<M: Machine>(self, m: M) -> f32 {
            let mut matrix = Matrix::zeros(1, 1);
            let turn = Mutex::new(());
            let shared = SharedMatrix::new(&mut matrix);
            let mut workers: Vec<Replica<'_>> = (0..16).map(|_| Replica::new(m, shared, 1, &turn)).collect();
            for _ in 0..10 {
                for worker in &mut workers {
                    let row = worker.visit(0).unwrap();
                    // SAFETY: the row has 16 numbers and nobody else looks at it.
                    unsafe { *row += 0.9 * (1.0 - *row) };
                }
                workers.iter_mut().for_each(|worker| worker.merge(m, |_| self.share));
            }
            drop(workers);
            matrix.row(0)[0]
        }
    }

    #[test]
    fn many_workers_overshoot_together_unless_each_brings_its_share() {
        for machine in Detected::all() {
            assert!((machine.run(SixteenAtOnce { share: 1.0 / 16.0 }) - 1.0).abs() < 0.1);
            assert!(machine.run(SixteenAtOnce { share: 1.0 }).abs() > 1e6);
        }
    }

    #[test]
    fn what_two_workers_changed_adds_up_on_every_machine() {
        Detected::all().into_iter().for_each(|machine| machine.run(TwoWorkers));
    }
}
