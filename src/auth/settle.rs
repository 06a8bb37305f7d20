//! write#2: what became of an SMS, and what follows for its code, its user and the user's quota.

use super::trail::Trail;
use super::{Auth, quota};
use crate::domain::audit::{Actor, AuditEvent, AuditRecord};
use crate::domain::message::{Message, MessageState};
use crate::domain::quota::{Quota, REFUNDS};
use crate::domain::{Challenge, ChallengeId, MessageId, PhoneNumber, Timestamp, User};
use crate::sms::{Accepted, Failure, SendOutcome};
use crate::storage::{Fault, Stored, Tx};

/// How many of a phone's latest challenges can still be open: those of a window, and a few that failed.
pub(super) const LATEST: usize = 16;

/// Everything that write#2 needs beside the outcome.
pub(super) struct Settlement {
    pub(super) challenge: ChallengeId,
    actor: Actor,
    phone: PhoneNumber,
    message: Option<MessageId>,
    role: String,
    live_codes: usize,
}

impl Settlement {
    pub(super) fn new(
        auth: &Auth,
        actor: Actor,
        phone: PhoneNumber,
        challenge: ChallengeId,
        message: Option<MessageId>,
    ) -> Self {
        let policy = auth.policy();
        Self {
            challenge,
            actor,
            phone,
            message,
            role: policy.default_role.clone(),
            live_codes: policy.otp.live_codes,
        }
    }

    /// Settles at `now`; no `outcome` means that nothing was sent and nobody is to notice.
    pub(super) fn write(
        mut self,
        tx: &mut dyn Tx,
        outcome: Option<SendOutcome>,
        now: Timestamp,
    ) -> Stored<Trail> {
        self.actor.at = now;
        let mut trail = Trail::default();
        let challenge = tx.challenge(self.challenge)?.ok_or(Fault::Broken)?;
        match outcome {
            None => accept(tx, challenge, self.live_codes)?,
            Some(SendOutcome::Accepted(accepted)) => {
                accept(tx, challenge, self.live_codes)?;
                let user = ensure_user(tx, &mut trail, &self.actor, &self.phone, &self.role)?;
                self.note_accepted(tx, accepted)?;
                trail.add(tx, self.actor.did(AuditEvent::SmsSent).user(user.id))?;
            }
            Some(SendOutcome::Unknown(failure)) => {
                let fate = lose(tx, challenge, self.live_codes)?;
                let user = ensure_user(tx, &mut trail, &self.actor, &self.phone, &self.role)?;
                self.note_failed(tx, MessageState::Unknown, &failure)?;
                trail.add(tx, fate.line(&self.actor, &failure.detail).user(user.id))?;
            }
            Some(SendOutcome::Refused(failure)) => {
                refund(tx, &challenge, now)?;
                tx.update_challenge(&challenge.failed())?;
                self.note_failed(tx, MessageState::Failed, &failure)?;
                let line = self.actor.did(AuditEvent::SmsFailed);
                trail.add(tx, line.detail(format!("refused: {}", failure.detail)))?;
            }
        }
        Ok(trail)
    }

    /// A status callback may have come first: what it said stands.
    fn note_accepted(&self, tx: &mut dyn Tx, accepted: Accepted) -> Stored<()> {
        self.update_message(tx, |message| {
            message.sid = message.sid.take().or(accepted.sid);
            message.segments = accepted.segments.unwrap_or(message.segments);
            if message.state.advances_to(accepted.state) {
                message.state = accepted.state;
            }
        })
    }

    fn note_failed(&self, tx: &mut dyn Tx, state: MessageState, failure: &Failure) -> Stored<()> {
        self.update_message(tx, |message| {
            if message.state.advances_to(state) {
                message.state = state;
                message.error_code = failure.code;
            }
        })
    }

    fn update_message(&self, tx: &mut dyn Tx, change: impl FnOnce(&mut Message)) -> Stored<()> {
        let Some(id) = self.message else { return Ok(()) };
        let mut message = tx.message(id)?.ok_or(Fault::Broken)?;
        change(&mut message);
        message.updated_at = self.actor.at;
        tx.update_message(&message)
    }
}

/// The SMS is accepted: the code is live, and those older than the newest `live_codes` are void.
pub(super) fn accept(tx: &mut dyn Tx, challenge: Challenge, live_codes: usize) -> Stored<()> {
    let older: Vec<_> = tx
        .challenges(challenge.channel, &challenge.phone, LATEST)?
        .into_iter()
        .filter(|other| other.id < challenge.id && other.state.is_open())
        .skip(live_codes.saturating_sub(1))
        .collect();
    for other in older {
        tx.update_challenge(&other.superseded())?;
    }
    tx.update_challenge(&challenge.accepted())
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
    pub(super) fn line(&self, actor: &Actor, how: &str) -> AuditRecord {
        match self {
            Self::Unknown => actor.did(AuditEvent::SmsFailed).detail(format!("unknown: {how}")),
            Self::Reported => actor.did(AuditEvent::SmsSent).detail(format!("reported: {how}")),
        }
    }
}

/// The answer was lost: the code stays good and waits for a report, or is live where one has come already.
pub(super) fn lose(tx: &mut dyn Tx, challenge: Challenge, live_codes: usize) -> Stored<Fate> {
    let message = tx.message_of(challenge.id)?.map(|message| message.state);
    let reported = message.is_some_and(|state| MessageState::Unknown.advances_to(state) && !state.is_lost());
    if reported {
        accept(tx, challenge, live_codes)?;
        return Ok(Fate::Reported);
    }
    tx.update_challenge(&challenge.lost())?;
    Ok(Fate::Unknown)
}

/// The user of a phone whose first SMS may have gone out; written if it is new.
pub(super) fn ensure_user(
    tx: &mut dyn Tx,
    trail: &mut Trail,
    actor: &Actor,
    phone: &PhoneNumber,
    role: &str,
) -> Stored<User> {
    if let Some(user) = tx.user_by_phone(phone)? {
        return Ok(user);
    }
    let user = tx.insert_user(phone, role, actor.at)?;
    trail.add(tx, actor.did(AuditEvent::UserCreated).user(user.id))?;
    Ok(user)
}

/// Gives back the unit that a code cost whose SMS did not arrive; only so often a day, or failures would be free.
pub(super) fn refund(tx: &mut dyn Tx, challenge: &Challenge, now: Timestamp) -> Stored<()> {
    let Some(spend) = challenge.spend else { return Ok(()) };
    let quota = Quota::Refunds(challenge.channel);
    match quota::spend(tx, quota, &REFUNDS, challenge.phone.as_str(), now)? {
        quota::Spent::Unit(..) => tx.unspend(spend),
        quota::Spent::Off | quota::Spent::Refused(_) => Ok(()),
    }
}
