//! S19, S30, S32: a database that fails is never a yes, and what was broken mends itself.

use std::time::Duration;

use reqwest::Method;
use serde_json::json;

use crate::database::is_postgres;
use crate::support::{Answer, App, PHONE, STATUS, until};

async fn ready(app: &App) -> Answer {
    Answer::of(app.build(Method::GET, "/health/ready")).await
}

fn phone(n: usize) -> String {
    format!("+1999{n:07}")
}

#[tokio::test]
async fn s30_a_full_disk_buys_no_sms_without_its_quota_row_and_mends_itself() {
    if is_postgres() {
        return; // The disk is its own.
    }
    let app = App::with(&[("FRESHK_LIMITS__FLOOD_PER_SECOND", "0")]).await;
    let login = app.log_in(PHONE).await;
    let access = login["access"].as_str().unwrap();
    assert_eq!(ready(&app).await.status, 200);
    app.disk.set(1);
    let mut refused = None;
    for n in 0..500 {
        let answer = app.request_from(&format!("203.0.113.{}", n / 5), &phone(n)).await;
        if answer.status != 200 {
            refused = Some(answer);
            break;
        }
    }
    let refused = refused.expect("the disk is full at last");
    assert_eq!(refused.verdict(), (503, "unavailable".to_owned()));
    assert_eq!(refused.header("retry-after"), "2");
    let sent = i64::try_from(app.twilio.requests().len()).unwrap();
    assert_eq!(app.count("SELECT count(*) FROM spends WHERE quota = 'user'"), sent);
    assert_eq!(app.count("SELECT count(*) FROM messages"), sent);
    assert_eq!(ready(&app).await.verdict(), (503, "unavailable".to_owned()));
    assert!(!ready(&app).await.header("retry-after").is_empty());
    assert_eq!(Answer::of(app.build(Method::GET, "/health/live")).await.status, 200);
    assert_eq!(app.status(access).await.status, 200, "reading goes on");

    app.disk.set(0);
    until(|| async { ready(&app).await.status == 200 }).await;
    let answer = app.request_from("198.51.100.7", "+18880000001").await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    assert_eq!(app.verify("+18880000001", &app.code("+18880000001")).await.status, 200);
    assert_eq!(app.word("PRAGMA integrity_check"), "ok");
}

/// A probe comes round every few seconds, for months.
#[tokio::test]
async fn asking_whether_it_is_ready_writes_next_to_nothing() {
    if is_postgres() {
        return; // It looks at the file.
    }
    let app = App::with(&[("FRESHK_LIMITS__FLOOD_PER_SECOND", "0")]).await;
    let written = |app: &App| std::fs::metadata(app.database().with_file_name("test.db-wal")).unwrap().len();
    assert_eq!(ready(&app).await.status, 200);
    let before = written(&app);
    for _ in 0..20 {
        assert_eq!(ready(&app).await.status, 200);
        assert_eq!(app.operations("/health/ready").await.0, 200);
        app.clock.advance(Duration::from_secs(1));
    }
    assert_eq!(written(&app), before);
    app.clock.advance(Duration::from_secs(10));
    assert_eq!(ready(&app).await.status, 200);
    assert!(written(&app) > before, "now and then it is tried whether there is room");
}

#[tokio::test]
async fn s30_a_wrong_guess_that_cannot_be_counted_is_not_evaluated() {
    let app = App::start().await;
    app.request(PHONE).await;
    app.service().store.close().await;
    for otp in [app.code(PHONE), app.wrong_code(PHONE)] {
        let answer = app.verify(PHONE, &otp).await;
        assert_eq!(answer.verdict(), (503, "unavailable".to_owned()), "never a yes, nor a no");
    }
    assert_eq!(app.count("SELECT count(*) FROM sessions"), 0);
    assert_eq!(app.request(PHONE).await.code(), "unavailable");
    assert_eq!(app.twilio.requests().len(), 1);
}

#[tokio::test]
async fn s19_a_locked_database_is_no_yes_and_recovers() {
    let app = App::start().await;
    let login = app.log_in(PHONE).await;
    let other = app.hold_up();
    let (request, verify, ready_now) =
        tokio::join!(app.request(PHONE), app.verify(PHONE, "123456"), ready(&app));
    for answer in [request, verify, ready_now] {
        assert_eq!(answer.verdict(), (503, "unavailable".to_owned()));
        assert!(answer.json()["retry_after"].as_u64().unwrap() > 0);
    }
    assert_eq!(app.status(login["access"].as_str().unwrap()).await.status, 200, "reading goes on");
    drop(other);
    assert_eq!(app.twilio.requests().len(), 1, "nothing was bought");
    assert_eq!(app.request(PHONE).await.status, 200);
    assert_eq!(app.verify(PHONE, &app.code(PHONE)).await.status, 200);
    assert_eq!(ready(&app).await.status, 200);
}

#[tokio::test]
async fn s19_a_ledger_that_cannot_be_read_is_no_yes() {
    let app = App::start().await;
    app.batch("ALTER TABLE spends RENAME TO hidden");
    let answer = app.request(PHONE).await;
    assert_eq!(answer.verdict(), (500, "internal_error".to_owned()));
    assert!(!answer.text.contains("spends"), "never a detail: {}", answer.text);
    assert!(app.twilio.requests().is_empty());
    app.batch("ALTER TABLE hidden RENAME TO spends");
    assert_eq!(app.request(PHONE).await.status, 200);
}

#[tokio::test]
async fn s32_a_write_that_panics_is_an_answer_and_the_writer_goes_on() {
    let app = App::start().await;
    let store = app.service().store;
    let panicked = store.write::<(), _>(freshk::storage::Locks::none(), |_| panic!("a test panicked")).await;
    assert!(panicked.is_err());
    assert_eq!(app.post(crate::support::REQUEST, &json!({ "phone_number": PHONE })).await.status, 200);
    let access = app.verify(PHONE, &app.code(PHONE)).await.json()["access"].as_str().unwrap().to_owned();
    until(|| async { app.bearer(Method::GET, STATUS, &access).await.status == 200 }).await;
}
