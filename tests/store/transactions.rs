//! What one write, many writes, and reads beside them may rely on.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use freshk::domain::quota::{Endpoint, Quota};
use freshk::domain::{Mode, Purpose, UserId};
use freshk::storage::ahead::Wanted;
use freshk::storage::{Locks, StoreError, StoreResult, Tx};
use futures_util::FutureExt as _;
use tokio::sync::Notify;
use tokio::task::JoinHandle;

use crate::phone_changes::change as phone_change;
use crate::support::{
    ADDRESS, Bed, Fixture, OTHER, START, after, everything, new_challenge, new_message, phone, session,
    some_hash, until,
};

fn join(number: u32) -> impl Fn(&mut dyn Tx) -> StoreResult<()> + Send + 'static {
    move |tx| tx.insert_user(&phone(number), "retailer", START).map(drop)
}

async fn users<F: Fixture>(bed: &Bed<F>) -> usize {
    bed.read(|view| view.users_after(UserId(0), 10_000)).await.len()
}

/// A closure that waits, though not for ever, until the sender is used or dropped.
fn gate() -> (Sender<()>, impl FnOnce() + Send + 'static) {
    let (open, gate): (Sender<()>, Receiver<()>) = channel();
    let wait = move || {
        let _ = gate.recv_timeout(Duration::from_mins(1));
    };
    (open, wait)
}

/// A write that has begun, and goes on with `act` once the sender is dropped. Until then it has every lock.
async fn held<F: Fixture>(
    bed: &Arc<Bed<F>>,
    act: impl Fn(&mut dyn Tx) -> StoreResult<()> + Send + 'static,
) -> (Sender<()>, JoinHandle<StoreResult<()>>) {
    let (open, wait) = gate();
    let begun = Arc::new(Notify::new());
    let writing = tokio::spawn({
        let (bed, begun) = (bed.clone(), begun.clone());
        async move {
            bed.try_write(move |tx| {
                begun.notify_one();
                wait();
                act(tx)
            })
            .await
        }
    });
    begun.notified().await;
    (open, writing)
}

pub(crate) async fn everything_in_one_closure_happens_or_nothing_does<F: Fixture>() {
    let bed = Bed::<F>::new().await;
    let failed = bed.try_write(|tx| {
        join(1)(tx)?;
        join(2)(tx)?;
        Err::<(), _>(StoreError::Overloaded)
    });
    assert_eq!(failed.await, Err(StoreError::Overloaded), "an error of the closure is its answer");
    assert_eq!(users(&bed).await, 0);
    bed.write(|tx| {
        join(1)(tx)?;
        assert!(tx.user_by_phone(&phone(1))?.is_some(), "it sees what it wrote");
        join(2)(tx)
    })
    .await;
    assert_eq!(users(&bed).await, 2);
}

pub(crate) async fn a_failing_and_a_panicking_write_are_undone_alone<F: Fixture>() {
    let bed = Bed::<F>::new().await;
    let (good, failing, panicking, last) = tokio::join!(
        bed.store.write(everything(), join(1)),
        bed.store.write(everything(), |tx| join(2)(tx).and(Err::<(), _>(StoreError::Overloaded))),
        bed.store.write(everything(), |tx| -> StoreResult<()> {
            join(3)(tx)?;
            panic!("as a test of panics")
        }),
        bed.store.write(everything(), join(4)),
    );
    assert_eq!((good, last), (Ok(()), Ok(())));
    assert_eq!((failing, panicking), (Err(StoreError::Overloaded), Err(StoreError::Broken)));
    assert_eq!(bed.try_write(join(1)).await, Err(StoreError::Broken), "a phone has one user");
    assert_eq!(users(&bed).await, 2);
}

