//! The guard against SMS pumping, as clients, webhooks and the operator meet it.

use std::time::Duration;

use freshk::domain::PhoneNumber;
use serde_json::Value;

use crate::sink::Sink;
use crate::support::{Answer, App, PHONE};

async fn app(variables: &[(&str, &str)]) -> App {
    let all: Vec<_> = [("FRESHK_SMS__GUARD", "on")].iter().chain(variables).copied().collect();
    App::with(&all).await
}

/// A number of Germany; each in a range of its own.
fn number(n: usize) -> String {
    format!("+49151{n:05}000")
}

/// An address; each in a network of its own.
fn address(n: usize) -> String {
    format!("198.{}.{}.7", 18 + n / 256, n % 256)
}

/// A first login from an address.
async fn join(app: &App, from: &str, phone: &str) {
    assert_eq!(app.request_from(from, phone).await.status, 200);
    assert_eq!(app.verify_from(from, phone, &app.code(phone)).await.status, 200);
}

fn is_held_back(answer: &Answer, wait: &str) {
    assert_eq!(answer.verdict(), (429, "rate_limited".to_owned()));
    assert_eq!(answer.header("retry-after"), wait);
}

#[tokio::test]
async fn five_unanswered_messages_hold_a_network_back_for_a_quarter_of_an_hour() {
    let app = app(&[]).await;
    let from = |n: usize| format!("203.0.113.{n}");
    for n in 0..5 {
        assert_eq!(app.request_from(&from(n), &number(n)).await.status, 200);
    }
    is_held_back(&app.request_from(&from(9), &number(9)).await, "900");
    assert_eq!(app.twilio.requests().len(), 5);
    assert_eq!(app.count("SELECT count(*) FROM spends WHERE quota = 'user'"), 5, "a refusal costs no unit");
    assert_eq!(app.request_from("203.0.114.1", &number(10)).await.status, 200, "another network");
    // Waiting just that long is enough, for one; if that is not answered, the next wait is longer.
    app.clock.advance(Duration::from_secs(899));
    is_held_back(&app.request_from(&from(9), &number(9)).await, "1");
    app.clock.advance(Duration::from_secs(1));
    assert_eq!(app.request_from(&from(9), &number(9)).await.status, 200);
    is_held_back(&app.request_from(&from(10), &number(11)).await, "1800");
}

#[tokio::test]
async fn a_number_verified_before_and_a_device_always_pass() {
    let app = app(&[]).await;
    let known = number(77);
    join(&app, &address(1), &known).await;
    let from = |n: usize| format!("203.0.113.{n}");
    for n in 0..6 {
        app.request_from(&from(n), &number(n)).await;
    }
    is_held_back(&app.request_from(&from(7), &number(7)).await, "900");
    assert_eq!(app.request_from(&from(7), &known).await.status, 200);
    assert_eq!(app.words("SELECT DISTINCT standing FROM purchases WHERE network IS NULL"), ["known"]);
}

#[tokio::test]
async fn a_network_where_two_were_verified_is_trusted_while_most_are_answered() {
    let app = app(&[]).await;
    let from = |n: usize| format!("203.0.113.{n}");
    for n in 0..2 {
        join(&app, &from(n), &number(n)).await;
    }
    for n in 2..8 {
        assert_eq!(app.request_from(&from(n), &number(n)).await.status, 200, "{n}");
    }
    assert_eq!(app.count("SELECT count(*) FROM purchases WHERE standing = 'trusted'"), 6);
    assert_eq!(app.request_from(&from(8), &number(8)).await.status, 200, "six, but not over three times two");
    is_held_back(&app.request_from(&from(9), &number(9)).await, "900");
}

