//! Asking for a code: intent, send, settle. No transaction is open while the SMS is under way.

use std::sync::Arc;
use std::time::Duration;

use super::error::{Stop, said};
use super::flight::{Overlap, Ticket};
use super::quota::{self, AddressQuota, Limited, QuotaState, Spent};
use super::settle::{Settlement, accept, ensure_user};
use super::trail::Trail;
use super::{Auth, AuthError, Origin};
use crate::clock::Stopwatch;
use crate::domain::audit::{Actor, AuditEvent};
use crate::domain::keys::DerivedKeys;
use crate::domain::quota::{Endpoint, Limit, Quota};
use crate::domain::{
    Challenge, ChallengeId, ChallengeState, Channel, Code, MessageId, NewChallenge, PhoneNumber, SpendId,
    TestNumber, Timestamp, User, UserId,
};
use crate::random;
use crate::sms::{Failure, FailureReason, SendOutcome, Slot, TextMessage, Unavailable};
use crate::storage::{Stored, Tx};

/// What the audit trail says of an act that a test number made possible.
pub(super) const TEST_NUMBER: &str = "test number";

/// A call of `request/` or `resend/`, parsed.
#[derive(Clone, Debug)]
pub struct CodeRequest {
    /// Production or testing.
    pub channel: Channel,
    /// The endpoint whose quota it costs.
    pub endpoint: Endpoint,
    /// Whom the code goes to.
    pub phone: PhoneNumber,
    /// The user who has proven the number already, for `resend/`.
    pub proven: Option<UserId>,
    /// Where it came from.
    pub origin: Origin,
}

/// A code is on its way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sent {
    /// Whether the number was never verified; always false where accounts are concealed.
    pub is_new_user: bool,
    /// How long the code is good.
    pub expires_in: Duration,
}

/// Everything that write#1 needs, drawn and derived beforehand.
struct Opening {
    request: CodeRequest,
    actor: Actor,
    address: Option<AddressQuota>,
    user_limit: Limit,
    failures: Limit,
    cooldown: Duration,
    ttl: Duration,
    conceal: bool,
    code: Code,
    keys: DerivedKeys,
    segments: u32,
    refused_place: Option<Unavailable>,
    sending_since: Timestamp,
    overlap: Overlap,
    role: String,
    live_codes: usize,
}

/// What write#1 decided.
struct Opened {
    address: Option<QuotaState>,
    user: Option<QuotaState>,
    intent: Result<Intent, AuthError>,
    trail: Trail,
}

enum Intent {
    /// Another request for this phone is in flight.
    Follow(ChallengeId),
    /// A test number: its code is known, nothing is sent, all is done.
    Test { challenge: ChallengeId, is_new_user: bool, expires_at: Timestamp },
    Lead {
        challenge: ChallengeId,
        /// `None` for a deactivated user whose state is concealed: all is as ever, but nothing is sent.
        message: Option<MessageId>,
        is_new_user: bool,
        expires_at: Timestamp,
    },
}

impl Auth {
    /// Sends a code, for `request/`.
    pub async fn request(self: &Arc<Self>, request: CodeRequest) -> Limited<Sent> {
        self.parts.metrics.code_requested(request.channel.as_str());
        let now = self.parts.clock.now();
        let foreign_writes = self.parts.store.foreign_writes();
        let address = self.address_quota(request.channel, request.endpoint, &request.origin);
        if let Some(refused) = self.refuse_early(address.as_ref(), now, foreign_writes) {
            return refused;
        }
        let flow = self.clone().send_code(request, address, now, foreign_writes);
        self.run(flow).await.unwrap_or_else(|died| Limited::free(Err(died)))
    }

