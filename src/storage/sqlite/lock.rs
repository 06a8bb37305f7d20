//! The advisory locks beside the database: one server, and no restore under its feet.
//!
//! Whoever wants the database alone locks `<database>.lock`. A server also locks the write-ahead log, whose name nobody can
//! give to another file while the database is open: with the lock file deleted by hand, a second server is still refused.
//! `SQLite` has no locks on that file.

use std::fs::{self, File, TryLockError};
use std::io::{self, ErrorKind, Read as _, Seek as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::thread;
use std::time::Duration;

use super::connect::log_of;
use crate::domain::Help;
use crate::files::{self, FileId, Owner, PRIVATE, beside};
use crate::sync::lock;

/// Held while a process serves, restores, vacuums or migrates a database; given back when dropped, or by the system when
/// the process ends, however it ends.
#[derive(Debug)]
pub struct ServeLock {
    database: PathBuf,
    path: PathBuf,
    held: Mutex<Held>,
}

#[derive(Debug)]
struct Held {
    file: File,
    /// The write-ahead log, locked while this process serves.
    log: Option<File>,
    note: Note,
    /// Whether it was said that the file is gone.
    is_missed: bool,
}

/// What stands in the file: who has the lock, and which file a server last opened as the database.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Note {
    pid: Option<u32>,
    served: Option<String>,
}

