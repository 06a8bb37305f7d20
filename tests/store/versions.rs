//! Rows are replaced only as they were read.

use freshk::domain::message::Message;
use freshk::domain::{Challenge, ChallengeId, MessageId, Session, User, UserId};

use crate::support::{Bed, Fixture, START, new_message, session};

struct Rows {
    user: User,
    session: Session,
    challenge: Challenge,
    message: Message,
}

async fn rows<F: Fixture>(bed: &Bed<F>) -> Rows {
    let (user, challenge) = (bed.user(1).await, bed.challenge(1).await);
    bed.write(move |tx| {
        let session = session(1, user.id);
        tx.insert_session(&session)?;
        let message = tx.insert_message(new_message(challenge.id, 1, 1, START))?;
        let message = tx.message(message)?.unwrap();
        Ok(Rows { user, session, challenge, message })
    })
    .await
}

pub(crate) async fn a_row_that_was_replaced_since_it_was_read_is_not_replaced_again<F: Fixture>() {
    let bed = Bed::<F>::new().await;
    let Rows { user, session, challenge, message } = rows(&bed).await;
    let (mut one, mut two, mut three, mut four) =
        (user.clone(), session.clone(), challenge.clone(), message.clone());
    let versions = bed
        .write(move |tx| {
            // What is in hand is the row as it was written: it may be replaced again.
            for _ in 0..2 {
                tx.update_user(&mut one)?;
                tx.update_session(&mut two)?;
                tx.update_challenge(&mut three)?;
                tx.update_message(&mut four)?;
            }
            Ok([one.version, two.version, three.version, four.version])
        })
        .await;
    assert_eq!(versions, [2; 4]);
    let (mut one, mut two, mut three, mut four) = (user.clone(), session, challenge, message);
    bed.broken(move |tx| tx.update_user(&mut one)).await;
    bed.broken(move |tx| tx.update_session(&mut two)).await;
    bed.broken(move |tx| tx.update_challenge(&mut three)).await;
    bed.broken(move |tx| tx.update_message(&mut four)).await;
    let read = bed.read(move |view| view.user(user.id)).await.unwrap();
    assert_eq!(read, User { version: 2, ..user });
}

pub(crate) async fn a_row_that_is_not_there_is_not_replaced<F: Fixture>() {
    let bed = Bed::<F>::new().await;
    let Rows { user, session: open, challenge, message } = rows(&bed).await;
    let mut anothers = Session { user: bed.user(2).await.id, ..open.clone() };
    bed.broken(move |tx| tx.update_session(&mut anothers)).await;
    let mut two = Session { id: session(9, open.user).id, ..open };
    let mut one = User { id: UserId(99), ..user };
    let mut three = Challenge { id: ChallengeId(99), ..challenge };
    let mut four = Message { id: MessageId(99), ..message };
    bed.broken(move |tx| tx.update_user(&mut one)).await;
    bed.broken(move |tx| tx.update_session(&mut two)).await;
    bed.broken(move |tx| tx.update_challenge(&mut three)).await;
    bed.broken(move |tx| tx.update_message(&mut four)).await;
}
