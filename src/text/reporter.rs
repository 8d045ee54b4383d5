//! Reports of bytes read, a few times a second.

use std::time::{Duration, Instant};

use crate::progress::{Event, Progress};

/// Tells a [`Progress`] how many bytes are done, not more often than it wants to hear.
pub(super) struct Reporter<'a> {
    stage: &'static str,
    total: Option<u64>,
    progress: &'a dyn Progress,
    last: Option<Instant>,
}

impl<'a> Reporter<'a> {
    pub fn new(stage: &'static str, total: Option<u64>, progress: &'a dyn Progress) -> Reporter<'a> {
        Reporter { stage, total, progress, last: None }
    }

    pub fn report(&mut self, done: u64) {
        if self.last.is_none_or(|last| last.elapsed() >= Duration::from_millis(200)) {
            self.last = Some(Instant::now());
            self.finish(done);
        }
    }

    pub fn finish(&self, done: u64) {
        self.progress.report(&Event::Step { stage: self.stage, done, total: self.total, unit: "bytes" });
    }
}
