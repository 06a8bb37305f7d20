//! Rows of `devices` and `device_guesses`.

use super::columns::Number;
use super::row::{Row, RowError};
use super::tx::{PostgresTx, first};
use crate::domain::{ChallengeId, Device, DeviceId, Timestamp, UserId};
use crate::storage::devices::{ReadDevices, WriteDevices};
use crate::storage::{StoreError, StoreResult};

const BY_ID: &str = "SELECT id, user_id, issued_at, expires_at FROM devices WHERE id = $1";

pub(super) const OF_USER: &str =
    "SELECT id, user_id, issued_at, expires_at FROM devices WHERE user_id = $1 ORDER BY issued_at, id";

const KEEP: &str = "INSERT INTO devices (id, user_id, issued_at, expires_at) VALUES ($1, $2, $3, $4) \
     ON CONFLICT (id) DO UPDATE SET issued_at = excluded.issued_at, expires_at = excluded.expires_at";

const DELETE: &str = "DELETE FROM devices WHERE id = $1";

const PURGE: &str = "DELETE FROM devices WHERE id IN (SELECT id FROM devices WHERE expires_at < $1 LIMIT $2)";

const GUESSES: &str = "SELECT count FROM device_guesses WHERE challenge_id = $1 AND device_id = $2";

const COUNT_GUESS: &str = "INSERT INTO device_guesses (challenge_id, device_id, count) VALUES ($1, $2, 1) \
     ON CONFLICT (challenge_id, device_id) DO UPDATE SET count = device_guesses.count + 1 RETURNING count";

impl ReadDevices for PostgresTx<'_> {
    fn device(&self, id: &DeviceId) -> StoreResult<Option<Device>> {
        self.row(BY_ID, &[id], device)
    }

    fn devices_of(&self, user: UserId) -> StoreResult<Vec<Device>> {
        self.rows(OF_USER, &[&user], device)
    }

    fn device_guesses(&self, challenge: ChallengeId, device: &DeviceId) -> StoreResult<u32> {
        let counted = self.row(GUESSES, &[&challenge, device], first::<Number<u32>>)?;
        Ok(counted.map(|counted| counted.0).unwrap_or_default())
    }
}

impl WriteDevices for PostgresTx<'_> {
    fn keep_device(&mut self, device: &Device) -> StoreResult<()> {
        let Device { id, user, issued_at, expires_at } = device;
        self.append(KEEP, &[id, user, issued_at, expires_at])
    }

    fn delete_device(&mut self, id: &DeviceId) -> StoreResult<()> {
        self.append(DELETE, &[id])
    }

    fn count_device_guess(&mut self, challenge: ChallengeId, device: &DeviceId) -> StoreResult<u32> {
        let counted = self.returning(COUNT_GUESS, &[&challenge, device], first::<Number<u32>>)?;
        counted.first().map(|counted| counted.0).ok_or(StoreError::Broken)
    }
}

impl PostgresTx<'_> {
    /// Deletes at most `limit` devices that expired before `before`; gives how many.
    pub(super) fn purge_devices(&self, before: Timestamp, limit: i64) -> StoreResult<usize> {
        self.write(PURGE, &[&before, &limit])
    }
}

fn device(row: &Row) -> Result<Device, RowError> {
    Ok(Device {
        id: row.try_get(0)?,
        user: row.try_get(1)?,
        issued_at: row.try_get(2)?,
        expires_at: row.try_get(3)?,
    })
}
