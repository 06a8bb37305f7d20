//! Limits over a restart and over `kill -9` of the real process (S19).

use serde_json::json;

use crate::process::{Place, Server};
use crate::twilio::{FakeTwilio, sms_code};
use crate::{PHONE, REQUEST, VERIFY, answer, client, request, status, verify};

/// How a process ends between two calls.
const ENDINGS: [fn(Server); 2] = [Server::stop, Server::kill];

#[tokio::test]
async fn s19_three_codes_for_a_phone_over_restarts_and_kills() {
    let twilio = FakeTwilio::start();
    let place = Place::production(&twilio);
    for (call, end) in (0..3).zip(ENDINGS.into_iter().cycle()) {
        let server = place.start();
        let (code, sent) = request(&server, &format!("198.51.100.{call}"), PHONE).await;
        assert_eq!(code, 200, "{sent}");
        end(server);
    }
    let server = place.start();
    let (code, refused) = request(&server, "198.51.100.9", PHONE).await;
    assert_eq!((code, &refused["code"]), (429, &json!("rate_limited")));
    assert_eq!(twilio.requests().len(), 3);
}

#[tokio::test]
async fn s19_five_calls_of_an_endpoint_for_an_address_over_restarts_and_kills() {
    let twilio = FakeTwilio::start();
    let place = Place::production(&twilio);
    for (call, end) in (0..5).zip(ENDINGS.into_iter().cycle()) {
        let server = place.start();
        let phone = format!("+1234567890{call}");
        assert_eq!(request(&server, "198.51.100.1", &phone).await.0, 200);
        let (code, refused) = verify(&server, "198.51.100.1", &phone, "000000").await;
        assert_eq!((code, &refused["code"]), (400, &json!("invalid_otp")));
        end(server);
    }
    let server = place.start();
    assert_eq!(request(&server, "198.51.100.1", "+12345678906").await.0, 429);
    assert_eq!(verify(&server, "198.51.100.1", "+12345678900", "000000").await.0, 429);
    assert_eq!(request(&server, "198.51.100.2", "+12345678906").await.0, 200, "another address has its own");
    assert_eq!(twilio.requests().len(), 6);
}

#[tokio::test]
async fn a_login_outlives_a_kill_and_its_code_does_not() {
    let twilio = FakeTwilio::start();
    let place = Place::production(&twilio);
    let server = place.start();
    assert_eq!(
        answer(client().post(server.url(REQUEST)).json(&json!({ "phone_number": PHONE }))).await.0,
        200
    );
    let code = sms_code(&twilio.requests()[0]);
    let body = json!({ "phone_number": PHONE, "otp": code });
    let (_, login) = answer(client().post(server.url(VERIFY)).json(&body)).await;
    server.kill();
    let server = place.start();
    assert_eq!(status(&server, login["access"].as_str().unwrap()).await, 200);
    assert_eq!(verify(&server, "198.51.100.1", PHONE, &code).await.1["code"], "invalid_otp");
}
