//! Long work as people see it: one line on the terminal, JSON lines in a log, Ctrl-C.

use std::fs::{File, OpenOptions};
use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard};

use serde::Serialize;
use serde_json::{Value, json};
use wordgrove::{EpochReport, Error, Event, FitReport, FitStatus, Progress, TrainingStatus};

use super::output::{decimal, escaped};

/// Whether Ctrl-C was pressed, or the program asked to end, since this was first looked at.
static INTERRUPTED: LazyLock<Arc<AtomicBool>> = LazyLock::new(|| {
    let flag = Arc::new(AtomicBool::new(false));
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
        // The order matters: the second signal finds the flag set and ends the program, the first sets it. Where they
        // cannot be registered, a signal still ends the program, only less politely.
        let _ = signal_hook::flag::register_conditional_shutdown(signal, 130, Arc::clone(&flag));
        let _ = signal_hook::flag::register(signal, Arc::clone(&flag));
    }
    flag
});

/// Makes a write beyond the limit on file sizes (`ulimit -f`) an error like others, instead of the program's end.
pub fn survive_file_size_limit() {
    // A handler that only sets a flag nobody reads; without it the signal kills the process.
    #[cfg(unix)]
    let _ = signal_hook::flag::register(signal_hook::consts::signal::SIGXFSZ, Arc::default());
}

/// Reports to standard error and to a log.
pub struct Terminal {
    state: Mutex<State>,
    is_quiet: bool,
    // Whether a line may be drawn and drawn over.
    draws: bool,
}

struct State {
    log: Option<(PathBuf, File)>,
    log_failed: Option<io::Error>,
    // Whether a line stands on the terminal that the next one is to cover.
    line_is_open: bool,
}

impl Terminal {
    /// From now on Ctrl-C asks the work to stop; the second one ends the program at once.
    ///
    /// # Errors
    /// [`Error::Io`] when the log cannot be written.
    pub fn new(is_quiet: bool, log: Option<&Path>) -> Result<Terminal, Error> {
        Terminal::logging_to(File::options().write(true).create(true).truncate(true), is_quiet, log)
    }

    /// The same for work that goes on: what a log holds already stays in front.
    ///
    /// # Errors
    /// [`Error::Io`] when the log cannot be written.
    pub fn going_on(is_quiet: bool, log: Option<&Path>) -> Result<Terminal, Error> {
        Terminal::logging_to(File::options().append(true).create(true), is_quiet, log)
    }

    fn logging_to(how: &OpenOptions, is_quiet: bool, log: Option<&Path>) -> Result<Terminal, Error> {
        LazyLock::force(&INTERRUPTED);
        let open = |path: &Path| how.open(path).map(|file| (path.to_path_buf(), file)).map_err(Error::io(path));
        // Drawing over a line takes escape codes; whoever wants no colour wants none of those (faults D10).
        let is_plain = std::env::var_os("TERM").is_some_and(|term| term == "dumb")
            || std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        Ok(Terminal {
            state: Mutex::new(State { log: log.map(open).transpose()?, log_failed: None, line_is_open: false }),
            is_quiet,
            draws: !is_quiet && !is_plain && io::stderr().is_terminal(),
        })
    }

    /// Says something that stays; not when quiet.
    pub fn say(&self, line: &str) {
        if !self.is_quiet {
            self.put(line);
        }
    }

    /// Writes to the log what is not an event.
    pub fn log(&self, value: &Value) {
        let mut state = self.state();
        if let Some((_, log)) = &mut state.log
            && let Err(error) = writeln!(log, "{value}")
        {
            state.log_failed.get_or_insert(error);
        }
    }

    /// Writes a report to the log, under the name of its event.
    fn log_with_event(&self, event: &str, report: &impl Serialize) {
        let mut line = json!({ "event": event });
        if let (Value::Object(line), Ok(Value::Object(report))) = (&mut line, serde_json::to_value(report)) {
            line.extend(report);
        }
        self.log(&line);
    }