    async fn send_code(
        self: Arc<Self>,
        request: CodeRequest,
        address: Option<AddressQuota>,
        now: Timestamp,
        foreign_writes: u64,
    ) -> Limited<Sent> {
        let sender = self.sender(request.channel);
        let place = sender.reserve();
        let patience = sender.deadline();
        let otp = &self.policy().otp;
        let actor = self.actor(now, request.channel, &request.phone, &request.origin);
        let code = random::code(&*self.parts.random, otp.length);
        let ticket = self.flights.join(request.channel, &request.phone);
        let opening = Opening {
            request: request.clone(),
            actor: actor.clone(),
            address: address.clone(),
            user_limit: self.policy().limits.for_phone(),
            failures: otp.failures(),
            cooldown: otp.resend_cooldown,
            ttl: otp.ttl,
            conceal: self.policy().conceal_accounts,
            code: code.clone(),
            keys: self.parts.keys.current().clone(),
            segments: sender.segments(),
            refused_place: place.as_ref().err().copied(),
            sending_since: now - patience,
            overlap: ticket.overlap(),
            role: self.policy().default_role.clone(),
            live_codes: otp.live_codes,
        };
        let Opened { address: address_state, user, intent, trail } =
            match self.parts.store.write(move |tx| opening.write(tx)).await {
                Ok(opened) => opened,
                Err(fault) => return Limited::free(Err(fault.into())),
            };
        trail.log();
        let quotas = address_state.into_iter().chain(user.filter(|_| request.proven.is_some())).collect();
        let result = match intent {
            Err(error) => {
                self.remember_refusal(address, address_state, now, foreign_writes);
                Err(error)
            }
            Ok(Intent::Follow(challenge)) => {
                drop(place);
                ticket.follow(challenge, patience).await
            }
            Ok(Intent::Test { challenge, is_new_user, expires_at }) => {
                self.flights.note(challenge);
                let result = Ok(Sent { is_new_user, expires_in: now.until(expires_at) });
                // Whoever finds it once the number is one no longer must not wait for it.
                ticket.land(challenge, &result);
                result
            }
            Ok(Intent::Lead { challenge, message, is_new_user, expires_at }) => {
                self.flights.note(challenge);
                let text = message.map(|id| TextMessage { id, to: request.phone.clone(), code, expires_at });
                let settlement = Settlement::new(&self, actor, request.phone, challenge, message);
                let sent = Sent { is_new_user, expires_in: now.until(expires_at) };
                self.lead(&ticket, place, text, settlement, sent).await
            }
        };
        Limited { quotas, result }
    }

    /// Sends the message, settles, and tells the followers.
    async fn lead(
        &self,
        ticket: &Ticket,
        place: Result<Box<dyn Slot>, Unavailable>,
        text: Option<TextMessage>,
        settlement: Settlement,
        sent: Sent,
    ) -> Result<Sent, AuthError> {
        let challenge = settlement.challenge;
        let outcome = match (text, place) {
            (None, _) => {
                tokio::time::sleep(self.sends.draw(&*self.parts.random)).await;
                None
            }
            (Some(text), Ok(place)) => {
                let watch = Stopwatch::start();
                let outcome = place.send(text).await;
                if matches!(outcome, SendOutcome::Accepted(_)) {
                    self.sends.note(watch.elapsed());
                }
                Some(outcome)
            }
            (Some(_), Err(_)) => Some(SendOutcome::Refused(Failure {
                reason: FailureReason::Delivery,
                code: None,
                detail: "there was no place at the sender".to_owned(),
            })),
        };
        let result = match &outcome {
            None | Some(SendOutcome::Accepted(_)) => Ok(sent),
            Some(SendOutcome::Unknown(failure) | SendOutcome::Refused(failure)) => {
                Err(failure.reason.clone().into())
            }
        };
        let reached = outcome.as_ref().map(SendOutcome::state);
        let settled_at = self.parts.clock.now();
        match self.parts.store.write(move |tx| settlement.write(tx, outcome, settled_at)).await {
            Ok(trail) => {
                trail.log();
                if let Some(state) = reached {
                    self.parts.metrics.message_reached(state.as_str());
                }
            }
            // The code is good from write#1 on, and what was sent was sent: upkeep settles the row later.
            Err(fault) => tracing::error!(%fault, challenge = challenge.0, "a send could not be settled"),
        }
        ticket.land(challenge, &result);
        result
    }
}

impl Opening {
    /// write#1: spends, writes the challenge as *sending* and the intent of its message, or says why not.
    fn write(self, tx: &mut dyn Tx) -> Stored<Opened> {
        let mut opened =
            Opened { address: None, user: None, intent: Err(AuthError::Internal), trail: Trail::default() };
        opened.intent = said(self.decide(tx, &mut opened))?;
        Ok(opened)
    }

