//! Rows of `devices` and `device_guesses`.

use rusqlite::{Connection, OptionalExtension as _, Row, params};

use super::tx::SqliteTx;
use crate::domain::{ChallengeId, Device, DeviceId, Timestamp, UserId};
use crate::storage::StoreResult;
use crate::storage::devices::{ReadDevices, WriteDevices};

const BY_ID: &str = "SELECT id, user_id, issued_at, expires_at FROM devices WHERE id = ?1";

pub(super) const OF_USER: &str =
    "SELECT id, user_id, issued_at, expires_at FROM devices WHERE user_id = ?1 ORDER BY issued_at, id";

const KEEP: &str = "INSERT INTO devices (id, user_id, issued_at, expires_at) VALUES (?1, ?2, ?3, ?4) \
     ON CONFLICT (id) DO UPDATE SET issued_at = excluded.issued_at, expires_at = excluded.expires_at";

const DELETE: &str = "DELETE FROM devices WHERE id = ?1";

pub(super) const PURGE: &str =
    "DELETE FROM devices WHERE id IN (SELECT id FROM devices WHERE expires_at < ?1 LIMIT ?2)";

const GUESSES: &str = "SELECT count FROM device_guesses WHERE challenge_id = ?1 AND device_id = ?2";

const COUNT_GUESS: &str = "INSERT INTO device_guesses (challenge_id, device_id, count) VALUES (?1, ?2, 1) \
     ON CONFLICT (challenge_id, device_id) DO UPDATE SET count = count + 1 RETURNING count";

impl ReadDevices for SqliteTx<'_> {
    fn device(&self, id: &DeviceId) -> StoreResult<Option<Device>> {
        self.run(|conn| conn.prepare_cached(BY_ID)?.query_row([id], device).optional())
    }

    fn devices_of(&self, user: UserId) -> StoreResult<Vec<Device>> {
        self.run(|conn| conn.prepare_cached(OF_USER)?.query_map([user], device)?.collect())
    }

    fn device_guesses(&self, challenge: ChallengeId, device: &DeviceId) -> StoreResult<u32> {
        let of = params![challenge, device];
        let counted =
            self.run(|conn| conn.prepare_cached(GUESSES)?.query_row(of, |row| row.get(0)).optional())?;
        Ok(counted.unwrap_or_default())
    }
}

impl WriteDevices for SqliteTx<'_> {
    fn keep_device(&mut self, device: &Device) -> StoreResult<()> {
        let Device { id, user, issued_at, expires_at } = device;
        let row = params![id, user, issued_at, expires_at];
        self.run(|conn| conn.prepare_cached(KEEP)?.execute(row).map(drop))
    }

    fn delete_device(&mut self, id: &DeviceId) -> StoreResult<()> {
        self.run(|conn| conn.prepare_cached(DELETE)?.execute([id]).map(drop))
    }

    fn count_device_guess(&mut self, challenge: ChallengeId, device: &DeviceId) -> StoreResult<u32> {
        let of = params![challenge, device];
        self.run(|conn| conn.prepare_cached(COUNT_GUESS)?.query_row(of, |row| row.get(0)))
    }
}

/// Deletes at most `limit` devices that expired before `before`; gives how many.
pub(super) fn purge(conn: &Connection, before: Timestamp, limit: i64) -> rusqlite::Result<usize> {
    conn.prepare_cached(PURGE)?.execute(params![before, limit])
}

fn device(row: &Row<'_>) -> rusqlite::Result<Device> {
    Ok(Device { id: row.get(0)?, user: row.get(1)?, issued_at: row.get(2)?, expires_at: row.get(3)? })
}