#[tokio::test]
async fn a_network_known_for_less_than_a_day_is_trusted_with_as_many_unanswered_as_answered() {
    let app = app(&[("FRESHK_LIMITS__IP", "0")]).await;
    let from = |n: usize| format!("203.0.113.{n}");
    let trusted =
        || app.count("SELECT count(*) FROM purchases WHERE standing = 'trusted' AND converted_at IS NULL");
    for n in 0..8 {
        join(&app, &from(n), &number(n)).await;
    }
    for n in 8..20 {
        assert_eq!(app.request_from(&from(n), &number(n)).await.status, 200, "{n}");
    }
    assert_eq!(trusted(), 8, "the others are strangers");
    app.clock.advance(Duration::from_hours(25));
    for n in 20..24 {
        join(&app, &from(n), &number(n)).await;
    }
    for n in 24..40 {
        assert_eq!(app.request_from(&from(n), &number(n)).await.status == 200, n < 37, "{n}");
    }
    assert_eq!(trusted(), 8 + 12, "three times four");
}

#[tokio::test]
async fn three_unanswered_messages_hold_a_range_of_numbers_back() {
    let app = app(&[]).await;
    for n in 0..3 {
        assert_eq!(app.request_from(&address(n), &format!("+4915112345{n:03}")).await.status, 200);
    }
    is_held_back(&app.request_from(&address(3), "+4915112345999").await, "900");
    assert_eq!(app.request_from(&address(3), "+4915112346000").await.status, 200, "the next thousand");
    // After a wait one goes out, and the next wait is longer; a day later it is three again.
    app.clock.advance(Duration::from_mins(15));
    assert_eq!(app.request_from(&address(4), "+4915112345004").await.status, 200);
    is_held_back(&app.request_from(&address(5), "+4915112345005").await, "1800");
    app.clock.advance(Duration::from_hours(25));
    for n in 6..9 {
        assert_eq!(app.request_from(&address(n), &format!("+4915112345{n:03}")).await.status, 200);
    }
    is_held_back(&app.request_from(&address(9), "+4915112345009").await, "900");
}

#[tokio::test]
async fn ten_in_five_minutes_hold_a_country_back_until_it_is_quiet() {
    let app = app(&[]).await;
    for n in 0..10 {
        assert_eq!(app.request_from(&address(n), &number(n)).await.status, 200);
    }
    is_held_back(&app.request_from(&address(10), &number(10)).await, "900");
    assert_eq!(
        app.request_from(&address(11), "+33612345678").await.code(),
        "rate_limited",
        "all countries have ten"
    );
    // It goes on: the block does, too. One message is let through when the first quarter of an hour is over.
    for n in 0..30 {
        app.clock.advance(Duration::from_mins(1));
        let answer = app.request_from(&address(20 + n), &number(20 + n)).await;
        assert_eq!(answer.status == 200, n == 14, "{n}");
    }
    assert_eq!(app.twilio.requests().len(), 11);
    app.clock.advance(Duration::from_mins(15));
    assert_eq!(app.request_from(&address(99), &number(99)).await.status, 200, "it was quiet");
}

/// Messages that nobody answers, one each hour; nobody is held back by them.
async fn unanswered(app: &App, numbers: std::ops::Range<usize>) {
    for n in numbers {
        assert_eq!(app.request_from(&address(n), &number(n)).await.status, 200, "{n}");
        app.clock.advance(Duration::from_hours(1));
    }
}

#[tokio::test]
async fn a_full_day_of_a_country_lets_single_messages_through_and_says_when() {
    let app = app(&[]).await;
    unanswered(&app, 0..20).await;
    let mut told = vec![];
    for n in 20..27 {
        let answer = app.request_from(&address(n), &number(n)).await;
        told.push(if answer.status == 200 {
            "sent".to_owned()
        } else {
            answer.header("retry-after").to_owned()
        });
        app.clock.advance(Duration::from_mins(20));
    }
    assert_eq!(told, ["900", "sent", "900", "sent", "2400", "1200", "sent"]);
    assert_eq!(app.count("SELECT count(*) FROM audit WHERE event = 'sms_blocked'"), 1, "one block");
}

/// Ten in five minutes, which hold the country back.
async fn burst(app: &App) {
    for n in 20..30 {
        assert_eq!(app.request_from(&address(n), &number(n)).await.status, 200, "{n}");
        app.clock.advance(Duration::from_secs(20));
    }
}

