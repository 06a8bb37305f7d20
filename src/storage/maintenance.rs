//! What has to be done now and then: deleting what is no longer needed, and trying whether the disk has room.

use super::error::StoreResult;
use crate::domain::Timestamp;
use crate::domain::quota::Quota;

/// Before which instants rows are no longer needed.
#[derive(Clone, Copy, Debug)]
pub struct PurgeHorizon {
    /// Which windows of refusals have closed. Rows that are of a later time, since a clock was ahead once, keep none behind them.
    pub now: Timestamp,
    /// Spends, each quota's by its own window.
    pub spends: [(Quota, Timestamp); Quota::ALL.len()],
    /// Challenges and their messages, and test numbers that ended.
    pub challenges: Timestamp,
    /// Sessions that ended or expired, devices that expired, and foreign refresh tokens that were exchanged and have expired.
    pub sessions: Timestamp,
    /// Text messages as the guard and the budgets know them.
    pub purchases: Timestamp,
    /// What the guard needs for a day alone, and budgets of days before.
    pub guard: Timestamp,
    /// Events that every webhook has taken, or that were dropped.
    pub events: Timestamp,
    /// Audit rows.
    pub audit: Timestamp,
}

/// How many of the oldest rows of a kind a slice looks at, for a clock that was ahead may have left some that are younger than their
/// number says: as many of them keep no older one behind them.
pub(super) const OLDEST: i64 = 2000;

/// Deletes and tries.
pub trait Maintenance {
    /// Deletes one slice (at most `rows` rows of each kind) of what is no longer needed; true if there is more.
    ///
    /// # Errors
    /// Those of the database alone.
    fn purge(&mut self, horizon: &PurgeHorizon, rows: usize) -> StoreResult<bool>;
    /// Writes more than a page holds and deletes it again: fails where the disk is full.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`](super::StoreError::Unavailable) where the disk is full.
    fn probe_writable(&mut self) -> StoreResult<()>;
}
