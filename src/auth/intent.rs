//! write#1 of a request for a code: spends the quotas and writes the challenge, before anything is sent.

use std::sync::Arc;
use std::time::Duration;

use super::audited::AuditedTx;
use super::error::{FlowError, commit_refusal};
use super::gate::AddressGate;
use super::guard::Guard;
use super::lookup::{good_test_number, living};
use super::purchase::Bought;
use super::quota::{self, Balance, QuotaState, Spent, Subject};
use super::settle::{LATEST, accept, ensure_user};
use super::single_flight::Overlap;
use super::{Auth, AuthError, CodeRequest, Sent, devices};
use crate::domain::audit::{Actor, AuditDetail, AuditEvent};
use crate::domain::keys::KeyRing;
use crate::domain::message::{NewMessage, Unsent};
use crate::domain::policy::Policy;
use crate::domain::quota::Quota;
use crate::domain::{
    Challenge, ChallengeId, ChallengeState, Code, CodeHash, DeliveryId, Device, MessageId, NewChallenge,
    Purpose, RunId, SpendId, TestNumber, Timestamp, User,
};
use crate::sms::route::{Reservation, Route};
use crate::storage::{StoreResult, View};

mod ahead;
mod elsewhere;
mod place;

/// Everything that the write needs, drawn and derived beforehand.
pub(super) struct CodeIntent {
    pub(super) request: CodeRequest,
    pub(super) gate: Arc<AddressGate>,
    /// The device that the call comes from, whose quotas judge it.
    pub(super) device: Option<Device>,
    pub(super) code: Code,
    /// Who could send it.
    pub(super) senders: Route,
    /// What the message costs in segments.
    pub(super) segments: u32,
    /// What will find the state of the delivery.
    pub(super) delivery: Option<DeliveryId>,
    /// What the guard must know; nothing where no message is sent.
    pub(super) guard: Option<Guard>,
    pub(super) overlap: Overlap,
    /// When the call came in.
    pub(super) arrived: Timestamp,
    /// How long a send takes at most: a challenge that was made longer ago and does not say what came of its sending has lost its flow.
    pub(super) patience: Duration,
    /// Challenges that do not say what came of their sending although this process knows.
    pub(super) unsettled: Vec<ChallengeId>,
    /// This run of the server.
    pub(super) run: RunId,
    pub(super) keys: Arc<KeyRing>,
    pub(super) policy: Arc<Policy>,
}

/// What the write decided.
#[derive(Default)]
pub(super) struct Decided {
    /// How the quota of the caller's address stands.
    pub(super) address: Option<QuotaState>,
    /// How the quota of the phone stands.
    pub(super) user: Option<QuotaState>,
    /// Whether there was no place at the sender.
    pub(super) unsent: bool,
    /// What came of buying the message.
    pub(super) bought: Bought,
}

/// What is to be done now.
pub(super) enum Intent {
    /// Another request for this phone is in flight in this process.
    Follow(ChallengeId, Option<DeliveryId>),
    /// Or in another one; once it has settled the answer is this where the message was accepted.
    FollowElsewhere(ChallengeId, Sent),
    /// A test number: its code is known, nothing is sent, all is done.
    Test(ChallengeId, Sent),
    /// A message is to be sent, from a place that is reserved. Without one nothing is sent, and the answer is as if one were: for a
    /// deactivated user or a test number, where accounts are concealed.
    Lead(ChallengeId, Reservation, Option<MessageId>, Sent),
}

/// Why nothing is sent although the answer is as if something were.
enum Withheld {
    Deactivated,
    TestNumber(TestNumber),
}

impl Auth {
    /// Spends, writes the challenge as *sending* and the intent of its message, or says why not.
    pub(super) async fn intend(
        &self,
        actor: Arc<Actor>,
        intent: Arc<CodeIntent>,
    ) -> StoreResult<(Decided, Result<Intent, AuthError>)> {
        let CodeRequest { phone, purpose, .. } = &intent.request;
        let locks = intent.gate.locks().phone(phone).users(purpose.change_of().as_ref());
        let write = self.write(locks, actor, move |tx| {
            let mut decided = Decided::default();
            let intent = commit_refusal(intent.decide(tx, &mut decided))?;
            Ok((decided, intent))
        });
        let (decided, intent) = write.await?;
        self.count_purchase(&decided.bought);
        if decided.unsent {
            self.parts.metrics.message_reached(Unsent::STATE);
        }
        Ok((decided, intent))
    }
}

