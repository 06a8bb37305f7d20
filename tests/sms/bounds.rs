//! What refuses before anything is spent: breaker, slots, pace (S24); and what the log says.

use std::io::{self, Write};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use freshk::sms::{SmsSender as _, Unavailable};
use tracing_subscriber::fmt::MakeWriter;

use crate::twilio::{AUTH_TOKEN, Answer, FakeTwilio};
use crate::{Bench, PHONE, SHORT, accepted, hurry, refused, unknown};

const COOLDOWN: Duration = Duration::from_secs(30);

fn wary() -> Bench {
    Bench::with(FakeTwilio::start(), |settings| settings.breaker_failures = 2)
}

fn refusal(bench: &Bench) -> Option<Unavailable> {
    bench.sender.reserve(1).err()
}

#[tokio::test]
async fn failures_in_a_row_open_the_breaker_and_a_probe_closes_it() {
    let bench = wary();
    bench.fake.script(vec![Answer::Html { http: 500 }, Answer::ResetAfterBody]);
    unknown(bench.send().await);
    unknown(bench.send().await);
    assert_eq!(refusal(&bench), Some(Unavailable::BreakerOpen(COOLDOWN)));
    bench.clock.advance(COOLDOWN);

    let probe = bench.sender.reserve(1).ok().unwrap();
    assert!(matches!(refusal(&bench), Some(Unavailable::BreakerOpen(_))), "one probe at a time");
    accepted(probe.send(bench.message()).await);
    accepted(bench.send().await);
    assert_eq!(bench.posts(), 4);
}

#[tokio::test]
async fn a_probe_that_fails_opens_it_again() {
    let bench = wary();
    bench.fake.always(Answer::Html { http: 503 });
    unknown(bench.send().await);
    unknown(bench.send().await);
    bench.clock.advance(COOLDOWN);
    unknown(bench.send().await);
    assert_eq!(refusal(&bench), Some(Unavailable::BreakerOpen(COOLDOWN)));
    assert_eq!(bench.posts(), 3);
}

#[tokio::test]
async fn a_refused_recipient_is_no_failure() {
    let bench = wary();
    let no = Answer::Error { http: 400, code: 21211, message: "no" };
    let trouble = Answer::Html { http: 500 };
    bench.fake.script(vec![trouble.clone(), no.clone(), trouble, no.clone(), no.clone(), no]);
    unknown(bench.send().await);
    refused(bench.send().await);
    unknown(bench.send().await);
    for _ in 0..3 {
        refused(bench.send().await);
    }
    accepted(bench.send().await);
}

#[tokio::test]
async fn refused_credentials_open_it_at_once() {
    let bench = Bench::new();
    bench.fake.always(Answer::Error { http: 401, code: 20003, message: "Authenticate" });
    refused(bench.send().await);
    assert_eq!(refusal(&bench), Some(Unavailable::BreakerOpen(COOLDOWN)));
    assert_eq!(bench.posts(), 1);
}

#[tokio::test]
async fn an_unused_place_is_free_again() {
    let bench = Bench::with(FakeTwilio::start(), |settings| settings.max_in_flight = 1);
    let unused = bench.sender.reserve(1).ok().unwrap();
    assert!(matches!(refusal(&bench), Some(Unavailable::Overloaded(_))));
    drop(unused);
    assert_eq!(refusal(&bench), None);
}

#[tokio::test]
async fn s24_overflow_is_refused_at_once_while_twilio_hangs() {
    let bench = Bench::with(FakeTwilio::start(), |settings| {
        hurry(settings);
        settings.max_in_flight = 2;
    });
    bench.fake.always(Answer::Hang);
    let sends: Vec<_> =
        (0..2).map(|_| tokio::spawn(bench.sender.reserve(1).ok().unwrap().send(bench.message()))).collect();
    assert!(matches!(refusal(&bench), Some(Unavailable::Overloaded(_))));
    for send in sends {
        unknown(send.await.unwrap());
    }
    assert_eq!(refusal(&bench), None);
    assert_eq!(bench.posts(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn s36_a_send_that_nobody_waits_for_keeps_its_place_to_the_end() {
    let bench = Bench::with(FakeTwilio::start(), |settings| {
        hurry(settings);
        settings.max_in_flight = 1;
    });
    bench.fake.always(Answer::Hang);
    let waiting = tokio::spawn(bench.sender.reserve(1).ok().unwrap().send(bench.message()));
    bench.fake.wait_for(1);
    waiting.abort();
    assert!(waiting.await.unwrap_err().is_cancelled());
    assert!(matches!(refusal(&bench), Some(Unavailable::Overloaded(_))));
    // It ends when its own time is out.
    for _ in 0..1000 {
        if refusal(&bench).is_none() {
            return;
        }
        tokio::time::sleep(SHORT / 100).await;
    }
    panic!("the place was never given back");
}

#[tokio::test]
async fn the_pace_gives_places_in_line_and_refuses_what_would_wait_too_long() {
    let bench = Bench::with(FakeTwilio::start(), |settings| {
        settings.segments_per_second = 1;
        settings.max_wait = Duration::from_mins(1);
    });
    assert_eq!(bench.sender.deadline(), Duration::from_secs(60 + 10 + 2));
    let places: Vec<_> = (0..61).map(|_| bench.sender.reserve(1).ok().unwrap()).collect();
    assert_eq!(refusal(&bench), Some(Unavailable::Overloaded(Duration::from_secs(1))));
    // All turns have come.
    bench.clock.advance(Duration::from_mins(1));
    for place in places {
        accepted(place.send(bench.message()).await);
    }
    assert_eq!(bench.posts(), 61);
}

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for Log {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        self.clone()
    }
}

#[tokio::test]
async fn s34_a_failure_is_logged_once_without_code_number_or_secret() {
    let log = Log::default();
    let subscriber =
        tracing_subscriber::fmt().json().with_max_level(tracing::Level::TRACE).with_writer(log.clone());
    let guard = tracing::subscriber::set_default(subscriber.finish());
    let bench = Bench::new();
    let message = "The number +12345678901 got 123456";
    bench.fake.script(vec![
        Answer::Accepted,
        Answer::Error { http: 400, code: 21612, message },
        Answer::Error { http: 401, code: 20003, message },
    ]);
    accepted(bench.send().await);
    refused(bench.send().await);
    refused(bench.send().await);
    drop(guard);

    let text = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    for secret in [PHONE, "123456", AUTH_TOKEN, "Basic ", "Never share"] {
        assert!(!text.contains(secret), "{secret}: {text}");
    }
    let lines: Vec<serde_json::Value> =
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let ours: Vec<_> = lines.iter().filter(|line| line["target"] == "freshk::sms").collect();
    let told: Vec<_> =
        ours.iter().map(|line| (line["level"].as_str().unwrap(), &line["fields"]["page"])).collect();
    assert_eq!(told, [("DEBUG", &serde_json::Value::Null), ("WARN", &false.into()), ("ERROR", &true.into())]);
    assert!(ours.iter().all(|line| line["fields"]["phone"] == "+12*****8901"), "{text}");
    assert_eq!(ours[2]["fields"]["code"], 20003);
    assert_eq!(ours[2]["fields"]["breaker"], "opened");
}
