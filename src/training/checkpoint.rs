//! What a run has learned so far, kept in a folder while it lasts.
//!
//! In: the state of a training between two shards. Out: the same state, in another process, on another day.
//!
//! A folder holds the two newest generations, `1.checkpoint`, `2.checkpoint`, …, each a file that is complete in itself:
//!
//! ```text
//! wordgrove checkpoint 1\n   what it is, and the version of this layout
//! length                     u64, little-endian: the bytes of the header
//! header                     JSON: settings, position, losses, what the text was
//! tokenizer                  tokenizer.json, as many bytes as the header says
//! input                      f32, little-endian, row by row
//! output                     the same
//! checksum                   SHA-256 of all before, 64 hexadecimal digits
//! ```
//!
//! A generation is written beside, flushed and renamed, and older ones go only then: whenever the machine stops, there is
//! a whole one. Whatever happens to a file later, its checksum tells, and the one before serves. Whoever has the folder
//! open holds a lock on it, so that no two runs make the same model.

use std::fs::{self, File, TryLockError};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use byteorder::{ByteOrder, LittleEndian};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::error::{Error, Result};
use crate::files::{FileBytes, Hashed, checksum, is_at, replace_file};
use crate::math::{Matrix, cpu};
use crate::progress::{EpochReport, Event, Progress};
use crate::tokens::{IdStream, Tokenizer};
use crate::training::TrainConfig;
use crate::training::train::{Position, TrainState};

/// How many generations stay.
const KEPT: usize = 2;

/// An interval beyond this is as good as none, and might not fit into what counts time.
const MOST_SELDOM: Duration = Duration::from_secs(366 * 24 * 3600);

const MAGIC: &[u8] = b"wordgrove checkpoint ";
const LAYOUT: &[u8] = b"1\n";
const CHECKSUM_BYTES: usize = 64;
const SUFFIX: &str = ".checkpoint";

/// A folder of checkpoints that nobody else has open.
///
/// It exists as long as somebody has it open or there is a checkpoint in it.
#[derive(Debug)]
pub struct CheckpointFolder {
    path: PathBuf,
    // Generations that turned out to be damaged.
    damaged: Vec<u64>,
    // `None` where folders cannot be locked.
    _lock: Option<File>,
}

impl CheckpointFolder {
    /// Opens the folder at `path`, and makes it when there is none.
    ///
    /// # Errors
    /// [`Error::Io`] when another run has it open, or it cannot be made.
    pub fn open(path: &Path) -> Result<CheckpointFolder> {
        let lock = loop {
            match fs::create_dir(path) {
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(Error::io(path)(error)),
                _ => {}
            }
            match lock(path)? {
                Lock::Ours(folder) => break Some(folder),
                Lock::Impossible => break None,
                // Whoever had it open has just removed it.
                Lock::Stale => {}
            }
        };
        Ok(CheckpointFolder { path: path.to_path_buf(), damaged: Vec::new(), _lock: lock })
    }

    /// The newest checkpoint, if there is one.
    pub fn newest(&self) -> Option<PathBuf> {
        let newest = self.generations().ok()?.into_iter().rfind(|number| !self.damaged.contains(number))?;
        Some(self.file(newest))
    }

    /// Reads the newest checkpoint that is whole; `None` when there is none at all. One that is not whole is reported as
    /// a warning.
    ///
    /// # Errors
    /// [`Error::Format`] when none of them is whole, or another version wrote them; [`Error::Io`].
    pub fn read(&mut self, progress: &dyn Progress) -> Result<Option<Checkpoint>> {
        let mut reasons = Vec::new();
        for number in self.generations()?.into_iter().rev() {
            let path = self.file(number);
            match read(&FileBytes::open(&path)?, &path)? {
                Ok(checkpoint) => {
                    for reason in reasons {
                        progress.report(&Event::Warning(&format!("{reason}; going on from {}", path.display())));
                    }
                    return Ok(Some(checkpoint));
                }
                Err(reason) => {
                    self.damaged.push(number);
                    reasons.push(format!("{}: is damaged: {reason}", path.display()));
                }
            }
        }
        if reasons.is_empty() {
            return Ok(None);
        }
        Err(Error::format(
            &self.path,
            format!(
                "no checkpoint can be read, all are left as they are ({}); begin anew with --start-over",
                reasons.join("; ")
            ),
        ))
    }

