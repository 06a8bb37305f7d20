//! S33, S35: what the audit trail and the log tell of each flow.

use std::time::Duration;

use serde_json::{Map, Value, json};

use crate::logs;
use crate::support::{Answer, App, FIRST_ID, PHONE};
use crate::twilio::{self, AUTH_TOKEN, SignedCallback, signed_callback};

const MASKED: &str = "+12****7890";

/// One row of the trail, as a test wants to see it.
#[derive(Debug)]
struct Line {
    event: String,
    mode: Option<String>,
    user: Option<i64>,
    phone: Option<String>,
    ip: Option<String>,
    session: Option<String>,
    request_id: Option<String>,
    detail: Option<String>,
}

/// The rows beyond the first `known`.
fn trail(app: &App, known: usize) -> Vec<Line> {
    let query =
        "SELECT event, channel, user_id, phone, ip, session_id, request_id, detail FROM audit ORDER BY id";
    let text = |row: &Map<String, Value>, name: &str| row[name].as_str().map(str::to_owned);
    let line = |row: Map<String, Value>| Line {
        event: text(&row, "event").unwrap(),
        mode: text(&row, "channel"),
        user: row["user_id"].as_i64(),
        phone: text(&row, "phone"),
        ip: text(&row, "ip"),
        session: text(&row, "session_id"),
        request_id: text(&row, "request_id"),
        detail: text(&row, "detail"),
    };
    app.rows(query).into_iter().skip(known).map(line).collect()
}

/// Holds that a flow left just these events, each with channel, phone, address and the request's name.
fn told(app: &App, known: &mut usize, mode: &str, answer: &Answer, events: &[&str]) -> Vec<Line> {
    let lines = trail(app, *known);
    *known += lines.len();
    assert_eq!(lines.iter().map(|line| line.event.as_str()).collect::<Vec<_>>(), events, "{lines:?}");
    for line in &lines {
        assert_eq!(line.mode.as_deref(), Some(mode), "{line:?}");
        assert_eq!(line.phone.as_deref(), Some(MASKED), "{line:?}");
        assert_eq!(line.ip.as_deref(), Some("203.0.113.7"), "{line:?}");
        assert_eq!(line.request_id.as_deref(), Some(answer.header("x-request-id")), "{line:?}");
    }
    lines
}

#[tokio::test]
async fn s35_each_flow_leaves_its_rows() {
    let app = App::with(&[("FRESHK_LIMITS__USER", "0"), ("FRESHK_LIMITS__IP", "0")]).await;
    let ip = "203.0.113.7";
    let mut known = 0;
    let sent = app.request_from(ip, PHONE).await;
    let lines =
        told(&app, &mut known, "production", &sent, &["authn_code_requested", "user_created", "sms_sent"]);
    assert_eq!(
        lines.iter().map(|line| line.user).collect::<Vec<_>>(),
        [None, Some(FIRST_ID), Some(FIRST_ID)]
    );

    let wrong = app.verify_from(ip, PHONE, &app.wrong_code(PHONE)).await;
    let lines = told(&app, &mut known, "production", &wrong, &["authn_login_fail"]);
    assert_eq!((lines[0].user, &lines[0].session), (Some(FIRST_ID), &None));

    let login = app.verify_from(ip, PHONE, &app.code(PHONE)).await;
    let events = ["authn_login_success", "session_created", "authn_token_created"];
    let session = app.word("SELECT id FROM sessions");
    for line in told(&app, &mut known, "production", &login, &events) {
        assert_eq!((line.user, line.session.as_ref()), (Some(FIRST_ID), Some(&session)), "{line:?}");
    }

    let access = login.json()["access"].as_str().unwrap().to_owned();
    let resend = app.build(reqwest::Method::POST, crate::support::RESEND).header("x-forwarded-for", ip);
    let another = Answer::of(resend.bearer_auth(&access)).await;
    let lines = told(&app, &mut known, "production", &another, &["authn_code_requested", "sms_sent"]);
    assert!(lines.iter().all(|line| line.user == Some(FIRST_ID)));

    for _ in 0..4 {
        app.verify_from(ip, PHONE, &app.wrong_code(PHONE)).await;
    }
    known += 4;
    let fifth = app.verify_from(ip, PHONE, &app.wrong_code(PHONE)).await;
    let lines = told(&app, &mut known, "production", &fifth, &["authn_login_fail", "authn_login_fail_max"]);
    assert_eq!(lines[1].detail.as_deref(), Some("code"));

    app.twilio.script(vec![
        twilio::Answer::Error { http: 400, code: 21408, message: "not enabled" },
        twilio::Answer::Html { http: 500 },
    ]);
    let failed = app.request_from(ip, PHONE).await;
    let lines = told(&app, &mut known, "production", &failed, &["authn_code_requested", "sms_failed"]);
    assert!(lines[1].detail.as_deref().unwrap().starts_with("refused: "), "{lines:?}");
    let unknown = app.request_from(ip, PHONE).await;
    let lines = told(&app, &mut known, "production", &unknown, &["authn_code_requested", "sms_failed"]);
    assert!(lines[1].detail.as_deref().unwrap().starts_with("unknown: "), "{lines:?}");

    assert_eq!(app.count("SELECT count(DISTINCT phone_hash) FROM audit"), 1, "one hash finds them all");
    assert_eq!(app.request_from(ip, "1").await.status, 400);
    assert!(trail(&app, known).is_empty(), "a request for no number leaves nothing");
}

