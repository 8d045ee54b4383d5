//! A folder that is replaced whole.
//!
//! In: the path of a folder and what to write into it. Out: at every moment the old folder or the complete new one.
//!
//! The new folder is written beside, flushed, and put in place in one step: renamed where there was nothing, exchanged
//! with the old one where there was. File systems that cannot exchange get two renames, and whoever finds nothing in
//! between is told where the old folder is ([`missing`]).
//!
//! # What a killed run leaves behind
//! `.NAME.wordgrove-new-XXXXXX`, beside NAME. A run holds a lock on its new folder while it lives, so the next run with
//! the same destination removes those that nobody holds, once they are a minute old (a folder is made a moment before it
//! is locked). `.NAME.wordgrove-old-XXXXXX` is an old folder set aside; it goes only after a new one is in place.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use tempfile::TempDir;

use crate::error::{Error, Result};
use crate::files::{Hashed, beside_prefix, parent, sync_folder};

/// How old an unlocked new folder must be before it counts as left behind.
const LEFT_BEHIND: Duration = Duration::from_secs(60);

/// A folder that is being written and will take the place of another.
pub(crate) struct NewFolder {
    target: PathBuf,
    beside: TempDir,
    /// Keeps the lock; dropped with the folder.
    _lock: Option<File>,
}

impl NewFolder {
    /// Makes an empty folder beside `path`.
    pub fn beside(path: &Path) -> Result<NewFolder> {
        let target = resolve(path)?;
        remove_left_behind(&target);
        let beside = make_beside(&target, "new")?;
        let lock = lock(beside.path());
        Ok(NewFolder { target, beside, _lock: lock })
    }

    /// Writes a file of the folder and flushes it to the disk; returns the SHA-256 of its bytes.
    pub fn write(&self, name: &str, contents: &dyn Fn(&mut dyn Write) -> io::Result<()>) -> Result<String> {
        write_flushed(&self.beside.path().join(name), contents).map_err(Error::io(self.target.join(name)))
    }

    /// Puts the folder, whose files the caller has flushed, in the place of the old one. `may_replace` is asked about
    /// what is there now, as by [`look`].
    ///
    /// # Errors
    /// When that cannot be done the new folder is kept under a name that the error gives: it may be hours of work.
    pub fn put_in_place(self, may_replace: impl FnOnce(&Path, &[OsString]) -> Result<()>) -> Result<()> {
        let NewFolder { target, beside, _lock } = self;
        let turn = take_turn(&target);
        let new = beside.keep();
        let placed = sync_folder(&new).and_then(|()| ask(&target, may_replace)).and_then(|()| place(&new, &target));
        if let Err(error) = placed {
            let mut kept = target.file_name().unwrap_or_default().to_os_string();
            kept.push(".kept-");
            kept.push(random_end(&new));
            let kept = parent(&target).join(kept);
            let kept = if fs::rename(&new, &kept).is_ok() { kept } else { new };
            let reason = format!("cannot be replaced: {error}; what was to be saved is kept in {}", kept.display());
            return Err(Error::format(&target, reason));
        }
        drop(turn);
        sync_folder(&parent(&target))?;
        for old in siblings(&target, "old") {
            // What cannot be removed now is tried again next time; the new folder is in place, so nothing has failed.
            let _ = fs::remove_dir_all(old);
        }
        Ok(())
    }
}

fn write_flushed(path: &Path, contents: &dyn Fn(&mut dyn Write) -> io::Result<()>) -> io::Result<String> {
    let mut out = BufWriter::with_capacity(1 << 18, Hashed::new(File::create_new(path)?));
    contents(&mut out)?;
    let (file, checksum) = out.into_inner().map_err(|error| error.into_error())?.finish();
    file.sync_all()?;
    Ok(checksum)
}

/// Waits until no other run is putting a folder in place beside `path`, and keeps others waiting while the result lives.
///
/// Without it a run that looks at the old folder while another exchanges it sees half of each. The lock is on the parent
/// folder itself and leaves nothing behind; `None` where folders cannot be locked.
fn take_turn(path: &Path) -> Option<File> {
    #[cfg(unix)]
    {
        // Through links, so that all who mean the same folder wait for each other.
        let target = fs::canonicalize(path).unwrap_or_else(|_| path.to_path_buf());
        let folder = File::open(parent(&target)).ok()?;
        rustix::fs::flock(&folder, rustix::fs::FlockOperation::LockExclusive).ok()?;
        Some(folder)
    }
    #[cfg(not(unix))]
    {
        let _ = path;
        None
    }
}

