//! How a code travels, and how far it has come: what the app that asked for it may learn.

use std::time::Duration;

use crate::domain::message::{Message, MessageState};
use crate::domain::settled::SendResult;
use crate::domain::{Challenge, Channel, Timestamp};

/// How far a code has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ArrivalState {
    /// It is being handed over.
    Sending,
    /// The provider has it.
    Sent,
    /// The phone has it.
    Delivered,
    /// It could not be delivered.
    Undelivered,
    /// Nobody can say; it may arrive.
    Unknown,
}

impl ArrivalState {
    /// The word in answers.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Sending => "sending",
            Self::Sent => "sent",
            Self::Delivered => "delivered",
            Self::Undelivered => "undelivered",
            Self::Unknown => "unknown",
        }
    }

    const fn of(message: MessageState) -> Self {
        match message {
            MessageState::Intended => Self::Sending,
            MessageState::Unknown => Self::Unknown,
            MessageState::Queued | MessageState::Sending | MessageState::Sent => Self::Sent,
            MessageState::Delivered => Self::Delivered,
            MessageState::Undelivered | MessageState::Failed => Self::Undelivered,
        }
    }
}

/// What the app may learn of a code that it asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arrival {
    /// How far it has come.
    pub state: ArrivalState,
    /// What it comes by; `None` where no message was written, or nobody may know which.
    pub channel: Option<Channel>,
    /// After how long another code may be asked for, where that can help.
    pub retry_after: Option<Duration>,
}

/// How far the code of a challenge has come by its messages, the oldest first; `cooldown` is the pause between two codes.
///
/// Where accounts are concealed the challenge alone is looked at: one whose message is withheld has none, and must look like
/// one whose message was sent.
pub fn arrival(
    challenge: &Challenge,
    messages: &[Message],
    is_concealed: bool,
    (now, cooldown): (Timestamp, Duration),
) -> Arrival {
    let own = || messages.iter().filter(|message| message.to == challenge.phone && !is_concealed);
    // One that is lost says nothing of the code while another may arrive.
    let furthest =
        own().filter(|message| !message.state.is_lost()).max_by_key(|message| message.state.rank());
    let telling = furthest.or_else(|| own().next_back());
    let state = match (telling, challenge.settled.map(|settled| settled.result)) {
        (Some(message), _) => ArrivalState::of(message.state),
        (None, None) => ArrivalState::Sending,
        (None, Some(SendResult::Accepted)) => ArrivalState::Sent,
        (None, Some(_)) => ArrivalState::Unknown,
    };
    let helps = matches!(state, ArrivalState::Undelivered | ArrivalState::Unknown);
    let retry_after = helps.then(|| now.until(challenge.created_at + cooldown));
    let channel = telling.map(|message| message.via.channel);
    Arrival { state, channel: channel.or(challenge.asked), retry_after }
}
