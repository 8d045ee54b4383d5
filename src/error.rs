//! What can go wrong, said so that the reader knows what to do next.
//!
//! One variant per thing that a reader can do about it. Messages are lower case, without a full stop, and say what was
//! found, what was expected and the next step.

use std::io;
use std::path::{Path, PathBuf};

/// The crate's result.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a call failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The machine refused: a missing file, a full disk, no permission.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// A file or a text does not hold what it should.
    #[error("{}: {reason}", path.display())]
    Format {
        /// The file or folder; `-` is standard input.
        path: PathBuf,
        /// Where in it, what was found, what was expected, what to do.
        reason: String,
    },
    /// A setting is outside its range, or two settings contradict each other.
    #[error("{field}: {reason}")]
    Config {
        /// The setting, spelled like its flag without the dashes: `min-count`.
        field: &'static str,
        /// What was found and the range that is allowed.
        reason: String,
    },
    /// There is less of something than the work needs.
    #[error("{what}: found {found}, needed {needed}; {advice}")]
    TooFew {
        /// What there is too little of.
        what: String,
        /// How many there are.
        found: u64,
        /// How many are needed.
        needed: u64,
        /// What to do.
        advice: String,
    },
    /// A word that the model has no vector for.
    #[error("'{word}' is not in the vocabulary{advice}")]
    UnknownWord {
        /// The word as it was asked.
        word: String,
        /// Near spellings and what to do; empty, or beginning with a separator.
        advice: String,
    },
    /// Training produced numbers that are not finite.
    #[error("{0}")]
    Diverged(String),
    /// The tensor library refused: shapes that do not fit, or numbers of another type or device.
    #[cfg(feature = "transformer")]
    #[error("{0}")]
    Tensor(Box<candle_core::Error>),
    /// The work was stopped on request.
    #[error("interrupted{0}")]
    Interrupted(String),
}

impl Error {
    /// An [`Error::Io`] about `path`; for `map_err`.
    pub fn io(path: impl AsRef<Path>) -> impl FnOnce(io::Error) -> Error {
        let path = path.as_ref().to_path_buf();
        move |source| Error::Io { path, source }
    }

    /// An [`Error::Format`] about `path`.
    pub fn format(path: impl AsRef<Path>, reason: impl Into<String>) -> Error {
        Error::Format { path: path.as_ref().to_path_buf(), reason: reason.into() }
    }

    /// An [`Error::Config`] about one setting.
    pub fn config(field: &'static str, reason: impl Into<String>) -> Error {
        Error::Config { field, reason: reason.into() }
    }
}

#[cfg(feature = "transformer")]
impl From<candle_core::Error> for Error {
    fn from(source: candle_core::Error) -> Error {
        Error::Tensor(Box::new(source))
    }
}