/// What is asked ahead is an answer that waits: whatever this write changes meanwhile must not be answered by it.
pub(crate) async fn what_is_asked_ahead_is_answered_as_if_it_were_asked_then<F: Fixture>() {
    let bed = Bed::<F>::new().await;
    let quota = Quota::Ip(Endpoint::Request);
    let user = bed.user(1).await.id;
    let before = bed.challenge(1).await;
    bed.write(move |tx| {
        let (mode, purpose, one) = (Mode::Production, Purpose::Login, phone(1));
        let spends =
            |subject: &str| Wanted::Spends { quota, subjects: vec![subject.to_owned()], since: after(0) };
        let ahead = |tx: &mut dyn Tx| {
            tx.read_ahead(&|| {
                vec![
                    spends(ADDRESS),
                    spends(OTHER),
                    Wanted::NewestChallenge { mode, phone: &one, purpose, by_device: false },
                    Wanted::Challenges { mode, phone: &one, purpose, limit: 9 },
                    Wanted::Challenge(before.id),
                    Wanted::TestNumber(&one),
                    Wanted::LiveSessions(user, START),
                    Wanted::Devices(user),
                    Wanted::PhoneChangesAbout(&one),
                    Wanted::NewIds { units: 2, of_code: true },
                ]
            })
        };
        ahead(tx)?;
        let first = tx.spend(quota, ADDRESS, after(1))?;
        let second = tx.spend(quota, ADDRESS, after(2))?;
        assert!(first < second);
        for _ in 0..2 {
            assert_eq!(tx.spends(quota, &[ADDRESS], after(0))?, [after(1), after(2)], "its own units");
            assert_eq!(tx.spends(quota, &[OTHER], after(0))?, []);
            assert_eq!(tx.newest_challenge(mode, &one, purpose, false)?.unwrap().id, before.id);
            assert_eq!(tx.live_sessions(user, START)?.len(), 0);
            assert!(tx.test_number(&one)?.is_none() && tx.devices_of(user)?.is_empty());
            assert_eq!(tx.phone_changes_about(&one)?, []);
        }
        ahead(tx)?;
        let next = tx.insert_challenge(new_challenge(mode, 1), &|_| some_hash())?;
        assert!(next.id > before.id);
        let messages = [1, 2].map(|_| tx.insert_message(new_message(next.id, 1, 1, START)).unwrap());
        assert!(messages[0] < messages[1] && tx.message(messages[1])?.is_some());
        assert_eq!(tx.newest_challenge(mode, &one, purpose, false)?.unwrap().id, next.id);
        assert_eq!(tx.challenges(mode, &one, purpose, 9)?.len(), 2);
        tx.insert_session(&session(1, user))?;
        assert_eq!(tx.live_sessions(user, START)?.len(), 1);
        tx.keep_phone_change(&phone_change(user, 2, 10))?;
        assert_eq!(tx.phone_changes_about(&one)?, [phone_change(user, 2, 10)], "of the user who has it");
        ahead(tx)?;
        tx.update_challenge(&mut before.clone().guessed_wrong())?;
        assert_eq!(tx.challenge(before.id)?.unwrap().attempts, 1);
        Ok(())
    })
    .await;
    assert_eq!(bed.read(move |view| view.spends(quota, &[ADDRESS], after(0))).await, [after(1), after(2)]);
}

pub(crate) async fn a_write_sees_what_was_committed_before_it<F: Fixture>() {
    let bed = Bed::<F>::new().await;
    for number in 1..10 {
        bed.write(join(number)).await;
        let other = bed.fixture.open().await;
        let seen = other.write(Locks::none(), move |tx| tx.user_by_phone(&phone(number))).await.unwrap();
        assert!(seen.is_some(), "{number}");
        other.close().await;
    }
}

pub(crate) async fn writes_under_one_lock_come_one_after_the_other<F: Fixture>() {
    const WRITES: u32 = 60;
    let bed = Arc::new(Bed::<F>::new().await);
    let id = bed.challenge(1).await.id;
    let guesses: Vec<_> = (0..WRITES)
        .map(|_| {
            let bed = bed.clone();
            tokio::spawn(async move {
                let locks = Locks::none().phone(&phone(1));
                let guess = bed.store.write(locks, move |tx| {
                    let mut guessed = tx.challenge(id)?.unwrap().guessed_wrong();
                    tx.update_challenge(&mut guessed)
                });
                guess.await
            })
        })
        .collect();
    for guess in guesses {
        assert_eq!(guess.await.unwrap(), Ok(()));
    }
    assert_eq!(bed.read(move |view| view.challenge(id)).await.unwrap().attempts, WRITES);
}

