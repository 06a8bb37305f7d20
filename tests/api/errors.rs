//! The table of errors (CONTRACT.md), every row provoked over a socket.

use std::fmt::Write as _;
use std::time::Duration;

use freshk::http::ErrorCode;
use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};

use crate::support::{Answer, App, PHONE, REQUEST, RESEND, SECRET, STATUS, VERIFY, until};
use crate::tokens::{claims, signed};
use crate::twilio::{self, FakeTwilio};

const REFRESH: &str = "/api/mobile/auth/token/refresh/";
const CALLBACK: &str = "/api/mobile/auth/sms/twilio/status/";
const FORMAT: &str = "Invalid phone number format. Please use international format (+1234567890)";
const SMS_FAILED: &str = "SMS delivery failed. Please try again later.";
const ROWS: usize = 21;

/// What one row of the table promises.
struct Row {
    code: ErrorCode,
    status: u16,
    word: &'static str,
    sentence: &'static str,
    headers: &'static [(&'static str, &'static str)],
    answer: Answer,
}

/// Sends a call twice, once for each form of an error, and holds what is true of all of them.
async fn provoke(call: impl Fn() -> RequestBuilder) -> Answer {
    let plain = Answer::of(call().header("x-request-id", "mine")).await;
    assert!(plain.header("content-type").starts_with("application/json"), "{plain:?}");
    hold(&plain);
    let problem = Answer::of(call().header("accept", "application/problem+json")).await;
    assert_eq!(problem.header("content-type"), "application/problem+json", "{problem:?}");
    hold(&problem);
    let body = problem.json();
    assert_eq!(body["type"], "about:blank");
    assert!(body["title"].is_string());
    assert_eq!(body["status"], plain.status);
    assert_eq!(body["detail"], body["error"]);
    assert_eq!(body["code"], plain.code(), "{body}");
    plain
}

fn hold(answer: &Answer) {
    let body = answer.json();
    let id = answer.header("x-request-id");
    assert_eq!(id.len(), 32, "{answer:?}");
    assert_eq!(body["request_id"], id, "an inbound name is ignored");
    assert!(answer.headers.get("server").is_none());
    assert_eq!(answer.header("cache-control"), "no-store");
    let told = answer.header("retry-after");
    assert_eq!(body["retry_after"].as_u64().map_or(String::new(), |wait| wait.to_string()), told);
}

