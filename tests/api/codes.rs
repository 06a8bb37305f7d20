//! S2–S7: what a code is good for, and for how long.

use std::time::Duration;

use freshk::domain::keys::KeyRing;
use freshk::domain::{Binding, ChallengeId, Code, PhoneNumber, Secret};
use futures_util::future::join_all;
use reqwest::Method;
use serde_json::json;

use crate::support::{Answer, App, PHONE, SECRET};

const SECOND: Duration = Duration::from_secs(1);

#[tokio::test]
async fn s2_accepted_at_599_seconds_and_refused_at_601() {
    for (seconds, status) in [(599, 200), (601, 400)] {
        let app = App::start().await;
        app.request(PHONE).await;
        app.clock.advance(SECOND * seconds);
        let answer = app.verify(PHONE, &app.code(PHONE)).await;
        assert_eq!(answer.status, status, "{}", answer.text);
    }
}

#[tokio::test]
async fn s3_of_fifty_parallel_right_codes_exactly_one_gets_tokens() {
    let app = App::with(&[("FRESHK_LIMITS__IP", "0")]).await;
    app.request(PHONE).await;
    let code = app.code(PHONE);
    let answers = join_all((0..50).map(|_| app.verify(PHONE, &code))).await;
    let good = answers.iter().filter(|answer| answer.status == 200).count();
    assert_eq!(good, 1);
    assert!(answers.iter().all(|answer| answer.status == 200 || answer.code() == "invalid_otp"));
    assert_eq!(app.count("SELECT count(*) FROM sessions"), 1);
}

#[tokio::test]
async fn s5_of_two_hundred_parallel_wrong_codes_at_most_five_are_evaluated() {
    let app = App::with(&[("FRESHK_LIMITS__IP", "0"), ("FRESHK_LIMITS__FLOOD_PER_SECOND", "0")]).await;
    app.request(PHONE).await;
    let wrong = app.wrong_code(PHONE);
    let answers = join_all((0..200).map(|_| app.verify(PHONE, &wrong))).await;
    assert!(answers.iter().all(|answer| answer.code() == "invalid_otp"));
    assert_eq!(app.count("SELECT attempts FROM challenges"), 5);
    assert_eq!(app.count("SELECT count(*) FROM spends WHERE quota = 'failures'"), 5);
    let right = app.verify(PHONE, &app.code(PHONE)).await;
    assert_eq!(right.code(), "invalid_otp", "the code is over-tried");
}

#[tokio::test]
async fn s4_a_new_code_voids_the_older_one_once_its_sms_is_accepted() {
    let app = App::start().await;
    app.request(PHONE).await;
    let older = app.code(PHONE);
    app.request(PHONE).await;
    assert_eq!(app.verify(PHONE, &older).await.code(), "invalid_otp");
    assert_eq!(app.verify(PHONE, &app.code(PHONE)).await.status, 200);
}

#[tokio::test]
async fn s4_with_two_live_codes_the_two_newest_are_good() {
    let app = App::with(&[("FRESHK_OTP__LIVE_CODES", "2")]).await;
    let mut codes = Vec::new();
    for _ in 0..3 {
        app.request(PHONE).await;
        codes.push(app.code(PHONE));
    }
    assert_eq!(app.verify(PHONE, &codes[0]).await.code(), "invalid_otp");
    assert_eq!(app.verify(PHONE, &codes[1]).await.status, 200);
    assert_eq!(app.verify(PHONE, &codes[2]).await.code(), "invalid_otp", "a login spends them all");
}

#[tokio::test]
async fn s4_a_code_of_one_channel_is_nothing_in_the_other() {
    let app = App::with(&[("DEBUG", "True"), ("FRESHK_SMS__PROVIDER", "twilio")]).await;
    app.request(PHONE).await;
    let code = app.code(PHONE);
    let body = json!({ "phone_number": PHONE, "otp": code });
    assert_eq!(app.post("/api/mobile/auth/verify/", &body).await.code(), "invalid_otp");
    assert_eq!(app.verify(PHONE, &code).await.status, 200);
}

