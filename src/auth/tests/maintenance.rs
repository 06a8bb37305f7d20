//! What a round of maintenance writes, keeps and forgets.

use super::console::want_on_hold;
use super::*;
use crate::domain::message::{DeliveryReport, MessageState};
use crate::domain::{EventNumber, NameClaim, Timestamp};

const DAY: Duration = Duration::from_hours(24);

/// A message that does not arrive, of which the webhooks are told.
pub(super) async fn undelivered(bed: &Bed, request: CodeRequest) {
    bed.ask(request).await.result.unwrap();
    let sid = bed.message().await.sid;
    let report = DeliveryReport {
        sender: None,
        sid,
        message: None,
        state: MessageState::Undelivered,
        error_code: None,
    };
    bed.auth.report(report, "r".to_owned()).await.unwrap();
}

/// The kinds of the events of a user, the newest first, and whether more than the id is left of any.
pub(super) async fn events(bed: &Bed, user: UserId) -> (Vec<&'static str>, bool) {
    let events = bed.read(move |view| view.events_before(EventNumber(i64::MAX), Some(user), 100)).await;
    let has_data = events.iter().any(|(_, event)| event.data.is_some());
    (events.iter().map(|(_, event)| event.kind.as_str()).collect(), has_data)
}

#[tokio::test]
async fn the_clock_that_a_purge_goes_by_is_stored_with_it() {
    let bed = Bed::new().await;
    bed.clock.advance(2 * DAY);
    bed.auth.maintain().await.unwrap();
    assert_eq!(bed.read(|view| view.clock()).await, Some(bed.clock.stored()));
}

#[tokio::test]
async fn a_registration_with_a_code_on_its_way_stays_and_of_an_abandoned_one_no_event_says_more_than_the_id()
{
    let bed = Bed::with(|policy| policy.retention.unverified = DAY).await;
    for number in [1, 2] {
        undelivered(&bed, code_request(number)).await;
    }
    let gone = bed.user(1).await.unwrap().id;
    bed.clock.advance(DAY);
    bed.request(2).await.result.unwrap();
    bed.clock.advance(SECOND);
    assert_eq!(events(&bed, gone).await, (vec!["sms.undelivered"], true));
    bed.auth.maintain().await.unwrap();
    let users = [bed.user(1).await, bed.user(2).await].map(|user| user.is_some());
    assert_eq!(users, [false, true]);
    assert_eq!(events(&bed, gone).await, (vec!["sms.undelivered"], false));
}

#[tokio::test]
async fn an_import_that_is_taken_back_tells_that_its_users_are_gone() {
    let bed = Bed::new().await;
    bed.import(7, 7).await;
    bed.operate(7, |operator, user| operator.undo_import(&[user.id])).await;
    assert_eq!(events(&bed, UserId(7)).await, (vec!["user.deleted", "user.created"], false));
}

#[tokio::test]
async fn what_the_guard_goes_by_outlives_a_purge_for_as_long_as_it_is_looked_at() {
    let bed = Bed::with(|policy| (policy.limits.ip, policy.guard.mode) = (0, GuardMode::On)).await;
    let range = |number: u32| bed.request(1000 * 7 + number);
    for number in 1..=3 {
        range(number).await.result.unwrap();
    }
    bed.auth.maintain().await.unwrap();
    range(4).await.result.unwrap_err();
    let blocks = async || bed.read(|view| view.blocks_after(Timestamp::from_millis(0))).await.len();
    bed.clock.advance(20 * HOUR);
    bed.auth.maintain().await.unwrap();
    assert_eq!(blocks().await, 1);
    bed.clock.advance(5 * HOUR);
    bed.auth.maintain().await.unwrap();
    assert_eq!(blocks().await, 0);
}

#[tokio::test]
async fn a_notice_to_the_number_before_is_not_settled_with_the_code_for_the_new_one() {
    let bed = Bed::open().await;
    let login = bed.log_in(1).await;
    let bearer = bed.bearer(&login).await;
    let (asked, proven) = want_on_hold(&bed, bearer).await;
    bed.clock.advance(HOUR);
    bed.auth.maintain().await.unwrap();
    let messages = bed.read(|view| view.messages_before(MessageId(i64::MAX), 2)).await;
    let states: Vec<_> = messages.into_iter().map(|(message, _)| (message.to, message.state)).collect();
    assert_eq!(states, [(phone(1), MessageState::Intended), (phone(2), MessageState::Unknown)]);
    bed.sms.release();
    asked.await.unwrap().unwrap();
    assert!(proven.await.unwrap().unwrap().effective_at.is_some());
}

#[tokio::test]
async fn a_name_that_was_taken_out_of_the_configuration_is_asked_of_no_token() {
    let bed = Bed::open().await;
    let at = bed.clock.now();
    let named = bed.store.write(Locks::none(), move |tx| {
        tx.store_token_name(NameClaim::Issuer, Some("https://login.example.com"), at)
    });
    named.await.unwrap();
    let (next, _) = build(&bed.store, &bed.clock, &bed.sms, (2, RunId::new([2; 8])), policy());
    next.settle_after_restart().await.unwrap();
    bed.clock.advance(31 * DAY);
    next.maintain().await.unwrap();
    bed.request(1).await.result.unwrap();
    let login = next.verify(verify_request(1, &bed.code())).await.result.unwrap();
    next.authenticate(&login.tokens.access).await.unwrap();
}
