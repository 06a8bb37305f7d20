//! Codes that may be sent a second time: which wait for it, which need none, and what the second message is paid with.

use super::reports::tell_of;
use super::senders::{by, member};
use super::*;
use crate::auth::AuthError;
use crate::domain::message::{MessageState, NewMessage};
use crate::domain::{ChallengeId, ChallengeState, MessageId};
use crate::sms::{Accepted, SmsSender as _, Unavailable};
use crate::sync::lock;

const AFTER: Duration = Duration::from_secs(30);

/// A sender of text messages, and one that takes over half a minute later.
async fn two(channel: Channel, change: impl FnOnce(&mut Policy)) -> (Bed, [MemorySender; 2]) {
    let senders = [MemorySender::new(), MemorySender::new()];
    let members = [
        member("first", Channel::Sms, &senders[0], None),
        member("second", channel, &senders[1], Some(AFTER)),
    ];
    (by(&members, change).await, senders)
}

/// Half a minute passes, and what then goes out again has gone.
async fn send_again(bed: &Bed) {
    bed.clock.advance(AFTER);
    bed.auth.send_again().await;
}

#[tokio::test]
async fn a_code_whose_message_may_arrive_waits_and_of_too_many_the_last_do_not() {
    let (bed, [first, second]) = two(Channel::Sms, |_| {}).await;
    let waiting = || lock(&bed.auth.waiting.0).len();
    first.script([refused(FailureReason::Delivery), lost()]);
    second.script([refused(FailureReason::Delivery)]);
    for kept in [0, 1] {
        bed.request(1).await.result.unwrap_err();
        assert_eq!(waiting(), kept);
    }
    let (now, again) = (bed.clock.now(), lock(&bed.auth.waiting.0).values().next().unwrap().clone());
    lock(&bed.auth.waiting.0).extend((1..9999).map(|id| ((now, MessageId(-id)), again.clone())));
    for kept in [10_000, 10_000] {
        bed.request(2).await.result.unwrap();
        assert_eq!(waiting(), kept);
    }
}

#[tokio::test]
async fn for_a_code_that_has_arrived_no_place_is_asked_for() {
    let (bed, [_, second]) = two(Channel::Sms, |_| {}).await;
    bed.request(1).await.result.unwrap();
    tell_of(&bed, 1, MessageState::Delivered).await;
    second.refuse([Unavailable::Overloaded(SECOND)]);
    send_again(&bed).await;
    assert!(second.reserve(1).is_err(), "the refusal is still there");
    assert!(second.reserve(1).is_ok());
}

#[tokio::test]
async fn a_code_that_has_had_its_second_message_has_no_third() {
    let (bed, [_, second]) = two(Channel::Sms, |_| {}).await;
    bed.request(1).await.result.unwrap();
    let message = bed.message().await;
    let another = NewMessage {
        challenge: message.challenge,
        to: message.to,
        via: message.via,
        segments: 1,
        created_at: bed.clock.now(),
    };
    bed.store.write(Locks::none(), move |tx| tx.insert_message(another.clone()).map(drop)).await.unwrap();
    send_again(&bed).await;
    assert_eq!(second.messages().len(), 0);
}

#[tokio::test]
async fn a_code_that_is_used_while_it_is_about_to_go_out_again_does_not() {
    let (bed, [first, second]) = two(Channel::Sms, |_| {}).await;
    bed.request(1).await.result.unwrap();
    bed.clock.advance(AFTER);
    bed.faults.keep(0);
    let again = tokio::spawn(bed.auth.send_again());
    while !bed.faults.has_delayed() {
        tokio::task::yield_now().await;
    }
    bed.verify(1, &first.messages()[0].code).await.result.unwrap();
    bed.faults.free();
    bed.store.write(Locks::none(), |_| Ok(())).await.unwrap();
    again.await.unwrap();
    assert_eq!(second.messages().len(), 0);
}

#[tokio::test]
async fn what_became_of_a_first_message_is_written_also_after_the_second_was_accepted_under_whatever_name() {
    for name in ["SM2", &format!("SM{:032x}", 1)] {
        let (bed, [_, second]) = two(Channel::Sms, |_| {}).await;
        let accepted = Accepted { sid: Some(name.to_owned()), state: MessageState::Queued, segments: None };
        second.script([SendOutcome::Accepted(accepted)]);
        bed.faults.plan(1, 1);
        bed.request(1).await.result.unwrap();
        send_again(&bed).await;
        let state = async || {
            let known = bed.read(|view| {
                Ok((view.challenge(ChallengeId(1))?.unwrap(), view.message(MessageId(1))?.unwrap()))
            });
            let (challenge, message) = known.await;
            (challenge.state, message.state)
        };
        assert_eq!(bed.message().await.sid.as_deref(), Some(name));
        assert_eq!(state().await, (ChallengeState::Sending, MessageState::Intended));
        assert_eq!(bed.auth.settle_late(Mode::Production, &phone(1)).await, []);
        assert_eq!(state().await, (ChallengeState::Live, MessageState::Queued));
    }
}

#[tokio::test]
async fn a_second_message_is_one_to_somebody_known_where_the_first_was() {
    let (bed, [first, second]) = two(Channel::Sms, |_| {}).await;
    bed.ask(CodeRequest { mode: Mode::Testing, ..code_request(1) }).await.result.unwrap();
    let code = first.messages()[0].code.clone();
    let console = VerifyRequest { mode: Mode::Testing, ..verify_request(1, &code) };
    let device_token = bed.auth.verify(console).await.result.unwrap().device_token;
    bed.ask(CodeRequest { device_token, ..code_request(1) }).await.result.unwrap();
    send_again(&bed).await;
    assert_eq!(second.messages().len(), 1);
    let bought = bed.counted("sms_bought_total");
    assert!(bought.len() == 1 && bought[0].ends_with(" 2"), "{bought:?}");
}

#[tokio::test]
async fn a_second_message_is_paid_for_beside_the_first_unless_it_was_surely_not_sent() {
    for (outcome, messages) in [(None, 2), (Some(lost()), 2), (Some(refused(FailureReason::Delivery)), 1)] {
        let (bed, [_, second]) = two(Channel::Sms, |policy| {
            (policy.budgets.per_day, policy.budgets.default_price) = (2, 1000);
        })
        .await;
        bed.request(1).await.result.unwrap();
        second.script(outcome);
        send_again(&bed).await;
        assert_eq!(second.messages().len(), 1);
        let payment = bed.read(|view| view.payment(ChallengeId(1))).await.unwrap();
        assert_eq!((payment.charges.len(), payment.cost), (messages, 1000 * messages as u64));
        assert_eq!(bed.request(2).await.result.is_ok(), messages == 1);
    }
}

#[tokio::test]
async fn a_call_in_place_of_a_text_message_is_not_given_back_by_what_is_reported_of_that() {
    let (bed, [_, voice]) = two(Channel::Voice, |policy| policy.budgets.calls_per_day = 1).await;
    bed.request(1).await.result.unwrap();
    send_again(&bed).await;
    assert_eq!(voice.messages().len(), 1);
    tell_of(&bed, 1, MessageState::Sent).await;
    bed.request(2).await.result.unwrap();
    let call = CodeRequest { channel: Some(Channel::Voice), ..code_request(2) };
    assert!(matches!(bed.ask(call).await.result, Err(AuthError::SmsBudgetExhausted(_))));
}
