//! S19–S20: quotas as a client meets them.

use std::time::Duration;

use futures_util::future::join_all;
use serde_json::json;

use crate::support::{App, PHONE};

fn phone(n: usize) -> String {
    format!("+1999{n:07}")
}

#[tokio::test]
async fn five_per_address_and_endpoint_over_a_restart() {
    let mut app = App::start().await;
    for n in 0..5 {
        let answer = app.request(&phone(n)).await;
        assert_eq!(answer.status, 200);
        assert_eq!(answer.header("ratelimit-policy"), "\"otp-ip\";q=5;w=3600");
        assert_eq!(answer.header("ratelimit"), format!("\"otp-ip\";r={};t=3600", 4 - n));
    }
    for _ in 0..2 {
        let refused = app.request(&phone(9)).await;
        assert_eq!(refused.verdict(), (429, "rate_limited".to_owned()));
        assert_eq!(refused.json()["error"], "Too many requests. Please try again in 1 hour.");
        assert_eq!(refused.header("retry-after"), "3600");
        assert_eq!(refused.header("ratelimit"), "\"otp-ip\";r=0;t=3600");
        app.restart().await;
    }
    assert_eq!(app.twilio.requests().len(), 5);
    assert_eq!(app.request_from("203.0.113.9", &phone(9)).await.status, 200, "another address has its own");
    assert_eq!(app.verify(&phone(0), &app.code(&phone(0))).await.status, 200, "another endpoint has its own");
}

#[tokio::test]
async fn three_codes_per_phone_request_and_resend_together() {
    let app = App::start().await;
    let login = app.log_in(PHONE).await;
    let access = login["access"].as_str().unwrap();
    let resent = app.resend(access).await;
    assert_eq!(resent.header("ratelimit-policy"), "\"otp-ip\";q=5;w=3600, \"otp-user\";q=3;w=3600");
    assert_eq!(resent.header("ratelimit"), "\"otp-ip\";r=4;t=3600, \"otp-user\";r=1;t=3600");
    assert_eq!(app.request(PHONE).await.status, 200);
    assert_eq!(app.request(PHONE).await.code(), "rate_limited");
    assert_eq!(app.resend(access).await.code(), "rate_limited");
    assert_eq!(app.twilio.requests().len(), 3);
    assert_eq!(app.count("SELECT count(*) FROM audit WHERE event = 'excess_rate_limit_exceeded'"), 1);
}

#[tokio::test]
async fn s19_of_a_hundred_in_parallel_exactly_the_limit_passes() {
    let app = App::with(&[("FRESHK_LIMITS__FLOOD_PER_SECOND", "0")]).await;
    let phones: Vec<_> = (0..100).map(phone).collect();
    let answers = join_all(phones.iter().map(|phone| app.request(phone))).await;
    assert_eq!(answers.iter().filter(|answer| answer.status == 200).count(), 5);
    assert_eq!(answers.iter().filter(|answer| answer.status == 429).count(), 95);
    assert_eq!(app.twilio.requests().len(), 5);
}

#[tokio::test]
async fn s20_waiting_just_that_long_is_enough_and_a_second_less_is_not() {
    let app = App::start().await;
    for n in 0..5 {
        app.request(&phone(n)).await;
        app.clock.advance(Duration::from_millis(1234));
    }
    let refused = app.request(&phone(5)).await;
    let wait: u32 = refused.header("retry-after").parse().unwrap();
    assert_eq!(refused.json()["retry_after"], wait);
    app.clock.advance(Duration::from_secs(1) * (wait - 1));
    assert_eq!(app.request(&phone(5)).await.status, 429);
    app.clock.advance(Duration::from_secs(1));
    assert_eq!(app.request(&phone(5)).await.status, 200);
    assert_eq!(app.request(&phone(6)).await.status, 429, "only one unit has returned");
}

#[tokio::test]
async fn the_address_is_charged_once_the_phone_is_valid_and_not_before() {
    let app = App::start().await;
    for body in [json!({}), json!({ "phone_number": 5 }), json!({ "phone_number": "123" })] {
        for _ in 0..3 {
            assert_eq!(app.post(crate::support::REQUEST, &body).await.status, 400);
        }
    }
    assert_eq!(app.count("SELECT count(*) FROM spends"), 0);
    for n in 0..5 {
        assert_eq!(app.verify(&phone(n), "123456").await.code(), "user_not_found");
    }
    assert_eq!(app.verify(&phone(9), "123456").await.code(), "rate_limited");
}

#[tokio::test]
async fn another_process_that_lifts_a_limit_is_believed() {
    let app = App::start().await;
    for n in 0..6 {
        app.request(&phone(n)).await;
    }
    assert_eq!(app.request(&phone(6)).await.status, 429);
    app.execute("DELETE FROM spends");
    crate::support::until(|| async { app.request(&phone(6)).await.status == 200 }).await;
}
