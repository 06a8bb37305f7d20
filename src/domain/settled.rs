//! What came of the sending of a code.

use std::time::Duration;

use crate::domain::Timestamp;

/// What a leader's call was answered, for those who asked for a code at the same time and are answered the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SendResult {
    /// The provider has the message.
    Accepted,
    /// The provider's answer was lost.
    Unknown,
    /// The message was refused; it may not be the next time.
    Refused,
    /// The number can receive no SMS.
    InvalidNumber,
    /// Nothing is sent to the number's country.
    CountryNotAllowed,
    /// The person replied STOP.
    OptedOut,
}

impl SendResult {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::Accepted,
        Self::Unknown,
        Self::Refused,
        Self::InvalidNumber,
        Self::CountryNotAllowed,
        Self::OptedOut,
    ];

    /// The word in rows.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::Unknown => "unknown",
            Self::Refused => "refused",
            Self::InvalidNumber => "invalid_number",
            Self::CountryNotAllowed => "country_not_allowed",
            Self::OptedOut => "opted_out",
        }
    }

    /// Reads the word back.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|result| result.as_str() == word)
    }
}

/// What came of the sending of a challenge's code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settled {
    /// When it was written.
    pub at: Timestamp,
    /// What the call was answered.
    pub result: SendResult,
    /// After how long the call was told to try again, if it was.
    pub retry_after: Option<Duration>,
}

impl Settled {
    /// With no time to try again.
    pub const fn new(at: Timestamp, result: SendResult) -> Self {
        Self { at, result, retry_after: None }
    }
}