#[tokio::test]
async fn s35_the_testing_mode_has_its_own() {
    let app = App::with(&[("DEBUG", "True"), ("FRESHK_SMS__PROVIDER", "twilio")]).await;
    let (ip, mut known) = ("203.0.113.7", 0);
    let body = json!({ "phone_number": PHONE });
    let sent = app.post_from(ip, "/api/mobile/auth/request/", &body).await;
    told(&app, &mut known, "testing", &sent, &["authn_code_requested", "user_created", "sms_sent"]);
    let sent = app.request_from(ip, PHONE).await;
    told(&app, &mut known, "production", &sent, &["authn_code_requested", "sms_sent"]);
    let body = json!({ "phone_number": PHONE, "otp": "000000" });
    let wrong = app.post_from(ip, "/api/mobile/auth/verify/", &body).await;
    told(&app, &mut known, "testing", &wrong, &["authn_login_fail"]);
}

#[tokio::test]
async fn s35_an_undelivered_sms_is_told_once() {
    let public = "https://api.example.com";
    let app = App::with(&[("FRESHK_SERVER__PUBLIC_URL", public)]).await;
    app.request(PHONE).await;
    let url = app.twilio.requests()[0].field("StatusCallback").unwrap().to_owned();
    let sid = app.word("SELECT sid FROM messages");
    let params = [("MessageSid", sid.as_str()), ("MessageStatus", "undelivered"), ("ErrorCode", "30003")];
    let SignedCallback { signature, body } = signed_callback(AUTH_TOKEN, &url, &params);
    let mut names = Vec::new();
    for _ in 0..2 {
        let call = app.build(reqwest::Method::POST, url.strip_prefix(public).unwrap());
        let call = call.header("content-type", "application/x-www-form-urlencoded").body(body.clone());
        let answer = Answer::of(call.header("x-twilio-signature", &signature)).await;
        assert_eq!(answer.status, 204, "{}", answer.text);
        names.push(answer.header("x-request-id").to_owned());
    }
    let lines = trail(&app, 0).into_iter().filter(|line| line.event == "sms_undelivered").collect::<Vec<_>>();
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert_eq!(lines[0].phone.as_deref(), Some(MASKED));
    assert_eq!(lines[0].request_id.as_ref(), names.first());
    assert_eq!(app.count("SELECT count(*) FROM spends WHERE quota = 'user'"), 0, "the unit was given back");
}

#[tokio::test]
async fn s35_what_is_rolled_back_leaves_no_row() {
    let app = App::start().await;
    app.break_all("INSERT ON messages");
    assert_eq!(app.request(PHONE).await.code(), "internal_error");
    for table in ["audit", "spends", "challenges", "users"] {
        assert_eq!(app.count(&format!("SELECT count(*) FROM {table}")), 0, "{table}");
    }
    app.mend();
    app.request(PHONE).await;
    let before = app.count("SELECT count(*) FROM audit");
    app.break_when("INSERT ON audit", Some("new.event = 'session_created'"));
    assert_eq!(app.verify(PHONE, &app.code(PHONE)).await.code(), "internal_error");
    assert_eq!(app.count("SELECT count(*) FROM audit"), before);
    assert_eq!(app.count("SELECT count(*) FROM sessions"), 0, "no login without its audit");
    app.mend();
    assert_eq!(app.verify(PHONE, &app.code(PHONE)).await.status, 200, "the code was not spent");
}

