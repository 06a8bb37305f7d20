//! One message, from its reserved place to its outcome.

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use tokio::sync::OwnedSemaphorePermit;
use tracing::{Instrument as _, Span};

use super::Shared;
use super::answer::Judgement;
use super::breaker::{Change, Permit};
use super::client::{self, Reply, RetryAfter};
use super::pace::Turn;
use super::settings::Sender;
use crate::clock::Stopwatch;
use crate::sms::{Failure, FailureReason, SendOutcome, Slot, TextMessage};

/// The pause before a second attempt where Twilio names none: about the time of one call, of which another one ends.
const PAUSE: Duration = Duration::from_millis(500);

/// The longest `Retry-After` that is waited for: a person holds the phone.
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// Twilio's bounds of `ValidityPeriod`, in seconds.
const LONGEST_VALIDITY: u64 = 36_000;

/// A reserved place: the breaker is closed, the message is one of those in flight, and its turn is fixed.
pub(super) struct TwilioSlot {
    pub(super) shared: Arc<Shared>,
    pub(super) permit: Permit,
    /// One of the sends that may be on their way at once.
    pub(super) in_flight: OwnedSemaphorePermit,
    /// When it may go, where the sender is paced.
    pub(super) turn: Option<Turn>,
}

impl Slot for TwilioSlot {
    /// The send runs in a task of its own: if the caller goes away, it still ends, and only then frees its place.
    fn send(self: Box<Self>, message: TextMessage) -> BoxFuture<'static, SendOutcome> {
        async move {
            let sending = tokio::spawn(self.run(message).in_current_span());
            sending.await.unwrap_or_else(|_| {
                tracing::error!(target: "freshk::sms", page = true, "the sending task panicked");
                SendOutcome::Unknown(delivery("the sending task panicked"))
            })
        }
        .boxed()
    }
}

impl TwilioSlot {
    async fn run(self: Box<Self>, message: TextMessage) -> SendOutcome {
        let Self { shared, permit, in_flight, turn } = *self;
        if let Some(turn) = turn {
            tokio::time::sleep(shared.clock.now().until(turn.take())).await;
        }
        let Some(reply) = shared.exchange(&message).await else {
            let failure = delivery("the code expired before its message could be sent");
            tracing::warn!(target: "freshk::sms", message_id = message.id.0, phone = message.to.masked(), detail = failure.detail, "SMS not sent");
            return SendOutcome::Refused(failure);
        };
        let judgement = reply.judge(shared.settings.sender.number());
        let change = permit.report(judgement.health);
        drop(in_flight);
        shared.log(&message, &judgement, change);
        judgement.outcome
    }
}

impl Shared {
    /// Sends, a second time if the first surely was not processed; `None` if the code expired before anything went out.
    async fn exchange(&self, message: &TextMessage) -> Option<Reply> {
        let watch = Stopwatch::start();
        let first = self.attempt(message, None).await?;
        let Some(pause) = pause_before_another(&first) else { return Some(first) };
        let left = self.settings.timeout.saturating_sub(watch.elapsed() + pause);
        // An attempt that could not end would turn a sure failure into an unknown one.
        if left < self.settings.connect_timeout {
            return Some(first);
        }
        tokio::time::sleep(pause).await;
        Some(self.attempt(message, Some(left)).await.unwrap_or(first))
    }

    async fn attempt(&self, message: &TextMessage, left: Option<Duration>) -> Option<Reply> {
        let form = self.form(message)?;
        let (client, span) = (Arc::clone(&self.client), Span::current());
        let posting = tokio::task::spawn_blocking(move || span.in_scope(|| client.post(&form, left)));
        Some(posting.await.unwrap_or_else(|_| Reply::Lost("the sending thread panicked".to_owned())))
    }

    /// The request's form; `None` if the code would arrive dead.
    ///
    /// What is not in it: `SmartEncoded`, since the text is held to GSM-7; `ContentRetention` and `AddressRetention`,
    /// which Twilio grants to some accounts only and refuses to all others; `RiskCheck` and `ProvideFeedback`, whose
    /// defaults are what we want.
    fn form(&self, message: &TextMessage) -> Option<String> {
        let now = self.clock.now();
        let left = now.until(message.expires_at);
        let validity = left.as_secs().min(LONGEST_VALIDITY);
        if validity == 0 {
            return None;
        }
        let (validity, callback) = (validity.to_string(), self.callback(message));
        let text = message.body(now);
        let sender = match &self.settings.sender {
            Sender::From(number) => ("From", number.as_str()),
            Sender::MessagingService(sid) => ("MessagingServiceSid", sid.as_str()),
        };
        let mut pairs = vec![
            ("To", message.to.as_str()),
            sender,
            ("Body", text.as_str()),
            ("ValidityPeriod", validity.as_str()),
        ];
        pairs.extend(callback.as_deref().map(|url| ("StatusCallback", url)));
        Some(client::form(&pairs))
    }

    /// Our own number for the message goes along: the callback finds it even where the answer, and with it Twilio's SID,
    /// was lost.
    fn callback(&self, message: &TextMessage) -> Option<String> {
        let url = self.settings.status_callback.as_deref()?;
        let joint = if url.contains('?') { '&' } else { '?' };
        Some(format!("{url}{joint}message={}", message.id))
    }
}

impl Shared {
    /// The one place that logs what became of a message; never its text, its code or the whole number.
    fn log(&self, message: &TextMessage, judgement: &Judgement, change: Change) {
        let (id, phone) = (message.id.0, message.to.masked());
        if change == Change::Closed {
            tracing::info!(target: "freshk::sms", "Twilio answers again: messages are sent as before");
        }
        let (failure, unknown) = match &judgement.outcome {
            SendOutcome::Accepted(accepted) => {
                tracing::debug!(target: "freshk::sms", message_id = id, phone, sid = accepted.sid, "SMS accepted");
                return;
            }
            SendOutcome::Unknown(failure) => (failure, true),
            SendOutcome::Refused(failure) => (failure, false),
        };
        let (code, detail) = (failure.code, failure.detail.as_str());
        if change == Change::Opened {
            let seconds = self.settings.breaker_cooldown.as_secs();
            tracing::error!(target: "freshk::sms", message_id = id, phone, code, unknown, breaker = "opened", page = true, detail, "SMS failed, and for {seconds} s no message is sent: the breaker opened for the cause in detail");
            return;
        }
        let country = (failure.reason == FailureReason::CountryNotAllowed).then(|| message.to.calling_code());
        let new_country = country.is_some() && self.countries.should_tell(&message.to, self.clock.now());
        if judgement.page || new_country {
            tracing::error!(target: "freshk::sms", message_id = id, phone, country, code, unknown, page = true, detail, "SMS failed");
        } else {
            tracing::warn!(target: "freshk::sms", message_id = id, phone, country, code, unknown, page = false, detail, "SMS failed");
        }
    }
}

/// How long to wait before trying again; `None` if that may buy a second message, or would not help.
fn pause_before_another(reply: &Reply) -> Option<Duration> {
    match reply {
        Reply::Unsent(_) => Some(PAUSE),
        Reply::Answered(answer) if answer.is_throttling() => match answer.retry_after {
            None => Some(PAUSE),
            Some(RetryAfter::Seconds(seconds)) => {
                Some(Duration::from_secs(seconds)).filter(|pause| *pause <= LONGEST_PAUSE)
            }
            Some(RetryAfter::Other) => None,
        },
        Reply::Answered(_) | Reply::Lost(_) => None,
    }
}

fn delivery(detail: &str) -> Failure {
    Failure { reason: FailureReason::Delivery, code: None, detail: detail.to_owned() }
}
