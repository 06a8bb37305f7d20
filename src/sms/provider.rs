//! A provider behind bounds of its own: one message, from its reserved place to its outcome, and what the log tells of it.

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use tracing::Instrument as _;

use super::admission::{Admission, Bounds, Place};
use super::breaker::{Change, Health};
use super::countries::Countries;
use super::{Failure, FailureReason, SendOutcome, Slot, SmsSender, TextMessage, Unavailable};
use crate::clock::{Clock, Stopwatch};

/// What the threads are called on which a provider's calls wait.
pub(super) const THREADS: &str = "freshk-sms";

/// A reply, understood.
#[derive(Debug)]
pub(super) struct Judgement {
    /// What became of the message.
    pub(super) outcome: SendOutcome,
    /// What it says about the next.
    pub(super) health: Health,
    /// Whether the operator must act, or no code will be sent any more.
    pub(super) page: bool,
}

/// Hands single messages to whoever sends them.
pub(super) trait Provider: Send + Sync + 'static {
    /// Its name in logs.
    fn name(&self) -> &str;

    /// Hands over one message; `None` if its code expired before anything went out.
    fn exchange<'p>(&'p self, message: &'p TextMessage) -> BoxFuture<'p, Option<Judgement>>;
}

/// Attempts to hand a message over, and once more after the pause that `pause` gives where the first attempt surely was not
/// processed; `None` if the code expired before anything went out. An attempt is given what is left of the time, where that is not
/// all: `patience` bounds both together, as does the second of the two times, of which the first is that for connecting.
pub(super) async fn at_most_twice<R, A>(
    patience: Option<Duration>,
    (connect, timeout): (Duration, Duration),
    pause: impl Fn(&R) -> Option<Duration>,
    attempt: impl Fn(Option<Duration>) -> A,
) -> Option<R>
where
    A: Future<Output = Option<R>>,
{
    let watch = Stopwatch::start();
    let whole = patience.map_or(timeout, |patience| patience.min(timeout));
    let first = attempt(patience.map(|_| whole)).await?;
    let Some(pause) = pause(&first) else { return Some(first) };
    let left = whole.saturating_sub(watch.elapsed() + pause);
    // An attempt that could not end would turn a sure failure into an unknown one.
    if left < connect {
        return Some(first);
    }
    tokio::time::sleep(pause).await;
    Some(attempt(Some(left)).await.unwrap_or(first))
}

/// Sends through a provider, within bounds.
pub(super) struct BoundedSender<P> {
    shared: Arc<Shared<P>>,
}

struct Shared<P> {
    provider: P,
    admission: Admission,
    countries: Countries,
    clock: Arc<dyn Clock>,
}

impl<P: Provider> BoundedSender<P> {
    /// Prepares the sending.
    pub(super) fn new(provider: P, bounds: Bounds, clock: Arc<dyn Clock>) -> Self {
        let admission = Admission::new(bounds, Arc::clone(&clock));
        Self { shared: Arc::new(Shared { provider, admission, countries: Countries::default(), clock }) }
    }
}

impl<P: Provider> SmsSender for BoundedSender<P> {
    fn reserve(&self, segments: u32) -> Result<Box<dyn Slot>, Unavailable> {
        let place = self.shared.admission.reserve(segments)?;
        Ok(Box::new(BoundedSlot { shared: Arc::clone(&self.shared), place }))
    }

    fn deadline(&self) -> Duration {
        self.shared.admission.deadline()
    }

    fn is_breaker_open(&self) -> bool {
        self.shared.admission.is_breaker_open()
    }

    fn share(&self, among: u32) {
        self.shared.admission.share(among);
    }
}

struct BoundedSlot<P> {
    shared: Arc<Shared<P>>,
    place: Place,
}

impl<P: Provider> Slot for BoundedSlot<P> {
    /// The send runs in a task of its own: if the caller goes away, it still ends, and only then frees its place.
    fn send(self: Box<Self>, message: TextMessage) -> BoxFuture<'static, SendOutcome> {
        async move {
            let sending = tokio::spawn(self.run(message).in_current_span());
            sending.await.unwrap_or_else(|_| {
                tracing::error!(target: "freshk::sms", page = true, "the sending task panicked");
                SendOutcome::Unknown(Failure::delivery("the sending task panicked"))
            })
        }
        .boxed()
    }
}

impl<P: Provider> BoundedSlot<P> {
    async fn run(self: Box<Self>, message: TextMessage) -> SendOutcome {
        let (Self { shared, mut place }, mut message) = (*self, message);
        let waited = Stopwatch::start();
        place.turn().await;
        message.patience = message.patience.map(|patience| patience.saturating_sub(waited.elapsed()));
        if message.patience.is_some_and(|patience| patience.is_zero()) {
            return SendOutcome::Refused(Failure::delivery("no time was left when its turn came"));
        }
        let Some(judgement) = shared.provider.exchange(&message).await else {
            let failure = Failure::delivery("the code expired before its message could be sent").finally();
            tracing::warn!(target: "freshk::sms", message_id = message.id.0, phone = message.to.masked(), detail = failure.detail, "SMS not sent");
            return SendOutcome::Refused(failure);
        };
        let change = place.report(judgement.health);
        shared.log(&message, &judgement, change);
        judgement.outcome
    }
}

impl<P: Provider> Shared<P> {
    /// The one place that logs what became of a message; never its text, its code or the whole number.
    fn log(&self, message: &TextMessage, judgement: &Judgement, change: Change) {
        let (id, phone, sender) = (message.id.0, message.to.masked(), self.provider.name());
        if change == Change::Closed {
            tracing::info!(target: "freshk::sms", sender, "{sender} answers again: messages are sent as before");
        }
        let (failure, unknown) = match &judgement.outcome {
            SendOutcome::Accepted(accepted) => {
                tracing::debug!(target: "freshk::sms", message_id = id, phone, sender, sid = accepted.sid, "SMS accepted");
                return;
            }
            SendOutcome::Unknown(failure) => (failure, true),
            SendOutcome::Refused(failure) => (failure, false),
        };
        let (code, detail) = (failure.code, failure.detail.as_str());
        if change == Change::Opened {
            let seconds = self.admission.cooldown().as_secs();
            tracing::error!(target: "freshk::sms", message_id = id, phone, sender, code, unknown, breaker = "opened", page = true, detail, "SMS failed, and for {seconds} s no message is sent by {sender}: the breaker opened for the cause in detail");
            return;
        }
        let country = (failure.reason == FailureReason::CountryNotAllowed).then(|| message.to.calling_code());
        let new_country = country.is_some() && self.countries.should_tell(&message.to, self.clock.now());
        if judgement.page || new_country {
            tracing::error!(target: "freshk::sms", message_id = id, phone, sender, country, code, unknown, page = true, detail, "SMS failed");
        } else {
            tracing::warn!(target: "freshk::sms", message_id = id, phone, sender, country, code, unknown, page = false, detail, "SMS failed");
        }
    }
}
