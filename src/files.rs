//! Files as a whole: map them to read, replace them without ever losing the old one.
//!
//! In: paths. Out: bytes, or a file that is either the old one or the complete new one. No other place
//! in the crate maps files.

use std::fs::{self, File};
use std::hash::BuildHasher;
use std::io::{self, BufWriter, Write};
use std::ops::{Deref, Range};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use memmap2::Mmap;
use sha2::{Digest, Sha256};
use tempfile::NamedTempFile;

use crate::error::{Error, Result};

/// How long nobody has written to a file that counts as abandoned.
const ABANDONED: std::time::Duration = std::time::Duration::from_secs(60);

/// The bytes of a file: mapped, or in memory where mapping does not work (pipes, empty files) or is not worth a file.
/// Cheap to clone.
#[derive(Debug, Clone)]
pub struct FileBytes(Arc<Storage>);

#[derive(Debug)]
enum Storage {
    Mapped(Mmap),
    Owned(Vec<u8>),
    Narrow(Vec<u16>),
    Wide(Vec<u32>),
}

impl FileBytes {
    /// Maps the file at `path` for reading.
    ///
    /// The file must not be cut short while it is mapped: the operating system ends a process that reads past the new
    /// end. Files that wordgrove writes are replaced by renaming and so never shrink.
    pub fn open(path: &Path) -> Result<FileBytes> {
        let file = File::open(path).map_err(Error::io(path))?;
        FileBytes::map(&file, path)
    }

    /// Maps an open file; `path` is for messages.
    pub fn map(file: &File, path: &Path) -> Result<FileBytes> {
        let metadata = file.metadata().map_err(Error::io(path))?;
        if metadata.is_dir() {
            return Err(Error::format(path, "is a folder, expected a file"));
        }
        if !metadata.is_file() || metadata.len() == 0 {
            let mut bytes = Vec::new();
            io::copy(&mut io::BufReader::new(file), &mut bytes).map_err(Error::io(path))?;
            return Ok(FileBytes::from(bytes));
        }
        // SAFETY: a map is undefined behaviour if the file changes under it. Everything we write ourselves is written
        // beside and renamed, never in place; the documentation of `open` hands the rest of the contract to the user,
        // as every program that maps files must.
        let map = unsafe { Mmap::map(file) }.map_err(Error::io(path))?;
        Ok(FileBytes(Arc::new(Storage::Mapped(map))))
    }

    /// The bytes of `range` as little-endian `f32`, in place.
    ///
    /// `None` where that cannot be: on a big-endian machine, where the range does not start at a multiple of four bytes
    /// in memory, is not a whole number of `f32`, or lies outside the file. The caller then copies.
    pub fn floats(&self, range: Range<usize>) -> Option<&[f32]> {
        let bytes = self.get(range)?;
        if cfg!(target_endian = "big") {
            return None;
        }
        bytemuck::try_cast_slice(bytes).ok()
    }

    /// Says that the bytes in `range` will not be read again soon, so that a mapped file that is read once from end to
    /// end does not count, page by page, as memory in use. They can still be read, and are the same.
    pub fn release(&self, range: Range<usize>) {
        /// Touching a page maps its neighbours too, at most as many as a large page has; they are let go with it.
        #[cfg(target_os = "linux")]
        const NEIGHBOURS: usize = 1 << 21;
        assert!(range.start <= range.end && range.end <= self.len(), "{range:?} of {} bytes", self.len());
        #[cfg(target_os = "linux")]
        if let Storage::Mapped(map) = &*self.0 {
            let range = range.start.saturating_sub(NEIGHBOURS)..self.len().min(range.end + NEIGHBOURS);
            // SAFETY: the map is shared and read-only, so dropping its pages loses nothing: the next read fetches the
            // same bytes from the file again. The range lies inside the map, as asserted.
            let released = unsafe {
                map.unchecked_advise_range(memmap2::UncheckedAdvice::DontNeed, range.start, range.end - range.start)
            };
            // It is advice: where the system does not take it, the pages merely stay.
            drop(released);
        }
    }
}

impl From<Vec<u8>> for FileBytes {
    fn from(bytes: Vec<u8>) -> FileBytes {
        FileBytes(Arc::new(Storage::Owned(bytes)))
    }
}

impl From<Vec<u16>> for FileBytes {
    fn from(numbers: Vec<u16>) -> FileBytes {
        FileBytes(Arc::new(Storage::Narrow(numbers)))
    }
}

impl From<Vec<u32>> for FileBytes {
    fn from(numbers: Vec<u32>) -> FileBytes {
        FileBytes(Arc::new(Storage::Wide(numbers)))
    }
}

