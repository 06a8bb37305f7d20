//! A text message on its way.

use crate::domain::{ChallengeId, MessageId, PhoneNumber, Timestamp, Via};

/// How far a message has come, whoever sends it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MessageState {
    /// The intent is durable, nothing is known of the sending yet.
    Intended,
    /// The provider's answer was lost.
    Unknown,
    /// The provider has accepted it.
    Queued,
    /// The provider is handing it to the carrier.
    Sending,
    /// The carrier has it.
    Sent,
    /// The phone has it.
    Delivered,
    /// The carrier could not deliver it.
    Undelivered,
    /// It was never sent: the provider refused or cancelled it.
    Failed,
}

impl MessageState {
    /// All of them, in the order of the journey.
    pub const ALL: [Self; 8] = [
        Self::Intended,
        Self::Unknown,
        Self::Queued,
        Self::Sending,
        Self::Sent,
        Self::Delivered,
        Self::Undelivered,
        Self::Failed,
    ];

    /// The word in rows.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Intended => "intended",
            Self::Unknown => "unknown",
            Self::Queued => "queued",
            Self::Sending => "sending",
            Self::Sent => "sent",
            Self::Delivered => "delivered",
            Self::Undelivered => "undelivered",
            Self::Failed => "failed",
        }
    }

    /// Reads the word back.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == word)
    }

    /// Whether a report of `next` moves a message on from here: the journey has one direction, and an end stays.
    pub const fn advances_to(self, next: Self) -> bool {
        self.rank() < next.rank()
    }

    /// Whether the person did not and will not get the message.
    pub const fn is_lost(self) -> bool {
        matches!(self, Self::Undelivered | Self::Failed)
    }

    /// Whether nothing more becomes of the message.
    pub const fn is_end(self) -> bool {
        matches!(self, Self::Delivered | Self::Undelivered | Self::Failed)
    }

    /// How far along the journey it is; all ends are equally far.
    pub const fn rank(self) -> u8 {
        match self {
            Self::Intended => 0,
            Self::Unknown => 1,
            Self::Queued => 2,
            Self::Sending => 3,
            Self::Sent => 4,
            Self::Delivered | Self::Undelivered | Self::Failed => 5,
        }
    }
}

/// Why a code that was asked for found no sender: there is no message, and none was bought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unsent {
    /// The sender is left alone after failures.
    BreakerOpen,
    /// Too many messages are on their way, or wait for their turn.
    Overloaded,
}

impl Unsent {
    /// What metrics and statistics call such a code, beside the states of messages.
    pub const STATE: &'static str = "refused";

    /// Both.
    pub const ALL: [Self; 2] = [Self::BreakerOpen, Self::Overloaded];

    /// The word in rows.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::BreakerOpen => "breaker_open",
            Self::Overloaded => "overloaded",
        }
    }

    /// Reads the word back.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|why| why.as_str() == word)
    }
}

/// How often codes found no sender within one minute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnsentCount {
    /// The minute's first instant.
    pub minute: Timestamp,
    /// Why.
    pub why: Unsent,
    /// How often.
    pub count: u64,
}

/// What a provider reports of a message after it accepted it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeliveryReport {
    /// The sender that it is of, where reports of several come in apart: only a message of that sender is moved, or one of
    /// which nothing is known yet.
    pub sender: Option<String>,
    /// The provider's name for the message, where it has one.
    pub sid: Option<String>,
    /// Our own number, from the callback's URL: it finds a message whose answer was lost.
    pub message: Option<MessageId>,
    /// How far the message has come.
    pub state: MessageState,
    /// The provider's error code.
    pub error_code: Option<i64>,
}

/// A message that is about to be sent.
#[derive(Clone, Debug)]
pub struct NewMessage {
    /// The code that it carries.
    pub challenge: ChallengeId,
    /// Whom it goes to.
    pub to: PhoneNumber,
    /// The sender that has reserved a place for it.
    pub via: Via,
    /// What it will cost.
    pub segments: u32,
    /// When the intent was written.
    pub created_at: Timestamp,
}

/// One text message.
#[derive(Clone, Debug)]
pub struct Message {
    /// Its row.
    pub id: MessageId,
    /// The code that it carries.
    pub challenge: ChallengeId,
    /// Whom it goes to.
    pub to: PhoneNumber,
    /// The sender that has taken it, or that tried it first where none did.
    pub via: Via,
    /// What the provider calls it, once known.
    pub sid: Option<String>,
    /// How far it has come.
    pub state: MessageState,
    /// The provider's error code.
    pub error_code: Option<i64>,
    /// What is paid for.
    pub segments: u32,
    /// When the intent was written.
    pub created_at: Timestamp,
    /// When its state last changed.
    pub updated_at: Timestamp,
    /// How often the row was replaced since it was written; a replacement of an older version is refused.
    pub version: u32,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn s26_the_journey_has_one_direction() {
        assert!(MessageState::Queued.advances_to(MessageState::Delivered));
        assert!(!MessageState::Delivered.advances_to(MessageState::Sent));
        assert!(!MessageState::Delivered.advances_to(MessageState::Undelivered));
        assert!(!MessageState::Sent.advances_to(MessageState::Sent));
    }

    #[test]
    fn words_read_back() {
        for state in MessageState::ALL {
            assert_eq!(MessageState::parse(state.as_str()), Some(state));
        }
        for why in Unsent::ALL {
            assert_eq!(Unsent::parse(why.as_str()), Some(why));
        }
        assert_eq!(Unsent::parse("weather"), None);
    }

    #[test]
    fn after_an_end_nothing_comes() {
        for state in MessageState::ALL {
            let goes_on = MessageState::ALL.into_iter().any(|next| state.advances_to(next));
            assert_eq!(state.is_end(), !goes_on, "{state:?}");
        }
    }
}
