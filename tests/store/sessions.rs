//! Sessions and their rotations.

use std::time::Duration;

use freshk::domain::session::{EndReason, Repetition};
use freshk::domain::{Session, SessionId, Timestamp, UserId};

use crate::support::{Bed, Fixture, START, after, session};

const DAY: Duration = Duration::from_hours(24);

pub(crate) async fn sessions_are_read_as_they_were_written<F: Fixture>() {
    let bed = Bed::<F>::new().await;
    let user = bed.user(1).await.id;
    let open = session(1, user);
    let (id, written) = (open.id.clone(), open.clone());
    bed.write(move |tx| tx.insert_session(&written)).await;
    let of = id.clone();
    assert_eq!(bed.read(move |view| view.session(&of)).await, Some(open.clone()));
    let mut ended = Session {
        generation: 3,
        jti: "f".repeat(32),
        generation_used: true,
        issued_at: after(1),
        refresh_expires_at: after(2),
        last_used_at: after(3),
        shared_key_until: Some(2),
        ip: "2001:db8::1".into(),
        ..open
    }
    .repeated(Repetition::LateElsewhere, after(4))
    .0
    .repeated(Repetition::Late, after(4))
    .0
    .ended(after(5), EndReason::Logout);
    let ended = bed.write(move |tx| tx.update_session(&mut ended).map(|()| ended)).await;
    assert_eq!(bed.read(move |view| view.session(&id)).await, Some(ended));
    let other = session(2, user).id;
    assert_eq!(bed.read(move |view| view.session(&other)).await, None);
}

pub(crate) async fn live_sessions_are_neither_ended_nor_expired_and_come_oldest_first<F: Fixture>() {
    let bed = Bed::<F>::new().await;
    let (user, other) = (bed.user(1).await.id, bed.user(2).await.id);
    let younger = Session { created_at: after(10), ..session(1, user) };
    let older = session(2, user);
    let [young, old] = [younger.id.clone(), older.id.clone()];
    bed.write(move |tx| {
        tx.insert_session(&younger)?;
        tx.insert_session(&older)?;
        tx.insert_session(&session(3, user).ended(after(1), EndReason::Revoked))?;
        tx.insert_session(&Session { refresh_expires_at: after(5), ..session(4, user) })?;
        tx.insert_session(&session(5, other))
    })
    .await;
    let live = |at: Timestamp| {
        bed.read(move |view| Ok((view.live_sessions(user, at)?, view.count_live_sessions(at)?)))
    };
    let ids = |found: &[Session]| found.iter().map(|session| session.id.clone()).collect::<Vec<_>>();
    let (found, count) = live(after(5)).await;
    assert_eq!((ids(&found), count), (vec![old, young], 3));
    assert_eq!(live(after(4)).await.0.len(), 3);
    assert_eq!(live(START + DAY).await, (vec![], 0));
}

pub(crate) async fn a_use_is_noted_of_the_current_generation_of_a_session_that_stands<F: Fixture>() {
    let bed = Bed::<F>::new().await;
    let user = bed.user(1).await.id;
    let (open, over) = (session(1, user), session(2, user).ended(after(1), EndReason::Logout));
    let rotated = Session { generation: 3, ..open.clone() };
    let (id, ended) = (open.id.clone(), over.id.clone());
    bed.write(move |tx| {
        tx.insert_session(&rotated)?;
        tx.insert_session(&over)
    })
    .await;
    let touch = |id: SessionId, generation, at| {
        bed.write(move |tx| {
            tx.touch_session(&id, generation, at)?;
            let session = tx.session(&id)?.unwrap();
            Ok((session.generation_used, session.last_used_at, session.version))
        })
    };
    assert_eq!(touch(id.clone(), 2, after(5)).await, (false, after(5), 0), "an older generation");
    assert_eq!(touch(id.clone(), 3, after(4)).await, (true, after(5), 0), "time does not go back");
    assert_eq!(touch(id, 2, after(6)).await, (true, after(6), 0));
    assert_eq!(touch(ended, 0, after(6)).await, (false, START, 0), "it has ended");
    let nobodys = session(9, user).id;
    bed.write(move |tx| tx.touch_session(&nobodys, 0, after(6))).await;
}

