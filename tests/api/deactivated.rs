//! S17: a deactivated user is out, wherever the row was changed.

use std::time::Duration;

use reqwest::Method;
use serde_json::json;

use crate::foreign::{self, CHECK, LOGOUT, REFRESH, SESSIONS, token};
use crate::support::{App, FIRST_ID, PHONE, until};

fn deactivate(app: &App) {
    let changed = app.execute("UPDATE users SET is_active = 0");
    assert_eq!(changed, 1);
}

const DISABLED: (u16, &str) = (403, "account_disabled");

#[tokio::test]
async fn s17_a_request_buys_no_sms_and_spends_only_the_addresss_unit() {
    let app = App::start().await;
    app.log_in(PHONE).await;
    deactivate(&app);
    let refused = app.request(PHONE).await;
    assert_eq!((refused.status, refused.code().as_str()), DISABLED);
    assert_eq!(refused.header("ratelimit"), "\"otp-ip\";r=4;t=3600");
    assert_eq!(
        (app.spent("user"), app.spent("ip:request")),
        (1, 2),
        "what the login had spent, and one more"
    );
    assert_eq!(app.count("SELECT count(*) FROM challenges"), 1);
    assert_eq!(app.twilio.requests().len(), 1);
}

#[tokio::test]
async fn s17_resend_and_status_know_within_a_second_of_a_foreign_write() {
    let app = App::start().await;
    let login = app.log_in(PHONE).await;
    let access = login["access"].as_str().unwrap();
    assert_eq!(app.status(access).await.json()["account_active"], true);
    deactivate(&app);
    until(|| async { app.status(access).await.json()["account_active"] == false }).await;
    let status = app.status(access).await;
    assert_eq!((status.status, &status.json()["authenticated"]), (200, &true.into()));

    let refused = app.resend(access).await;
    assert_eq!((refused.status, refused.code().as_str()), DISABLED);
    assert_eq!((app.spent("user"), app.spent("ip:resend")), (1, 1));
    assert_eq!(app.twilio.requests().len(), 1);
}

/// The write itself reads the row: no memory stands between.
#[tokio::test]
async fn s17_resend_knows_at_the_very_next_request() {
    let app = App::start().await;
    let login = app.log_in(PHONE).await;
    let access = login["access"].as_str().unwrap();
    assert_eq!(app.status(access).await.status, 200);
    deactivate(&app);
    assert_eq!(app.resend(access).await.code(), DISABLED.1);
}

#[tokio::test]
async fn s17_verify_tells_only_the_right_code() {
    let app = App::start().await;
    app.request(PHONE).await;
    deactivate(&app);
    let (right, wrong) = (app.code(PHONE), app.wrong_code(PHONE));
    assert_eq!(app.verify(PHONE, &wrong).await.verdict(), (400, "invalid_otp".to_owned()));
    let refused = app.verify(PHONE, &right).await;
    assert_eq!((refused.status, refused.code().as_str()), DISABLED);
    assert_eq!(app.verify(PHONE, &right).await.code(), "invalid_otp", "the code is spent");
    assert_eq!(app.count("SELECT count(*) FROM sessions"), 0);
    assert_eq!(app.words("SELECT phone_verified FROM users"), ["0"]);
    let told = app.words("SELECT detail FROM audit WHERE event = 'authn_login_fail' ORDER BY id");
    assert_eq!(told, ["wrong", "disabled", "used"]);
}

#[tokio::test]
async fn a_user_who_is_active_again_logs_in() {
    let app = App::start().await;
    app.log_in(PHONE).await;
    deactivate(&app);
    assert_eq!(app.request(PHONE).await.code(), DISABLED.1);
    app.execute("UPDATE users SET is_active = 1");
    app.log_in(PHONE).await;
}