impl Deref for FileBytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match &*self.0 {
            Storage::Mapped(map) => map,
            Storage::Owned(bytes) => bytes,
            Storage::Narrow(numbers) => bytemuck::cast_slice(numbers),
            Storage::Wide(numbers) => bytemuck::cast_slice(numbers),
        }
    }
}

/// Keeps the checksum of what goes through.
pub(crate) struct Hashed<W> {
    inner: W,
    hash: Sha256,
}

impl<W: Write> Hashed<W> {
    /// Nothing has gone through yet.
    pub(crate) fn new(inner: W) -> Hashed<W> {
        Hashed { inner, hash: Sha256::new() }
    }

    /// What everything went to, and the SHA-256 of it, 64 hexadecimal digits.
    pub(crate) fn finish(self) -> (W, String) {
        (self.inner, hex(&self.hash.finalize()))
    }
}

/// The SHA-256 of `bytes`, 64 hexadecimal digits.
pub(crate) fn checksum(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

impl<W: Write> Write for Hashed<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let n = self.inner.write(bytes)?;
        self.hash.update(&bytes[..n]);
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

/// Writes a file beside `path`, then puts it in the place of `path` in one step.
///
/// Whatever fails, or whenever the machine stops, `path` holds the old bytes or the new ones, never a mix. A symbolic
/// link is followed, so that the file it points to is replaced. Devices and pipes are written straight through.
pub fn replace_file(path: &Path, write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> Result<()> {
    match write_beside(path, write)? {
        Some(file) => put(path, file),
        None => Ok(()),
    }
}

/// Replaces a file and another one that means nothing without it, such as an index.
///
/// Both are written beside the old ones first. Then the old `main` is removed, so that whenever the machine stops,
/// whoever finds `main` finds the `other` that belongs to it.
pub fn replace_pair(main: (&Path, &[u8]), other: (&Path, &[u8])) -> Result<()> {
    let write = |(path, bytes): (&Path, &[u8])| write_beside(path, |out| out.write_all(bytes));
    let (new_main, new_other) = (write(main)?, write(other)?);
    if new_main.is_some()
        && let Err(error) = fs::remove_file(target(main.0))
        && error.kind() != io::ErrorKind::NotFound
    {
        return Err(Error::io(main.0)(error));
    }
    for (path, file) in [(other.0, new_other), (main.0, new_main)] {
        if let Some(file) = file {
            put(path, file)?;
        }
    }
    Ok(())
}

/// The file that `path` leads to.
fn target(path: &Path) -> PathBuf {
    fs::canonicalize(path).unwrap_or_else(|_| path.to_path_buf())
}

/// Writes a file beside `path`; `None` where `path` is no file, and has been written to itself.
fn write_beside(path: &Path, write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> Result<Option<NamedTempFile>> {
    if let Ok(metadata) = fs::metadata(path)
        && !metadata.is_file()
    {
        if metadata.is_dir() {
            return Err(Error::format(path, "is a folder, expected a file to write"));
        }
        let file = File::options().write(true).open(path).map_err(Error::io(path))?;
        let mut writer = BufWriter::with_capacity(1 << 18, file);
        write(&mut writer).map_err(Error::io(path))?;
        return writer.flush().map_err(Error::io(path)).map(|()| None);
    }
    let target = target(path);
    let folder = parent(&target);
    let prefix = beside_prefix(&target);
    remove_abandoned(&folder, &prefix);
    let mut beside = tempfile::Builder::new();
    beside.prefix(&prefix);
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        // As a plain `open` would: readable for all, less the umask. tempfile's own default is 0600.
        beside.permissions(fs::Permissions::from_mode(0o666));
    }
    let file = beside.tempfile_in(&folder).map_err(Error::io(path))?;
    // Held until the end, so that others can tell it from one whose writer was killed. Where the file system has no
    // locks, such leftovers stay.
    let _ = file.as_file().lock();
    let mut writer = BufWriter::with_capacity(1 << 18, file);
    write(&mut writer).map_err(Error::io(path))?;
    let file = writer.into_inner().map_err(|error| error.into_error()).map_err(Error::io(path))?;
    file.as_file().sync_all().map_err(Error::io(path))?;
    Ok(Some(file))
}

/// Puts a file that was written beside `path` in its place.
fn put(path: &Path, file: NamedTempFile) -> Result<()> {
    let target = target(path);
    file.persist(&target).map_err(|error| Error::Io { path: path.to_path_buf(), source: error.error })?;
    sync_folder(&parent(&target))
}

/// Finds out, before any work is done, whether [`replace_file`] could write at `path`.
///
/// # Errors
/// A folder at `path`; a parent that is missing or cannot be written to.
pub fn check_replaceable(path: &Path) -> Result<()> {
    match fs::metadata(path) {
        Ok(metadata) if metadata.is_dir() => Err(Error::format(path, "is a folder, expected a file to write")),
        Ok(metadata) if !metadata.is_file() => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::InvalidFilename => Err(Error::io(path)(error)),
        _ => {
            let folder = parent(&fs::canonicalize(path).unwrap_or_else(|_| path.to_path_buf()));
            // Trying is the only test that knows of permissions, quotas and read-only mounts alike.
            tempfile::tempfile_in(&folder).map(drop).map_err(Error::io(path))
        }
    }
}

/// What the names of files and folders begin with that are written beside `target` to take its place: `.NAME.wordgrove-`.
///
/// Most file systems allow 255 bytes for a name. Of a name so long that more would not fit, there is its beginning and a
/// number that other names with that beginning don't have.
pub(crate) fn beside_prefix(target: &Path) -> String {
    const MOST: usize = 200;
    let name = target.file_name().unwrap_or_default();
    let mut shown = name.to_string_lossy().into_owned();
    if shown.len() > MOST {
        shown.truncate(shown.floor_char_boundary(MOST - 20));
        shown.push_str(&format!("~{:016x}", rustc_hash::FxBuildHasher.hash_one(name)));
    }
    format!(".{shown}.wordgrove-")
}

/// Whether `path` still leads to the file or folder that was opened.
pub(crate) fn is_at(opened: &File, path: &Path) -> bool {
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt;
        let identity = |metadata: fs::Metadata| (metadata.dev(), metadata.ino());
        opened.metadata().map(identity).ok() == fs::metadata(path).map(identity).ok()
    }
    #[cfg(not(unix))]
    {
        let _ = opened;
        path.exists()
    }
}

/// Removes what killed processes left beside a file: names with `prefix` that nobody holds a lock on.
fn remove_abandoned(folder: &Path, prefix: &str) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        // Another writer may stand between making its file and locking it, so a file must have some age, too.
        let is_old = || {
            entry.metadata().and_then(|m| m.modified()).is_ok_and(|at| at.elapsed().is_ok_and(|age| age > ABANDONED))
        };
        if entry.file_name().to_str().is_some_and(|name| name.starts_with(prefix))
            && is_old()
            && File::open(entry.path()).is_ok_and(|file| file.try_lock().is_ok())
        {
            // Somebody else may have been faster, which is as good.
            let _ = fs::remove_file(entry.path());
        }
    }
}

