//! The one row of `clock`.

use rusqlite::{OptionalExtension as _, Row, params};

use super::tx::SqliteTx;
use crate::domain::clock::StoredClock;
use crate::storage::StoreResult;
use crate::storage::clock::{ReadClock, WriteClock};
use crate::storage::columns::{length, millis};

const READ: &str = "SELECT wall, retention, quiet FROM clock";

const WRITE: &str = "INSERT INTO clock (id, wall, retention, quiet) VALUES (1, ?1, ?2, ?3) \
     ON CONFLICT (id) DO UPDATE SET wall = excluded.wall, retention = excluded.retention, quiet = excluded.quiet";

impl ReadClock for SqliteTx<'_> {
    fn clock(&self) -> StoreResult<Option<StoredClock>> {
        self.run(|conn| conn.prepare_cached(READ)?.query_row([], stored).optional())
    }
}

impl WriteClock for SqliteTx<'_> {
    fn store_clock(&mut self, clock: &StoredClock) -> StoreResult<()> {
        let values = params![clock.wall, clock.retention, millis(clock.quiet)];
        self.run(|conn| conn.prepare_cached(WRITE)?.execute(values).map(drop))
    }
}

fn stored(row: &Row<'_>) -> rusqlite::Result<StoredClock> {
    Ok(StoredClock { wall: row.get(0)?, retention: row.get(1)?, quiet: length(row.get(2)?) })
}
