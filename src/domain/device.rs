//! A device on which somebody has logged in: with its token it asks for codes and guesses by quotas of its own, which strangers
//! who know the number cannot spend.

use std::time::Duration;

use crate::domain::{DeviceId, Timestamp, UserId};

/// How long the token of a device is good from its issue.
pub const LIFETIME: Duration = Duration::from_hours(400 * 24);

/// What the ledger calls the quotas of a device by, before its id.
const SUBJECT: &str = "device:";

/// A device of a user. The row holds no token: the id is worthless without the key that signs it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Device {
    /// The `jti` of its token.
    pub id: DeviceId,
    /// Whose it is.
    pub user: UserId,
    /// When its token was issued, by the wall clock (its `iat`): at the latest login that brought it.
    pub issued_at: Timestamp,
    /// When that token expires (its `exp`).
    pub expires_at: Timestamp,
}

impl Device {
    /// A device on which `user` has just logged in.
    pub fn new(id: DeviceId, user: UserId, wall: Timestamp) -> Self {
        Self { id, user, issued_at: wall, expires_at: wall + LIFETIME }
    }

    /// The same after another login: its token is issued anew under the same name.
    #[must_use]
    pub fn renewed(self, wall: Timestamp) -> Self {
        Self::new(self.id, self.user, wall)
    }

    /// Ends at `until` at the latest.
    #[must_use]
    pub fn bounded(self, until: Timestamp) -> Self {
        Self { expires_at: self.expires_at.min(until), ..self }
    }

    /// Whether its token is good at `now`.
    pub fn is_live(&self, now: Timestamp) -> bool {
        now < self.expires_at
    }
}

impl DeviceId {
    /// The key of its quotas in the ledger.
    pub fn subject(&self) -> String {
        format!("{SUBJECT}{}", self.as_str())
    }
}

/// Whether a key of the ledger is that of a device.
pub fn is_device(subject: &str) -> bool {
    subject.starts_with(SUBJECT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_is_good_for_400_days_from_its_latest_login_and_keeps_its_name() {
        let (day, start) = (Duration::from_hours(24), Timestamp::from_millis(1_700_000_000_000));
        let device = Device::new(DeviceId::parse(&"a".repeat(32)).unwrap(), UserId(1), start);
        assert!(device.is_live(start + 399 * day) && !device.is_live(start + 400 * day));
        let renewed = device.clone().renewed(start + 300 * day);
        assert_eq!(renewed.id, device.id);
        assert!(renewed.is_live(start + 699 * day));
        assert!(!device.bounded(start + day).is_live(start + day));
    }

    #[test]
    fn its_key_in_the_ledger_is_no_phone_and_no_address() {
        let subject = DeviceId::parse(&"0".repeat(32)).unwrap().subject();
        assert!(is_device(&subject));
        assert!(!is_device("+1234567890") && !is_device("203.0.113.7"));
    }
}
