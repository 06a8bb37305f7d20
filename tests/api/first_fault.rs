//! First fault wins: two at once, in every order that a request can have them.

use freshk::domain::Timestamp;
use reqwest::{Method, RequestBuilder};
use serde_json::json;

use crate::support::{Answer, App, PHONE, REQUEST, RESEND, STATUS, VERIFY};

const BIG: usize = 20_000;

async fn verdict(request: RequestBuilder) -> String {
    Answer::of(request).await.code()
}

#[tokio::test]
async fn flood_then_host_then_path_then_method_then_size_then_type() {
    let app = App::with(&[("ALLOWED_HOSTS", "127.0.0.1")]).await;
    let evil = |request: RequestBuilder| request.header("host", "evil.example");
    let big = "x".repeat(BIG);
    for (name, request, code) in [
        ("host, path", evil(app.build(Method::POST, "/nothing/")), "host_not_allowed"),
        ("host, method", evil(app.build(Method::PUT, STATUS)), "host_not_allowed"),
        ("host, token", evil(app.build(Method::GET, STATUS)), "host_not_allowed"),
        ("path, size", app.build(Method::POST, "/nothing/").body(big.clone()), "not_found"),
        ("method, size", app.build(Method::PUT, REQUEST).body(big.clone()), "method_not_allowed"),
        ("size, type", app.build(Method::POST, REQUEST).body(big.clone()), "payload_too_large"),
        ("size, token", app.build(Method::POST, RESEND).body(big.clone()), "payload_too_large"),
        ("type, parse", app.build(Method::POST, REQUEST).body("{"), "unsupported_media_type"),
        ("token, parse", app.build(Method::POST, RESEND).body("{"), "not_authenticated"),
    ] {
        assert_eq!(verdict(request).await, code, "{name}");
    }
    let app = App::with(&[("ALLOWED_HOSTS", "127.0.0.1"), ("FRESHK_LIMITS__FLOOD_PER_SECOND", "1")]).await;
    let mut last = String::new();
    for _ in 0..150 {
        last = verdict(evil(app.build(Method::POST, "/nothing/").body(big.clone()))).await;
    }
    assert_eq!(last, "rate_limited", "flood, host");
}

#[tokio::test]
async fn parse_then_phone_then_the_address_quota() {
    let app = App::start().await;
    for n in 0..5 {
        app.request(&format!("+1999000000{n}")).await;
        app.verify(&format!("+1888000000{n}"), "123456").await;
    }
    let verify = |body| app.build(Method::POST, VERIFY).json(&body);
    for (name, request, code) in [
        ("parse, phone", verify(json!({ "phone_number": "1" })), "bad_request"),
        ("parse, quota", verify(json!({ "phone_number": PHONE })), "bad_request"),
        ("phone, quota", verify(json!({ "phone_number": "1", "otp": "123456" })), "invalid_phone_number"),
        ("parse of the code, phone", verify(json!({ "phone_number": "1", "otp": 1 })), "bad_request"),
        ("phone, no code", verify(json!({ "phone_number": "1", "otp": "12" })), "invalid_phone_number"),
        ("no code, quota", verify(json!({ "phone_number": PHONE, "otp": "12" })), "invalid_otp"),
        ("quota, code", verify(json!({ "phone_number": PHONE, "otp": "000000" })), "rate_limited"),
    ] {
        assert_eq!(verdict(request).await, code, "{name}");
    }
    let bad_key = verify(json!({ "phone_number": "1", "otp": "123456" })).header("idempotency-key", "short");
    assert_eq!(verdict(bad_key).await, "bad_request", "parameter, phone");
    assert_eq!(app.request("1").await.code(), "invalid_phone_number");
    assert_eq!(app.request(PHONE).await.code(), "rate_limited");
}