pub(crate) async fn what_many_tasks_were_told_is_there_is_there<F: Fixture>() {
    const TASKS: u32 = 32;
    const EACH: u32 = 50;
    let bed = Arc::new(Bed::<F>::new().await);
    let tasks: Vec<_> = (0..TASKS)
        .map(|task| {
            let bed = bed.clone();
            tokio::spawn(async move {
                let mut acknowledged = 0;
                for n in 0..EACH {
                    // Every fifth meets a phone that is taken.
                    let number = if n % 5 == 4 { task * EACH } else { task * EACH + n };
                    let locks = Locks::none().phone(&phone(number));
                    acknowledged += usize::from(bed.store.write(locks, join(number)).await.is_ok());
                }
                acknowledged
            })
        })
        .collect();
    let mut acknowledged = 0;
    for task in tasks {
        acknowledged += task.await.unwrap();
    }
    assert_eq!(acknowledged, (TASKS * EACH / 5 * 4) as usize);
    bed.store.close().await;
    let Bed { fixture, .. } = Arc::into_inner(bed).unwrap();
    let store = fixture.open().await;
    assert_eq!(users(&Bed { fixture, store }).await, acknowledged);
}

pub(crate) async fn s36_a_write_whose_caller_has_gone_is_done<F: Fixture>() {
    let bed = Arc::new(Bed::<F>::new().await);
    let (open, caller) = held(&bed, join(1)).await;
    caller.abort();
    assert!(caller.await.unwrap_err().is_cancelled());
    drop(open);
    until("the write is done", || async { users(&bed).await == 1 }).await;
}

pub(crate) async fn a_read_sees_one_snapshot<F: Fixture>() {
    let bed = Arc::new(Bed::<F>::new().await);
    bed.write(join(1)).await;
    let begun = Arc::new(Notify::new());
    let (open, wait) = gate();
    let reading = tokio::spawn({
        let (bed, begun) = (bed.clone(), begun.clone());
        async move {
            bed.read(move |view| {
                let before = view.users_after(UserId(0), 9)?.len();
                begun.notify_one();
                wait();
                Ok((before, view.users_after(UserId(0), 9)?.len(), view.user_by_phone(&phone(2))?.is_some()))
            })
            .await
        }
    });
    begun.notified().await;
    bed.write(join(2)).await;
    drop(open);
    assert_eq!(reading.await.unwrap(), (1, 1, false));
    assert_eq!(users(&bed).await, 2);
}

pub(crate) async fn s32_a_read_that_panics_harms_nobody_else<F: Fixture>() {
    let bed = Bed::<F>::new().await;
    for _ in 0..20 {
        let panicking = bed.store.read(|_| -> StoreResult<()> { panic!("as a test of panics") });
        assert_eq!(panicking.await, Err(StoreError::Broken));
    }
    assert_eq!(users(&bed).await, 0);
}

pub(crate) async fn a_full_queue_refuses_at_once_and_loses_nothing_that_it_took<F: Fixture>() {
    const MOST: usize = 100_000;
    let bed = Arc::new(Bed::<F>::new().await);
    let (open, held) = held(&bed, |_| Ok(())).await;
    // All wait for the lock that the first one has; so many that the queue is full at last. A write is queued, or refused, when
    // it is polled for the first time.
    let mut waiting = Vec::new();
    let mut refused = false;
    while !refused && waiting.len() < MOST {
        let mut write = Box::pin(bed.try_write(|tx| tx.user(UserId(1)).map(drop)));
        match (&mut write).now_or_never() {
            None => waiting.push(write),
            Some(answer) => {
                assert_eq!(answer, Err(StoreError::Overloaded));
                refused = true;
            }
        }
    }
    assert!(refused, "{} writes wait", waiting.len());
    drop(open);
    assert_eq!(held.await.unwrap(), Ok(()));
    assert!(!waiting.is_empty());
    for write in waiting {
        assert_eq!(write.await, Ok(()));
    }
    assert_eq!(bed.try_write(join(1)).await, Ok(()));
}

pub(crate) async fn closing_writes_what_is_queued_and_refuses_what_comes_later<F: Fixture>() {
    let bed = Arc::new(Bed::<F>::new().await);
    let (open, queued) = held(&bed, join(1)).await;
    let closing = tokio::spawn({
        let bed = bed.clone();
        async move { bed.store.close().await }
    });
    until("writes are refused", || async {
        let write = bed.store.write(Locks::none(), |_| Ok(()));
        matches!(
            tokio::time::timeout(Duration::from_millis(50), write).await,
            Ok(Err(StoreError::Unavailable))
        )
    })
    .await;
    drop(open);
    closing.await.unwrap();
    assert_eq!(queued.await.unwrap(), Ok(()));
    bed.store.close().await;
    let store = bed.fixture.open().await;
    let there = store.read(|view| view.user_by_phone(&phone(1))).await.unwrap();
    assert!(there.is_some());
}
