//! One pool of threads instead of two that fight.

use crate::error::{Error, Result};

/// How many threads candle's own pool has; it reads this once, before the first operation.
const CANDLE_THREADS: &str = "CANDLE_NUM_THREADS";

/// Leaves all threads to rayon: starts this program anew with candle's own pool switched off, unless that is settled.
///
/// candle adds up gradients on a pool of its own whose threads wait by spinning. Beside rayon's, on which the operations
/// of [`fused`](super::fused) run, that cost more than half of the CPU time of a training step on two busy cores. The pool's
/// size is read from the environment only, so a program calls this before it does anything else. Where the variable is
/// set, to whatever number, nothing happens, and so off Unix.
///
/// # Errors
/// [`Error::Io`] when the program cannot be started anew.
pub fn leave_threads_to_rayon() -> Result<()> {
    if std::env::var_os(CANDLE_THREADS).is_some() {
        return Ok(());
    }
    start_anew()
}

#[cfg(unix)]
fn start_anew() -> Result<()> {
    use std::os::unix::process::CommandExt;
    let program = std::env::current_exe().map_err(Error::io("the running program"))?;
    let mut command = std::process::Command::new(&program);
    let mut arguments = std::env::args_os();
    if let Some(name) = arguments.next() {
        command.arg0(name);
    }
    // Returns only when it failed: what comes after is the new start's.
    Err(Error::io(&program)(command.args(arguments).env(CANDLE_THREADS, "1").exec()))
}

#[cfg(not(unix))]
fn start_anew() -> Result<()> {
    Ok(())
}
