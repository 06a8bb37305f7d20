//! S14, S15, S17, S18: tokens over HTTP.

use std::time::Duration;

use data_encoding::BASE64URL_NOPAD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use reqwest::Method;
use serde_json::{Value, json};
use sha2::{Sha256, Sha384};

use crate::support::{Answer, App, FIRST_ID, PHONE, RESEND, SECRET, STATUS, until};

const OTHER: &str = "+1234567891";
const OLD: &str = "an old secret for tests of more than thirty-two bytes";
const NEW: &str = "a new secret for tests of more than thirty-two bytes";
const HEADER: &str = r#"{"typ":"JWT","alg":"HS256"}"#;

/// What a token says.
pub(crate) fn claims(_: &App, token: &str) -> Value {
    let payload = token.split('.').nth(1).unwrap();
    serde_json::from_slice(&BASE64URL_NOPAD.decode(payload.as_bytes()).unwrap()).unwrap()
}

/// A token of ours, signed elsewhere.
pub(crate) fn signed(claims: &Value, secret: &str) -> String {
    signed_raw(HEADER, &claims.to_string(), secret)
}

fn signed_raw(header: &str, claims: &str, secret: &str) -> String {
    let body = format!("{}.{}", encode(header), encode(claims));
    let mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).unwrap().chain_update(&body);
    format!("{body}.{}", BASE64URL_NOPAD.encode(&mac.finalize().into_bytes()))
}

fn encode(text: &str) -> String {
    BASE64URL_NOPAD.encode(text.as_bytes())
}

/// Holds that both Bearer endpoints refuse a token, as RFC 6750 asks, and that nothing is sent.
async fn refused(app: &App, token: &str, code: &str, what: &str) {
    let sent = app.twilio.requests().len();
    for (method, path) in [(Method::GET, STATUS), (Method::POST, RESEND)] {
        let answer = app.bearer(method, path, token).await;
        assert_eq!(answer.verdict(), (401, code.to_owned()), "{what} on {path}: {}", answer.text);
        let challenge = answer.header("www-authenticate");
        assert!(
            challenge.starts_with("Bearer realm=\"freshk\", error=\"invalid_token\""),
            "{what}: {challenge}"
        );
        assert!(answer.headers.get("ratelimit").is_none(), "a stranger spends nothing");
    }
    assert_eq!(app.twilio.requests().len(), sent);
}

