//! Refused codes in the audit trail: what costs somebody something has a line each; of what costs nothing, an address has twenty an
//! hour.

use super::*;
use crate::auth::AuthError;

const LINES: usize = 20;

/// What is given so often that its lines are bounded where they can be.
const OFTEN: usize = 25;

/// A code that nobody was sent.
fn guess() -> Code {
    Code::from_number(0, 6)
}

async fn give(bed: &Bed, request: VerifyRequest, times: usize) {
    for _ in 0..times {
        bed.auth.verify(request.clone()).await.result.unwrap_err();
    }
}

/// How many refusals were written since there were `before`, each for this reason.
async fn lines(bed: &Bed, before: usize, reason: &str) -> usize {
    let told = bed.told(AuditEvent::LoginFail).await.split_off(before);
    assert!(told.iter().all(|told| told == reason), "{told:?}");
    told.len()
}

/// Guesses without end, at codes and by days that have room for them; nothing costs an address anything.
async fn roomy() -> Bed {
    Bed::with(|policy| {
        policy.limits.ip = 0;
        (policy.otp.max_attempts, policy.otp.max_failures_per_day) = (100, 100);
    })
    .await
}

#[tokio::test]
async fn s38_guesses_at_a_number_without_an_account_have_twenty_lines_of_each_address_and_hour() {
    let bed = roomy().await;
    give(&bed, verify_request(9, &guess()), OFTEN).await;
    assert_eq!(lines(&bed, 0, "unknown number").await, LINES);
    let elsewhere = VerifyRequest { origin: origin("203.0.113.8"), ..verify_request(9, &guess()) };
    give(&bed, elsewhere, OFTEN).await;
    assert_eq!(lines(&bed, 0, "unknown number").await, 2 * LINES);
    bed.clock.advance(HOUR);
    give(&bed, verify_request(9, &guess()), OFTEN).await;
    assert_eq!(lines(&bed, 0, "unknown number").await, 3 * LINES);
}

#[tokio::test]
async fn s38_what_is_no_code_has_twenty_lines() {
    let bed = Bed::new().await;
    let part = VerifyRequest { code: None, ..verify_request(9, &guess()) };
    give(&bed, part, OFTEN).await;
    assert_eq!(lines(&bed, 0, "not a code").await, LINES);
}

#[tokio::test]
async fn s38_a_guess_that_costs_the_number_or_the_address_a_unit_has_a_line_each() {
    let bed = roomy().await;
    bed.request(1).await.result.unwrap();
    give(&bed, verify_request(1, &bed.wrong()), OFTEN).await;
    assert_eq!(lines(&bed, 0, "wrong").await, OFTEN);
    give(&bed, verify_request(9, &guess()), OFTEN).await;
    assert_eq!(
        lines(&bed, OFTEN, "unknown number").await,
        LINES,
        "none was used up by guesses that cost something"
    );

    let bed = Bed::with(|policy| policy.limits.ip = 100).await;
    give(&bed, verify_request(9, &guess()), OFTEN).await;
    assert_eq!(lines(&bed, 0, "unknown number").await, OFTEN);
}

#[tokio::test]
async fn s38_guesses_that_no_code_takes_any_more_are_bounded_like_those_at_none() {
    for (max_attempts, max_failures_per_day, reason) in [(5, 100, "over-tried"), (100, 5, "day spent")] {
        let bed = Bed::with(|policy| {
            policy.limits.ip = 0;
            (policy.otp.max_attempts, policy.otp.max_failures_per_day) = (max_attempts, max_failures_per_day);
        })
        .await;
        bed.request(1).await.result.unwrap();
        give(&bed, verify_request(1, &bed.wrong()), 5 + OFTEN).await;
        assert_eq!(lines(&bed, 5, reason).await, LINES);
    }
}

#[tokio::test]
async fn s38_in_the_testing_mode_no_address_pays_so_that_lines_are_bounded() {
    let bed = Bed::new().await;
    let testing = VerifyRequest { mode: Mode::Testing, ..verify_request(9, &guess()) };
    give(&bed, testing, OFTEN).await;
    assert_eq!(lines(&bed, 0, "unknown number").await, LINES);
}

#[tokio::test]
async fn logins_use_up_no_lines_of_refusals() {
    let bed = Bed::with(|policy| {
        policy.limits.ip = 0;
        (policy.limits.user, policy.limits.user_per_day) = (0, 0);
    })
    .await;
    for _ in 0..LINES {
        bed.log_in(1).await;
    }
    give(&bed, verify_request(9, &guess()), OFTEN).await;
    assert_eq!(lines(&bed, 0, "unknown number").await, LINES);
}

#[tokio::test]
async fn s38_the_right_code_of_a_deactivated_user_has_a_line_and_costs_none_of_the_bounded() {
    let bed = roomy().await;
    bed.log_in(1).await;
    bed.request(1).await.result.unwrap();
    bed.operate(1, |operator, user| operator.deactivate(user)).await;
    give(&bed, verify_request(9, &guess()), OFTEN).await;
    assert_eq!(bed.verify(1, &bed.code()).await.result.unwrap_err(), AuthError::AccountDisabled);
    assert_eq!(lines(&bed, LINES, "disabled").await, 1, "beyond the bound, since it used a code up");
}
