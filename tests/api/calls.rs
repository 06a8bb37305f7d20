//! The budget of calls.

use std::time::Duration;

use serde_json::json;

use crate::callbacks::with;
use crate::support::{Answer, App, PHONE, REQUEST};
use crate::twilio::Answer as Twilio;

fn phone(n: usize) -> String {
    format!("+1999{n:07}")
}

/// Senders in this order, and so many calls a day.
async fn app(order: &str, calls: &str) -> App {
    with(&[
        ("FRESHK_SMS__SENDERS", order),
        ("FRESHK_SENDERS", "call|kind=voice"),
        ("FRESHK_SMS__VOICE_BUDGET_PER_DAY", calls),
        ("FRESHK_LIMITS__IP", "0"),
    ])
    .await
}

/// What was asked of Twilio since the `before`th time: c for a call, m for a message.
fn asked(app: &App, before: usize) -> String {
    let words = app.twilio.requests().into_iter().skip(before);
    words.map(|request| if request.path.ends_with("/Calls.json") { 'c' } else { 'm' }).collect()
}

fn calls(app: &App) -> i64 {
    app.count("SELECT coalesce(sum(used), 0) FROM budgets WHERE budget = 'voice'")
}

fn error(code: u32) -> Twilio {
    Twilio::Error { http: 400, code, message: "no" }
}

#[tokio::test]
async fn a_request_whose_only_way_is_a_call_is_refused_once_calls_are_spent() {
    let app = app("call", "2").await;
    app.clock.advance(Duration::from_hours(1));
    for n in 0..2 {
        assert_eq!(app.request(&phone(n)).await.status, 200);
    }
    let refused = app.request(&phone(2)).await;
    assert_eq!(refused.verdict(), (503, "sms_budget_exhausted".to_owned()));
    assert_eq!(refused.header("retry-after"), (23 * 3600).to_string());
    assert_eq!((asked(&app, 0), calls(&app)), ("cc".to_owned(), 2));
    let (_, page) = app.operations("/metrics").await;
    assert!(page.contains("freshk_sms_unpaid_total{budget=\"voice\"} 1"), "{page}");
    assert!(page.contains("freshk_sms_budget_warnings_total{budget=\"voice\"} 1"), "{page}");
    app.clock.advance(Duration::from_hours(23));
    assert_eq!(app.request(&phone(2)).await.status, 200);
}

#[tokio::test]
async fn numbers_verified_before_have_as_many_calls_again() {
    let app = app("call", "1").await;
    app.request(PHONE).await;
    app.execute("UPDATE users SET phone_verified = 1");
    for (number, status) in [(PHONE, 200), (PHONE, 503)] {
        assert_eq!(app.request(number).await.status, status);
    }
    assert_eq!(calls(&app), 2);
}

#[tokio::test]
async fn who_calls_is_passed_over_once_calls_are_spent() {
    let app = app("call,twilio", "1").await;
    for n in 0..3 {
        assert_eq!(app.request(&phone(n)).await.status, 200);
    }
    assert_eq!((asked(&app, 0), calls(&app)), ("cmm".to_owned(), 1));
    assert_eq!(
        app.words("SELECT sender || ' ' || state FROM messages ORDER BY id"),
        ["call queued", "twilio queued", "twilio queued"]
    );
    assert_eq!(app.verify(&phone(2), &app.code(&phone(2))).await.status, 200);
    let (_, page) = app.operations("/metrics").await;
    assert!(page.contains("freshk_sms_unpaid_total{budget=\"voice\"} 0"), "nobody was refused: {page}");
}

#[tokio::test]
async fn a_code_goes_on_to_a_call_within_the_budget_alone() {
    let app = app("twilio,call", "1").await;
    app.twilio.script(vec![error(21_614), Twilio::Accepted, error(21_614)]);
    assert_eq!(app.request(&phone(0)).await.status, 200);
    assert_eq!((asked(&app, 0), calls(&app)), ("mc".to_owned(), 1));
    assert_eq!(app.words("SELECT sender || ' ' || state FROM messages"), ["call queued"]);
    let refused = app.request(&phone(1)).await;
    assert_eq!(refused.verdict(), (400, "invalid_phone_number".to_owned()), "the first one's error");
    assert_eq!((asked(&app, 2), calls(&app)), ("m".to_owned(), 1));
    let (_, page) = app.operations("/metrics").await;
    assert!(page.contains("freshk_sms_unpaid_total{budget=\"voice\"} 1"), "{page}");
}