pub(crate) async fn a_replacement_keeps_a_use_that_was_noted_meanwhile<F: Fixture>() {
    let bed = Bed::<F>::new().await;
    let user = bed.user(1).await.id;
    let (read, id) = (session(1, user), session(1, user).id);
    let written = read.clone();
    bed.write(move |tx| tx.insert_session(&written)).await;
    let of = id.clone();
    bed.write(move |tx| tx.touch_session(&of, 0, after(7))).await;
    let (mut noted, of) = (Session { replays_untold: 2, ..read.clone() }, id.clone());
    let kept = bed
        .write(move |tx| {
            tx.update_session(&mut noted)?;
            Ok(tx.session(&of)?.unwrap())
        })
        .await;
    assert_eq!((kept.generation_used, kept.last_used_at, kept.replays_untold), (true, after(7), 2));
    let mut rotated =
        Session { generation: 1, generation_used: false, last_used_at: after(6), ..kept.clone() };
    let next = bed
        .write(move |tx| {
            tx.update_session(&mut rotated)?;
            Ok(tx.session(&id)?.unwrap())
        })
        .await;
    assert_eq!((next.generation_used, next.last_used_at), (false, after(6)), "of another generation");
}

pub(crate) async fn rotations_are_known_until_they_are_forgotten<F: Fixture>() {
    let bed = Bed::<F>::new().await;
    let user = bed.user(1).await.id;
    let (open, id) = (session(1, user), session(1, user).id);
    let noted = id.clone();
    bed.write(move |tx| {
        tx.insert_session(&open)?;
        tx.note_rotation(&noted, 0, after(10), after(0))?;
        tx.note_rotation(&noted, 1, after(20), after(5))
    })
    .await;
    let known = |id: SessionId, generation| bed.read(move |view| view.rotated_at(&id, generation));
    assert_eq!(known(id.clone(), 0).await, Some(after(10)));
    assert_eq!(known(id.clone(), 1).await, Some(after(20)));
    let of = id.clone();
    bed.write(move |tx| tx.note_rotation(&of, 2, after(30), after(11))).await;
    assert_eq!(known(id.clone(), 0).await, None);
    let of = id.clone();
    bed.broken(move |tx| tx.note_rotation(&of, 2, after(31), after(11))).await;
    assert_eq!(known(id, 2).await, Some(after(30)), "it was noted once");
}

pub(crate) async fn sessions_are_paged_in_the_order_of_their_ids<F: Fixture>() {
    let bed = Bed::<F>::new().await;
    let user = bed.user(1).await.id;
    bed.write(move |tx| {
        [3, 1, 2].into_iter().try_for_each(|chance| tx.insert_session(&session(chance, user)))
    })
    .await;
    let page = |after: Option<SessionId>| bed.read(move |view| view.sessions_after(after.as_ref(), 2));
    let first = page(None).await;
    assert_eq!(first, [session(1, user), session(2, user)]);
    assert_eq!(page(Some(first[1].id.clone())).await, [session(3, user)]);
    assert_eq!(page(Some(session(3, user).id)).await, []);
}

pub(crate) async fn a_session_has_a_user<F: Fixture>() {
    let bed = Bed::<F>::new().await;
    bed.broken(|tx| tx.insert_session(&session(3, UserId(99)))).await;
    let user = bed.user(1).await.id;
    bed.write(move |tx| tx.insert_session(&session(1, user))).await;
    bed.broken(move |tx| tx.insert_session(&session(1, user))).await;
}

pub(crate) async fn the_latest_sessions_of_a_user_are_found_ended_or_not<F: Fixture>() {
    let bed = Bed::<F>::new().await;
    let (user, other) = (bed.user(1).await.id, bed.user(2).await.id);
    let ended = session(3, user).ended(after(1), EndReason::Logout);
    let sessions = [session(1, user), session(2, other), ended];
    let written = sessions.clone();
    bed.write(move |tx| written.iter().try_for_each(|session| tx.insert_session(session))).await;
    let of = |rows| bed.read(move |view| view.sessions_of(user, rows));
    let [first, _, ended] = sessions;
    assert_eq!(of(9).await, [ended.clone(), first]);
    assert_eq!(of(1).await, [ended]);
}
