//! What a login leaves in the trail and tells webhooks, and what its repetition says again.

use super::*;
use crate::auth::AuthError;
use crate::domain::{EventKind, EventNumber};
use crate::random::Random;

/// Gives the latest code with a key that makes a repetition safe.
async fn give(bed: &Bed, number: u32) -> Result<LoggedIn, AuthError> {
    let idempotency_key = Some(Secret::new("k".repeat(16)));
    bed.auth.verify(VerifyRequest { idempotency_key, ..verify_request(number, &bed.code()) }).await.result
}

/// What a login says of its user, whenever it is said.
fn said(login: &LoggedIn) -> (UserId, bool, bool, bool) {
    (login.user.id, login.is_new_user, login.is_restored, login.is_recycled)
}

/// What webhooks are told of all users but for their sessions, oldest first.
async fn events(bed: &Bed) -> Vec<EventKind> {
    let events = bed.read(|view| view.events_before(EventNumber(i64::MAX), None, 100)).await;
    let kinds = events.into_iter().rev().map(|(_, event)| event.kind);
    kinds.filter(|kind| *kind != EventKind::SessionCreated).collect()
}

/// A bed whose accounts wait a day for their deletion, and one of them that does.
async fn with_deletion() -> Bed {
    let bed = Bed::with(|policy| {
        (policy.limits.ip, policy.limits.user) = (0, 0);
        policy.retention.deletion_grace = 24 * HOUR;
    })
    .await;
    let login = bed.log_in(1).await;
    let bearer = bed.bearer(&login).await;
    bed.request(1).await.result.unwrap();
    bed.auth.delete_account(&bearer, Some(bed.code()), None, origin(ADDRESS)).await.result.unwrap();
    bed
}

#[tokio::test]
async fn a_login_and_its_repetition_have_a_line_each_and_only_the_first_proof_is_told_to_webhooks() {
    let bed = Bed::open().await;
    bed.request(1).await.result.unwrap();
    give(&bed, 1).await.unwrap();
    give(&bed, 1).await.unwrap();
    assert_eq!(bed.told(AuditEvent::LoginSuccess).await, [""]);
    assert_eq!(bed.told(AuditEvent::SessionCreated).await.len(), 1);
    assert_eq!(bed.told(AuditEvent::TokenCreated).await, ["", "repeated verify"]);
    bed.log_in(1).await;
    assert_eq!(events(&bed).await, [EventKind::UserCreated, EventKind::UserVerified]);
}

#[tokio::test]
async fn a_login_that_restores_an_account_says_so_and_tells_nobody_that_it_is_verified_again() {
    let bed = with_deletion().await;
    let before = events(&bed).await.len();
    bed.request(1).await.result.unwrap();
    for _ in 0..2 {
        assert_eq!(said(&give(&bed, 1).await.unwrap()), (bed.user(1).await.unwrap().id, false, true, false));
    }
    bed.log_in(1).await;
    assert_eq!(bed.told(AuditEvent::UserRestored).await, ["by its owner"]);
    assert_eq!(events(&bed).await.len(), before);
}

#[tokio::test]
async fn a_repetition_says_of_a_dormant_accounts_number_what_the_login_said() {
    let month = 30 * 24 * HOUR;
    let bed = Bed::with(|policy| (policy.limits.ip, policy.retention.dormant_after) = (0, month)).await;
    let owner = bed.log_in(1).await;
    bed.clock.advance(month);
    bed.request(1).await.result.unwrap();
    let (first, again) = (give(&bed, 1).await.unwrap(), give(&bed, 1).await.unwrap());
    assert_eq!(said(&first), said(&again));
    assert!(first.is_new_user && first.is_recycled && first.user.id != owner.user.id);
    assert_eq!(bed.told(AuditEvent::UserRecycled).await.len(), 1);
}

