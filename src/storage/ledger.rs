//! What is asked of the ledger: units spent of quotas, and refusals counted.

use std::ops::Range;

use super::error::StoreResult;
use crate::domain::quota::Quota;
use crate::domain::{SpendId, Timestamp};

/// A unit in the ledger.
#[derive(Clone, Debug)]
pub struct Spend {
    /// Ascending in the order of spending.
    pub id: SpendId,
    /// Of which quota.
    pub quota: Quota,
    /// By whom: an address, a phone or a device, or a phone whose user was deleted since, hashed.
    pub subject: String,
    /// When.
    pub at: Timestamp,
}

/// Reads the ledger.
#[expect(clippy::missing_errors_doc, reason = "a read fails where the database does, and nowhere else")]
pub trait ReadLedger {
    /// When the units of `quota` that `subjects` spent after `since` were spent, oldest first; instants in the future
    /// included.
    fn spends(&self, quota: Quota, subjects: &[&str], since: Timestamp) -> StoreResult<Vec<Timestamp>>;
    /// Units of all subjects, in the order of spending, at most `rows`.
    fn spends_after(&self, after: SpendId, rows: usize) -> StoreResult<Vec<Spend>>;
    /// Refusals since `since` that are counted, but not yet told by a line of the audit trail.
    fn untold_refusals(&self, since: Timestamp) -> StoreResult<u64>;
}

/// Writes the ledger.
pub trait WriteLedger: ReadLedger {
    /// Spends a unit now.
    ///
    /// # Errors
    /// Those of the database alone.
    fn spend(&mut self, quota: Quota, subject: &str, at: Timestamp) -> StoreResult<SpendId>;
    /// Gives a unit back to the subject that spent it; one that is gone already needs no giving back.
    ///
    /// # Errors
    /// Those of the database alone.
    fn unspend(&mut self, quota: Quota, subject: &str, spend: SpendId) -> StoreResult<bool>;
    /// Moves units of a subject that lie after `now` (a clock stepped back across a restart) to `now`.
    ///
    /// # Errors
    /// Those of the database alone.
    fn clamp_future_spends(&mut self, quota: Quota, subject: &str, now: Timestamp) -> StoreResult<()>;
    /// Counts `refusals` of a key within a window, of which now is the start; true for the first of that window, which the
    /// caller then audits.
    ///
    /// # Errors
    /// Those of the database alone.
    fn count_refusals(
        &mut self,
        quota: Quota,
        subject: &str,
        window: Range<Timestamp>,
        refusals: u64,
    ) -> StoreResult<bool>;
    /// Has what `subject` has spent count as spent by `heir`, and forgets the refusals of both; gives how many units those are.
    ///
    /// # Errors
    /// Those of the database alone.
    fn bequeath(&mut self, subject: &str, heir: &str) -> StoreResult<usize>;
    /// Deletes what a subject has spent and was refused; gives how many units and windows of refusals those were.
    ///
    /// # Errors
    /// Those of the database alone.
    fn reset_limits(&mut self, subject: &str) -> StoreResult<(usize, usize)>;
}
