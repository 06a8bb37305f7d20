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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::challenge::ChallengeState;
    use crate::domain::code::CodeHash;
    use crate::domain::settled::Settled;
    use crate::domain::{ChallengeId, MessageId, Mode, PhoneNumber, Purpose, RunId, Via};

    const MINUTE: Duration = Duration::from_mins(1);

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_millis(seconds * 1000)
    }

    fn phone(digits: &str) -> PhoneNumber {
        PhoneNumber::parse(digits, 10).unwrap()
    }

    fn challenge(settled: Option<SendResult>) -> Challenge {
        Challenge {
            id: ChallengeId(1),
            mode: Mode::Production,
            purpose: Purpose::Login,
            phone: phone("+15550000001"),
            hash: CodeHash { key: 1, tag: vec![0; 32] },
            state: ChallengeState::Live,
            attempts: 0,
            created_at: at(0),
            expires_at: at(600),
            spend: None,
            device: None,
            used: None,
            leader: RunId::new([1; 8]),
            delivery: None,
            asked: Some(Channel::WhatsApp),
            settled: settled.map(|result| Settled::new(at(1), result)),
            version: 0,
        }
    }

    fn message(to: &str, channel: Channel, state: MessageState) -> Message {
        Message {
            id: MessageId(1),
            challenge: ChallengeId(1),
            to: phone(to),
            via: Via::new("twilio", channel),
            sid: None,
            state,
            error_code: None,
            segments: 1,
            created_at: at(0),
            updated_at: at(0),
            version: 0,
        }
    }

    fn of(
        challenge: &Challenge,
        messages: &[Message],
        is_concealed: bool,
    ) -> (ArrivalState, Option<Channel>, Option<u64>) {
        let Arrival { state, channel, retry_after } =
            arrival(challenge, messages, is_concealed, (at(20), MINUTE));
        (state, channel, retry_after.map(|wait| wait.as_secs()))
    }

    #[test]
    fn the_furthest_message_of_the_code_tells_unless_it_is_lost() {
        use MessageState::{Delivered, Failed, Queued, Sent, Undelivered};
        let own = |state| message("+15550000001", Channel::Sms, state);
        let call = |state| message("+15550000001", Channel::Voice, state);
        let notice = message("+15550000002", Channel::Sms, Delivered);
        let sent = challenge(Some(SendResult::Accepted));
        for (messages, expected) in [
            (vec![own(Queued), notice.clone()], (ArrivalState::Sent, Some(Channel::Sms), None)),
            (vec![own(Sent), call(Queued)], (ArrivalState::Sent, Some(Channel::Sms), None)),
            (vec![own(Undelivered), call(Queued)], (ArrivalState::Sent, Some(Channel::Voice), None)),
            (vec![own(Delivered), call(Failed)], (ArrivalState::Delivered, Some(Channel::Sms), None)),
            (
                vec![own(Undelivered), call(Failed)],
                (ArrivalState::Undelivered, Some(Channel::Voice), Some(40)),
            ),
            (vec![notice], (ArrivalState::Sent, Some(Channel::WhatsApp), None)),
        ] {
            assert_eq!(of(&sent, &messages, false), expected, "{messages:?}");
        }
    }

    #[test]
    fn without_a_message_or_where_accounts_are_concealed_the_challenge_tells() {
        let lost = [message("+15550000001", Channel::Sms, MessageState::Undelivered)];
        for (settled, state, wait) in [
            (None, ArrivalState::Sending, None),
            (Some(SendResult::Accepted), ArrivalState::Sent, None),
            (Some(SendResult::Unknown), ArrivalState::Unknown, Some(40)),
            (Some(SendResult::Refused), ArrivalState::Unknown, Some(40)),
        ] {
            let expected = (state, Some(Channel::WhatsApp), wait);
            assert_eq!(of(&challenge(settled), &[], false), expected, "{settled:?}");
            assert_eq!(of(&challenge(settled), &lost, true), expected, "{settled:?}, concealed");
        }
    }
}
