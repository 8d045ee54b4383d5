//! Why the program ends early, and with which exit code.

use std::io;
use std::process::ExitCode;

use wordgrove::Error;

/// What a verb comes to.
pub type Outcome<T = ()> = Result<T, Failure>;

/// Why a verb ended early.
#[derive(Debug)]
pub enum Failure {
    /// The library says why.
    Library(Error),
    /// The arguments contradict each other.
    Usage(String),
    /// Standard output cannot be written.
    Output(io::Error),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Failure {
        Failure::Library(error)
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Failure {
        Failure::Output(error)
    }
}

impl Failure {
    /// Prints the reason and returns the exit code.
    pub fn report(self) -> ExitCode {
        let (message, code) = match &self {
            Failure::Output(error) if error.kind() == io::ErrorKind::BrokenPipe => return ExitCode::SUCCESS,
            Failure::Output(error) => (format!("standard output: {error}"), 1),
            Failure::Usage(reason) => (reason.clone(), 2),
            Failure::Library(error) => (message(error), code(error)),
        };
        // Where standard error is gone too, there is nobody left to tell.
        let _ = io::Write::write_all(&mut io::stderr(), format!("error: {message}\n").as_bytes());
        ExitCode::from(code)
    }
}

fn message(error: &Error) -> String {
    match error {
        Error::Config { field, reason } if field.chars().all(|c| c.is_ascii_lowercase() || c == '-') => {
            format!("--{field}: {reason}")
        }
        _ => super::output::escaped(&error.to_string()).into_owned(),
    }
}

fn code(error: &Error) -> u8 {
    match error {
        Error::Config { .. } => 2,
        Error::Format { .. } | Error::TooFew { .. } | Error::UnknownWord { .. } => 3,
        Error::Interrupted(_) => 130,
        _ => 1,
    }
}