#[tokio::test]
async fn s35_refusals_are_told_first_and_then_counted() {
    let app = App::start().await;
    for n in 0..5 {
        app.request(&format!("+1999000000{n}")).await;
    }
    let first = app.request(PHONE).await;
    assert_eq!(first.status, 429);
    let refusals = |app: &App| -> Vec<Line> {
        trail(app, 0).into_iter().filter(|line| line.event == "excess_rate_limit_exceeded").collect()
    };
    for _ in 0..9 {
        assert_eq!(app.request(PHONE).await.status, 429);
    }
    app.service().auth.maintain().await.unwrap();
    let lines = refusals(&app);
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert_eq!(lines[0].detail.as_deref(), Some("ip:request"));
    assert_eq!(lines[0].request_id.as_deref(), Some(first.header("x-request-id")));
    assert_eq!(app.count("SELECT count FROM refusals"), 10);

    // The last refusals of a window are counted with it, although maintenance runs only after its end.
    assert_eq!(app.request(PHONE).await.status, 429);
    app.clock.advance(Duration::from_hours(1));
    app.service().auth.maintain().await.unwrap();
    let lines = refusals(&app);
    assert_eq!(lines.len(), 2, "{lines:?}");
    assert_eq!(lines[1].detail.as_deref(), Some("ip:request refused 11 times"));
    assert_eq!(lines[1].ip.as_deref(), Some("127.0.0.1"));
    assert_eq!(app.count("SELECT count(*) FROM refusals"), 0);
}

#[tokio::test]
async fn s35_the_trail_is_append_only() {
    let app = App::start().await;
    app.log_in(PHONE).await;
    let before = app.count("SELECT count(*) FROM audit");
    for sql in [
        "UPDATE audit SET event = 'x'",
        "UPDATE audit SET ip = NULL",
        "UPDATE audit SET phone_hash = NULL, phone = NULL, detail = 'x'",
        "DELETE FROM audit",
        "DELETE FROM audit WHERE id = 1",
    ] {
        let refused = app.refusal(sql);
        assert!(refused.contains("audit trail"), "{sql}: {refused}");
    }
    assert_eq!(app.count("SELECT count(*) FROM audit"), before);
    app.execute("UPDATE audit SET phone_hash = NULL, phone = NULL");
}

#[tokio::test]
async fn s33_the_log_is_one_object_per_line_in_owasps_words() {
    let name = "s33_the_log_is_one_object_per_line_in_owasps_words";
    let Some(log) = logs::catch(module_path!(), name, "freshk=debug") else { return };
    let mut app = App::start().await;
    app.service().auth.note(freshk::domain::audit::AuditEvent::Startup).await.unwrap();
    app.request(PHONE).await;
    app.verify(PHONE, &app.wrong_code(PHONE)).await;
    let login = app.verify(PHONE, &app.code(PHONE)).await;
    app.twilio.script(vec![twilio::Answer::Error { http: 400, code: 21408, message: "not enabled" }]);
    app.request(PHONE).await;
    for _ in 0..5 {
        app.verify(PHONE, "000000").await;
    }
    app.post("/api/mobile/auth/logout/", &json!({ "refresh": login.json()["refresh"] })).await;
    app.service().auth.note(freshk::domain::audit::AuditEvent::Shutdown).await.unwrap();
    app.stop().await;
    let records = log.records();
    for event in [
        "sys_startup",
        "user_created",
        "sms_sent",
        "authn_login_fail",
        "authn_login_success",
        "session_created",
        "authn_token_created",
        "sms_failed",
        "excess_rate_limit_exceeded",
        "authn_token_revoked",
        "sys_shutdown",
    ] {
        let record = records.iter().find(|record| record["event"] == event);
        let record = record.unwrap_or_else(|| panic!("{event} is not in the log"));
        let named = record["request_id"].as_str().is_some_and(|id| id.len() == 32);
        assert_eq!(named, !event.starts_with("sys_"), "{record}");
    }
    let requests: Vec<_> = records.iter().filter(|record| record["message"] == "request").collect();
    assert!(requests.len() >= 10);
    for record in &records {
        let time = record["timestamp"].as_str().unwrap();
        assert!(time.parse::<jiff::Timestamp>().is_ok() && time.ends_with('Z'), "{time}");
        assert!(record["level"].is_string() && record["message"].is_string(), "{record}");
    }
    let one = login.header("x-request-id");
    assert!(requests.iter().any(|record| record["request_id"] == one && record["status"] == 200));
}

const FAILURES: &str = "SELECT detail FROM audit WHERE event = 'authn_login_fail' ORDER BY id";

