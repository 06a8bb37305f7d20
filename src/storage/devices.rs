//! What is asked of the devices.

use super::error::StoreResult;
use crate::domain::{ChallengeId, Device, DeviceId, UserId};

/// Reads devices.
#[expect(clippy::missing_errors_doc, reason = "a read fails where the database does, and nowhere else")]
pub trait ReadDevices {
    /// The device with this id, expired or not.
    fn device(&self, id: &DeviceId) -> StoreResult<Option<Device>>;
    /// The devices of a user, expired or not, the one whose token was issued first at the front.
    fn devices_of(&self, user: UserId) -> StoreResult<Vec<Device>>;
    /// How many wrong guesses of a device a challenge has taken.
    fn device_guesses(&self, challenge: ChallengeId, device: &DeviceId) -> StoreResult<u32>;
}

/// Writes devices.
#[expect(clippy::missing_errors_doc, reason = "a write fails where the database does, and nowhere else")]
pub trait WriteDevices: ReadDevices {
    /// Writes a device, in the place of an earlier one with its id.
    fn keep_device(&mut self, device: &Device) -> StoreResult<()>;
    /// Deletes a device.
    fn delete_device(&mut self, id: &DeviceId) -> StoreResult<()>;
    /// Counts a wrong guess of a device at a challenge; gives how many there are now.
    fn count_device_guess(&mut self, challenge: ChallengeId, device: &DeviceId) -> StoreResult<u32>;
}
