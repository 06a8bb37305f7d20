//! Rows of `audit`.

use std::ops::Range;

use rusqlite::{Connection, Row, ToSql, params};

use super::tx::SqliteTx;
use crate::domain::audit::{AuditEvent, AuditRecord, RefusalLine};
use crate::domain::quota::Quota;
use crate::domain::tally::{Span, Tally};
use crate::domain::{Timestamp, UserId};
use crate::storage::audit::{AuditLine, AuditOf, AuditOrder, AuditSearch, ReadAudit, WriteAudit};
use crate::storage::columns::count;
use crate::storage::maintenance::OLDEST;
use crate::storage::{PurgeHorizon, StoreResult};

/// `OR FAIL`, since a write that fails is undone as a whole: otherwise `SQLite` copies what a statement of several rows changes, so as to be
/// able to undo that statement alone.
const INSERT: &str = "INSERT OR FAIL INTO audit (at, event, channel, user_id, phone, phone_hash, ip, session_id, \
     request_id, detail) VALUES ";

/// Places for the values of one row.
const ROW: &str = "(?, ?, ?, ?, ?, ?, ?, ?, ?, ?)";

/// How many rows one statement writes at most; no flow has more lines, save those that end many sessions at once.
const ROWS: usize = 8;

const INSERT_REFUSALS: &str =
    "INSERT INTO audit (at, event, channel, phone, ip, detail) VALUES (?1, ?2, ?3, ?4, ?5, ?6)";

/// Rows at or after this instant cannot be deleted; the trigger reads it.
const RETAIN: &str = "UPDATE audit_retention SET before = ?1";

/// Deletes at most so many of the oldest from before an instant. Only the oldest rows are looked at, so that a slice stays a slice.
const PURGE: &str = "DELETE FROM audit WHERE id IN (SELECT id FROM (SELECT id, at FROM audit WHERE at <= ?3 \
     ORDER BY id LIMIT ?4) WHERE at < ?1 LIMIT ?2)";

const FORGET_USER: &str = "UPDATE audit SET phone = NULL, phone_hash = NULL WHERE user_id = ?1 \
     AND (phone IS NOT NULL OR phone_hash IS NOT NULL)";

/// Lines of nobody, about numbers that the user had.
const FORGET_BEFORE: &str = "UPDATE audit SET phone = NULL, phone_hash = NULL WHERE id IN (SELECT line.id FROM \
     (SELECT phone_hash AS hash, max(id) AS last FROM audit WHERE user_id = ?1 AND phone_hash IS NOT NULL GROUP BY phone_hash) \
     CROSS JOIN audit AS line ON line.phone_hash = hash WHERE line.user_id IS NULL AND line.id < last)";

/// Lines that sum refusals up, about those numbers or others that are masked alike.
const FORGET_MASKED_BEFORE: &str = "UPDATE audit SET phone = NULL WHERE phone_hash IS NULL AND phone IN \
     (SELECT phone FROM audit WHERE user_id = ?1 AND phone IS NOT NULL)";

const FORGET_PHONE: &str = "UPDATE audit SET phone = NULL, phone_hash = NULL WHERE phone_hash = ?1";

/// Lines that sum refusals up.
pub(super) const FORGET_MASKED: &str =
    "UPDATE audit SET phone = NULL WHERE phone = ?1 AND phone_hash IS NULL";

/// The lines that are wanted of a range of ids; `$of` is what is asked of `?8`.
macro_rules! wanted {
    ($of:literal) => {
        concat!(
            "FROM audit WHERE ",
            $of,
            " AND id >= ?1 AND id < ?2 AND (?4 IS NULL OR event = ?4) AND (?5 IS NULL OR ip = ?5) \
             AND (?6 IS NULL OR request_id = ?6) AND (?7 IS NULL OR at >= ?7)"
        )
    };
}

macro_rules! search {
    ($of:literal, $order:literal) => {
        concat!(
            "SELECT id, at, event, channel, user_id, phone, ip, session_id, request_id, detail ",
            wanted!($of),
            " ORDER BY id ",
            $order,
            " LIMIT ?3"
        )
    };
}

/// `?3` is bound here as well, so that all searches have the same values.
macro_rules! search_count {
    ($of:literal) => {
        concat!("SELECT count(*) ", wanted!($of), " AND ?3 IS NOT NULL")
    };
}

/// The lines that a tally counts. They are counted one by one: `SQLite` would sort them to group them.
const TALLY: &str = "SELECT event, at, CASE event WHEN ?4 THEN detail END FROM audit \
     WHERE id >= ?1 AND id < ?2 AND at >= ?3 AND event IN (?4, ?5, ?6, ?7)";

impl ReadAudit for SqliteTx<'_> {
    fn search_audit(
        &self,
        wanted: &AuditSearch,
        ids: Range<i64>,
        order: AuditOrder,
        rows: usize,
    ) -> StoreResult<Vec<AuditLine>> {
        use AuditOrder::{NewestFirst, OldestFirst};
        let sql = match (&wanted.of, order) {
            (AuditOf::Everybody, NewestFirst) => search!("?8 IS NULL", "DESC"),
            (AuditOf::Everybody, OldestFirst) => search!("?8 IS NULL", "ASC"),
            (AuditOf::User(_), NewestFirst) => search!("user_id = ?8", "DESC"),
            (AuditOf::User(_), OldestFirst) => search!("user_id = ?8", "ASC"),
            (AuditOf::Phone(_), NewestFirst) => search!("phone_hash = ?8", "DESC"),
            (AuditOf::Phone(_), OldestFirst) => search!("phone_hash = ?8", "ASC"),
        };
        self.run(|conn| lines(conn, sql, &conditions(wanted, &ids, &count(rows))))
    }

    fn count_audit(&self, wanted: &AuditSearch, ids: Range<i64>) -> StoreResult<usize> {
        let sql = match wanted.of {
            AuditOf::Everybody => search_count!("?8 IS NULL"),
            AuditOf::User(_) => search_count!("user_id = ?8"),
            AuditOf::Phone(_) => search_count!("phone_hash = ?8"),
        };
        let counted: i64 = self.run(|conn| {
            conn.prepare_cached(sql)?.query_row(&conditions(wanted, &ids, &i64::MAX)[..], |row| row.get(0))
        })?;
        Ok(usize::try_from(counted).unwrap_or_default())
    }

    fn tally_audit(&self, span: Span, ids: Range<i64>) -> StoreResult<Tally> {
        self.run(|conn| tally(conn, span, &ids))
    }
}

