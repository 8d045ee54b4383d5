//! The training step as a share of what the processor can do.
//!
//! `cargo bench --bench kernels`, on one thread, in CPU seconds. For each machine that this computer has, a loop of
//! nothing but fused multiply-adds and the block of products of the training step take turns; the step's useful
//! operations (6 · contexts · nodes · dim, padding not counted) are given in 10⁹ a second and as a share of the loop's.

#[path = "clock.rs"]
mod clock;
#[path = "median.rs"]
mod median;

use clock::Clock;
use median::median;
use wordgrove::math::measure::{BlockSteps, machines, multiply_add};

/// What one measurement should take, in seconds, and how many there are.
const SECONDS: f64 = 0.1;
const TURNS: usize = 7;

/// The mean length of a path in the tree of an English text.
const PATH_LEN: usize = 12;

fn main() {
    println!("| machine | dim | contexts | 10⁹ operations/s | of multiply-add |");
    println!("|---|---|---|---|---|");
    for machine in machines() {
        for dim in [100, 300] {
            for n_inputs in [1, 2, 3, 4, 5, 6, 8, 10] {
                let mut steps = BlockSteps::new(dim, n_inputs, PATH_LEN);
                let (mut rates, mut shares) = (Vec::new(), Vec::new());
                let rounds_loop = calibrate(|rounds| multiply_add(machine, rounds));
                let rounds_steps = calibrate(|rounds| steps.run(machine, rounds));
                for _ in 0..TURNS {
                    let peak = rate(|| multiply_add(machine, rounds_loop));
                    let reached = rate(|| steps.run(machine, rounds_steps));
                    rates.push(reached / 1e9);
                    shares.push(reached / peak);
                }
                let (rate, share) = (median(&mut rates), median(&mut shares));
                println!("| {machine} | {dim} | {n_inputs} | {rate:.1} | {:.0} % |", share * 100.0);
            }
        }
    }
}

/// Operations a CPU second.
fn rate(work: impl FnOnce() -> f64) -> f64 {
    let clock = Clock::start();
    let operations = work();
    operations / clock.read().0
}

/// How many rounds take about [`SECONDS`].
fn calibrate(mut work: impl FnMut(u64) -> f64) -> u64 {
    let mut rounds = 1;
    loop {
        let clock = Clock::start();
        work(rounds);
        let seconds = clock.read().0;
        if seconds > SECONDS / 10.0 {
            return (rounds as f64 * SECONDS / seconds).ceil() as u64;
        }
        rounds *= 4;
    }
}
