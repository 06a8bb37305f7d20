//! The advisory lock beside the database: one server, and no restore under its feet.

use std::fs::{File, TryLockError};
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use super::connect::beside;

/// Held while a process serves, restores, vacuums or migrates a database; given back when dropped, or by the system when
/// the process ends, however it ends.
#[derive(Debug)]
pub struct ServeLock {
    _file: File,
}

/// Why the lock was not had.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Another process holds it.
    #[error(
        "{} is in use by {}; stop that process first, or give this one another database",
        database.display(),
        pid.map_or_else(|| "another process".to_owned(), |pid| format!("process {pid}"))
    )]
    Held {
        /// The database.
        database: PathBuf,
        /// Who, where it has said so.
        pid: Option<u32>,
    },
    /// There is no directory to put it in.
    #[error("there is no directory {}; create it, or correct database.url", directory.display())]
    MissingDirectory {
        /// The directory.
        directory: PathBuf,
    },
    /// The file beside the database may not be written.
    #[error(
        "{} cannot be written; give the user that runs freshk the right to write it and its directory",
        path.display()
    )]
    ReadOnly {
        /// The lock's file.
        path: PathBuf,
    },
    /// It could not be written.
    #[error("{} cannot be locked: {source}; see that its disk is sound and has room", path.display())]
    Failed {
        /// The lock's file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

impl ServeLock {
    /// Takes the lock of a database, at once or not at all. The file, `<database>.lock`, stays when the lock is given
    /// back: deleting it would let two processes lock two files of one name.
    ///
    /// # Errors
    /// [`LockError`], which says what to do.
    pub fn acquire(database: &Path) -> Result<Self, LockError> {
        let path = beside(database, ".lock");
        let failed = |source: io::Error| match (source.kind(), path.parent()) {
            (ErrorKind::NotFound, Some(directory)) => {
                LockError::MissingDirectory { directory: directory.to_owned() }
            }
            (ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem, _) => {
                LockError::ReadOnly { path: path.clone() }
            }
            _ => LockError::Failed { path: path.clone(), source },
        };
        let mut file = File::options()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&path)
            .map_err(failed)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let Holder { pid } = Holder::named_in(file);
                return Err(LockError::Held { database: database.to_owned(), pid });
            }
            Err(TryLockError::Error(source)) => return Err(failed(source)),
        }
        file.set_len(0).and_then(|()| writeln!(file, "{}", std::process::id())).map_err(failed)?;
        Ok(Self { _file: file })
    }
}

/// Whoever holds the lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Holder {
    /// Which process, where it has said so.
    pub pid: Option<u32>,
}

impl Holder {
    /// Asks who holds the lock of a database, and makes nothing; to ask, the lock is shared for an instant.
    ///
    /// # Errors
    /// [`LockError::Failed`]
    pub fn of(database: &Path) -> Result<Option<Self>, LockError> {
        let path = beside(database, ".lock");
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(LockError::Failed { path, source }),
        };
        match file.try_lock_shared() {
            Ok(()) => Ok(None),
            Err(TryLockError::WouldBlock) => Ok(Some(Self::named_in(file))),
            Err(TryLockError::Error(source)) => Err(LockError::Failed { path, source }),
        }
    }

    fn named_in(mut file: File) -> Self {
        let mut text = String::new();
        Self { pid: file.read_to_string(&mut text).ok().and_then(|_| text.trim().parse().ok()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn one_holder_at_a_time_and_the_other_is_told_who() {
        let dir = tempfile::tempdir().unwrap();
        let database = dir.path().join("freshk.db");
        let held = ServeLock::acquire(&database).unwrap();
        let refused = ServeLock::acquire(&database).unwrap_err();
        let pid = std::process::id();
        assert!(matches!(refused, LockError::Held { pid: Some(found), .. } if found == pid), "{refused}");
        assert!(refused.to_string().contains(&format!("process {pid}; stop")), "{refused}");
        assert_eq!(Holder::of(&database).unwrap(), Some(Holder { pid: Some(pid) }));
        drop(held);
        assert_eq!(Holder::of(&database).unwrap(), None);
        ServeLock::acquire(&database).unwrap();
        let mode = dir.path().join("freshk.db.lock").metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn who_asks_makes_nothing() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(Holder::of(&dir.path().join("freshk.db")).unwrap(), None);
        assert_eq!(dir.path().read_dir().unwrap().count(), 0);
    }

    #[test]
    fn a_directory_that_is_not_there_is_named() {
        let refused = ServeLock::acquire(Path::new("/nowhere/freshk.db")).unwrap_err();
        assert!(refused.to_string().contains("there is no directory /nowhere; create it"), "{refused}");
    }
}
