//! One text of a corpus: a file, or what came through a pipe.
//!
//! In: a path. Out: as often as wanted, its text from the start: mapped when it is plain, decompressed when it is not.
//! What can be read only once is copied to a temporary file first. How long a file is gets fixed when the corpus is
//! opened: what is appended later is left alone, and a file that becomes shorter is an error.

use std::fs::File;
use std::io::{self, BufWriter, Read, Write};
use std::ops::{Deref, Range};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::error::{Error, Result};
use crate::files::FileBytes;
use crate::progress::Progress;
use crate::text::compression::Compression;
use crate::text::recognize::{HEAD, Recognized, recognize};
use crate::text::reporter::Reporter;

/// A text that can be read again and again.
#[derive(Debug)]
pub(super) struct Source {
    /// For messages; `-` is standard input.
    pub path: PathBuf,
    /// Bytes on disk when the corpus was opened.
    pub size_bytes: u64,
    place: Place,
}

#[derive(Debug)]
enum Place {
    /// A file that is opened again for every pass, so that a folder of a hundred thousand files needs no hundred thousand
    /// open ones.
    File { identity: Identity, compression: Option<Compression> },
    /// Bytes at hand: a text in memory, or a temporary file without a name.
    Held(FileBytes),
}

impl Source {
    /// A regular file, looked into but not yet read.
    pub fn file(path: &Path) -> Result<Source> {
        let mut file = File::open(path).map_err(Error::io(path))?;
        let metadata = file.metadata().map_err(Error::io(path))?;
        let head = read_head(&mut file).map_err(Error::io(path))?;
        let compression = text_or_compressed(&head, path)?;
        if compression.is_none() {
            check_extension(&head, path)?;
        }
        let place = Place::File { identity: Identity::of(&metadata), compression };
        let source = Source { path: path.to_path_buf(), size_bytes: metadata.len(), place };
        // What is inside may be no text either, or damaged from the start: better said now than in an hour.
        if compression.is_some()
            && let Text::Compressed(mut text) = source.open()?
        {
            let mut head = Vec::new();
            text.read(HEAD, &mut head)?;
            refuse_compressed_twice(&head, path)?;
        }
        Ok(source)
    }

    /// A text in memory; `path` is for messages.
    pub fn held(path: &Path, bytes: FileBytes) -> Source {
        Source { path: path.to_path_buf(), size_bytes: bytes.len() as u64, place: Place::Held(bytes) }
    }

    /// Copies `input`, which can be read only once, to a temporary file that has no name and goes when we do.
    ///
    /// What comes compressed is decompressed here.
    pub fn spool(path: &Path, input: impl Read + Send + 'static, progress: &dyn Progress) -> Result<Source> {
        let meter = Arc::new(Meter::default());
        let mut input = Metered { input, meter: Arc::clone(&meter) };
        let head = read_head(&mut input).map_err(Error::io(path))?;
        let compression = text_or_compressed(&head, path)?;
        let input = io::Cursor::new(head).chain(input);
        let mut input: Box<dyn Read + Send> = match compression {
            Some(compression) => compression.decoder(input),
            None => Box::new(input),
        };
        let temporary = std::env::temp_dir();
        let spool = tempfile::tempfile().map_err(no_spool(&temporary))?;
        let mut writer = BufWriter::with_capacity(1 << 18, &spool);
        let mut buffer = vec![0; 1 << 18];
        let mut inner_head = Vec::new();
        let mut reporter = Reporter::new("reading input", None, progress);
        loop {
            if progress.stop_requested() {
                return Err(Error::Interrupted(format!(" while reading {}", path.display())));
            }
            let n = match input.read(&mut buffer) {
                Ok(0) => break,
                Ok(n) => n,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(meter.explain(error, compression, None, path)),
            };
            if compression.is_some() && inner_head.len() < HEAD {
                inner_head.extend_from_slice(&buffer[..n.min(HEAD - inner_head.len())]);
                refuse_compressed_twice(&inner_head, path)?;
            }
            writer.write_all(&buffer[..n]).map_err(no_spool(&temporary))?;
            reporter.report(meter.position.load(Ordering::Relaxed));
        }
        writer.flush().map_err(no_spool(&temporary))?;
        drop(writer);
        Ok(Source::held(path, FileBytes::map(&spool, &temporary)?))
    }

