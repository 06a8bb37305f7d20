//! A challenge: one code for one phone, from the intent to send it until it is used or void.

use crate::domain::code::CodeHash;
use crate::domain::settled::{SendResult, Settled};
use crate::domain::{
    Binding, ChallengeId, Channel, DeliveryId, DeviceId, Mode, PhoneNumber, Purpose, RunId, SessionId,
    SpendId, Timestamp,
};

/// The state of a challenge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChallengeState {
    /// The intent is durable, the SMS may be on its way.
    Sending,
    /// The provider accepted the SMS.
    Live,
    /// The provider's answer was lost: the SMS may arrive.
    Unknown,
    /// The code was given once and is spent.
    Used,
    /// Superseded, or its SMS definitely failed.
    Void,
}

impl ChallengeState {
    /// The word in rows.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Sending => "sending",
            Self::Live => "live",
            Self::Unknown => "unknown",
            Self::Used => "used",
            Self::Void => "void",
        }
    }

    /// Reads the word back.
    pub fn parse(word: &str) -> Option<Self> {
        [Self::Sending, Self::Live, Self::Unknown, Self::Used, Self::Void]
            .into_iter()
            .find(|state| state.as_str() == word)
    }

    /// Whether a code in this state may still be given.
    pub const fn is_open(self) -> bool {
        matches!(self, Self::Sending | Self::Live | Self::Unknown)
    }

    /// Whether a code in this state, which expires at `expires_at`, cannot be given at `now` or later.
    pub fn is_over(self, expires_at: Timestamp, now: Timestamp) -> bool {
        !self.is_open() || expires_at <= now
    }
}

/// What is known before a challenge has its number.
#[derive(Clone, Debug)]
pub struct NewChallenge {
    /// Production or testing.
    pub mode: Mode,
    /// What the code is for.
    pub purpose: Purpose,
    /// Who is to prove the number.
    pub phone: PhoneNumber,
    /// When the intent was written.
    pub created_at: Timestamp,
    /// From this instant on the code is refused.
    pub expires_at: Timestamp,
    /// The unit of the phone's quota that it cost, to give back if the SMS fails; `None` with the limit off.
    pub spend: Option<SpendId>,
    /// The device that asked for it, and the unit of its own quota that it cost.
    pub device: Option<(DeviceId, Option<SpendId>)>,
    /// The run of the server whose call sends it.
    pub leader: RunId,
    /// What finds the state of its delivery; `None` in the testing mode.
    pub delivery: Option<DeliveryId>,
    /// The channel that was asked for; none where the order of the senders decides.
    pub asked: Option<Channel>,
}

impl NewChallenge {
    /// The challenge with its number: on its way, and with no guess yet.
    pub fn sending(self, id: ChallengeId, hash: CodeHash) -> Challenge {
        let Self { mode, purpose, phone, created_at, expires_at, spend, device, leader, delivery, asked } =
            self;
        Challenge {
            id,
            mode,
            purpose,
            phone,
            hash,
            state: ChallengeState::Sending,
            attempts: 0,
            created_at,
            expires_at,
            spend,
            device,
            used: None,
            leader,
            delivery,
            asked,
            settled: None,
            version: 0,
        }
    }
}

impl Challenge {
    /// What its code is bound to.
    pub fn binding(&self) -> Binding<'_> {
        self.purpose.bind(self.id, &self.phone)
    }

    /// The device that asked for it, if one did.
    pub fn device_id(&self) -> Option<&DeviceId> {
        self.device.as_ref().map(|(id, _)| id)
    }

    /// The unit of that device's quota that it cost.
    pub fn device_spend(&self) -> Option<SpendId> {
        self.device.as_ref().and_then(|(_, spend)| *spend)
    }
}

/// How a used code was spent: what a repeated verify needs to be recognised.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Use {
    /// When.
    pub at: Timestamp,
    /// The session that it opened; `None` where the right code met a deactivated user.
    pub session: Option<SessionId>,
    /// The MAC of the `Idempotency-Key` that came with it, and what the login said of its user.
    pub idempotency: Option<Vec<u8>>,
}