#[tokio::test]
async fn s14_s18_forged_garbled_and_foreign_tokens_are_refused() {
    let app = App::start().await;
    let login = app.log_in(PHONE).await;
    let access = login["access"].as_str().unwrap();
    let good = claims(&app, access);
    let text = good.to_string();
    let with = |name: &str, value: Value| {
        let mut claims = good.clone();
        claims[name] = value;
        signed(&claims, SECRET)
    };
    assert_eq!(app.status(&signed(&good, SECRET)).await.status, 200, "the forger knows the trade");
    assert_eq!(app.status(&with("user_id", json!(FIRST_ID))).await.status, 200, "an integer is accepted");

    let body = format!("{}.{}", encode(r#"{"typ":"JWT","alg":"HS384"}"#), encode(&text));
    let mac = Hmac::<Sha384>::new_from_slice(SECRET.as_bytes()).unwrap().chain_update(&body);
    let hs384 = format!("{body}.{}", BASE64URL_NOPAD.encode(&mac.finalize().into_bytes()));
    let without = |name: &str| {
        let mut claims = good.clone();
        claims.as_object_mut().unwrap().remove(name);
        signed(&claims, SECRET)
    };
    let doubled = text.replacen('{', r#"{"user_id":"2","#, 1);
    let none = format!("{}.{}.", encode(r#"{"typ":"JWT","alg":"none"}"#), encode(&text));
    let extra =
        |member: &str| signed_raw(&format!(r#"{{"typ":"JWT","alg":"HS256",{member}}}"#), &text, SECRET);
    for (what, token) in [
        ("garbled", "garbled".to_owned()),
        ("empty parts", "..".to_owned()),
        ("cut", access[..access.len() - 1].to_owned()),
        ("padded", format!("{access}=")),
        ("very long", "x".repeat(8000)),
        ("a stranger's", signed(&good, NEW)),
        ("none", none),
        ("HS384", hs384),
        ("RS256", signed_raw(r#"{"typ":"JWT","alg":"RS256"}"#, &text, SECRET)),
        ("jku", extra(r#""jku":"https://thief.example/keys""#)),
        ("jwk", extra(r#""jwk":{"kty":"oct","k":"AAAA"}"#)),
        ("x5u", extra(r#""x5u":"https://thief.example/cert""#)),
        ("doubled claim", signed_raw(HEADER, &doubled, SECRET)),
        ("no sid: simplejwt's own", without("sid")),
        ("no exp", without("exp")),
        ("no token_type", without("token_type")),
        ("refresh as access", login["refresh"].as_str().unwrap().to_owned()),
        ("another type", with("token_type", json!("sliding"))),
        ("another user", with("user_id", json!("2"))),
        ("user in words", with("user_id", json!("one"))),
        ("unknown session", with("sid", json!("01ARZ3NDEKTSV4RRFFQ69G5FAV"))),
        ("not yet", with("nbf", json!(4_000_000_000_u64))),
    ] {
        refused(&app, &token, "token_invalid", what).await;
    }
    assert_eq!(app.count("SELECT count(*) FROM spends WHERE quota = 'ip:resend'"), 0);
}

#[tokio::test]
async fn s14_a_session_serves_its_own_user_alone() {
    let app = App::start().await;
    let one = app.log_in(PHONE).await;
    let other = app.log_in(OTHER).await;
    let mut mixed = claims(&app, one["access"].as_str().unwrap());
    mixed["sid"] = claims(&app, other["access"].as_str().unwrap())["sid"].clone();
    refused(&app, &signed(&mixed, SECRET), "token_invalid", "another's session").await;
}

#[tokio::test]
async fn s18_what_is_no_bearer_token_is_told_apart() {
    let app = App::start().await;
    for (header, code) in [
        ("Basic YTpi", "not_authenticated"),
        ("garbled", "not_authenticated"),
        ("Bearer", "token_invalid"),
        ("Bearer a b", "token_invalid"),
        ("Bearer \u{e9}", "token_invalid"),
    ] {
        let answer = Answer::of(app.build(Method::GET, STATUS).header("authorization", header)).await;
        assert_eq!(answer.verdict(), (401, code.to_owned()), "{header}");
        assert!(answer.header("www-authenticate").starts_with("Bearer realm=\"freshk\""));
    }
    let two = app
        .build(Method::GET, STATUS)
        .header("authorization", "Bearer a")
        .header("authorization", "Bearer b");
    assert_eq!(Answer::of(two).await.code(), "token_invalid");
}

#[tokio::test]
async fn s14_an_access_token_lives_fifteen_minutes_and_not_a_second_longer() {
    let app = App::start().await;
    let login = app.log_in(PHONE).await;
    let access = login["access"].as_str().unwrap();
    app.clock.advance(Duration::from_secs(899));
    assert_eq!(app.status(access).await.status, 200);
    app.clock.advance(Duration::from_secs(1));
    refused(&app, access, "token_expired", "fifteen minutes later").await;
}

#[tokio::test]
async fn s17_an_ended_session_and_a_deleted_user_are_out_within_a_second() {
    let app = App::start().await;
    let (one, other) = (app.log_in(PHONE).await, app.log_in(OTHER).await);
    let (one, other) = (one["access"].as_str().unwrap(), other["access"].as_str().unwrap());
    assert_eq!((app.status(one).await.status, app.status(other).await.status), (200, 200));
    let end = format!(
        "UPDATE sessions SET ended_at = created_at, end_reason = 'logout' WHERE user_id = {FIRST_ID}"
    );
    app.execute(&end);
    until(|| async { app.status(one).await.status == 401 }).await;
    refused(&app, one, "token_invalid", "an ended session").await;
    assert_eq!(app.status(other).await.status, 200);
    app.execute(&format!("DELETE FROM users WHERE id = {}", FIRST_ID + 1));
    until(|| async { app.status(other).await.status == 401 }).await;
    refused(&app, other, "token_invalid", "a deleted user").await;
}

#[tokio::test]
async fn s17_a_deactivated_user_is_out_of_resend_and_told_so_by_status() {
    let app = App::start().await;
    let login = app.log_in(PHONE).await;
    let access = login["access"].as_str().unwrap();
    assert_eq!(app.status(access).await.json()["account_active"], true);
    app.execute("UPDATE users SET is_active = 0");
    assert_eq!(app.resend(access).await.verdict(), (403, "account_disabled".to_owned()));
    assert_eq!(app.twilio.requests().len(), 1);
    until(|| async { app.status(access).await.json()["account_active"] == false }).await;
    let answer = app.status(access).await;
    assert_eq!((answer.status, &answer.json()["authenticated"]), (200, &json!(true)));
}

#[tokio::test]
async fn s15_a_rollover_of_the_secret_costs_nobody_a_login_or_an_sms() {
    let mut app = App::with(&[("SECRET_KEY", OLD)]).await;
    let login = app.log_in(PHONE).await;
    let access = login["access"].as_str().unwrap();
    assert_eq!(app.request(OTHER).await.status, 200);
    let old_code = app.code(OTHER);

    app.set("SECRET_KEY", NEW);
    app.set("SECRET_KEY_FALLBACKS", OLD);
    app.restart().await;
    assert_eq!(app.status(access).await.status, 200);
    let fresh = app.verify(OTHER, &old_code).await;
    assert_eq!(fresh.status, 200, "{}", fresh.text);
    let fresh = fresh.json()["access"].as_str().unwrap().to_owned();
    assert_eq!(signed(&claims(&app, &fresh), NEW), fresh, "the new secret signs");
    assert_eq!(app.request(PHONE).await.status, 200);

    app.set("SECRET_KEY_FALLBACKS", "");
    app.restart().await;
    refused(&app, access, "token_invalid", "signed under a secret that is gone").await;
    assert_eq!(app.status(&fresh).await.status, 200);
    assert_eq!(app.verify(PHONE, &app.code(PHONE)).await.status, 200);
}
