//! Time as the benches take it.

use std::time::Instant;

/// CPU seconds of all threads and seconds of the wall clock.
pub struct Clock {
    cpu: Option<f64>,
    wall: Instant,
}

impl Clock {
    pub fn start() -> Clock {
        Clock { cpu: cpu_seconds(), wall: Instant::now() }
    }

    /// Both since the start. Where the system does not tell CPU seconds, those of the wall clock stand in.
    pub fn read(&self) -> (f64, f64) {
        let wall = self.wall.elapsed().as_secs_f64();
        (self.cpu.zip(cpu_seconds()).map_or(wall, |(start, now)| now - start), wall)
    }
}

fn cpu_seconds() -> Option<f64> {
    #[cfg(unix)]
    {
        let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
        Some(time.tv_sec as f64 + time.tv_nsec as f64 / 1e9)
    }
    #[cfg(not(unix))]
    None
}
