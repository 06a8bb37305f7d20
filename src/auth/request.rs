//! Asking for a code, whatever for: intent, send, settle. No transaction is open while the SMS is under way.

use std::pin::pin;
use std::sync::Arc;

use super::calls::CallPayment;
use super::gate::{AddressGate, Call};
use super::intent::{CodeIntent, Intent};
use super::quota::WithQuotas;
use super::second_send::Again;
use super::settle::Settlement;
use super::single_flight::Flight;
use super::{Auth, AuthError, CodeRequest, Sent};
use crate::domain::Mode;
use crate::domain::clock::Times;
use crate::random;
use crate::sms::{TextKind, TextMessage};

impl Auth {
    /// Sends a code.
    pub async fn request(self: &Arc<Self>, request: CodeRequest) -> WithQuotas<Sent> {
        self.parts.metrics.code_requested(request.mode.as_str());
        let times = self.parts.clock.read();
        let now = times.now;
        if !self.policy().phones.sends_to(&request.phone) {
            return WithQuotas::none(Err(AuthError::CountryNotAllowed));
        }
        let CodeRequest { mode, endpoint, ref origin, .. } = request;
        let call = Call { mode, endpoint, address: origin.address, now };
        self.gated(call, |auth, gate| auth.send_code(request, gate, times)).await
    }

    async fn send_code(
        self: Arc<Self>,
        request: CodeRequest,
        gate: Arc<AddressGate>,
        times: Times,
    ) -> WithQuotas<Sent> {
        let now = times.now;
        let device = self.calling_device(request.device_token.as_ref(), &request.phone, &times).await;
        let device = match device {
            Ok(device) => device,
            Err(error) => return WithQuotas::none(Err(error.into())),
        };
        let (senders, settings) = (self.senders(request.mode), self.settings());
        let guard = match self.guard(&request, &settings.policy, now).await {
            Ok(guard) => guard,
            Err(error) => return WithQuotas::none(Err(error.into())),
        };
        let CodeRequest { mode, purpose, ref phone, channel, .. } = request;
        let (text, segments) = settings.code_text(&request.languages);
        let patience = senders.deadline();
        let flight = Flight { mode, phone: phone.clone(), purpose, by_device: device.is_some(), channel };
        let participant = self.in_flight.join(flight);
        let actor = Arc::new(self.actor(now, request.mode, &request.phone, &request.origin));
        let intent = Arc::new(CodeIntent {
            gate,
            device,
            code: random::code(&*self.parts.random, settings.policy.otp.length),
            delivery: (mode == Mode::Production).then(|| random::delivery_id(&*self.parts.random)),
            senders: senders.clone(),
            segments,
            guard,
            overlap: participant.overlap,
            arrived: now,
            patience,
            unsettled: self.settle_late(request.mode, &request.phone).await,
            run: self.parts.run.clone(),
            keys: settings.keys.clone(),
            policy: settings.policy.clone(),
            request,
        });
        let (decided, next) = match self.intend(actor.clone(), intent.clone()).await {
            Ok(written) => written,
            Err(error) => return WithQuotas::none(Err(error.into())),
        };
        let result = match next {
            Err(error) => Err(error),
            Ok(Intent::Follow(challenge, delivery)) => {
                participant.follow(challenge, delivery, patience).await
            }
            Ok(Intent::FollowElsewhere(challenge, sent)) => {
                self.follow_elsewhere(challenge, sent, patience).await
            }
            // Whoever finds its challenge once the number is a test number no longer must not wait for it.
            Ok(Intent::Test(challenge, sent)) => participant.lead(challenge, async { Ok(sent) }).await,
            Ok(Intent::Lead(challenge, place, message, sent)) => {
                let phone = &intent.request.phone;
                let sms = |id| TextMessage {
                    id,
                    to: phone.clone(),
                    code: intent.code.clone(),
                    text,
                    kind: TextKind::Code,
                    expires_at: now + sent.expires_in,
                    patience: None,
                };
                let text = message.map(sms);
                let (keys, policy) = (intent.keys.clone(), intent.policy.clone());
                let settlement =
                    Settlement { challenge, actor, phone: phone.clone(), purpose, message, keys, policy };
                let paying = CallPayment { auth: self.clone(), settlement: settlement.clone() };
                // Pinned where they are: a future that is handed on has room in each that takes it.
                let sending = pin!(self.send(Ok(place), text.clone(), phone, &paying));
                let leading = pin!(async {
                    let outcome = sending.await;
                    let result = outcome.answer(sent);
                    if let Some(text) = text.filter(|_| mode == Mode::Production) {
                        let (settlement, intent) = (settlement.clone(), intent.clone());
                        let again = Again { settlement, intent, text, segments };
                        self.expect_report(&outcome, again);
                    }
                    if mode == Mode::Production {
                        self.ask_after(message, &outcome);
                    }
                    self.settle(settlement, outcome).await;
                    result
                });
                participant.lead(challenge, leading).await
            }
        };
        let conceals = intent.conceals_past();
        let user = decided.user.filter(|_| intent.request.proven.is_some());
        WithQuotas {
            quotas: decided.address.into_iter().chain(user).collect(),
            result: result.map_err(|error| if conceals { error.concealed() } else { error }),
        }
    }
}
