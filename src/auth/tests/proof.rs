//! The proof of a bearer's own number.

use super::*;
use crate::auth::AuthError;
use crate::auth::error::commit_refusal;
use crate::auth::gate::Call;
use crate::auth::proof::{GivenCode, Judging};
use crate::domain::quota::Quota;

/// A code given for a number by a bearer.
async fn prove(bed: &Bed, bearer: UserId, number: u32, code: &Code) -> Result<(), AuthError> {
    prove_on(bed, bearer, number, code, None).await
}

/// The same from a device.
async fn prove_on(
    bed: &Bed,
    bearer: UserId,
    number: u32,
    code: &Code,
    device_token: Option<Secret>,
) -> Result<(), AuthError> {
    let (times, origin, phone) = (bed.clock.read(), origin(ADDRESS), phone(number));
    let (endpoint, mode) = (Endpoint::Verify, Mode::Production);
    let call = Call { mode, endpoint, address: origin.address, now: times.now };
    let given = GivenCode { mode, purpose: Purpose::Login, phone, code: code.clone(), device_token };
    let proven = bed.auth.gated(call, |auth, gate| async move {
        let locks = Locks::none().user_of(&given.phone);
        let actor = auth.actor(times.now, mode, &given.phone, &origin);
        let guess = auth.guess(given, gate, &origin, &times);
        let written = auth.write(locks, actor, move |tx| {
            let mut judging = Judging::begin(&guess, tx)?;
            let proof = commit_refusal(judging.prove(bearer))?;
            proof.map(|proof| proof.consume(tx)).map_or_else(|error| Ok(Err(error)), |done| done.map(Ok))
        });
        WithQuotas::none(written.await.unwrap())
    });
    proven.await.result
}

#[tokio::test]
async fn a_code_from_request_or_resend_proves_the_number_once_and_opens_nothing() {
    let bed = Bed::open().await;
    let login = bed.log_in(1).await;
    bed.request(1).await.result.unwrap();
    prove(&bed, login.user.id, 1, &bed.code()).await.unwrap();
    let bearer = bed.bearer(&login).await;
    bed.auth.resend(&bearer, None, Languages::default(), origin(ADDRESS)).await.result.unwrap();
    let code = bed.code();
    prove(&bed, login.user.id, 1, &code).await.unwrap();
    assert_eq!(bed.auth.sessions(&bearer).await.unwrap().len(), 1);
    assert_eq!(prove(&bed, login.user.id, 1, &code).await.unwrap_err(), AuthError::InvalidOtp);
    assert_eq!(bed.verify(1, &code).await.result.unwrap_err(), AuthError::InvalidOtp, "used by the first");
    assert_eq!(bed.told(AuditEvent::LoginFail).await, ["used", "used"]);
    assert_eq!(bed.told(AuditEvent::LoginSuccess).await.len(), 1);
}

#[tokio::test]
async fn a_code_that_logged_in_proves_nothing_any_more() {
    let bed = Bed::open().await;
    let login = bed.log_in(1).await;
    assert_eq!(prove(&bed, login.user.id, 1, &bed.code()).await.unwrap_err(), AuthError::InvalidOtp);
    assert_eq!(bed.told(AuditEvent::LoginFail).await, ["used"]);
}

#[tokio::test]
async fn s5_a_wrong_proof_is_a_wrong_guess_at_the_number() {
    let bed = Bed::open().await;
    let login = bed.log_in(1).await;
    bed.clock.advance(24 * HOUR);
    for _ in 0..3 {
        bed.request(1).await.result.unwrap();
        for _ in 0..2 {
            assert_eq!(prove(&bed, login.user.id, 1, &bed.wrong()).await.unwrap_err(), AuthError::InvalidOtp);
        }
        for _ in 0..3 {
            assert_eq!(bed.verify(1, &bed.wrong()).await.result.unwrap_err(), AuthError::InvalidOtp);
        }
        // Both have spent the five of the code.
        prove(&bed, login.user.id, 1, &bed.code()).await.unwrap_err();
    }
    let spent = AuthError::RateLimited(24 * HOUR);
    assert_eq!(prove(&bed, login.user.id, 1, &bed.code()).await.unwrap_err(), spent, "S6");
    assert_eq!(bed.verify(1, &bed.code()).await.result.unwrap_err(), spent);
    let reasons = bed.told(AuditEvent::LoginFail).await;
    assert_eq!(reasons.iter().filter(|reason| *reason == "wrong").count(), 15);
    assert_eq!(reasons.iter().filter(|reason| *reason == "over-tried").count(), 2);
    assert_eq!(reasons.iter().filter(|reason| *reason == "day spent").count(), 3);
}

#[tokio::test]
async fn a_device_proves_by_its_own_guesses() {
    let bed = Bed::open().await;
    let login = bed.log_in(1).await;
    bed.clock.advance(24 * HOUR);
    bed.request(1).await.result.unwrap();
    for _ in 0..5 {
        prove(&bed, login.user.id, 1, &bed.wrong()).await.unwrap_err();
    }
    assert_eq!(prove(&bed, login.user.id, 1, &bed.code()).await.unwrap_err(), AuthError::InvalidOtp);
    prove_on(&bed, login.user.id, 1, &bed.wrong(), login.device_token.clone()).await.unwrap_err();
    prove_on(&bed, login.user.id, 1, &bed.code(), login.device_token.clone()).await.unwrap();
    let since = login.user.joined_at;
    let failures =
        move |view: &dyn View| view.spends(Quota::Failures(Mode::Production), &[phone(1).as_str()], since);
    assert_eq!(bed.read(failures).await.len(), 6, "that of the device counts against the number, too");
}

#[tokio::test]
async fn a_number_is_proven_by_its_own_user_alone() {
    let bed = Bed::open().await;
    let (login, other) = (bed.log_in(1).await, bed.log_in(2).await);
    bed.request(1).await.result.unwrap();
    let code = bed.code();
    assert_eq!(prove(&bed, other.user.id, 1, &code).await.unwrap_err(), AuthError::TokenInvalid);
    assert_eq!(prove(&bed, login.user.id, 2, &code).await.unwrap_err(), AuthError::TokenInvalid);
    prove(&bed, login.user.id, 1, &code).await.unwrap();
}

#[tokio::test]
async fn a_deactivated_user_proves_nothing_and_the_code_stays_good() {
    let bed = Bed::open().await;
    let login = bed.log_in(1).await;
    bed.request(1).await.result.unwrap();
    bed.operate(1, |operator, user| operator.deactivate(user)).await;
    for code in [bed.wrong(), bed.code()] {
        assert_eq!(prove(&bed, login.user.id, 1, &code).await.unwrap_err(), AuthError::AccountDisabled);
    }
    bed.operate(1, |operator, user| operator.activate(user)).await;
    prove(&bed, login.user.id, 1, &bed.code()).await.unwrap();
}