#[tokio::test]
async fn s17_deactivation_ends_the_sessions_for_good() {
    let app = App::with(&[("FRESHK_LIMITS__IP", "0"), ("FRESHK_TOKENS__ACCESS_TTL", "1d")]).await;
    let login = app.log_in(PHONE).await;
    let (access, refresh) = (token(&login, "access"), json!({ "refresh": token(&login, "refresh") }));
    foreign::deactivate(&app, FIRST_ID).await;
    assert_eq!(app.count("SELECT count(*) FROM sessions WHERE ended_at IS NULL"), 0);
    let told = "SELECT detail FROM audit WHERE event = 'authn_token_revoked'";
    assert_eq!(app.words(told), ["operator: deactivated"]);
    // While that lasts, the tokens say why they are refused: today, and when maintenance has run many times.
    for _ in 0..2 {
        let status = app.status(access).await;
        assert_eq!(
            (status.status, &status.json()["account_active"]),
            (200, &false.into()),
            "{}",
            status.text
        );
        let delete = format!("{SESSIONS}{}/", "0".repeat(32));
        for (method, path) in [
            (Method::POST, "/api/mobile/auth/production/resend/"),
            (Method::POST, "/api/mobile/auth/logout/all/"),
            (Method::GET, SESSIONS),
            (Method::DELETE, &delete),
        ] {
            let refused = app.bearer(method, path, access).await;
            assert_eq!((refused.status, refused.code().as_str()), DISABLED, "{path}");
        }
        for path in [REFRESH, LOGOUT] {
            let refused = app.post(path, &refresh).await;
            assert_eq!((refused.status, refused.code().as_str()), DISABLED, "{path}");
        }
        for name in ["access", "refresh"] {
            let checked = app.post(CHECK, &json!({ "token": token(&login, name) })).await;
            assert_eq!(checked.verdict(), (401, "token_invalid".to_owned()), "nobody is let in with it");
        }
        app.clock.advance(Duration::from_hours(23));
        app.service().auth.maintain().await.unwrap();
    }
    assert_eq!(app.twilio.requests().len(), 1, "the login's");
    app.clock.advance(Duration::from_hours(24 * 20));
    app.service().auth.maintain().await.unwrap();
    assert_eq!(app.post(REFRESH, &refresh).await.code(), DISABLED.1);

    foreign::activate(&app, FIRST_ID).await;
    assert_eq!(app.post(REFRESH, &refresh).await.verdict(), (401, "token_invalid".to_owned()));
    assert_eq!(app.post(LOGOUT, &refresh).await.verdict(), (401, "token_invalid".to_owned()));
    let again = app.log_in(PHONE).await;
    assert_eq!(app.status(token(&again, "access")).await.status, 200);
    foreign::activate(&app, FIRST_ID).await;
    assert_eq!(app.status(token(&again, "access")).await.status, 200, "to activate twice ends nothing");
    app.clock.advance(Duration::from_hours(24 * 31));
    app.service().auth.maintain().await.unwrap();
    assert_eq!(app.count("SELECT count(*) FROM sessions"), 1, "the row goes once its tokens have expired");
}

/// Of whoever had logged out the tokens say no more than before.
#[tokio::test]
async fn s17_a_session_that_had_ended_before_the_deactivation_is_not_known_by_it() {
    let app = App::start().await;
    let (left, stays) = (app.log_in(PHONE).await, app.log_in(PHONE).await);
    assert_eq!(app.post(LOGOUT, &json!({ "refresh": token(&left, "refresh") })).await.status, 200);
    foreign::deactivate(&app, FIRST_ID).await;
    let known = app.status(token(&stays, "access")).await;
    assert_eq!((known.status, &known.json()["account_active"]), (200, &false.into()));
    let gone = app.status(token(&left, "access")).await;
    assert_eq!(gone.verdict(), (401, "token_invalid".to_owned()));
    let gone = foreign::refresh(&app, token(&left, "refresh")).await;
    assert_eq!(gone.verdict(), (401, "token_invalid".to_owned()));
}

#[tokio::test]
async fn s17_an_access_token_of_before_the_deactivation_is_worthless_after_it() {
    let app = App::start().await;
    let login = app.log_in(PHONE).await;
    let access = token(&login, "access");
    assert_eq!(app.status(access).await.status, 200);
    foreign::deactivate(&app, FIRST_ID).await;
    assert_eq!(app.status(access).await.json()["account_active"], false);
    foreign::activate(&app, FIRST_ID).await;
    assert_eq!(app.status(access).await.verdict(), (401, "token_invalid".to_owned()));
    assert_eq!(app.resend(access).await.verdict(), (401, "token_invalid".to_owned()));
}

/// Or the erasure of a person would be undone by the phone in their pocket.
#[tokio::test]
async fn s17_a_deleted_user_gets_no_code_and_does_not_come_back() {
    let app = App::start().await;
    let login = app.log_in(PHONE).await;
    let access = login["access"].as_str().unwrap();
    assert_eq!(app.status(access).await.status, 200);
    app.execute("DELETE FROM users");
    assert_eq!(app.resend(access).await.verdict(), (401, "token_invalid".to_owned()));
    assert_eq!((app.twilio.requests().len(), app.spent("user")), (1, 1));
    assert_eq!(app.count("SELECT count(*) FROM users"), 0);
}

#[tokio::test]
async fn s17_a_token_proves_no_number_that_its_user_has_left() {
    let app = App::start().await;
    let login = app.log_in(PHONE).await;
    let access = login["access"].as_str().unwrap();
    assert_eq!(app.status(access).await.status, 200);
    app.execute("UPDATE users SET phone = '+19990000001'");
    let resent = app.resend(access).await;
    // Known at once, or still in memory for a moment: never an SMS to the old number.
    assert!(matches!(resent.status, 200 | 401), "{}", resent.text);
    let to = app.twilio.requests();
    assert!(to[1..].iter().all(|sms| sms.field("To") == Some("+19990000001")));
}
