//! What an operator does with the file: back it up, look it through, restore it, make it small.
//!
//! Backing up and checking go on beside a running server; the rest wants the [`ServeLock`], and says so by asking for it.

use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, OpenFlags};

use super::backup::{self, Cover};
use super::connect::{self, Role, log_of};
use super::lock::ServeLock;
use super::open;
use super::open_error::{BackupError, OpenError, sqlite_error};
use super::tx::SqliteTx;
use crate::domain::{Help, Timestamp};
use crate::files::{Draft, Owner, beside, free_name, sync_directory};
use crate::storage::{StoreResult, View};

/// How long another process may hold the database before it counts as in use.
pub(super) const BUSY: Duration = Duration::from_secs(5);

/// What the name of a backup that is decrypted beside a database goes on with.
pub const DECRYPTED: &str = "decrypted";

/// What a look through the file found.
#[derive(Clone, Debug)]
pub struct Checkup {
    /// What is wrong, in `SQLite`'s words; empty for a good file.
    pub faults: Vec<String>,
    /// Its schema.
    pub schema: i64,
    /// The schema that this version writes.
    pub known: i64,
}

/// What was restored.
#[derive(Clone, Debug)]
pub struct Restored {
    /// Where that which was replaced is kept; `None` if there was nothing.
    pub kept: Option<PathBuf>,
    /// What earlier restores kept, and nobody needs any more.
    pub deleted: Vec<PathBuf>,
    /// Whether the backup had a checksum to compare it with.
    pub has_checksum: bool,
}

