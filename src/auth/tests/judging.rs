//! Which codes a guess is tried against, and what it leaves of each.

use super::*;
use crate::auth::AuthError;
use crate::domain::guard::{Sends, Standing};
use crate::domain::{Challenge, ChallengeState};

async fn codes(bed: &Bed) -> Vec<Challenge> {
    bed.read(|view| view.challenges(Mode::Production, &phone(1), Purpose::Login, 9)).await
}

/// Wrong guesses that each code has taken, newest first.
async fn guessed(bed: &Bed) -> Vec<u32> {
    codes(bed).await.iter().map(|challenge| challenge.attempts).collect()
}

async fn refusal(bed: &Bed, code: &Code) -> AuthError {
    bed.verify(1, code).await.result.unwrap_err()
}

#[tokio::test]
async fn s6_on_the_last_guess_of_a_day_the_newest_code_alone_is_tried_and_every_live_one_counts_it() {
    let bed = Bed::with(|policy| (policy.limits.ip, policy.otp.max_failures_per_day) = (0, 1)).await;
    bed.request(1).await.result.unwrap();
    let older = bed.code();
    bed.sms.script([lost()]);
    bed.request(1).await.result.unwrap_err();
    assert_eq!(refusal(&bed, &older).await, AuthError::InvalidOtp);
    assert_eq!(guessed(&bed).await, [1, 1]);
    assert_eq!(refusal(&bed, &bed.code()).await, AuthError::RateLimited(24 * HOUR));
    assert_eq!(bed.told(AuditEvent::LoginFailMax).await, ["day"]);
}

#[tokio::test]
async fn a_guess_leaves_codes_alone_that_can_open_nothing_any_more() {
    let bed = Bed::open().await;
    bed.log_in(1).await;
    bed.request(1).await.result.unwrap();
    bed.request(1).await.result.unwrap();
    for _ in 0..7 {
        assert_eq!(refusal(&bed, &bed.wrong()).await, AuthError::InvalidOtp);
    }
    assert_eq!(guessed(&bed).await, [5, 0, 0], "of the live one, the superseded one and the used one");
}

#[tokio::test]
async fn a_used_code_stays_used_whatever_comes_after_it() {
    let bed = Bed::open().await;
    bed.log_in(1).await;
    let first = bed.code();
    bed.log_in(1).await;
    assert_eq!(refusal(&bed, &first).await, AuthError::InvalidOtp);
    assert_eq!(bed.told(AuditEvent::LoginFail).await, ["used"]);
    let states: Vec<_> = codes(&bed).await.iter().map(|challenge| challenge.state).collect();
    assert_eq!(states, [ChallengeState::Used; 2]);
}

#[tokio::test]
async fn what_a_number_was_sent_before_it_was_verified_counts_no_longer_as_sent_to_a_stranger() {
    let bed = Bed::open().await;
    let since = bed.clock.now();
    bed.clock.advance(SECOND);
    bed.request(1).await.result.unwrap();
    bed.log_in(1).await;
    let [given, before] = codes(&bed).await.try_into().unwrap();
    let read = bed.read(move |view| {
        let standing = |id| Ok(view.payment(id)?.unwrap().standing);
        Ok((
            standing(given.id)?,
            standing(before.id)?,
            view.sent_to_strangers(None, since, given.created_at)?,
        ))
    });
    let converted = Sends { unconverted: 0, converted: 1 };
    assert_eq!(read.await, (Standing::Stranger, Standing::Known, converted));
}

#[tokio::test]
async fn a_test_number_is_proven_by_its_code_alone_and_what_that_opens_ends_with_it() {
    let bed = Bed::open().await;
    let (own, other) = (bed.make_test_number(1).await, Code::parse("604928", 6).unwrap());
    let until = bed.clock.now() + HOUR;
    assert_eq!(refusal(&bed, &own).await, AuthError::UserNotFound, "none was asked for");
    bed.request(1).await.result.unwrap();
    assert_eq!(bed.sms.messages().len(), 0);
    assert_eq!(refusal(&bed, &other).await, AuthError::InvalidOtp);
    let login = bed.verify(1, &own).await.result.unwrap();
    assert_eq!(bed.told(AuditEvent::LoginSuccess).await, ["test number"]);
    assert_eq!(bed.told(AuditEvent::CodeRequested).await, ["test number"]);
    assert_eq!(refusal(&bed, &own).await, AuthError::InvalidOtp);
    assert_eq!(bed.told(AuditEvent::LoginFail).await, ["unknown number", "wrong", "used"]);
    let device = bed.read(move |view| view.devices_of(login.user.id)).await.remove(0);
    assert!(device.is_live(until - SECOND) && !device.is_live(until));
    bed.clock.advance(3599 * SECOND);
    bed.request(1).await.result.unwrap();
    bed.clock.advance(SECOND);
    let refreshed = bed.auth.refresh(&login.tokens.refresh, "Pixel".to_owned(), origin(ADDRESS)).await;
    assert_eq!(refreshed.unwrap_err(), AuthError::TokenExpired);
    // A number like any other by now.
    bed.request(1).await.result.unwrap();
    assert_eq!(bed.sms.messages().len(), 1);
    assert_eq!(refusal(&bed, &own).await, AuthError::InvalidOtp);
    bed.verify(1, &bed.code()).await.result.unwrap();
}

#[tokio::test]
async fn a_number_that_somebody_wants_is_no_unknown_one_and_its_code_logs_nobody_in() {
    let bed = Bed::open().await;
    let login = bed.log_in(2).await;
    let bearer = bed.bearer(&login).await;
    let asked = bed.auth.ask_phone_change(&bearer, phone(1), Languages::default(), origin(ADDRESS)).await;
    asked.result.unwrap();
    assert_eq!(refusal(&bed, &bed.code()).await, AuthError::InvalidOtp);
    assert_eq!(bed.told(AuditEvent::LoginFail).await, ["no code"]);
}
