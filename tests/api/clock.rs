//! S39: a wall clock that leaps, while the server runs and at its start.

use std::time::Duration;

use freshk::clock::Clock as _;
use reqwest::Method;
use serde_json::{Value, json};

use crate::refresh::{claims, refresh, token};
use crate::support::{App, PHONE};

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_mins(1);
const HOUR: Duration = Duration::from_hours(1);
const DAY: Duration = Duration::from_hours(24);
const TABLES: [&str; 5] = ["users", "sessions", "audit", "spends", "messages"];

/// Every row, and the sessions that have not ended.
fn rows(app: &App) -> Vec<i64> {
    let tables = TABLES.map(|table| app.count(&format!("SELECT count(*) FROM {table}")));
    let standing = app.count("SELECT count(*) FROM sessions WHERE ended_at IS NULL");
    tables.into_iter().chain([standing]).collect()
}

fn assert_nothing_is_gone(app: &App, before: &[i64]) {
    let after = rows(app);
    assert!(after.iter().zip(before).all(|(after, before)| after >= before), "{before:?} {after:?}");
}

/// Whether `PyJWT`, on a machine whose clock goes right, takes an access token: `iat` is not in the future and `exp` is.
fn is_good_elsewhere(pair: &Value, truth: i64) -> bool {
    let claims = claims(token(pair, "access"));
    claims["iat"].as_i64().unwrap() <= truth && truth < claims["exp"].as_i64().unwrap()
}

#[tokio::test]
async fn s39_a_leap_of_the_clock_ends_no_session() {
    let app = App::start().await;
    let login = app.log_in(PHONE).await;
    app.clock.advance(HOUR);
    app.request("+1987654321").await;
    app.service().auth.maintain().await.unwrap();
    let before = rows(&app);

    app.clock.leap_ahead(32 * DAY);
    let refused = refresh(&app, token(&login, "refresh")).await;
    assert_eq!(refused.verdict(), (503, "unavailable".to_owned()), "{}", refused.text);
    assert_eq!(refused.header("retry-after"), "10");
    app.service().auth.maintain().await.unwrap();
    app.clock.advance(SECOND);
    app.clock.leap_back(32 * DAY);

    app.service().auth.maintain().await.unwrap();
    assert_nothing_is_gone(&app, &before);
    let next = refresh(&app, token(&login, "refresh")).await;
    assert_eq!(next.status, 200, "{}", next.text);
    let truth = app.clock.wall().as_secs();
    assert!(is_good_elsewhere(&next.json(), truth), "{}", next.text);
    assert_eq!(app.verify("+1987654321", &app.code("+1987654321")).await.status, 200, "the code lives");
}

#[tokio::test]
async fn s39_a_start_on_a_clock_two_years_ahead_ends_no_session() {
    let mut app = App::start().await;
    let login = app.log_in(PHONE).await;
    app.clock.advance(HOUR);
    app.request("+1987654321").await;
    app.service().auth.maintain().await.unwrap();
    let before = rows(&app);
    app.stop().await;

    app.clock.leap_ahead(2 * 365 * DAY);
    app.boot().await;
    app.service().auth.maintain().await.unwrap();
    let refused = refresh(&app, token(&login, "refresh")).await;
    assert_eq!(refused.verdict(), (503, "unavailable".to_owned()), "{}", refused.text);
    app.clock.advance(Duration::from_millis(1500));
    app.clock.leap_back(2 * 365 * DAY);

    app.service().auth.maintain().await.unwrap();
    assert_nothing_is_gone(&app, &before);
    let next = refresh(&app, token(&login, "refresh")).await;
    assert_eq!(next.status, 200, "{}", next.text);
    assert!(is_good_elsewhere(&next.json(), app.clock.wall().as_secs()));
    assert_eq!(app.verify("+1987654321", &app.code("+1987654321")).await.status, 200, "the code lives");
}

/// A crash loop on a wrong clock: what was deleted for a time, is deleted for a time that is stored.
#[tokio::test]
async fn s39_starts_in_a_row_on_a_wrong_clock_delete_nothing() {
    let mut app = App::start().await;
    app.log_in(PHONE).await;
    let before = rows(&app);
    app.stop().await;
    app.clock.leap_ahead(2 * 365 * DAY);
    for _ in 0..5 {
        app.boot().await;
        app.service().auth.maintain().await.unwrap();
        app.clock.advance(9 * MINUTE);
        app.service().auth.maintain().await.unwrap();
        app.stop().await;
    }
    assert_nothing_is_gone(&app, &before);
}