    /// Removes all checkpoints.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn clear(&mut self) -> Result<()> {
        self.damaged.clear();
        self.remove_files(|name| generation(name).is_some() || is_left_behind(name))
    }

    /// The numbers of the generations, oldest first.
    fn generations(&self) -> Result<Vec<u64>> {
        let entries = fs::read_dir(&self.path).map_err(Error::io(&self.path))?;
        let mut numbers: Vec<u64> =
            entries.flatten().filter_map(|entry| generation(&entry.file_name().to_string_lossy())).collect();
        numbers.sort();
        Ok(numbers)
    }

    fn file(&self, generation: u64) -> PathBuf {
        self.path.join(format!("{generation}{SUFFIX}"))
    }

    fn remove_files(&self, which: impl Fn(&str) -> bool) -> Result<()> {
        for entry in fs::read_dir(&self.path).map_err(Error::io(&self.path))?.flatten() {
            if which(&entry.file_name().to_string_lossy()) {
                fs::remove_file(entry.path()).map_err(Error::io(entry.path()))?;
            }
        }
        Ok(())
    }

    /// Writes a generation, and removes those that are too many then.
    fn add(&self, write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> Result<()> {
        // Nobody else is writing here; should something not go, it is in nobody's way.
        let _ = self.remove_files(is_left_behind);
        let numbers = self.generations()?;
        let number = numbers.last().map_or(1, |newest| newest + 1);
        replace_file(&self.file(number), write)?;
        let whole: Vec<u64> = numbers.into_iter().filter(|number| !self.damaged.contains(number)).collect();
        for &old in &whole[..whole.len().saturating_sub(KEPT - 1)] {
            // One too many does no harm.
            let _ = fs::remove_file(self.file(old));
        }
        Ok(())
    }
}

impl Drop for CheckpointFolder {
    fn drop(&mut self) {
        // Goes only when it is empty.
        let _ = fs::remove_dir(&self.path);
    }
}

/// The number of the generation that a file of this name is.
fn generation(name: &str) -> Option<u64> {
    name.strip_suffix(SUFFIX)?.parse().ok()
}

/// Whether a file of this name is what a killed run was writing.
fn is_left_behind(name: &str) -> bool {
    name.starts_with('.') && name.contains(SUFFIX)
}

enum Lock {
    Ours(File),
    Impossible,
    Stale,
}

fn lock(path: &Path) -> Result<Lock> {
    let Ok(folder) = File::open(path) else {
        return Ok(if cfg!(unix) && !path.exists() { Lock::Stale } else { Lock::Impossible });
    };
    match folder.try_lock() {
        Ok(()) if is_at(&folder, path) => Ok(Lock::Ours(folder)),
        Ok(()) => Ok(Lock::Stale),
        Err(TryLockError::WouldBlock) => {
            let busy = "another run is making this model: wait until it has ended, or choose another --output";
            Err(Error::io(path)(io::Error::new(io::ErrorKind::ResourceBusy, busy)))
        }
        Err(TryLockError::Error(_)) => Ok(Lock::Impossible),
    }
}

/// The checkpoints of a run: where they go, how often, and what they hold besides the state.
#[derive(Debug)]
pub struct Checkpoints<'a> {
    folder: &'a CheckpointFolder,
    every: Duration,
    tokenizer: String,
    config: TrainConfig,
    about: Value,
    text: String,
    // The last one, or the beginning.
    written: Instant,
}

