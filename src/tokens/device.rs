//! The token of a device: HS256 under a key that only we have, read at the calls that it is for and nowhere else.

use serde::{Deserialize, Serialize};

use super::signer::Signer;
use crate::domain::keys::KeyRing;
use crate::domain::{Device, DeviceId, Secret, Timestamp, UserId};

/// Signs and reads tokens of devices.
pub struct DeviceTokens(Signer);

/// What a good token of a device says; whether the device has ended, the database says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceClaims {
    /// Which device it is.
    pub device: DeviceId,
    /// Whose it is.
    pub user: UserId,
}

/// What these tokens are for; no other token says this.
#[derive(Serialize, Deserialize)]
enum Kind {
    #[serde(rename = "device")]
    Device,
}

#[derive(Serialize, Deserialize)]
struct Payload {
    token_type: Kind,
    exp: i64,
    iat: i64,
    jti: String,
    user_id: String,
}

impl DeviceTokens {
    /// The first key of `ring` signs, and each verifies.
    pub fn new(ring: &KeyRing) -> Self {
        Self(Signer::hs256(ring.all().map(|keys| keys.device_token_key().as_slice())))
    }

    /// The token of a device, the same one however often it is asked for; `None` if signing fails, which no input can bring
    /// about.
    pub fn sign(&self, device: &Device) -> Option<Secret> {
        let token = self.0.sign(&Payload {
            token_type: Kind::Device,
            exp: device.expires_at.as_secs(),
            iat: device.issued_at.as_secs(),
            jti: device.id.as_str().to_owned(),
            user_id: device.user.to_string(),
        })?;
        Some(Secret::new(token))
    }

    /// What a token says, if it is one of ours and has not expired at `now`.
    pub fn read(&self, token: &Secret, now: Timestamp) -> Option<DeviceClaims> {
        let Payload { token_type: Kind::Device, exp, jti, user_id, .. } = self.0.read(token.expose())?;
        let claims = DeviceClaims { device: DeviceId::parse(&jti)?, user: UserId(user_id.parse().ok()?) };
        (now.as_secs() < exp).then_some(claims)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::tokens::{TokenError, TokenKind, Tokens};

    const NOW: Timestamp = Timestamp::from_millis(1_700_000_000_000);

    fn secret(byte: &str) -> Secret {
        Secret::new(byte.repeat(32))
    }

    fn device() -> Device {
        Device::new(DeviceId::new(NOW, [7; 10]), UserId(42), NOW)
    }

    #[test]
    fn a_token_of_a_device_reads_back_until_it_expires_and_after_a_rollover_of_the_secret() {
        let tokens = DeviceTokens::new(&KeyRing::new(&secret("k"), &[]));
        let token = tokens.sign(&device()).unwrap();
        assert_eq!(tokens.sign(&device()).unwrap().expose(), token.expose());
        let claims = DeviceClaims { device: device().id, user: UserId(42) };
        let day = Duration::from_hours(24);
        assert_eq!(tokens.read(&token, NOW + 399 * day), Some(claims.clone()));
        assert_eq!(tokens.read(&token, NOW + 400 * day), None);
        let rolled = DeviceTokens::new(&KeyRing::new(&secret("n"), &[secret("k")]));
        assert_eq!(rolled.read(&token, NOW), Some(claims));
        assert_eq!(DeviceTokens::new(&KeyRing::new(&secret("n"), &[])).read(&token, NOW), None);
    }

    #[test]
    fn s14_a_token_of_a_device_is_no_other_token_and_no_other_is_one_of_a_device() {
        let ring = KeyRing::new(&secret("k"), &[]);
        let (devices, tokens) =
            (DeviceTokens::new(&ring), Tokens::new(&secret("k"), &[], Duration::from_mins(15)));
        let tokens = tokens.accepting_foreign(&secret("k"), &[]);
        let token = devices.sign(&device()).unwrap();
        for kind in [TokenKind::Access, TokenKind::Refresh] {
            assert_eq!(tokens.verify(token.expose(), kind, NOW), Err(TokenError::Invalid), "{kind:?}");
        }
        let forged = Signer::hs256(std::iter::once(secret("k").expose().as_bytes()));
        let payload = Payload {
            token_type: Kind::Device,
            exp: NOW.as_secs() + 60,
            iat: NOW.as_secs(),
            jti: "0".repeat(32),
            user_id: "42".to_owned(),
        };
        let forged = Secret::new(forged.sign(&payload).unwrap());
        assert_eq!(devices.read(&forged, NOW), None, "under the secret that Django has too");
        for other in ["", "a.b.c", &"x".repeat(5000)] {
            assert_eq!(devices.read(&Secret::new(other), NOW), None);
        }
    }
}
