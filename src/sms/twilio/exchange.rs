//! One message handed to Twilio: its form, and a second attempt where the first surely was not processed.

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use tracing::Span;

use super::client::{Client, Reply, RetryAfter};
use super::form;
use super::settings::TwilioSettings;
use crate::clock::Clock;
use crate::sms::TextMessage;
use crate::sms::provider::{Judgement, Provider, THREADS, at_most_twice};
use crate::threads::Threads;

/// The pause before a second attempt where Twilio names none: about the time of one call, of which another one ends.
const PAUSE: Duration = Duration::from_millis(500);

/// The longest `Retry-After` that is waited for: a person holds the phone.
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// Twilio as a provider.
pub(super) struct Twilio {
    settings: TwilioSettings,
    client: Arc<Client>,
    threads: Threads,
    clock: Arc<dyn Clock>,
}

impl Twilio {
    /// Prepares the calls; nothing is connected.
    pub(super) fn new(settings: TwilioSettings, clock: Arc<dyn Clock>) -> Self {
        let threads = Threads::new(THREADS, settings.max_in_flight);
        Self { client: Arc::new(Client::new(&settings)), threads, settings, clock }
    }
}

impl Provider for Twilio {
    fn name(&self) -> &str {
        &self.settings.name
    }

    fn exchange<'p>(&'p self, message: &'p TextMessage) -> BoxFuture<'p, Option<Judgement>> {
        async move {
            let reply = self.reply(message).await?;
            Some(reply.judge(self.settings.sender.number()))
        }
        .boxed()
    }
}

impl Twilio {
    /// Sends, a second time if the first surely was not processed; `None` if the code expired before anything went out.
    async fn reply(&self, message: &TextMessage) -> Option<Reply> {
        let times = (self.settings.connect_timeout, self.settings.timeout);
        at_most_twice(message.patience, times, pause_before_another, |left| self.attempt(message, left)).await
    }

    async fn attempt(&self, message: &TextMessage, left: Option<Duration>) -> Option<Reply> {
        let form = form::write(&self.settings, message, self.clock.now())?;
        let (client, span) = (Arc::clone(&self.client), Span::current());
        let resource = self.settings.medium.resource();
        let posting = self.threads.run(move || span.in_scope(|| client.post(resource, &form, left)));
        Some(posting.await.unwrap_or_else(|_| Reply::Lost("the sending thread panicked".to_owned())))
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
