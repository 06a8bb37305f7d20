//! Budgets for text messages, as clients and webhooks meet them.

use std::time::Duration;

use serde_json::json;

use crate::sink::Sink;
use crate::support::{App, PHONE};
use crate::twilio;

fn phone(n: usize) -> String {
    format!("+1999{n:07}")
}

async fn app(variables: &[(&str, &str)]) -> App {
    let all: Vec<_> = [("FRESHK_LIMITS__IP", "0")].iter().chain(variables).copied().collect();
    App::with(&all).await
}

/// Has so many numbers verified, before a day begins in which nothing is bought yet.
async fn verified(app: &App, count: usize) {
    for n in 0..count {
        app.log_in(&phone(n)).await;
    }
    app.clock.advance(Duration::from_hours(24));
}

#[tokio::test]
async fn a_spent_budget_refuses_new_numbers_until_the_hour_is_over() {
    let app = app(&[("FRESHK_SMS__BUDGET_PER_HOUR", "3")]).await;
    app.clock.advance(Duration::from_mins(20));
    for n in 0..3 {
        assert_eq!(app.request(&phone(n)).await.status, 200);
    }
    let refused = app.request(&phone(3)).await;
    assert_eq!(refused.verdict(), (503, "sms_budget_exhausted".to_owned()));
    assert_eq!(refused.header("retry-after"), "2400");
    assert_eq!(
        refused.json()["error"],
        "No more text messages can be sent at the moment. Please try again later."
    );
    assert_eq!(app.twilio.requests().len(), 3);
    assert_eq!(app.count("SELECT count(*) FROM spends WHERE quota = 'user'"), 3, "a refusal costs no unit");
    app.clock.advance(Duration::from_secs(2399));
    assert_eq!(app.request(&phone(3)).await.status, 503);
    app.clock.advance(Duration::from_secs(1));
    assert_eq!(app.request(&phone(3)).await.status, 200);
}

#[tokio::test]
async fn numbers_verified_before_have_a_second_budget_of_the_same_size() {
    let app = app(&[("FRESHK_SMS__BUDGET_PER_DAY", "4")]).await;
    verified(&app, 3).await;
    for n in 10..14 {
        assert_eq!(app.request(&phone(n)).await.status, 200);
    }
    assert_eq!(app.request(&phone(14)).await.code(), "sms_budget_exhausted");
    for n in 0..2 {
        for _ in 0..2 {
            assert_eq!(app.request(&phone(n)).await.status, 200);
        }
    }
    assert_eq!(app.request(&phone(2)).await.code(), "sms_budget_exhausted");
    let day = "SELECT sum(used) FROM budgets WHERE since = (SELECT max(since) FROM budgets) AND share = ";
    assert_eq!((app.count(&format!("{day}'all'")), app.count(&format!("{day}'verified'"))), (4, 4));
}

#[tokio::test]
async fn money_is_counted_by_the_price_of_the_country() {
    let price = "DE=0.50,default=0.10";
    let app = app(&[("FRESHK_SMS__BUDGET_MONEY_PER_DAY", "1.25"), ("FRESHK_SMS__PRICE", price)]).await;
    for number in ["+4915112345670", "+4915112345671"] {
        assert_eq!(app.request(number).await.status, 200);
    }
    assert_eq!(app.request("+4915112345672").await.code(), "sms_budget_exhausted");
    assert_eq!(app.request("+12025550101").await.status, 200);
    assert_eq!(app.request("+12025550102").await.status, 200);
    assert_eq!(app.request("+12025550103").await.code(), "sms_budget_exhausted");
    assert_eq!(app.count("SELECT used FROM budgets WHERE budget = 'money'"), 1_200_000);
    let (_, page) = app.operations("/metrics").await;
    for line in [
        "freshk_sms_bought_total{country=\"DE\",number=\"new\"} 2",
        "freshk_sms_cost_total{country=\"DE\"} 1.0",
        "freshk_sms_unpaid_total{budget=\"money\"} 2",
    ] {
        assert!(page.contains(line), "{line}\n{page}");
    }
}

