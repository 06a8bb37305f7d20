//! What is deleted, and when.

use std::sync::Arc;
use std::time::Duration;

use freshk::domain::audit::{Actor, AuditEvent};
use freshk::domain::guard::{Place, Scope, Standing};
use freshk::domain::quota::{DAY, Quota};
use freshk::domain::session::EndReason;
use freshk::domain::{
    ChallengeId, Exchange, MessageId, Mode, NewChallenge, SpendId, Timestamp, User, UserId,
};
use freshk::storage::PurgeHorizon;
use freshk::storage::audit::AuditOf;
use freshk::storage::guard::Purchase;

use crate::ledger::IP;
use crate::support::{
    ADDRESS, Bed, Fixture, START, after, new_challenge, new_message, phone, session, some_hash,
};

/// All that is older than `now`.
pub(crate) fn horizon(now: Timestamp) -> PurgeHorizon {
    let spends = Quota::ALL.map(|quota| (quota, now - Duration::from_millis(1)));
    PurgeHorizon {
        now,
        spends,
        challenges: now,
        sessions: now,
        purchases: now,
        guard: now,
        events: now,
        audit: now,
    }
}

/// Deletes in slices of this length until nothing more is to be deleted.
async fn purge<F: Fixture>(bed: &Bed<F>, horizon: &PurgeHorizon, rows: usize) {
    let horizon = *horizon;
    for _ in 0..100 {
        if !bed.write(move |tx| tx.purge(&horizon, rows)).await {
            return;
        }
    }
    panic!("there is always more");
}

pub(crate) async fn purging_takes_slices_and_only_what_is_old<F: Fixture>() {
    let bed = Bed::<F>::new().await;
    bed.write(|tx| {
        for seconds in 0..10 {
            tx.spend(IP, ADDRESS, after(seconds))?;
            let new = NewChallenge { created_at: after(seconds), ..new_challenge(Mode::Production, 1) };
            let challenge = tx.insert_challenge(new, &|_| some_hash())?;
            tx.insert_message(new_message(challenge.id, 1, 1, after(seconds)))?;
        }
        Ok(())
    })
    .await;
    let left = || {
        bed.read(|view| {
            Ok((
                view.spends_after(SpendId(0), 99)?.len(),
                view.challenges_before(ChallengeId(i64::MAX), 99)?.len(),
                view.messages_before(MessageId(i64::MAX), 99)?.len(),
            ))
        })
    };
    assert!(bed.write(|tx| tx.purge(&horizon(after(7)), 5)).await);
    assert_eq!(left().await, (5, 5, 5), "a slice is a slice");
    purge(&bed, &horizon(after(7)), 5).await;
    assert_eq!(left().await, (3, 3, 3));
}

pub(crate) async fn s39_what_is_of_a_time_still_to_come_keeps_nothing_behind_it<F: Fixture>() {
    let bed = Bed::<F>::new().await;
    bed.write(|tx| {
        let place = || Place { network: "n".into(), range: "r".into(), country: "DE".into() };
        for seconds in (1000..1010).chain(5..15).chain(0..10) {
            let at = after(seconds);
            let new = NewChallenge { created_at: at, ..new_challenge(Mode::Production, 1) };
            let challenge = tx.insert_challenge(new, &|_| some_hash())?.id;
            let (standing, cost, charges) = (Standing::Stranger, 0, Vec::new());
            tx.insert_purchase(&Purchase { challenge, at, place: place(), standing, cost, charges })?;
            tx.note_refused_attempt(Scope::Country, "DE", at)?;
            tx.audit(&[Arc::new(Actor::system(at)).did(AuditEvent::SmsBlocked)])?;
        }
        Ok(())
    })
    .await;
    // Those of the clock that was ahead whose time has come since are not old yet.
    purge(&bed, &PurgeHorizon { now: after(20), ..horizon(after(5)) }, 5).await;
    let left = bed.read(|view| {
        Ok((
            view.challenges_before(ChallengeId(i64::MAX), 99)?.len(),
            view.sent_to_strangers(None, START - DAY, after(5000))?.unconverted,
            view.refused_attempts(Scope::Country, "DE", START - DAY, after(5000))?,
            view.audit_after(&AuditOf::Everybody, 0, 99)?.len(),
        ))
    });
    assert_eq!(left.await, (25, 23, 23, 25));
}

