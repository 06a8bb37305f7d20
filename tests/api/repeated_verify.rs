//! A verify whose answer was lost: with an `Idempotency-Key` the same session comes again, and nobody else gains by it.

use std::time::Duration;

use futures_util::future::join_all;
use reqwest::Method;
use serde_json::json;

use crate::foreign::{LOGOUT, pair, token};
use crate::support::{Answer, App, PHONE, VERIFY};

const KEY: &str = "0123456789abcdef";
const SECOND: Duration = Duration::from_secs(1);

async fn app() -> App {
    App::with(&[
        ("FRESHK_LIMITS__IP", "0"),
        ("FRESHK_LIMITS__USER", "0"),
        ("FRESHK_LIMITS__FLOOD_PER_SECOND", "0"),
    ])
    .await
}

fn failures(app: &App) -> i64 {
    app.spent("failures")
}

async fn verify_with(app: &App, key: Option<&str>, otp: &str) -> Answer {
    let call = app.build(Method::POST, VERIFY).json(&json!({ "phone_number": PHONE, "otp": otp }));
    Answer::of(if let Some(key) = key { call.header("idempotency-key", key) } else { call }).await
}

#[tokio::test]
async fn a_verify_repeated_within_a_minute_gives_the_same_session() {
    for (wait, status) in [(0, 200), (59, 200), (60, 400), (61, 400)] {
        let app = app().await;
        app.request(PHONE).await;
        let code = app.code(PHONE);
        let first = verify_with(&app, Some(KEY), &code).await.json();
        app.clock.advance(SECOND * wait);
        for (key, otp) in [
            (None, code.as_str()),
            (Some("another-key-of-16"), code.as_str()),
            (Some(KEY), app.wrong_code(PHONE).as_str()),
        ] {
            assert_eq!(verify_with(&app, key, otp).await.code(), "invalid_otp", "{wait} {key:?}");
        }
        let again = verify_with(&app, Some(KEY), &code).await;
        assert_eq!(again.status, status, "{wait}: {}", again.text);
        if status == 200 {
            assert_eq!(again.json()["refresh"], first["refresh"], "the same session, the same refresh token");
            assert_eq!(again.json()["user"], first["user"]);
        }
        assert_eq!(app.count("SELECT count(*) FROM sessions"), 1);
    }
}

#[tokio::test]
async fn a_repeated_verify_says_again_whether_the_user_is_new() {
    let concealed = [("FRESHK_PRIVACY__CONCEAL_ACCOUNTS", "true")];
    let dormant = [("FRESHK_USERS__DORMANT_AFTER", "90d")];
    for (variables, expected) in
        [(concealed, [Some(true), Some(false), Some(false)]), (dormant, [None, None, Some(true)])]
    {
        let app = App::with(&variables).await;
        for (days, expected) in [0, 1, 90].into_iter().zip(expected) {
            for _ in 0..days {
                app.clock.advance(Duration::from_hours(24));
                app.service().auth.maintain().await.unwrap();
            }
            app.request(PHONE).await;
            let code = app.code(PHONE);
            let key = format!("the-key-of-day-{days}");
            let first = verify_with(&app, Some(&key), &code).await.json();
            let again = verify_with(&app, Some(&key), &code).await.json();
            assert_eq!(first["is_new_user"].as_bool(), expected, "{variables:?} {days}");
            assert_eq!(again["is_new_user"], first["is_new_user"], "{variables:?} {days}");
        }
        let (_, page) = app.operations("/metrics").await;
        let converted = 1 + usize::from(variables == dormant);
        let line = format!("freshk_sms_converted_total{{country=\"US\"}} {converted}");
        assert!(page.contains(&line), "{page}");
    }
}

#[tokio::test]
async fn a_repeated_verify_opens_no_session_that_has_ended() {
    let app = app().await;
    app.request(PHONE).await;
    let code = app.code(PHONE);
    let login = verify_with(&app, Some(KEY), &code).await.json();
    app.post(LOGOUT, &json!({ "refresh": token(&login, "refresh") })).await;
    assert_eq!(verify_with(&app, Some(KEY), &code).await.code(), "invalid_otp");
    let long = "k".repeat(129);
    for key in ["short", long.as_str(), "with a space in it"] {
        assert_eq!(verify_with(&app, Some(key), &code).await.code(), "bad_request", "{key}");
    }
}

