//! Connections: one to write, a few to read, one at a time to checkpoint; the pragmas and bounds of each, and the names
//! of the files beside the database.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags};

use crate::files::beside;

/// More statements than the adapter has, so that none is ever parsed twice.
const STATEMENTS: usize = 128;

/// What a connection is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// The only one that writes.
    Writer,
    /// Reads.
    Reader,
    /// Moves the write-ahead log into the database.
    Checkpoint,
}

impl Role {
    /// How the file is opened. Never created: that is done by hand, with the right mode. Paths are no URIs.
    pub(super) fn flags(self) -> OpenFlags {
        let access = match self {
            Self::Writer | Self::Checkpoint => OpenFlags::SQLITE_OPEN_READ_WRITE,
            Self::Reader => OpenFlags::SQLITE_OPEN_READ_ONLY,
        };
        access | OpenFlags::SQLITE_OPEN_NO_MUTEX
    }

    /// Pages held in memory, in KiB: the system's own cache holds the file, these hold what is in use.
    const fn cache_kib(self) -> i64 {
        match self {
            Self::Writer => 4 * 1024,
            Self::Reader => 512,
            Self::Checkpoint => 64,
        }
    }
}

/// Opens a connection to an existing file. Nothing in the file changes.
pub(super) fn open(path: &Path, role: Role, busy: Duration) -> rusqlite::Result<Connection> {
    let conn = Connection::open_with_flags(path, role.flags())?;
    prepare(&conn, role, busy)?;
    Ok(conn)
}

/// Sets what a connection has for itself; WAL stands in the file.
pub(super) fn prepare(conn: &Connection, role: Role, busy: Duration) -> rusqlite::Result<()> {
    conn.busy_timeout(busy)?;
    conn.set_prepared_statement_cache_capacity(STATEMENTS);
    // Without it a statement with a bound LIMIT is parsed and planned anew at every run.
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    conn.pragma_update(None, "synchronous", "FULL")?;
    conn.pragma_update(None, "foreign_keys", true)?;
    conn.pragma_update(None, "trusted_schema", false)?;
    // What is deleted is overwritten, the pages that become free included: the file of a person who was deleted holds nothing.
    conn.pragma_update(None, "secure_delete", true)?;
    // Mapped pages count as resident, and a file of a million users is larger than all else together.
    conn.pragma_update(None, "mmap_size", 0)?;
    conn.pragma_update(None, "cache_size", -role.cache_kib())?;
    // Savepoints keep their journal in memory.
    conn.pragma_update(None, "temp_store", "MEMORY")?;
    conn.pragma_update(None, "wal_autocheckpoint", 0)?;
    conn.pragma_update(None, "query_only", role == Role::Reader)
}

/// How much the writer takes on.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    /// Writes that may wait.
    pub(super) queue: usize,
    /// Writes of one commit.
    pub(super) jobs: usize,
    /// How long a transaction takes writes in.
    pub(super) time: Duration,
    /// How long the writer, idle, goes without a look for foreign writes.
    pub(super) watch: Duration,
}

/// A bound on the file's size that can be moved while the store is open: what a full disk is to `SQLite`.
#[derive(Clone, Debug, Default)]
pub struct PageLimit(Arc<AtomicU32>);

impl PageLimit {
    /// Lets the file grow to `pages` of 4 KiB (it never shrinks below what it has); 0 lifts the bound. Holds from the
    /// next transaction on.
    pub fn set(&self, pages: u32) {
        self.0.store(pages, Ordering::SeqCst);
    }

    pub(super) fn apply(&self, conn: &Connection) -> rusqlite::Result<()> {
        let pages = match self.0.load(Ordering::SeqCst) {
            0 => i64::from(u32::MAX - 1),
            pages => i64::from(pages),
        };
        conn.pragma_update(None, "max_page_count", pages)
    }
}

/// A file that `SQLite` keeps beside a database, by its suffix: beside the file itself where the path is a link.
pub(super) fn log_of(database: &Path, suffix: &str) -> PathBuf {
    beside(&fs::canonicalize(database).unwrap_or_else(|_| database.to_owned()), suffix)
}
