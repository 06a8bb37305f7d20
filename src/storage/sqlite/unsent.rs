//! Rows of `unsent`: codes that found no sender, counted by the minute.

use rusqlite::{Connection, Row, params};

use crate::domain::Timestamp;
use crate::domain::message::{Unsent, UnsentCount};

const MINUTE: i64 = 60_000;

const COUNT: &str = "INSERT INTO unsent (minute, why, count) VALUES (?1, ?2, 1) \
     ON CONFLICT (minute, why) DO UPDATE SET count = count + 1 RETURNING count";

const SINCE: &str = "SELECT minute, why, count FROM unsent WHERE minute >= ?1 ORDER BY minute, why";

const PURGE: &str = "DELETE FROM unsent WHERE minute < ?1";

/// True for the first of its minute.
pub(super) fn count(conn: &Connection, why: Unsent, at: Timestamp) -> rusqlite::Result<bool> {
    let count: i64 = conn.prepare_cached(COUNT)?.query_row(params![minute(at), why], |row| row.get(0))?;
    Ok(count == 1)
}

/// Those of the minute of `since` and of all after it.
pub(super) fn since(conn: &Connection, since: Timestamp) -> rusqlite::Result<Vec<UnsentCount>> {
    let row = |row: &Row<'_>| {
        let count: i64 = row.get(2)?;
        Ok(UnsentCount {
            minute: Timestamp::from_millis(row.get::<_, i64>(0)? * MINUTE),
            why: row.get(1)?,
            count: u64::try_from(count).unwrap_or_default(),
        })
    };
    conn.prepare_cached(SINCE)?.query_map([minute(since)], row)?.collect()
}

/// Two rows a minute at most, so that one slice takes all of them.
pub(super) fn purge(conn: &Connection, before: Timestamp) -> rusqlite::Result<()> {
    conn.prepare_cached(PURGE)?.execute([minute(before)]).map(drop)
}

fn minute(at: Timestamp) -> i64 {
    at.as_millis().div_euclid(MINUTE)
}
