//! The sender of kind `http` before a program of the operator's that has good and bad days (S22–S24).

use std::sync::Arc;
use std::time::Duration;

use freshk::clock::ManualClock;
use freshk::domain::webhook::{Signed, WebhookSecret, WebhookUrl};
use freshk::domain::{Code, MessageId, PhoneNumber, Timestamp};
use freshk::sms::http::{HttpSender, HttpSenderSettings};
use freshk::sms::template::Template;
use freshk::sms::{FailureReason, SendOutcome, SmsSender as _, TextKind, TextMessage, Unavailable};
use serde_json::json;

use crate::sink::{Reply, Sink, WEBHOOK_SECRET};
use crate::{PHONE, SHORT, accepted, refused, unknown};

struct Bench {
    sink: Sink,
    sender: HttpSender,
    clock: Arc<ManualClock>,
}

impl Bench {
    fn new() -> Self {
        let sink = Sink::start();
        let url = sink.url();
        Self::before(sink, &url)
    }

    fn before(sink: Sink, url: &str) -> Self {
        let clock = Arc::new(ManualClock::new());
        let settings = HttpSenderSettings {
            name: "local".to_owned(),
            url: WebhookUrl::parse(url).unwrap(),
            secret: WebhookSecret::parse(WEBHOOK_SECRET).unwrap(),
        };
        let sender = HttpSender::with(settings, (SHORT / 2, SHORT), Arc::clone(&clock) as _);
        Self { sink, sender, clock }
    }

    fn message(&self) -> TextMessage {
        use freshk::clock::Clock as _;
        TextMessage {
            id: MessageId(7),
            to: PhoneNumber::parse(PHONE, 10).unwrap(),
            code: Code::from_number(crate::CODE, 6),
            text: Template::default(),
            kind: TextKind::Code,
            expires_at: self.clock.now() + Duration::from_mins(10),
            patience: None,
        }
    }

    async fn send(&self) -> SendOutcome {
        self.sender.reserve(1).ok().unwrap().send(self.message()).await
    }
}

const ACCEPTED: Reply = Reply::Says(200, r#"{"status": "accepted"}"#);

#[tokio::test]
async fn it_posts_all_that_a_provider_needs_signed() {
    let bench = Bench::new();
    bench.sink.reply(ACCEPTED);
    accepted(bench.send().await);
    let [request] = bench.sink.requests().try_into().unwrap();
    let body = request.json();
    let key = body["idempotency_key"].as_str().unwrap().to_owned();
    assert_eq!(
        body,
        json!({
            "to": PHONE,
            "body": "Your FreshK code is 123456. It expires in 10 minutes. Never share it.",
            "language": "en",
            "template": "code",
            "variables": { "code": "123456", "minutes": 10 },
            "message_id": "7",
            "idempotency_key": key,
        })
    );
    let signed = Signed {
        id: request.header("webhook-id"),
        timestamp: request.header("webhook-timestamp"),
        signature: request.header("webhook-signature"),
        body: request.body.as_bytes(),
    };
    let at = Timestamp::from_millis(signed.timestamp.parse::<i64>().unwrap() * 1000);
    assert!(WebhookSecret::parse(WEBHOOK_SECRET).unwrap().has_signed(signed, at));
    assert_eq!((request.header("webhook-id"), request.header("content-type")), (&*key, "application/json"));
}

#[tokio::test]
async fn s25_each_answer_is_taken_as_what_it_says_and_anything_else_as_unknown() {
    let bench = Bench::new();
    for (word, reason) in [
        (r#"{"status":"invalid_number"}"#, FailureReason::InvalidNumber),
        (r#"{"status":"refused"}"#, FailureReason::Destination),
        (r#"{"status":"try_later"}"#, FailureReason::Delivery),
    ] {
        bench.sink.reply(Reply::Says(200, word));
        assert_eq!(refused(bench.send().await).reason, reason, "{word}");
    }
    let elsewhere = Sink::start();
    for reply in [
        Reply::Taken,
        Reply::Says(200, "<html><body>Welcome</body></html>"),
        Reply::Says(200, r#"{"status":"#),
        Reply::Endless,
        Reply::Redirect(elsewhere.url()),
    ] {
        bench.sink.reply(reply.clone());
        unknown(bench.send().await);
        bench.sink.reply(ACCEPTED);
        accepted(bench.send().await);
    }
    for reply in [Reply::Says(500, r#"{"status":"accepted"}"#), Reply::Nothing, Reply::Status(429)] {
        bench.sink.reply(reply);
        unknown(bench.send().await);
    }
    assert_eq!(bench.sink.requests().len(), 3 + 10 + 3, "S23: nothing is repeated");
    assert!(elsewhere.requests().is_empty(), "S22: no redirect");
}

#[tokio::test]
async fn s22_one_that_hangs_is_given_up_in_time_and_one_that_is_not_there_was_surely_not_reached() {
    let bench = Bench::new();
    bench.sink.hold("message_id");
    unknown(bench.send().await);
    assert_eq!(bench.sink.requests().len(), 1);
    let bench = Bench::before(Sink::start(), "http://127.0.0.1:9/");
    assert!(refused(bench.send().await).detail.contains("not reached"));
}

#[tokio::test]
async fn it_has_a_breaker_of_its_own_which_one_numbers_trouble_never_opens() {
    let bench = Bench::new();
    for reply in [Reply::Says(200, r#"{"status":"refused"}"#), Reply::Status(403)] {
        bench.sink.reply(reply);
        for _ in 0..6 {
            bench.send().await;
        }
        assert!(!bench.sender.is_breaker_open());
    }
    bench.sink.reply(Reply::Status(500));
    for _ in 0..5 {
        unknown(bench.send().await);
    }
    assert!(matches!(bench.sender.reserve(1).err(), Some(Unavailable::BreakerOpen(_))));
}