impl CodeIntent {
    /// Whether the caller must learn nothing of the number's past: one who has proven it may.
    pub(super) fn conceals_past(&self) -> bool {
        self.policy.conceal_accounts && self.request.proven.is_none()
    }

    /// Whether the number has been verified before, whoever asks.
    pub(super) fn is_verified(&self, tx: &AuditedTx<'_>, user: Option<&User>) -> StoreResult<bool> {
        let is_verified = |user: &User| user.phone_verified && !user.is_testing_only;
        match self.request.purpose.change_of() {
            None => Ok(user.is_some_and(is_verified)),
            Some(_) => Ok(tx.user_by_phone(&self.request.phone)?.as_ref().is_some_and(is_verified)),
        }
    }

    /// Whether the caller must not learn that nothing is sent.
    fn conceals(&self) -> bool {
        self.conceals_past() && self.request.purpose == Purpose::Login
    }

    /// Whom the code is for, if anybody. A token was read with what memory knew: its user may be gone or have another number by
    /// now.
    fn account(&self, tx: &AuditedTx<'_>) -> Result<Option<User>, FlowError> {
        let CodeRequest { phone, purpose, proven, .. } = &self.request;
        match purpose {
            Purpose::Login => {
                let user = tx.user_by_phone(phone)?;
                if proven.is_some_and(|bearer| user.as_ref().is_none_or(|user| user.id != bearer)) {
                    return Err(AuthError::TokenInvalid.into());
                }
                Ok(user)
            }
            // Whose the number is now is nothing for who wants it.
            Purpose::PhoneChange(bearer) => match tx.user(*bearer)? {
                None => Err(AuthError::TokenInvalid.into()),
                Some(user) if user.phone.as_ref() == Some(phone) => Err(AuthError::OwnNumber.into()),
                user => Ok(user),
            },
        }
    }

