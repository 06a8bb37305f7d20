//! Rows of `audit`.

use std::ops::Range;

use super::row::{Row, RowError};
use postgres_types::ToSql;

use super::connection::Params;
use super::tx::{PostgresTx, Witness, first};
use crate::domain::audit::{AuditEvent, AuditRecord, RefusalLine};
use crate::domain::quota::Quota;
use crate::domain::tally::{PARTS, Span, Tally};
use crate::domain::{Timestamp, UserId};
use crate::storage::audit::{AuditLine, AuditOf, AuditOrder, AuditSearch, ReadAudit, WriteAudit};
use crate::storage::columns::count;
use crate::storage::maintenance::OLDEST;
use crate::storage::{PurgeHorizon, StoreResult};

/// Writes lines.
macro_rules! insert {
    ($values:literal) => {
        concat!(
            "INSERT INTO audit (at, event, channel, user_id, phone, phone_hash, ip, session_id, request_id, detail) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
            $values
        )
    };
}

const INSERT: &str = insert!(" RETURNING id");

const INSERT_ONE: &str = insert!("");

const INSERT_TWO: &str = insert!(", ($11, $12, $13, $14, $15, $16, $17, $18, $19, $20)");

const INSERT_THREE: &str = insert!(
    ", ($11, $12, $13, $14, $15, $16, $17, $18, $19, $20), ($21, $22, $23, $24, $25, $26, $27, $28, $29, $30)"
);

/// The same with an id that was drawn before.
const INSERT_WITH_ID: &str = "INSERT INTO audit (at, event, channel, user_id, phone, phone_hash, ip, session_id, request_id, \
     detail, id) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)";

const INSERT_REFUSALS: &str =
    "INSERT INTO audit (at, event, channel, phone, ip, detail) VALUES ($1, $2, $3, $4, $5, $6)";

/// Rows at or after this instant cannot be deleted; the trigger reads it.
const RETAIN: &str = "UPDATE audit_retention SET before = $1";

/// Deletes at most so many of the oldest from before an instant. Only the oldest rows are looked at, so that a slice stays a slice.
const PURGE: &str = "DELETE FROM audit WHERE id IN (SELECT id FROM (SELECT id, at FROM audit WHERE at <= $3 \
     ORDER BY id LIMIT $4) AS oldest WHERE at < $1 LIMIT $2)";

const FORGET_USER: &str = "UPDATE audit SET phone = NULL, phone_hash = NULL WHERE user_id = $1 \
     AND (phone IS NOT NULL OR phone_hash IS NOT NULL)";

/// Lines of nobody, about numbers that the user had.
const FORGET_BEFORE: &str = "UPDATE audit AS line SET phone = NULL, phone_hash = NULL FROM \
     (SELECT phone_hash AS hash, max(id) AS last FROM audit WHERE user_id = $1 AND phone_hash IS NOT NULL GROUP BY phone_hash) \
     AS own WHERE line.phone_hash = hash AND line.user_id IS NULL AND line.id < last";

/// Lines that sum refusals up, about those numbers or others that are masked alike.
const FORGET_MASKED_BEFORE: &str = "UPDATE audit SET phone = NULL WHERE phone_hash IS NULL AND phone IN \
     (SELECT phone FROM audit WHERE user_id = $1 AND phone IS NOT NULL)";

const FORGET_PHONE: &str = "UPDATE audit SET phone = NULL, phone_hash = NULL WHERE phone_hash = $1";

/// Lines that sum refusals up.
const FORGET_MASKED: &str = "UPDATE audit SET phone = NULL WHERE phone = $1 AND phone_hash IS NULL";

/// The lines that are wanted of a range of ids; `$of` is what is asked of `$7`.
macro_rules! wanted {
    ($of:literal) => {
        concat!(
            "FROM audit WHERE ",
            $of,
            " AND id >= $1 AND id < $2 AND ($3::text IS NULL OR event = $3) AND ($4::text IS NULL OR ip = $4) \
             AND ($5::text IS NULL OR request_id = $5) AND ($6::bigint IS NULL OR at >= $6)"
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
            " LIMIT $8"
        )
    };
}

