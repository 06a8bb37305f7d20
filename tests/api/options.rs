//! Options of codes and users, as a client meets them.

use std::time::Duration;

use crate::support::{App, PHONE};
use crate::twilio::Answer as Twilio;

#[tokio::test]
async fn a_cooldown_stands_between_two_codes_for_one_phone() {
    let app = App::with(&[("FRESHK_OTP__RESEND_COOLDOWN", "30s")]).await;
    let login = app.log_in(PHONE).await;
    let access = login["access"].as_str().unwrap();
    app.clock.advance(Duration::from_millis(1500));
    for refused in [app.request(PHONE).await, app.resend(access).await] {
        assert_eq!(refused.verdict(), (429, "rate_limited".to_owned()));
        assert_eq!(refused.header("retry-after"), "29");
        assert_eq!(refused.json()["error"], "Too many requests. Please try again in 29 seconds.");
    }
    assert_eq!(app.spent("user"), 1);
    assert_eq!(app.request("+19990000001").await.status, 200, "another phone has its own");
    app.clock.advance(Duration::from_secs(28));
    assert_eq!(app.request(PHONE).await.code(), "rate_limited");
    app.clock.advance(Duration::from_secs(1));
    assert_eq!(app.resend(access).await.status, 200);
    assert_eq!(app.twilio.requests().len(), 3);
}

#[tokio::test]
async fn a_code_that_surely_was_not_sent_begins_no_cooldown() {
    let app = App::with(&[("FRESHK_OTP__RESEND_COOLDOWN", "30s")]).await;
    app.twilio
        .script(vec![Twilio::Error { http: 400, code: 30450, message: "blocked" }, Twilio::ResetAfterBody]);
    assert_eq!(app.request(PHONE).await.code(), "sms_delivery_failed");
    assert_eq!(app.request(PHONE).await.code(), "sms_delivery_failed", "the second went out");
    assert_eq!(app.request(PHONE).await.code(), "rate_limited", "and may have arrived");
    assert_eq!(app.twilio.requests().len(), 2);
}

#[tokio::test]
async fn s1_a_code_has_as_many_digits_as_are_configured() {
    let app = App::with(&[("FRESHK_OTP__LENGTH", "8")]).await;
    app.request(PHONE).await;
    let code = app.code(PHONE);
    assert_eq!(code.len(), 8);
    assert_eq!(app.verify(PHONE, &code[..6]).await.code(), "invalid_otp");
    assert_eq!(app.words("SELECT attempts FROM challenges"), ["0"], "six digits are no code of eight");
    assert_eq!(app.verify(PHONE, &code).await.status, 200);
}

#[tokio::test]
async fn ids_begin_where_they_are_told_to_and_never_come_again() {
    let mut app = App::with(&[("FRESHK_USERS__FIRST_ID", "5000")]).await;
    assert_eq!(app.log_in(PHONE).await["user"]["id"], 5000);
    assert_eq!(app.log_in("+19990000001").await["user"]["id"], 5001);
    app.execute("DELETE FROM users WHERE id = 5001");
    app.restart().await;
    assert_eq!(app.log_in("+19990000002").await["user"]["id"], 5002, "5001 was somebody's");
    app.set("FRESHK_USERS__FIRST_ID", "1");
    app.restart().await;
    assert_eq!(app.log_in("+19990000003").await["user"]["id"], 5003, "a lower number changes nothing");
    app.set("FRESHK_USERS__FIRST_ID", "9007199254740000");
    app.restart().await;
    app.clock.advance(Duration::from_hours(1));
    assert_eq!(app.log_in("+19990000004").await["user"]["id"], 9_007_199_254_740_000_i64);
}

#[tokio::test]
async fn a_new_user_has_the_default_role_and_keeps_it() {
    let mut app =
        App::with(&[("FRESHK_USERS__ROLES", "retailer,driver"), ("FRESHK_USERS__DEFAULT_ROLE", "driver")])
            .await;
    let login = app.log_in(PHONE).await;
    assert_eq!(login["user"]["role"], "driver");
    let status = app.status(login["access"].as_str().unwrap()).await;
    assert_eq!(status.json()["user"]["role"], "driver");
    app.set("FRESHK_USERS__DEFAULT_ROLE", "retailer");
    app.restart().await;
    assert_eq!(app.log_in(PHONE).await["user"]["role"], "driver");
    assert_eq!(app.log_in("+19990000001").await["user"]["role"], "retailer");
}

#[tokio::test]
async fn a_username_that_is_taken_gets_a_number() {
    let app = App::start().await;
    app.execute(
        "INSERT INTO users (username, phone, role, joined_at) VALUES
         ('user_1234567890', '+19990000001', 'retailer', 0), ('user_1234567890_2', '+19990000002', 'retailer', 0)",
    );
    let login = app.log_in(PHONE).await;
    assert_eq!(login["user"]["username"], "user_1234567890_3");
    assert_eq!(app.log_in("+19990000001").await["user"]["username"], "user_1234567890");
}
