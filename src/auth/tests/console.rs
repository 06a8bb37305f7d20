//! The testing mode, whose codes are read on a console: it speaks for nobody with a telephone.

use tokio::task::JoinHandle;

use super::*;
use crate::auth::{AuthError, NewPhone};

fn testing(number: u32) -> CodeRequest {
    CodeRequest { mode: Mode::Testing, ..code_request(number) }
}

/// A whole login by a code that is read on the console.
async fn log_in(bed: &Bed, number: u32) -> LoggedIn {
    bed.ask(testing(number)).await.result.unwrap();
    let request = VerifyRequest { mode: Mode::Testing, ..verify_request(number, &bed.code()) };
    bed.auth.verify(request).await.result.unwrap()
}

/// Has a user want another number, which waits.
pub(super) async fn want(bed: &Bed, login: &LoggedIn, number: u32) {
    want_as(bed, bed.bearer(login).await, number).await;
}

/// The same with any token.
pub(super) async fn want_as(bed: &Bed, bearer: Authenticated, number: u32) {
    let asked = bed.auth.ask_phone_change(&bearer, phone(number), Languages::default(), origin(ADDRESS));
    asked.await.result.unwrap();
    let codes = Some(crate::auth::PhoneCodes { new: bed.code(), current: None });
    let proof =
        crate::auth::PhoneProof { phone: phone(number), codes, device_token: None, origin: origin(ADDRESS) };
    let proven = bed.auth.change_phone(bearer, proof).await.result.unwrap();
    assert!(proven.effective_at.is_some());
}

/// The same of number 2 while the provider's answers to the code and the notice are still under way: what was asked, and what was proven.
pub(super) async fn want_on_hold(
    bed: &Bed,
    bearer: Authenticated,
) -> (JoinHandle<Result<Sent, AuthError>>, JoinHandle<Result<NewPhone, AuthError>>) {
    bed.sms.hold();
    let (auth, asking) = (bed.auth.clone(), bearer.clone());
    let asked = tokio::spawn(async move {
        auth.ask_phone_change(&asking, phone(2), Languages::default(), origin(ADDRESS)).await.result
    });
    bed.sms.arrived(2).await;
    let codes = Some(crate::auth::PhoneCodes { new: bed.code(), current: None });
    let proof =
        crate::auth::PhoneProof { phone: phone(2), codes, device_token: None, origin: origin(ADDRESS) };
    let auth = bed.auth.clone();
    let proven = tokio::spawn(async move { auth.change_phone(bearer, proof).await.result });
    bed.sms.arrived(3).await;
    (asked, proven)
}

async fn waits(bed: &Bed, user: UserId) -> bool {
    bed.read(move |view| view.phone_change(user)).await.is_some()
}

#[tokio::test]
async fn the_first_proof_in_production_ends_the_sessions_and_devices_of_the_console_its_own_too() {
    let bed = Bed::open().await;
    let console = log_in(&bed, 1).await;
    let user = console.user.id;
    let before = bed.read(move |view| view.devices_of(user)).await.remove(0);
    bed.request(1).await.result.unwrap();
    let device_token = console.device_token.clone();
    let request = VerifyRequest { device_token, ..verify_request(1, &bed.code()) };
    let proven = bed.auth.verify(request).await.result.unwrap();
    assert_eq!((proven.user.id, proven.is_new_user), (user, false));
    let devices = bed.read(move |view| view.devices_of(user)).await;
    assert!(devices.len() == 1 && devices[0].id != before.id);
    assert_eq!(bed.told(AuditEvent::TokenRevoked).await, ["verified in production"]);
    // What is proven stays so.
    bed.log_in(1).await;
    assert_eq!(bed.told(AuditEvent::TokenRevoked).await.len(), 1);
    assert_eq!(bed.read(move |view| view.devices_of(user)).await.len(), 2);
}

#[tokio::test]
async fn a_login_by_the_console_leaves_changes_of_number_alone_and_one_by_telephone_ends_them() {
    let bed = Bed::open().await;
    let (console, other) = (log_in(&bed, 1).await, bed.log_in(2).await);
    want(&bed, &console, 3).await;
    want(&bed, &other, 4).await;
    for number in [1, 4] {
        log_in(&bed, number).await;
    }
    for user in [console.user.id, other.user.id] {
        assert!(waits(&bed, user).await);
    }
    for number in [1, 4] {
        bed.log_in(number).await;
    }
    for user in [console.user.id, other.user.id] {
        assert!(!waits(&bed, user).await);
    }
}

#[tokio::test]
async fn a_dormant_account_is_given_up_neither_by_the_console_nor_by_the_code_of_a_test_number() {
    let month = 30 * 24 * HOUR;
    let bed = Bed::with(|policy| (policy.limits.ip, policy.retention.dormant_after) = (0, month)).await;
    let (console, owner) = (log_in(&bed, 1).await, bed.log_in(2).await);
    bed.clock.advance(month);
    let again = log_in(&bed, 1).await;
    assert_eq!((again.user.id, again.is_recycled), (console.user.id, false));
    let code = bed.make_test_number(2).await;
    bed.request(2).await.result.unwrap();
    let again = bed.verify(2, &code).await.result.unwrap();
    assert_eq!((again.user.id, again.is_recycled), (owner.user.id, false));
}

#[tokio::test]
async fn the_console_restores_an_account_of_its_own_with_its_devices() {
    let bed = Bed::with(|policy| (policy.limits.ip, policy.retention.deletion_grace) = (0, 24 * HOUR)).await;
    let console = log_in(&bed, 1).await;
    let bearer = bed.bearer(&console).await;
    bed.request(1).await.result.unwrap();
    bed.auth.delete_account(&bearer, Some(bed.code()), None, origin(ADDRESS)).await.result.unwrap();
    let back = log_in(&bed, 1).await;
    assert_eq!((back.user.id, back.is_restored), (console.user.id, true));
    assert_eq!(bed.read(move |view| view.devices_of(back.user.id)).await.len(), 2);
}

#[tokio::test]
async fn the_code_of_a_test_number_is_none_in_the_testing_mode() {
    let bed = Bed::open().await;
    let code = bed.make_test_number(1).await;
    bed.ask(CodeRequest { mode: Mode::Testing, ..code_request(1) }).await.result.unwrap();
    assert_eq!(bed.sms.messages().len(), 1);
    let give = async |code: &Code| {
        bed.auth.verify(VerifyRequest { mode: Mode::Testing, ..verify_request(1, code) }).await.result
    };
    assert_eq!(give(&code).await.unwrap_err(), AuthError::InvalidOtp);
    give(&bed.code()).await.unwrap();
}