/// Why nothing was restored; the database is as it was.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// The file to restore cannot be used.
    #[error(transparent)]
    Backup(#[from] OpenError),
    /// Some other process than a server has the database open.
    #[error("{} is in use by another process, perhaps a freshk command", .0.display())]
    InUse(PathBuf),
    /// The copy could not be made.
    #[error("{} cannot be copied beside the database: {source}", path.display())]
    Copy {
        /// The file to restore.
        path: PathBuf,
        /// Why.
        source: BackupError,
    },
    /// A file could not be put in its place.
    #[error("{} cannot be put in its place: {source}", path.display())]
    File {
        /// The database.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

impl Help for RestoreError {
    fn help(&self) -> String {
        match self {
            Self::Backup(error) => error.help(),
            Self::InUse(_) => "wait until it is done".into(),
            Self::Copy { source, .. } => source.help(),
            Self::File { .. } => "make its directory writable for this user".into(),
        }
    }
}

/// Copies a database of ours to `to`, checked, durable and only then under its name; nobody who uses the database waits.
///
/// # Errors
/// [`BackupError`]; then there is no file of that name.
pub fn back_up(database: &Path, to: &Path, cover: Option<Cover<'_>>) -> Result<(), BackupError> {
    let to = std::path::absolute(to)?;
    let conn =
        connect::open(database, Role::Checkpoint, BUSY).map_err(|error| sqlite_error(database, &error))?;
    ours(&conn, database)?;
    backup::back_up(&conn, &to, Owner::beside(database)?, cover)
}

/// Deletes what was decrypted beside a database for restores that were killed.
///
/// # Errors
/// A directory that cannot be read.
pub fn sweep_decrypted(database: &Path, _lock: &ServeLock) -> io::Result<()> {
    backup::sweep(database, &format!(".{DECRYPTED}-"))
}

/// Reads a database through, beside whoever uses it.
///
/// # Errors
/// [`OpenError`] where it cannot be read at all, or is not ours.
pub fn check(database: &Path) -> Result<Checkup, OpenError> {
    let conn = read_only(database)?;
    let schema = ours(&conn, database)?;
    let told = |error| sqlite_error(database, &error);
    let words = |sql: &str| -> rusqlite::Result<Vec<String>> {
        conn.prepare(sql)?.query_map([], |row| row.get(0))?.collect()
    };
    let mut faults = words("PRAGMA integrity_check").map_err(told)?;
    faults.retain(|word| word != "ok");
    let dangling = words("SELECT \"table\" FROM pragma_foreign_key_check GROUP BY 1").map_err(told)?;
    faults.extend(dangling.iter().map(|table| format!("rows of {table} refer to rows that are not there")));
    Ok(Checkup { faults, schema, known: open::KNOWN_VERSION })
}

/// Looks at a database without reading it through, beside whoever uses it.
///
/// # Errors
/// As [`check`].
pub fn glance(database: &Path) -> Result<Checkup, OpenError> {
    let conn = read_only(database)?;
    Ok(Checkup { faults: Vec::new(), schema: ours(&conn, database)?, known: open::KNOWN_VERSION })
}

/// Reads a backup through, and compares it with its checksum; false where there is none.
///
/// # Errors
/// [`OpenError`] where it could not be restored.
pub fn check_backup(path: &Path) -> Result<bool, OpenError> {
    let sealed = backup::verify(path)?;
    let found = check(path).map_err(OpenError::of_backup)?;
    match found.faults.first() {
        None => Ok(sealed),
        Some(fault) => {
            let problem = format!("is damaged: {fault}");
            Err(OpenError::BadBackup { path: path.to_owned(), problem })
        }
    }
}

/// The schema of a backup.
///
/// # Errors
/// [`OpenError`] where it cannot be read, is not ours, or is newer than this program.
pub fn schema_of_backup(path: &Path) -> Result<i64, OpenError> {
    read_only(path).and_then(|conn| ours(&conn, path)).map_err(OpenError::of_backup)
}

/// Reads in a database, beside whoever uses it, and leaves it as it is.
///
/// # Errors
/// [`OpenError`] where it cannot be read, is not ours, or has another schema than this version writes.
pub fn look<T>(database: &Path, read: impl FnOnce(&dyn View) -> StoreResult<T>) -> Result<T, OpenError> {
    let conn = read_only(database)?;
    our_latest(&conn, database)?;
    let snapshot = conn.unchecked_transaction().map_err(|error| sqlite_error(database, &error))?;
    read(&SqliteTx::new(&snapshot))
        .map_err(|fault| OpenError::Failed { path: database.to_owned(), reason: fault.to_string() })
}

/// Refuses a database that is not ours, or has another schema than this version writes.
pub(super) fn our_latest(conn: &Connection, database: &Path) -> Result<(), OpenError> {
    let found = ours(conn, database)?;
    if found < open::KNOWN_VERSION {
        return Err(OpenError::Older { path: database.to_owned(), found, known: open::KNOWN_VERSION });
    }
    Ok(())
}

/// Rewrites a database without what deleted rows left.
///
/// # Errors
/// [`OpenError`]; then it is as it was.
pub fn vacuum(database: &Path, _lock: &ServeLock) -> Result<(), OpenError> {
    let told = |error| sqlite_error(database, &error);
    let conn = connect::open(database, Role::Writer, BUSY).map_err(told)?;
    ours(&conn, database)?;
    conn.execute_batch("VACUUM; PRAGMA wal_checkpoint(TRUNCATE)").map_err(told)
}

/// Puts a copy of `from` in the place of a database, and keeps what was there. Whenever it is interrupted, the old
/// database or the new one stands there, whole.
///
/// # Errors
/// [`RestoreError`]; then the database is as it was.
pub fn restore(
    database: &Path,
    from: &Path,
    now: Timestamp,
    _lock: &ServeLock,
) -> Result<Restored, RestoreError> {
    let database = std::path::absolute(database).map_err(|source| file_fault(database, source))?;
    let failed = |source| file_fault(&database, source);
    let backup = read_only(from).map_err(OpenError::of_backup)?;
    ours(&backup, from).map_err(OpenError::of_backup)?;
    let has_checksum = backup::verify(from)?;
    backup::sweep(&database, ".restore-").map_err(failed)?;
    let owner = Owner::beside(&database).map_err(failed)?;
    let draft = Draft::beside(&database, "restore", Some(owner)).map_err(failed)?;
    backup::write_copy(&backup, &draft).map_err(|source| copy_fault(from, source))?;
    drop(backup);
    let kept = keep(&database, now)?;
    // The copy is durable; its name, and that of what is kept, are so after the directory is.
    draft.replace(&database).map_err(failed)?;
    Ok(Restored { kept, deleted: backup::delete_replaced(&database, now), has_checksum })
}

/// Whether it is the backup or the place of the copy that will not do.
fn copy_fault(from: &Path, source: BackupError) -> RestoreError {
    match source {
        BackupError::Source(error) => RestoreError::Backup(error.of_backup()),
        BackupError::Damaged => {
            RestoreError::Backup(OpenError::Corrupt { path: from.to_owned() }.of_backup())
        }
        source => RestoreError::Copy { path: from.to_owned(), source },
    }
}

/// Gives what stands there a second name, with nothing of it left in a log that would be taken for the new one's.
fn keep(database: &Path, now: Timestamp) -> Result<Option<PathBuf>, RestoreError> {
    let failed = |source| file_fault(database, source);
    match fs::metadata(database) {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            return clear_logs(database, None).map(|()| None).map_err(failed);
        }
        Err(error) => return Err(failed(error)),
        Ok(_) => {}
    }
    let kept = free_name(beside(database, &backup::replaced_at(now)));
    if !fold(database)? {
        // Damaged: its log may be what is left to save, and must not stay for the new database to read.
        clear_logs(database, Some(&kept)).map_err(failed)?;
    }
    fs::hard_link(database, &kept).map_err(failed)?;
    sync_directory(database).map_err(failed)?;
    Ok(Some(kept))
}

/// Moves the log into the database and leaves none; false if the file is too damaged for that.
fn fold(database: &Path) -> Result<bool, RestoreError> {
    let folded = Connection::open_with_flags(database, Role::Checkpoint.flags()).and_then(|conn| {
        conn.busy_timeout(BUSY)?;
        conn.pragma_update_and_check(None, "journal_mode", "DELETE", |row| row.get::<_, String>(0))
    });
    match folded {
        Ok(mode) if mode == "delete" => Ok(true),
        Ok(_) => Err(RestoreError::InUse(database.to_owned())),
        Err(error) => match sqlite_error(database, &error) {
            OpenError::Locked { path } => Err(RestoreError::InUse(path)),
            damaged => {
                tracing::debug!(%damaged, "what is replaced cannot be read");
                Ok(false)
            }
        },
    }
}

/// Moves logs that belong to no database any more beside what is kept, or away.
fn clear_logs(database: &Path, kept: Option<&Path>) -> io::Result<()> {
    for suffix in ["-wal", "-shm"] {
        let log = log_of(database, suffix);
        let cleared = match kept {
            Some(kept) => fs::rename(&log, beside(kept, suffix)),
            None => fs::remove_file(&log),
        };
        match cleared {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    sync_directory(database)
}

fn read_only(path: &Path) -> Result<Connection, OpenError> {
    let path = std::path::absolute(path)
        .map_err(|error| OpenError::Failed { path: path.to_owned(), reason: error.to_string() })?;
    if !path.is_file() {
        return Err(OpenError::Failed {
            path,
            reason: "there is no such file; name one that exists".to_owned(),
        });
    }
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let opened = Connection::open_with_flags(&path, flags).and_then(|conn| {
        conn.busy_timeout(BUSY)?;
        Ok(conn)
    });
    opened.map_err(|error| sqlite_error(&path, &error))
}

/// The schema of a file that is ours and not newer than this program.
fn ours(conn: &Connection, path: &Path) -> Result<i64, OpenError> {
    let number = |name: &str| -> Result<i64, OpenError> {
        conn.pragma_query_value(None, name, |row| row.get(0)).map_err(|error| sqlite_error(path, &error))
    };
    let (application, version) = (number("application_id")?, number("user_version")?);
    if application != i64::from(open::APPLICATION_ID) {
        let application_id = i32::try_from(application).unwrap_or_default();
        return Err(OpenError::Foreign { path: path.to_owned(), application_id });
    }
    if version > open::KNOWN_VERSION {
        return Err(OpenError::Newer { path: path.to_owned(), found: version, known: open::KNOWN_VERSION });
    }
    Ok(version)
}

fn file_fault(path: &Path, source: io::Error) -> RestoreError {
    RestoreError::File { path: path.to_owned(), source }
}
