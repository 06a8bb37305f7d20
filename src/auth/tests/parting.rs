//! What is left of an account that is deleted, or whose number goes to somebody else or is given anew.

use super::console::want;
use super::*;
use crate::auth::AuthError;
use crate::domain::Timestamp;
use crate::domain::quota::Quota;

const DAY: Duration = Duration::from_hours(24);

#[tokio::test]
async fn all_sessions_end_with_the_wish_for_deletion_and_not_only_with_its_day() {
    let bed = Bed::with(|policy| (policy.limits.ip, policy.retention.deletion_grace) = (0, DAY)).await;
    let (one, other) = (bed.log_in(1).await, bed.log_in(1).await);
    let bearer = bed.bearer(&one).await;
    bed.request(1).await.result.unwrap();
    bed.auth.delete_account(&bearer, Some(bed.code()), None, origin(ADDRESS)).await.result.unwrap();
    for login in [&one, &other] {
        assert_eq!(bed.auth.authenticate(&login.tokens.access).await.unwrap_err(), AuthError::TokenInvalid);
        let refreshed = super::refresh::refresh(&bed, &login.tokens.refresh).await;
        assert_eq!(refreshed.unwrap_err(), AuthError::TokenInvalid);
    }
    assert_eq!(bed.told(AuditEvent::TokenRevoked).await, ["deletion"; 2]);
}

#[tokio::test]
async fn what_was_spent_for_an_erased_number_counts_on_and_no_longer_under_the_number() {
    let bed = Bed::open().await;
    for _ in 0..3 {
        bed.request(1).await.result.unwrap();
    }
    let erased = bed.operate(1, |operator, user| operator.delete(user)).await;
    assert_eq!(erased.spends, 3);
    let spent = bed.read(|view| {
        let since = Timestamp::from_millis(0);
        view.spends(Quota::User(Mode::Production), &[phone(1).as_str()], since)
    });
    assert_eq!(spent.await, []);
    assert!(matches!(bed.request(1).await.result, Err(AuthError::RateLimited(_))));
}

#[tokio::test]
async fn whoever_gets_the_number_of_a_dormant_account_leaves_it_no_session_no_device_and_no_change() {
    let bed = Bed::with(|policy| (policy.limits.ip, policy.retention.dormant_after) = (0, 12 * HOUR)).await;
    let (asking, owner) = (bed.log_in(1).await, bed.log_in(1).await);
    want(&bed, &asking, 2).await;
    // Who only logs out keeps the change.
    bed.auth.log_out(&asking.tokens.refresh, origin(ADDRESS)).await.unwrap();
    bed.clock.advance(12 * HOUR);
    assert!(bed.log_in(1).await.is_recycled);
    let user = owner.user.id;
    let refreshed = super::refresh::refresh(&bed, &owner.tokens.refresh).await;
    assert_eq!(refreshed.unwrap_err(), AuthError::AccountDisabled);
    assert_eq!(bed.told(AuditEvent::TokenRevoked).await, ["logout", "deactivated"]);
    let left = bed.read(move |view| {
        let sessions = view.live_sessions(user, Timestamp::from_millis(0))?.len();
        Ok((sessions, view.devices_of(user)?.len(), view.phone_change(user)?))
    });
    assert_eq!(left.await, (0, 0, None));
    assert_eq!(bed.told(AuditEvent::PhoneChangeCancelled).await, ["deactivated"]);
}

#[tokio::test]
async fn a_registration_lies_not_dormant_however_old_it_is() {
    let month = 30 * DAY;
    let bed = Bed::with(|policy| (policy.limits.ip, policy.retention.dormant_after) = (0, month)).await;
    bed.request(1).await.result.unwrap();
    let registered = bed.user(1).await.unwrap().id;
    bed.clock.advance(month);
    let login = bed.log_in(1).await;
    assert_eq!((login.user.id, login.is_new_user, login.is_recycled), (registered, true, false));
}

#[tokio::test]
async fn a_user_who_is_given_the_own_number_keeps_the_row_and_the_devices_and_no_session() {
    let bed = Bed::open().await;
    let login = bed.log_in(1).await;
    let user = login.user.id;
    let (changed, ended) =
        bed.operate(1, |operator, user| operator.set_phone(user, &phone(1))).await.unwrap();
    assert_eq!((changed, ended), (login.user, 1));
    assert_eq!(bed.read(move |view| view.devices_of(user)).await.len(), 1);
}
