//! Sessions of a deactivated user that did not end with the deactivation, for they had expired by the clock that the operator went by:
//! whoever comes with one is refused all the same.

use super::exchange::foreign;
use super::*;
use crate::auth::AuthError;

/// Deactivates the user of number 1 by a clock that is ahead by years.
async fn deactivate(bed: &Bed) {
    let user = bed.user(1).await.unwrap();
    let locks = Locks::none().phones(&user.phone).user(user.id);
    let at = bed.clock.now() + Duration::from_hours(24 * 3650);
    let act = move |operator: &mut Operator<'_, '_>| operator.deactivate(&user);
    let (_, ended) = operator::act(&bed.store, locks, at, bed.means.clone(), act).await.unwrap();
    assert_eq!(ended, 0);
}

#[tokio::test]
async fn its_tokens_are_good_for_nothing() {
    let bed = Bed::open().await;
    let login = bed.log_in(1).await;
    deactivate(&bed).await;
    for token in [&login.tokens.access, &login.tokens.refresh] {
        assert_eq!(bed.auth.check_token(token).await, Err(AuthError::TokenInvalid));
    }
    let refreshed = super::refresh::refresh(&bed, &login.tokens.refresh).await;
    assert_eq!(refreshed.unwrap_err(), AuthError::AccountDisabled);
}

#[tokio::test]
async fn the_login_that_opened_it_is_not_repeated() {
    let bed = Bed::open().await;
    bed.request(1).await.result.unwrap();
    let give = async || {
        let idempotency_key = Some(Secret::new("k".repeat(16)));
        let request = VerifyRequest { idempotency_key, ..verify_request(1, &bed.code()) };
        bed.auth.verify(request).await.result
    };
    give().await.unwrap();
    deactivate(&bed).await;
    assert_eq!(give().await.unwrap_err(), AuthError::AccountDisabled);
}

#[tokio::test]
async fn the_foreign_token_that_it_was_exchanged_for_is_not_exchanged_again() {
    let bed = Bed::new().await;
    bed.import(57, 1).await;
    let token = foreign(&bed, "refresh", 57, 'f');
    let exchange = async || bed.auth.refresh(&token, String::new(), origin(ADDRESS)).await.map(drop);
    exchange().await.unwrap();
    deactivate(&bed).await;
    assert_eq!(exchange().await, Err(AuthError::AccountDisabled));
}