/// What single requests are told that come just when they were told to.
async fn told(app: &App, numbers: std::ops::Range<usize>) -> Vec<String> {
    let mut told = vec![];
    for n in numbers {
        let answer = app.request_from(&address(n), &number(n)).await;
        let wait = answer.header("retry-after").to_owned();
        app.clock.advance(Duration::from_secs(wait.parse().unwrap_or(0)));
        told.push(if answer.status == 200 { "sent".to_owned() } else { wait });
    }
    told
}

#[tokio::test]
async fn s20_a_country_held_back_for_a_burst_says_the_true_wait_where_its_day_is_full_too() {
    let app = app(&[]).await;
    unanswered(&app, 0..10).await;
    burst(&app).await;
    assert_eq!(told(&app, 30..37).await, ["900", "sent", "1800", "sent", "3600", "sent", "7200"]);
}

#[tokio::test]
async fn s20_a_day_that_fills_while_its_country_is_held_back_is_waited_for_once() {
    let app = app(&[]).await;
    unanswered(&app, 0..5).await;
    burst(&app).await;
    is_held_back(&app.request_from(&address(30), &number(30)).await, "900");
    app.execute(
        "INSERT INTO purchases (challenge_id, at, country, standing, cost, charges) \
         SELECT 1000 + challenge_id, at, country, standing, cost, charges FROM purchases LIMIT 5",
    );
    app.clock.advance(Duration::from_mins(5));
    assert_eq!(told(&app, 31..34).await, ["600", "sent", "1800"]);
}

#[tokio::test]
async fn a_message_that_was_let_through_and_answered_lets_the_next_through_on_a_full_day() {
    let app = app(&[]).await;
    for n in 100..102 {
        join(&app, &address(n), &number(n)).await;
    }
    app.clock.advance(Duration::from_hours(1));
    unanswered(&app, 0..22).await;
    app.clock.advance(Duration::from_mins(61));
    is_held_back(&app.request_from(&address(30), &number(30)).await, "900");
    for n in 31..41 {
        app.clock.advance(Duration::from_mins(if n == 31 { 20 } else { 1 }));
        join(&app, &address(n), &number(n)).await;
    }
}

/// A country that is held back for longer than until the first message may be let through.
async fn loud(app: &App) {
    for n in 0..11 {
        app.request_from(&address(n), &number(n)).await;
    }
    app.clock.advance(Duration::from_secs(800));
    for n in 11..20 {
        assert_eq!(app.request_from(&address(n), &number(n)).await.status, 429);
    }
}

#[tokio::test]
async fn a_block_of_a_country_lets_nothing_through_that_a_block_of_all_refuses() {
    let app = app(&[]).await;
    for n in 0..11 {
        app.request_from(&address(n), &number(n)).await;
    }
    app.clock.advance(Duration::from_mins(1));
    assert_eq!(app.request_from(&address(11), "+33612345678").await.status, 429);
    app.clock.advance(Duration::from_secs(740));
    for n in 11..20 {
        assert_eq!(app.request_from(&address(n), &number(n)).await.status, 429);
    }
    app.clock.advance(Duration::from_secs(100));
    assert_eq!(app.request_from(&address(20), &number(20)).await.status, 429);
    app.clock.advance(Duration::from_mins(1));
    assert_eq!(app.request_from(&address(21), &number(21)).await.status, 200, "the first of the country");
}

#[tokio::test]
async fn a_message_without_a_budget_is_not_the_one_that_is_let_through() {
    let app = app(&[("FRESHK_SMS__BUDGET_PER_HOUR", "10")]).await;
    loud(&app).await;
    let waits = || app.count("SELECT probe_at - since FROM blocks WHERE scope = 'country'");
    assert_eq!(waits(), 900_000);
    app.clock.advance(Duration::from_secs(100));
    assert_eq!(app.request_from(&address(20), &number(20)).await.code(), "sms_budget_exhausted");
    assert_eq!(waits(), 900_000);
}

