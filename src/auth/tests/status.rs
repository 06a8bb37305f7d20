//! Who is let in by what memory knows, and what the list of sessions says of devices.

use super::*;
use crate::auth::AuthError;

#[tokio::test]
async fn whom_memory_does_not_let_in_is_read_again() {
    let bed = Bed::open().await;
    let login = bed.log_in(1).await;
    bed.operate(1, |operator, user| operator.deactivate(user)).await;
    for _ in 0..2 {
        assert!(!bed.bearer(&login).await.user.is_active, "known while the user is deactivated");
    }
    bed.elsewhere("UPDATE users SET is_active = 1");
    assert_eq!(bed.auth.authenticate(&login.tokens.access).await.unwrap_err(), AuthError::TokenInvalid);
}

/// The devices of the bearer's sessions, newest first: whether each is there.
async fn devices(bed: &Bed, login: &LoggedIn) -> Vec<bool> {
    let sessions = bed.auth.sessions(&bed.bearer(login).await).await.unwrap();
    sessions.into_iter().map(|session| session.device_id.is_some()).collect()
}

#[tokio::test]
async fn a_session_is_listed_without_a_device_that_made_way_for_another() {
    let bed = Bed::with(|policy| (policy.limits.ip, policy.max_devices) = (0, 1)).await;
    let first = bed.log_in(1).await;
    assert_eq!(devices(&bed, &first).await, [true]);
    bed.clock.advance(SECOND);
    bed.log_in(1).await;
    assert_eq!(devices(&bed, &first).await, [true, false]);
}

#[tokio::test]
async fn a_device_that_a_test_number_renewed_ends_with_it_whatever_its_tokens_and_sessions_of_before_say() {
    let bed = Bed::with(|policy| (policy.limits.ip, policy.lifetimes.access) = (0, 24 * HOUR)).await;
    let own = bed.log_in(1).await;
    let code = bed.make_test_number(1).await;
    bed.request(1).await.result.unwrap();
    let device_token = own.device_token.clone();
    let again = VerifyRequest { device_token, ..verify_request(1, &code) };
    bed.auth.verify(again).await.result.unwrap();
    assert_eq!(devices(&bed, &own).await, [true, true]);
    bed.clock.advance(HOUR);
    assert_eq!(devices(&bed, &own).await, [false]);
    let request = CodeRequest { device_token: own.device_token.clone(), ..code_request(1) };
    bed.ask(request).await.result.unwrap();
    let by_device = bed.read(|view| view.newest_challenge(Mode::Production, &phone(1), Purpose::Login, true));
    assert!(by_device.await.is_none());
}

#[tokio::test]
async fn whoever_asks_whether_a_token_is_good_is_no_other_network_that_repeats_it() {
    let bed = Bed::open().await;
    let elsewhere = async |token: &str, address| {
        let refreshed = bed.auth.refresh(token, String::new(), origin(address)).await;
        refreshed.unwrap().pair.refresh
    };
    let first = bed.log_in(1).await.tokens.refresh;
    let second = elsewhere(&first, ADDRESS).await;
    bed.clock.advance(61 * SECOND);
    elsewhere(&first, "198.51.100.7").await;
    elsewhere(&second, ADDRESS).await;
    bed.clock.advance(61 * SECOND);
    bed.auth.check_token(&second).await.unwrap();
    let thief = bed.auth.refresh(&second, String::new(), origin("198.51.100.7")).await;
    assert_eq!(thief.unwrap_err(), AuthError::TokenReused);
}
