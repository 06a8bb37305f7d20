//! Logging out, and the list of devices.

use std::time::Duration;

use futures_util::future::join_all;
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{Answer, App, PHONE, VERIFY, until};

const REFRESH: &str = "/api/mobile/auth/token/refresh/";
const LOGOUT: &str = "/api/mobile/auth/logout/";
const LOGOUT_ALL: &str = "/api/mobile/auth/logout/all/";
const SESSIONS: &str = "/api/mobile/auth/sessions/";
const OTHER: &str = "+1234567899";
const SECOND: Duration = Duration::from_secs(1);

async fn app() -> App {
    App::with(&[("FRESHK_LIMITS__IP", "0"), ("FRESHK_LIMITS__USER", "0")]).await
}

fn token<'a>(pair: &'a Value, name: &str) -> &'a str {
    pair[name].as_str().unwrap()
}

async fn sessions(app: &App, login: &Value) -> Vec<Value> {
    let list = app.bearer(Method::GET, SESSIONS, token(login, "access")).await;
    assert_eq!(list.status, 200, "{}", list.text);
    list.json()["sessions"].as_array().unwrap().clone()
}

async fn end(app: &App, login: &Value, id: &str) -> Answer {
    app.bearer(Method::DELETE, &format!("{SESSIONS}{id}/"), token(login, "access")).await
}

async fn assert_out(app: &App, login: &Value) {
    let status = app.status(token(login, "access")).await;
    assert_eq!(status.verdict(), (401, "token_invalid".to_owned()));
    assert!(status.header("www-authenticate").contains("error=\"invalid_token\""));
    let refreshed = app.post(REFRESH, &json!({ "refresh": token(login, "refresh") })).await;
    assert_eq!(refreshed.verdict(), (401, "token_invalid".to_owned()));
}

#[tokio::test]
async fn s17_logout_ends_the_access_tokens_too_and_only_of_that_session() {
    let app = app().await;
    let (one, other) = (app.log_in(PHONE).await, app.log_in(PHONE).await);
    assert_eq!(app.status(token(&one, "access")).await.status, 200);
    let body = json!({ "refresh": token(&one, "refresh") });
    let out = app.post(LOGOUT, &body).await;
    assert_eq!((out.status, out.json()), (200, json!({ "message": "Logged out" })));
    assert_out(&app, &one).await;
    assert_eq!(app.post(LOGOUT, &body).await.verdict(), (401, "token_invalid".to_owned()), "twice");
    assert_eq!(app.status(token(&other, "access")).await.status, 200);
    let audited = "SELECT count(*) FROM audit WHERE event = 'authn_token_revoked' AND detail = 'logout'";
    assert_eq!(app.count(audited), 1);
}

#[tokio::test]
async fn logout_everywhere_ends_all_of_the_users_sessions_and_nobody_elses() {
    let app = app().await;
    let mine = [app.log_in(PHONE).await, app.log_in(PHONE).await, app.log_in(PHONE).await];
    let stranger = app.log_in(OTHER).await;
    let anonymous = app.post(LOGOUT_ALL, &json!({})).await;
    assert_eq!(anonymous.verdict(), (401, "not_authenticated".to_owned()));
    let out = app.bearer(Method::POST, LOGOUT_ALL, token(&mine[1], "access")).await;
    assert_eq!((out.status, out.json()), (200, json!({ "message": "Logged out everywhere" })));
    for login in &mine {
        assert_out(&app, login).await;
    }
    assert_eq!(app.status(token(&stranger, "access")).await.status, 200);
}

#[tokio::test]
async fn the_list_shows_devices_the_newest_first_and_marks_the_own() {
    let app = app().await;
    let mut logins = Vec::new();
    for (device, agent) in [(Some("Asha's Pixel"), "okhttp/5"), (None, "okhttp/5")] {
        app.request(PHONE).await;
        let body = json!({ "phone_number": PHONE, "otp": app.code(PHONE) });
        let mut call = app.build(Method::POST, VERIFY).header("user-agent", agent).json(&body);
        if let Some(device) = device {
            call = call.header("x-device-name", device);
        }
        logins.push(Answer::of(call.header("x-forwarded-for", "198.51.100.7")).await.json());
        app.clock.advance(SECOND * 10);
    }
    app.log_in(OTHER).await;
    let list = sessions(&app, &logins[0]).await;
    assert_eq!(list.len(), 2, "a stranger's is not among them");
    let devices: Vec<_> = list.iter().map(|session| session["device"].as_str().unwrap()).collect();
    assert_eq!(devices, ["okhttp/5", "Asha's Pixel"]);
    assert_eq!((&list[0]["current"], &list[1]["current"]), (&json!(false), &json!(true)));
    let names: Vec<_> = list[0].as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(
        names,
        ["id", "device", "ip", "created_at", "last_used_at", "expires_at", "current", "device_id"]
    );
    assert_eq!(list[0]["ip"], "198.51.100.7");
    for name in ["created_at", "last_used_at", "expires_at"] {
        let text = list[0][name].as_str().unwrap();
        assert!(text.len() == 20 && text.ends_with('Z') && text.as_bytes()[10] == b'T', "{text}");
    }
}

