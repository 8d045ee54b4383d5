//! What candle and the allocator read from the environment when a program starts.

/// What to set, where nothing is said about it yet. The first says whether that has been done.
#[cfg(unix)]
const SETTINGS: [(&str, &str); 3] = [
    // candle adds up gradients on a pool of its own whose threads wait by spinning. Beside rayon's, on which the operations
    // of `fused` run, that cost more than half of the CPU time of a training step on two busy cores.
    ("CANDLE_NUM_THREADS", "1"),
    // A step asks for the same large stretches of memory again and again. glibc gives each back to the system, which takes
    // it away from all threads and hands it out again page by page: a fifth of the time on two threads.
    ("MALLOC_MMAP_THRESHOLD_", "1073741824"),
    ("MALLOC_TRIM_THRESHOLD_", "1073741824"),
];

/// Leaves all threads to rayon and memory to this process: starts this program anew with what has to be settled for that
/// before it begins.
///
/// candle's pool of threads and glibc's allocator take their settings from the environment only, so a program calls this
/// before it does anything else. What the user has set stays; where `CANDLE_NUM_THREADS` is set, nothing happens. Off Unix,
/// and where the program cannot be started anew, it goes on as it is: slower, with the same results.
pub fn settle_environment() {
    #[cfg(unix)]
    if std::env::var_os(SETTINGS[0].0).is_none() {
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
    command.envs(SETTINGS.into_iter().filter(|(name, _)| std::env::var_os(name).is_none()));
    // Returns only when it failed: what comes after is the new start's.
    let _failed = command.args(arguments).exec();
}
