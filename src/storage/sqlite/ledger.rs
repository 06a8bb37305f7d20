//! Rows of `spends` and `refusals`: the ledger of quotas.

use std::ops::Range;

use rusqlite::{Connection, OptionalExtension as _, Row, params};

use super::audit;
use super::tx::SqliteTx;
use crate::domain::quota::Quota;
use crate::domain::{SpendId, Timestamp};
use crate::storage::StoreResult;
use crate::storage::columns::count;
use crate::storage::ledger::{ReadLedger, Spend, WriteLedger};

pub(super) const SPENT_SINCE: &str =
    "SELECT at FROM spends WHERE subject = ?1 AND quota = ?2 AND at > ?3 ORDER BY at";

const SPEND: &str = "INSERT INTO spends (quota, subject, at) VALUES (?1, ?2, ?3)";

const UNSPEND: &str = "DELETE FROM spends WHERE id = ?1 AND quota = ?2 AND subject = ?3";

pub(super) const CLAMP: &str = "UPDATE spends SET at = ?3 WHERE subject = ?1 AND quota = ?2 AND at > ?3";

/// The units of one quota: those of another are kept longer.
pub(super) const PURGE: &str = "DELETE FROM spends WHERE id IN \
     (SELECT id FROM spends WHERE quota = ?1 AND at <= ?2 ORDER BY at LIMIT ?3)";

const AFTER: &str = "SELECT id, quota, subject, at FROM spends WHERE id > ?1 ORDER BY id LIMIT ?2";

const BEQUEATH: &str = "UPDATE spends SET subject = ?2 WHERE subject = ?1";

const RESET: &str = "DELETE FROM spends WHERE subject = ?1";

const RESET_REFUSALS: &str = "DELETE FROM refusals WHERE subject = ?1";

const UNTOLD: &str = "SELECT ifnull(sum(count - 1), 0) FROM refusals WHERE first >= ?1";

/// Deletes a window of refusals that has closed; one that is open at the instant stays.
const CLOSE: &str = "DELETE FROM refusals WHERE subject = ?1 AND quota = ?2 AND until <= ?3 RETURNING count";

/// Counts within the window that is open, or opens one.
const COUNT: &str = "INSERT INTO refusals (subject, quota, first, until, count) VALUES (?1, ?2, ?3, ?4, ?5) \
     ON CONFLICT (subject, quota) DO UPDATE SET count = count + excluded.count RETURNING count";

pub(super) const CLOSE_ALL: &str = "DELETE FROM refusals WHERE (subject, quota) IN \
     (SELECT subject, quota FROM refusals WHERE until <= ?1 ORDER BY until LIMIT ?2) \
     RETURNING subject, quota, count";

impl ReadLedger for SqliteTx<'_> {
    fn spends(&self, quota: Quota, subjects: &[&str], since: Timestamp) -> StoreResult<Vec<Timestamp>> {
        self.run(|conn| {
            let mut spent: Vec<Timestamp> = Vec::new();
            for subject in subjects {
                let of = params![subject, quota, since];
                for at in conn.prepare_cached(SPENT_SINCE)?.query_map(of, |row| row.get(0))? {
                    spent.push(at?);
                }
            }
            spent.sort_unstable();
            Ok(spent)
        })
    }

    fn spends_after(&self, after: SpendId, rows: usize) -> StoreResult<Vec<Spend>> {
        self.run(|conn| conn.prepare_cached(AFTER)?.query_map(params![after, count(rows)], spend)?.collect())
    }

    fn untold_refusals(&self, since: Timestamp) -> StoreResult<u64> {
        let untold: i64 =
            self.run(|conn| conn.prepare_cached(UNTOLD)?.query_row([since], |row| row.get(0)))?;
        Ok(u64::try_from(untold).unwrap_or_default())
    }
}

