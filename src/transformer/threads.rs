//! One pool of threads instead of two that fight.

/// How many threads candle's own pool has; it reads this once, before the first operation.
#[cfg(unix)]
const CANDLE_THREADS: &str = "CANDLE_NUM_THREADS";

/// Leaves all threads to rayon: starts this program anew with candle's own pool switched off, unless that is settled.
///
/// candle adds up gradients on a pool of its own whose threads wait by spinning. Beside rayon's, on which the operations
/// of [`fused`](super::fused) run, that cost more than half of the CPU time of a training step on two busy cores. The pool's
/// size is read from the environment only, so a program calls this before it does anything else. Where the variable is
/// set, to whatever number, nothing happens. Off Unix, and where the program cannot be started anew, it goes on as it is:
/// slower, with the same results.
pub fn leave_threads_to_rayon() {
    #[cfg(unix)]
    if std::env::var_os(CANDLE_THREADS).is_none() {
        start_anew();
    }
}

#[cfg(unix)]
fn start_anew() {
    use std::os::unix::process::CommandExt;
    let Ok(program) = std::env::current_exe() else { return };
    let mut command = std::process::Command::new(program);
    let mut arguments = std::env::args_os();
    if let Some(name) = arguments.next() {
        command.arg0(name);
    }
    // Returns only when it failed: what comes after is the new start's.
    let _failed = command.args(arguments).env(CANDLE_THREADS, "1").exec();
}
