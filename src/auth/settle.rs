//! write#2: what became of an SMS, and what follows for its code, its user and the user's quota.

use std::sync::Arc;

use super::audited::AuditedTx;
use super::purchase::{cancel_purchase, release_call};
use super::quota::{Balance, Subject};
use super::recent::ExpectedOutcome;
use super::{AuthError, Sent};
use crate::domain::audit::{Actor, AuditDetail, AuditEvent, AuditRecord};
use crate::domain::keys::KeyRing;
use crate::domain::message::{Message, MessageState};
use crate::domain::policy::Policy;
use crate::domain::quota::{Quota, REFUNDS};
use crate::domain::settled::{SendResult, Settled};
use crate::domain::{
    Challenge, ChallengeId, Channel, MessageId, Mode, PhoneNumber, Purpose, SpendId, Timestamp, User, UserId,
    Via,
};
use crate::sms::route::Routed;
use crate::sms::{Accepted, Failure, FailureReason, SendOutcome};
use crate::storage::ahead::Wanted;
use crate::storage::{StoreError, StoreResult};

/// How many of a phone's latest challenges can still be open: those of a window, of the phone and of its user's devices, and a
/// few that failed.
pub(super) const LATEST: usize = 32;

/// What became of a request's message.
#[derive(Clone, Debug)]
pub(super) enum Outcome {
    /// What the sender said.
    Sent(Routed),
    /// Nothing was sent; the answer is as a send with this outcome would have ended.
    Withheld(ExpectedOutcome),
}

impl Outcome {
    /// What the caller is answered where no code was sent.
    fn refusal(&self) -> Option<AuthError> {
        let reason = match self {
            Self::Sent(Routed { outcome: SendOutcome::Accepted(_), .. })
            | Self::Withheld(ExpectedOutcome::Accepted) => return None,
            Self::Sent(Routed {
                outcome: SendOutcome::Unknown(failure) | SendOutcome::Refused(failure),
                ..
            }) => failure.reason.clone(),
            Self::Withheld(ExpectedOutcome::Unknown | ExpectedOutcome::Refused) => FailureReason::Delivery,
            Self::Withheld(ExpectedOutcome::CountryNotAllowed) => FailureReason::CountryNotAllowed,
        };
        Some(reason.into())
    }

    /// What the challenge says of it, for those who follow.
    fn settled(&self, at: Timestamp) -> Settled {
        let (result, retry_after) = match self.refusal() {
            None => (SendResult::Accepted, None),
            Some(_) if self.is_unknown() => (SendResult::Unknown, None),
            Some(AuthError::InvalidPhone) => (SendResult::InvalidNumber, None),
            Some(AuthError::CountryNotAllowed) => (SendResult::CountryNotAllowed, None),
            Some(AuthError::SmsDeliveryFailed { opted_out: Some(_), retry_after, .. }) => {
                (SendResult::OptedOut, retry_after)
            }
            Some(AuthError::SmsDeliveryFailed { retry_after, .. }) => (SendResult::Refused, retry_after),
            Some(_) => (SendResult::Refused, None),
        };
        Settled { at, result, retry_after }
    }

    /// The caller's answer: `sent`, or why not.
    pub(super) fn answer(&self, sent: Sent) -> Result<Sent, AuthError> {
        match self.refusal() {
            None => Ok(sent),
            Some(AuthError::SmsDeliveryFailed { opted_out, retry_after, .. }) if self.is_unknown() => {
                Err(AuthError::SmsDeliveryFailed { opted_out, retry_after, delivery: sent.delivery })
            }
            Some(error) => Err(error),
        }
    }

    /// Leaves out the name that the provider has for the message; false where it has none.
    pub(super) fn forget_sid(&mut self) -> bool {
        match self {
            Self::Sent(Routed { outcome: SendOutcome::Accepted(accepted), .. }) => {
                accepted.sid.take().is_some()
            }
            Self::Sent(_) | Self::Withheld(_) => false,
        }
    }

    /// Whether nobody can say if the message went out.
    const fn is_unknown(&self) -> bool {
        match self {
            Self::Sent(routed) => matches!(routed.outcome, SendOutcome::Unknown(_)),
            Self::Withheld(expected) => matches!(expected, ExpectedOutcome::Unknown),
        }
    }