/// The folder that holds `path`; `.` for a bare name.
pub fn parent(path: &Path) -> PathBuf {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder.to_path_buf(),
        _ => PathBuf::from("."),
    }
}

/// Makes the names in `folder` durable.
pub fn sync_folder(folder: &Path) -> Result<()> {
    // Folders cannot be opened as files everywhere; where they can't, there is nothing to flush by hand.
    if cfg!(unix) {
        File::open(folder).and_then(|folder| folder.sync_all()).map_err(Error::io(folder))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_write_leaves_the_old_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.txt");
        replace_file(&path, |out| out.write_all(b"old")).unwrap();
        let failed = replace_file(&path, |out| {
            out.write_all(b"half of the new")?;
            Err(io::Error::other("the disk is full"))
        });
        assert!(failed.unwrap_err().to_string().contains("the disk is full"));
        assert_eq!(&*FileBytes::open(&path).unwrap(), b"old");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "nothing is left beside it");
    }

    #[test]
    fn a_pair_is_old_or_new_and_never_mixed() {
        let folder = tempfile::tempdir().unwrap();
        let (main, other) = (folder.path().join("main"), folder.path().join("other"));
        let read = |path: &Path| fs::read(path).ok();
        replace_pair((&main, b"1"), (&other, b"one")).unwrap();
        replace_pair((&main, b"2"), (&other, b"two")).unwrap();
        assert_eq!((read(&main), read(&other)), (Some(b"2".to_vec()), Some(b"two".to_vec())));
        // What fails before all is written leaves both.
        assert!(replace_pair((&main, b"3"), (&folder.path().join("no/other"), b"three")).is_err());
        assert_eq!((read(&main), read(&other)), (Some(b"2".to_vec()), Some(b"two".to_vec())));
        // What fails later leaves no main beside an other that is not its own.
        let blocked = folder.path().join("blocked");
        let file = write_beside(&blocked, |out| out.write_all(b"four")).unwrap().unwrap();
        fs::create_dir(&blocked).unwrap();
        assert!(put(&blocked, file).is_err());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 3, "nothing is left beside them");
    }

    #[test]
    fn a_name_may_be_as_long_as_the_file_system_allows() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["x".repeat(255), "x".repeat(254), "é".repeat(127), "中".repeat(85), "y".repeat(201)] {
            let path = folder.path().join(&name);
            check_replaceable(&path).unwrap();
            replace_file(&path, |out| out.write_all(name.as_bytes())).unwrap();
            assert_eq!(fs::read(&path).unwrap(), name.as_bytes());
            assert!(beside_prefix(&path).len() <= 255 - "new-123456".len());
        }
        assert_ne!(beside_prefix(Path::new(&"x".repeat(255))), beside_prefix(Path::new(&"x".repeat(254))));
        assert_eq!(beside_prefix(Path::new("a/b.txt")), ".b.txt.wordgrove-");
        if cfg!(target_os = "linux") {
            assert!(check_replaceable(&folder.path().join("x".repeat(256))).is_err());
        }
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 5);
    }

    #[test]
    fn what_cannot_be_replaced_is_known_beforehand() {
        let folder = tempfile::tempdir().unwrap();
        assert!(check_replaceable(&folder.path().join("new.txt")).is_ok());
        assert!(check_replaceable(folder.path()).is_err(), "a folder");
        assert!(check_replaceable(&folder.path().join("no/new.txt")).is_err(), "no such folder");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0, "nothing is left of the trial");
    }

    #[test]
    fn a_replaced_file_is_new_for_readers_and_old_for_those_who_have_it_open() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.txt");
        replace_file(&path, |out| out.write_all(b"old")).unwrap();
        let before = FileBytes::open(&path).unwrap();
        replace_file(&path, |out| out.write_all(b"the new one")).unwrap();
        assert_eq!(&*before, b"old");
        assert_eq!(&*FileBytes::open(&path).unwrap(), b"the new one");
    }

    #[test]
    fn floats_are_read_in_place_only_where_they_lie_right() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("floats");
        replace_file(&path, |out| out.write_all(&[0, 0, 128, 63, 0, 0, 0, 192, 7])).unwrap();
        let bytes = FileBytes::open(&path).unwrap();
        if cfg!(target_endian = "little") {
            assert_eq!(bytes.floats(0..8), Some(&[1.0, -2.0][..]));
        }
        assert_eq!(bytes.floats(1..9), None, "not aligned");
        assert_eq!(bytes.floats(0..7), None, "not whole");
        assert_eq!(bytes.floats(4..12), None, "past the end");
    }

    #[test]
    fn released_bytes_can_be_read_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.txt");
        let written: Vec<u8> = (0..100_000u32).map(|i| i as u8).collect();
        fs::write(&path, &written).unwrap();
        let bytes = FileBytes::open(&path).unwrap();
        bytes.release(0..0);
        bytes.release(5000..70_001);
        assert_eq!(*bytes, written);
        bytes.release(0..bytes.len());
        assert_eq!(*bytes, written);
        FileBytes::from(written).release(0..100_000);
    }

    #[test]
    fn what_a_killed_process_left_is_removed_by_the_next_one() {
        let folder = tempfile::tempdir().unwrap();
        let aged = |name: &str| {
            let file = File::create(folder.path().join(name)).unwrap();
            file.set_modified(std::time::SystemTime::now() - 2 * ABANDONED).unwrap();
            file
        };
        drop(aged(".a.txt.wordgrove-old"));
        let held = aged(".a.txt.wordgrove-held");
        held.lock().unwrap();
        drop(aged(".b.txt.wordgrove-other"));
        fs::write(folder.path().join(".a.txt.wordgrove-new"), b"").unwrap();
        replace_file(&folder.path().join("a.txt"), |out| out.write_all(b"x")).unwrap();
        let mut names: Vec<_> = fs::read_dir(folder.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
        names.sort();
        let expected = [".a.txt.wordgrove-held", ".a.txt.wordgrove-new", ".b.txt.wordgrove-other", "a.txt"];
        assert_eq!(names, expected);
    }

    #[test]
    fn an_empty_file_is_empty_bytes_and_a_folder_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("empty");
        fs::write(&path, b"").unwrap();
        assert!(FileBytes::open(&path).unwrap().is_empty());
        assert!(FileBytes::open(folder.path()).is_err());
    }
}