/// Asks `may_replace` about the names in the folder at `path`, at a moment when no other run is in the middle of replacing
/// it. Nothing there, or an empty folder, may always be replaced; files and broken links are the business of [`check`].
///
/// # Errors
/// What `may_replace` answers; a folder that cannot be read.
pub(crate) fn look(path: &Path, may_replace: impl FnOnce(&Path, &[OsString]) -> Result<()>) -> Result<()> {
    let _turn = take_turn(path);
    ask(path, may_replace)
}

fn ask(path: &Path, may_replace: impl FnOnce(&Path, &[OsString]) -> Result<()>) -> Result<()> {
    if !path.is_dir() {
        return Ok(());
    }
    let names: Vec<OsString> = fs::read_dir(path)
        .and_then(|entries| entries.map(|entry| Ok(entry?.file_name())).collect())
        .map_err(Error::io(path))?;
    if names.is_empty() { Ok(()) } else { may_replace(path, &names) }
}

/// Finds out, before any work is done, that a folder can be put at `path` and that there is room for `needed_bytes`.
///
/// # Errors
/// A parent that is missing or cannot be written to, or a disk that is too full.
pub(crate) fn check(path: &Path, needed_bytes: u64) -> Result<()> {
    let target = resolve(path)?;
    remove_left_behind(&target);
    // Trying is the only test that knows of permissions, quotas and read-only mounts alike.
    make_beside(&target, "new")?;
    match available_bytes(&parent(&target)) {
        Some(available) if available < needed_bytes => {
            let what = format!("{needed_bytes} bytes are needed, {available} are free: free some, or save elsewhere");
            Err(Error::io(path)(io::Error::new(io::ErrorKind::StorageFull, what)))
        }
        _ => Ok(()),
    }
}

/// The error for a folder that is not there: where it is, if a save was cut short.
pub(crate) fn missing(path: &Path) -> Error {
    if let Some(old) = set_aside(path) {
        let old = old.display();
        let advice = format!("a save was cut short; the model from before it is {old}: rename it to get it back");
        return Error::format(path, format!("is not there, because {advice}"));
    }
    Error::Io { path: path.to_path_buf(), source: io::ErrorKind::NotFound.into() }
}

/// An old folder that was set aside by a run that ended before it put the new one in place; newest first.
fn set_aside(path: &Path) -> Option<PathBuf> {
    let modified = |path: &PathBuf| fs::metadata(path).and_then(|metadata| metadata.modified()).ok();
    siblings(path, "old").into_iter().max_by_key(modified)
}

/// The folder that `path` means: through links where it exists, else its name in an existing parent.
pub(crate) fn resolve(path: &Path) -> Result<PathBuf> {
    match fs::canonicalize(path) {
        Ok(target) if !target.is_dir() => Err(Error::format(path, "is a file, expected a folder or nothing")),
        Ok(target) if target.file_name().is_none() => Err(Error::format(path, "is the root folder")),
        Ok(target) => Ok(target),
        Err(error) if error.kind() == io::ErrorKind::InvalidFilename => Err(Error::io(path)(error)),
        Err(_) if fs::symlink_metadata(path).is_ok_and(|metadata| metadata.is_symlink()) => {
            Err(Error::format(path, "is a link that leads nowhere"))
        }
        Err(_) => {
            let Some(name) = path.file_name() else {
                return Err(Error::format(path, "does not name a folder"));
            };
            let folder = parent(path);
            match fs::canonicalize(&folder) {
                Ok(folder) if folder.is_dir() => Ok(folder.join(name)),
                Ok(folder) => Err(Error::format(path, format!("{} is not a folder", folder.display()))),
                // Not made for the user: a folder that isn't there is a slip of the pen more often than a wish.
                Err(_) => {
                    Err(Error::format(path, format!("the folder '{}' does not exist: make it first", folder.display())))
                }
            }
        }
    }
}

/// `.NAME.wordgrove-KIND-`
fn prefix(target: &Path, kind: &str) -> String {
    format!("{}{kind}-", beside_prefix(target))
}

