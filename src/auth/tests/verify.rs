//! Giving a code.

use futures_util::future::join_all;

use super::*;
use crate::auth::AuthError;

async fn refusal(bed: &Bed, number: u32, code: &Code) -> AuthError {
    bed.verify(number, code).await.result.unwrap_err()
}

#[tokio::test]
async fn the_right_code_opens_a_session_once() {
    let bed = Bed::open().await;
    bed.request(1).await.result.unwrap();
    let login = bed.verify(1, &bed.code()).await.result.unwrap();
    assert!(login.is_new_user && login.user.phone_verified);
    let bearer = bed.bearer(&login).await;
    let sessions = bed.auth.sessions(&bearer).await.unwrap();
    assert_eq!((sessions.len(), sessions[0].device.as_str(), sessions[0].ip.as_str()), (1, "Pixel", ADDRESS));
    assert_eq!(refusal(&bed, 1, &bed.code()).await, AuthError::InvalidOtp);
    assert_eq!(bed.told(AuditEvent::LoginSuccess).await.len(), 1);
    assert_eq!(bed.told(AuditEvent::LoginFail).await, ["used"]);
    assert!(!bed.log_in(1).await.is_new_user);
}

#[tokio::test]
async fn s3_of_many_at_once_one_gets_in() {
    let bed = Bed::open().await;
    bed.request(1).await.result.unwrap();
    let code = bed.code();
    let all = join_all((0..20).map(|_| bed.verify(1, &code))).await;
    assert_eq!(all.iter().filter(|answer| answer.result.is_ok()).count(), 1);
}

#[tokio::test]
async fn s2_a_code_is_good_for_ten_minutes() {
    for (seconds, is_good) in [(599, true), (600, false)] {
        let bed = Bed::open().await;
        bed.request(1).await.result.unwrap();
        bed.clock.advance(seconds * SECOND);
        assert_eq!(bed.verify(1, &bed.code()).await.result.is_ok(), is_good, "{seconds}");
        assert_eq!(bed.told(AuditEvent::LoginFail).await.len(), usize::from(!is_good));
    }
}

#[tokio::test]
async fn s5_a_code_takes_five_guesses_and_s6_a_day_fifteen() {
    let bed = Bed::open().await;
    for _ in 0..3 {
        bed.request(1).await.result.unwrap();
        for _ in 0..5 {
            assert_eq!(refusal(&bed, 1, &bed.wrong()).await, AuthError::InvalidOtp);
        }
        // Over-tried, or the day is spent: the right code is not compared.
        bed.verify(1, &bed.code()).await.result.unwrap_err();
    }
    let wait = AuthError::RateLimited(24 * HOUR);
    assert_eq!(refusal(&bed, 1, &bed.code()).await, wait);
    assert_eq!(bed.request(1).await.result.unwrap_err(), wait, "nothing is bought");
    assert_eq!(bed.told(AuditEvent::LoginFailMax).await, ["code", "code", "code", "day"]);
    bed.clock.advance(24 * HOUR);
    bed.log_in(1).await;
}

#[tokio::test]
async fn s38_every_refusal_is_audited_with_its_reason() {
    let bed = Bed::open().await;
    assert_eq!(refusal(&bed, 9, &Code::from_number(0, 6)).await, AuthError::UserNotFound);
    bed.request(1).await.result.unwrap();
    let first = bed.code();
    assert_eq!(refusal(&bed, 1, &bed.wrong()).await, AuthError::InvalidOtp);
    bed.request(1).await.result.unwrap();
    assert_eq!(refusal(&bed, 1, &first).await, AuthError::InvalidOtp);
    bed.clock.advance(HOUR);
    assert_eq!(refusal(&bed, 1, &bed.code()).await, AuthError::InvalidOtp);
    let part = VerifyRequest { code: None, ..verify_request(1, &first) };
    assert_eq!(bed.auth.verify(part).await.result.unwrap_err(), AuthError::NotACode);
    let told = bed.told(AuditEvent::LoginFail).await;
    assert_eq!(told, ["unknown number", "wrong", "superseded", "expired", "not a code"]);
}

#[tokio::test]
async fn a_deactivated_user_is_told_so_by_the_right_code_alone() {
    let bed = Bed::open().await;
    bed.log_in(1).await;
    bed.request(1).await.result.unwrap();
    bed.operate(1, |operator, user| operator.deactivate(user)).await;
    assert_eq!(refusal(&bed, 1, &bed.wrong()).await, AuthError::InvalidOtp);
    assert_eq!(refusal(&bed, 1, &bed.code()).await, AuthError::AccountDisabled);
    assert_eq!(refusal(&bed, 1, &bed.code()).await, AuthError::InvalidOtp, "the code is spent");
}