    /// How far the message has come; `None` where there is none.
    pub(super) const fn reached(&self) -> Option<MessageState> {
        match self {
            Self::Sent(routed) => Some(routed.outcome.state()),
            Self::Withheld(_) => None,
        }
    }
}

/// Everything that write#2 needs beside the outcome.
#[derive(Clone)]
pub(super) struct Settlement {
    pub(super) challenge: ChallengeId,
    pub(super) actor: Arc<Actor>,
    pub(super) phone: PhoneNumber,
    /// What the code is for.
    pub(super) purpose: Purpose,
    /// `None` where nothing is sent.
    pub(super) message: Option<MessageId>,
    pub(super) keys: Arc<KeyRing>,
    pub(super) policy: Arc<Policy>,
}

impl Settlement {
    pub(super) fn write(&self, tx: &mut AuditedTx<'_>, outcome: Outcome) -> StoreResult<()> {
        self.read_ahead(tx)?;
        // Its user may have been deleted while the message was under way: then nothing is left to write about.
        let Some(challenge) = tx.challenge(self.challenge)? else { return Ok(()) };
        let (live_codes, settled) = (self.policy.otp.live_codes, outcome.settled(tx.at()));
        match outcome {
            Outcome::Withheld(outcome) => self.write_withheld(tx, challenge, outcome, settled)?,
            Outcome::Sent(Routed { outcome: SendOutcome::Accepted(accepted), via }) => {
                let purpose = challenge.purpose;
                accept(tx, challenge, live_codes)?;
                let user = self.ensure_user(tx, purpose)?;
                note_accepted(tx, self.message, accepted, via)?;
                tx.record(tx.did(AuditEvent::SmsSent).user(user));
            }
            Outcome::Sent(Routed { outcome: SendOutcome::Unknown(failure), via }) => {
                let purpose = challenge.purpose;
                let fate = lose(tx, challenge, live_codes, settled)?;
                let user = self.ensure_user(tx, purpose)?;
                note_failed(tx, self.message, (MessageState::Unknown, &failure), via)?;
                tx.record(fate.line(tx, failure.detail).user(user));
            }
            Outcome::Sent(Routed { outcome: SendOutcome::Refused(failure), via }) => {
                cancel_purchase(tx, self.challenge)?;
                refund(tx, &challenge, &self.keys)?;
                tx.update_challenge(&mut challenge.failed(settled))?;
                note_failed(tx, self.message, (MessageState::Failed, &failure), via)?;
                tx.record(tx.did(AuditEvent::SmsFailed).detail(AuditDetail::SmsRefused(failure.detail)));
            }
        }
        Ok(())
    }

    /// Has the engine answer at once what is asked about a message that was accepted.
    fn read_ahead(&self, tx: &AuditedTx<'_>) -> StoreResult<()> {
        let Self { challenge, actor, phone, purpose, message, .. } = self;
        tx.read_ahead(&|| {
            let latest =
                actor.mode.map(|mode| Wanted::Challenges { mode, phone, purpose: *purpose, limit: LATEST });
            let always = [Wanted::Challenge(*challenge), Wanted::NewLine];
            always.into_iter().chain(latest).chain(message.map(Wanted::Message)).collect()
        })
    }

    /// Whether it is about a code for this phone.
    pub(super) fn is_of(&self, mode: Mode, phone: &PhoneNumber) -> bool {
        self.actor.mode == Some(mode) && self.phone == *phone
    }

    /// Leaves what a send with this outcome would have left, except a message and its lines in the audit trail.
    fn write_withheld(
        &self,
        tx: &mut AuditedTx<'_>,
        challenge: Challenge,
        outcome: ExpectedOutcome,
        settled: Settled,
    ) -> StoreResult<()> {
        let purpose = challenge.purpose;
        match outcome {
            ExpectedOutcome::Accepted => accept(tx, challenge, self.policy.otp.live_codes)?,
            ExpectedOutcome::Unknown => tx.update_challenge(&mut challenge.lost(settled))?,
            ExpectedOutcome::Refused | ExpectedOutcome::CountryNotAllowed => {
                refund(tx, &challenge, &self.keys)?;
                return tx.update_challenge(&mut challenge.failed(settled));
            }
        }
        self.ensure_user(tx, purpose).map(drop)
    }