#[tokio::test]
async fn a_user_who_is_made_by_the_login_itself_is_new_and_no_dormant_accounts_heir_however_often_said() {
    let bed = Bed::open().await;
    bed.sms.hold();
    let auth = bed.auth.clone();
    let asking = tokio::spawn(async move { auth.request(code_request(1)).await.result });
    bed.sms.arrived(1).await;
    // The message has come, and the provider's answer is still under way.
    let (first, again) = (give(&bed, 1).await.unwrap(), give(&bed, 1).await.unwrap());
    assert_eq!(said(&first), (first.user.id, true, false, false));
    assert_eq!(said(&first), said(&again));
    bed.sms.release();
    asking.await.unwrap().unwrap();
    bed.clock.advance(SECOND);
    bed.request(1).await.result.unwrap();
    for _ in 0..2 {
        assert_eq!(said(&give(&bed, 1).await.unwrap()), (first.user.id, false, false, false));
    }
}

#[tokio::test]
async fn s38_a_repetition_for_a_deactivated_user_is_refused_and_has_twenty_lines() {
    let bed = Bed::open().await;
    bed.request(1).await.result.unwrap();
    give(&bed, 1).await.unwrap();
    bed.operate(1, |operator, user| operator.deactivate(user)).await;
    for _ in 0..25 {
        assert_eq!(give(&bed, 1).await.unwrap_err(), AuthError::AccountDisabled);
    }
    assert_eq!(bed.told(AuditEvent::LoginFail).await, ["disabled"; 20]);
}

#[tokio::test]
async fn a_code_that_opens_nothing_names_no_session_and_gives_no_dormant_account_away() {
    let month = 30 * 24 * HOUR;
    let bed = Bed::with(|policy| (policy.limits.ip, policy.retention.dormant_after) = (0, month)).await;
    let owner = bed.log_in(1).await;
    bed.clock.advance(month);
    bed.request(1).await.result.unwrap();
    bed.operate(1, |operator, user| operator.deactivate(user)).await;
    assert_eq!(give(&bed, 1).await.unwrap_err(), AuthError::AccountDisabled);
    assert_eq!(bed.user(1).await.unwrap().id, owner.user.id);
    let codes = bed.read(|view| view.challenges(Mode::Production, &phone(1), Purpose::Login, 1)).await;
    assert_eq!(codes[0].used.as_ref().unwrap().session, None);
}

#[tokio::test]
async fn so_many_devices_a_user_has_and_the_one_of_a_test_number_ends_with_it() {
    let bed = Bed::with(|policy| {
        (policy.limits.ip, policy.max_devices) = (0, 2);
        (policy.limits.user, policy.limits.user_per_day) = (0, 0);
    })
    .await;
    let user = bed.log_in(1).await.user.id;
    for devices in [2, 2] {
        bed.clock.advance(SECOND);
        bed.log_in(1).await;
        assert_eq!(bed.read(move |view| view.devices_of(user)).await.len(), devices);
    }
}

/// Chance that draws one code for ever.
struct OneCode(SeededRandom);

impl Random for OneCode {
    fn fill(&self, bytes: &mut [u8]) {
        self.0.fill(bytes);
    }

    fn below(&self, below: u32) -> u32 {
        if below == 1_000_000 { 604_927 } else { self.0.below(below) }
    }
}

#[tokio::test]
async fn a_repetition_gets_its_session_though_a_newer_code_has_the_same_digits() {
    let swap = |parts: &mut Parts| parts.random = Arc::new(OneCode(SeededRandom::new(1)));
    let bed = Bed::of(swap, |policy| policy.limits.ip = 0).await;
    bed.request(1).await.result.unwrap();
    let first = give(&bed, 1).await.unwrap();
    bed.request(1).await.result.unwrap();
    assert_eq!(bed.code().digits(), "604927");
    assert_eq!(give(&bed, 1).await.unwrap().tokens.refresh, first.tokens.refresh);
    assert_ne!(bed.verify(1, &bed.code()).await.result.unwrap().tokens.refresh, first.tokens.refresh);
}
