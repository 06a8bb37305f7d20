//! Rows of `spends` and `refusals`: the ledger of quotas.

use rusqlite::{Connection, OptionalExtension as _, params};

use super::{audit, columns};
use crate::domain::quota::Quota;
use crate::domain::{SpendId, Timestamp};

pub(super) const SPENT_SINCE: &str =
    "SELECT at FROM spends WHERE subject = ?1 AND quota = ?2 AND at > ?3 ORDER BY at";

const SPEND: &str = "INSERT INTO spends (quota, subject, at) VALUES (?1, ?2, ?3)";

const UNSPEND: &str = "DELETE FROM spends WHERE id = ?1";

pub(super) const PULL_BACK: &str = "UPDATE spends SET at = ?3 WHERE subject = ?1 AND quota = ?2 AND at > ?3";

const WINDOW: &str = "SELECT until, count FROM refusals WHERE subject = ?1 AND quota = ?2";

const OPEN_WINDOW: &str = "INSERT OR REPLACE INTO refusals (subject, quota, first, until, count) \
     VALUES (?1, ?2, ?3, ?4, ?5)";

const COUNT: &str = "UPDATE refusals SET count = count + ?3 WHERE subject = ?1 AND quota = ?2";

pub(super) const CLOSED_WINDOWS: &str =
    "SELECT subject, quota, count FROM refusals WHERE until <= ?1 ORDER BY until LIMIT ?2";

const CLOSE_WINDOW: &str = "DELETE FROM refusals WHERE subject = ?1 AND quota = ?2";

pub(super) fn spent_since(
    conn: &Connection,
    quota: Quota,
    subject: &str,
    since: Timestamp,
) -> rusqlite::Result<Vec<Timestamp>> {
    conn.prepare_cached(SPENT_SINCE)?.query_map(params![subject, quota, since], |row| row.get(0))?.collect()
}

pub(super) fn spend(
    conn: &Connection,
    quota: Quota,
    subject: &str,
    at: Timestamp,
) -> rusqlite::Result<SpendId> {
    conn.prepare_cached(SPEND)?.insert(params![quota, subject, at]).map(SpendId)
}

/// A unit that upkeep has already dropped needs no giving back.
pub(super) fn unspend(conn: &Connection, spend: SpendId) -> rusqlite::Result<()> {
    conn.prepare_cached(UNSPEND)?.execute([spend]).map(drop)
}

pub(super) fn pull_back(
    conn: &Connection,
    quota: Quota,
    subject: &str,
    now: Timestamp,
) -> rusqlite::Result<()> {
    conn.prepare_cached(PULL_BACK)?.execute(params![subject, quota, now]).map(drop)
}

/// A refusal, or several that memory counted: true if they are the first of their window.
pub(super) fn count_refusals(
    conn: &Connection,
    quota: Quota,
    subject: &str,
    (at, until): (Timestamp, Timestamp),
    refusals: i64,
) -> rusqlite::Result<bool> {
    let window: Option<(Timestamp, i64)> = conn
        .prepare_cached(WINDOW)?
        .query_row(params![subject, quota], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    match window {
        Some((until, _)) if until > at => {
            conn.prepare_cached(COUNT)?.execute(params![subject, quota, refusals])?;
            return Ok(false);
        }
        Some((_, count)) => summarise(conn, at, quota, subject, count)?,
        None => {}
    }
    conn.prepare_cached(OPEN_WINDOW)?.execute(params![subject, quota, at, until, refusals])?;
    Ok(true)
}

/// Tells of at most `limit` windows that have closed and forgets them; gives how many there were.
pub(super) fn close_windows(conn: &Connection, now: Timestamp, limit: usize) -> rusqlite::Result<usize> {
    let closed: Vec<(String, Quota, i64)> = conn
        .prepare_cached(CLOSED_WINDOWS)?
        .query_map(params![now, columns::count(limit)], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?
        .collect::<rusqlite::Result<_>>()?;
    let mut close = conn.prepare_cached(CLOSE_WINDOW)?;
    for (subject, quota, count) in &closed {
        summarise(conn, now, *quota, subject, *count)?;
        close.execute(params![subject, quota])?;
    }
    Ok(closed.len())
}

/// The first refusal of a window was told when it happened; only more than that is worth another line.
fn summarise(
    conn: &Connection,
    at: Timestamp,
    quota: Quota,
    subject: &str,
    count: i64,
) -> rusqlite::Result<()> {
    if count > 1 { audit::append_refusals(conn, at, quota, subject, count) } else { Ok(()) }
}
