//! The refresh of a session.

use super::*;
use crate::auth::AuthError;

pub(super) async fn refresh(bed: &Bed, token: &str) -> Result<crate::tokens::TokenPair, AuthError> {
    let refreshed = bed.auth.refresh(token, String::new(), origin(ADDRESS)).await;
    refreshed.map(|refreshed| refreshed.pair)
}

#[tokio::test]
async fn a_lost_answer_is_forgiven_and_gives_the_same_token_again() {
    let bed = Bed::new().await;
    let login = bed.log_in(1).await;
    let first = refresh(&bed, &login.tokens.refresh).await.unwrap();
    assert_ne!(first.refresh, login.tokens.refresh);
    for wait in [0, 59, 3600] {
        bed.clock.advance(wait * SECOND);
        let again = refresh(&bed, &login.tokens.refresh).await.unwrap();
        assert_eq!(again.refresh, first.refresh, "not used yet, after {wait} s");
    }
    assert_eq!(bed.told(AuditEvent::TokenReuse).await, ["repeated after the grace"]);
    refresh(&bed, &first.refresh).await.unwrap();
}

#[tokio::test]
async fn s16_within_the_grace_a_token_two_generations_behind_is_repeated_too() {
    let bed = Bed::new().await;
    let login = bed.log_in(1).await;
    let first = refresh(&bed, &login.tokens.refresh).await.unwrap();
    bed.clock.advance(20 * SECOND);
    let second = refresh(&bed, &first.refresh).await.unwrap();
    bed.clock.advance(20 * SECOND);
    let again = refresh(&bed, &login.tokens.refresh).await.unwrap();
    assert_eq!(again.refresh, second.refresh);
}

#[tokio::test]
async fn a_token_outside_the_rules_ends_the_session() {
    let bed = Bed::new().await;
    let login = bed.log_in(1).await;
    let first = refresh(&bed, &login.tokens.refresh).await.unwrap();
    let second = refresh(&bed, &first.refresh).await.unwrap();
    bed.clock.advance(61 * SECOND);
    assert_eq!(refresh(&bed, &login.tokens.refresh).await.unwrap_err(), AuthError::TokenReused);
    assert_eq!(refresh(&bed, &second.refresh).await.unwrap_err(), AuthError::TokenInvalid);
    assert_eq!(bed.auth.authenticate(&second.access).await.unwrap_err(), AuthError::TokenInvalid);
    assert_eq!(bed.told(AuditEvent::TokenReuse).await, ["outside the rules"]);
    assert_eq!(bed.told(AuditEvent::TokenRevoked).await, ["reuse"]);
}

#[tokio::test]
async fn what_is_no_refresh_token_or_has_expired_is_refused() {
    let bed = Bed::new().await;
    let login = bed.log_in(1).await;
    for bad in ["", "a.b.c", &login.tokens.access, login.device_token.as_ref().unwrap().expose()] {
        assert_eq!(refresh(&bed, bad).await.unwrap_err(), AuthError::TokenInvalid);
    }
    bed.clock.advance(30 * 24 * HOUR);
    assert_eq!(refresh(&bed, &login.tokens.refresh).await.unwrap_err(), AuthError::TokenExpired);
}

#[tokio::test]
async fn s17_a_deactivated_user_gets_none_and_activation_brings_nothing_back() {
    let bed = Bed::new().await;
    let login = bed.log_in(1).await;
    bed.operate(1, |operator, user| operator.deactivate(user)).await;
    assert_eq!(refresh(&bed, &login.tokens.refresh).await.unwrap_err(), AuthError::AccountDisabled);
    let bearer = bed.bearer(&login).await;
    assert!(!bearer.user.is_active, "known while the user is deactivated");
    bed.operate(1, |operator, user| operator.activate(user)).await;
    assert_eq!(refresh(&bed, &login.tokens.refresh).await.unwrap_err(), AuthError::TokenInvalid);
}

#[tokio::test]
async fn s39_a_token_that_seems_to_have_expired_by_a_leap_of_the_clock_is_not_called_expired() {
    let bed = Bed::new().await;
    let login = bed.log_in(1).await;
    bed.clock.leap_ahead(365 * 24 * HOUR);
    let refused = refresh(&bed, &login.tokens.refresh).await.unwrap_err();
    assert!(matches!(refused, AuthError::ClockInDoubt(_)), "{refused:?}");
    bed.clock.leap_back(365 * 24 * HOUR);
    refresh(&bed, &login.tokens.refresh).await.unwrap();
}

#[tokio::test]
async fn a_role_that_was_changed_is_in_the_next_pair() {
    let bed = Bed::new().await;
    let login = bed.log_in(1).await;
    bed.operate(1, |operator, user| operator.set_role(user, "wholesaler")).await;
    let pair = refresh(&bed, &login.tokens.refresh).await.unwrap();
    let bearer = bed.auth.authenticate(&pair.access).await.unwrap();
    assert_eq!(bearer.user.role, "wholesaler");
}