    /// First fault wins, in the order of the contract.
    fn decide(&self, tx: &mut dyn Tx, opened: &mut Opened) -> Result<Intent, Stop> {
        let now = self.actor.at;
        let (channel, phone) = (self.request.channel, &self.request.phone);
        let user = tx.user_by_phone(phone)?;
        // The token was read with what memory knew: its user may be gone or have another number by now.
        if let Some(bearer) = self.request.proven
            && user.as_ref().is_none_or(|user| user.id != bearer)
        {
            return Err(AuthError::TokenInvalid.into());
        }
        quota::spend_address(tx, &mut opened.trail, &self.actor, self.address.as_ref(), &mut opened.address)?;
        let disabled = user.as_ref().is_some_and(|user| !user.is_active);
        let concealed = disabled && self.conceal && self.request.proven.is_none();
        if disabled && !concealed {
            return Err(AuthError::AccountDisabled.into());
        }
        quota::failures_left(tx, &mut opened.trail, &self.actor, channel, phone.as_str(), &self.failures)?;
        if channel == Channel::Production
            && !concealed
            && let Some(number) = tx.test_number(phone)?.filter(|number| number.is_good(now))
        {
            return Ok(self.open_for_test(tx, opened, user.as_ref(), &number)?);
        }
        let newest = tx.challenges(channel, phone, 1)?.into_iter().next();
        opened.user = quota::peek(tx, Quota::User(channel), &self.user_limit, phone.as_str(), now)?;
        let is_in_flight = |newest: &Challenge| {
            let sending = newest.state == ChallengeState::Sending && newest.created_at > self.sending_since;
            sending || self.overlap.holds(newest.id)
        };
        if let Some(newest) = newest.as_ref().filter(|newest| is_in_flight(newest)) {
            return Ok(Intent::Follow(newest.id));
        }
        let spend = self.spend_users_unit(tx, opened, newest.as_ref())?;
        let hash = |id| self.code.hash(&self.keys, id, phone);
        let challenge = tx.insert_challenge(self.challenge(spend), &hash)?;
        let message = if concealed {
            None
        } else {
            Some(tx.insert_message(challenge.id, phone, self.segments, now)?)
        };
        let mut line = self.actor.did(AuditEvent::CodeRequested);
        line.user = user.as_ref().map(|user| user.id);
        opened.trail.add(tx, line)?;
        Ok(Intent::Lead {
            challenge: challenge.id,
            message,
            is_new_user: self.says_new(user.as_ref()),
            expires_at: challenge.expires_at,
        })
    }

    /// Opens the challenge of a test number: it buys no SMS, so it costs no unit and needs no place at the sender. It holds
    /// the number's hash, which is that of no challenge's code: verify asks the number itself while this one is alive.
    fn open_for_test(
        &self,
        tx: &mut dyn Tx,
        opened: &mut Opened,
        user: Option<&User>,
        number: &TestNumber,
    ) -> Stored<Intent> {
        let challenge = tx.insert_challenge(self.challenge(None), &|_| number.hash.clone())?;
        let (id, expires_at) = (challenge.id, challenge.expires_at);
        accept(tx, challenge, self.live_codes)?;
        let is_new_user = self.says_new(user);
        let user = ensure_user(tx, &mut opened.trail, &self.actor, &self.request.phone, &self.role)?;
        opened.trail.add(tx, self.actor.did(AuditEvent::CodeRequested).user(user.id).detail(TEST_NUMBER))?;
        Ok(Intent::Test { challenge: id, is_new_user, expires_at })
    }

    fn challenge(&self, spend: Option<SpendId>) -> NewChallenge {
        NewChallenge {
            channel: self.request.channel,
            phone: self.request.phone.clone(),
            created_at: self.actor.at,
            expires_at: self.actor.at + self.ttl,
            spend,
        }
    }

    fn says_new(&self, user: Option<&User>) -> bool {
        !self.conceal && user.is_none_or(|user| !user.phone_verified)
    }

    /// The user's quota, the pause between two codes, and whether there is a place at the sender: nothing is spent
    /// unless all three agree.
    fn spend_users_unit(
        &self,
        tx: &mut dyn Tx,
        opened: &mut Opened,
        newest: Option<&Challenge>,
    ) -> Result<Option<SpendId>, Stop> {
        let now = self.actor.at;
        let (quota, subject) = (Quota::User(self.request.channel), self.request.phone.as_str());
        if let Some(QuotaState { remaining: 0, reset, .. }) = opened.user {
            return Err(quota::refuse(tx, &mut opened.trail, &self.actor, quota, subject, reset)?.into());
        }
        if let Some(newest) = newest.filter(|newest| newest.state != ChallengeState::Void) {
            let wait = now.until(newest.created_at + self.cooldown);
            if !wait.is_zero() {
                return Err(AuthError::RateLimited(wait).into());
            }
        }
        if let Some(unavailable) = self.refused_place {
            return Err(AuthError::from(unavailable).into());
        }
        match quota::spend(tx, quota, &self.user_limit, subject, now)? {
            Spent::Off => Ok(None),
            Spent::Unit(spend, state) => {
                opened.user = Some(state);
                Ok(Some(spend))
            }
            Spent::Refused(state) => {
                Err(quota::refuse(tx, &mut opened.trail, &self.actor, quota, subject, state.reset)?.into())
            }
        }
    }
}