    /// Whether the challenge says what became of its message, or is gone.
    pub(super) fn is_written(&self, tx: &AuditedTx<'_>) -> StoreResult<bool> {
        Ok(tx.challenge(self.challenge)?.is_none_or(|challenge| challenge.settled.is_some()))
    }

    fn ensure_user(&self, tx: &mut AuditedTx<'_>, purpose: Purpose) -> StoreResult<UserId> {
        user_of(tx, &self.phone, purpose, &self.policy.default_role)
    }
}

/// Notes that the provider has a message. A status callback may have come first: its state is kept.
fn note_accepted(
    tx: &mut AuditedTx<'_>,
    message: Option<MessageId>,
    accepted: Accepted,
    via: Via,
) -> StoreResult<()> {
    update_message(tx, message, |message| {
        let is_anew = takes_over(message, &via);
        message.via = via;
        message.sid = message.sid.take().or(accepted.sid);
        message.segments = accepted.segments.unwrap_or(message.segments);
        if is_anew {
            message.error_code = None;
        }
        if is_anew || message.state.advances_to(accepted.state) {
            message.state = accepted.state;
        }
    })
}

/// Notes that a message was not sent, or perhaps not.
fn note_failed(
    tx: &mut AuditedTx<'_>,
    message: Option<MessageId>,
    (state, failure): (MessageState, &Failure),
    via: Via,
) -> StoreResult<()> {
    update_message(tx, message, |message| {
        let is_anew = takes_over(message, &via);
        message.via = via;
        if is_anew || message.state.advances_to(state) {
            message.state = state;
            message.error_code = failure.code;
        }
    })
}

/// Says that a message is kept without the name that its provider gave it.
pub(super) fn warn_of_one_sid(message: Option<MessageId>) {
    tracing::warn!(
        message_id = message.map(|message| message.0),
        "the provider seems to have given two messages one SID; the later is kept without it, and no report can be about it"
    );
}

/// Notes what became of a message beside a request's own; gives the line that tells of it.
pub(super) fn note_outcome(
    tx: &mut AuditedTx<'_>,
    message: MessageId,
    Routed { outcome, via }: Routed,
) -> StoreResult<AuditRecord> {
    Ok(match outcome {
        SendOutcome::Accepted(mut accepted) => {
            let named = accepted.sid.as_deref().map_or(Ok(None), |sid| tx.message_by_sid(sid))?;
            if named.is_some_and(|other| other.id != message) {
                warn_of_one_sid(Some(message));
                accepted.sid = None;
            }
            note_accepted(tx, Some(message), accepted, via)?;
            tx.did(AuditEvent::SmsSent)
        }
        SendOutcome::Unknown(failure) => {
            note_failed(tx, Some(message), (MessageState::Unknown, &failure), via)?;
            tx.did(AuditEvent::SmsFailed).detail(AuditDetail::SmsUnknown(failure.detail))
        }
        SendOutcome::Refused(failure) => {
            note_failed(tx, Some(message), (MessageState::Failed, &failure), via)?;
            tx.did(AuditEvent::SmsFailed).detail(AuditDetail::SmsRefused(failure.detail))
        }
    })
}

/// Whether a message that one sender reported as lost went on to another, so that what is known of it begins anew. A report that
/// names a SID is about a message that Twilio took, and what it took goes on to nobody: then the other one's has been lost.
pub(super) fn takes_over(message: &Message, via: &Via) -> bool {
    message.via != *via && message.state.is_lost() && message.sid.is_none()
}

fn update_message(
    tx: &mut AuditedTx<'_>,
    message: Option<MessageId>,
    change: impl FnOnce(&mut Message),
) -> StoreResult<()> {
    let Some(id) = message else { return Ok(()) };
    let mut message = tx.message(id)?.ok_or(StoreError::Broken)?;
    let was_call = message.via.channel == Channel::Voice;
    change(&mut message);
    if was_call && message.via.channel != Channel::Voice {
        release_call(tx, message.challenge)?;
    }
    message.updated_at = tx.at();
    tx.update_message(&mut message)
}