#[tokio::test]
async fn a_call_that_was_surely_not_made_is_given_back() {
    for (order, answers, seen, status) in [
        ("twilio,call", vec![error(21_614), error(21_214)], "mc", 400),
        ("call,twilio", vec![error(21_214), Twilio::Accepted], "cm", 200),
        ("call,twilio", vec![error(21_214), error(21_614)], "cm", 400),
    ] {
        let app = app(order, "1").await;
        app.twilio.script(answers);
        assert_eq!(app.request(PHONE).await.status, status, "{order}");
        assert_eq!((asked(&app, 0), calls(&app)), (seen.to_owned(), 0), "{order}");
        let charged = app.count("SELECT count(*) FROM purchases WHERE charges LIKE '%voice%'");
        assert_eq!(charged, 0, "{order}");
    }
}

#[tokio::test]
async fn a_call_that_may_have_been_made_is_not_given_back() {
    let app = app("twilio,call", "5").await;
    app.twilio.script(vec![error(21_614), Twilio::Error { http: 500, code: 20_500, message: "internal" }]);
    assert_eq!(app.request(PHONE).await.status, 500);
    assert_eq!((asked(&app, 0), calls(&app)), ("mc".to_owned(), 1));
    assert_eq!(app.words("SELECT sender || ' ' || state FROM messages"), ["call unknown"]);
}

#[tokio::test]
async fn a_person_who_asks_for_a_call_gets_none_once_calls_are_spent() {
    let app = app("twilio,call", "1").await;
    let ask = |number: String| {
        let app = &app;
        async move {
            assert_eq!(app.request(&number).await.status, 200);
            let body = json!({ "phone_number": number, "channel": "voice" });
            let answer: Answer = app.post(REQUEST, &body).await;
            answer.status
        }
    };
    assert_eq!((ask(phone(0)).await, ask(phone(1)).await), (200, 503));
    assert_eq!(asked(&app, 0), "mcm");
}

#[tokio::test]
async fn the_last_calls_are_made_once_by_many_at_a_time() {
    let app = with(&[
        ("FRESHK_SMS__SENDERS", "twilio,call"),
        ("FRESHK_SENDERS", "call|kind=voice"),
        ("FRESHK_SMS__VOICE_BUDGET_PER_DAY", "3"),
        ("FRESHK_SMS__GUARD", "off"),
        ("FRESHK_LIMITS__IP", "0"),
        ("FRESHK_LIMITS__FLOOD_PER_SECOND", "0"),
    ])
    .await;
    app.twilio.always(Twilio::CallsOnly { code: 21_614 });
    let phones: Vec<_> = (0..12).map(phone).collect();
    let answers = futures_util::future::join_all(phones.iter().map(|phone| app.request(phone))).await;
    assert_eq!(answers.iter().filter(|answer| answer.status == 200).count(), 3);
    assert_eq!(asked(&app, 0).matches('c').count(), 3);
}

#[tokio::test]
async fn a_call_that_the_next_sender_makes_is_paid_once() {
    let app = with(&[
        ("FRESHK_SMS__SENDERS", "twilio,call,call2"),
        ("FRESHK_SENDERS", "call|kind=voice,call2|kind=voice"),
        ("FRESHK_SMS__VOICE_BUDGET_PER_DAY", "5"),
    ])
    .await;
    app.twilio.script(vec![error(21_614), error(21_214), Twilio::Accepted]);
    assert_eq!(app.request(PHONE).await.status, 200);
    assert_eq!((asked(&app, 0), calls(&app)), ("mcc".to_owned(), 1));
    assert_eq!(app.words("SELECT sender || ' ' || state FROM messages"), ["call2 queued"]);
}
