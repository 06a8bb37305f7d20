//! Tokens of the system before this one.

use serde_json::json;

use super::*;
use crate::auth::AuthError;

/// As simplejwt signs them.
pub(super) fn foreign(bed: &Bed, kind: &str, user: i64, name: char) -> String {
    let now = bed.clock.wall().as_secs();
    let claims = json!({
        "token_type": kind,
        "exp": now + 86_400,
        "iat": now,
        "jti": name.to_string().repeat(32),
        "user_id": user.to_string(),
    });
    let key = jsonwebtoken::EncodingKey::from_secret(SECRET.as_bytes());
    jsonwebtoken::encode(&jsonwebtoken::Header::default(), &claims, &key).unwrap()
}

#[tokio::test]
async fn a_foreign_refresh_token_is_exchanged_once_for_a_session_with_a_device() {
    let bed = Bed::new().await;
    bed.import(57, 1).await;
    let token = foreign(&bed, "refresh", 57, 'a');
    let refresh = async || bed.auth.refresh(&token, "Pixel".to_owned(), origin(ADDRESS)).await;
    let first = refresh().await.unwrap();
    let device = first.device_token.unwrap();
    assert_eq!(bed.auth.authenticate(&first.pair.access).await.unwrap().user.id, UserId(57));
    let again = refresh().await.unwrap();
    assert_eq!(again.pair.refresh, first.pair.refresh, "a lost answer");
    assert_eq!(again.device_token, Some(device));
    bed.clock.advance(61 * SECOND);
    assert_eq!(refresh().await.unwrap_err(), AuthError::TokenReused);
}

#[tokio::test]
async fn a_foreign_token_is_good_for_its_user_alone_and_until_everything_is_ended() {
    let bed = Bed::new().await;
    bed.import(57, 1).await;
    let access = foreign(&bed, "access", 57, 'b');
    let bearer = bed.auth.authenticate(&access).await.unwrap();
    assert_eq!((bearer.session.clone(), bearer.user.id), (None, UserId(57)));
    assert_eq!(
        bed.auth.authenticate(&foreign(&bed, "access", 58, 'c')).await.unwrap_err(),
        AuthError::TokenInvalid
    );
    bed.auth.check_token(&access).await.unwrap();
    bed.auth.log_out_everywhere(&bearer, None, origin(ADDRESS)).await.unwrap();
    assert_eq!(bed.auth.authenticate(&access).await.unwrap_err(), AuthError::TokenInvalid);
}

#[tokio::test]
async fn a_foreign_refresh_token_that_logged_out_is_exchanged_for_nothing() {
    let bed = Bed::new().await;
    bed.import(57, 1).await;
    let token = foreign(&bed, "refresh", 57, 'd');
    bed.auth.log_out(&token, origin(ADDRESS)).await.unwrap();
    let refused = bed.auth.refresh(&token, String::new(), origin(ADDRESS)).await.unwrap_err();
    assert_eq!(refused, AuthError::TokenInvalid);
    assert_eq!(bed.told(AuditEvent::SessionCreated).await.len(), 0);
}

#[tokio::test]
async fn a_deactivated_user_exchanges_nothing() {
    let bed = Bed::new().await;
    bed.import(57, 1).await;
    bed.operate(1, |operator, user| operator.deactivate(user)).await;
    let token = foreign(&bed, "refresh", 57, 'e');
    for answer in [
        bed.auth.refresh(&token, String::new(), origin(ADDRESS)).await.map(drop),
        bed.auth.log_out(&token, origin(ADDRESS)).await,
    ] {
        assert_eq!(answer.unwrap_err(), AuthError::AccountDisabled);
    }
}

#[tokio::test]
async fn a_foreign_access_token_is_good_whatever_became_of_a_refresh_token_with_its_name() {
    let bed = Bed::new().await;
    bed.import(57, 1).await;
    bed.auth.log_out(&foreign(&bed, "refresh", 57, 'a'), origin(ADDRESS)).await.unwrap();
    bed.auth.check_token(&foreign(&bed, "access", 57, 'a')).await.unwrap();
    let logged_out = bed.auth.check_token(&foreign(&bed, "refresh", 57, 'a')).await;
    assert_eq!(logged_out, Err(AuthError::TokenInvalid));
}

#[tokio::test]
async fn a_session_that_has_ended_before_it_was_given_a_device_gets_none() {
    let bed = Bed::new().await;
    bed.import(57, 1).await;
    let token = foreign(&bed, "refresh", 57, 'a');
    // The session is written first, and the device after it.
    bed.faults.keep(1);
    let auth = bed.auth.clone();
    let exchange = tokio::spawn(async move { auth.refresh(&token, String::new(), origin(ADDRESS)).await });
    while !bed.faults.has_delayed() {
        tokio::task::yield_now().await;
    }
    bed.operate(1, |operator, user| operator.log_out(user)).await;
    bed.faults.free();
    bed.store.write(Locks::none(), |_| Ok(())).await.unwrap();
    assert_eq!(exchange.await.unwrap().unwrap().device_token, None);
    assert_eq!(bed.read(|view| view.devices_of(UserId(57))).await, []);
}