#[tokio::test]
async fn the_pause_between_two_codes_comes_before_the_guard() {
    let app = app(&[("FRESHK_OTP__RESEND_COOLDOWN", "30s")]).await;
    for n in 0..5 {
        assert_eq!(app.request_from("203.0.113.7", &number(n)).await.status, 200);
        app.clock.advance(Duration::from_secs(1));
    }
    is_held_back(&app.request_from("203.0.113.8", &number(4)).await, "29");
    assert_eq!(app.count("SELECT count(*) FROM blocks"), 0);
}

#[tokio::test]
async fn s34_what_is_told_of_a_range_completes_no_masked_number() {
    let sink = Sink::start();
    let webhook = sink.webhook("shop", "sms.blocked");
    let mut app = app(&[("FRESHK_WEBHOOKS", &webhook)]).await;
    for n in 0..4 {
        app.request_from(&address(n), &format!("+4915112345{n:03}")).await;
    }
    let told = app.words("SELECT detail FROM audit WHERE event = 'sms_blocked'");
    assert!(told[0].starts_with("a thousand of the numbers that begin with +49151: 3 messages"), "{told:?}");
    app.deliver().await;
    let [told] = &sink.requests()[..] else { panic!("one event") };
    assert_eq!(told.json()["data"]["block"]["key"], "+49151");
}

#[tokio::test]
async fn a_launch_that_is_answered_is_no_attack() {
    let app = app(&[]).await;
    for n in 0..60 {
        join(&app, &address(n), &number(n)).await;
        app.clock.advance(Duration::from_secs(2));
    }
    assert_eq!(app.count("SELECT count(*) FROM blocks"), 0);
    assert_eq!(app.count("SELECT count(*) FROM purchases WHERE converted_at IS NOT NULL"), 60);
}

#[tokio::test]
async fn a_code_that_was_asked_for_twice_and_given_once_counts_as_answered() {
    let app = app(&[]).await;
    let (phone, from) = (number(1), address(1));
    app.request_from(&from, &phone).await;
    join(&app, &from, &phone).await;
    let of = |what: &str| app.count(&format!("SELECT count(*) FROM purchases WHERE {what}"));
    assert_eq!((of("converted_at IS NOT NULL"), of("standing = 'known'")), (1, 1));
    // A number is answered once in its life.
    join(&app, &from, &phone).await;
    assert_eq!((of("converted_at IS NOT NULL"), of("standing = 'known'")), (1, 2));
}

#[tokio::test]
async fn monitoring_tells_what_it_would_refuse_and_refuses_nothing() {
    let app = app(&[("FRESHK_SMS__GUARD", "monitor")]).await;
    let from = |n: usize| format!("203.0.113.{n}");
    for n in 0..8 {
        assert_eq!(app.request_from(&from(n), &number(n)).await.status, 200);
    }
    let told = app.words("SELECT detail FROM audit WHERE event = 'sms_blocked'");
    assert_eq!(
        told,
        [
            "calls from 203.0.113.0/24: 5 messages of a day to new numbers were not answered, and 5 are too many; held back \
          until 2026-01-01T00:15:00.000Z or longer (sms.guard is monitor: nothing is refused)"
        ]
    );
    let (_, page) = app.operations("/metrics").await;
    for line in [
        "freshk_sms_held_back_total{rule=\"network\",guard=\"monitor\"} 3",
        "freshk_sms_blocks_total{guard=\"monitor\"} 1",
    ] {
        assert!(page.contains(line), "{line}\n{page}");
    }
}

#[tokio::test]
async fn whom_the_configuration_allows_is_never_held_back() {
    let app = app(&[("FRESHK_SMS__GUARD_ALLOW", "203.0.113.0/24,+33")]).await;
    for n in 0..8 {
        assert_eq!(app.request_from(&format!("203.0.113.{n}"), &number(n)).await.status, 200);
    }
    for n in 0..5 {
        assert_eq!(app.request_from(&address(1), &format!("+3361234{n:04}")).await.status, 200);
    }
    assert_eq!(app.count("SELECT count(*) FROM blocks"), 0);
}

