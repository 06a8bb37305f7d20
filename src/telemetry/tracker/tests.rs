//! What is reported, and what never leaves.

use tracing::subscriber::with_default;
use tracing_subscriber::layer::SubscriberExt as _;

use super::sink::Sink;
use super::*;
use crate::telemetry::fields::KeepFields;

const PHONE: &str = "+15551234567";
const CODE: &str = "482913";
const TOKEN: &str = "eyJ0eXAiOiJKV1QiLCJhbGciOiJIUzI1NiJ9.eyJ1c2VyX2lkIjoiMSJ9.c2lnbmF0dXJlLW9mLWl0";
const SECRET: &str = "dev-only-4e7a91c20f6d4b5b8a";
const ADDRESS: &str = "203.0.113.77";

/// Logs while the sink takes reports.
fn reporting(sink: &Sink, log: impl FnOnce()) {
    let reports = Reports::start(sink.tracker()).unwrap();
    let _pending = reports.pending();
    with_default(tracing_subscriber::registry().with(KeepFields).with(reports), log);
}

#[test]
fn s34_a_hundred_panics_and_a_hundred_errors_are_two_hundred_reports_that_tell_of_nobody() {
    let sink = Sink::start();
    reporting(&sink, || {
        let evil = format!("{PHONE} {CODE} Bearer {TOKEN} {SECRET} {ADDRESS}");
        for round in 0..100 {
            let _span =
                tracing::info_span!("request", request_id = "8c7a4be1d20f4e55", route = evil).entered();
            // As the hook of the program writes it.
            tracing::error!(place = "src/auth/verify.rs:88:9", thread = evil, text = evil, "{PANIC}");
            tracing::error!(error = ?(PHONE, CODE, TOKEN), phone = PHONE, code = 30_007, number = 482_913, token = SECRET,
                "no answer for {PHONE} with {CODE} in round {round}");
            tracing::error!(target: ACCESS, status = 500, "request");
            tracing::warn!("nobody's business");
        }
    });
    let reports = sink.reports();
    assert_eq!(reports.len(), 200);
    let panics = reports.iter().filter(|report| report["exception"]["values"][0]["type"] == "panic").count();
    assert_eq!(panics, 100);
    for body in sink.bytes() {
        let body = String::from_utf8(body).unwrap();
        for secret in [PHONE, &PHONE[1..], CODE, TOKEN, "eyJ", SECRET, ADDRESS] {
            assert!(!body.contains(secret), "{secret} in {body}");
        }
    }
    for report in &reports {
        assert_eq!(
            (&report["release"], &report["environment"]),
            (&concat!("freshk@", env!("CARGO_PKG_VERSION")).into(), &"test".into())
        );
        assert_eq!(report["tags"]["request_id"], "8c7a4be1d20f4e55");
        assert!(report.get("server_name").is_none() && report.get("user").is_none(), "{report}");
    }
    let panic = reports.iter().find(|report| report["level"] == "fatal").unwrap();
    assert_eq!(panic["tags"]["place"], "src/auth/verify.rs:88:9");
    assert!(
        panic["exception"]["values"][0]["stacktrace"]["frames"]
            .as_array()
            .is_some_and(|frames| frames.len() > 3)
    );
    let error = reports.iter().find(|report| report["level"] != "fatal").unwrap();
    assert_eq!(error["message"], "no answer for … with … in round 0");
    assert_eq!(error["extra"]["code"], 30_007, "one of Twilio's");
}

#[test]
fn an_error_tracker_that_asks_for_a_pause_gets_nothing_meanwhile() {
    let sink = Sink::start();
    sink.answer("HTTP/1.1 429 Too Many Requests\r\nretry-after: 60");
    reporting(&sink, || (0..5).for_each(|_| tracing::error!("the database failed")));
    assert_eq!(sink.reports().len(), 1);
}

#[test]
fn a_fault_that_every_call_meets_fills_no_quota() {
    let sink = Sink::start();
    reporting(&sink, || {
        for _ in 0..10 {
            (0..40).for_each(|_| tracing::error!("the database failed"));
        }
    });
    assert_eq!(sink.reports().len(), 300);
}

#[test]
fn an_error_tracker_that_is_not_there_is_no_reason_to_wait_or_to_fail() {
    let sink = Sink::start();
    let mut tracker = sink.tracker();
    // Nobody listens there.
    tracker.dsn = "http://thekey@127.0.0.1:9/7".parse().unwrap();
    let reports = Reports::start(tracker).unwrap();
    with_default(tracing_subscriber::registry().with(KeepFields).with(reports), || {
        (0..2_000).for_each(|_| tracing::error!("the database failed"));
    });
    assert!(sink.reports().is_empty());
}
