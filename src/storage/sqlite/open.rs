//! Opening a database: what may stand at a path, what is made of it, and what a person is told if it will not do.

use std::fs::{self, File, Permissions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, MAIN_DB, Transaction, TransactionBehavior};

use super::backup;
use super::checkpoint::LogBounds;
use super::connect::{self, Bounds, PageLimit, Role, log_of};
use super::lock;
use super::migrate::{self, Migration};
use super::open_error::{OpenError, file_error, sqlite_error};
use super::users;
use crate::domain::Timestamp;
use crate::files::{self, Owner, PRIVATE};
use crate::storage::users::FirstId;

/// The whole current schema.
pub(super) const SCHEMA: &str = include_str!("../../../schema.sql");

/// `application_id` of our files: `FrK1`.
pub(super) const APPLICATION_ID: i32 = 0x4672_4B31;

/// `user_version` of the first schema; migrations count on from it.
const FIRST_VERSION: i64 = 1;

/// `user_version` of the schema that this program writes.
pub(super) const KNOWN_VERSION: i64 = match migrate::MIGRATIONS.last() {
    Some(last) => last.version,
    None => FIRST_VERSION,
};

/// What is opened, and how.
#[derive(Clone, Debug)]
pub struct OpenOptions {
    /// The file; made if it is not there, but its directory is not.
    pub path: PathBuf,
    /// From where new users' ids count.
    pub first_id: FirstId,
    /// Whether an older schema is brought up to date, after a backup, or refused. Only who holds the
    /// [`ServeLock`](super::ServeLock) should: a server of an older version would not know the new schema.
    pub migrate: bool,
    /// What happens where there is no database.
    pub make: Make,
    /// Whether what is open is saved, should it be deleted or replaced while it is open: a server's task.
    pub rescues: bool,
    /// Now; names the backup before a migration.
    pub now: Timestamp,
    /// How many sessions, and as many users, are kept in memory.
    pub principals: u64,
    /// A bound on the file's size, for tests of a full disk.
    pub page_limit: Option<PageLimit>,
    pub(super) tuning: Tuning,
}

impl OpenOptions {
    /// The defaults, for a file.
    pub fn new(path: impl Into<PathBuf>, now: Timestamp) -> Self {
        let path = path.into();
        Self {
            path,
            first_id: FirstId { id: 1, raises: true },
            migrate: true,
            make: Make::UnlessLost { backup: None },
            rescues: false,
            now,
            principals: 20_000,
            page_limit: None,
            tuning: Tuning::default(),
        }
    }

    /// Lets a read wait for so long: tests run beside much else.
    #[cfg(test)]
    pub(crate) fn with_read_wait(mut self, wait: Duration) -> Self {
        self.tuning.read_wait = wait;
        self
    }
}

/// When a new database is made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Make {
    /// Whenever there is none.
    Always,
    /// Unless something says that there was one.
    UnlessLost {
        /// A backup of it elsewhere than beside it.
        backup: Option<PathBuf>,
    },
}

/// What says that there was a database where there is none: the lock of a server, a log with something in it, a copy.
pub fn trace_of(database: &Path) -> Option<PathBuf> {
    let log = log_of(database, "-wal");
    let has_log = log.metadata().is_ok_and(|log| log.len() > 0);
    lock::served_once(database).or(has_log.then_some(log)).or_else(|| backup::any_beside(database))
}

/// Numbers that tests change.
#[derive(Clone, Debug)]
pub(super) struct Tuning {
    pub(super) writer: Bounds,
    pub(super) readers: u32,
    pub(super) read_wait: Duration,
    pub(super) busy: Duration,
    pub(super) log: LogBounds,
    pub(super) migrations: &'static [Migration],
}

impl Default for Tuning {
    fn default() -> Self {
        Self {
            writer: Bounds {
                queue: 2048,
                jobs: 256,
                time: Duration::from_millis(5),
                watch: Duration::from_millis(250),
            },
            readers: 4,
            read_wait: Duration::from_secs(2),
            busy: Duration::from_secs(5),
            log: LogBounds { frames: 8192, bytes: 64 * 1024 * 1024 },
            migrations: migrate::MIGRATIONS,
        }
    }
}

/// Opens the connection that will write, with everything in place behind it, and says where the file is.
pub(super) fn open(options: &OpenOptions) -> Result<(Connection, PathBuf), OpenError> {
    // Absolute: a path that begins with `file:` must not be read as a URI, and the working directory may change.
    let path = std::path::absolute(&options.path).map_err(|e| file_error(&options.path, &e))?;
    ensure_file(&path, &options.make)?;
    let told = |error| sqlite_error(&path, &error);
    let conn = connect::open(&path, Role::Writer, options.tuning.busy).map_err(told)?;
    if conn.is_readonly(MAIN_DB).map_err(told)? {
        return Err(OpenError::ReadOnly { path });
    }
    if let Some(limit) = &options.page_limit {
        limit.apply(&conn).map_err(told)?;
    }
    // Nothing is written before it is known whose file this is.
    let mut header = header(&conn).map_err(told)?;
    if header.is_new() {
        use_log(&conn, &path)?;
        header = create(&conn).map_err(told)?;
        tracing::warn!("made a new database at {}", path.display());
    }
    let migrations = options.tuning.migrations;
    let known = migrations.last().map_or(FIRST_VERSION, |last| last.version);
    let Header { application_id, version, .. } = header;
    if application_id != APPLICATION_ID || version < FIRST_VERSION {
        return Err(OpenError::Foreign { path, application_id });
    }
    if version > known {
        return Err(OpenError::Newer { path, found: version, known });
    }
    hide(&path);
    use_log(&conn, &path)?;
    if version < known {
        if !options.migrate {
            return Err(OpenError::Older { path, found: version, known });
        }
        migrate::run(&conn, &path, migrations, options.now)?;
    }
    touch_tables(&conn).map_err(told)?;
    start_ids_at(&conn, options).map_err(told)?;
    Ok((conn, path))
}