fn random_end(folder: &Path) -> String {
    let name = folder.file_name().unwrap_or_default().to_string_lossy();
    name.rsplit('-').next().unwrap_or_default().to_string()
}

fn make_beside(target: &Path, kind: &str) -> Result<TempDir> {
    let prefix = prefix(target, kind);
    let mut beside = tempfile::Builder::new();
    beside.prefix(&prefix);
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        // As a plain `mkdir` would: open to all, less the umask. tempfile's own default is 0700.
        beside.permissions(fs::Permissions::from_mode(0o777));
    }
    beside.tempdir_in(parent(target)).map_err(Error::io(parent(target)))
}

/// The folders beside `target` that runs for it have made.
fn siblings(target: &Path, kind: &str) -> Vec<PathBuf> {
    let prefix = prefix(target, kind);
    let ours = |name: &OsStr| name.as_encoded_bytes().starts_with(prefix.as_bytes());
    let Ok(entries) = fs::read_dir(parent(target)) else {
        return Vec::new();
    };
    entries.flatten().filter(|entry| ours(&entry.file_name())).map(|entry| entry.path()).collect()
}

/// Removes new folders that nobody is writing any more.
fn remove_left_behind(target: &Path) {
    for folder in siblings(target, "new") {
        let age =
            fs::metadata(&folder).and_then(|metadata| metadata.modified()).ok().and_then(|time| time.elapsed().ok());
        if age.is_some_and(|age| age > LEFT_BEHIND) && lock(&folder).is_some() {
            // Should it not go, it stays in nobody's way.
            let _ = fs::remove_dir_all(&folder);
        }
    }
}

/// The lock on a folder, if nobody else holds it; `None` also where folders cannot be locked.
fn lock(folder: &Path) -> Option<File> {
    #[cfg(unix)]
    {
        let file = File::open(folder).ok()?;
        rustix::fs::flock(&file, rustix::fs::FlockOperation::NonBlockingLockExclusive).ok()?;
        Some(file)
    }
    #[cfg(not(unix))]
    {
        let _ = folder;
        None
    }
}

fn available_bytes(folder: &Path) -> Option<u64> {
    #[cfg(unix)]
    {
        let disk = rustix::fs::statvfs(folder).ok()?;
        Some(disk.f_bavail.saturating_mul(disk.f_frsize))
    }
    #[cfg(not(unix))]
    {
        let _ = folder;
        None
    }
}

fn place(new: &Path, target: &Path) -> Result<()> {
    if !target.exists() {
        return fs::rename(new, target).map_err(Error::io(target));
    }
    if exchange(new, target)? {
        // The exchange is done: `new` is the path of the old folder now. What cannot be removed is left behind, and is
        // removed by the next run.
        let _ = fs::remove_dir_all(new);
        return Ok(());
    }
    let aside = make_beside(target, "old")?.keep();
    fs::rename(target, &aside).map_err(Error::io(target))?;
    fs::rename(new, target).map_err(|source| {
        // Back as it was; should this fail as well, `missing` tells where it is.
        let _ = fs::rename(&aside, target);
        Error::Io { path: target.to_path_buf(), source }
    })
}

