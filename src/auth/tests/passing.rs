//! Messages that go on from one sender to another, while reports of them come in.

use tokio::task::JoinHandle;

use super::senders::{by, member};
use super::*;
use crate::auth::AuthError;
use crate::domain::Timestamp;
use crate::domain::message::{DeliveryReport, MessageState};
use crate::sms::Accepted;

/// A bed with two senders; the first holds its messages, each of which it will refuse as `outcomes` say.
async fn two(channel: Channel, outcomes: impl IntoIterator<Item = SendOutcome>) -> (Bed, [MemorySender; 2]) {
    let senders = [MemorySender::new(), MemorySender::new()];
    senders[0].script(outcomes);
    senders[0].hold();
    let members =
        [member("first", Channel::Sms, &senders[0], None), member("second", channel, &senders[1], None)];
    (by(&members, |policy| policy.budgets.calls_per_day = 1).await, senders)
}

/// A request whose message the first sender has, but no more than that; two seconds later.
async fn under_way(bed: &Bed, first: &MemorySender) -> JoinHandle<Result<Sent, AuthError>> {
    let auth = bed.auth.clone();
    let flow = tokio::spawn(async move { auth.request(code_request(1)).await.result });
    first.arrived(1).await;
    bed.clock.advance(2 * SECOND);
    flow
}

/// A report of the first message, from a sender that names itself or one that names the message.
async fn tell(bed: &Bed, sender: Option<&str>, sid: Option<&str>, state: MessageState) {
    let (sender, sid) = (sender.map(str::to_owned), sid.map(str::to_owned));
    let error_code = state.is_lost().then_some(30_003);
    let report = DeliveryReport { sender, sid, message: Some(MessageId(1)), state, error_code };
    bed.auth.report(report, "r".to_owned()).await.unwrap();
}

/// By whom the message went, what became of it, why, and when that was noted.
fn fate(message: Message) -> (String, MessageState, Option<i64>, Timestamp) {
    (message.via.sender, message.state, message.error_code, message.updated_at)
}

#[tokio::test]
async fn what_is_known_of_a_message_that_went_on_begins_anew_where_the_first_sender_lost_it() {
    for (outcome, state) in [(None, MessageState::Queued), (Some(lost()), MessageState::Unknown)] {
        let (bed, [first, second]) = two(Channel::Sms, [refused(FailureReason::Delivery)]).await;
        second.script(outcome);
        let flow = under_way(&bed, &first).await;
        tell(&bed, Some("first"), None, MessageState::Undelivered).await;
        bed.clock.advance(SECOND);
        first.release();
        assert_eq!(flow.await.unwrap().is_ok(), state == MessageState::Queued);
        assert_eq!(fate(bed.message().await), ("second".to_owned(), state, None, bed.clock.now()));
        let lines = bed.read(|view| view.audit_after(&AuditOf::Everybody, 0, 1000)).await;
        let line = lines.into_iter().find(|line| line.event == AuditEvent::SmsUndelivered).unwrap();
        assert_eq!(line.mode.as_deref(), Some("production"));
    }
}

#[tokio::test]
async fn what_is_known_of_a_message_goes_on_where_it_was_not_lost_or_did_not_go_on() {
    let on_its_way = [refused(FailureReason::Delivery)];
    for (outcomes, reporter, sid, reported) in [
        (Vec::from(on_its_way), Some("first"), None, MessageState::Sent),
        (vec![], Some("first"), None, MessageState::Undelivered),
        (vec![], None, Some("SM1"), MessageState::Undelivered),
    ] {
        let is_taken = outcomes.is_empty();
        let (bed, [first, _]) = two(Channel::Sms, outcomes).await;
        let flow = under_way(&bed, &first).await;
        tell(&bed, reporter, sid, reported).await;
        first.release();
        flow.await.unwrap().unwrap();
        let via = if is_taken { "first" } else { "second" };
        let code = reported.is_lost().then_some(30_003);
        assert_eq!(fate(bed.message().await), (via.to_owned(), reported, code, bed.clock.now()));
        assert_eq!(bed.counted("sms_errors_total").len(), usize::from(reported.is_lost()));
    }
}