#[tokio::test]
async fn one_session_is_ended_once_and_only_by_its_user() {
    let app = app().await;
    let (mine, phone, stranger) = (app.log_in(PHONE).await, app.log_in(PHONE).await, app.log_in(OTHER).await);
    let list = sessions(&app, &mine).await;
    let other = list.iter().find(|session| session["current"] == false).unwrap()["id"].as_str().unwrap();
    assert_eq!(end(&app, &stranger, other).await.verdict(), (404, "not_found".to_owned()));
    assert_eq!(app.status(token(&phone, "access")).await.status, 200);
    let ended = end(&app, &mine, other).await;
    assert_eq!((ended.status, ended.json()), (200, json!({ "message": "Session ended" })));
    assert_out(&app, &phone).await;
    for id in [other, "rubbish", "00000000000000000000000000", "%00"] {
        assert_eq!(end(&app, &mine, id).await.verdict(), (404, "not_found".to_owned()), "{id}");
    }
    assert_eq!(sessions(&app, &mine).await.len(), 1);
    let own = sessions(&app, &mine).await[0]["id"].as_str().unwrap().to_owned();
    assert_eq!(end(&app, &mine, &own).await.status, 200);
    assert_out(&app, &mine).await;
}

#[tokio::test]
async fn the_oldest_session_goes_where_there_would_be_too_many() {
    let app = App::with(&[
        ("FRESHK_LIMITS__IP", "0"),
        ("FRESHK_LIMITS__USER", "0"),
        ("FRESHK_TOKENS__MAX_SESSIONS", "2"),
    ])
    .await;
    let mut logins = Vec::new();
    for _ in 0..3 {
        logins.push(app.log_in(PHONE).await);
        app.clock.advance(SECOND);
    }
    assert_out(&app, &logins[0]).await;
    assert_eq!(sessions(&app, &logins[1]).await.len(), 2);
    assert_eq!(app.count("SELECT count(*) FROM sessions WHERE end_reason = 'displaced'"), 1);
}

#[tokio::test]
async fn a_session_whose_tokens_have_all_expired_is_neither_listed_nor_counted() {
    let app = App::with(&[
        ("FRESHK_LIMITS__IP", "0"),
        ("FRESHK_LIMITS__USER", "0"),
        ("FRESHK_TOKENS__MAX_SESSIONS", "2"),
    ])
    .await;
    let in_use = app.log_in(PHONE).await;
    app.clock.advance(SECOND);
    app.log_in(PHONE).await;
    app.clock.advance(Duration::from_hours(24 * 20));
    let refreshed = app.post(REFRESH, &json!({ "refresh": token(&in_use, "refresh") })).await.json();
    app.clock.advance(Duration::from_hours(24 * 11));
    let refreshed = app.post(REFRESH, &json!({ "refresh": token(&refreshed, "refresh") })).await.json();
    let new = app.log_in(PHONE).await;
    assert_eq!(sessions(&app, &new).await.len(), 2, "the forgotten phone's is over");
    assert_eq!(app.status(token(&refreshed, "access")).await.status, 200, "the one in use was not displaced");
}

#[tokio::test]
async fn last_use_is_a_minute_coarse_and_a_burst_is_one_write() {
    let app = app().await;
    let login = app.log_in(PHONE).await;
    let used = || app.count("SELECT last_used_at FROM sessions");
    let begun = used();
    app.status(token(&login, "access")).await;
    until(|| async { app.count("SELECT generation_used FROM sessions") == 1 }).await;
    app.clock.advance(SECOND * 59);
    app.status(token(&login, "access")).await;
    app.clock.advance(SECOND);
    // Counts writes of the row from here on.
    app.count_uses("UPDATE ON sessions");
    assert_eq!(used(), begun, "59 seconds are no news");
    join_all((0..50).map(|_| app.status(token(&login, "access")))).await;
    until(|| async { used() == begun + 60_000 }).await;
    app.status(token(&login, "access")).await;
    assert!(app.service().auth.finish(SECOND * 10).await, "every write is done");
    assert_eq!(app.count("SELECT count(*) FROM uses"), 1);
}

#[tokio::test]
async fn s17_what_another_process_writes_is_seen_within_a_second() {
    for (sql, verdict) in [
        ("UPDATE sessions SET ended_at = created_at, end_reason = 'revoked'", (401, "token_invalid")),
        ("DELETE FROM sessions", (401, "token_invalid")),
        ("UPDATE users SET is_active = 0", (403, "account_disabled")),
    ] {
        let app = app().await;
        let login = app.log_in(PHONE).await;
        let access = token(&login, "access");
        for _ in 0..3 {
            assert_eq!(app.resend(access).await.status, 200);
        }
        app.execute(sql);
        until(|| async { app.resend(access).await.status != 200 }).await;
        assert_eq!(app.resend(access).await.verdict(), (verdict.0, verdict.1.to_owned()), "{sql}");
    }
    let app = app().await;
    let login = app.log_in(PHONE).await;
    assert_eq!(app.status(token(&login, "access")).await.json()["user"]["role"], "retailer");
    app.execute("UPDATE users SET role = 'admin'");
    until(|| async { app.status(token(&login, "access")).await.json()["user"]["role"] == "admin" }).await;
}
