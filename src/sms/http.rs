//! Any provider, through a program of the operator's: a signed JSON POST (Standard Webhooks), and a word for an answer.

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use tracing::Span;
use ureq::http::{HeaderMap, HeaderValue, header};

use super::admission::Bounds;
use super::provider::{BoundedSender, Judgement, Provider, THREADS, at_most_twice};
use super::{Slot, SmsSender, TextMessage, Unavailable};
use crate::clock::Clock;
use crate::domain::Timestamp;
use crate::domain::webhook::{WebhookSecret, WebhookUrl};
use crate::outgoing;
use crate::outgoing::clients::Clients;
use crate::outgoing::post::{Posted, post};
use crate::threads::Threads;

mod answer;
pub mod report;

#[cfg(any(test, fuzzing))]
pub(crate) use answer::judge_answer;

/// What the operator configures of one such sender. `Debug` prints no secret.
#[derive(Clone, Debug)]
pub struct HttpSenderSettings {
    /// The sender's name in the configuration.
    pub name: String,
    /// Where messages are posted to.
    pub url: WebhookUrl,
    /// What signs them, and the reports that come back.
    pub secret: WebhookSecret,
}

/// For the lookup of the name, and again for connecting with TLS.
const CONNECT: Duration = Duration::from_secs(3);

/// For one message in all.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Messages that may be on their way at once.
pub const IN_FLIGHT: usize = 64;

/// What is read of an answer; the rest of a longer one is not, and it says nothing.
const ANSWER_CAP: u64 = 64 * 1024;
const HEAD_CAP: usize = 16 * 1024;

/// Bytes of each connection's two buffers.
const BUFFER: usize = 8 * 1024;

/// Connections rest no longer than this: one that was closed in the meantime would cost the message its certainty.
const MAX_IDLE: Duration = Duration::from_secs(5);

/// The pause before a second attempt where the first surely was not processed.
const PAUSE: Duration = Duration::from_millis(500);

const BREAKER_FAILURES: u32 = 5;
const BREAKER_COOLDOWN: Duration = Duration::from_secs(30);

/// Sends through a program of the operator's.
pub struct HttpSender(BoundedSender<Program>);

impl HttpSender {
    /// Prepares the sending; nothing is connected.
    pub fn new(settings: HttpSenderSettings, clock: Arc<dyn Clock>) -> Self {
        Self::with(settings, (CONNECT, TIMEOUT), clock)
    }

    /// The same with other times: for connecting, and for one message in all.
    pub fn with(
        settings: HttpSenderSettings,
        (connect, timeout): (Duration, Duration),
        clock: Arc<dyn Clock>,
    ) -> Self {
        let bounds = Bounds {
            breaker_failures: BREAKER_FAILURES,
            breaker_cooldown: BREAKER_COOLDOWN,
            max_in_flight: IN_FLIGHT,
            segments_per_second: 0,
            max_wait: Duration::ZERO,
            timeout,
        };
        let calls = outgoing::settings(connect, timeout)
            .https_only(settings.url.is_https())
            .max_response_header_size(HEAD_CAP)
            .input_buffer_size(BUFFER)
            .output_buffer_size(BUFFER)
            .max_idle_age(MAX_IDLE)
            .accept("application/json");
        let program = Program {
            settings,
            clients: Arc::new(Clients::new(calls)),
            threads: Threads::new(THREADS, IN_FLIGHT),
            clock: Arc::clone(&clock),
            connect,
            timeout,
        };
        Self(BoundedSender::new(program, bounds, clock))
    }
}

impl SmsSender for HttpSender {
    fn reserve(&self, segments: u32) -> Result<Box<dyn Slot>, Unavailable> {
        self.0.reserve(segments)
    }

    fn deadline(&self) -> Duration {
        self.0.deadline()
    }

    fn is_breaker_open(&self) -> bool {
        self.0.is_breaker_open()
    }
}

/// The operator's program.
struct Program {
    settings: HttpSenderSettings,
    clients: Arc<Clients>,
    threads: Threads,
    clock: Arc<dyn Clock>,
    connect: Duration,
    timeout: Duration,
}

impl Provider for Program {
    fn name(&self) -> &str {
        &self.settings.name
    }

    fn exchange<'p>(&'p self, message: &'p TextMessage) -> BoxFuture<'p, Option<Judgement>> {
        self.reply(message).map(|reply| reply.map(answer::judge)).boxed()
    }
}

impl Program {
    /// Sends, a second time if the first surely was not processed; `None` if the code expired before anything went out.
    async fn reply(&self, message: &TextMessage) -> Option<Posted> {
        let pause = |posted: &Posted| matches!(posted, Posted::Unsent(_)).then_some(PAUSE);
        let times = (self.connect, self.timeout);
        at_most_twice(message.patience, times, pause, |left| self.attempt(message, left)).await
    }

    async fn attempt(&self, message: &TextMessage, left: Option<Duration>) -> Option<Posted> {
        let now = self.clock.now();
        if now >= message.expires_at {
            return None;
        }
        let (body, key) = (body(message, now), idempotency_key(message));
        let headers = self.headers(&key, now, &body);
        let (clients, url, span) = (Arc::clone(&self.clients), self.settings.url.clone(), Span::current());
        let posting = self.threads.run(move || {
            span.in_scope(|| post(&clients.lend(), url.as_str(), headers, &body, (left, ANSWER_CAP)))
        });
        Some(posting.await.unwrap_or_else(|_| Posted::Lost("the sending thread panicked".to_owned())))
    }

    fn headers(&self, id: &str, at: Timestamp, body: &str) -> HeaderMap {
        let signature = self.settings.secret.sign(id, at, body);
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        for (name, value) in [
            ("webhook-id", id.to_owned()),
            ("webhook-timestamp", at.as_secs().to_string()),
            ("webhook-signature", signature),
        ] {
            if let Ok(value) = HeaderValue::try_from(value) {
                headers.insert(name, value);
            }
        }
        headers
    }
}

/// One message has one, over all attempts; numbers of messages come again only where a database was replaced by an older one.
fn idempotency_key(message: &TextMessage) -> String {
    format!("sms_{}_{}", message.id, message.expires_at.as_millis())
}

/// What is posted: the whole text, and what providers need that have templates of their own.
fn body(message: &TextMessage, now: Timestamp) -> String {
    serde_json::json!({
        "to": message.to.as_str(),
        "body": message.body(now),
        "language": message.language(),
        "template": message.kind.as_str(),
        "variables": { "code": message.code.digits(), "minutes": message.minutes(now) },
        "message_id": message.id.to_string(),
        "idempotency_key": idempotency_key(message),
    })
    .to_string()
}
