//! What the provider reports of a message.

use super::*;
use crate::domain::message::{DeliveryReport, MessageState};
use crate::domain::{ChallengeState, MessageId};

fn report(sid: &str, state: MessageState) -> DeliveryReport {
    DeliveryReport { sender: None, sid: Some(sid.to_owned()), message: None, state, error_code: Some(30_003) }
}

async fn tell(bed: &Bed, report: DeliveryReport) {
    bed.auth.report(report, "r".to_owned()).await.unwrap();
}

/// Has the provider report what became of the message of this number, by the name that it has given it.
pub(super) async fn tell_of(bed: &Bed, id: i64, state: MessageState) {
    let sid = message(bed, id).await.sid.unwrap();
    tell(bed, report(&sid, state)).await;
}

async fn message(bed: &Bed, id: i64) -> crate::domain::message::Message {
    bed.read(move |view| view.message(MessageId(id))).await.unwrap()
}

#[tokio::test]
async fn s26_a_message_moves_on_and_never_back() {
    let bed = Bed::new().await;
    bed.request(1).await.result.unwrap();
    let sid = message(&bed, 1).await.sid.unwrap();
    for (state, then) in [
        (MessageState::Sent, MessageState::Sent),
        (MessageState::Delivered, MessageState::Delivered),
        (MessageState::Sent, MessageState::Delivered),
    ] {
        tell(&bed, report(&sid, state)).await;
        assert_eq!(message(&bed, 1).await.state, then);
    }
    tell(&bed, report("SM of somebody else", MessageState::Delivered)).await;
}

#[tokio::test]
async fn an_undelivered_message_gives_the_unit_back_once() {
    let bed = Bed::open().await;
    for _ in 0..3 {
        bed.request(1).await.result.unwrap();
    }
    let sid = message(&bed, 3).await.sid.unwrap();
    for _ in 0..2 {
        tell(&bed, report(&sid, MessageState::Undelivered)).await;
    }
    assert_eq!(bed.told(AuditEvent::SmsUndelivered).await, ["undelivered 30003"]);
    bed.request(1).await.result.unwrap();
    bed.request(1).await.result.unwrap_err();
}

#[tokio::test]
async fn a_report_finds_the_message_whose_answer_was_lost_and_makes_its_code_live() {
    let bed = Bed::new().await;
    bed.sms.script([lost()]);
    bed.request(1).await.result.unwrap_err();
    let found = DeliveryReport { message: Some(MessageId(1)), ..report("SM1", MessageState::Sent) };
    tell(&bed, found).await;
    let known = message(&bed, 1).await;
    assert_eq!((known.sid.as_deref(), known.state), (Some("SM1"), MessageState::Sent));
    let challenge = bed.read(move |view| view.challenge(known.challenge)).await.unwrap();
    assert_eq!(challenge.state, ChallengeState::Live);
    // A number that has a SID already is no other message's.
    let other = DeliveryReport { message: Some(MessageId(1)), ..report("SM2", MessageState::Delivered) };
    tell(&bed, other).await;
    assert_eq!(message(&bed, 1).await.state, MessageState::Sent);
}
