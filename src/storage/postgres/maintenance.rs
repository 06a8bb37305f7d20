//! Deleting what is no longer needed, a slice at a time, and trying whether the server takes a row.

use super::tx::PostgresTx;
use crate::storage::StoreResult;
use crate::storage::columns::count;
use crate::storage::maintenance::{Maintenance, PurgeHorizon};

/// A row of a quota that does not exist.
const PROBE: &str = "INSERT INTO refusals (quota, subject, first, until, count) VALUES ('', '', 0, 0, 0) \
     ON CONFLICT DO NOTHING";

const PROBE_BACK: &str = "DELETE FROM refusals WHERE subject = '' AND quota = ''";

impl Maintenance for PostgresTx<'_> {
    fn purge(&mut self, horizon: &PurgeHorizon, rows: usize) -> StoreResult<bool> {
        // Each node looks after the database; one at a time does.
        if !self.try_lock_maintenance()? {
            return Ok(false);
        }
        let limit = count(rows);
        let mut more = self.close_windows(horizon.now, limit)? == rows;
        for (quota, before) in horizon.spends {
            more |= self.purge_spends(quota, before, limit)? == rows;
        }
        for deleted in [
            self.purge_purchases(horizon, limit)?,
            self.purge_challenges(horizon, limit)?,
            self.purge_audit(horizon, limit)?,
        ] {
            // A few among the oldest rows may be younger than their number says (the clock was stepped), so most of a
            // slice counts as a full one.
            more |= deleted > 0 && deleted >= rows / 2;
        }
        self.purge_test_numbers(horizon.challenges)?;
        self.purge_unsent(horizon.challenges)?;
        more |= self.purge_sessions(horizon.sessions, limit)? == rows;
        more |= self.purge_rotations(horizon.sessions, limit)? == rows;
        more |= self.purge_exchanges(horizon.sessions, limit)? == rows;
        more |= self.purge_devices(horizon.sessions, limit)? == rows;
        more |= self.purge_guard_day(horizon, limit)? == rows;
        self.purge_budgets(horizon.guard)?;
        more |= self.purge_events(horizon.events, limit)? == rows;
        Ok(more)
    }

    /// A transaction that writes nothing succeeds on a server that is read-only or full.
    fn probe_writable(&mut self) -> StoreResult<()> {
        self.write(PROBE, &[])?;
        self.write(PROBE_BACK, &[]).map(drop)
    }
}