impl WriteLedger for SqliteTx<'_> {
    fn spend(&mut self, quota: Quota, subject: &str, at: Timestamp) -> StoreResult<SpendId> {
        self.assert_locked("a quota", |locks| locks.cover_quota(quota, subject));
        let values = params![quota, subject, at];
        self.run(|conn| conn.prepare_cached(SPEND)?.insert(values)).map(SpendId)
    }

    fn unspend(&mut self, quota: Quota, subject: &str, spend: SpendId) -> StoreResult<bool> {
        self.assert_locked("a quota", |locks| locks.cover_quota(quota, subject));
        let of = params![spend, quota, subject];
        self.run(|conn| Ok(conn.prepare_cached(UNSPEND)?.execute(of)? > 0))
    }

    fn clamp_future_spends(&mut self, quota: Quota, subject: &str, now: Timestamp) -> StoreResult<()> {
        self.assert_locked("a quota", |locks| locks.cover_quota(quota, subject));
        let of = params![subject, quota, now];
        self.run(|conn| conn.prepare_cached(CLAMP)?.execute(of).map(drop))
    }

    fn count_refusals(
        &mut self,
        quota: Quota,
        subject: &str,
        window: Range<Timestamp>,
        refusals: u64,
    ) -> StoreResult<bool> {
        let refusals = i64::try_from(refusals).unwrap_or(i64::MAX);
        self.run(|conn| count_refusals(conn, quota, subject, window, refusals))
    }

    fn bequeath(&mut self, subject: &str, heir: &str) -> StoreResult<usize> {
        self.run(|conn| {
            for forgotten in [subject, heir] {
                conn.prepare_cached(RESET_REFUSALS)?.execute([forgotten])?;
            }
            conn.prepare_cached(BEQUEATH)?.execute([subject, heir])
        })
    }

    fn reset_limits(&mut self, subject: &str) -> StoreResult<(usize, usize)> {
        self.run(|conn| {
            let units = conn.prepare_cached(RESET)?.execute([subject])?;
            let windows = conn.prepare_cached(RESET_REFUSALS)?.execute([subject])?;
            Ok((units, windows))
        })
    }
}

/// A refusal, or several that memory counted: true if they are the first of their window.
fn count_refusals(
    conn: &Connection,
    quota: Quota,
    subject: &str,
    Range { start: at, end: until }: Range<Timestamp>,
    refusals: i64,
) -> rusqlite::Result<bool> {
    let closed =
        conn.prepare_cached(CLOSE)?.query_row(params![subject, quota, at], |row| row.get(0)).optional()?;
    if let Some(count) = closed {
        audit::append_refusals(conn, at, quota, subject, count)?;
    }
    let counted: i64 = conn
        .prepare_cached(COUNT)?
        .query_row(params![subject, quota, at, until, refusals], |row| row.get(0))?;
    Ok(counted == refusals)
}

/// Deletes at most `limit` units of a quota that were spent at `before` or earlier; gives how many.
pub(super) fn purge(
    conn: &Connection,
    quota: Quota,
    before: Timestamp,
    limit: i64,
) -> rusqlite::Result<usize> {
    conn.prepare_cached(PURGE)?.execute(params![quota, before, limit])
}

/// Sums up and deletes at most `limit` windows that have closed; gives how many there were.
pub(super) fn close_windows(conn: &Connection, now: Timestamp, limit: i64) -> rusqlite::Result<usize> {
    let closed: Vec<(String, Quota, i64)> = conn
        .prepare_cached(CLOSE_ALL)?
        .query_map(params![now, limit], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?
        .collect::<rusqlite::Result<_>>()?;
    for (subject, quota, count) in &closed {
        audit::append_refusals(conn, now, *quota, subject, *count)?;
    }
    Ok(closed.len())
}

fn spend(row: &Row<'_>) -> rusqlite::Result<Spend> {
    Ok(Spend { id: row.get(0)?, quota: row.get(1)?, subject: row.get(2)?, at: row.get(3)? })
}