#[tokio::test]
async fn s39_after_a_step_back_new_tokens_are_dated_by_the_wall_clock() {
    for step in [5 * SECOND, HOUR] {
        let app = App::start().await;
        let login = app.log_in(PHONE).await;
        app.clock.leap_back(step);
        let truth = app.clock.wall().as_secs();
        assert!(!is_good_elsewhere(&login, truth), "what was issued before is of the future elsewhere");
        let next = refresh(&app, token(&login, "refresh")).await;
        assert_eq!(next.status, 200, "{}", next.text);
        assert!(is_good_elsewhere(&next.json(), truth), "{}", next.text);
        assert_eq!(app.status(token(&next.json(), "access")).await.status, 200);
        let other = app.log_in("+1987654321").await;
        assert!(is_good_elsewhere(&other, truth), "{other}");
        assert_eq!(claims(token(&other, "refresh"))["iat"], truth);
    }
}

#[tokio::test]
async fn s2_a_step_back_while_the_server_runs_lengthens_no_code() {
    for step in [5 * SECOND, HOUR] {
        for (wait, status) in [(599, 200), (601, 400)] {
            let app = App::start().await;
            app.request(PHONE).await;
            app.clock.leap_back(step);
            app.clock.advance(wait * SECOND);
            assert_eq!(app.verify(PHONE, &app.code(PHONE)).await.status, status, "{step:?} {wait}");
        }
    }
}

/// What seems to have expired by a clock in doubt can be logged out: it would come back with the clock.
#[tokio::test]
async fn s39_a_logout_during_a_leap_ends_the_session() {
    let app = App::start().await;
    let login = app.log_in(PHONE).await;
    app.clock.leap_ahead(32 * DAY);
    let body = json!({ "refresh": token(&login, "refresh") });
    assert_eq!(app.post("/api/mobile/auth/logout/", &body).await.status, 200);
    app.clock.leap_back(32 * DAY);
    assert_eq!(app.status(token(&login, "access")).await.verdict(), (401, "token_invalid".to_owned()));
}

/// The clock that runs ahead after a step back does not end a session early, and `logout/all/` misses none.
#[tokio::test]
async fn s39_a_session_lives_as_long_as_its_token_says() {
    let app = App::start().await;
    let login = app.log_in(PHONE).await;
    app.clock.leap_back(HOUR);
    app.clock.advance(30 * DAY);
    let next = refresh(&app, token(&login, "refresh")).await;
    assert_eq!(next.status, 200, "its exp is an hour away: {}", next.text);
    let all = app.bearer(Method::POST, "/api/mobile/auth/logout/all/", token(&next.json(), "access")).await;
    assert_eq!(all.status, 200);
    assert_eq!(app.count("SELECT count(*) FROM sessions WHERE ended_at IS NULL"), 0);
}

/// A leap that lasts is the time.
#[tokio::test]
async fn s39_after_ten_minutes_an_expired_token_has_expired() {
    let app = App::start().await;
    let login = app.log_in(PHONE).await;
    app.clock.leap_ahead(32 * DAY);
    assert_eq!(refresh(&app, token(&login, "refresh")).await.code(), "unavailable");
    app.clock.advance(9 * MINUTE + 58 * SECOND);
    let late = refresh(&app, token(&login, "refresh")).await;
    assert_eq!((late.code(), late.header("retry-after")), ("unavailable".to_owned(), "2"));
    app.clock.advance(2 * SECOND);
    assert_eq!(refresh(&app, token(&login, "refresh")).await.verdict(), (401, "token_expired".to_owned()));
}

#[tokio::test]
async fn s39_a_leap_is_a_warning_at_the_reading_that_notices_it() {
    let name = "s39_a_leap_is_a_warning_at_the_reading_that_notices_it";
    let Some(log) = crate::logs::catch(module_path!(), name, "warn") else { return };
    let app = App::start().await;
    let login = app.log_in(PHONE).await;
    let warnings = || log.records().iter().filter(|line| line["target"] == "freshk::clock").count();
    assert_eq!(warnings(), 0);
    app.clock.leap_ahead(32 * DAY);
    app.status(token(&login, "access")).await;
    app.status(token(&login, "access")).await;
    assert_eq!(warnings(), 1, "{}", log.text());
    app.clock.leap_back(32 * DAY);
    app.status(token(&login, "access")).await;
    assert_eq!(warnings(), 2, "{}", log.text());
}
