//! All that is kept about a user, for that user, once an hour.

use std::time::Duration;

use freshk::domain::UserId;
use reqwest::Method;
use serde_json::{Value, json};

use crate::foreign::{operate, refresh, token};
use crate::support::{Answer, App, FIRST_ID, PHONE, VERIFY};

const EXPORT: &str = "/api/mobile/auth/account/export/";
const OTHER: &str = "+4470011223344";

async fn export(app: &App, login: &Value) -> Answer {
    app.bearer(Method::GET, EXPORT, token(login, "access")).await
}

fn members(value: &Value) -> Vec<&str> {
    value.as_object().unwrap().keys().map(String::as_str).collect()
}

#[tokio::test]
async fn an_export_has_all_that_is_kept_of_the_bearer_and_nothing_of_others() {
    let app = App::start().await;
    app.log_in(OTHER).await;
    let first = app.log_in(PHONE).await;
    app.clock.advance(Duration::from_secs(1));
    let login = app.log_in(PHONE).await;
    assert_eq!(app.post(crate::foreign::LOGOUT, &json!({ "refresh": first["refresh"] })).await.status, 200);
    app.verify(PHONE, "000000").await;
    app.execute(r#"UPDATE users SET attributes = '{"plan":"gold"}' WHERE phone = '+1234567890'"#);
    let answer = export(&app, &login).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    assert_eq!(answer.header("cache-control"), "no-store");
    assert_eq!(answer.header("ratelimit"), "\"export\";r=0;t=3600");
    let told = answer.json();
    assert_eq!(
        members(&told),
        ["exported_at", "complete", "user", "sessions", "devices", "messages", "events"]
    );
    assert_eq!(told["complete"], true);
    let user = &told["user"];
    assert_eq!((&user["id"], &user["phone_number"]), (&json!(FIRST_ID + 1), &json!(PHONE)));
    assert_eq!((&user["is_active"], &user["attributes"]), (&json!(true), &json!({ "plan": "gold" })));
    let ended = |session: &Value| session["end_reason"].as_str().map(str::to_owned);
    let sessions: Vec<_> = told["sessions"].as_array().unwrap().iter().map(ended).collect();
    assert_eq!(sessions, [None, Some("logout".to_owned())]);
    assert_eq!(told["sessions"][0]["ip"], "198.51.100.1");
    assert_eq!(told["devices"].as_array().unwrap().len(), 2);
    let messages = told["messages"].as_array().unwrap();
    assert_eq!((messages.len(), &messages[0]["state"]), (2, &json!("queued")));
    let events: Vec<_> =
        told["events"].as_array().unwrap().iter().map(|line| line["event"].as_str().unwrap()).collect();
    assert_eq!(&events[..2], ["user_exported", "authn_login_fail"]);
    assert_eq!(events.iter().filter(|event| **event == "authn_login_success").count(), 2);
    let line = &told["events"][1];
    assert_eq!((&line["ip"], &line["detail"]), (&json!("127.0.0.1"), &json!("no code")));
    assert!(!answer.text.contains("4470011223344") && !answer.text.contains(token(&login, "refresh")));
    // What keys sign and hash stays where it is.
    for secret in app.words("SELECT jti FROM sessions") {
        assert!(!answer.text.contains(&secret));
    }
}

/// Somebody else's proof of the number that the bearer wanted ends the change, and its line is the bearer's.
#[tokio::test]
async fn it_tells_nothing_of_who_proved_the_wanted_number_first() {
    let app = App::start().await;
    let login = app.log_in(PHONE).await;
    crate::number::begin(&app, &login, OTHER).await;
    app.request_from("203.0.113.77", OTHER).await;
    let body = json!({ "phone_number": OTHER, "otp": app.code(OTHER) });
    assert_eq!(app.post_from("203.0.113.77", VERIFY, &body).await.status, 200);
    let answer = export(&app, &login).await;
    assert!(answer.text.contains("the number is somebody else's"), "{}", answer.text);
    assert!(!answer.text.contains("203.0.113.77"), "{}", answer.text);
}

#[tokio::test]
async fn it_is_given_once_an_hour_and_waiting_just_that_long_is_enough() {
    let app = App::start().await;
    let (login, other) = (app.log_in(PHONE).await, app.log_in(OTHER).await);
    assert_eq!(export(&app, &login).await.status, 200);
    app.clock.advance(Duration::from_mins(10));
    let refused = export(&app, &login).await;
    assert_eq!(
        (refused.verdict(), refused.header("retry-after")),
        ((429, "rate_limited".to_owned()), "3000")
    );
    assert_eq!(refused.header("ratelimit"), "\"export\";r=0;t=3000");
    assert_eq!(export(&app, &other).await.status, 200, "another user's");
    app.clock.advance(Duration::from_secs(2999));
    let login = refresh(&app, token(&login, "refresh")).await.json();
    assert_eq!(export(&app, &login).await.status, 429);
    app.clock.advance(Duration::from_secs(1));
    assert_eq!(export(&app, &login).await.status, 200, "S20");
    assert_eq!(app.spent("export"), 3);
    let refusals =
        "SELECT count(*) FROM audit WHERE event = 'excess_rate_limit_exceeded' AND detail = 'export'";
    assert_eq!(app.count(refusals), 1, "S35");
}

#[tokio::test]
async fn of_two_at_once_one_gets_it() {
    let app = App::start().await;
    let login = app.log_in(PHONE).await;
    let (one, other) = futures_util::future::join(export(&app, &login), export(&app, &login)).await;
    assert_eq!(one.status + other.status, 200 + 429);
}

#[tokio::test]
async fn only_a_bearer_who_may_use_the_account_gets_it() {
    let app = App::start().await;
    let login = app.log_in(PHONE).await;
    assert_eq!(Answer::of(app.build(Method::GET, EXPORT)).await.code(), "not_authenticated");
    assert_eq!(app.bearer(Method::GET, EXPORT, token(&login, "refresh")).await.code(), "token_invalid");
    assert_eq!(app.bearer(Method::POST, EXPORT, token(&login, "access")).await.status, 405);
    operate(&app, |operator| {
        let user = operator.view().user(UserId(FIRST_ID))?.unwrap();
        operator.deactivate(&user).map(drop)
    })
    .await;
    assert_eq!(export(&app, &login).await.verdict(), (403, "account_disabled".to_owned()));
    assert_eq!(app.spent("export"), 0);
}

#[tokio::test]
async fn it_is_bounded_and_says_what_is_left_out() {
    let app = App::start().await;
    let login = app.log_in(PHONE).await;
    app.execute(
        "INSERT INTO audit (at, event, user_id, ip, detail) WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n \
         WHERE i < 6000) SELECT i, 'authn_login_fail', 1000000001, '203.0.113.7', 'wrong' FROM n",
    );
    let answer = export(&app, &login).await;
    let told = answer.json();
    assert_eq!((told["events"].as_array().unwrap().len(), &told["complete"]), (5000, &json!(false)));
    assert!(answer.text.len() < 2_000_000, "{}", answer.text.len());
}
