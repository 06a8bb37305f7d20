//! Text messages, and codes that found no sender.

use freshk::domain::challenge::Use;
use freshk::domain::message::{MessageState, Unsent};
use freshk::domain::{Channel, MessageId, Timestamp, Via};

use crate::support::{Bed, Fixture, START, after, new_message, phone};

pub(crate) async fn messages_are_read_as_they_were_written<F: Fixture>() {
    let bed = Bed::<F>::new().await;
    let challenge = bed.challenge(1).await.id;
    let [id, second] = bed
        .write(move |tx| {
            Ok([
                tx.insert_message(new_message(challenge, 1, 2, START))?,
                tx.insert_message(new_message(challenge, 1, 1, after(1)))?,
            ])
        })
        .await;
    let mut message = bed.read(move |view| view.message(id)).await.unwrap();
    assert_eq!((message.state, message.segments, message.sid.clone()), (MessageState::Intended, 2, None));
    assert_eq!((message.challenge, message.to.clone()), (challenge, phone(1)));
    assert_eq!(message.via, Via::new("twilio", Channel::Sms));
    message.via = Via::new("local", Channel::Voice);
    message.sid = Some("SM1".into());
    message.state = MessageState::Failed;
    message.error_code = Some(21_610);
    message.segments = 3;
    message.updated_at = after(3);
    bed.write(move |tx| tx.update_message(&mut message)).await;
    let read = bed.read(|view| view.message_by_sid("SM1")).await.unwrap();
    assert_eq!((read.id, read.state, read.error_code), (id, MessageState::Failed, Some(21_610)));
    assert_eq!((read.created_at, read.updated_at, read.segments), (START, after(3), 3));
    assert_eq!(read.via, Via::new("local", Channel::Voice));
    assert!(bed.read(|view| view.message_by_sid("SM2")).await.is_none());
    let all = bed.read(move |view| view.messages_of(challenge)).await;
    assert_eq!(all.iter().map(|message| message.id).collect::<Vec<_>>(), [id, second], "the oldest first");
    let mut twin = all.into_iter().nth(1).unwrap();
    twin.sid = Some("SM1".into());
    bed.broken(move |tx| tx.update_message(&mut twin)).await;
}

pub(crate) async fn messages_are_paged_from_the_newest_with_whether_the_code_was_used<F: Fixture>() {
    let bed = Bed::<F>::new().await;
    let mut sent = Vec::new();
    for number in 1..=3 {
        let challenge = bed.challenge(number).await;
        let id = bed
            .write(move |tx| {
                let used = Use { at: after(1), session: None, idempotency: None };
                let id = tx.insert_message(new_message(challenge.id, number, 1, START))?;
                let mut challenge = if number == 2 { challenge.consumed(used) } else { challenge };
                tx.update_challenge(&mut challenge)?;
                Ok(id)
            })
            .await;
        sent.insert(0, (id, number == 2));
    }
    let page = |before| {
        let page = bed.read(move |view| view.messages_before(before, 2));
        async { page.await.into_iter().map(|(message, used)| (message.id, used)).collect::<Vec<_>>() }
    };
    assert_eq!(page(MessageId(i64::MAX)).await, sent[..2]);
    assert_eq!(page(sent[1].0).await, sent[2..]);
}

pub(crate) async fn codes_that_found_no_sender_are_counted_by_the_minute<F: Fixture>() {
    let bed = Bed::<F>::new().await;
    let count = |why, at| bed.write(move |tx| tx.count_unsent(why, at));
    assert!(count(Unsent::BreakerOpen, after(0)).await);
    assert!(!count(Unsent::BreakerOpen, after(59)).await);
    assert!(count(Unsent::Overloaded, after(59)).await);
    assert!(count(Unsent::BreakerOpen, after(60)).await);
    let counted = |since: Timestamp| {
        let minutes = bed.read(move |view| view.unsent_since(since));
        async { minutes.await.into_iter().map(|of| (of.minute, of.why, of.count)).collect::<Vec<_>>() }
    };
    let first = [(after(0), Unsent::BreakerOpen, 2), (after(0), Unsent::Overloaded, 1)];
    let second = (after(60), Unsent::BreakerOpen, 1);
    assert_eq!(counted(after(30)).await, [first[0], first[1], second], "a minute is told as a whole");
    assert_eq!(counted(after(60)).await, [second]);
}

pub(crate) async fn the_latest_messages_to_a_phone_are_found<F: Fixture>() {
    let bed = Bed::<F>::new().await;
    let mut ids = Vec::new();
    for number in [1, 2, 1] {
        let challenge = bed.challenge(number).await.id;
        ids.push(bed.write(move |tx| tx.insert_message(new_message(challenge, number, 1, START))).await);
    }
    let bed = &bed;
    let to = |rows| async move {
        let found = bed.read(move |view| view.messages_to(&phone(1), rows)).await;
        found.into_iter().map(|message| message.id).collect::<Vec<_>>()
    };
    assert_eq!(to(9).await, [ids[2], ids[0]]);
    assert_eq!(to(1).await, [ids[2]]);
}