#[tokio::test]
async fn s6_failures_outlive_new_codes_and_a_restart_and_s7_the_block_slides() {
    let mut app = App::with(&[("FRESHK_LIMITS__IP", "0"), ("FRESHK_LIMITS__USER", "0")]).await;
    for round in 0..3 {
        app.request(PHONE).await;
        for _ in 0..5 {
            assert_eq!(
                app.verify(PHONE, &app.wrong_code(PHONE)).await.code(),
                "invalid_otp",
                "round {round}"
            );
        }
        app.restart().await;
    }
    let refused = app.verify(PHONE, "000000").await;
    assert_eq!(refused.verdict(), (429, "rate_limited".to_owned()));
    let sent = app.twilio.requests().len();
    assert_eq!(app.request(PHONE).await.code(), "rate_limited", "a day of failures buys no SMS");
    assert_eq!(app.twilio.requests().len(), sent);
    let wait: u64 = refused.header("retry-after").parse().unwrap();
    app.clock.advance(SECOND * u32::try_from(wait - 1).unwrap());
    assert_eq!(app.verify(PHONE, "000000").await.code(), "rate_limited");
    app.clock.advance(SECOND);
    assert_eq!(app.request(PHONE).await.status, 200);
    assert_eq!(app.verify(PHONE, &app.code(PHONE)).await.status, 200);
}

#[tokio::test]
async fn a_guess_where_no_code_is_alive_does_not_count() {
    let app = App::with(&[("FRESHK_LIMITS__IP", "0")]).await;
    app.log_in(PHONE).await;
    for _ in 0..20 {
        assert_eq!(app.verify(PHONE, "000000").await.code(), "invalid_otp");
    }
    assert_eq!(app.count("SELECT count(*) FROM spends WHERE quota = 'failures'"), 0);
}

const DEBUG: [(&str, &str); 2] = [("DEBUG", "True"), ("FRESHK_SMS__PROVIDER", "twilio")];

/// A whole login in the testing mode, by somebody who reads the console.
async fn log_in_for_testing(app: &App) -> Answer {
    let body = json!({ "phone_number": PHONE });
    assert_eq!(app.post("/api/mobile/auth/request/", &body).await.status, 200);
    let id = app.count("SELECT max(id) FROM challenges WHERE channel = 'testing'");
    let (code, phone) = (Code::parse("135790", 6).unwrap(), PhoneNumber::parse(PHONE, 10).unwrap());
    let keys = KeyRing::new(&Secret::new(SECRET), &[]);
    let hash = code.hash(keys.current(), Binding::Login(ChallengeId(id), &phone)).tag;
    app.execute(&format!("UPDATE challenges SET code_hmac = {} WHERE id = {id}", app.literal(&hash)));
    app.post("/api/mobile/auth/verify/", &json!({ "phone_number": PHONE, "otp": "135790" })).await
}

#[tokio::test]
async fn a_testing_login_opens_no_user_who_was_verified_in_production() {
    let app = App::with(&DEBUG).await;
    let login = app.log_in(PHONE).await;
    let refused = log_in_for_testing(&app).await;
    assert_eq!(refused.verdict(), (403, "account_disabled".to_owned()));
    assert_eq!(app.count("SELECT count(*) FROM sessions"), 1);
    let told = app.words("SELECT detail FROM audit WHERE event = 'authn_login_fail' AND channel = 'testing'");
    assert_eq!(told, ["verified in production"]);
    assert_eq!(app.status(login["access"].as_str().unwrap()).await.status, 200);
    app.log_in(PHONE).await;

    // One who was verified elsewhere and imported is no user of the testing mode either.
    let app = App::with(&DEBUG).await;
    let import = "INSERT INTO users (username, phone, role, phone_verified, joined_at, imported_at)
                  VALUES ('asha', '+1234567890', 'retailer', true, 0, 0)";
    app.execute(import);
    assert_eq!(log_in_for_testing(&app).await.code(), "account_disabled");
}

#[tokio::test]
async fn what_the_testing_mode_opened_ends_with_the_first_proof_in_production() {
    let app = App::with(&DEBUG).await;
    let mut tested = Vec::new();
    for _ in 0..2 {
        let login = log_in_for_testing(&app).await;
        assert_eq!(login.status, 200, "{}", login.text);
        tested.push(login.json());
    }
    let login = app.log_in(PHONE).await;
    assert_eq!(login["user"]["id"], tested[0]["user"]["id"]);
    for session in tested {
        assert_eq!(app.status(session["access"].as_str().unwrap()).await.status, 401);
        let refreshed =
            app.post("/api/mobile/auth/token/refresh/", &json!({ "refresh": session["refresh"] })).await;
        assert_eq!(refreshed.status, 401, "{}", refreshed.text);
    }
    let sessions =
        app.bearer(Method::GET, "/api/mobile/auth/sessions/", login["access"].as_str().unwrap()).await;
    assert_eq!(sessions.json()["sessions"].as_array().unwrap().len(), 1);
    assert_eq!(log_in_for_testing(&app).await.code(), "account_disabled");
}