    /// The text from its start.
    pub fn open(&self) -> Result<Text> {
        let (identity, compression) = match &self.place {
            Place::File { identity, compression } => (identity, compression),
            Place::Held(bytes) => {
                let text = PlainText { bytes: bytes.clone(), len: bytes.len(), watched: None };
                return Ok(Text::Plain(Arc::new(text)));
            }
        };
        let file = File::open(&self.path).map_err(Error::io(&self.path))?;
        let metadata = file.metadata().map_err(Error::io(&self.path))?;
        if Identity::of(&metadata) != *identity {
            return Err(Error::format(
                &self.path,
                "was replaced by another file while it was in use; start again, and leave the file alone meanwhile",
            ));
        }
        check_length(&file, self.size_bytes, &self.path)?;
        match compression {
            None => {
                let bytes = FileBytes::map(&file, &self.path)?;
                let len = usize::try_from(self.size_bytes)
                    .map_err(|_| Error::format(&self.path, "is too large for this machine's addresses"))?;
                Ok(Text::Plain(Arc::new(PlainText { bytes, len, watched: Some((file, self.path.clone())) })))
            }
            Some(compression) => {
                let meter = Arc::new(Meter::default());
                let watched = file.try_clone().map_err(Error::io(&self.path))?;
                let input = Metered { input: file.take(self.size_bytes), meter: Arc::clone(&meter) };
                Ok(Text::Compressed(CompressedText {
                    decoder: compression.decoder(input),
                    compression: *compression,
                    meter,
                    watched,
                    size_bytes: self.size_bytes,
                    path: self.path.clone(),
                }))
            }
        }
    }
}

/// An opened text.
pub(super) enum Text {
    /// All of it at hand.
    Plain(Arc<PlainText>),
    /// To be read bit by bit.
    Compressed(CompressedText),
}

/// The bytes of a text that is not compressed, as many as there were when the corpus was opened.
#[derive(Debug)]
pub(super) struct PlainText {
    bytes: FileBytes,
    len: usize,
    /// The file that is mapped, and its path for messages; none behind bytes that nobody else can change.
    watched: Option<(File, PathBuf)>,
}

impl PlainText {
    /// Fails when the file has become shorter. Reading mapped bytes that are gone would end the process; asking before
    /// each chunk leaves only the moment between the question and the reading.
    pub fn check(&self) -> Result<()> {
        match &self.watched {
            Some((file, path)) => check_length(file, self.len as u64, path),
            None => Ok(()),
        }
    }

    /// Lets the memory of a part go, until it is read again.
    pub fn release(&self, range: Range<usize>) {
        self.bytes.release(range);
    }
}

impl Deref for PlainText {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

/// A text that is decompressed while it is read.
pub(super) struct CompressedText {
    decoder: Box<dyn Read + Send>,
    compression: Compression,
    meter: Arc<Meter>,
    watched: File,
    size_bytes: u64,
    path: PathBuf,
}

impl CompressedText {
    /// Appends up to `n` bytes of text; fewer only at the end of the text.
    pub fn read(&mut self, n: usize, text: &mut Vec<u8>) -> Result<usize> {
        (&mut self.decoder).take(n as u64).read_to_end(text).map_err(|error| {
            // A file that became shorter looks damaged; say the cause instead.
            check_length(&self.watched, self.size_bytes, &self.path)
                .err()
                .unwrap_or_else(|| self.meter.explain(error, Some(self.compression), Some(self.size_bytes), &self.path))
        })
    }

