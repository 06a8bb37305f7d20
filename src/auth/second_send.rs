//! The same code by the next sender, where delivery reports say nothing good in time.
//!
//! The code is known to the process that drew it, and to nobody else, so that the process keeps it in memory until then. What
//! an ended process had in mind is not sent again: the person can ask for another code.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::audited::AuditedTx;
use super::devices::{guesses, subject};
use super::error::{FlowError, commit_refusal};
use super::intent::CodeIntent;
use super::lookup::good_test_number;
use super::purchase::{Bought, Load, cancel_second};
use super::quota::Balance;
use super::settle::{Outcome, Settlement, accept, note_outcome};
use super::{Auth, AuthError};
use crate::domain::audit::Actor;
use crate::domain::guard::FIRST_BLOCK;
use crate::domain::message::{MessageState, NewMessage};
use crate::domain::quota::Quota;
use crate::domain::{Challenge, ChallengeState, MessageId, Mode, Purpose, Timestamp, Via};
use crate::sms::route::{Always, Need, Routed};
use crate::sms::{SendOutcome, TextMessage};
use crate::storage::guard::Payment;
use crate::storage::{Locks, StoreResult};
use crate::sync::lock;

/// How many codes wait at most; further ones are sent once alone.
const MOST: usize = 10_000;

/// With less life than this a code is not sent again.
const LEAST_LIFE: Duration = Duration::from_secs(30);

/// Codes that wait for a good report, by when their time is up and the number of their message.
#[derive(Default)]
pub(super) struct Waiting(pub(super) Mutex<BTreeMap<(Timestamp, MessageId), Again>>);

/// A code that is to be sent again, unless something good is reported.
#[derive(Clone)]
pub(super) struct Again {
    pub(super) settlement: Settlement,
    /// Whose request it was; what the person asked for it to come by, and what the guard knew.
    pub(super) intent: Arc<CodeIntent>,
    pub(super) text: TextMessage,
    pub(super) segments: u32,
}

impl Again {
    fn need(&self) -> Need<'_> {
        Need { to: &self.text.to, segments: self.segments, channel: self.intent.request.channel }
    }
}

impl Auth {
    /// Has a code wait for a report of its message, where another sender takes over without one.
    pub(super) fn expect_report(&self, outcome: &Outcome, again: Again) {
        let Outcome::Sent(Routed { outcome, via }) = outcome else { return };
        let may_arrive = matches!(outcome, SendOutcome::Accepted(_) | SendOutcome::Unknown(_));
        let Some(after) = self.senders(Mode::Production).patience_after(via, again.need()) else { return };
        let mut waiting = lock(&self.waiting.0);
        if may_arrive && waiting.len() < MOST {
            waiting.insert((self.parts.clock.now() + after, again.text.id), again);
        }
    }

    /// Sends the codes again whose time is up, each once and in a task of its own: one that takes long keeps nobody waiting. What is
    /// given waits for all of them, and need not be waited for.
    pub fn send_again(self: &Arc<Self>) -> impl Future<Output = ()> + use<> {
        let now = self.parts.clock.now();
        let due = {
            let mut waiting = lock(&self.waiting.0);
            let later = waiting.split_off(&(now, MessageId(i64::MAX)));
            std::mem::replace(&mut *waiting, later)
        };
        let sending: Vec<_> = due
            .into_values()
            .map(|again| {
                let (auth, to) = (self.clone(), again.text.to.masked());
                self.tasks.spawn(async move {
                    if let Err(error) = auth.send_one_again(again).await {
                        tracing::warn!(%error, phone = to, "a code could not be sent by the next sender");
                    }
                })
            })
            .collect();
        async move {
            for one in sending {
                // One that died has told of it.
                drop(one.await);
            }
        }
    }

    async fn send_one_again(self: Arc<Self>, again: Again) -> Result<(), AuthError> {
        let (first, to) = (again.text.id, again.text.to.clone());
        if !self.policy().phones.sends_to(&to) {
            return Ok(());
        }
        let id = again.settlement.challenge;
        let found =
            self.parts.store.read(move |view| Ok((view.challenge(id)?, view.message(first)?))).await?;
        let (Some(challenge), Some(before)) = found else { return Ok(()) };
        if !challenge.state.is_open() || before.state == MessageState::Delivered {
            return Ok(());
        }
        // What arrived since the last question needs no second message.
        self.ask_now(&before).await?;
        let senders = self.senders(Mode::Production);
        let Ok(Some(place)) = senders.reserve_after(&before.via, again.need()) else {
            tracing::warn!(phone = to.masked(), "no report came of a code, and the next sender has no place");
            return Ok(());
        };
        let at = self.parts.clock.now();
        let actor = Actor { at, ..Actor::clone(&again.settlement.actor) };
        let purpose = again.intent.request.purpose;
        let locks = Locks::none().phone(&to).users(purpose.change_of().as_ref());
        let (intending, via) = (again.clone(), place.via().clone());
        let intent = move |tx: &mut AuditedTx<'_>| {
            let mut bought = Bought::default();
            let intended = commit_refusal(intending.intend(tx, via.clone(), &mut bought))?;
            Ok((bought, intended))
        };
        let (bought, intended) = self.write(locks, actor.clone(), intent).await?;
        self.count_purchase(&bought);
        let (message, payment) = match intended {
            Ok(Some(intended)) => intended,
            Ok(None) => return Ok(()),
            Err(refusal) => {
                tracing::info!(?refusal, phone = to.masked(), "a code is not sent a second time");
                return Ok(());
            }
        };
        let text = TextMessage { id: message, ..again.text.clone() };
        let Outcome::Sent(routed) = self.send(Ok(place), Some(text), &to, &Always).await else {
            return Ok(());
        };
        let state = routed.outcome.state();
        let outcome = Outcome::Sent(routed.clone());
        let actor = Actor { at: self.parts.clock.now(), ..actor };
        let noting =
            move |tx: &mut AuditedTx<'_>| again.note(tx, (message, payment.as_ref()), routed.clone());
        self.write(Locks::none().phone(&to), actor, noting).await?;
        self.ask_after(Some(message), &outcome);
        self.parts.metrics.message_reached(state.as_str());
        Ok(())
    }
}