/// The SMS is accepted: the code is live, and those older than the newest `live_codes` are void.
pub(super) fn accept(tx: &mut AuditedTx<'_>, challenge: Challenge, live_codes: usize) -> StoreResult<()> {
    let older: Vec<_> = tx
        .challenges(challenge.mode, &challenge.phone, challenge.purpose, LATEST)?
        .into_iter()
        .filter(|other| other.id < challenge.id && other.state.is_open())
        .skip(live_codes.saturating_sub(1))
        .collect();
    for other in older {
        tx.update_challenge(&mut other.superseded())?;
    }
    let at = tx.at();
    tx.update_challenge(&mut challenge.accepted(at))
}

/// What is known of an SMS whose answer was lost.
pub(super) enum Fate {
    /// Nothing: it may arrive.
    Unknown,
    /// A status callback came before the answer should have: the provider has it.
    Reported,
}

impl Fate {
    /// The line of the audit trail about it; `how` the answer was lost.
    pub(super) fn line(&self, tx: &AuditedTx<'_>, how: String) -> AuditRecord {
        match self {
            Self::Unknown => tx.did(AuditEvent::SmsFailed).detail(AuditDetail::SmsUnknown(how)),
            Self::Reported => tx.did(AuditEvent::SmsSent).detail(AuditDetail::SmsReported(how)),
        }
    }
}

/// The answer was lost: the code stays good and waits for a report, or is live where one has come already.
pub(super) fn lose(
    tx: &mut AuditedTx<'_>,
    challenge: Challenge,
    live_codes: usize,
    settled: Settled,
) -> StoreResult<Fate> {
    let is_reported = |message: &Message| {
        let state = message.state;
        message.to == challenge.phone && MessageState::Unknown.advances_to(state) && !state.is_lost()
    };
    if tx.messages_of(challenge.id)?.iter().any(is_reported) {
        accept(tx, challenge, live_codes)?;
        return Ok(Fate::Reported);
    }
    tx.update_challenge(&mut challenge.lost(settled))?;
    Ok(Fate::Unknown)
}

/// The user of a phone whose first SMS may have gone out; written if it is new.
pub(super) fn ensure_user(tx: &mut AuditedTx<'_>, phone: &PhoneNumber, role: &str) -> StoreResult<User> {
    if let Some(user) = tx.user_by_phone(phone)? {
        return Ok(user);
    }
    let at = tx.at();
    let user = tx.insert_user(phone, role, at)?;
    tx.record(tx.did(AuditEvent::UserCreated).user(user.id));
    Ok(user)
}

/// Whom a code is for that may have gone out to a phone: the user of the phone, written if it is new, or the one who wants the
/// phone.
pub(super) fn user_of(
    tx: &mut AuditedTx<'_>,
    phone: &PhoneNumber,
    purpose: Purpose,
    role: &str,
) -> StoreResult<UserId> {
    match purpose {
        Purpose::Login => Ok(ensure_user(tx, phone, role)?.id),
        Purpose::PhoneChange(user) => Ok(user),
    }
}

/// Gives back the units that a code cost whose SMS did not arrive; only so often a day, or failures would be free.
pub(super) fn refund(tx: &mut AuditedTx<'_>, challenge: &Challenge, keys: &KeyRing) -> StoreResult<()> {
    give_back(tx, challenge.mode, &Subject::phone(&challenge.phone, keys), challenge.spend)?;
    match &challenge.device {
        Some((device, unit)) => give_back(tx, challenge.mode, &Subject::device(device), *unit),
        None => Ok(()),
    }
}

fn give_back(
    tx: &mut AuditedTx<'_>,
    mode: Mode,
    subject: &Subject<'_>,
    unit: Option<SpendId>,
) -> StoreResult<()> {
    let Some(unit) = unit else { return Ok(()) };
    let refunds = Balance::read(tx, Quota::Refunds(mode), subject, &[REFUNDS])?;
    let has_one = refunds.state().is_some_and(|state| !state.refused);
    // A code that was sent twice may be lost twice, and a report of it may come before the answer; its unit is given back once.
    if has_one && tx.unspend(Quota::User(mode), subject.own(), unit)? {
        refunds.spend(tx)?;
    }
    Ok(())
}
