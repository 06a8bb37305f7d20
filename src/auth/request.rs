//! Asking for a code: intent, send, settle. No transaction is open while the SMS is under way.

use std::sync::Arc;
use std::time::Duration;

use super::intent::{Decided, Intent, IntentWrite};
use super::quota::{AddressQuota, Limited};
use super::settle::{Outcome, Settlement};
use super::single_flight::Participant;
use super::{Auth, AuthError, Origin, Sent};
use crate::clock::Stopwatch;
use crate::domain::message::{MessageState, Unsent};
use crate::domain::quota::Endpoint;
use crate::domain::{Mode, PhoneNumber, Timestamp, UserId};
use crate::random;
use crate::sms::{Failure, FailureReason, SendOutcome, Slot, TextMessage, Unavailable};

/// A call of `request/` or `resend/`, parsed.
#[derive(Clone, Debug)]
pub struct CodeRequest {
    /// Production or testing.
    pub mode: Mode,
    /// The endpoint whose quota it costs.
    pub endpoint: Endpoint,
    /// Whom the code goes to.
    pub phone: PhoneNumber,
    /// The user who has proven the number already, for `resend/`.
    pub proven: Option<UserId>,
    /// Where it came from.
    pub origin: Origin,
}

impl Auth {
    /// Sends a code, for `request/`.
    pub async fn request(self: &Arc<Self>, request: CodeRequest) -> Limited<Sent> {
        self.parts.metrics.code_requested(request.mode.as_str());
        let now = self.parts.clock.now();
        let foreign_writes = self.parts.store.foreign_writes();
        let address = self.address_quota(request.mode, request.endpoint, &request.origin);
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
        let CodeRequest { mode, phone, proven, origin, .. } = request;
        let sender = self.sender(mode);
        let text = self.parts.text.clone();
        let segments = text.segments(self.policy().otp.length, self.policy().otp.ttl);
        let place = sender.reserve(segments);
        let patience = sender.deadline();
        let actor = self.actor(now, mode, &phone, &origin);
        let code = random::code(&*self.parts.random, self.policy().otp.length);
        // One who has proven the number may know what becomes of it.
        let conceal = self.policy().conceal_accounts && proven.is_none();
        let participant = self.in_flight.join(mode, &phone);
        let write = IntentWrite {
            mode,
            phone: phone.clone(),
            proven,
            conceal,
            actor: actor.clone(),
            address: address.clone(),
            code: code.clone(),
            keys: self.parts.keys.current().clone(),
            place: place.as_ref().map(|_| segments).map_err(|unavailable| *unavailable),
            overlap: participant.overlap(),
            sending_since: now - patience,
            unsettled: self.settle_late(mode, &phone).await,
            policy: self.parts.policy.clone(),
        };
        let decided = match self.parts.store.write(move |tx| write.write(tx)).await {
            Ok(decided) => decided,
            Err(fault) => return Limited::free(Err(fault.into())),
        };
        let Decided { address: address_state, user, intent, unsent, trail } = decided;
        trail.log();
        if unsent {
            self.parts.metrics.message_reached(Unsent::STATE);
        }
        let quotas = address_state.into_iter().chain(user.filter(|_| proven.is_some())).collect();
        let result = match intent {
            Err(error) => {
                self.remember_refusal(address, address_state, now, foreign_writes);
                Err(error)
            }
            Ok(Intent::Follow(challenge)) => {
                drop(place);
                participant.follow(challenge, patience).await
            }
            Ok(Intent::Test { challenge, is_new_user, expires_at }) => {
                self.in_flight.note(challenge);
                let result = Ok(Sent { is_new_user, expires_in: now.until(expires_at) });
                // Whoever finds it once the number is one no longer must not wait for it.
                participant.publish(challenge, &result);
                result
            }
            Ok(Intent::Lead { challenge, message, is_new_user, expires_at }) => {
                self.in_flight.note(challenge);
                let sms = message.map(|id| TextMessage { id, to: phone.clone(), code, text, expires_at });
                let settlement =
                    Settlement { challenge, actor, phone, message, policy: self.parts.policy.clone() };
                let sent = Sent { is_new_user, expires_in: now.until(expires_at) };
                self.lead(&participant, place, sms, settlement, sent).await
            }
        };
        Limited { quotas, result: result.map_err(|error| if conceal { error.concealed() } else { error }) }
    }

    /// Sends the message, settles, and tells the followers.
    async fn lead(
        &self,
        participant: &Participant,
        place: Result<Box<dyn Slot>, Unavailable>,
        text: Option<TextMessage>,
        settlement: Settlement,
        sent: Sent,
    ) -> Result<Sent, AuthError> {
        let challenge = settlement.challenge;
        let outcome = match (text, place) {
            (None, _) => {
                let expected = self.sends.expect(&settlement.phone, &*self.parts.random);
                tokio::time::sleep(expected.took).await;
                Outcome::Withheld(expected.outcome)
            }
            (Some(text), Ok(place)) => {
                self.parts.metrics.message_reached(MessageState::Intended.as_str());
                let watch = Stopwatch::start();
                let outcome = place.send(text).await;
                let took = watch.elapsed();
                self.sends.note(&settlement.phone, took, &outcome);
                self.count_send(&outcome, took);
                Outcome::Sent(outcome)
            }
            (Some(_), Err(_)) => Outcome::Sent(SendOutcome::Refused(Failure {
                reason: FailureReason::Delivery,
                code: None,
                detail: "there was no place at the sender".to_owned(),
            })),
        };
        let result = outcome.refusal().map_or(Ok(sent), Err);
        self.settle(settlement, outcome).await;
        participant.publish(challenge, &result);
        result
    }

    fn count_send(&self, outcome: &SendOutcome, took: Duration) {
        let metrics = &self.parts.metrics;
        metrics.message_sent(took);
        match outcome {
            SendOutcome::Accepted(accepted) => metrics.segments_bought(accepted.segments.unwrap_or(1)),
            SendOutcome::Unknown(failure) | SendOutcome::Refused(failure) => {
                metrics.message_failed(failure.code);
            }
        }
    }
}