macro_rules! search_count {
    ($of:literal) => {
        concat!("SELECT count(*) ", wanted!($of))
    };
}

/// How many lines a tally counts, those that are alike together: as [`Span::part`] has it, for lines from within the span or later.
const TALLY: &str = "SELECT event, least((at - $3) * $5 / $4, $5 - 1), CASE event WHEN $6 THEN detail END, count(*) FROM audit \
     WHERE id >= $1 AND id < $2 AND at >= $3 AND event = ANY($7) GROUP BY 1, 2, 3";

/// A line, as its columns have it.
struct Columns<'r> {
    record: &'r AuditRecord,
    phone: Option<&'r str>,
    hash: Option<&'r [u8]>,
    detail: Option<String>,
}

impl Columns<'_> {
    fn params(&self) -> [&(dyn ToSql + Sync); 10] {
        let AuditRecord { actor, event, user, session, .. } = self.record;
        [
            &actor.at,
            event,
            &actor.mode,
            user,
            &self.phone,
            &self.hash,
            &actor.ip,
            session,
            &actor.request_id,
            &self.detail,
        ]
    }
}

impl ReadAudit for PostgresTx<'_> {
    fn search_audit(
        &self,
        wanted: &AuditSearch,
        ids: Range<i64>,
        order: AuditOrder,
        rows: usize,
    ) -> StoreResult<Vec<AuditLine>> {
        use AuditOrder::{NewestFirst, OldestFirst};
        let sql = match (&wanted.of, order) {
            (AuditOf::Everybody, NewestFirst) => search!("$7::bigint IS NULL", "DESC"),
            (AuditOf::Everybody, OldestFirst) => search!("$7::bigint IS NULL", "ASC"),
            (AuditOf::User(_), NewestFirst) => search!("user_id = $7", "DESC"),
            (AuditOf::User(_), OldestFirst) => search!("user_id = $7", "ASC"),
            (AuditOf::Phone(_), NewestFirst) => search!("phone_hash = $7", "DESC"),
            (AuditOf::Phone(_), OldestFirst) => search!("phone_hash = $7", "ASC"),
        };
        let AuditSearch { of, event, ip, request, since } = wanted;
        let (of, rows) = (key(of), count(rows));
        self.rows(sql, &[&ids.start, &ids.end, event, ip, request, since, &*of, &rows], line)
    }

    fn count_audit(&self, wanted: &AuditSearch, ids: Range<i64>) -> StoreResult<usize> {
        let sql = match wanted.of {
            AuditOf::Everybody => search_count!("$7::bigint IS NULL"),
            AuditOf::User(_) => search_count!("user_id = $7"),
            AuditOf::Phone(_) => search_count!("phone_hash = $7"),
        };
        let AuditSearch { of, event, ip, request, since } = wanted;
        let of = key(of);
        let counted =
            self.row(sql, &[&ids.start, &ids.end, event, ip, request, since, &*of], first::<i64>)?;
        Ok(usize::try_from(counted.unwrap_or_default()).unwrap_or_default())
    }

    fn tally_audit(&self, span: Span, ids: Range<i64>) -> StoreResult<Tally> {
        let (parts, refused) = (count(PARTS), AuditEvent::LimitExceeded);
        let of: Params<'_> =
            &[&ids.start, &ids.end, &span.since, &span.length(), &parts, &refused, &Tally::EVENTS.to_vec()];
        let mut tally = Tally::of(span);
        for (event, part, detail, lines) in self.rows(TALLY, of, lines_alike)? {
            tally.note_lines(lines, event, part, detail.as_deref());
        }
        Ok(tally)
    }
}

/// Event, part, detail, and how many there are.
fn lines_alike(row: &Row) -> Result<(AuditEvent, usize, Option<String>, u64), RowError> {
    let (part, lines): (i64, i64) = (row.try_get(1)?, row.try_get(3)?);
    let part = usize::try_from(part).unwrap_or_default();
    Ok((row.try_get(0)?, part, row.try_get(2)?, lines.unsigned_abs()))
}

/// What lines are looked up by; nothing where all are looked at.
fn key(of: &AuditOf) -> Box<dyn ToSql + Sync> {
    match of {
        AuditOf::Everybody => Box::new(None::<i64>),
        AuditOf::User(user) => Box::new(*user),
        AuditOf::Phone(hash) => Box::new(hash.to_vec()),
    }
}

