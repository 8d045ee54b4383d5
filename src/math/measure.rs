//! What the kernels bench sees of the kernels: the training step, again and again, and a loop that does nothing but
//! multiply and add, to compare it with.
//!
//! Hidden from the documentation: nobody but `tests/benches/kernels.rs` and `training.rs` needs it.

use std::hint::black_box;

use rand::rngs::Xoshiro256PlusPlus;
use rand::{Rng, SeedableRng};

use crate::math::machine::{Detected, Machine, Work, run};
use crate::math::{Classifiers, Inputs, LogisticBlock, Matrix, SharedMatrix, Step};

/// The names of the machines that this computer has, the plain one first, the widest last.
pub fn machines() -> Vec<&'static str> {
    Detected::all().into_iter().map(Detected::name).collect()
}

fn named(machine: &str) -> Detected {
    let found = Detected::all().into_iter().find(|found| found.name() == machine);
    found.unwrap_or_else(|| panic!("{machine} is not among {:?}", machines()))
}

/// Multiplies and adds in registers on `machine`; returns how many floating point operations that was.
///
/// # Panics
/// When `machine` is none of [`machines`].
pub fn multiply_add(machine: &str, rounds: u64) -> f64 {
    named(machine).run(MultiplyAdd { rounds })
}

/// The same on the machine that training runs on.
pub fn multiply_add_here(rounds: u64) -> f64 {
    run(MultiplyAdd { rounds })
}

struct MultiplyAdd {
    rounds: u64,
}

impl Work for MultiplyAdd {
    type Output = f64;

    #[inline(always)]
    fn run<M: Machine>(self, m: M) -> f64 {
        // Enough sums that none waits for itself, few enough for sixteen registers beside the factors.
        const SUMS: usize = 12;
        let (a, b) = (m.splat(black_box(0.5)), m.splat(black_box(1.0)));
        let mut sums = [m.splat(black_box(1.0)); SUMS];
        for _ in 0..self.rounds {
            for i in 0..SUMS {
                sums[i] = m.fma(sums[i], a, b);
            }
        }
        let mut total = sums[0];
        for i in 1..SUMS {
            total = m.add(total, sums[i]);
        }
        black_box(m.sum(total));
        self.rounds as f64 * (2 * SUMS * M::LANES) as f64
    }
}

/// Training steps at one shape: windows and paths drawn at random, rows that fit the second cache.
#[derive(Debug)]
pub struct BlockSteps {
    inputs: Matrix,
    outputs: Matrix,
    windows: Vec<u32>,
    nodes: Vec<u32>,
    bits: Vec<u8>,
    n_inputs: usize,
    path_len: usize,
}

/// How many different steps there are, and how many rows of inputs and, at each depth of the tree, of nodes.
const N_STEPS: usize = 512;
const N_INPUTS: usize = 64;
const NODES_PER_DEPTH: usize = 16;

impl BlockSteps {
    /// Steps of `n_inputs` contexts against `path_len` nodes, rows of `dim` numbers.
    pub fn new(dim: usize, n_inputs: usize, path_len: usize) -> BlockSteps {
        let mut random = Xoshiro256PlusPlus::seed_from_u64(1);
        let mut below = |n: usize| (random.next_u64() >> 33) as usize % n;
        let mut filled = |n_rows: usize| {
            let mut matrix = Matrix::zeros(n_rows, dim);
            for row in 0..n_rows {
                matrix.row_mut(row).iter_mut().for_each(|x| *x = (below(2001) as f32 / 1000.0 - 1.0) / dim as f32);
            }
            matrix
        };
        let (inputs, outputs) = (filled(N_INPUTS), filled(NODES_PER_DEPTH * path_len));
        BlockSteps {
            inputs,
            outputs,
            windows: (0..N_STEPS * (n_inputs + 1)).map(|_| below(N_INPUTS) as u32).collect(),
            nodes: (0..N_STEPS * path_len)
                .map(|i| {
                    let depth = i % path_len;
                    let width = NODES_PER_DEPTH.min(1 << depth.min(16));
                    (depth * NODES_PER_DEPTH + below(width)) as u32
                })
                .collect(),
            bits: (0..N_STEPS * path_len).map(|_| below(2) as u8).collect(),
            n_inputs,
            path_len,
        }
    }

    /// Takes 512 steps `rounds` times on `machine`; returns how many floating point operations the three products of
    /// these steps have, 6 · inputs · nodes · dim each, the padding of rows not counted.
    ///
    /// # Panics
    /// When `machine` is none of [`machines`].
    pub fn run(&mut self, machine: &str, rounds: u64) -> f64 {
        let flops = 6 * self.n_inputs * self.path_len * self.inputs.dim();
        black_box(named(machine).run(Steps { steps: self, rounds }));
        rounds as f64 * (N_STEPS * flops) as f64
    }
}

struct Steps<'a> {
    steps: &'a mut BlockSteps,
    rounds: u64,
}

impl Work for Steps<'_> {
    type Output = f64;

    #[inline(always)]
    fn run<M: Machine>(self, m: M) -> f64 {
        let BlockSteps { inputs, outputs, windows, nodes, bits, n_inputs, path_len } = self.steps;
        let mut block = LogisticBlock::new(SharedMatrix::new(inputs), SharedMatrix::new(outputs), None);
        for _ in 0..self.rounds {
            for step in 0..N_STEPS {
                let window = &windows[step * (*n_inputs + 1)..][..*n_inputs + 1];
                let path = step * *path_len..(step + 1) * *path_len;
                let classifiers = Classifiers { nodes: &nodes[path.clone()], bits: &bits[path] };
                // So small a rate that no number grows out of its range, however often.
                block.step_inputs(m, classifiers, Inputs::around(window, 0), Step::Learn(1e-6));
            }
        }
        block.take_loss()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_loops_count_what_they_do_and_the_steps_move_the_rows() {
        for machine in machines() {
            assert!(multiply_add(machine, 10) >= 10.0 * 2.0 * 12.0 * 4.0);
            let mut steps = BlockSteps::new(20, 3, 5);
            let before = steps.outputs.as_slice().to_vec();
            assert_eq!(steps.run(machine, 2), (2 * N_STEPS * 6 * 3 * 5 * 20) as f64);
            assert_ne!(steps.outputs.as_slice(), before);
        }
    }
}
