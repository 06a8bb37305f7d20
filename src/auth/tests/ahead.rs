//! What a clock leaves behind that was ahead for a while, and was set right.

use super::guard::{guarded, is_held_back, join, of, prolonged, stranger};
use super::servers::Neighbour;
use super::*;
use crate::auth::AuthError;

const DAY: Duration = Duration::from_hours(24);

fn in_minutes(minutes: u32) -> Duration {
    60 * SECOND * minutes
}

#[tokio::test]
async fn s39_a_block_that_ended_by_a_clock_ahead_has_later_ones_end_as_others_do() {
    let bed = guarded(GuardMode::On).await;
    bed.clock.advance(in_minutes(1));
    bed.clock.read();
    bed.clock.leap_ahead(40 * DAY);
    // Until it is believed.
    for _ in 0..11 {
        bed.clock.read();
        bed.clock.advance(in_minutes(1));
    }
    prolonged(&bed, (1..=19).map(stranger)).await;
    join(&bed, stranger(20)).await;
    bed.clock.advance(SECOND);
    bed.ask(stranger(21)).await.result.unwrap();
    bed.clock.leap_back(40 * DAY);
    bed.auth.store_clock().await.unwrap();
    bed.auth.settle_after_restart().await.unwrap();
    for number in 101..=110 {
        bed.ask(stranger(number)).await.result.unwrap();
    }
    let wait = AuthError::RateLimited(in_minutes(15));
    assert_eq!(bed.ask(stranger(111)).await.result.unwrap_err(), wait);
}

#[tokio::test]
async fn s39_a_block_that_a_clock_ahead_began_or_prolonged_holds_nothing_back() {
    for was_there_before in [false, true] {
        let bed = guarded(GuardMode::On).await;
        let right = Neighbour::with(&bed, |policy| policy.guard.mode = GuardMode::On);
        let begin = async || {
            for number in 1..=10 {
                bed.ask(stranger(number)).await.result.unwrap();
            }
            assert!(is_held_back(&bed.ask(stranger(11)).await.result));
        };
        if was_there_before {
            begin().await;
            bed.clock.advance(in_minutes(14));
            for number in 12..=18 {
                assert!(is_held_back(&bed.ask(stranger(number)).await.result));
            }
            bed.clock.advance(40 * DAY);
            bed.ask(stranger(18)).await.result.unwrap();
        } else {
            bed.clock.advance(40 * DAY);
            begin().await;
        }
        right.clock.advance(2 * DAY);
        for number in 20..30 {
            right.auth.request(stranger(number)).await.result.unwrap();
        }
        assert!(is_held_back(&right.auth.request(stranger(30)).await.result));
    }
}

#[tokio::test]
async fn s39_what_a_clock_ahead_counted_fills_no_day_of_a_country() {
    let bed = guarded(GuardMode::On).await;
    let right = Neighbour::with(&bed, |policy| policy.guard.mode = GuardMode::On);
    bed.clock.advance(40 * DAY);
    for number in 1..=20 {
        bed.ask(stranger(number)).await.result.unwrap();
        bed.clock.advance(in_minutes(12));
    }
    right.clock.advance(30 * DAY);
    right.auth.request(stranger(100)).await.result.unwrap();
}

#[tokio::test]
async fn s39_what_a_clock_ahead_refused_prolongs_no_block() {
    let bed = guarded(GuardMode::On).await;
    let right = Neighbour::with(&bed, |policy| policy.guard.mode = GuardMode::On);
    bed.clock.advance(2 * DAY);
    for number in 1..=60 {
        let is_sent = bed.ask(stranger(number)).await.result.is_ok();
        assert_eq!(is_sent, number <= 10);
    }
    for number in 70..80 {
        right.auth.request(stranger(number)).await.result.unwrap();
    }
    assert!(is_held_back(&right.auth.request(stranger(80)).await.result));
    right.clock.advance(in_minutes(14));
    assert!(is_held_back(&right.auth.request(stranger(81)).await.result));
    right.clock.advance(in_minutes(1));
    for number in 82..86 {
        right.auth.request(stranger(number)).await.result.unwrap();
    }
}

