//! Memory: how much training needs, how much there is, how much was used.

use std::path::Path;

use super::failure::{Failure, Outcome};
use super::output::{grouped, size};

/// Refuses before the start what would end in the middle: two matrices of `n_tokens` rows of `dim` numbers that do not
/// fit in `limit` bytes or, without it, in what the machine has free.
pub fn check(limit: Option<u64>, n_tokens: usize, dim: usize) -> Outcome {
    let row = dim.next_multiple_of(16) as u64 * 4;
    let what = format!("{} vectors of {dim} numbers", grouped(n_tokens as u64));
    check_bytes(limit, row * 2 * n_tokens as u64, &what, "a smaller --dim or vocabulary")
}

/// Refuses `what` when the bytes it needs do not fit in `limit` or, without it, in what the machine has free; `advice` says
/// what to try.
pub fn check_bytes(limit: Option<u64>, needed: u64, what: &str, advice: &str) -> Outcome {
    let Some((limit, whose)) = limit.map(|limit| (limit, "--memory-limit")).or(available_bytes().map(|n| (n, "free")))
    else {
        return Ok(());
    };
    if needed <= limit {
        return Ok(());
    }
    Err(Failure::Usage(format!("{what} need about {}, {whose} is {}; try {advice}", size(needed), size(limit))))
}

/// Memory that can be had without swapping, where the system tells: the least of what the machine has free, what the
/// container may use, and what `ulimit -v` leaves to this process.
fn available_bytes() -> Option<u64> {
    let machine = kilobytes("/proc/meminfo", "MemAvailable:");
    // Both are "max" or "unlimited" where there is no limit.
    let container = std::fs::read_to_string("/sys/fs/cgroup/memory.max").ok().and_then(|text| text.trim().parse().ok());
    let addresses = after("/proc/self/limits", "Max address space")
        .and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok())
        .map(|limit| limit.saturating_sub(kilobytes("/proc/self/status", "VmSize:").unwrap_or(0)));
    [machine, container, addresses].into_iter().flatten().min()
}

/// The most memory that this process has held at once, where the system tells.
pub fn peak_rss_bytes() -> Option<u64> {
    kilobytes("/proc/self/status", "VmHWM:")
}

fn kilobytes(path: impl AsRef<Path>, name: &str) -> Option<u64> {
    after(path, name)?.trim_end_matches("kB").trim().parse::<u64>().ok().map(|n| n * 1024)
}

/// What stands behind `name` on the line that begins with it.
fn after(path: impl AsRef<Path>, name: &str) -> Option<String> {
    let text = std::fs::read_to_string(path).ok()?;
    text.lines().find_map(|line| line.strip_prefix(name)).map(|rest| rest.trim().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_has_used_some_memory_and_there_is_some_left() {
        if cfg!(target_os = "linux") {
            assert!(peak_rss_bytes().unwrap() > 100_000);
            assert!(available_bytes().unwrap() > 100_000);
        }
    }
}