/// Refuses to make a database where there was one, and is none now.
fn may_make(path: &Path, make: &Make) -> Result<(), OpenError> {
    let Make::UnlessLost { backup } = make else { return Ok(()) };
    match trace_of(path).or_else(|| backup.clone()) {
        Some(trace) => Err(OpenError::Gone { path: path.to_owned(), trace }),
        None => Ok(()),
    }
}

/// Makes the file if it is not there. One that is there is never opened here: closing it would drop the locks that
/// `SQLite` may hold on it in this process.
fn ensure_file(path: &Path, make: &Make) -> Result<(), OpenError> {
    let directory = files::directory(path);
    match fs::metadata(directory) {
        Ok(found) if !found.is_dir() => {
            return Err(OpenError::MissingDirectory { directory: directory.to_owned() });
        }
        Ok(found) if found.permissions().readonly() => {
            return Err(OpenError::ReadOnly { path: directory.to_owned() });
        }
        Ok(_) => {}
        Err(error) if error.kind() == ErrorKind::NotFound => {
            return Err(OpenError::MissingDirectory { directory: directory.to_owned() });
        }
        Err(error) => return Err(file_error(directory, &error)),
    }
    match fs::metadata(path) {
        Ok(found) if found.is_dir() => Err(OpenError::NotADatabase { path: path.to_owned() }),
        Ok(found) if found.permissions().readonly() => Err(OpenError::ReadOnly { path: path.to_owned() }),
        // Emptied, or left by whoever made it before its first page was written.
        Ok(found) if found.len() == 0 => may_make(path, make),
        Ok(_) => Ok(()),
        Err(error) if error.kind() == ErrorKind::NotFound => {
            may_make(path, make)?;
            make_file(path).map_err(|error| file_error(path, &error))
        }
        Err(error) => Err(file_error(path, &error)),
    }
}

/// Another process may be faster.
fn make_file(path: &Path) -> io::Result<()> {
    let owner = Owner::beside(path)?;
    match File::options().write(true).create_new(true).mode(PRIVATE).open(path) {
        Ok(file) => owner.give(&file),
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(error),
    }
}

/// Takes others' right to read away; `SQLite` gives `-wal` and `-shm` the mode of the database.
fn hide(path: &Path) {
    let hidden = fs::metadata(path).is_ok_and(|found| found.permissions().mode().trailing_zeros() >= 6);
    if hidden {
        return;
    }
    for file in [path.to_owned(), log_of(path, "-wal"), log_of(path, "-shm")] {
        match fs::set_permissions(&file, Permissions::from_mode(PRIVATE)) {
            Ok(()) => {
                tracing::warn!(file = %file.display(), "others could read this file; now only its owner can");
            }
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => tracing::warn!(file = %file.display(), %error, "others can read this file"),
        }
    }
}

struct Header {
    application_id: i32,
    version: i64,
    tables: i64,
}

impl Header {
    /// Nobody's yet: an empty file, or one that was left before its schema was committed.
    fn is_new(&self) -> bool {
        self.application_id == 0 && self.version == 0 && self.tables == 0
    }
}

fn header(conn: &Connection) -> rusqlite::Result<Header> {
    Ok(Header {
        application_id: conn.pragma_query_value(None, "application_id", |row| row.get(0))?,
        version: conn.pragma_query_value(None, "user_version", |row| row.get(0))?,
        tables: conn.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?,
    })
}

fn use_log(conn: &Connection, path: &Path) -> Result<(), OpenError> {
    let mode: String = conn
        .pragma_update_and_check(None, "journal_mode", "WAL", |row| row.get(0))
        .map_err(|error| sqlite_error(path, &error))?;
    if mode == "wal" { Ok(()) } else { Err(OpenError::NoLog { path: path.to_owned() }) }
}

/// Writes the schema, unless another process just has.
fn create(conn: &Connection) -> rusqlite::Result<Header> {
    let transaction = Transaction::new_unchecked(conn, TransactionBehavior::Immediate)?;
    if header(conn)?.is_new() {
        transaction.execute_batch(SCHEMA)?;
    }
    transaction.commit()?;
    header(conn)
}

/// Reads a row of every table: damage to the heart of the file shows here, at the start.
fn touch_tables(conn: &Connection) -> rusqlite::Result<()> {
    let mut names = conn.prepare("SELECT name FROM sqlite_schema WHERE type = 'table'")?;
    for name in names.query_map([], |row| row.get::<_, String>(0))? {
        conn.prepare(&format!("SELECT * FROM \"{}\" LIMIT 1", name?))?.exists([])?;
    }
    Ok(())
}

/// Raises the number from which AUTOINCREMENT counts; it never goes back.
fn start_ids_at(conn: &Connection, options: &OpenOptions) -> rusqlite::Result<()> {
    let Some(before) = options.first_id.raise_to(users::last_id(conn)?) else { return Ok(()) };
    let transaction = Transaction::new_unchecked(conn, TransactionBehavior::Immediate)?;
    users::raise_ids(&transaction, before)?;
    transaction.commit()
}

#[cfg(test)]
#[path = "tests/open.rs"]
mod tests;