#[tokio::test]
async fn a_repetition_with_its_key_gives_the_same_session_for_a_minute() {
    let bed = Bed::open().await;
    bed.request(1).await.result.unwrap();
    let give = async |key: &str| {
        let idempotency_key = Some(Secret::new(key.repeat(16)));
        let request = VerifyRequest { idempotency_key, ..verify_request(1, &bed.code()) };
        bed.auth.verify(request).await.result
    };
    let first = give("k").await.unwrap();
    bed.clock.advance(59 * SECOND);
    let again = give("k").await.unwrap();
    assert_eq!(again.tokens.refresh, first.tokens.refresh);
    assert_eq!(again.device_token, first.device_token);
    assert_eq!(give("x").await.unwrap_err(), AuthError::InvalidOtp);
    bed.clock.advance(SECOND);
    assert_eq!(give("k").await.unwrap_err(), AuthError::InvalidOtp);
}

#[tokio::test]
async fn s4_a_code_of_the_testing_mode_is_none_in_production_and_opens_nobody_who_is_verified_there() {
    let bed = Bed::open().await;
    let testing = CodeRequest { mode: Mode::Testing, ..code_request(1) };
    bed.ask(testing.clone()).await.result.unwrap();
    let code = bed.code();
    assert_eq!(refusal(&bed, 1, &code).await, AuthError::InvalidOtp);
    let give = async |code: Code| {
        bed.auth.verify(VerifyRequest { mode: Mode::Testing, ..verify_request(1, &code) }).await.result
    };
    let console = give(code).await.unwrap();
    let proven = bed.log_in(1).await;
    assert!(!proven.is_new_user);
    bed.auth.authenticate(&console.tokens.access).await.unwrap_err();
    bed.ask(testing).await.result.unwrap();
    assert_eq!(give(bed.code()).await.unwrap_err(), AuthError::AccountDisabled);
}

#[tokio::test]
async fn the_oldest_session_makes_way_for_a_fourth() {
    let bed = Bed::with(|policy| {
        policy.limits.ip = 0;
        policy.limits.user = 0;
        policy.limits.user_per_day = 0;
    })
    .await;
    let first = bed.log_in(1).await;
    for _ in 0..3 {
        bed.clock.advance(SECOND);
        bed.log_in(1).await;
    }
    assert_eq!(bed.auth.authenticate(&first.tokens.access).await.unwrap_err(), AuthError::TokenInvalid);
    assert_eq!(bed.told(AuditEvent::TokenRevoked).await, ["displaced"]);
}

#[tokio::test]
async fn s19_every_code_that_is_given_costs_its_address_a_unit() {
    let bed = Bed::new().await;
    let code = Code::from_number(0, 6);
    for number in 1..=5 {
        assert_eq!(refusal(&bed, number, &code).await, AuthError::UserNotFound);
    }
    assert_eq!(refusal(&bed, 6, &code).await, AuthError::RateLimited(HOUR));
}

#[tokio::test]
async fn s10_where_accounts_are_concealed_a_number_without_one_gets_the_answer_of_a_wrong_code() {
    let bed = Bed::with(|policy| policy.conceal_accounts = true).await;
    assert_eq!(refusal(&bed, 9, &Code::from_number(0, 6)).await, AuthError::InvalidOtp);
}

#[tokio::test]
async fn a_code_for_an_account_that_was_sent_none_is_refused_for_that() {
    let bed = Bed::open().await;
    bed.import(7, 1).await;
    assert_eq!(refusal(&bed, 1, &Code::from_number(0, 6)).await, AuthError::InvalidOtp);
    assert_eq!(bed.told(AuditEvent::LoginFail).await, ["no code"]);
}

#[tokio::test]
async fn s4_a_login_ends_the_other_codes_of_its_number() {
    let bed = Bed::with(|policy| (policy.limits.ip, policy.otp.live_codes) = (0, 2)).await;
    bed.request(1).await.result.unwrap();
    let older = bed.code();
    bed.request(1).await.result.unwrap();
    bed.verify(1, &bed.code()).await.result.unwrap();
    assert_eq!(refusal(&bed, 1, &older).await, AuthError::InvalidOtp);
    assert_eq!(bed.told(AuditEvent::LoginFail).await, ["superseded"]);
}

#[tokio::test]
async fn whoever_was_verified_in_the_testing_mode_alone_logs_in_there_again() {
    let bed = Bed::open().await;
    for is_first in [true, false] {
        bed.ask(CodeRequest { mode: Mode::Testing, ..code_request(1) }).await.result.unwrap();
        let request = VerifyRequest { mode: Mode::Testing, ..verify_request(1, &bed.code()) };
        assert_eq!(bed.auth.verify(request).await.result.unwrap().is_new_user, is_first);
    }
}

