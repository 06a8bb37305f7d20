//! S2: a wall clock that steps back across a restart.

use std::time::Duration;

use crate::support::{App, PHONE};

const MINUTE: Duration = Duration::from_mins(1);

#[tokio::test]
async fn s2_a_code_outlives_a_leap_back_by_the_step_and_no_more() {
    for (wait, status) in [(12, 200), (15, 400)] {
        let mut app = App::start().await;
        app.request(PHONE).await;
        app.stop().await;
        app.clock.leap_back(5 * MINUTE);
        app.boot().await;
        app.clock.advance(wait * MINUTE);
        let answer = app.verify(PHONE, &app.code(PHONE)).await;
        assert_eq!(answer.status, status, "after {wait} minutes: {}", answer.text);
    }
}

#[tokio::test]
async fn s2_tokens_of_before_the_step_are_good_and_new_codes_go_out() {
    let mut app = App::with(&[("FRESHK_OTP__RESEND_COOLDOWN", "30s")]).await;
    let login = app.log_in(PHONE).await;
    app.stop().await;
    app.clock.leap_back(60 * MINUTE);
    app.boot().await;
    assert_eq!(app.status(login["access"].as_str().unwrap()).await.status, 200);
    app.clock.advance(60 * MINUTE + Duration::from_secs(30));
    assert_eq!(app.request(PHONE).await.status, 200);
    assert_eq!(app.verify(PHONE, &app.code(PHONE)).await.status, 200);
}

#[tokio::test]
async fn s2_s20_units_of_the_future_count_as_now_and_the_wait_stays_true() {
    let mut app = App::start().await;
    for n in 0..5 {
        assert_eq!(app.request(&format!("+1999000000{n}")).await.status, 200);
    }
    app.stop().await;
    app.clock.leap_back(180 * MINUTE);
    app.boot().await;
    let refused = app.request(PHONE).await;
    assert_eq!(refused.verdict(), (429, "rate_limited".to_owned()), "a step back frees nothing");
    let wait: u64 = refused.header("retry-after").parse().unwrap();
    assert_eq!(wait, 3600, "and makes nobody wait longer than a window");
    app.clock.advance(Duration::from_secs(wait - 1));
    assert_eq!(app.request(PHONE).await.code(), "rate_limited");
    app.clock.advance(Duration::from_secs(1));
    assert_eq!(app.request(PHONE).await.status, 200);
}

#[tokio::test]
async fn s2_s20_the_same_for_a_phone_and_its_day_of_failures() {
    let mut app = App::with(&[("FRESHK_LIMITS__IP", "0"), ("FRESHK_OTP__MAX_FAILURES_PER_DAY", "1")]).await;
    for _ in 0..3 {
        assert_eq!(app.request(PHONE).await.status, 200);
    }
    let other = "+1234567891";
    app.request(other).await;
    assert_eq!(app.verify(other, &app.wrong_code(other)).await.code(), "invalid_otp");
    app.stop().await;
    app.clock.leap_back(30 * MINUTE);
    app.boot().await;
    let day = app.verify(other, &app.code(other)).await;
    let hour = app.request(PHONE).await;
    assert_eq!((day.code(), hour.code()), ("rate_limited".to_owned(), "rate_limited".to_owned()));
    assert_eq!(hour.header("retry-after"), "3600");
    app.clock.advance(Duration::from_hours(1));
    assert_eq!(app.request(PHONE).await.status, 200);
    assert_eq!(day.header("retry-after"), "86400");
    app.clock.advance(Duration::from_secs(23 * 3600 - 1));
    assert_eq!(app.request(other).await.code(), "rate_limited");
    app.clock.advance(Duration::from_secs(1));
    assert_eq!(app.request(other).await.status, 200, "waiting just that long is enough");
}
