//! Connections: one to write, a few to read, one at a time to checkpoint, and the pragmas of each.

use std::path::Path;
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags};

/// More statements than the adapter has, so that none is ever parsed twice.
const STATEMENTS: usize = 64;

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
    // Mapped pages count as resident, and a file of a million users is larger than all else together.
    conn.pragma_update(None, "mmap_size", 0)?;
    conn.pragma_update(None, "cache_size", -role.cache_kib())?;
    // Savepoints keep their journal in memory.
    conn.pragma_update(None, "temp_store", "MEMORY")?;
    conn.pragma_update(None, "wal_autocheckpoint", 0)?;
    conn.pragma_update(None, "query_only", role == Role::Reader)
}