/// Why the lock was not had.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Another process holds it.
    #[error(
        "{} is in use by {}",
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
    #[error("there is no directory {}", directory.display())]
    MissingDirectory {
        /// The directory.
        directory: PathBuf,
    },
    /// The file beside the database may not be written.
    #[error("{} cannot be written", path.display())]
    ReadOnly {
        /// The lock's file.
        path: PathBuf,
    },
    /// Something else has its name.
    #[error("{} is a link, or not a lock that freshk wrote", path.display())]
    NotOurs {
        /// What has the name of the lock's file.
        path: PathBuf,
    },
    /// It could not be written.
    #[error("{} cannot be locked: {source}", path.display())]
    Failed {
        /// The lock's file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

impl Help for LockError {
    fn help(&self) -> String {
        match self {
            Self::Held { .. } => "stop that process first, or give this one another database",
            Self::MissingDirectory { .. } => "create it, or correct database.url",
            Self::ReadOnly { .. } => "give the user that runs freshk the right to write it and its directory",
            Self::NotOurs { .. } => "find out who made it, and move it away",
            Self::Failed { .. } => "check that its disk is sound and has room",
        }
        .into()
    }
}

/// How often, [`AGAIN`] apart, a lock is tried: who only asks for its holder has it for an instant.
const TRIES: usize = 5;
const AGAIN: Duration = Duration::from_millis(20);

/// No lock of ours is longer.
const LONGEST: u64 = 128;

impl ServeLock {
    /// Takes the lock of a database, at once or not at all. The file, `<database>.lock`, stays when the lock is given
    /// back: deleting it would let two processes lock two files of one name.
    ///
    /// # Errors
    /// [`LockError`], which says what to do.
    pub fn acquire(database: &Path) -> Result<Self, LockError> {
        let path = beside(database, ".lock");
        let failed = |source| failure(&path, source);
        let Some(file) = locked(&path, database).map_err(failed)? else {
            let pid = Holder::of(database)?.and_then(|holder| holder.pid);
            return Err(LockError::Held { database: database.to_owned(), pid });
        };
        let earlier = Note::read(&file).map_err(failed)?;
        let earlier = earlier.ok_or_else(|| LockError::NotOurs { path: path.clone() })?;
        // Without its file a server that holds the database is known by this.
        if lock_of_log(database).map_err(failed)?.is_some_and(|log| log.is_none()) {
            return Err(LockError::Held { database: database.to_owned(), pid: earlier.pid });
        }
        let served = earlier.served.map(|_| SOME_FILE.to_owned());
        let note = Note { pid: Some(std::process::id()), served };
        note.write(&file).map_err(failed)?;
        let held = Held { file, log: None, note, is_missed: false };
        Ok(Self { database: database.to_owned(), path, held: Mutex::new(held) })
    }

    /// Notes that this process serves the database, which it has open: until it ends no other can, and if the database
    /// is not there afterwards, it is known that there was one.
    ///
    /// # Errors
    /// [`LockError::Held`] by a server whose lock file was deleted.
    pub fn serve(&self) -> Result<(), LockError> {
        let failed = |source| failure(&self.path, source);
        let mut held = lock(&self.held);
        held.log = match lock_of_log(&self.database).map_err(failed)? {
            Some(None) => return Err(LockError::Held { database: self.database.clone(), pid: None }),
            Some(log) => log,
            None => None,
        };
        held.note.served = Some(FileId::of(&self.database).map_err(failed)?.to_string());
        held.note.write(&held.file).map_err(failed)
    }

    /// Makes the file anew where somebody deleted it; called now and then while the lock is held.
    pub fn keep(&self) {
        let mut held = lock(&self.held);
        if is_at(&held.file, &self.path).unwrap_or(true) {
            held.is_missed = false;
            return;
        }
        let path = self.path.display();
        let renewed = match locked(&self.path, &self.database) {
            // Another process has it for a moment, and will learn from the log that it may not.
            Ok(None) => return,
            Ok(Some(file)) => held.note.write(&file).map(|()| file),
            Err(error) => Err(error),
        };
        match renewed {
            Ok(file) => {
                held.file = file;
                tracing::warn!("{path} was deleted and is made again: while a server runs it has to stay");
            }
            Err(error) if !held.is_missed => {
                tracing::warn!(%error, "{path} was deleted or replaced, and cannot be made again");
                held.is_missed = true;
            }
            Err(_) => {}
        }
    }
}

/// Opens and locks the file of that name; `None` where another process has it.
fn locked(path: &Path, database: &Path) -> io::Result<Option<File>> {
    for _ in 0..TRIES {
        let owner = Owner::beside(database)?;
        let file = files::open_own(path, false, PRIVATE, owner)?;
        owner.give(&file)?;
        if !take(&file)? {
            return Ok(None);
        }
        // Between the opening and the lock its name may have gone to another file.
        if is_at(&file, path)? {
            return Ok(Some(file));
        }
    }
    Err(io::Error::other("it is deleted again and again"))
}

/// Takes a lock that nobody else holds for longer than an instant.
fn take(file: &File) -> io::Result<bool> {
    for _ in 0..TRIES {
        match file.try_lock() {
            Ok(()) => return Ok(true),
            Err(TryLockError::WouldBlock) => thread::sleep(AGAIN),
            Err(TryLockError::Error(error)) => return Err(error),
        }
    }
    Ok(false)
}

/// Whether a path still leads to a file.
fn is_at(file: &File, path: &Path) -> io::Result<bool> {
    match path.symlink_metadata() {
        Ok(found) => Ok(FileId::from(&found) == FileId::from(&file.metadata()?)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// The write-ahead log of a database, locked: `None` where there is none, `Some(None)` where a server has it.
#[expect(clippy::option_option, reason = "no log, a log that is somebody's, a log that is ours")]
fn lock_of_log(database: &Path) -> io::Result<Option<Option<File>>> {
    match File::open(log_of(database, "-wal")) {
        Ok(log) => Ok(Some(take(&log)?.then_some(log))),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

fn failure(path: &Path, source: io::Error) -> LockError {
    match source.kind() {
        ErrorKind::NotFound => LockError::MissingDirectory { directory: files::directory(path).to_owned() },
        ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => {
            LockError::ReadOnly { path: path.to_owned() }
        }
        ErrorKind::AlreadyExists => LockError::NotOurs { path: path.to_owned() },
        _ => LockError::Failed { path: path.to_owned(), source },
    }
}

impl Note {
    /// Reads a lock's file; `None` where it holds something else. An empty one was just made.
    fn read(mut file: &File) -> io::Result<Option<Self>> {
        let mut bytes = Vec::new();
        file.rewind()?;
        file.take(LONGEST + 1).read_to_end(&mut bytes)?;
        Ok(Self::parse(&bytes))
    }

    /// It is written without a sync, so a power loss may leave zeros in place of its bytes, its beginning alone, or the end of a longer
    /// one behind it.
    fn parse(bytes: &[u8]) -> Option<Self> {
        if bytes.len() as u64 > LONGEST {
            return None;
        }
        let text = std::str::from_utf8(bytes).ok()?.trim_end_matches('\0');
        let mut lines = text.lines();
        if !lines.clone().skip(1).all(is_end_of_line) {
            return None;
        }
        let pid = lines.next().map(|pid| pid.trim().parse().ok());
        let served = lines.next().map(|line| {
            line.strip_prefix(SERVED).filter(|file| !file.is_empty()).unwrap_or(SOME_FILE).to_owned()
        });
        match pid {
            Some(None) => None,
            pid => Some(Self { pid: pid.flatten(), served }),
        }
    }

    fn write(&self, mut file: &File) -> io::Result<()> {
        let pid = self.pid.map(|pid| format!("{pid}\n")).unwrap_or_default();
        let served = self.served.as_ref().map(|served| format!("{SERVED}{served}\n")).unwrap_or_default();
        file.set_len(0)?;
        file.rewind()?;
        file.write_all((pid + &served).as_bytes())
    }
}

/// Whether a line may be the end of one of ours, or its beginning.
fn is_end_of_line(line: &str) -> bool {
    let is_file = |rest: &str| rest.bytes().all(|byte| byte.is_ascii_digit() || b":-".contains(&byte));
    let mut ends = (0..=SERVED.len()).filter_map(|at| line.strip_prefix(&SERVED[at..]));
    SERVED.starts_with(line) || ends.any(is_file)
}

/// What the second line begins with.
const SERVED: &str = "database ";

/// In place of the file that a server opened, while another command has the lock.
const SOME_FILE: &str = "-";

/// Whoever holds the lock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    /// Which process, where it has said so.
    pub pid: Option<u32>,
    /// Which file it opened as the database, if it is a server: device and inode.
    pub served: Option<String>,
}

impl Holder {
    /// Asks who holds the lock of a database, and makes nothing; to ask, the lock is shared for an instant.
    ///
    /// # Errors
    /// [`LockError::Failed`]
    pub fn of(database: &Path) -> Result<Option<Self>, LockError> {
        let path = beside(database, ".lock");
        let lock = Self::in_use(&path)?;
        let log = Self::in_use(&log_of(database, "-wal"))?;
        let is_held = matches!(lock, Some((_, true))) || matches!(log, Some((_, true)));
        let note = match lock {
            Some((file, true)) => Note::read(&file).ok().flatten(),
            _ => None,
        };
        let Note { pid, served } = note.unwrap_or_default();
        let served = served.filter(|served| served != SOME_FILE);
        Ok(is_held.then_some(Self { pid, served }))
    }

    /// A file, if there is one, and whether somebody has locked it.
    fn in_use(path: &Path) -> Result<Option<(File, bool)>, LockError> {
        let failed = |source| LockError::Failed { path: path.to_owned(), source };
        match path.symlink_metadata() {
            Ok(found) if found.is_file() => {}
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(failed(error)),
            // Nothing that is no plain file was ever locked by us.
            _ => return Ok(None),
        }
        let file = match File::open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(failed(source)),
        };
        match file.try_lock_shared() {
            Ok(()) => Ok(Some((file, false))),
            Err(TryLockError::WouldBlock) => Ok(Some((file, true))),
            Err(TryLockError::Error(source)) => Err(failed(source)),
        }
    }
}

/// The lock's file, where it says that a server once opened this database.
pub(super) fn served_once(database: &Path) -> Option<PathBuf> {
    let path = beside(database, ".lock");
    Note::parse(&fs::read(&path).ok()?)?.served.is_some().then_some(path)
}

#[cfg(test)]
#[path = "tests/lock.rs"]
mod tests;