/// One code for one phone. Transitions consume it and give the next state; none ever reopens it.
#[derive(Clone, Debug)]
pub struct Challenge {
    /// Ascending in the order of issue.
    pub id: ChallengeId,
    /// Production or testing; a code of one is nothing in the other.
    pub mode: Mode,
    /// What the code is for; it is nothing for another purpose.
    pub purpose: Purpose,
    /// The number to prove.
    pub phone: PhoneNumber,
    /// The code, hashed.
    pub hash: CodeHash,
    /// Its state.
    pub state: ChallengeState,
    /// Wrong guesses counted against it.
    pub attempts: u32,
    /// When the intent was written.
    pub created_at: Timestamp,
    /// From this instant on the code is refused.
    pub expires_at: Timestamp,
    /// The unit of the phone's quota that it cost.
    pub spend: Option<SpendId>,
    /// The device that asked for it, and the unit of its own quota that it cost.
    pub device: Option<(DeviceId, Option<SpendId>)>,
    /// How it was used, once it was.
    pub used: Option<Use>,
    /// The run of the server whose call sends it.
    pub leader: RunId,
    /// What finds the state of its delivery; `None` in the testing mode, and from a version before.
    pub delivery: Option<DeliveryId>,
    /// The channel that was asked for; none where the order of the senders decides.
    pub asked: Option<Channel>,
    /// What came of the sending, once it is known; whatever has become of the code.
    pub settled: Option<Settled>,
    /// How often the row was replaced since it was written; a replacement of an older version is refused.
    pub version: u32,
}

impl Challenge {
    /// Whether its code could still be right at `now`, guesses aside.
    pub fn is_alive(&self, now: Timestamp) -> bool {
        !self.state.is_over(self.expires_at, now)
    }

    /// The provider accepted the SMS.
    #[must_use]
    pub fn accepted(self, at: Timestamp) -> Self {
        self.settle(ChallengeState::Live, Settled::new(at, SendResult::Accepted))
    }

    /// The provider's answer was lost; the SMS may arrive.
    #[must_use]
    pub fn lost(self, settled: Settled) -> Self {
        self.settle(ChallengeState::Unknown, settled)
    }

    /// The SMS definitely was not sent.
    #[must_use]
    pub fn failed(self, settled: Settled) -> Self {
        self.settle(ChallengeState::Void, settled)
    }

    /// A newer code took its place, or its user was logged in by another.
    #[must_use]
    pub fn superseded(self) -> Self {
        if self.state.is_open() { Self { state: ChallengeState::Void, ..self } } else { self }
    }

    /// A wrong guess, counted.
    #[must_use]
    pub fn guessed_wrong(self) -> Self {
        Self { attempts: self.attempts.saturating_add(1), ..self }
    }

    /// The right code was given: spent for good.
    #[must_use]
    pub fn consumed(self, used: Use) -> Self {
        Self { state: ChallengeState::Used, used: Some(used), ..self }
    }

    /// Notes what came of the sending, once. Only a challenge that is still on its way changes its state by it: a late answer
    /// never revives a used or void one.
    fn settle(self, state: ChallengeState, settled: Settled) -> Self {
        let state = match self.state {
            ChallengeState::Sending | ChallengeState::Unknown => state,
            ChallengeState::Live | ChallengeState::Used | ChallengeState::Void => self.state,
        };
        Self { state, settled: self.settled.or(Some(settled)), ..self }
    }
}