#[tokio::test]
async fn the_beginning_of_a_block_is_told_once_and_its_refusals_are_counted() {
    let sink = Sink::start();
    let webhook = sink.webhook("shop", "sms.blocked");
    let mut app = app(&[("FRESHK_WEBHOOKS", &webhook)]).await;
    for n in 0..9 {
        app.request_from(&format!("203.0.113.{n}"), &number(n)).await;
    }
    assert_eq!(app.count("SELECT count(*) FROM audit WHERE event = 'sms_blocked'"), 1);
    assert_eq!(app.count("SELECT count(*) FROM audit WHERE event = 'sms_blocked' AND phone IS NOT NULL"), 0);
    assert_eq!(app.count("SELECT count(*) FROM refused_attempts WHERE key = '203.0.113.0/24'"), 4);
    app.deliver().await;
    let [told] = &sink.requests()[..] else { panic!("one event") };
    let block: Value = told.json()["data"]["block"].clone();
    assert_eq!((block["scope"].as_str(), block["key"].as_str()), (Some("network"), Some("203.0.113.0/24")));
    assert_eq!((block["counted"].as_u64(), block["guard"].as_str()), (Some(5), Some("on")));
}

#[tokio::test]
async fn a_restart_forgets_no_block() {
    let mut app = app(&[]).await;
    for n in 0..6 {
        app.request_from(&format!("203.0.113.{n}"), &number(n)).await;
    }
    app.restart().await;
    is_held_back(&app.request_from("203.0.113.9", &number(9)).await, "900");
}

#[tokio::test]
async fn an_ipv6_48_is_one_network() {
    let app = app(&[]).await;
    for n in 0..5 {
        assert_eq!(app.request_from(&format!("2001:db8:1:{n:x}::1"), &number(n)).await.status, 200);
    }
    is_held_back(&app.request_from("2001:db8:1:99::1", &number(9)).await, "900");
    assert_eq!(app.request_from("2001:db8:2::1", &number(10)).await.status, 200);
}

#[tokio::test]
async fn erasure_and_another_number_leave_no_digits_of_a_number_with_what_was_refused_in_its_range() {
    for way in ["delete", "set-phone"] {
        let app = app(&[]).await;
        join(&app, &address(5), PHONE).await;
        for n in 0..4 {
            app.request_from(&address(10 + n), &format!("{}{n:03}", &PHONE[..PHONE.len() - 3])).await;
        }
        let rows = || {
            let of = |table| app.count(&format!("SELECT count(*) FROM {table} WHERE scope = 'range'"));
            (of("refused_attempts"), of("blocks"))
        };
        assert_eq!(rows(), (1, 1));
        app.clock.advance(Duration::from_mins(15));
        crate::foreign::on(&app, crate::support::FIRST_ID, move |operator, user| {
            if way == "delete" {
                operator.delete(user).map(drop)
            } else {
                operator.set_phone(user, &PhoneNumber::parse("+15550000001", 10).unwrap()).map(drop)
            }
        })
        .await;
        assert_eq!(rows(), (0, 0), "{way}");
    }
}

#[tokio::test]
async fn erasure_leaves_no_digits_of_a_number_with_its_purchases() {
    let app = app(&[]).await;
    join(&app, &address(5), PHONE).await;
    assert_eq!(app.words("SELECT range FROM purchases"), ["+1234567"]);
    crate::foreign::operate(&app, move |operator| {
        let user = operator.view().user(freshk::domain::UserId(crate::support::FIRST_ID))?.unwrap();
        operator.delete(&user).map(drop)
    })
    .await;
    assert_eq!(app.count("SELECT count(*) FROM purchases WHERE range IS NOT NULL"), 0);
    assert_eq!(
        app.count("SELECT count(*) FROM purchases WHERE country IS NOT NULL"),
        1,
        "figures by country stay"
    );
}
