//! Identifiers, one type each, so that none is taken for another.

use std::fmt;

use crate::domain::Timestamp;

macro_rules! row_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub i64);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

row_id!(
    /// A user; never reused. The `user_id` of a token, and the id that the Django side sees.
    UserId
);
row_id!(
    /// A challenge; ascending in the order of issue.
    ChallengeId
);
row_id!(
    /// A text message, from the intent to send it on.
    MessageId
);
row_id!(
    /// One unit spent in the quota ledger.
    SpendId
);
row_id!(
    /// An event; those of one user ascend in the order in which they happened.
    EventNumber
);

/// One run of a server, from its start to its end: 16 hexadecimal digits, drawn at the start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunId(String);

impl RunId {
    /// Names a run; `chance` comes from the system's generator.
    pub fn new(chance: [u8; 8]) -> Self {
        Self(data_encoding::HEXLOWER.encode(&chance))
    }

    /// Reads one from a row; what an earlier version wrote there is the run of nobody.
    pub fn from_row(text: &str) -> Self {
        Self(text.to_owned())
    }

    /// The digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A session: 32 hexadecimal digits, time first and chance after, so that rows append in order and nobody guesses one.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionId(String);

impl SessionId {
    /// Names a session that begins at `now`; `chance` comes from the system's generator.
    pub fn new(now: Timestamp, chance: [u8; 10]) -> Self {
        Self(time_and_chance(now, chance))
    }

    /// Reads one from a token, a path or a row; `None` unless it has the form of one.
    pub fn parse(text: &str) -> Option<Self> {
        is_time_and_chance(text).then(|| Self(text.to_owned()))
    }

    /// The same as a number: a key without memory of its own.
    pub fn number(&self) -> u128 {
        u128::from_str_radix(&self.0, 16).unwrap_or_default()
    }

    /// The 32 digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A device, by the `jti` of its token: 32 hexadecimal digits, time first and chance after, as those of a session.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DeviceId(String);

impl DeviceId {
    /// Names a device whose first login is at `now`; `chance` comes from the system's generator.
    pub fn new(now: Timestamp, chance: [u8; 10]) -> Self {
        Self(time_and_chance(now, chance))
    }

    /// Reads one from a token or a row; `None` unless it has the form of one.
    pub fn parse(text: &str) -> Option<Self> {
        is_time_and_chance(text).then(|| Self(text.to_owned()))
    }

    /// The 32 digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// 32 hexadecimal digits that sort by time.
fn time_and_chance(now: Timestamp, chance: [u8; 10]) -> String {
    let millis = now.as_millis().to_be_bytes();
    let mut bytes = [0; 16];
    bytes[..6].copy_from_slice(&millis[2..]);
    bytes[6..].copy_from_slice(&chance);
    data_encoding::HEXLOWER.encode(&bytes)
}

fn is_time_and_chance(text: &str) -> bool {
    text.len() == 32 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

/// What finds the state of one request's code: 128 bits of chance in base64url. It is worth nothing else.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeliveryId(String);

impl DeliveryId {
    /// Names a delivery; `chance` comes from the system's generator.
    pub fn new(chance: [u8; 16]) -> Self {
        Self(data_encoding::BASE64URL_NOPAD.encode(&chance))
    }

    /// Reads one from a path or a row; `None` unless it has the form of one.
    pub fn parse(text: &str) -> Option<Self> {
        let bytes = data_encoding::BASE64URL_NOPAD.decode(text.as_bytes()).ok()?;
        (bytes.len() == 16).then(|| Self(text.to_owned()))
    }

    /// Its 22 characters.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn session_ids_sort_by_time_and_read_back() {
        let early = SessionId::new(Timestamp::from_millis(1_000), [255; 10]);
        let late = SessionId::new(Timestamp::from_millis(1_001), [0; 10]);
        assert!(early < late);
        assert!(early.number() < late.number());
        assert_eq!(SessionId::parse(late.as_str()), Some(late));
        assert_eq!(SessionId::parse("0123"), None);
        assert_eq!(SessionId::parse(&"G".repeat(32)), None);
    }

    #[test]
    fn an_id_has_128_bits_and_reads_back() {
        let id = DeliveryId::new([0xfb; 16]);
        assert_eq!((id.as_str().len(), DeliveryId::parse(id.as_str())), (22, Some(id)));
        for bad in ["", "a", "AAAAAAAAAAAAAAAAAAAAAA==", "AAAAAAAAAAAAAAAAAAAA", "//////////////////////"] {
            assert_eq!(DeliveryId::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_device_reads_back_and_other_texts_are_none() {
        let device = DeviceId::new(Timestamp::from_millis(1_000), [255; 10]);
        assert_eq!(DeviceId::parse(device.as_str()), Some(device));
        for bad in [String::new(), "0".repeat(31), "0".repeat(33), "G".repeat(32)] {
            assert_eq!(DeviceId::parse(&bad), None, "{bad}");
        }
    }
}
