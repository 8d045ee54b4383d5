//! How fast to learn at which step: a warm-up, then half a cosine down.

use crate::error::{Error, Result};

/// The learning rate over the steps.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Schedule {
    /// The highest rate, reached after the warm-up.
    pub peak: f64,
    /// Steps over which the rate grows from 0, in proportion.
    pub warmup_steps: u64,
    /// The step at which the rate has fallen to `floor`; it stays there.
    pub total_steps: u64,
    /// The lowest rate after the peak, as a share of it, 0 to 1.
    pub floor: f64,
}

impl Schedule {
    /// The rate of a step; the first step is 0 and has already a rate above 0.
    ///
    /// # Example
    /// ```
    /// use wordgrove::transformer::schedule::Schedule;
    /// let schedule = Schedule { peak: 1e-3, warmup_steps: 2, total_steps: 10, floor: 0.1 };
    /// assert_eq!([0, 1].map(|step| schedule.rate(step)), [0.5e-3, 1e-3]);
    /// assert!((schedule.rate(6) - 0.55e-3).abs() < 1e-12); // half way down
    /// assert!((schedule.rate(10) - 1e-4).abs() < 1e-12);
    /// ```
    pub fn rate(&self, step: u64) -> f64 {
        if step < self.warmup_steps {
            return self.peak * (step + 1) as f64 / self.warmup_steps as f64;
        }
        let fall = self.total_steps.saturating_sub(self.warmup_steps);
        let done = if fall == 0 { 1.0 } else { ((step - self.warmup_steps) as f64 / fall as f64).min(1.0) };
        let cosine = 0.5 * (1.0 + (std::f64::consts::PI * done).cos());
        self.peak * (self.floor + (1.0 - self.floor) * cosine)
    }

    /// Whether the numbers make sense.
    ///
    /// # Errors
    /// [`Error::Config`] for a rate that is not above 0 and at most 1, or a floor outside 0 to 1.
    pub fn check(&self) -> Result<()> {
        if !(self.peak > 0.0 && self.peak <= 1.0) {
            return Err(Error::config("learning-rate", format!("{} is not above 0 and at most 1", self.peak)));
        }
        if !(0.0..=1.0).contains(&self.floor) {
            return Err(Error::config("floor", format!("{} is not within 0 and 1", self.floor)));
        }
        Ok(())
    }
}
