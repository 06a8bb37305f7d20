//! The move from Django: the switch, what an operator's command does beside the server, and what outlives `kill -9`.

use freshk::clock::{Clock as _, SystemClock};
use jsonwebtoken::{EncodingKey, Header};
use serde_json::{Value, json};

use crate::process::{Place, SECRET, Server};
use crate::twilio::FakeTwilio;
use crate::{post, status};

const REFRESH: &str = "/api/mobile/auth/token/refresh/";
const SAID: &str = "tokens that simplejwt issued before the move are accepted";

/// A place with user 57, imported.
fn place(twilio: &FakeTwilio) -> Place {
    let place = Place::production(twilio);
    std::fs::write(place.path().join("users.csv"), "id,phone_number,phone_verified\n57,+1234567890,true\n")
        .unwrap();
    place.run("user import users.csv");
    place
}

/// As simplejwt would write it now.
fn foreign(kind: &str) -> String {
    let now = SystemClock::new().now().as_secs();
    let claims =
        json!({ "token_type": kind, "exp": now + 300, "iat": now, "jti": "a".repeat(32), "user_id": "57" });
    jsonwebtoken::encode(&Header::default(), &claims, &EncodingKey::from_secret(SECRET.as_bytes())).unwrap()
}

async fn refresh(server: &Server, token: &str) -> (u16, Value) {
    post(server, "198.51.100.1", REFRESH, &json!({ "refresh": token })).await
}

#[tokio::test]
async fn the_start_says_that_foreign_tokens_are_good_and_only_then_they_are() {
    let twilio = FakeTwilio::start();
    let place = place(&twilio);
    let server = place.start();
    assert_eq!(status(&server, &foreign("access")).await, 401);
    assert!(!server.stderr.text().contains(SAID));
    server.stop();
    let place = place.with("FRESHK_TOKENS__ACCEPT_FOREIGN", "True");
    let mut server = place.start();
    assert_eq!(status(&server, &foreign("access")).await, 200);
    server.eventually("the line at the start", |server| server.stderr.text().contains(SAID).then_some(()));
}

#[tokio::test]
async fn s17_the_operators_logout_is_seen_within_a_second() {
    let twilio = FakeTwilio::start();
    let place = place(&twilio).with("FRESHK_TOKENS__ACCEPT_FOREIGN", "True");
    let server = place.start();
    let access = foreign("access");
    assert_eq!(status(&server, &access).await, 200);
    place.run("user logout 57");
    assert_eq!(status(&server, &access).await, 401);
    assert_eq!(refresh(&server, &foreign("refresh")).await.0, 401);
}

#[tokio::test]
async fn s29_an_exchange_outlives_a_kill() {
    let twilio = FakeTwilio::start();
    let place = place(&twilio).with("FRESHK_TOKENS__ACCEPT_FOREIGN", "True");
    let server = place.start();
    let theirs = foreign("refresh");
    let (code, first) = refresh(&server, &theirs).await;
    assert_eq!(code, 200, "{first}");
    server.kill();
    let server = place.start();
    let (code, again) = refresh(&server, &theirs).await;
    assert_eq!((code, &again["refresh"]), (200, &first["refresh"]), "the same session, no second one");
    let sessions: i64 = place.sql().query_row("SELECT count(*) FROM sessions", [], |row| row.get(0)).unwrap();
    assert_eq!(sessions, 1);
}