    /// First fault wins, in the order of the contract.
    fn decide(&self, tx: &mut AuditedTx<'_>, decided: &mut Decided) -> Result<Intent, FlowError> {
        let CodeRequest { mode, phone, purpose, .. } = &self.request;
        let user = self.account(tx)?;
        self.read_ahead(tx)?;
        self.gate.spend(tx, &mut decided.address)?;
        let is_disabled = user.as_ref().is_some_and(|user| !user.is_active);
        if is_disabled && !self.conceals() {
            return Err(AuthError::AccountDisabled.into());
        }
        if *purpose != Purpose::Login {
            self.refuse_test_numbers(tx, user.as_ref())?;
        }
        let subject = devices::subject(self.device.as_ref(), phone, &self.keys);
        let limits = [self.policy.otp.failures()];
        Balance::read(tx, Quota::Failures(*mode), &subject, &limits)?.left(tx)?;
        // A code lives that has not come the one way: then it may come another.
        if self.request.channel.is_some() && !tx.has_live_code(*mode, phone, tx.at())? {
            return Err(AuthError::NoFirstCode.into());
        }
        let withheld = match good_test_number(&**tx, self.request.mode, &self.request.phone, tx.at())? {
            _ if is_disabled => Some(Withheld::Deactivated),
            Some(number) if self.conceals() => Some(Withheld::TestNumber(number)),
            Some(number) => return Ok(self.open_for_test(tx, user.as_ref(), &number)?),
            None => None,
        };
        let newest = tx.newest_challenge(*mode, phone, *purpose, self.device.is_some())?;
        let limits = self.policy.limits.codes();
        let balance = Balance::read(tx, Quota::User(*mode), &subject, &limits)?;
        decided.user = balance.state();
        if let Some(flight) = &self.newest_of_channel(tx, newest.as_ref())?
            && self.is_in_flight(&**tx, flight)?
        {
            return Ok(if flight.leader == self.run {
                Intent::Follow(flight.id, flight.delivery.clone())
            } else {
                let sent = Sent { delivery: flight.delivery.clone(), ..self.sent(user.as_ref()) };
                Intent::FollowElsewhere(flight.id, sent)
            });
        }
        let wants = purpose.change_of().map(|user| user.to_string());
        let wants = wants.as_deref().map(Subject::plain);
        let wants = wants.as_ref().map(|user| Balance::read(tx, Quota::PhoneChanges, user, &limits));
        let wants = wants.transpose()?;
        if let Some(own) = &wants {
            own.left(tx)?;
        }
        balance.left(tx)?;
        self.wait_between(tx.at(), newest.as_ref())?;
        if let Some(guard) = self.guard.as_ref().filter(|_| withheld.is_none()) {
            let is_known = self.device.is_some() || self.is_verified(tx, user.as_ref())?;
            decided.bought.judge(tx, guard, is_known)?;
        }
        let unit = self.spend_users_unit(tx, decided, &balance);
        if matches!(unit, Err(FlowError::Refused(_))) {
            decided.bought.take_back(tx)?;
        }
        let (spend, place) = unit?;
        if let Some(own) = &wants {
            own.spend(tx)?;
        }
        let hash = |id| self.hash(id, withheld.as_ref());
        let new = match &self.device {
            None => NewChallenge { spend, ..self.challenge(tx.at()) },
            Some(device) => NewChallenge {
                spend: quota::count(tx, Quota::User(*mode), phone.as_str(), &limits)?,
                device: Some((device.id.clone(), spend)),
                ..self.challenge(tx.at())
            },
        };
        let challenge = tx.insert_challenge(new, &hash)?;
        let message = if withheld.is_some() {
            None
        } else {
            if let Some(guard) = &self.guard {
                decided.bought.note(tx, guard, challenge.id)?;
            }
            let (challenge, created_at) = (challenge.id, challenge.created_at);
            let (to, via, segments) = (phone.clone(), place.via().clone(), self.segments);
            Some(tx.insert_message(NewMessage { challenge, to, via, segments, created_at })?)
        };
        let line = tx.did(AuditEvent::CodeRequested).user(user.as_ref().map(|user| user.id));
        tx.record(match withheld {
            Some(Withheld::TestNumber(_)) => line.detail(AuditDetail::TestNumber),
            None if *purpose != Purpose::Login => line.detail(AuditDetail::PhoneChange),
            Some(Withheld::Deactivated) | None => line,
        });
        Ok(Intent::Lead(challenge.id, place, message, self.sent(user.as_ref())))
    }

    /// A test number gets no text message, and nobody takes its account along who knows its code.
    fn refuse_test_numbers(&self, tx: &AuditedTx<'_>, user: Option<&User>) -> Result<(), FlowError> {
        let CodeRequest { mode, phone, .. } = &self.request;
        if good_test_number(&**tx, *mode, phone, tx.at())?.is_some() {
            return Err(AuthError::InvalidPhone.into());
        }
        let Some(phone) = user.and_then(|user| user.phone.as_ref()) else { return Ok(()) };
        match good_test_number(&**tx, *mode, phone, tx.at())? {
            Some(_) => Err(AuthError::TestAccount.into()),
            None => Ok(()),
        }
    }

    /// The newest challenge that was asked for by the same channel: requests by different ones share no flight.
    fn newest_of_channel(
        &self,
        tx: &AuditedTx<'_>,
        newest: Option<&Challenge>,
    ) -> StoreResult<Option<Challenge>> {
        let CodeRequest { mode, phone, purpose, channel, .. } = &self.request;
        match newest {
            Some(newest) if newest.asked != *channel => {
                let latest = tx.challenges(*mode, phone, *purpose, LATEST)?;
                let is_alike = |other: &Challenge| {
                    other.asked == *channel && other.device_id().is_some() == self.device.is_some()
                };
                Ok(latest.into_iter().find(is_alike))
            }
            newest => Ok(newest.cloned()),
        }
    }