#[tokio::test]
async fn s39_what_a_clock_ahead_verified_makes_nothing_usual_before_its_time() {
    let bed = guarded(GuardMode::On).await;
    let right = Neighbour::with(&bed, |policy| policy.guard.mode = GuardMode::On);
    bed.clock.advance(30 * DAY);
    for number in 1..=20 {
        join(&bed, stranger(number)).await;
    }
    right.clock.advance(8 * DAY);
    for number in 101..=110 {
        right.auth.request(stranger(number)).await.result.unwrap();
    }
    assert!(is_held_back(&right.auth.request(stranger(111)).await.result));
}

#[tokio::test]
async fn s39_codes_of_a_clock_ahead_keep_no_older_ones_behind_them() {
    let bed = Bed::open().await;
    let right = Neighbour::with(&bed, |_| {});
    bed.clock.advance(5 * DAY);
    for number in 1..=210 {
        bed.request(number).await.result.unwrap();
    }
    right.auth.request(code_request(500)).await.result.unwrap();
    right.clock.advance(8 * DAY);
    right.auth.maintain().await.unwrap();
    let left = bed.read(|view| view.messages_before(MessageId(i64::MAX), 1000)).await;
    assert_eq!(left.iter().filter(|(message, _)| message.to == phone(500)).count(), 0);
    assert_eq!(left.len(), 210);
}

#[tokio::test]
async fn s16_a_refresh_token_that_a_clock_ahead_rotated_away_has_no_longer_grace() {
    let (minute, moment) = (in_minutes(1), Duration::from_millis(1));
    for (by, later, is_good) in [
        (minute, Duration::ZERO, true),
        (minute + moment, Duration::ZERO, false),
        (HOUR, in_minutes(30), false),
    ] {
        // A grace that is shorter than clocks may differ.
        let bed = Bed::with(|policy| (policy.limits.ip, policy.reuse_grace) = (0, SECOND)).await;
        let ahead = Neighbour::with(&bed, |policy| policy.reuse_grace = SECOND);
        let login = bed.log_in(1).await;
        ahead.clock.advance(by);
        let mut token = login.tokens.refresh.clone();
        for _ in 0..2 {
            let pair = ahead.auth.refresh(&token, String::new(), origin(ADDRESS)).await.unwrap().pair;
            ahead.auth.authenticate(&pair.access).await.unwrap();
            token = pair.refresh;
        }
        bed.clock.advance(later);
        let again = bed.auth.refresh(&login.tokens.refresh, String::new(), origin("198.51.100.9")).await;
        assert_eq!(again.map(drop), if is_good { Ok(()) } else { Err(AuthError::TokenReused) }, "{by:?}");
    }
}

#[tokio::test]
async fn a_request_that_was_under_way_by_a_clock_ahead_when_its_server_died_keeps_nobody_from_a_code() {
    let bed = Bed::open().await;
    let gone = Neighbour::with(&bed, |_| {});
    gone.clock.advance(HOUR);
    gone.sms.hold();
    let auth = gone.auth.clone();
    let flow = tokio::spawn(async move { auth.request(code_request(1)).await.result });
    gone.sms.arrived(1).await;
    flow.abort();
    bed.clock.advance(in_minutes(1));
    bed.request(1).await.result.unwrap();
}

#[tokio::test]
async fn what_was_answered_before_a_block_ends_none() {
    // How far the other clock is ahead, how long after each other messages are asked for, and to where.
    let everywhere: &[&str] = &["49151", "33612", "34612", "39312", "31612", "48512", "32470", "43664"];
    for (ahead, pace, countries) in
        [(60_000, 100, &["49151"]), (500, 10, everywhere)] as [(u64, u64, &[&str]); 2]
    {
        let bed = guarded(GuardMode::On).await;
        let behind = Neighbour::with(&bed, |policy| policy.guard.mode = GuardMode::On);
        bed.clock.advance(Duration::from_millis(ahead));
        for number in 900..903 {
            join(&bed, of("44791", number)).await;
        }
        join(&bed, of("49151", 903)).await;
        let mut sent = 0;
        for (number, country) in (100..200).zip(countries.iter().cycle()) {
            behind.clock.advance(Duration::from_millis(pace));
            sent += usize::from(behind.auth.request(of(country, number)).await.result.is_ok());
        }
        assert_eq!(sent, 10, "{ahead} ms ahead");
    }
}
