//! Why a database cannot be opened or backed up, in words for the operator: what is wrong, and what to do next.

use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use rusqlite::ErrorCode;

use crate::domain::Help;

/// Why a database cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// There is no such directory.
    #[error("there is no directory {}", directory.display())]
    MissingDirectory {
        /// The directory.
        directory: PathBuf,
    },
    /// The file or its directory cannot be written.
    #[error("{} cannot be written", path.display())]
    ReadOnly {
        /// The file or the directory.
        path: PathBuf,
    },
    /// There was one, and it is not there.
    #[error("there is no database {}, and {} says that there was one", path.display(), trace.display())]
    Gone {
        /// The file.
        path: PathBuf,
        /// What says so.
        trace: PathBuf,
    },
    /// Something else than a database.
    #[error("{} is not a database", path.display())]
    NotADatabase {
        /// The file.
        path: PathBuf,
    },
    /// Another program's database.
    #[error("{} belongs to another program (application id {application_id:#x})", path.display())]
    Foreign {
        /// The file.
        path: PathBuf,
        /// Its `application_id`.
        application_id: i32,
    },
    /// Written by a later version.
    #[error("{} has schema {found}, this freshk knows {known}", path.display())]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its `user_version`.
        found: i64,
        /// Ours.
        known: i64,
    },
    /// Written by an earlier version.
    #[error("{} has schema {found}, this freshk needs {known}", path.display())]
    Older {
        /// The file.
        path: PathBuf,
        /// Its `user_version`.
        found: i64,
        /// Ours.
        known: i64,
    },
    /// Another process did not let go of it.
    #[error("{} is locked by another process", path.display())]
    Locked {
        /// The file.
        path: PathBuf,
    },
    /// No room.
    #[error("the disk that holds {} is full", path.display())]
    DiskFull {
        /// The file.
        path: PathBuf,
    },
    /// Damaged.
    #[error("{} is damaged", path.display())]
    Corrupt {
        /// The file.
        path: PathBuf,
    },
    /// A backup that was changed since it was made.
    #[error(
        "{} does not have the checksum in {}: it was damaged or changed since it was made",
        path.display(), checksum.display()
    )]
    Checksum {
        /// The backup.
        path: PathBuf,
        /// Its checksum.
        checksum: PathBuf,
    },
    /// A file that is to be restored and cannot be.
    #[error("{} {problem}", path.display())]
    BadBackup {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// On a file system that cannot share memory between processes.
    #[error("{} cannot have a write-ahead log", path.display())]
    NoLog {
        /// The file.
        path: PathBuf,
    },
    /// The backup before a migration failed; nothing was changed.
    #[error("no backup {} could be made before the migration: {source}", path.display())]
    Backup {
        /// The backup.
        path: PathBuf,
        /// Why.
        source: BackupError,
    },
    /// A migration failed and was undone.
    #[error("{} could not be migrated to schema {version}, and was not changed: {source}", path.display())]
    Migration {
        /// The file.
        path: PathBuf,
        /// The schema that was not reached.
        version: i64,
        /// Why.
        source: rusqlite::Error,
    },
    /// The disk did not do as it was asked.
    #[error("{} cannot be read or written: {reason}", path.display())]
    Disk {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// Anything else.
    #[error("{} cannot be opened: {reason}", path.display())]
    Failed {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
}

/// Why a backup was not made.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// What was to be copied cannot be used.
    #[error(transparent)]
    Source(Box<OpenError>),
    /// The copy could not be written or read.
    #[error("{0}")]
    Database(#[from] rusqlite::Error),
    /// The copy could not be put in its place.
    #[error("{0}")]
    File(#[from] io::Error),
    /// The backup is made, and one that is no longer kept is still there.
    #[error("{} was made, but the older {} cannot be deleted: {source}", made.display(), old.display())]
    Old {
        /// The backup.
        made: PathBuf,
        /// The one that was to go.
        old: PathBuf,
        /// Why it did not.
        source: io::Error,
    },
    /// The copy does not hold together, so neither does the database.
    #[error("the copy is damaged, and so is the database")]
    Damaged,
}

impl Help for OpenError {
    fn help(&self) -> String {
        match self {
            Self::MissingDirectory { .. } => "create it, or correct database.url".into(),
            Self::ReadOnly { .. } => {
                "give the user that runs freshk the right to write it and its directory".into()
            }
            Self::Gone { .. } => {
                "put a backup in its place with `freshk db restore FILE`, or make a new and empty one \
                                  with `freshk db migrate`"
                    .into()
            }
            Self::NotADatabase { .. } => "move it away, or correct database.url".into(),
            Self::Foreign { .. } => {
                "correct database.url: freshk needs a file of its own, and `freshk user import` \
                                     brings users from elsewhere"
                    .into()
            }
            Self::Newer { .. } => {
                "install the version that wrote it, or a later one; or put an older backup in its place with `freshk db restore \
                 FILE`, such as the one that the upgrade made beside it (….before-v….bak)"
                    .into()
            }
            Self::Older { .. } => "run `freshk db migrate`".into(),
            Self::Locked { .. } => "stop that process, or wait until it is done".into(),
            Self::DiskFull { .. } => "free some space and try again".into(),
            Self::Corrupt { .. } => {
                "restore the latest backup with `freshk db restore`, and check the disk".into()
            }
            Self::Checksum { .. } => {
                "choose another backup, or delete the checksum to use this one all the same".into()
            }
            Self::BadBackup { .. } => "choose another backup".into(),
            Self::NoLog { .. } => "put it on a local disk, not a network share".into(),
            Self::Backup { source, .. } => source.help(),
            Self::Migration { .. } => {
                "start the earlier version again, and report this as a bug of freshk".into()
            }
            Self::Disk { .. } => DISK.into(),
            Self::Failed { .. } => "check the file, its directory and its disk".into(),
        }
    }
}

const DISK: &str = "check that its disk is sound and has room";

impl Help for BackupError {
    fn help(&self) -> String {
        match self {
            Self::Source(error) => error.help(),
            Self::Database(_) | Self::File(_) => {
                "check that its directory exists, can be written and has room".into()
            }
            Self::Old { .. } => "delete it by hand".into(),
            Self::Damaged => "restore the latest backup with `freshk db restore`".into(),
        }
    }
}

impl From<OpenError> for BackupError {
    fn from(error: OpenError) -> Self {
        Self::Source(Box::new(error))
    }
}

impl OpenError {
    /// The same of a file that is to be restored: what helps a database that is in use does not help there.
    pub(super) fn of_backup(self) -> Self {
        let bad = |path, problem: &str| Self::BadBackup { path, problem: problem.to_owned() };
        match self {
            Self::NotADatabase { path } => bad(path, "is not a database"),
            Self::Corrupt { path } => bad(path, "is damaged"),
            Self::ReadOnly { path } => bad(path, "cannot be read by this user"),
            Self::Disk { path, reason } => bad(path, &format!("cannot be read: {reason}")),
            Self::Foreign { path, application_id } => {
                bad(path, &format!("belongs to another program (application id {application_id:#x})"))
            }
            other => other,
        }
    }
}

/// What a failure of `SQLite` says of the file at `path`.
pub(super) fn sqlite_error(path: &Path, error: &rusqlite::Error) -> OpenError {
    let path = path.to_owned();
    match error.sqlite_error_code() {
        Some(ErrorCode::NotADatabase) => OpenError::NotADatabase { path },
        Some(ErrorCode::DatabaseCorrupt) => OpenError::Corrupt { path },
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => OpenError::Locked { path },
        Some(ErrorCode::DiskFull) => OpenError::DiskFull { path },
        Some(ErrorCode::SystemIoFailure) => OpenError::Disk { path, reason: error.to_string() },
        Some(ErrorCode::ReadOnly | ErrorCode::PermissionDenied | ErrorCode::CannotOpen) => {
            OpenError::ReadOnly { path }
        }
        _ => OpenError::Failed { path, reason: error.to_string() },
    }
}

/// What a failure of the system says of it.
pub(super) fn file_error(path: &Path, error: &io::Error) -> OpenError {
    let path = path.to_owned();
    match error.kind() {
        ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => OpenError::ReadOnly { path },
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => OpenError::DiskFull { path },
        _ => OpenError::Failed { path, reason: error.to_string() },
    }
}
