//! S36: a client that goes away at any point leaves no half state, and the next request works.

use std::io::Write as _;
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

use reqwest::Method;
use serde_json::json;

use crate::logs;
use crate::support::{Answer, App, PHONE, REQUEST, RESEND, VERIFY, until};

const REFRESH: &str = "/api/mobile/auth/token/refresh/";
const LOGOUT: &str = "/api/mobile/auth/logout/";

/// A request as bytes.
fn request(path: &str, token: Option<&str>, body: &str) -> String {
    let authorization = token.map(|token| format!("Authorization: Bearer {token}\r\n")).unwrap_or_default();
    format!(
        "POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n{authorization}\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

/// Waits until the server, which runs on the thread of the test, has taken in all that was sent to it.
async fn taken_in(app: &App) {
    for _ in 0..5 {
        let live = app.build(Method::GET, "/health/live");
        assert_eq!(live.header("connection", "close").send().await.unwrap().status(), 200);
    }
}

/// Sends these bytes and goes away.
fn send_and_go(app: &App, bytes: &str) {
    let mut stream = TcpStream::connect(app.address()).unwrap();
    stream.write_all(bytes.as_bytes()).unwrap();
    stream.shutdown(Shutdown::Both).unwrap();
}

fn asking() -> String {
    request(REQUEST, None, &json!({ "phone_number": PHONE }).to_string())
}

#[tokio::test]
async fn s36_before_the_request_is_whole_nothing_has_happened() {
    let app = App::start().await;
    let whole = asking();
    let head = whole.find("\r\n\r\n").unwrap() + 4;
    for length in [0, 1, 20, head - 1, head, head + 1, usize::midpoint(head, whole.len()), whole.len() - 1] {
        send_and_go(&app, &whole[..length]);
    }
    assert_eq!(app.request(PHONE).await.status, 200);
    assert_eq!(app.twilio.requests().len(), 1);
    assert_eq!(app.count("SELECT count(*) FROM challenges"), 1);
    assert_eq!(app.spent("ip:request"), 1, "what never came costs nothing");
}

#[tokio::test]
async fn s36_a_request_whose_client_left_while_twilio_is_slow_ends_as_any_other() {
    let app = App::start().await;
    app.twilio.hold();
    let stream = {
        let mut stream = TcpStream::connect(app.address()).unwrap();
        stream.write_all(asking().as_bytes()).unwrap();
        stream
    };
    app.sending(1).await;
    assert_eq!(app.words("SELECT state FROM challenges"), ["sending"]);
    stream.shutdown(Shutdown::Both).unwrap();
    drop(stream);
    // The phone is back in the net and asks again: it follows the SMS that is under way.
    let again = async {
        let answer = app.request(PHONE).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
    };
    let release = async {
        until(|| async { app.spent("ip:request") == 2 }).await;
        app.twilio.release();
    };
    tokio::join!(again, release);
    assert_eq!(app.words("SELECT state FROM challenges"), ["live"]);
    assert_eq!(app.words("SELECT state FROM messages"), ["queued"]);
    assert_eq!((app.twilio.requests().len(), app.spent("user")), (1, 1));
    assert_eq!(app.count("SELECT count(*) FROM users"), 1);
    assert_eq!(app.verify(PHONE, &app.code(PHONE)).await.status, 200);
}

#[tokio::test]
async fn s36_a_request_whose_client_left_at_once_leaves_no_half_state() {
    let mut app = App::start().await;
    for _ in 0..3 {
        send_and_go(&app, &asking());
    }
    taken_in(&app).await;
    // Waits for all flows.
    app.stop().await;
    // Whether the server had begun when the client went is a matter of chance.
    let bought = i64::try_from(app.twilio.requests().len()).unwrap();
    assert_eq!((app.spent("user"), app.count("SELECT count(*) FROM challenges")), (bought, bought));
    assert_eq!(app.count("SELECT count(*) FROM challenges WHERE state = 'live'"), i64::from(bought > 0));
    app.boot().await;
    app.clock.advance(Duration::from_hours(1));
    assert_eq!(app.request(PHONE).await.status, 200);
    assert_eq!(app.verify(PHONE, &app.code(PHONE)).await.status, 200);
}

/// Sends a guess whose client leaves before its answer.
async fn verify_and_go(app: &App, otp: &str, headers: &str) {
    let body = json!({ "phone_number": PHONE, "otp": otp }).to_string();
    let whole = request(VERIFY, None, &body).replacen("\r\n", &format!("\r\n{headers}"), 1);
    wait_and_go(app, &whole).await;
}

/// Sends a request whose client leaves while it waits for the writer, which another process holds up.
async fn wait_and_go(app: &App, whole: &str) {
    let writing = app.hold_up();
    let mut stream = TcpStream::connect(app.address()).unwrap();
    stream.write_all(whole.as_bytes()).unwrap();
    taken_in(app).await;
    stream.shutdown(Shutdown::Both).unwrap();
    drop(stream);
    taken_in(app).await;
    drop(writing);
}

#[tokio::test]
async fn s36_a_verify_whose_client_left_is_whole_and_repeatable() {
    let app = App::start().await;
    app.request(PHONE).await;
    let code = app.code(PHONE);
    let key = "an-idempotency-key-of-ours";
    verify_and_go(&app, &code, &format!("Idempotency-Key: {key}\r\n")).await;
    until(|| async { app.words("SELECT state FROM challenges") == ["used"] }).await;
    assert_eq!(app.count("SELECT count(*) FROM sessions"), 1);
    assert_eq!(app.count("SELECT count(*) FROM audit WHERE event = 'authn_login_success'"), 1);

    let body = json!({ "phone_number": PHONE, "otp": code });
    let repeated = app.build(Method::POST, VERIFY).header("idempotency-key", key).json(&body);
    let repeated = Answer::of(repeated).await;
    assert_eq!(repeated.status, 200, "{}", repeated.text);
    assert_eq!(app.count("SELECT count(*) FROM sessions"), 1, "the same session again");
}

/// Or a guesser would hide from the log by hanging up.
#[tokio::test]
async fn s36_a_guess_whose_client_left_is_logged_too() {
    let name = "s36_a_guess_whose_client_left_is_logged_too";
    let Some(log) = logs::catch(module_path!(), name, "info") else { return };
    let app = App::start().await;
    app.request(PHONE).await;
    verify_and_go(&app, &app.wrong_code(PHONE), "").await;
    until(|| async { app.words("SELECT attempts FROM challenges") == ["1"] }).await;
    until(|| async { log.text().contains("authn_login_fail") }).await;
}

/// Or a thief would, with a stolen token.
#[tokio::test]
async fn s36_a_refresh_and_a_logout_whose_client_left_are_logged_too() {
    let name = "s36_a_refresh_and_a_logout_whose_client_left_are_logged_too";
    let Some(log) = logs::catch(module_path!(), name, "info") else { return };
    let app = App::start().await;
    let (stolen, other) = (app.log_in(PHONE).await, app.log_in(PHONE).await);
    let held = json!({ "refresh": stolen["refresh"] });
    let next = app.post(REFRESH, &held).await.json();
    assert_eq!(app.post(REFRESH, &json!({ "refresh": next["refresh"] })).await.status, 200);
    app.clock.advance(Duration::from_secs(61));
    wait_and_go(&app, &request(REFRESH, None, &held.to_string())).await;
    until(|| async { log.text().contains("authn_token_reuse") }).await;

    wait_and_go(&app, &request(LOGOUT, None, &json!({ "refresh": other["refresh"] }).to_string())).await;
    until(|| async { log.text().contains("\"detail\":\"logout\"") }).await;
    assert_eq!(app.words("SELECT end_reason FROM sessions ORDER BY end_reason"), ["logout", "reuse"]);
}

#[tokio::test]
async fn s36_a_resend_whose_client_left_sends_and_settles() {
    let app = App::start().await;
    let login = app.log_in(PHONE).await;
    app.twilio.hold();
    let mut stream = TcpStream::connect(app.address()).unwrap();
    stream.write_all(request(RESEND, login["access"].as_str(), "").as_bytes()).unwrap();
    app.sending(2).await;
    drop(stream);
    app.twilio.release();
    until(|| async { app.words("SELECT state FROM challenges ORDER BY id") == ["used", "live"] }).await;
    assert_eq!(app.verify(PHONE, &app.code(PHONE)).await.status, 200);
}
