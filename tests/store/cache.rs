//! Sessions and users in memory are never older than what was last acknowledged.

use freshk::domain::quota::DAY;
use freshk::domain::session::EndReason;
use freshk::domain::{Session, User};
use freshk::storage::StoreError;

use crate::maintenance::horizon;
use crate::support::{Bed, Fixture, START, after, everything, phone, session, until};

/// A user who is logged in.
async fn login<F: Fixture>(bed: &Bed<F>, number: u32) -> (User, Session) {
    bed.write(move |tx| {
        let user = tx.insert_user(&phone(number), "retailer", START)?;
        let session = session(u8::try_from(number).unwrap(), user.id);
        tx.insert_session(&session)?;
        Ok((user, session))
    })
    .await
}

pub(crate) async fn s17_an_own_write_is_seen_by_the_next_look<F: Fixture>() {
    let bed = Bed::<F>::new().await;
    assert!(
        bed.store.principal(&session(1, freshk::domain::UserId(1)).id, |_| true).await.unwrap().is_none()
    );
    let (mut user, mut open) = login(&bed, 1).await;
    let look = async || bed.store.principal(&open.id, |_| true).await.unwrap().unwrap();
    for round in 0..10 {
        let seen = look().await;
        assert_eq!((seen.user.is_active, seen.session.ended.is_some()), (round % 2 == 0, false));
        user.is_active = !user.is_active;
        user = bed.write(move |tx| tx.update_user(&mut user).map(|()| user)).await;
    }
    assert!(!look().await.session.generation_used);
    let id = open.id.clone();
    bed.write(move |tx| tx.touch_session(&id, 0, after(7))).await;
    let seen = look().await;
    assert_eq!((seen.session.generation_used, seen.session.last_used_at), (true, after(7)));
    let id = open.id.clone();
    open = open.ended(after(8), EndReason::Logout);
    bed.write(move |tx| tx.update_session(&mut open)).await;
    assert!(bed.store.principal(&id, |_| true).await.unwrap().unwrap().session.ended.is_some());
}

pub(crate) async fn s17_a_use_that_was_undone_is_not_believed<F: Fixture>() {
    let bed = Bed::<F>::new().await;
    let (_, open) = login(&bed, 1).await;
    let look = async || bed.store.principal(&open.id, |_| true).await.unwrap().unwrap().session;
    assert!(!look().await.generation_used);
    let id = open.id.clone();
    let undone = bed.store.write(everything(), move |tx| {
        tx.touch_session(&id, 0, after(7))?;
        Err::<(), _>(StoreError::Broken)
    });
    undone.await.unwrap_err();
    assert!(!look().await.generation_used);
    let id = open.id.clone();
    bed.write(move |tx| tx.touch_session(&id, 0, after(7))).await;
    assert!(look().await.generation_used);
}

pub(crate) async fn s17_a_deleted_user_has_no_session<F: Fixture>() {
    let bed = Bed::<F>::new().await;
    let (user, open) = login(&bed, 1).await;
    assert!(bed.store.principal(&open.id, |_| true).await.unwrap().is_some());
    assert_eq!(bed.write(move |tx| tx.delete_user(user.id)).await, Some(1));
    assert!(bed.store.principal(&open.id, |_| true).await.unwrap().is_none());
}

pub(crate) async fn s17_what_maintenance_deletes_is_forgotten<F: Fixture>() {
    let bed = Bed::<F>::new().await;
    let (_, open) = login(&bed, 1).await;
    assert!(bed.store.principal(&open.id, |_| true).await.unwrap().is_some());
    while bed.write(|tx| tx.purge(&horizon(START + 2 * DAY), 9)).await {}
    assert!(bed.store.principal(&open.id, |_| true).await.unwrap().is_none());
}

pub(crate) async fn s17_what_memory_knows_and_does_not_suffice_is_read<F: Fixture>() {
    let bed = Bed::<F>::new().await;
    let (_, open) = login(&bed, 1).await;
    assert!(bed.store.principal(&open.id, |_| true).await.unwrap().is_some());
    // A generation that another process has brought, and does not tell of.
    let other = bed.fixture.open().await;
    let rotated = Session { generation: 1, jti: "1".repeat(32), ..open.clone() };
    other.write(everything(), move |tx| tx.update_session(&mut rotated.clone())).await.unwrap();
    let seen = bed.store.principal(&open.id, |known| known.session.generation == 1).await.unwrap().unwrap();
    assert_eq!(seen.session.generation, 1);
    // What was read is what memory has from now on.
    let seen = bed.store.principal(&open.id, |_| true).await.unwrap().unwrap();
    assert_eq!(seen.session.generation, 1);
}

pub(crate) async fn s17_what_another_process_wrote_is_seen<F: Fixture>() {
    let bed = Bed::<F>::new().await;
    let (user, open) = login(&bed, 1).await;
    let active = async || bed.store.principal(&open.id, |_| true).await.unwrap().unwrap().user.is_active;
    assert!(active().await);
    let other = bed.fixture.open().await;
    let changed = User { is_active: false, ..user };
    other.write(everything(), move |tx| tx.update_user(&mut changed.clone())).await.unwrap();
    until("it is noticed", async || !active().await).await;
}

pub(crate) async fn own_writes_are_not_foreign<F: Fixture>() {
    let bed = Bed::<F>::new().await;
    for number in 1..10 {
        bed.user(number).await;
        bed.store.checkpoint().await.unwrap();
        assert!(bed.read(move |view| view.user_by_phone(&phone(number))).await.is_some());
    }
    assert_eq!(bed.store.foreign_writes(), 0);
}