/// Exchanges the names of two folders in one step; `false` where the system or the file system cannot.
fn exchange(new: &Path, target: &Path) -> Result<bool> {
    #[cfg(any(target_os = "linux", target_os = "android", target_vendor = "apple"))]
    {
        use rustix::fs::{CWD, RenameFlags, renameat_with};
        use rustix::io::Errno;
        match renameat_with(CWD, new, CWD, target, RenameFlags::EXCHANGE) {
            Ok(()) => Ok(true),
            Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => Ok(false),
            Err(error) => Err(Error::Io { path: target.to_path_buf(), source: error.into() }),
        }
    }
    #[cfg(not(any(target_os = "linux", target_os = "android", target_vendor = "apple")))]
    {
        let _ = (new, target);
        Ok(false)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write_new(path: &Path, text: &str) -> NewFolder {
        let new = NewFolder::beside(path).unwrap();
        new.write("a", &|out| out.write_all(text.as_bytes())).unwrap();
        new
    }

    fn names(folder: &Path) -> Vec<String> {
        let mut names: Vec<String> =
            fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn a_folder_is_put_where_there_was_nothing_and_then_replaced() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("model");
        for text in ["first", "second"] {
            write_new(&path, text).put_in_place(|_, _| Ok(())).unwrap();
            assert_eq!(fs::read_to_string(path.join("a")).unwrap(), text);
            assert_eq!(names(home.path()), ["model"]);
        }
    }

    #[test]
    fn a_name_may_be_as_long_as_the_file_system_allows() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("m".repeat(255));
        for text in ["first", "second"] {
            check(&path, 0).unwrap();
            write_new(&path, text).put_in_place(|_, _| Ok(())).unwrap();
            assert_eq!(fs::read_to_string(path.join("a")).unwrap(), text);
        }
        if cfg!(target_os = "linux") {
            assert!(check(&home.path().join("m".repeat(256)), 0).is_err());
        }
        assert_eq!(names(home.path()).len(), 1);
    }

    #[test]
    fn a_folder_that_is_not_put_in_place_vanishes() {
        let home = tempfile::tempdir().unwrap();
        drop(write_new(&home.path().join("model"), "first"));
        assert!(names(home.path()).is_empty());
    }

    #[test]
    fn what_may_not_be_replaced_stays_and_the_new_one_is_kept_elsewhere() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("model");
        write_new(&path, "first").put_in_place(|_, _| Ok(())).unwrap();
        let refused = write_new(&path, "second").put_in_place(|path, _| Err(Error::format(path, "is dear to me")));
        let message = refused.unwrap_err().to_string();
        assert_eq!(fs::read_to_string(path.join("a")).unwrap(), "first");
        let [_, kept] = &names(home.path())[..] else { panic!("{:?}", names(home.path())) };
        assert!(message.contains("is dear to me") && message.contains(kept.as_str()), "{message}");
        assert_eq!(fs::read_to_string(home.path().join(kept).join("a")).unwrap(), "second");
    }

    #[test]
    fn only_new_folders_that_nobody_holds_are_removed() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("model");
        let alive = write_new(&path, "alive");
        let dead = home.path().join(".model.wordgrove-new-dead00");
        let young = home.path().join(".model.wordgrove-new-young0");
        let other = home.path().join(".model2.wordgrove-new-other0");
        for folder in [&dead, &young, &other] {
            fs::create_dir(folder).unwrap();
        }
        let long_ago = std::time::SystemTime::now() - 2 * LEFT_BEHIND;
        for folder in [&dead, &other, &alive.beside.path().to_path_buf()] {
            File::open(folder).unwrap().set_modified(long_ago).unwrap();
        }
        check(&path, 0).unwrap();
        assert!(!dead.exists());
        assert!(young.exists() && other.exists() && alive.beside.path().exists());
    }

    #[test]
    fn a_destination_that_cannot_be_is_refused_before_the_work() {
        let home = tempfile::tempdir().unwrap();
        let file = home.path().join("file");
        fs::write(&file, "text").unwrap();
        let refusal = |path: &Path, needed| check(path, needed).unwrap_err().to_string();
        assert!(refusal(&file, 0).contains("is a file"));
        assert!(refusal(&home.path().join("no/model"), 0).contains("does not exist"));
        assert!(refusal(&file.join("model"), 0).contains("file"));
        assert!(refusal(Path::new("/"), 0).contains("root"));
        if cfg!(unix) {
            assert!(refusal(&home.path().join("model"), u64::MAX).contains("are free"));
        }
        assert_eq!(names(home.path()), ["file"], "nothing is left of the trial");
    }

    #[cfg(unix)]
    #[test]
    fn a_link_to_a_folder_is_followed() {
        let home = tempfile::tempdir().unwrap();
        let (path, link, broken) = (home.path().join("model"), home.path().join("link"), home.path().join("broken"));
        fs::create_dir(&path).unwrap();
        std::os::unix::fs::symlink(&path, &link).unwrap();
        std::os::unix::fs::symlink("nowhere", &broken).unwrap();
        write_new(&link, "first").put_in_place(|_, _| Ok(())).unwrap();
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(fs::read_to_string(path.join("a")).unwrap(), "first");
        assert!(check(&broken, 0).unwrap_err().to_string().contains("leads nowhere"));
    }
}