#[tokio::test]
async fn the_address_quota_then_disabled_then_the_days_failures_then_the_users_quota() {
    let app = App::with(&[("FRESHK_OTP__MAX_FAILURES_PER_DAY", "1")]).await;
    let login = app.log_in(PHONE).await;
    for n in 0..5 {
        app.request(&format!("+1999000000{n}")).await;
    }
    let disable = |on: i32| app.execute(&format!("UPDATE users SET is_active = {}", on == 0));
    disable(1);
    assert_eq!(app.request(PHONE).await.code(), "rate_limited", "address, disabled");
    assert_eq!(app.request_from("203.0.113.1", PHONE).await.code(), "account_disabled");

    disable(0);
    for ip in ["203.0.113.2", "203.0.113.3"] {
        assert_eq!(app.request_from(ip, PHONE).await.status, 200);
    }
    let quota = app.request_from("203.0.113.4", PHONE).await;
    assert_eq!(quota.header("retry-after"), "3600", "the user's quota alone: an hour");
    assert_eq!(app.verify(PHONE, &app.wrong_code(PHONE)).await.code(), "invalid_otp");
    let day = app.request_from("203.0.113.5", PHONE).await;
    assert_eq!(day.header("retry-after"), "86400", "the day's failures, the user's quota");
    let right = app.verify(PHONE, &app.code(PHONE)).await;
    assert_eq!(right.header("retry-after"), "86400", "the day's failures, a right code");
    disable(1);
    assert_eq!(app.request_from("203.0.113.6", PHONE).await.code(), "account_disabled", "disabled, failures");
    let access = login["access"].as_str().unwrap();
    let resent = Answer::of(app.build(Method::POST, RESEND).bearer_auth(access)).await;
    assert_eq!(resent.code(), "account_disabled", "disabled, failures on resend");
    app.batch("DELETE FROM challenges; DELETE FROM users");
    assert_eq!(app.verify(PHONE, "123456").await.code(), "user_not_found", "no user, failures");
}

#[tokio::test]
async fn s10_why_a_code_is_not_good_is_never_told() {
    let app = App::with(&[("FRESHK_LIMITS__IP", "0"), ("FRESHK_LIMITS__USER", "0")]).await;
    app.log_in(PHONE).await;
    let used = app.verify(PHONE, &app.code(PHONE)).await;
    app.request(PHONE).await;
    let older = app.code(PHONE);
    app.request(PHONE).await;
    let superseded = app.verify(PHONE, &older).await;
    let wrong = app.verify(PHONE, &app.wrong_code(PHONE)).await;
    for _ in 0..3 {
        app.verify(PHONE, &app.wrong_code(PHONE)).await;
    }
    let over_tried = app.verify(PHONE, &app.code(PHONE)).await;
    app.request(PHONE).await;
    app.clock.advance(std::time::Duration::from_mins(10));
    let expired = app.verify(PHONE, &app.code(PHONE)).await;
    for answer in [&used, &superseded, &over_tried, &expired] {
        assert_eq!(answer.status, 400);
        assert_eq!(answer.body_without_request_id(), wrong.body_without_request_id());
        let names = |answer: &Answer| answer.headers.keys().cloned().collect::<Vec<_>>();
        assert_eq!(names(answer), names(&wrong));
    }
}

#[tokio::test]
async fn s17_verify_tells_that_an_account_is_disabled_only_to_the_right_code() {
    let app = App::start().await;
    app.log_in(PHONE).await;
    app.request(PHONE).await;
    app.execute("UPDATE users SET is_active = 0");
    assert_eq!(app.verify(PHONE, &app.wrong_code(PHONE)).await.code(), "invalid_otp");
    assert_eq!(app.verify(PHONE, &app.code(PHONE)).await.code(), "account_disabled");
    assert_eq!(app.verify(PHONE, &app.code(PHONE)).await.code(), "invalid_otp", "the code is spent");
    assert_eq!(app.count("SELECT count(*) FROM sessions"), 1);
    let at = Timestamp::from_millis(app.count("SELECT max(at) FROM audit"));
    assert_eq!(at, freshk::clock::Clock::now(&*app.clock));
}