#[tokio::test]
async fn s38_each_refused_login_is_told_with_its_reason() {
    let mut app = App::with(&[("FRESHK_LIMITS__USER", "0"), ("FRESHK_OTP__MAX_FAILURES_PER_DAY", "7")]).await;
    let address = std::cell::Cell::new(0);
    // Each from an address of its own, so that none is out.
    let give = async |app: &App, phone: &str, code: &str| {
        address.set(address.get() + 1);
        let (ip, known) = (format!("203.0.113.{}", address.get()), app.count("SELECT count(*) FROM audit"));
        let answer = app.verify_from(&ip, phone, code).await;
        let lines = trail(app, usize::try_from(known).unwrap());
        let fail = lines.iter().find(|line| line.event == "authn_login_fail").expect("a line");
        assert_eq!(fail.ip.as_deref(), Some(ip.as_str()), "{fail:?}");
        assert_eq!(fail.request_id.as_deref(), Some(answer.header("x-request-id")), "{fail:?}");
        assert!(fail.phone.is_some() && fail.mode.as_deref() == Some("production"), "{fail:?}");
        (answer.code(), fail.user, fail.detail.clone().unwrap())
    };
    let invalid = |user, detail: &str| ("invalid_otp".to_owned(), user, detail.to_owned());
    let unknown = ("user_not_found".to_owned(), None, "unknown number".to_owned());
    assert_eq!(give(&app, PHONE, "123456").await, unknown);
    assert_eq!(give(&app, PHONE, "12345").await, invalid(None, "not a code"));
    app.log_in(PHONE).await;
    let used = app.code(PHONE);
    assert_eq!(give(&app, PHONE, &used).await, invalid(Some(FIRST_ID), "used"));
    assert_eq!(give(&app, PHONE, &app.wrong_code(PHONE)).await, invalid(Some(FIRST_ID), "no code"));
    assert_eq!(give(&app, PHONE, "1").await, invalid(Some(FIRST_ID), "not a code"));
    app.request(PHONE).await;
    let superseded = app.code(PHONE);
    app.request(PHONE).await;
    assert_eq!(give(&app, PHONE, &superseded).await, invalid(Some(FIRST_ID), "superseded"));
    for _ in 0..4 {
        assert_eq!(give(&app, PHONE, &app.wrong_code(PHONE)).await, invalid(Some(FIRST_ID), "wrong"));
    }
    assert_eq!(give(&app, PHONE, &app.code(PHONE)).await, invalid(Some(FIRST_ID), "over-tried"));
    app.request(PHONE).await;
    let expired = app.code(PHONE);
    app.clock.advance(Duration::from_mins(10));
    assert_eq!(give(&app, PHONE, &expired).await, invalid(Some(FIRST_ID), "expired"));
    app.request(PHONE).await;
    for _ in 0..2 {
        assert_eq!(give(&app, PHONE, &app.wrong_code(PHONE)).await, invalid(Some(FIRST_ID), "wrong"));
    }
    let spent = ("rate_limited".to_owned(), Some(FIRST_ID), "day spent".to_owned());
    for code in [app.code(PHONE), app.wrong_code(PHONE)] {
        assert_eq!(give(&app, PHONE, &code).await, spent);
    }
    app.restart().await;
    assert_eq!(give(&app, PHONE, &app.code(PHONE)).await, spent);
    let other = "+1234567891";
    app.request(other).await;
    app.execute("UPDATE users SET is_active = 0");
    let disabled = ("account_disabled".to_owned(), Some(FIRST_ID + 1), "disabled".to_owned());
    assert_eq!(give(&app, other, &app.code(other)).await, disabled);
}

/// What costs neither a unit nor a guess could be repeated without end.
#[tokio::test]
async fn s38_attempts_that_cost_nothing_leave_a_bounded_trail() {
    let app = App::with(&[("FRESHK_LIMITS__IP", "0"), ("FRESHK_LIMITS__FLOOD_PER_SECOND", "0")]).await;
    for n in 0..30 {
        assert_eq!(app.verify_from("203.0.113.1", &format!("+19990000{n:03}"), "123456").await.status, 404);
        assert_eq!(app.verify_from("203.0.113.2", PHONE, "12").await.code(), "invalid_otp");
    }
    for (detail, ip) in [("unknown number", "203.0.113.1"), ("not a code", "203.0.113.2")] {
        let of = format!("SELECT count(*) FROM audit WHERE detail = '{detail}' AND ip = '{ip}'");
        assert_eq!(app.count(&of), 20, "{detail}");
    }
    app.service().auth.maintain().await.unwrap();
    assert_eq!(app.count("SELECT count(*) FROM audit"), 40, "the hour goes on");
    app.clock.advance(Duration::from_hours(1));
    app.service().auth.maintain().await.unwrap();
    assert_eq!(app.words(FAILURES).last().unwrap(), "20 more");
    assert_eq!(app.count("SELECT count(*) FROM audit"), 41);
}

/// Five units an hour bound what an address can write with numbers that nobody has.
#[tokio::test]
async fn s38_unknown_numbers_leave_no_more_lines_than_the_address_has_units() {
    let app = App::start().await;
    for n in 0..30 {
        app.verify(&format!("+19990000{n:03}"), "123456").await;
    }
    assert_eq!(app.words(FAILURES), ["unknown number"; 5]);
    assert_eq!(app.count("SELECT count(*) FROM audit"), 6, "and one for the limit");
}
