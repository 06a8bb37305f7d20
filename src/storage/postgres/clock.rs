//! The one row of `clock`.

use super::tx::PostgresTx;
use crate::domain::clock::StoredClock;
use crate::storage::StoreResult;
use crate::storage::clock::{ReadClock, WriteClock};
use crate::storage::columns::{length, millis};

const READ: &str = "SELECT wall, retention, quiet FROM clock";

const WRITE: &str = "INSERT INTO clock (id, wall, retention, quiet) VALUES (1, $1, $2, $3) \
     ON CONFLICT (id) DO UPDATE SET wall = excluded.wall, retention = excluded.retention, quiet = excluded.quiet";

impl ReadClock for PostgresTx<'_> {
    fn clock(&self) -> StoreResult<Option<StoredClock>> {
        self.row(READ, &[], |row| {
            Ok(StoredClock {
                wall: row.try_get(0)?,
                retention: row.try_get(1)?,
                quiet: length(row.try_get(2)?),
            })
        })
    }
}

impl WriteClock for PostgresTx<'_> {
    fn store_clock(&mut self, clock: &StoredClock) -> StoreResult<()> {
        self.write_one(WRITE, &[&clock.wall, &clock.retention, &millis(clock.quiet)])
    }
}