/// An app may derive the key from the phone, so that others know it.
#[tokio::test]
async fn s5_of_three_hundred_guesses_with_a_known_key_at_most_five_are_judged() {
    let app = app().await;
    app.request(PHONE).await;
    let (right, wrong) = (app.code(PHONE), app.wrong_code(PHONE));
    assert_eq!(verify_with(&app, Some(KEY), &right).await.status, 200);
    let answers = join_all((0..300).map(|_| verify_with(&app, Some(KEY), &wrong))).await;
    assert!(answers.iter().all(|answer| answer.code() == "invalid_otp"));
    assert_eq!(app.words("SELECT attempts FROM challenges"), ["5"]);
    assert_eq!(failures(&app), 5, "against the phone's day too");
    let told = "SELECT count(*) FROM audit WHERE event = 'authn_login_fail_max' AND detail = 'code'";
    assert_eq!(app.count(told), 1);
    let over = verify_with(&app, Some(KEY), &right).await;
    assert_eq!(over.code(), "invalid_otp", "and then even the right one is not told");
    assert_eq!(app.count("SELECT count(*) FROM sessions"), 1);
}

#[tokio::test]
async fn guesses_of_before_the_login_count_against_the_repetition() {
    let app = app().await;
    app.request(PHONE).await;
    let (right, wrong) = (app.code(PHONE), app.wrong_code(PHONE));
    for _ in 0..4 {
        assert_eq!(app.verify(PHONE, &wrong).await.code(), "invalid_otp");
    }
    assert_eq!(verify_with(&app, Some(KEY), &right).await.status, 200);
    assert_eq!(verify_with(&app, Some(KEY), &right).await.status, 200, "one guess is left");
    assert_eq!(verify_with(&app, Some(KEY), &wrong).await.code(), "invalid_otp");
    assert_eq!(verify_with(&app, Some(KEY), &right).await.code(), "invalid_otp");
}

#[tokio::test]
async fn s6_while_the_phones_day_is_spent_nothing_is_repeated() {
    let app = App::with(&[("FRESHK_OTP__MAX_FAILURES_PER_DAY", "2"), ("FRESHK_LIMITS__IP", "0")]).await;
    app.request(PHONE).await;
    let (right, wrong) = (app.code(PHONE), app.wrong_code(PHONE));
    assert_eq!(verify_with(&app, Some(KEY), &right).await.status, 200);
    for _ in 0..2 {
        assert_eq!(verify_with(&app, Some(KEY), &wrong).await.code(), "invalid_otp");
    }
    for code in [&wrong, &right] {
        assert_eq!(verify_with(&app, Some(KEY), code).await.code(), "rate_limited");
    }
    assert_eq!(app.words("SELECT attempts FROM challenges"), ["2"], "what is not judged is not counted");
}

#[tokio::test]
async fn s16_a_phone_that_has_moved_on_has_had_its_answer() {
    let app = app().await;
    app.request(PHONE).await;
    let code = app.code(PHONE);
    let login = verify_with(&app, Some(KEY), &code).await.json();
    let next = pair(&app, token(&login, "refresh")).await;
    let again = verify_with(&app, Some(KEY), &code).await;
    assert_eq!(
        again.verdict(),
        (400, "invalid_otp".to_owned()),
        "the current refresh token is the phone's alone"
    );
    for _ in 0..20 {
        let wrong = verify_with(&app, Some(KEY), &app.wrong_code(PHONE)).await;
        assert_eq!(wrong.code(), "invalid_otp");
    }
    assert_eq!(failures(&app), 0, "nor is anything judged");
    pair(&app, token(&next, "refresh")).await;
}

#[tokio::test]
async fn s6_beside_a_new_code_a_known_keys_guess_counts_for_both_and_the_new_code_logs_in() {
    let app = app().await;
    app.request(PHONE).await;
    let old = app.code(PHONE);
    let first = verify_with(&app, Some(KEY), &old).await.json();
    app.request(PHONE).await;
    let new = app.code(PHONE);
    let wrong = (0..10).map(|n| format!("{n:06}")).find(|code| *code != old && *code != new).unwrap();
    assert_eq!(verify_with(&app, Some(KEY), &wrong).await.code(), "invalid_otp");
    assert_eq!(failures(&app), 2);
    assert_eq!(app.words("SELECT attempts FROM challenges ORDER BY id"), ["1", "1"]);
    assert_eq!(verify_with(&app, Some(KEY), &old).await.json()["refresh"], first["refresh"]);
    assert_eq!(verify_with(&app, Some(KEY), &new).await.status, 200);
    assert_eq!(app.count("SELECT count(*) FROM sessions"), 2);
    assert_eq!(failures(&app), 2, "the right codes cost nothing");
}

#[tokio::test]
async fn a_guess_with_another_key_is_tried_against_no_code_that_is_spent() {
    let app = app().await;
    app.request(PHONE).await;
    let code = app.code(PHONE);
    assert_eq!(verify_with(&app, Some(KEY), &code).await.status, 200);
    for _ in 0..20 {
        assert_eq!(verify_with(&app, Some("another-key-of-16"), &code).await.code(), "invalid_otp");
    }
    assert_eq!(failures(&app), 0);
    assert_eq!(verify_with(&app, Some(KEY), &code).await.status, 200, "nobody closes it for the phone");
}