impl<'a> Checkpoints<'a> {
    /// Checkpoints of a run that trains on `stream`; `about` is kept for the caller.
    pub fn new(
        folder: &'a CheckpointFolder,
        every: Duration,
        stream: &IdStream,
        tokenizer: &Tokenizer,
        config: &TrainConfig,
        about: Value,
    ) -> Checkpoints<'a> {
        Checkpoints {
            folder,
            every: every.min(MOST_SELDOM),
            tokenizer: tokenizer.to_json(),
            config: config.clone(),
            about,
            text: stream.fingerprint(),
            written: Instant::now(),
        }
    }

    /// When the next one is to be written.
    pub(crate) fn due(&self) -> Instant {
        self.written + self.every
    }

    /// The newest one, if there is one.
    pub(crate) fn newest(&self) -> Option<PathBuf> {
        self.folder.newest()
    }

    /// Writes one; a disk that will not take it is no reason to stop.
    pub(crate) fn save(&mut self, state: &TrainState, progress: &dyn Progress) {
        let header = Header {
            version: env!("CARGO_PKG_VERSION").to_string(),
            cpu: cpu().unwrap_or_default().to_string(),
            config: self.config.clone(),
            about: self.about.clone(),
            text: self.text.clone(),
            position: state.position,
            epochs: state.epochs.clone(),
            tokenizer_bytes: self.tokenizer.len(),
            n_inputs: state.input.n_rows(),
            n_outputs: state.output.n_rows(),
        };
        let tokenizer = self.tokenizer.as_bytes();
        if let Err(error) = self.folder.add(|out| write(out, &header, tokenizer, &state.input, &state.output)) {
            let text = format!("no checkpoint could be written, older ones stay as they are: {error}");
            progress.report(&Event::Warning(&text));
        }
        self.written = Instant::now();
    }
}

/// A checkpoint, read.
#[derive(Debug)]
pub struct Checkpoint {
    /// The settings of the run.
    pub config: TrainConfig,
    /// Its tokenizer.
    pub tokenizer: Tokenizer,
    /// What was given to [`Checkpoints::new`].
    pub about: Value,
    /// Where it was.
    pub state: TrainState,
    /// The kernels that it ran on, as [`cpu`] names them: others round otherwise.
    pub cpu: String,
    /// The fingerprint of the stream that it was trained on; no other one will do.
    pub text: String,
}

#[derive(Serialize, Deserialize)]
struct Header {
    version: String,
    cpu: String,
    config: TrainConfig,
    about: Value,
    text: String,
    position: Position,
    epochs: Vec<EpochReport>,
    tokenizer_bytes: usize,
    n_inputs: usize,
    n_outputs: usize,
}

fn write(out: &mut dyn Write, header: &Header, tokenizer: &[u8], input: &Matrix, output: &Matrix) -> io::Result<()> {
    let mut out = Hashed::new(out);
    let header = serde_json::to_vec(header)?;
    for part in [MAGIC, LAYOUT, &(header.len() as u64).to_le_bytes(), &header, tokenizer] {
        out.write_all(part)?;
    }
    let mut bytes = vec![0; 4 * input.dim()];
    for matrix in [input, output] {
        for row in 0..matrix.n_rows() {
            LittleEndian::write_f32_into(matrix.row(row), &mut bytes);
            out.write_all(&bytes)?;
        }
    }
    let (out, checksum) = out.finish();
    out.write_all(checksum.as_bytes())
}

/// What is wrong with a checkpoint that is damaged.
type Damage = String;

/// Reads one; the outer error is about checkpoints that are whole but not ours.
fn read(bytes: &[u8], path: &Path) -> Result<Result<Checkpoint, Damage>> {
    let Some((body, written)) = bytes.split_last_chunk::<CHECKSUM_BYTES>() else {
        return Ok(Err(format!("has {} bytes, too few for a checkpoint", bytes.len())));
    };
    if checksum(body).as_bytes() != written {
        return Ok(Err("its checksum is not that of its bytes; it was cut short or changed".to_string()));
    }
    let refuse = |reason: String| Err(Error::format(path, reason));
    let Some(body) = body.strip_prefix(MAGIC) else {
        return refuse("is not a checkpoint of wordgrove".to_string());
    };
    let Some(body) = body.strip_prefix(LAYOUT) else {
        return refuse("has a layout that this wordgrove cannot read: go on with the one that wrote it".to_string());
    };
    Ok(parse(body, path)?.ok_or_else(|| "its parts do not fit together".to_string()))
}

