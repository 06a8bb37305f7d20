//! Rows of `spends` and `refusals`: the ledger of quotas.

use std::ops::Range;

use postgres_types::ToSql;

use super::ids::Sequence;
use super::row::{Row, RowError};
use super::tx::{PostgresTx, first};
use crate::domain::quota::Quota;
use crate::domain::{SpendId, Timestamp};
use crate::storage::StoreResult;
use crate::storage::columns::count;
use crate::storage::ledger::{ReadLedger, Spend, WriteLedger};

/// Compared as rows, so that no index but that by subject will do: a plan that is made while the table is small may take that by
/// quota and age, reads the units of everybody by it, and stays.
pub(super) const SPENT_SINCE: &str = "SELECT spent.at FROM unnest($1::TEXT[]) AS own (subject) CROSS JOIN LATERAL \
     (SELECT at FROM spends WHERE (spends.subject, quota, at) > (own.subject, $2, $3) \
     AND (spends.subject, quota) <= (own.subject, $2)) AS spent";

const SPEND: &str = "INSERT INTO spends (id, quota, subject, at) VALUES ($1, $2, $3, $4)";

const UNSPEND: &str = "DELETE FROM spends WHERE id = $1 AND quota = $2 AND subject = $3";

const CLAMP: &str = "UPDATE spends SET at = $3 WHERE subject = $1 AND quota = $2 AND at > $3";

/// The units of one quota: those of another are kept longer.
const PURGE: &str = "DELETE FROM spends WHERE id IN \
     (SELECT id FROM spends WHERE quota = $1 AND at <= $2 ORDER BY at LIMIT $3)";

const AFTER: &str = "SELECT id, quota, subject, at FROM spends WHERE id > $1 ORDER BY id LIMIT $2";

const BEQUEATH: &str = "UPDATE spends SET subject = $2 WHERE subject = $1";

const RESET: &str = "DELETE FROM spends WHERE subject = $1";

const RESET_REFUSALS: &str = "DELETE FROM refusals WHERE subject = $1";

const UNTOLD: &str = "SELECT coalesce(sum(count - 1), 0)::BIGINT FROM refusals WHERE first >= $1";

/// A window that has closed; never one that another transaction has opened since.
const CLOSE: &str = "DELETE FROM refusals WHERE subject = $1 AND quota = $2 AND until <= $3 RETURNING count";

/// A window that is there has counted at least one, so the sum tells whether it is new.
const COUNT: &str = "INSERT INTO refusals (subject, quota, first, until, count) VALUES ($1, $2, $3, $4, $5) \
     ON CONFLICT (subject, quota) DO UPDATE SET count = refusals.count + excluded.count RETURNING count";

const CLOSE_SOME: &str = "DELETE FROM refusals WHERE (subject, quota) IN \
     (SELECT subject, quota FROM refusals WHERE until <= $1 ORDER BY until LIMIT $2 FOR UPDATE SKIP LOCKED) \
     RETURNING subject, quota, count";

/// The parameters of [`SPENT_SINCE`], to be asked ahead.
pub(super) fn spent_since(
    subjects: Vec<String>,
    quota: Quota,
    since: Timestamp,
) -> Vec<Box<dyn ToSql + Sync>> {
    vec![Box::new(subjects), Box::new(quota), Box::new(since)]
}

impl ReadLedger for PostgresTx<'_> {
    fn spends(&self, quota: Quota, subjects: &[&str], since: Timestamp) -> StoreResult<Vec<Timestamp>> {
        let mut spent = self.rows(SPENT_SINCE, &[&subjects, &quota, &since], first)?;
        spent.sort_unstable();
        Ok(spent)
    }

    fn spends_after(&self, after: SpendId, rows: usize) -> StoreResult<Vec<Spend>> {
        self.rows(AFTER, &[&after, &count(rows)], spend)
    }

    fn untold_refusals(&self, since: Timestamp) -> StoreResult<u64> {
        let untold = self.row(UNTOLD, &[&since], first::<i64>)?.unwrap_or_default();
        Ok(u64::try_from(untold).unwrap_or_default())
    }
}

impl WriteLedger for PostgresTx<'_> {
    fn spend(&mut self, quota: Quota, subject: &str, at: Timestamp) -> StoreResult<SpendId> {
        let id = SpendId(self.next_id(Sequence::Spends)?);
        self.append_of(subject, SPEND, &[&id, &quota, &subject, &at])?;
        Ok(id)
    }

    fn unspend(&mut self, quota: Quota, subject: &str, spend: SpendId) -> StoreResult<bool> {
        Ok(self.write(UNSPEND, &[&spend, &quota, &subject])? > 0)
    }

    fn clamp_future_spends(&mut self, quota: Quota, subject: &str, now: Timestamp) -> StoreResult<()> {
        self.append(CLAMP, &[&subject, &quota, &now])
    }

    fn count_refusals(
        &mut self,
        quota: Quota,
        subject: &str,
        Range { start: at, end: until }: Range<Timestamp>,
        refusals: u64,
    ) -> StoreResult<bool> {
        let refusals = i64::try_from(refusals).unwrap_or(i64::MAX);
        for counted in self.returning(CLOSE, &[&subject, &quota, &at], first)? {
            self.append_refusals(at, quota, subject, counted)?;
        }
        let counted = self.returning(COUNT, &[&subject, &quota, &at, &until, &refusals], first::<i64>)?;
        Ok(counted == [refusals])
    }

    fn bequeath(&mut self, subject: &str, heir: &str) -> StoreResult<usize> {
        for forgotten in [subject, heir] {
            self.write(RESET_REFUSALS, &[&forgotten])?;
        }
        self.write(BEQUEATH, &[&subject, &heir])
    }

    fn reset_limits(&mut self, subject: &str) -> StoreResult<(usize, usize)> {
        Ok((self.write(RESET, &[&subject])?, self.write(RESET_REFUSALS, &[&subject])?))
    }
}

impl PostgresTx<'_> {
    /// Deletes at most `limit` units of a quota that were spent at `before` or earlier; gives how many.
    pub(super) fn purge_spends(&self, quota: Quota, before: Timestamp, limit: i64) -> StoreResult<usize> {
        self.write(PURGE, &[&quota, &before, &limit])
    }

    /// Tells of at most `limit` windows that have closed and forgets them; gives how many there were.
    pub(super) fn close_windows(&self, now: Timestamp, limit: i64) -> StoreResult<usize> {
        type Window = (String, Quota, i64);
        let window = |row: &Row| -> Result<Window, RowError> {
            Ok((row.try_get(0)?, row.try_get(1)?, row.try_get(2)?))
        };
        let closed = self.returning(CLOSE_SOME, &[&now, &limit], window)?;
        for (subject, quota, counted) in &closed {
            self.append_refusals(now, *quota, subject, *counted)?;
        }
        Ok(closed.len())
    }
}

fn spend(row: &Row) -> Result<Spend, RowError> {
    Ok(Spend { id: row.try_get(0)?, quota: row.try_get(1)?, subject: row.try_get(2)?, at: row.try_get(3)? })
}