/// The codes of a phone that may be given at `now`, newest first: two at most, however many messages are of unknown fate
/// (SECURITY.md S4). `latest` are the phone's latest challenges, newest first.
///
/// They are the newest one, which the person waits for, and beside it the newest that the provider accepted, which the
/// person has; where none was accepted, the one before the newest. The others are not void: where the newest turns out
/// not to have been sent, the one before it may be given again.
pub fn live_codes(latest: &[Challenge], now: Timestamp) -> Vec<&Challenge> {
    let mut alive = latest.iter().filter(|challenge| challenge.is_alive(now));
    let newest = alive.next();
    let others: Vec<_> = alive.collect();
    let accepted = others.iter().find(|challenge| challenge.state == ChallengeState::Live);
    newest.into_iter().chain(accepted.or(others.first()).copied()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const START: i64 = 1_700_000_000_000;

    fn challenge() -> Challenge {
        Challenge {
            id: ChallengeId(1),
            mode: Mode::Production,
            purpose: Purpose::Login,
            phone: PhoneNumber::parse("+1234567890", 10).unwrap(),
            hash: CodeHash { key: 0, tag: vec![] },
            state: ChallengeState::Sending,
            attempts: 0,
            created_at: Timestamp::from_millis(START),
            expires_at: Timestamp::from_millis(START + 600_000),
            spend: None,
            device: None,
            used: None,
            leader: RunId::new([1; 8]),
            delivery: None,
            asked: None,
            settled: None,
            version: 0,
        }
    }

    fn unknown(seconds: i64) -> Settled {
        Settled::new(at(seconds), SendResult::Unknown)
    }

    fn refused(seconds: i64) -> Settled {
        Settled::new(at(seconds), SendResult::Refused)
    }

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_millis(START + seconds * 1000)
    }

    #[test]
    fn s2_good_at_599_seconds_and_refused_at_601() {
        assert!(challenge().is_alive(at(599)));
        assert!(!challenge().is_alive(at(601)));
    }

    #[test]
    fn s2_a_clock_that_steps_back_refuses_nobody() {
        assert!(challenge().is_alive(at(-30)));
    }

    #[test]
    fn a_late_answer_never_revives() {
        let used = challenge().consumed(Use { at: at(1), session: None, idempotency: None });
        assert_eq!(used.clone().accepted(at(2)).state, ChallengeState::Used);
        assert_eq!(used.superseded().state, ChallengeState::Used);
        assert_eq!(challenge().failed(refused(1)).accepted(at(2)).state, ChallengeState::Void);
    }

    #[test]
    fn what_came_of_the_sending_is_noted_once_whatever_became_of_the_code() {
        let used = challenge().consumed(Use { at: at(1), session: None, idempotency: None });
        assert_eq!(used.settled, None);
        let settled = used.accepted(at(2));
        assert_eq!(settled.settled, Some(Settled::new(at(2), SendResult::Accepted)));
        let reported = challenge().lost(unknown(1)).accepted(at(9));
        assert_eq!((reported.state, reported.settled), (ChallengeState::Live, Some(unknown(1))));
    }

    #[test]
    fn words_of_results_read_back() {
        for result in SendResult::ALL {
            assert_eq!(SendResult::parse(result.as_str()), Some(result));
        }
    }

    fn live(states: &[ChallengeState]) -> Vec<i64> {
        let newest_first = (1..).zip(states).map(|(id, state)| Challenge {
            id: ChallengeId(id),
            state: *state,
            ..challenge()
        });
        let mut latest: Vec<_> = newest_first.collect();
        latest.reverse();
        live_codes(&latest, at(0)).into_iter().map(|challenge| challenge.id.0).collect()
    }

    #[test]
    fn s4_two_codes_at_most_are_alive() {
        use ChallengeState::{Live, Sending, Unknown, Used, Void};
        for (states, alive) in [
            (&[] as &[_], &[] as &[i64]),
            (&[Live], &[1]),
            (&[Live, Sending], &[2, 1]),
            (&[Unknown, Unknown, Unknown, Sending], &[4, 3]),
            // What was accepted is in the person's hand; what is between may never have been sent.
            (&[Live, Unknown, Unknown], &[3, 1]),
            (&[Live, Unknown, Void], &[2, 1]),
            (&[Live, Live, Sending], &[3, 2]),
            (&[Void, Used, Unknown], &[3]),
        ] {
            assert_eq!(live(states), alive, "{states:?}");
        }
    }

    proptest! {
        #[test]
        fn once_closed_it_stays_closed(steps in prop::collection::vec(0u8..5, 0..20)) {
            let mut challenge = challenge();
            let mut closed = false;
            for step in steps {
                challenge = match step {
                    0 => challenge.accepted(at(1)),
                    1 => challenge.lost(unknown(1)),
                    2 => challenge.failed(refused(1)),
                    3 => challenge.superseded(),
                    _ => challenge.guessed_wrong(),
                };
                closed |= !challenge.state.is_open();
                prop_assert_eq!(challenge.state.is_open(), !closed);
            }
        }
    }
}
