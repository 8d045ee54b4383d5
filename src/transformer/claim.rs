//! One long run at a time for one folder.
//!
//! In: where a folder is to be. Out: the word that no other run works on the same. What says so is `.NAME.wordgrove-lock`,
//! beside the folder NAME, on which a run holds a lock while it lives; whoever comes after a killed one takes it over and
//! removes it.

use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::files::{beside_prefix, is_at, parent};
use crate::vectors::destination::resolve;

/// The word that nobody else works on the same destination, for as long as it lives.
///
/// Folders are replaced whole, so two runs do no harm to each other's files, but the work of the one that ends first is lost.
#[derive(Debug)]
pub struct Claim {
    /// `None` where files cannot be locked.
    locked: Option<(PathBuf, File)>,
}

impl Claim {
    /// Claims the folder that is to be at `path`.
    ///
    /// # Errors
    /// [`Error::Io`] when another run holds it; whatever keeps a folder from being put there.
    pub fn new(path: &Path) -> Result<Claim> {
        let target = resolve(path)?;
        let name = parent(&target).join(format!("{}lock", beside_prefix(&target)));
        loop {
            let file = File::options().write(true).create(true).truncate(false).open(&name).map_err(Error::io(path))?;
            match file.try_lock() {
                Ok(()) if is_at(&file, &name) => return Ok(Claim { locked: Some((name, file)) }),
                // Whoever held it has just removed it.
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => {
                    let busy = "another run is working on this: wait until it has ended, or choose another --output";
                    return Err(Error::io(path)(io::Error::new(io::ErrorKind::ResourceBusy, busy)));
                }
                Err(TryLockError::Error(_)) => {
                    let _ = fs::remove_file(&name);
                    return Ok(Claim { locked: None });
                }
            }
        }
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        if let Some((name, _)) = &self.locked {
            // While it is locked, so that it is nobody else's. What stays is in nobody's way.
            let _ = fs::remove_file(name);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_destination_has_one_claim_at_a_time_and_a_dead_one_is_taken_over() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("model");
        let first = Claim::new(&path).unwrap();
        let refused = Claim::new(&path).unwrap_err().to_string();
        assert!(refused.contains("model") && refused.contains("another run"), "{refused}");
        Claim::new(&home.path().join("other")).unwrap();
        drop(first);
        assert_eq!(fs::read_dir(home.path()).unwrap().count(), 0);
        // As a killed run leaves it: there, and locked by nobody.
        fs::write(home.path().join(".model.wordgrove-lock"), "").unwrap();
        drop(Claim::new(&path).unwrap());
        assert_eq!(fs::read_dir(home.path()).unwrap().count(), 0);
    }
}