/// Takes a checkpoint apart, from the length of the header on; `None` when its parts do not fit together.
fn parse(body: &[u8], path: &Path) -> Result<Option<Checkpoint>> {
    let Some((length, rest)) = body.split_first_chunk::<8>() else { return Ok(None) };
    let Ok(length) = usize::try_from(u64::from_le_bytes(*length)) else { return Ok(None) };
    let Some((header, rest)) = rest.split_at_checked(length) else { return Ok(None) };
    // The version before everything else: another one may have other settings.
    let Ok(header) = serde_json::from_slice::<Value>(header) else { return Ok(None) };
    let (version, ours) = (header["version"].as_str().unwrap_or("another version"), env!("CARGO_PKG_VERSION"));
    if version != ours {
        let reason = format!("was written by wordgrove {version}, this is {ours}: go on with the one that wrote it");
        return Err(Error::format(path, reason));
    }
    let Ok(header) = serde_json::from_value::<Header>(header) else { return Ok(None) };
    let Header { config, position, epochs, n_inputs, n_outputs, .. } = header;
    let Some((tokenizer, numbers)) = rest.split_at_checked(header.tokenizer_bytes) else { return Ok(None) };
    let tokenizer = Tokenizer::from_json(tokenizer, path)?;
    let size = n_inputs.checked_add(n_outputs).and_then(|rows| rows.checked_mul(config.dim)?.checked_mul(4));
    let fits = config.check().is_ok()
        && size == Some(numbers.len())
        && (n_inputs, n_outputs) == (tokenizer.n_tokens(), config.loss.n_outputs(tokenizer.n_tokens()))
        && usize::try_from(position.epoch) == Ok(epochs.len() + 1)
        && position.epoch <= config.epochs + 1;
    if !fits {
        return Ok(None);
    }
    let (input, output) = numbers.split_at(4 * config.dim * n_inputs);
    let matrix = |bytes: &[u8], n_rows: usize| {
        let mut matrix = Matrix::zeros(n_rows, config.dim);
        for (row, bytes) in bytes.chunks_exact(4 * config.dim).enumerate() {
            LittleEndian::read_f32_into(bytes, matrix.row_mut(row));
        }
        matrix
    };
    let state = TrainState { input: matrix(input, n_inputs), output: matrix(output, n_outputs), epochs, position };
    Ok(Some(Checkpoint { config, tokenizer, about: header.about, state, cpu: header.cpu, text: header.text }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::progress::Silent;
    use crate::tokens::{IdStreamBuilder, TokenId};

    fn stream() -> IdStream {
        let mut builder = IdStreamBuilder::new(3, Path::new("."));
        builder.push(&[TokenId(0), TokenId(2), TokenId(0)]).unwrap();
        builder.finish().unwrap()
    }

    fn tokenizer() -> Tokenizer {
        Tokenizer::from_words(vec![b"a".to_vec(), b"b".to_vec(), b"c".to_vec()]).unwrap()
    }

    fn state(epoch: u32) -> (TrainConfig, TrainState) {
        let config = TrainConfig { dim: 5, epochs: 9, ..TrainConfig::default() };
        let mut state = TrainState::begin(&stream(), &config).unwrap();
        state.position.epoch = epoch;
        state.position.tally.bits = 0.1 + 0.2;
        state.output.row_mut(1)[4] = f32::MIN_POSITIVE / 8.0;
        state.epochs = (1..epoch)
            .map(|epoch| EpochReport {
                epoch,
                measure: Default::default(),
                train_bits: 1.0 / 3.0,
                held_out_bits: None,
                held_out_predictions: 0,
                tokens_per_second: 2e6 / 7.0,
                seconds: 0.7,
            })
            .collect();
        (config, state)
    }

    /// Keeps a checkpoint at the start of each of the `epochs` in `folder`.
    fn fill(folder: &CheckpointFolder, epochs: std::ops::RangeInclusive<u32>) {
        for epoch in epochs {
            let (config, state) = state(epoch);
            let about = Value::from("what it is");
            let every = Duration::from_secs(1);
            Checkpoints::new(folder, every, &stream(), &tokenizer(), &config, about).save(&state, &Silent);
        }
    }

    /// The epoch that a folder leads back to.
    fn epoch(path: &Path) -> Result<Option<u32>> {
        Ok(CheckpointFolder::open(path)?.read(&Silent)?.map(|checkpoint| checkpoint.state.epoch()))
    }

    fn names(path: &Path) -> Vec<String> {
        let entries = fs::read_dir(path).unwrap();
        let mut names: Vec<String> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn a_state_comes_back_as_it_was_and_two_generations_stay() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("m.checkpoint");
        let mut folder = CheckpointFolder::open(&path).unwrap();
        fill(&folder, 1..=4);
        assert_eq!(names(&path), ["3.checkpoint", "4.checkpoint"]);
        let checkpoint = folder.read(&Silent).unwrap().unwrap();
        let (config, state) = state(4);
        assert_eq!((checkpoint.config, checkpoint.about), (config, Value::from("what it is")));
        assert_eq!((checkpoint.state.position, &checkpoint.state.epochs), (state.position, &state.epochs));
        assert_eq!(checkpoint.state.input.as_slice(), state.input.as_slice());
        assert_eq!(checkpoint.state.output.as_slice(), state.output.as_slice());
        assert_eq!(checkpoint.tokenizer.to_json(), tokenizer().to_json());
        assert_eq!(checkpoint.text, stream().fingerprint());
        folder.clear().unwrap();
        assert!(folder.read(&Silent).unwrap().is_none());
        drop(folder);
        assert!(names(home.path()).is_empty(), "an empty folder goes with whoever had it open");
    }

    #[test]
    fn every_cut_and_every_changed_byte_is_noticed() {
        // C2, C3
        let home = tempfile::tempdir().unwrap();
        let folder = CheckpointFolder::open(&home.path().join("m.checkpoint")).unwrap();
        fill(&folder, 2..=2);
        let path = folder.newest().unwrap();
        let bytes = fs::read(&path).unwrap();
        assert!(read(&bytes, &path).unwrap().is_ok());
        for end in 0..bytes.len() {
            assert!(read(&bytes[..end], &path).unwrap().is_err(), "cut at {end}");
        }
        for at in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[at] ^= 1 << (at % 8);
            assert!(read(&changed, &path).unwrap().is_err(), "changed at {at}");
        }
    }

    #[test]
    fn a_header_that_lies_under_a_true_checksum_is_refused_without_allocating() {
        let home = tempfile::tempdir().unwrap();
        let folder = CheckpointFolder::open(&home.path().join("m.checkpoint")).unwrap();
        fill(&folder, 2..=2);
        let path = folder.newest().unwrap();
        let bytes = fs::read(&path).unwrap();
        let start = MAGIC.len() + LAYOUT.len() + 8;
        let length = LittleEndian::read_u64(&bytes[start - 8..]) as usize;
        let (header, rest) = bytes[start..bytes.len() - CHECKSUM_BYTES].split_at(length);
        let header: Value = serde_json::from_slice(header).unwrap();
        let with = |header: &Value, length: Option<u64>| {
            let header = serde_json::to_vec(header).unwrap();
            let length = length.unwrap_or(header.len() as u64);
            let mut lie = [MAGIC, LAYOUT, &length.to_le_bytes(), &header, rest].concat();
            lie.extend_from_slice(checksum(&lie).as_bytes());
            read(&lie, &path)
        };
        assert!(with(&header, None).unwrap().is_ok(), "the truth");
        assert!(with(&header, Some(u64::MAX)).unwrap().is_err());
        assert!(with(&header, Some(3)).unwrap().is_err());
        for (field, lie) in [
            ("n_inputs", Value::from(u64::MAX)),
            ("n_inputs", Value::from(4)),
            ("n_outputs", Value::from(1u64 << 62)),
            ("tokenizer_bytes", Value::from(u64::MAX)),
            ("tokenizer_bytes", Value::from(-1)),
            ("epochs", Value::from(Vec::<Value>::new())),
            ("position", Value::Null),
            ("config", Value::from("none")),
        ] {
            let mut header = header.clone();
            header[field] = lie;
            assert!(with(&header, None).map_or(true, |read| read.is_err()), "{field}: {}", header[field]);
        }
        for (field, lie) in [("dim", Value::from(1u64 << 60)), ("dim", Value::from(6)), ("epochs", Value::from(0))] {
            let mut header = header.clone();
            header["config"][field] = lie;
            assert!(with(&header, None).unwrap().is_err(), "{field}: {}", header["config"][field]);
        }
    }

    #[test]
    fn a_write_that_fails_at_any_byte_leaves_the_generation_before() {
        // C2, C6
        struct Failing<'a>(&'a mut dyn Write, usize);
        impl Write for Failing<'_> {
            fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
                if bytes.len() > self.1 {
                    return Err(io::ErrorKind::StorageFull.into());
                }
                self.1 -= bytes.len();
                self.0.write_all(bytes)?;
                Ok(bytes.len())
            }

            fn flush(&mut self) -> io::Result<()> {
                self.0.flush()
            }
        }
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("m.checkpoint");
        let folder = CheckpointFolder::open(&path).unwrap();
        fill(&folder, 1..=2);
        let bytes = fs::read(folder.newest().unwrap()).unwrap();
        for room in (0..bytes.len()).step_by(97) {
            let failed = folder.add(|out| {
                let mut out = Failing(out, room);
                bytes.chunks(7).try_for_each(|part| out.write_all(part))
            });
            assert!(matches!(failed, Err(Error::Io { .. })), "{room}");
            fs::write(path.join(".9.checkpoint.wordgrove-dead"), &bytes[..room]).unwrap();
        }
        drop(folder);
        assert_eq!(epoch(&path).unwrap(), Some(2));
    }

    #[test]
    fn damaged_generations_are_named_left_alone_and_do_not_drive_out_good_ones() {
        // C3, C4
        struct Warnings(std::sync::Mutex<Vec<String>>);
        impl Progress for Warnings {
            fn report(&self, event: &Event<'_>) {
                if let Event::Warning(text) = event {
                    self.0.lock().unwrap().push(text.to_string());
                }
            }
        }
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("m.checkpoint");
        let mut folder = CheckpointFolder::open(&path).unwrap();
        fill(&folder, 1..=3);
        fs::write(path.join("3.checkpoint"), b"wordgrove checkpoint 1\n").unwrap();
        let warnings = Warnings(Default::default());
        assert_eq!(folder.read(&warnings).unwrap().unwrap().state.epoch(), 2);
        let said = warnings.0.into_inner().unwrap();
        assert!(matches!(&said[..], [one] if one.contains("3.checkpoint") && one.contains("2.checkpoint")), "{said:?}");
        fill(&folder, 4..=4);
        assert_eq!(names(&path), ["2.checkpoint", "3.checkpoint", "4.checkpoint"]);
        fill(&folder, 5..=5);
        assert_eq!(names(&path), ["3.checkpoint", "4.checkpoint", "5.checkpoint"]);
        for name in names(&path) {
            fs::write(path.join(name), b"").unwrap();
        }
        let error = folder.read(&Silent).unwrap_err().to_string();
        assert!(["3.", "4.", "5.", "left as they are"].iter().all(|words| error.contains(words)), "{error}");
        assert_eq!(names(&path).len(), 3);
    }

    #[test]
    fn a_folder_belongs_to_one_run_at_a_time() {
        // C9
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("m.checkpoint");
        let folder = CheckpointFolder::open(&path).unwrap();
        let refused = CheckpointFolder::open(&path).unwrap_err().to_string();
        assert!(refused.contains("another run"), "{refused}");
        drop(folder);
        assert!(!path.exists());
        // Whoever waits at the door while others come and go gets in alone.
        let inside = std::sync::atomic::AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..200 {
                        if let Ok(folder) = CheckpointFolder::open(&path) {
                            use std::sync::atomic::Ordering::SeqCst;
                            assert_eq!(inside.fetch_add(1, SeqCst), 0);
                            inside.fetch_sub(1, SeqCst);
                            drop(folder);
                        }
                    }
                });
            }
        });
        assert!(CheckpointFolder::open(&home.path().join("no/m.checkpoint")).is_err());
    }
}