fn row(
    code: ErrorCode,
    (status, word): (u16, &'static str),
    sentence: &'static str,
    headers: &'static [(&'static str, &'static str)],
    answer: Answer,
) -> Row {
    Row { code, status, word, sentence, headers, answer }
}

#[tokio::test]
async fn every_row_of_the_table_is_told_as_the_contract_has_it() {
    let mut rows = Vec::new();
    of_input(&mut rows).await;
    of_tokens(&mut rows).await;
    of_users(&mut rows).await;
    of_limits_and_machines(&mut rows).await;

    let mut table = String::from("status  code                    headers; sentence\n");
    let mut words = std::collections::BTreeSet::new();
    for Row { code, status, word, sentence, headers, answer } in rows {
        assert_eq!((answer.status, answer.code().as_str()), (status, word), "{}", answer.text);
        assert_eq!((code.status().as_u16(), code.as_str()), (status, word));
        assert_eq!(answer.json()["error"], sentence);
        for (name, value) in headers {
            assert_eq!(answer.header(name), *value, "{word}: {name}");
        }
        for name in ["www-authenticate", "allow", "retry-after"] {
            let promised = headers.iter().any(|(promised, _)| *promised == name);
            assert_eq!(!answer.header(name).is_empty(), promised, "{word}: {name}");
        }
        writeln!(table, "{status}     {word:<23} {headers:?}; {sentence}").unwrap();
        words.insert(word);
    }
    print!("{table}");
    assert_eq!(words.len(), ROWS, "a row is missing");
}

async fn of_input(rows: &mut Vec<Row>) {
    let app = App::with(&[("ALLOWED_HOSTS", "127.0.0.1"), ("FRESHK_LIMITS__IP", "0")]).await;
    let post = |path: &str, body: Value| app.build(Method::POST, path).json(&body);
    let phone = provoke(|| post(REQUEST, json!({ "phone_number": "12345" }))).await;
    rows.push(row(ErrorCode::InvalidPhoneNumber, (400, "invalid_phone_number"), FORMAT, &[], phone));
    let missing = provoke(|| post(VERIFY, json!({ "phone_number": PHONE }))).await;
    rows.push(row(ErrorCode::BadRequest, (400, "bad_request"), "The field otp is missing.", &[], missing));
    let host = provoke(|| post(REQUEST, json!({})).header("host", "evil.example")).await;
    let sentence = "This host is not served here.";
    rows.push(row(ErrorCode::HostNotAllowed, (400, "host_not_allowed"), sentence, &[], host));
    let nowhere = provoke(|| app.build(Method::GET, "/api/mobile/auth/nothing/")).await;
    let sentence = "There is nothing at this address.";
    rows.push(row(ErrorCode::NotFound, (404, "not_found"), sentence, &[], nowhere));
    let method = provoke(|| app.build(Method::PUT, STATUS)).await;
    let sentence = "This method is not allowed here.";
    let allow = &[("allow", "GET, HEAD")];
    rows.push(row(ErrorCode::MethodNotAllowed, (405, "method_not_allowed"), sentence, allow, method));
    let large = provoke(|| post(REQUEST, json!({ "phone_number": "1".repeat(20_000) }))).await;
    let sentence = "The body is too large.";
    rows.push(row(ErrorCode::PayloadTooLarge, (413, "payload_too_large"), sentence, &[], large));
    let media = provoke(|| app.build(Method::POST, REQUEST).body("phone_number=1")).await;
    let sentence = "The body must be sent as application/json.";
    rows.push(row(ErrorCode::UnsupportedMediaType, (415, "unsupported_media_type"), sentence, &[], media));
    let forged = provoke(|| app.build(Method::POST, CALLBACK).form_body("MessageSid=SM1")).await;
    let sentence = "The signature is not valid.";
    rows.push(row(ErrorCode::BadSignature, (403, "bad_signature"), sentence, &[], forged));
}

async fn of_tokens(rows: &mut Vec<Row>) {
    let app = App::with(&[("FRESHK_LIMITS__IP", "0")]).await;
    let login = app.log_in(PHONE).await;
    let status = |token: &str| app.build(Method::GET, STATUS).bearer_auth(token);
    let none = provoke(|| app.build(Method::GET, STATUS)).await;
    let bare = &[("www-authenticate", "Bearer realm=\"freshk\"")];
    let sentence = "Authentication credentials were not provided.";
    rows.push(row(ErrorCode::NotAuthenticated, (401, "not_authenticated"), sentence, bare, none));
    let garbled = provoke(|| status("garbled")).await;
    let invalid = &[(
        "www-authenticate",
        "Bearer realm=\"freshk\", error=\"invalid_token\", error_description=\"The token is not valid\"",
    )];
    rows.push(row(
        ErrorCode::TokenInvalid,
        (401, "token_invalid"),
        "The token is not valid.",
        invalid,
        garbled,
    ));

    let first = login["refresh"].as_str().unwrap().to_owned();
    let mut newest = first.clone();
    for _ in 0..2 {
        let next = app.post(REFRESH, &json!({ "refresh": newest })).await;
        next.json()["refresh"].as_str().unwrap().clone_into(&mut newest);
    }
    app.clock.advance(Duration::from_mins(15));
    let expired = provoke(|| status(login["access"].as_str().unwrap())).await;
    let past = &[(
        "www-authenticate",
        "Bearer realm=\"freshk\", error=\"invalid_token\", error_description=\"The token has expired\"",
    )];
    rows.push(row(ErrorCode::TokenExpired, (401, "token_expired"), "The token has expired.", past, expired));
    // Once told, the session is over: the row has one answer only.
    let reused = Answer::of(app.build(Method::POST, REFRESH).json(&json!({ "refresh": first }))).await;
    hold(&reused);
    let used = &[(
        "www-authenticate",
        "Bearer realm=\"freshk\", error=\"invalid_token\", error_description=\"The token was used before\"",
    )];
    let sentence = "This token was used before; the session has ended for safety. Please log in again.";
    rows.push(row(ErrorCode::TokenReused, (401, "token_reused"), sentence, used, reused));
}

async fn of_users(rows: &mut Vec<Row>) {
    let app = App::with(&[("FRESHK_LIMITS__IP", "0")]).await;
    let verify =
        |otp: &str| app.build(Method::POST, VERIFY).json(&json!({ "phone_number": PHONE, "otp": otp }));
    let unknown = provoke(|| verify("123456")).await;
    let sentence = "No user found with this phone number";
    rows.push(row(ErrorCode::UserNotFound, (404, "user_not_found"), sentence, &[], unknown));
    app.log_in(PHONE).await;
    let wrong = provoke(|| verify("123456")).await;
    rows.push(row(ErrorCode::InvalidOtp, (400, "invalid_otp"), "Invalid or expired OTP", &[], wrong));
    app.execute("UPDATE users SET is_active = 0");
    let disabled = provoke(|| app.build(Method::POST, REQUEST).json(&json!({ "phone_number": PHONE }))).await;
    let sentence = "This account is disabled.";
    rows.push(row(ErrorCode::AccountDisabled, (403, "account_disabled"), sentence, &[], disabled));
    assert_eq!(app.twilio.requests().len(), 1, "nothing is bought for a deactivated user");
}

async fn of_limits_and_machines(rows: &mut Vec<Row>) {
    let app = App::with(&[
        ("FRESHK_TWILIO__MAX_IN_FLIGHT", "1"),
        ("FRESHK_TWILIO__CONNECT_TIMEOUT", "1s"),
        ("FRESHK_TWILIO__TIMEOUT", "5s"),
    ])
    .await;
    let request = |ip: &str, phone: &str| {
        let body = json!({ "phone_number": phone });
        app.build(Method::POST, REQUEST).header("x-forwarded-for", ip).json(&body)
    };
    for _ in 0..5 {
        app.request_from("203.0.113.1", "+19990000001").await;
    }
    let limited = provoke(|| request("203.0.113.1", "+19990000002")).await;
    let wait = &[
        ("retry-after", "3600"),
        ("ratelimit-policy", "\"otp-ip\";q=5;w=3600"),
        ("ratelimit", "\"otp-ip\";r=0;t=3600"),
    ];
    let sentence = "Too many requests. Please try again in 1 hour.";
    rows.push(row(ErrorCode::RateLimited, (429, "rate_limited"), sentence, wait, limited));

    app.twilio.always(twilio::Answer::Error { http: 400, code: 21408, message: "not enabled" });
    let sentence = "No text messages are sent to this country. Please use a number of another country.";
    let country = provoke(|| request("203.0.113.2", "+19990000008")).await;
    rows.push(row(ErrorCode::CountryNotAllowed, (403, "country_not_allowed"), sentence, &[], country));

    app.twilio.always(twilio::Answer::Error { http: 400, code: 30450, message: "blocked" });
    let failed = provoke(|| request("203.0.113.2", "+19990000003")).await;
    rows.push(row(ErrorCode::SmsDeliveryFailed, (500, "sms_delivery_failed"), SMS_FAILED, &[], failed));

    app.twilio.always(twilio::Answer::Hang);
    let before = app.twilio.requests().len();
    let hanging = tokio::spawn(Answer::of(request("203.0.113.3", "+19990000004")));
    until(|| async { app.twilio.requests().len() > before }).await;
    let busy = provoke(|| request("203.0.113.4", "+19990000005")).await;
    assert!(!busy.header("retry-after").is_empty());
    let wait: &'static str = Box::leak(busy.header("retry-after").to_owned().into_boxed_str());
    let headers = Box::leak(Box::new([("retry-after", wait)]));
    let sentence = "The service is busy. Please try again shortly.";
    rows.push(row(ErrorCode::Overloaded, (503, "overloaded"), sentence, headers, busy));
    assert_eq!(hanging.await.unwrap().code(), "sms_delivery_failed");

    app.twilio.always(twilio::Answer::Accepted);
    app.break_all("INSERT ON challenges");
    let broken = provoke(|| request("203.0.113.5", "+19990000006")).await;
    let sentence = "Something went wrong on our side. Please try again later.";
    rows.push(row(ErrorCode::InternalError, (500, "internal_error"), sentence, &[], broken));

    app.service().store.close().await;
    let gone = provoke(|| request("203.0.113.6", "+19990000007")).await;
    let sentence = "The service is not available at the moment. Please try again shortly.";
    rows.push(row(ErrorCode::Unavailable, (503, "unavailable"), sentence, &[("retry-after", "2")], gone));
}

#[tokio::test]
async fn an_open_breaker_tells_when_to_come_back_and_spends_nothing() {
    let app = App::start().await;
    app.twilio.always(twilio::Answer::Error { http: 401, code: 20003, message: "Authenticate" });
    assert_eq!(app.request(PHONE).await.code(), "sms_delivery_failed");
    let open = app.request(PHONE).await;
    assert_eq!(open.verdict(), (500, "sms_delivery_failed".to_owned()));
    assert_eq!(open.header("retry-after"), "30");
    assert_eq!(open.json()["retry_after"], 30);
    assert_eq!(open.json()["error"], SMS_FAILED);
    assert_eq!(app.twilio.requests().len(), 1);
    assert_eq!(app.count("SELECT count(*) FROM spends WHERE quota = 'user'"), 0);
}

#[tokio::test]
async fn numbers_that_no_sms_can_reach_are_the_clients_fault_and_stop_is_told_how_to_end() {
    let app = App::start().await;
    app.twilio.script(vec![
        twilio::Answer::Error { http: 400, code: 21211, message: "not valid" },
        twilio::Answer::Error { http: 400, code: 21610, message: "unsubscribed" },
    ]);
    assert_eq!(app.request(PHONE).await.verdict(), (400, "invalid_phone_number".to_owned()));
    let stopped = app.request(PHONE).await;
    assert_eq!(stopped.verdict(), (500, "sms_delivery_failed".to_owned()));
    assert!(stopped.json()["error"].as_str().unwrap().contains("Text START to +15005550006"));
    assert_eq!(app.count("SELECT count(*) FROM users"), 0, "no trace of a new user is left");
}

#[tokio::test]
async fn s18_answers_that_hold_tokens_or_codes_are_never_stored_and_name_no_server() {
    let app = App::on(FakeTwilio::start(), &[("FRESHK_LIMITS__IP", "0")]).await;
    let sent = app.request(PHONE).await;
    let login = app.verify(PHONE, &app.code(PHONE)).await;
    let refresh = login.json()["refresh"].as_str().unwrap().to_owned();
    let access = login.json()["access"].as_str().unwrap().to_owned();
    let renewed = app.post(REFRESH, &json!({ "refresh": refresh })).await;
    let resent = app.bearer(Method::POST, RESEND, &access).await;
    let status = app.status(&signed(&claims(&app, &access), SECRET)).await;
    for answer in [sent, login, renewed, resent, status] {
        assert_eq!(answer.status, 200, "{}", answer.text);
        assert_eq!(answer.header("cache-control"), "no-store");
        assert!(answer.headers.get("server").is_none() && answer.headers.get("x-powered-by").is_none());
        assert_eq!(answer.header("x-request-id").len(), 32);
    }
}

/// A form, as Twilio posts it.
trait FormBody {
    fn form_body(self, body: &'static str) -> RequestBuilder;
}

impl FormBody for RequestBuilder {
    fn form_body(self, body: &'static str) -> RequestBuilder {
        self.header("content-type", "application/x-www-form-urlencoded").body(body)
    }
}