#[tokio::test]
async fn what_was_surely_not_sent_is_given_back_and_what_may_arrive_is_not() {
    let app = app(&[("FRESHK_SMS__BUDGET_PER_HOUR", "2"), ("FRESHK_SMS__BUDGET_PER_DAY", "2")]).await;
    app.twilio.script(vec![
        twilio::Answer::Error { http: 400, code: 30450, message: "blocked" },
        twilio::Answer::Error { http: 500, code: 20500, message: "internal" },
    ]);
    assert_eq!(app.request(&phone(0)).await.code(), "sms_delivery_failed");
    assert_eq!(app.count("SELECT sum(used) FROM budgets"), 0);
    assert_eq!(app.count("SELECT count(*) FROM purchases"), 0);
    assert_eq!(app.request(&phone(1)).await.code(), "sms_delivery_failed");
    assert_eq!(app.count("SELECT sum(used) FROM budgets"), 2, "of the hour and of the day");
    assert_eq!(app.request(&phone(2)).await.status, 200);
    assert_eq!(app.request(&phone(3)).await.code(), "sms_budget_exhausted");
}

#[tokio::test]
async fn the_last_messages_of_a_budget_are_bought_once_by_many_at_a_time() {
    let app = app(&[("FRESHK_SMS__BUDGET_PER_HOUR", "7"), ("FRESHK_LIMITS__FLOOD_PER_SECOND", "0")]).await;
    let phones: Vec<_> = (0..40).map(phone).collect();
    let answers = futures_util::future::join_all(phones.iter().map(|phone| app.request(phone))).await;
    assert_eq!(answers.iter().filter(|answer| answer.status == 200).count(), 7);
    assert_eq!(answers.iter().filter(|answer| answer.status == 503).count(), 33);
    assert_eq!(app.twilio.requests().len(), 7);
}

#[tokio::test]
async fn four_fifths_are_told_once_by_audit_log_metric_and_event() {
    let sink = Sink::start();
    let webhook = sink.webhook("shop", "sms.budget_warning");
    let mut app = app(&[("FRESHK_SMS__BUDGET_PER_HOUR", "5"), ("FRESHK_WEBHOOKS", &webhook)]).await;
    for n in 0..3 {
        app.request(&phone(n)).await;
    }
    assert_eq!(app.count("SELECT count(*) FROM audit WHERE event = 'sms_budget_warning'"), 0);
    for n in 3..7 {
        app.request(&phone(n)).await;
    }
    assert_eq!(
        app.words("SELECT detail FROM audit WHERE event = 'sms_budget_warning'"),
        ["sms.budget_per_hour: 4 of 5 are spent, until 2026-01-01T01:00:00.000Z"]
    );
    assert_eq!(
        app.count("SELECT count(*) FROM audit WHERE event = 'sms_budget_warning' AND phone IS NOT NULL"),
        0
    );
    app.deliver().await;
    let [told] = &sink.requests()[..] else { panic!("one event") };
    assert_eq!(
        told.json()["data"],
        json!({ "budget": {
            "name": "hour", "share": "all", "used": 4, "limit": 5,
            "since": "2026-01-01T00:00:00.000Z", "until": "2026-01-01T01:00:00.000Z",
        } })
    );
    let (_, page) = app.operations("/metrics").await;
    assert!(page.contains("freshk_sms_budget_warnings_total{budget=\"hour\"} 1"), "{page}");
}

#[tokio::test]
async fn a_restart_forgets_nothing_of_a_budget() {
    let mut app = app(&[("FRESHK_SMS__BUDGET_PER_DAY", "1")]).await;
    assert_eq!(app.request(PHONE).await.status, 200);
    app.restart().await;
    assert_eq!(app.request(&phone(1)).await.code(), "sms_budget_exhausted");
}

#[tokio::test]
async fn the_user_s_own_quota_refuses_before_the_budget() {
    let app = app(&[("FRESHK_SMS__BUDGET_PER_DAY", "3")]).await;
    for _ in 0..3 {
        assert_eq!(app.request(PHONE).await.status, 200);
    }
    assert_eq!(app.request(PHONE).await.code(), "rate_limited");
    assert_eq!(app.request(&phone(1)).await.code(), "sms_budget_exhausted");
}