    /// How many compressed bytes have been read.
    pub fn position(&self) -> u64 {
        self.meter.position.load(Ordering::Relaxed)
    }
}

/// The error that `folder` cannot hold what comes through a pipe.
fn no_spool(folder: &Path) -> impl Fn(io::Error) -> Error {
    move |error| {
        let kind = error.kind();
        let advice = format!("cannot hold a copy of standard input ({kind}): set TMPDIR to a folder with room");
        Error::Io { path: folder.to_path_buf(), source: io::Error::new(kind, advice) }
    }
}

/// How far a reader below a decoder has come.
#[derive(Debug, Default)]
struct Meter {
    position: AtomicU64,
    /// Reading itself failed, so an error is not about the bytes.
    failed: AtomicBool,
}

impl Meter {
    fn explain(&self, error: io::Error, compression: Option<Compression>, size: Option<u64>, path: &Path) -> Error {
        let (Some(compression), false) = (compression, self.failed.load(Ordering::Relaxed)) else {
            return Error::io(path)(error);
        };
        let (name, near) = (compression.name(), self.position.load(Ordering::Relaxed));
        let of = size.map(|size| format!(" of {size}")).unwrap_or_default();
        let reason = format!(
            "the {name} stream is damaged or cut short near byte {near}{of} ({error}); get the file again, or see what \
             {name} -t says of it"
        );
        Error::format(path, reason)
    }
}

struct Metered<R> {
    input: R,
    meter: Arc<Meter>,
}

impl<R: Read> Read for Metered<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.input.read(buffer);
        match &read {
            Ok(n) => {
                self.meter.position.fetch_add(*n as u64, Ordering::Relaxed);
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => self.meter.failed.store(true, Ordering::Relaxed),
        }
        read
    }
}

/// Which file it is, whatever its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Identity {
    #[cfg(unix)]
    device_and_inode: (u64, u64),
}

impl Identity {
    #[cfg(unix)]
    fn of(metadata: &std::fs::Metadata) -> Identity {
        use std::os::unix::fs::MetadataExt;
        Identity { device_and_inode: (metadata.dev(), metadata.ino()) }
    }

    #[cfg(not(unix))]
    fn of(_metadata: &std::fs::Metadata) -> Identity {
        Identity {}
    }
}

fn read_head(input: &mut impl Read) -> io::Result<Vec<u8>> {
    let mut head = Vec::new();
    input.take(HEAD as u64).read_to_end(&mut head)?;
    Ok(head)
}

fn text_or_compressed(head: &[u8], path: &Path) -> Result<Option<Compression>> {
    match recognize(head) {
        Recognized::Text => Ok(None),
        Recognized::Compressed(compression) => Ok(Some(compression)),
        Recognized::NotText { what, advice } => {
            Err(Error::format(path, format!("is {what}, expected plain text (UTF-8); {advice}")))
        }
    }
}

fn refuse_compressed_twice(head: &[u8], path: &Path) -> Result<()> {
    match text_or_compressed(head, path) {
        Ok(None) => Ok(()),
        Ok(Some(inner)) => {
            let name = inner.name();
            Err(Error::format(path, format!("holds a {name} stream inside a compressed stream; decompress it once")))
        }
        Err(error) => match error {
            Error::Format { path, reason } => Err(Error::Format { path, reason: format!("decompressed, it {reason}") }),
            other => Err(other),
        },
    }
}

/// A file whose name promises a compressed stream and that has none is text only if it looks like text: a stream whose
/// first bytes are damaged must not be trained on.
fn check_extension(head: &[u8], path: &Path) -> Result<()> {
    let extension = path.extension().map(|extension| extension.to_string_lossy().to_ascii_lowercase());
    let Some(promised) = extension.as_deref().and_then(Compression::of_extension) else { return Ok(()) };
    let looks_like_text = match std::str::from_utf8(head) {
        Ok(head) => !head.contains('\0'),
        // A character may be cut at the end of what we looked at.
        Err(error) => error.error_len().is_none() && !head.contains(&0),
    };
    if looks_like_text {
        return Ok(());
    }
    let (extension, name) = (extension.unwrap_or_default(), promised.name());
    Err(Error::format(
        path,
        format!(
            "ends in .{extension} but does not begin as {name} does; get the file again, or rename it if it is text"
        ),
    ))
}

fn check_length(file: &File, expected: u64, path: &Path) -> Result<()> {
    let found = file.metadata().map_err(Error::io(path))?.len();
    if found < expected {
        return Err(Error::format(
            path,
            format!(
                "became shorter while it was in use: {expected} bytes at the start, {found} now; start again, and leave \
                 the file alone meanwhile"
            ),
        ));
    }
    Ok(())
}