#[tokio::test]
async fn a_call_that_a_message_goes_on_to_is_noted_before_it_is_made() {
    for (reported, noted) in [
        (None, MessageState::Intended),
        (Some(MessageState::Undelivered), MessageState::Intended),
        (Some(MessageState::Sent), MessageState::Sent),
    ] {
        let (bed, [first, voice]) = two(Channel::Voice, [refused(FailureReason::Delivery)]).await;
        voice.hold();
        let flow = under_way(&bed, &first).await;
        if let Some(state) = reported {
            tell(&bed, Some("first"), None, state).await;
        }
        bed.clock.advance(SECOND);
        first.release();
        voice.arrived(1).await;
        let known = bed.message().await;
        assert_eq!(known.via.channel, Channel::Voice);
        assert_eq!(fate(known), ("second".to_owned(), noted, None, bed.clock.now()), "{reported:?}");
        assert_eq!(bed.counted("sms_budget_warnings_total"), ["{budget=\"voice\"} 1"]);
        voice.release();
        flow.await.unwrap().unwrap();
        let then = if reported == Some(MessageState::Sent) { noted } else { MessageState::Queued };
        assert_eq!(bed.message().await.state, then);
    }
}

#[tokio::test]
async fn a_call_of_which_nobody_can_say_whether_it_is_paid_for_is_not_made() {
    let (bed, [first, voice]) = two(Channel::Voice, [refused(FailureReason::Delivery)]).await;
    let flow = under_way(&bed, &first).await;
    bed.faults.plan(0, 1);
    first.release();
    assert!(matches!(flow.await.unwrap(), Err(AuthError::SmsDeliveryFailed { .. })));
    assert!(bed.faults.are_over());
    assert_eq!((voice.messages().len(), bed.message().await.state), (0, MessageState::Failed));
}

#[tokio::test]
async fn a_call_that_was_made_is_not_given_back_by_what_is_reported_of_it() {
    let voice = MemorySender::new();
    let members = [member("voice", Channel::Voice, &voice, None)];
    let bed = by(&members, |policy| policy.budgets.calls_per_day = 1).await;
    bed.request(1).await.result.unwrap();
    let sid = bed.message().await.sid;
    for (sender, state) in [(Some("voice"), MessageState::Sent), (None, MessageState::Delivered)] {
        tell(&bed, sender, sid.as_deref(), state).await;
    }
    assert_eq!(bed.message().await.state, MessageState::Delivered);
    assert!(matches!(bed.request(2).await.result, Err(AuthError::SmsBudgetExhausted(_))));
}

#[tokio::test]
async fn a_call_is_paid_for_as_one_also_where_the_message_was_paid_for() {
    let (first, voice) = (MemorySender::new(), MemorySender::new());
    let members =
        [member("first", Channel::Sms, &first, None), member("second", Channel::Voice, &voice, None)];
    let bed = by(&members, |policy| (policy.budgets.calls_per_day, policy.budgets.per_day) = (1, 10)).await;
    first.script([refused(FailureReason::Delivery)]);
    bed.request(1).await.result.unwrap();
    assert_eq!(voice.messages().len(), 1);
    bed.request(2).await.result.unwrap();
    let call = CodeRequest { channel: Some(Channel::Voice), ..code_request(2) };
    assert!(matches!(bed.ask(call).await.result, Err(AuthError::SmsBudgetExhausted(_))));
}

#[tokio::test]
async fn a_call_for_a_message_of_which_no_payment_is_known_any_more_is_not_made() {
    let (bed, [first, voice]) = two(Channel::Voice, [refused(FailureReason::Delivery)]).await;
    let flow = under_way(&bed, &first).await;
    let challenge = bed.message().await.challenge;
    bed.store.write(Locks::none(), move |tx| tx.delete_purchase(challenge).map(drop)).await.unwrap();
    first.release();
    assert!(matches!(flow.await.unwrap(), Err(AuthError::SmsDeliveryFailed { .. })));
    assert_eq!(voice.messages().len(), 0);
}

#[tokio::test]
async fn how_many_segments_a_message_has_is_what_its_provider_counts() {
    let bed = Bed::open().await;
    for (told, segments) in [(Some(3), 3), (None, 1)] {
        let accepted = Accepted { sid: None, state: MessageState::Queued, segments: told };
        bed.sms.script([SendOutcome::Accepted(accepted)]);
        bed.request(1).await.result.unwrap();
        assert_eq!(bed.message().await.segments, segments);
    }
}