    /// Whether the phone's newest challenge is of a request that is under way, whoever leads it and whatever has become of the
    /// code; or was when this one came, as this process knows of those that it leads and the rows tell of others.
    fn is_in_flight(&self, view: &dyn View, newest: &Challenge) -> StoreResult<bool> {
        let (made, arrived) = (newest.created_at, self.arrived);
        let is_sending = newest.settled.is_none()
            && made > arrived - self.patience
            && !self.unsettled.contains(&newest.id);
        if is_sending && made > arrived + self.patience && newest.leader != self.run {
            // By a clock that is far ahead, or was until its server ended.
            return elsewhere::lives(&newest.leader, || living(view));
        }
        if is_sending || newest.leader == self.run {
            return Ok(is_sending || self.overlap.holds(newest.id));
        }
        elsewhere::was_in_flight(newest.settled, &newest.leader, self.arrived, || living(view))
    }

    /// Opens the challenge of a test number: it buys no SMS, so it costs no unit and needs no place at the sender.
    fn open_for_test(
        &self,
        tx: &mut AuditedTx<'_>,
        user: Option<&User>,
        number: &TestNumber,
    ) -> StoreResult<Intent> {
        let device = self.device.as_ref().map(|device| (device.id.clone(), None));
        let new = NewChallenge { device, ..self.challenge(tx.at()) };
        let challenge = tx.insert_challenge(new, &|_| number.hash.clone())?;
        let id = challenge.id;
        accept(tx, challenge, self.policy.otp.live_codes)?;
        let sent = self.sent(user);
        let user = ensure_user(tx, &self.request.phone, &self.policy.default_role)?;
        tx.record(tx.did(AuditEvent::CodeRequested).user(user.id).detail(AuditDetail::TestNumber));
        Ok(Intent::Test(id, sent))
    }

    /// The challenge of a test number holds that number's hash, which is that of no challenge's code: verify asks the
    /// number itself while the challenge is alive. A deactivated user's holds that of a code which nobody has.
    fn hash(&self, id: ChallengeId, withheld: Option<&Withheld>) -> CodeHash {
        match withheld {
            Some(Withheld::TestNumber(number)) => number.hash.clone(),
            Some(Withheld::Deactivated) | None => {
                self.code.hash(self.keys.current(), self.request.purpose.bind(id, &self.request.phone))
            }
        }
    }

    fn challenge(&self, now: Timestamp) -> NewChallenge {
        NewChallenge {
            mode: self.request.mode,
            purpose: self.request.purpose,
            phone: self.request.phone.clone(),
            created_at: now,
            expires_at: now + self.policy.otp.ttl,
            spend: None,
            device: None,
            leader: self.run.clone(),
            delivery: self.delivery.clone(),
            asked: self.request.channel,
        }
    }

    fn sent(&self, user: Option<&User>) -> Sent {
        let is_new_user = !self.policy.conceal_accounts && user.is_none_or(|user| !user.phone_verified);
        Sent { is_new_user, expires_in: self.policy.otp.ttl, delivery: self.delivery.clone() }
    }

    /// The pause between two codes. One from further ahead than that was written by a clock that was wrong, which says nothing of
    /// how long ago it was: nobody waits until then.
    fn wait_between(&self, now: Timestamp, newest: Option<&Challenge>) -> Result<(), AuthError> {
        let pause = self.policy.otp.resend_cooldown;
        let is_counted = |newest: &&Challenge| {
            newest.state != ChallengeState::Void && now.until(newest.created_at) <= pause
        };
        let Some(newest) = newest.filter(is_counted) else { return Ok(()) };
        let wait = now.until(newest.created_at + pause);
        if wait.is_zero() { Ok(()) } else { Err(AuthError::RateLimited(wait)) }
    }

    /// The user's quota, and a place at the sender: nothing is spent unless there is both. The place is reserved here and not before
    /// the write, so that nobody has one who only waits for the phone.
    fn spend_users_unit(
        &self,
        tx: &mut AuditedTx<'_>,
        decided: &mut Decided,
        balance: &Balance<'_>,
    ) -> Result<(Option<SpendId>, Reservation), FlowError> {
        let place = self.pay(tx, decided)?;
        match balance.spend(tx)? {
            Spent::Off => Ok((None, place)),
            Spent::Unit(spend, state) => {
                decided.user = Some(state);
                Ok((Some(spend), place))
            }
            Spent::Refused(state) => Err(balance.refuse(tx, state.reset)?.into()),
        }
    }
}