fn tally(conn: &Connection, span: Span, ids: &Range<i64>) -> rusqlite::Result<Tally> {
    let [requested, succeeded, failed, refused] = Tally::EVENTS;
    let of = params![ids.start, ids.end, span.since, refused, requested, succeeded, failed];
    let (mut tally, mut statement) = (Tally::of(span), conn.prepare_cached(TALLY)?);
    let mut rows = statement.query(of)?;
    while let Some(row) = rows.next()? {
        tally.note(row.get(0)?, row.get(1)?, row.get_ref(2)?.as_str_or_null()?);
    }
    Ok(tally)
}

/// The values of a search.
fn conditions<'s>(wanted: &'s AuditSearch, ids: &'s Range<i64>, rows: &'s i64) -> [&'s dyn ToSql; 8] {
    let AuditSearch { of, event, ip, request, since } = wanted;
    let of: &dyn ToSql = match of {
        AuditOf::Everybody => &None::<i64>,
        AuditOf::User(user) => user,
        AuditOf::Phone(hash) => hash,
    };
    [&ids.start, &ids.end, rows, event, ip, request, since, of]
}

impl WriteAudit for SqliteTx<'_> {
    fn audit(&mut self, records: &[AuditRecord]) -> StoreResult<()> {
        self.run_torn(|conn| append(conn, records))
    }

    fn forget_phone(
        &mut self,
        user: UserId,
        hashes: &[[u8; 16]],
        masked: Option<&str>,
    ) -> StoreResult<usize> {
        self.touched().is_erasure = true;
        self.run(|conn| {
            let mut forgotten = conn.prepare_cached(FORGET_BEFORE)?.execute([user])?;
            forgotten += conn.prepare_cached(FORGET_MASKED_BEFORE)?.execute([user])?;
            forgotten += conn.prepare_cached(FORGET_USER)?.execute([user])?;
            forgotten += conn.prepare_cached(FORGET_MASKED)?.execute([masked])?;
            for hash in hashes {
                forgotten += conn.prepare_cached(FORGET_PHONE)?.execute([hash])?;
            }
            Ok(forgotten)
        })
    }
}

fn append(conn: &Connection, records: &[AuditRecord]) -> rusqlite::Result<()> {
    for chunk in records.chunks(ROWS) {
        let rows = vec![ROW; chunk.len()].join(", ");
        let mut statement = conn.prepare_cached(&format!("{INSERT}{rows}"))?;
        let mut place = 0;
        let mut bind = |value: &dyn ToSql| {
            place += 1;
            statement.raw_bind_parameter(place, value)
        };
        for AuditRecord { actor, event, user, session, detail } in chunk {
            let (phone, hash) = actor.phone.as_ref().map(|(phone, hash)| (phone, hash)).unzip();
            let values: [&dyn ToSql; 10] = [
                &actor.at,
                event,
                &actor.mode,
                user,
                &phone,
                &hash,
                &actor.ip,
                session,
                &actor.request_id,
                detail,
            ];
            values.into_iter().try_for_each(&mut bind)?;
        }
        statement.raw_execute()?;
    }
    Ok(())
}

/// Sums a window of refusals up, where there was more than one.
pub(super) fn append_refusals(
    conn: &Connection,
    at: Timestamp,
    quota: Quota,
    subject: &str,
    counted: i64,
) -> rusqlite::Result<()> {
    let Some(RefusalLine { mode, phone, ip, detail }) = RefusalLine::of(quota, subject, counted) else {
        return Ok(());
    };
    let values = params![at, AuditEvent::LimitExceeded, mode, phone, ip, detail];
    conn.prepare_cached(INSERT_REFUSALS)?.execute(values).map(drop)
}

/// Deletes at most `limit` of the lines from before `horizon`, the oldest, and keeps all others from being deleted; gives
/// how many were.
pub(super) fn purge(conn: &Connection, horizon: &PurgeHorizon, limit: i64) -> rusqlite::Result<usize> {
    conn.prepare_cached(RETAIN)?.execute([horizon.audit])?;
    conn.prepare_cached(PURGE)?.execute(params![horizon.audit, limit, horizon.now, OLDEST])
}

fn lines(conn: &Connection, sql: &str, params: &[&dyn ToSql]) -> rusqlite::Result<Vec<AuditLine>> {
    conn.prepare_cached(sql)?.query_map(params, line)?.collect()
}

fn line(row: &Row<'_>) -> rusqlite::Result<AuditLine> {
    Ok(AuditLine {
        id: row.get(0)?,
        at: row.get(1)?,
        event: row.get(2)?,
        mode: row.get(3)?,
        user: row.get(4)?,
        phone: row.get(5)?,
        ip: row.get(6)?,
        session: row.get(7)?,
        request_id: row.get(8)?,
        detail: row.get(9)?,
    })
}