#[tokio::test]
async fn a_repetition_says_of_its_user_what_was_said_before() {
    let bed = Bed::open().await;
    for is_first in [true, false] {
        bed.request(1).await.result.unwrap();
        bed.clock.advance(30 * SECOND);
        for _ in 0..2 {
            let idempotency_key = Some(Secret::new("k".repeat(16)));
            let request = VerifyRequest { idempotency_key, ..verify_request(1, &bed.code()) };
            assert_eq!(bed.auth.verify(request).await.result.unwrap().is_new_user, is_first);
        }
        bed.clock.advance(HOUR);
    }
}

#[tokio::test]
async fn a_repetition_says_that_an_account_was_restored_and_nothing_of_how_its_code_was_bought() {
    let bed = Bed::with(|policy| (policy.limits.ip, policy.retention.deletion_grace) = (0, 24 * HOUR)).await;
    let repeat = async || {
        let idempotency_key = Some(Secret::new("k".repeat(16)));
        let request = VerifyRequest { idempotency_key, ..verify_request(1, &bed.code()) };
        let said = bed.auth.verify(request).await.result.unwrap();
        (said.is_new_user, said.is_restored)
    };
    // The console knows the user, and the telephone none.
    bed.ask(CodeRequest { mode: Mode::Testing, ..code_request(1) }).await.result.unwrap();
    let console = VerifyRequest { mode: Mode::Testing, ..verify_request(1, &bed.code()) };
    assert!(bed.auth.verify(console).await.result.unwrap().is_new_user);
    bed.clock.advance(HOUR);
    bed.request(1).await.result.unwrap();
    assert_eq!([repeat().await, repeat().await], [(false, false); 2]);
    bed.clock.advance(HOUR);
    bed.request(1).await.result.unwrap();
    let bearer = bed.bearer(&bed.log_in(1).await).await;
    bed.clock.advance(HOUR);
    bed.request(1).await.result.unwrap();
    let deletion = bed.auth.delete_account(&bearer, Some(bed.code()), None, origin(ADDRESS)).await;
    assert!(deletion.result.unwrap().is_some());
    bed.clock.advance(HOUR);
    bed.request(1).await.result.unwrap();
    assert_eq!([repeat().await, repeat().await], [(false, true); 2]);
}

#[tokio::test]
async fn s5_wrong_guesses_with_the_key_of_a_login_count_against_its_code() {
    let bed = Bed::open().await;
    bed.request(1).await.result.unwrap();
    let give = async |code: &Code| {
        let idempotency_key = Some(Secret::new("k".repeat(16)));
        bed.auth.verify(VerifyRequest { idempotency_key, ..verify_request(1, code) }).await.result
    };
    give(&bed.code()).await.unwrap();
    for _ in 0..5 {
        assert_eq!(give(&bed.wrong()).await.unwrap_err(), AuthError::InvalidOtp);
    }
    assert_eq!(give(&bed.code()).await.unwrap_err(), AuthError::InvalidOtp);
}

#[tokio::test]
async fn a_login_within_the_grace_restores_the_account_and_leaves_its_devices() {
    let bed = Bed::with(|policy| (policy.limits.ip, policy.retention.deletion_grace) = (0, 24 * HOUR)).await;
    let login = bed.log_in(1).await;
    let bearer = bed.bearer(&login).await;
    bed.request(1).await.result.unwrap();
    let deletion = bed.auth.delete_account(&bearer, Some(bed.code()), None, origin(ADDRESS)).await;
    assert!(deletion.result.unwrap().is_some());
    let back = bed.log_in(1).await;
    assert!(back.is_restored && !back.is_new_user);
    assert_eq!(bed.user(1).await.unwrap().deletes_at, None);
    assert_eq!(bed.read(move |view| view.devices_of(login.user.id)).await.len(), 2);
}

#[tokio::test]
async fn a_dormant_accounts_number_is_for_whoever_proves_it_unless_its_own_device_comes_back() {
    let month = 30 * 24 * HOUR;
    let bed = Bed::with(|policy| (policy.limits.ip, policy.retention.dormant_after) = (0, month)).await;
    let (owner, other) = (bed.log_in(1).await, bed.log_in(2).await);
    bed.clock.advance(month);
    bed.request(1).await.result.unwrap();
    let request = VerifyRequest { device_token: owner.device_token, ..verify_request(1, &bed.code()) };
    let back = bed.auth.verify(request).await.result.unwrap();
    assert_eq!((back.user.id, back.is_recycled), (owner.user.id, false));
    let new = bed.log_in(2).await;
    assert!(new.is_recycled && new.is_new_user && new.user.id != other.user.id);
}
