//! Deleting what is no longer needed, a slice at a time, and trying whether the disk has room.

use super::tx::SqliteTx;
use super::{
    audit, budgets, challenges, devices, events, exchanges, guard, ledger, messages, sessions, test_numbers,
};
use crate::storage::StoreResult;
use crate::storage::columns::count;
use crate::storage::maintenance::{Maintenance, PurgeHorizon};

/// A row that fits into no page, of a quota that does not exist.
const PROBE: &str = "INSERT INTO refusals (quota, subject, first, until, count) \
     VALUES ('', printf('%.*c', 16384, '.'), 0, 0, 0)";

const PROBE_BACK: &str = "DELETE FROM refusals WHERE subject = printf('%.*c', 16384, '.') AND quota = ''";

impl Maintenance for SqliteTx<'_> {
    fn purge(&mut self, horizon: &PurgeHorizon, rows: usize) -> StoreResult<bool> {
        let limit = count(rows);
        let (more, ended) = self.run(|conn| {
            let mut more = ledger::close_windows(conn, horizon.now, limit)? == rows;
            for (quota, before) in horizon.spends {
                more |= ledger::purge(conn, quota, before, limit)? == rows;
            }
            for deleted in [
                guard::purge(conn, horizon, limit)?,
                challenges::purge(conn, horizon, limit)?,
                audit::purge(conn, horizon, limit)?,
            ] {
                // A few among the oldest rows may be younger than their number says (the clock was stepped), so most of a
                // slice counts as a full one.
                more |= deleted > 0 && deleted >= rows / 2;
            }
            test_numbers::purge(conn, horizon.challenges)?;
            messages::purge_unsent(conn, horizon.challenges)?;
            let ended = sessions::purge(conn, horizon.sessions, limit)?;
            more |= ended.len() == rows;
            more |= sessions::purge_rotations(conn, horizon.sessions, limit)? == rows;
            more |= exchanges::purge(conn, horizon.sessions, limit)? == rows;
            more |= devices::purge(conn, horizon.sessions, limit)? == rows;
            more |= guard::purge_day(conn, horizon, limit)? == rows;
            budgets::purge(conn, horizon.guard)?;
            more |= events::purge(conn, horizon.events, limit)? == rows;
            Ok((more, ended))
        })?;
        self.touched().sessions.extend(ended);
        Ok(more)
    }

    /// Takes a few pages and gives them back: a transaction that writes nothing succeeds on the fullest disk.
    fn probe_writable(&mut self) -> StoreResult<()> {
        self.run(|conn| {
            conn.prepare_cached(PROBE)?.execute([])?;
            conn.prepare_cached(PROBE_BACK)?.execute([]).map(drop)
        })
    }
}