    /// Clears the line, and tells whether the log is whole.
    ///
    /// # Errors
    /// [`Error::Io`] when a line of the log could not be written.
    pub fn finish(&self) -> Result<(), Error> {
        let mut state = self.state();
        clear(&mut state);
        match (state.log_failed.take(), &state.log) {
            (Some(error), Some((path, _))) => Err(Error::io(path)(error)),
            _ => Ok(()),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no panic while the lock is held")
    }

    /// Prints a line that stays, above whatever is drawn over.
    fn put(&self, line: &str) {
        let mut state = self.state();
        clear(&mut state);
        // Progress that nobody can see is no reason to lose the work.
        let _ = io::stderr().write_all(format!("{}\n", escaped(line)).as_bytes());
    }

    fn draw(&self, line: &str) {
        if self.draws {
            self.state().line_is_open = true;
            let _ = io::stderr().write_all(format!("\r{line}\x1b[K").as_bytes());
        }
    }
}

fn clear(state: &mut State) {
    if std::mem::take(&mut state.line_is_open) {
        let _ = io::stderr().write_all(b"\r\x1b[K");
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        clear(&mut self.state());
    }
}

impl Progress for Terminal {
    fn report(&self, event: &Event<'_>) {
        match event {
            Event::Step { stage, done, total, unit } => {
                let share = total.filter(|&total| total > 0).map(|total| 100 * done.min(&total) / total);
                self.draw(&match (share, *unit) {
                    (Some(share), _) => format!("{stage} {share} %"),
                    (None, "bytes") => format!("{stage} {} MB", done / 1_000_000),
                    (None, unit) => format!("{stage} {done} {unit}"),
                });
            }
            Event::Training(status) => {
                self.draw(&status_line(status));
                self.log(&json!({
                    "event": "progress", "epoch": status.epoch, "epochs": status.epochs, "done": status.done,
                    "tokens_per_second": status.tokens_per_second.round(), "learning_rate": decimal(status.learning_rate),
                    "measure": status.measure, "train_bits": status.train_bits, "held_out_bits": status.held_out_bits,
                    "eta_seconds": status.eta_seconds.round(),
                }));
            }
            Event::Epoch(report) => {
                self.say(&epoch_line(report));
                self.log_with_event("epoch", report);
            }
            Event::Fitting(status) => {
                self.draw(&fit_line(status));
                self.log(&json!({
                    "event": "progress", "step": status.step, "steps": status.steps, "epoch": status.epoch,
                    "tokens_per_second": status.tokens_per_second.round(), "learning_rate": status.learning_rate,
                    "train_loss": status.train_loss, "validation_loss": status.validation_loss,
                    "seconds": status.seconds, "eta_seconds": status.eta_seconds.round(),
                }));
            }
            Event::Validated(report) => {
                self.say(&validated_line(report));
                self.log_with_event("validated", report);
            }
            Event::Warning(text) => {
                self.put(&format!("warning: {text}"));
                self.log(&json!({"event": "warning", "text": text}));
            }
            _ => {}
        }
    }

    fn stop_requested(&self) -> bool {
        INTERRUPTED.load(Ordering::Relaxed)
    }
}

fn status_line(status: &TrainingStatus) -> String {
    let bits = |bits: Option<f64>| bits.map_or("–".to_string(), |bits| format!("{bits:.3}"));
    let eta = status.eta_seconds.round() as u64;
    format!(
        "epoch {}/{}  {:.0} %  {:.2} M tokens/s  rate {:.4}  {} {} bits (held-out {})  ETA {}:{:02}",
        status.epoch,
        status.epochs,
        100.0 * status.done,
        status.tokens_per_second / 1e6,
        status.learning_rate,
        status.measure,
        bits(status.train_bits),
        bits(status.held_out_bits),
        eta / 60,
        eta % 60
    )
}

fn epoch_line(report: &EpochReport) -> String {
    let held_out = report.held_out_bits.map_or(String::new(), |bits| format!(", held-out {bits:.4}"));
    format!(
        "epoch {}: {} {:.4} bits{held_out}  ({:.2} M tokens/s)",
        report.epoch,
        report.measure,
        report.train_bits,
        report.tokens_per_second / 1e6
    )
}

fn fit_line(status: &FitStatus) -> String {
    let nats = |nats: Option<f64>| nats.map_or("–".to_string(), |nats| format!("{nats:.3}"));
    let eta = status.eta_seconds.round() as u64;
    format!(
        "step {}/{}  {:.0} tokens/s  rate {:.2e}  loss {} (held-out {})  ETA {}:{:02}",
        status.step,
        status.steps,
        status.tokens_per_second,
        status.learning_rate,
        nats(status.train_loss),
        nats(status.validation_loss),
        eta / 60,
        eta % 60
    )
}

fn validated_line(report: &FitReport) -> String {
    let held_out = match (report.validation_loss, report.perplexity) {
        (Some(loss), Some(perplexity)) => format!(", held-out {loss:.4} (perplexity {perplexity:.1})"),
        _ => String::new(),
    };
    format!("step {}: loss {:.4}{held_out}  ({:.0} tokens/s)", report.step, report.train_loss, report.tokens_per_second)
}