impl Again {
    /// Writes the second message as intended, and gives what it was paid with; `None` where the code needs none any more, or has had its
    /// second one. Whatever refuses another request of the person refuses it, but for the quota: the code has paid its unit.
    fn intend(
        &self,
        tx: &mut AuditedTx<'_>,
        via: Via,
        bought: &mut Bought,
    ) -> Result<Option<(MessageId, Option<Payment>)>, FlowError> {
        let Some(challenge) = tx.challenge(self.settlement.challenge)? else { return Ok(None) };
        let messages = tx.messages_of(challenge.id)?;
        let is_alone = messages.len() == 1;
        let has_arrived = messages.iter().any(|message| message.state == MessageState::Delivered);
        let lives = challenge.state.is_open() && tx.at() + LEAST_LIFE < challenge.expires_at;
        if !lives || has_arrived || !is_alone || !self.is_of_use(tx, &challenge)? {
            return Ok(None);
        }
        let payment = self.buy(tx, &challenge, &via, bought)?;
        let (challenge, to, segments, created_at) = (challenge.id, challenge.phone, self.segments, tx.at());
        let message = tx.insert_message(NewMessage { challenge, to, via, segments, created_at })?;
        Ok(Some((message, payment)))
    }

    /// Whether the code can still log somebody in: its user is active, and it takes guesses today.
    fn is_of_use(&self, tx: &mut AuditedTx<'_>, challenge: &Challenge) -> Result<bool, FlowError> {
        let CodeIntent { request, device, keys, policy, .. } = &*self.intent;
        let is_welcome = match challenge.purpose {
            Purpose::Login => tx.user_by_phone(&challenge.phone)?.is_none_or(|user| user.is_active),
            Purpose::PhoneChange(user) => tx.user(user)?.is_some_and(|user| user.is_active),
        };
        let is_test_number = good_test_number(&**tx, request.mode, &challenge.phone, tx.at())?.is_some();
        if !is_welcome
            || is_test_number
            || guesses(&**tx, challenge, device.as_ref())? >= policy.otp.max_attempts
        {
            return Ok(false);
        }
        let subject = subject(device.as_ref(), &challenge.phone, keys);
        let failures = Balance::read(tx, Quota::Failures(request.mode), &subject, &[policy.otp.failures()])?;
        Ok(failures.state().is_none_or(|state| !state.refused))
    }

    /// Has the guard judge the second message and the budgets pay for it; gives what they paid.
    fn buy(
        &self,
        tx: &mut AuditedTx<'_>,
        challenge: &Challenge,
        via: &Via,
        bought: &mut Bought,
    ) -> Result<Option<Payment>, FlowError> {
        let intent = &self.intent;
        let Some(guard) = &intent.guard else { return Ok(None) };
        let user = tx.user_by_phone(&challenge.phone)?;
        let is_known = intent.device.is_some() || intent.is_verified(tx, user.as_ref())?;
        bought.judge(tx, guard, is_known)?;
        // A block lets a message through to see it answered, and the row of the purchase is the first one's.
        if bought.is_probe() {
            bought.take_back(tx)?;
            return Err(AuthError::RateLimited(FIRST_BLOCK).into());
        }
        let load = Load { segments: self.segments, channel: via.channel };
        bought.pay(tx, guard, &intent.policy.budgets, load)?;
        Ok(bought.note_second(tx, guard, challenge.id)?)
    }

    fn note(
        &self,
        tx: &mut AuditedTx<'_>,
        (message, payment): (MessageId, Option<&Payment>),
        routed: Routed,
    ) -> StoreResult<()> {
        match routed.outcome {
            SendOutcome::Accepted(_) => {
                let challenge = tx.challenge(self.settlement.challenge)?;
                if let Some(challenge) =
                    challenge.filter(|challenge| challenge.state == ChallengeState::Unknown)
                {
                    accept(tx, challenge, self.settlement.policy.otp.live_codes)?;
                }
            }
            SendOutcome::Unknown(_) => {}
            SendOutcome::Refused(_) => {
                if let Some(payment) = payment {
                    cancel_second(tx, self.settlement.challenge, payment)?;
                }
            }
        }
        let line = note_outcome(tx, message, routed)?;
        tx.record(line);
        Ok(())
    }
}
