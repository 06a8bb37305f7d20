//! Logging out, the list of sessions, and whether a token is good.

use super::*;
use crate::auth::AuthError;
use crate::auth::lookup::find_session;
use crate::tokens::Names;

#[tokio::test]
async fn logging_out_ends_one_session_and_its_access_tokens() {
    let bed = Bed::open().await;
    let (one, other) = (bed.log_in(1).await, bed.log_in(1).await);
    bed.auth.log_out(&one.tokens.refresh, origin(ADDRESS)).await.unwrap();
    assert_eq!(bed.auth.authenticate(&one.tokens.access).await.unwrap_err(), AuthError::TokenInvalid);
    let again = bed.auth.log_out(&one.tokens.refresh, origin(ADDRESS)).await;
    assert_eq!(again, Err(AuthError::TokenInvalid));
    bed.bearer(&other).await;
    assert_eq!(bed.told(AuditEvent::TokenRevoked).await, ["logout"]);
}

#[tokio::test]
async fn logging_out_everywhere_ends_them_all() {
    let bed = Bed::open().await;
    let (one, other) = (bed.log_in(1).await, bed.log_in(1).await);
    let stranger = bed.log_in(2).await;
    let bearer = bed.bearer(&one).await;
    bed.auth.log_out_everywhere(&bearer, None, origin(ADDRESS)).await.unwrap();
    for login in [&one, &other] {
        assert_eq!(bed.auth.authenticate(&login.tokens.access).await.unwrap_err(), AuthError::TokenInvalid);
    }
    bed.bearer(&stranger).await;
}

#[tokio::test]
async fn a_session_is_ended_by_its_own_user_alone() {
    let bed = Bed::open().await;
    let (one, stranger) = (bed.log_in(1).await, bed.log_in(2).await);
    let bearer = bed.bearer(&one).await;
    let id = bed.auth.sessions(&bearer).await.unwrap()[0].id.to_string();
    let other = bed.bearer(&stranger).await;
    for (bearer, id, answer) in [
        (&other, id.as_str(), Err(AuthError::SessionNotFound)),
        (&bearer, "nonsense", Err(AuthError::SessionNotFound)),
        (&bearer, id.as_str(), Ok(())),
        (&bearer, id.as_str(), Err(AuthError::SessionNotFound)),
    ] {
        assert_eq!(bed.auth.end_session(bearer, id, origin(ADDRESS)).await, answer);
    }
}

#[tokio::test]
async fn a_token_is_good_while_its_session_stands_and_its_user_is_active() {
    let bed = Bed::open().await;
    let login = bed.log_in(1).await;
    let tokens = [&login.tokens.access, &login.tokens.refresh];
    for token in tokens {
        bed.auth.check_token(token).await.unwrap();
    }
    let device = login.device_token.as_ref().unwrap();
    assert_eq!(bed.auth.check_token(device.expose()).await, Err(AuthError::TokenInvalid));
    bed.operate(1, |operator, user| operator.deactivate(user)).await;
    for token in tokens {
        assert_eq!(bed.auth.check_token(token).await, Err(AuthError::TokenInvalid));
    }
    bed.clock.advance(HOUR);
    assert_eq!(bed.auth.check_token(&login.tokens.access).await, Err(AuthError::TokenExpired));
}

#[tokio::test]
async fn a_use_is_noted_once_a_minute() {
    let bed = Bed::open().await;
    let login = bed.log_in(1).await;
    let bearer = bed.bearer(&login).await;
    bed.clock.advance(90 * SECOND);
    let noted = async {
        loop {
            bed.bearer(&login).await;
            let session = bed.auth.sessions(&bearer).await.unwrap().remove(0);
            if session.last_used_at == bed.clock.now() {
                return session;
            }
        }
    };
    let session = tokio::time::timeout(10 * SECOND, noted).await.unwrap();
    assert!(session.generation_used);
    assert!(bed.auth.finish(10 * SECOND).await);
}

/// Whether the use of an access token is about to be noted; the write that notes it waits.
async fn is_being_noted(bed: &Bed, access: &str) -> bool {
    bed.auth.authenticate(access).await.unwrap();
    for _ in 0..10 {
        tokio::task::yield_now().await;
    }
    bed.faults.has_delayed()
}

#[tokio::test]
async fn a_burst_of_uses_is_noted_once_and_one_of_an_older_token_is_no_news() {
    let bed = Bed::open().await;
    let login = bed.log_in(1).await;
    bed.faults.delay();
    for _ in 0..5 {
        assert!(
            is_being_noted(&bed, &login.tokens.access).await,
            "a second write would set the first one free"
        );
    }
    let pair = super::refresh::refresh(&bed, &login.tokens.refresh).await.unwrap();
    bed.faults.delay();
    assert!(!is_being_noted(&bed, &login.tokens.access).await);
    assert!(is_being_noted(&bed, &pair.access).await);
}

#[tokio::test]
async fn a_token_without_a_name_is_refused_from_a_reload_on_that_comes_after_the_last_of_those_has_expired() {
    let bed = Bed::new().await;
    let named = || {
        let settings = settings(&Secret::new(SECRET), &bed.means.keys, policy());
        let names = Names { issuer: Some("freshk".to_owned()), ..Names::default() };
        Settings { tokens: settings.tokens.naming(names), ..settings }
    };
    let auth = Auth::new(parts(&bed.store, &bed.clock, &bed.sms, (2, RunId::new([2; 8]))), named());
    auth.settle_after_restart().await.unwrap();
    bed.clock.advance(policy().lifetimes.refresh);
    let login = bed.log_in(1).await;
    auth.authenticate(&login.tokens.access).await.unwrap();
    auth.adopt(named());
    assert_eq!(auth.authenticate(&login.tokens.access).await.unwrap_err(), AuthError::TokenInvalid);
}

#[tokio::test]
async fn a_session_is_found_by_its_own_user_alone() {
    let bed = Bed::open().await;
    let (one, other) = (bed.log_in(1).await, bed.log_in(2).await);
    let (id, at) = (bed.bearer(&one).await.session.unwrap(), bed.clock.now());
    let found = bed.read(move |view| {
        let found = |user| Ok(find_session(view, &id, user, at)?.map(|session| session.user));
        Ok([found(&one.user)?, found(&other.user)?])
    });
    assert_eq!(found.await, [Ok(UserId(1)), Err(AuthError::TokenInvalid)]);
}