pub(crate) async fn a_spend_is_kept_as_long_as_its_own_quota_looks_back<F: Fixture>() {
    let bed = Bed::<F>::new().await;
    bed.write(|tx| {
        for seconds in 0..10 {
            tx.spend(Quota::Failures(Mode::Production), phone(1).as_str(), after(seconds))?;
        }
        for seconds in 0..10 {
            tx.spend(IP, ADDRESS, after(seconds))?;
        }
        Ok(())
    })
    .await;
    let mut hour = horizon(START - Duration::from_hours(1));
    hour.spends = Quota::ALL.map(|quota| (quota, if quota == IP { after(6) } else { START - DAY }));
    purge(&bed, &hour, 5).await;
    assert_eq!(bed.read(|view| view.spends(IP, &[ADDRESS], START)).await, [after(7), after(8), after(9)]);
    assert_eq!(bed.read(|view| view.spends_after(SpendId(0), 99)).await.len(), 13);
}

pub(crate) async fn when_a_user_was_last_seen_outlives_the_sessions<F: Fixture>() {
    let bed = Bed::<F>::new().await;
    let user = bed.user(1).await.id;
    let seen = async || bed.read(move |view| view.last_seen(user)).await;
    assert_eq!(seen().await, Some(START), "the row was written");
    let [mut early, mut late] = [1, 2].map(|chance| session(chance, user));
    early.last_used_at = after(30);
    late.last_used_at = after(70);
    bed.write(move |tx| {
        tx.insert_session(&early.ended(after(31), EndReason::Logout))?;
        tx.insert_session(&late.ended(after(71), EndReason::Logout))
    })
    .await;
    assert_eq!(seen().await, Some(after(70)));
    for (horizon, left) in [(after(72), 0), (after(73), 0)] {
        purge(&bed, &self::horizon(horizon), 1).await;
        assert_eq!(bed.read(move |view| Ok(view.sessions_of(user, 9)?.len())).await, left);
        assert_eq!(seen().await, Some(after(70)));
    }
    for (at, expected) in [(60, 70), (90, 90)] {
        bed.write(move |tx| tx.note_seen(user, after(at))).await;
        assert_eq!(seen().await, Some(after(expected)));
    }
    assert_eq!(bed.read(|view| view.last_seen(UserId(99))).await, None);
}

pub(crate) async fn sessions_go_when_they_are_over_with_their_rotations<F: Fixture>() {
    let bed = Bed::<F>::new().await;
    let user = bed.user(1).await.id;
    let [open, ended, shut_out] = [1, 2, 3].map(|chance| session(chance, user).id);
    let of = ended.clone();
    bed.write(move |tx| {
        tx.insert_session(&session(1, user))?;
        tx.insert_session(&session(2, user).ended(after(5), EndReason::Logout))?;
        tx.insert_session(&session(3, user).ended(after(5), EndReason::Deactivated))?;
        tx.note_rotation(&of, 0, after(4), START)
    })
    .await;
    let left = || {
        bed.read(|view| {
            Ok(view.sessions_after(None, 9)?.into_iter().map(|session| session.id).collect::<Vec<_>>())
        })
    };
    purge(&bed, &horizon(after(10)), 2).await;
    assert_eq!(left().await, [open, shut_out], "whoever was shut out is told so until the token expires");
    assert_eq!(bed.read(move |view| view.rotated_at(&ended, 0)).await, None);
    purge(&bed, &horizon(START + 2 * DAY), 2).await;
    assert_eq!(left().await, []);
}

pub(crate) async fn an_exchanged_token_is_remembered_until_it_has_expired<F: Fixture>() {
    let bed = Bed::<F>::new().await;
    let user = bed.user(1).await;
    let (id, opened) = (user.id, session(1, user.id).id);
    bed.write(move |tx| {
        tx.update_user(&mut User { phone_verified: true, ..user })?;
        tx.insert_session(&session(1, id).ended(START, EndReason::Logout))?;
        for seconds in 0..10 {
            tx.insert_exchange(&Exchange {
                jti: seconds.to_string(),
                user: id,
                session: Some(opened.clone()),
                at: START,
                expires_at: after(seconds),
            })?;
        }
        Ok(())
    })
    .await;
    let left = || {
        bed.read(|view| {
            let mut left = Vec::new();
            for seconds in 0..10 {
                left.extend(view.exchange(&seconds.to_string())?.map(|exchange| exchange.jti));
            }
            Ok(left)
        })
    };
    assert!(bed.write(|tx| tx.purge(&horizon(after(7)), 5)).await);
    assert_eq!(left().await.len(), 5, "a slice is a slice");
    purge(&bed, &horizon(after(7)), 5).await;
    assert_eq!(left().await, ["7", "8", "9"], "whatever became of its session");
}

pub(crate) async fn a_database_with_room_is_writable<F: Fixture>() {
    let bed = Bed::<F>::new().await;
    bed.write(|tx| tx.probe_writable()).await;
    assert_eq!(
        bed.read(|view| view.untold_refusals(Timestamp::from_millis(0))).await,
        0,
        "nothing is left of it"
    );
}
