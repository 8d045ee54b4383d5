//! Why the program ends early, and with which exit code.

use std::io::{self, ErrorKind, Write};
use std::path::Path;
use std::process::ExitCode;

use wordgrove::Error;

use super::output::escaped;

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
    /// The user has been told already; this is the exit code.
    Told(u8),
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
        ExitCode::from(self.tell())
    }

    /// Prints the reason and returns the number of the exit code.
    pub fn tell(&self) -> u8 {
        let (message, code) = match self {
            // The reader of our pipe has what it wanted.
            Failure::Output(error) if error.kind() == ErrorKind::BrokenPipe => return 0,
            Failure::Output(error) => (format!("standard output: {}", refusal(error)), 1),
            Failure::Usage(reason) => (reason.clone(), 2),
            Failure::Library(error) => (message(error), code(error)),
            Failure::Told(code) => return *code,
        };
        // One line, whatever a file or the system had to say. Where standard error is gone too, there is nobody left.
        let line = escaped(&message).replace('\n', " ");
        let _ = io::stderr().write_all(format!("error: {line}\n").as_bytes());
        code
    }
}

/// Names of settings in the library that are no flags here; some of them can be set in a file.
const NOT_FLAGS: [&str; 10] =
    ["end-id", "expression", "id", "ids", "mask-id", "norm-epsilon", "pad-id", "start-id", "text", "words"];

fn message(error: &Error) -> String {
    match error {
        Error::Config { field, reason } if !NOT_FLAGS.contains(field) => format!("--{field}: {reason}"),
        Error::Io { path, source } => format!("{}: {}", name(path), refusal(source)),
        Error::Format { path, reason } => format!("{}: {reason}", name(path)),
        _ => error.to_string(),
    }
}

fn name(path: &Path) -> String {
    if path == Path::new("-") { "standard input".to_string() } else { path.display().to_string() }
}

/// What the system refused, in our words, with the next step.
fn refusal(error: &io::Error) -> String {
    // Somebody has said more than the system did. Not so tempfile, which only adds a name that nobody has ever heard of.
    if let Some(more) = error.get_ref().map(|inner| inner.to_string())
        && !more.contains(" at path ")
    {
        return more;
    }
    let said = match error.kind() {
        ErrorKind::NotFound => "no such file or folder: check the name",
        ErrorKind::PermissionDenied => "permission denied: see who may read and write it, or choose another place",
        ErrorKind::ReadOnlyFilesystem => "the disk can only be read: write elsewhere",
        ErrorKind::StorageFull => "no space left on the disk: free some, or write elsewhere",
        ErrorKind::QuotaExceeded => "the quota is used up: free some space, or write elsewhere",
        ErrorKind::FileTooLarge => "larger than files may be here: raise the limit (ulimit -f), or write elsewhere",
        ErrorKind::InvalidFilename => "the name is too long, or not allowed here: choose another",
        ErrorKind::IsADirectory => "is a folder, expected a file",
        ErrorKind::NotADirectory => "a part of the path is a file, expected a folder: check the name",
        ErrorKind::OutOfMemory => "the system has no memory left: free some",
        _ => return error.to_string(),
    };
    said.to_string()
}

fn code(error: &Error) -> u8 {
    match error {
        Error::Config { .. } => 2,
        Error::Format { .. } | Error::TooFew { .. } | Error::UnknownWord { .. } => 3,
        Error::Interrupted(_) => 130,
        _ => 1,
    }
}
