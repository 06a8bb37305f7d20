//! The database's file, where the data is in one, for the commands that work on it as a whole.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::{CliError, backups};
use crate::clock::Clock;
use crate::config::Config;
use crate::domain::Timestamp;
use crate::files::{self, FileId, beside};
use crate::storage::sqlite::{self, Make, OpenOptions};
use crate::storage::{StoreResult, View};

pub use crate::storage::sqlite::{
    BackupError, Checkup, Cover, DECRYPTED, Holder, LockError, MovingFile, OpenError, RestoreError, Restored,
    ServeLock, SqliteStore, back_up, check_backup, checksum_of, schema_of_backup, sweep_decrypted, verify,
};

/// What lies beside the file, and is its owner's to write.
const COMPANIONS: [&str; 5] = ["", "-wal", "-shm", ".lock", ".secret"];

/// The file that is configured.
#[derive(Clone, Debug)]
pub struct DatabaseFile {
    path: PathBuf,
    backups: Option<PathBuf>,
}

impl DatabaseFile {
    /// The one at a path; `backup.dir` may show that there was one.
    pub fn new(path: &Path, config: &Config) -> Self {
        Self { path: path.to_owned(), backups: config.backup.dir.clone() }
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The directory that holds it.
    pub fn directory(&self) -> &Path {
        files::directory(&self.path)
    }

    /// The file and what lies beside it, as far as they exist.
    pub fn companions(&self) -> impl Iterator<Item = PathBuf> {
        COMPANIONS.into_iter().map(|suffix| beside(&self.path, suffix)).filter(|file| file.exists())
    }

    /// Whether there is no database: no file, or an empty one.
    pub fn is_missing(&self) -> bool {
        match self.path.metadata() {
            Ok(found) => found.is_file() && found.len() == 0,
            Err(error) => error.kind() == ErrorKind::NotFound,
        }
    }

    /// Why a command cannot go on without the database: there never was one, as far as can be told, or it is lost.
    pub fn missing(&self) -> CliError {
        let path = self.path.clone();
        match sqlite::trace_of(&path).or_else(|| self.latest_backup()) {
            Some(trace) => OpenError::Gone { path, trace }.into(),
            None => CliError::Missing(path),
        }
    }

    /// The latest of the server's own backups.
    pub fn latest_backup(&self) -> Option<PathBuf> {
        backups::latest(self.backups.as_deref()?)
    }

    /// Bytes of the file.
    pub fn bytes(&self) -> u64 {
        self.path.metadata().map_or(0, |file| file.len())
    }

    /// Bytes of the write-ahead log.
    pub fn log_bytes(&self) -> u64 {
        beside(&self.path, "-wal").metadata().map_or(0, |file| file.len())
    }

    /// Which file it is, as the server tells which one it serves.
    pub fn identity(&self) -> Option<String> {
        FileId::of(&self.path).ok().map(|id| id.to_string())
    }

    /// Reads it through.
    ///
    /// # Errors
    /// [`OpenError`] where it cannot be read; its damages are in the answer.
    pub fn check(&self) -> Result<Checkup, OpenError> {
        sqlite::check(&self.path)
    }

    /// Looks at it without reading it through, beside a server.
    ///
    /// # Errors
    /// As [`DatabaseFile::check`].
    pub fn glance(&self) -> Result<Checkup, OpenError> {
        sqlite::glance(&self.path)
    }

    /// Reads something of it, without a server's caches or locks.
    ///
    /// # Errors
    /// [`OpenError`]
    pub fn look<T>(&self, closure: impl FnOnce(&dyn View) -> StoreResult<T>) -> Result<T, OpenError> {
        sqlite::look(&self.path, closure)
    }

    /// Locks it for this process alone.
    ///
    /// # Errors
    /// [`LockError`]
    pub fn lock(&self) -> Result<ServeLock, LockError> {
        ServeLock::acquire(&self.path)
    }

    /// Which process holds it, if any.
    ///
    /// # Errors
    /// [`LockError`]
    pub fn holder(&self) -> Result<Option<Holder>, LockError> {
        Holder::of(&self.path)
    }

    /// Puts a backup in its place.
    ///
    /// # Errors
    /// [`RestoreError`]; then nothing was changed.
    pub fn restore(&self, from: &Path, now: Timestamp, lock: &ServeLock) -> Result<Restored, RestoreError> {
        sqlite::restore(&self.path, from, now, lock)
    }

    /// Rewrites it without what deleted rows left.
    ///
    /// # Errors
    /// [`OpenError`]
    pub fn vacuum(&self, lock: &ServeLock) -> Result<(), OpenError> {
        sqlite::vacuum(&self.path, lock)
    }

    /// Migrates it; with `anew` a lost one is made again, empty.
    ///
    /// # Errors
    /// [`OpenError`]
    pub fn migrate(&self, config: &Config, clock: &dyn Clock, anew: bool) -> Result<(), OpenError> {
        let mut options = self.options(config, clock);
        if anew {
            options.make = Make::Always;
        }
        drop(SqliteStore::open(options)?);
        Ok(())
    }

    /// Opens it for a server.
    ///
    /// # Errors
    /// [`OpenError`]
    pub fn open(&self, config: &Config, clock: &dyn Clock) -> Result<Arc<SqliteStore>, OpenError> {
        let mut options = self.options(config, clock);
        options.rescues = true;
        options.principals = config.cache.sessions;
        SqliteStore::open(options)
    }

    /// Opens it for a command, beside a server that may be running.
    ///
    /// # Errors
    /// [`OpenError`]
    pub fn open_beside_server(
        &self,
        config: &Config,
        clock: &dyn Clock,
    ) -> Result<Arc<SqliteStore>, OpenError> {
        let mut options = self.options(config, clock);
        // The server may be of an older version, and know the older schema alone.
        options.migrate = false;
        SqliteStore::open(options)
    }

    /// What the configuration says of it.
    pub fn options(&self, config: &Config, clock: &dyn Clock) -> OpenOptions {
        let mut options = OpenOptions::new(&self.path, clock.now());
        options.first_id = config.users.first();
        options.make = Make::UnlessLost { backup: self.latest_backup() };
        options
    }
}
