//! The one row of `clock`.

use std::time::Duration;

use rusqlite::{Connection, OptionalExtension as _, params};

use crate::domain::clock::StoredClock;

const READ: &str = "SELECT wall, retention, quiet FROM clock";

const WRITE: &str = "INSERT OR REPLACE INTO clock (id, wall, retention, quiet) VALUES (1, ?1, ?2, ?3)";

pub(super) fn read(conn: &Connection) -> rusqlite::Result<Option<StoredClock>> {
    let stored = |row: &rusqlite::Row<'_>| {
        let quiet: u64 = row.get::<_, i64>(2)?.try_into().unwrap_or_default();
        Ok(StoredClock { wall: row.get(0)?, retention: row.get(1)?, quiet: Duration::from_millis(quiet) })
    };
    conn.prepare_cached(READ)?.query_row([], stored).optional()
}

pub(super) fn write(conn: &Connection, clock: &StoredClock) -> rusqlite::Result<()> {
    let quiet = i64::try_from(clock.quiet.as_millis()).unwrap_or(i64::MAX);
    conn.prepare_cached(WRITE)?.execute(params![clock.wall, clock.retention, quiet]).map(drop)
}