impl WriteAudit for PostgresTx<'_> {
    fn audit(&mut self, records: &[AuditRecord]) -> StoreResult<()> {
        let columns: Vec<Columns<'_>> = records
            .iter()
            .map(|record| {
                let phone = record.actor.phone.as_ref();
                Columns {
                    record,
                    phone: phone.map(|(phone, _)| phone.as_str()),
                    hash: phone.map(|(_, hash)| &hash[..]),
                    detail: record.detail.as_ref().map(ToString::to_string),
                }
            })
            .collect();
        let lines: Vec<_> = columns.iter().map(Columns::params).collect();
        if self.has_witness() {
            return self.append_lines(&lines);
        }
        let witness = |id, record: &AuditRecord| {
            let actor = &record.actor;
            Witness::Audit(id, actor.at, actor.request_id.clone())
        };
        if let ([record, ..], [line, rest @ ..]) = (records, &lines[..])
            && let Some(id) = self.drawn_line()
        {
            self.append(INSERT_WITH_ID, &[&line[..], &[&id]].concat())?;
            self.note_witness(witness(id, record));
            return self.append_lines(rest);
        }
        let params: Vec<Params<'_>> = lines.iter().map(|line| &line[..]).collect();
        let ids = self.write_all(INSERT, &params, first)?;
        if let (Some(id), Some(record)) = (ids.first(), records.first()) {
            self.note_witness(witness(*id, record));
        }
        Ok(())
    }

    fn forget_phone(
        &mut self,
        user: UserId,
        hashes: &[[u8; 16]],
        masked: Option<&str>,
    ) -> StoreResult<usize> {
        let mut forgotten = self.write(FORGET_BEFORE, &[&user])?;
        forgotten += self.write(FORGET_MASKED_BEFORE, &[&user])?;
        forgotten += self.write(FORGET_USER, &[&user])?;
        forgotten += self.write(FORGET_MASKED, &[&masked])?;
        for hash in hashes {
            forgotten += self.write(FORGET_PHONE, &[&&hash[..]])?;
        }
        Ok(forgotten)
    }
}

impl PostgresTx<'_> {
    /// Adds lines, whose ids nobody asks for.
    fn append_lines(&self, lines: &[[&(dyn ToSql + Sync); 10]]) -> StoreResult<()> {
        lines.chunks(3).try_for_each(|lines| {
            let sql = match lines.len() {
                1 => INSERT_ONE,
                2 => INSERT_TWO,
                _ => INSERT_THREE,
            };
            self.append(sql, &lines.concat())
        })
    }

    /// Sums a window of refusals up, where there was more than one.
    pub(super) fn append_refusals(
        &self,
        at: Timestamp,
        quota: Quota,
        subject: &str,
        counted: i64,
    ) -> StoreResult<()> {
        let Some(RefusalLine { mode, phone, ip, detail }) = RefusalLine::of(quota, subject, counted) else {
            return Ok(());
        };
        let event = AuditEvent::LimitExceeded;
        self.append(INSERT_REFUSALS, &[&at, &event, &mode, &phone, &ip, &detail.to_string()])
    }

    /// Deletes at most `limit` of the lines from before `horizon`, the oldest, and keeps all others from being deleted;
    /// gives how many were.
    pub(super) fn purge_audit(&self, horizon: &PurgeHorizon, limit: i64) -> StoreResult<usize> {
        self.write_one(RETAIN, &[&horizon.audit])?;
        self.write(PURGE, &[&horizon.audit, &limit, &horizon.now, &OLDEST])
    }
}

fn line(row: &Row) -> Result<AuditLine, RowError> {
    Ok(AuditLine {
        id: row.try_get(0)?,
        at: row.try_get(1)?,
        event: row.try_get(2)?,
        mode: row.try_get(3)?,
        user: row.try_get(4)?,
        phone: row.try_get(5)?,
        ip: row.try_get(6)?,
        session: row.try_get(7)?,
        request_id: row.try_get(8)?,
        detail: row.try_get(9)?,
    })
}
