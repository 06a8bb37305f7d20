//! The Twilio adapter over real sockets, against a Twilio that has good and bad days (SECURITY.md S22–S25, S27).
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "helpers of tests fail the test, as the tests themselves do"
)]

use std::sync::Arc;
use std::time::Duration;

use freshk::clock::{Clock as _, ManualClock};
use freshk::domain::{Code, HttpUrl, MessageId, PhoneNumber, Secret};
use freshk::sms::template::Template;
use freshk::sms::twilio::{Credentials, Medium, Sender, Sid, TwilioSender, TwilioSettings};
use freshk::sms::{Accepted, Failure, SendOutcome, SmsSender as _, TextKind, TextMessage};

use twilio::{ACCOUNT_SID, AUTH_TOKEN, FakeTwilio, NUMBER};

#[path = "sms/answers.rs"]
mod answers;
#[path = "sms/attempts.rs"]
mod attempts;
#[path = "sms/bounds.rs"]
mod bounds;
#[path = "sms/fake.rs"]
mod fake;
#[path = "sms/http.rs"]
mod http;
#[path = "support/sink.rs"]
#[expect(dead_code, reason = "events are tested elsewhere")]
mod sink;
#[expect(dead_code, reason = "shared with the API tests, which use the rest")]
#[path = "support/twilio.rs"]
mod twilio;

const PHONE: &str = "+12345678901";
const CODE: u32 = 123_456;

/// Short enough to be waited for, long enough for a busy machine.
const SHORT: Duration = Duration::from_secs(1);

/// A sender before a fake Twilio.
struct Bench {
    fake: FakeTwilio,
    sender: TwilioSender,
    clock: Arc<ManualClock>,
}

impl Bench {
    fn new() -> Self {
        Self::with(FakeTwilio::start(), |_| {})
    }

    /// One whose time-outs are short.
    fn hurried(fake: FakeTwilio) -> Self {
        Self::with(fake, hurry)
    }

    fn with(fake: FakeTwilio, change: impl FnOnce(&mut TwilioSettings)) -> Self {
        let clock = Arc::new(ManualClock::new());
        let mut settings = settings(&fake.url());
        change(&mut settings);
        let sender = TwilioSender::new(settings, Arc::clone(&clock) as _);
        Self { fake, sender, clock }
    }

    /// A message whose code lives for ten minutes.
    fn message(&self) -> TextMessage {
        self.message_for(Duration::from_mins(10))
    }

    fn message_for(&self, life: Duration) -> TextMessage {
        TextMessage {
            id: MessageId(7),
            to: PhoneNumber::parse(PHONE, 10).unwrap(),
            code: Code::from_number(CODE, 6),
            text: Template::default(),
            kind: TextKind::Code,
            expires_at: self.clock.now() + life,
            patience: None,
        }
    }

    async fn send(&self) -> SendOutcome {
        self.sender.reserve(1).ok().unwrap().send(self.message()).await
    }

    /// How many requests reached Twilio; all of them must be as it describes them.
    fn posts(&self) -> usize {
        self.fake.assert_conforming();
        self.fake.requests().len()
    }
}

fn hurry(settings: &mut TwilioSettings) {
    settings.connect_timeout = SHORT / 2;
    settings.timeout = SHORT;
}

fn settings(base_url: &str) -> TwilioSettings {
    TwilioSettings {
        account_sid: Sid::parse("AC", ACCOUNT_SID).unwrap(),
        credentials: Credentials::AuthToken(Secret::new(AUTH_TOKEN)),
        auth_token: Some(Secret::new(AUTH_TOKEN)),
        auth_token_secondary: None,
        name: "twilio".to_owned(),
        medium: Medium::Sms,
        feedback: false,
        sender: Sender::From(NUMBER.to_owned()),
        base_url: HttpUrl::parse(base_url).unwrap(),
        connect_timeout: Duration::from_secs(3),
        timeout: Duration::from_secs(10),
        max_in_flight: 64,
        segments_per_second: 0,
        max_wait: Duration::from_secs(5),
        breaker_failures: 5,
        breaker_cooldown: Duration::from_secs(30),
        status_callback: None,
    }
}

fn accepted(outcome: SendOutcome) -> Accepted {
    match outcome {
        SendOutcome::Accepted(accepted) => accepted,
        other => panic!("accepted expected: {other:?}"),
    }
}

fn refused(outcome: SendOutcome) -> Failure {
    match outcome {
        SendOutcome::Refused(failure) => failure,
        other => panic!("refused expected: {other:?}"),
    }
}

fn unknown(outcome: SendOutcome) -> Failure {
    match outcome {
        SendOutcome::Unknown(failure) => failure,
        other => panic!("unknown expected: {other:?}"),
    }
}
