use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use super::*;
use crate::domain::Mode;
use crate::domain::audit::{Actor, AuditDetail, AuditEvent};
use crate::domain::quota::Quota;
use crate::storage::sqlite::SqliteStore;
use crate::storage::sqlite::open::{self, OpenOptions};
use crate::storage::sqlite::tests::{Bed, START, hold, job, job_under, join, phone, queue, users, wait};
use crate::storage::{Engine, Locks, Store, Tx};

/// What waits belongs to one batch, however slow the machine is.
fn one_batch(bed: &Bed) -> OpenOptions {
    let mut options = bed.options();
    options.tuning.writer.time = Duration::from_mins(1);
    options
}

#[test]
fn what_waits_is_committed_together_and_answered_after() {
    let bed = Bed::new();
    let store = bed.store();
    let stranger = bed.stranger();
    let (release, held) = hold(&store);
    let answers: Vec<_> = (0..5).map(|n| queue(&store, join(n))).collect();
    let last = queue(&store, move |tx| {
        assert!(tx.user_by_phone(&phone(4))?.is_some());
        assert_eq!(users(&stranger), 0, "committed one by one");
        Ok(())
    });
    assert!(answers[0].try_recv().is_err(), "answered before the commit");
    drop(release);
    wait(&held).unwrap();
    wait(&last).unwrap();
    for answer in &answers {
        wait(answer).unwrap();
    }
    assert_eq!(users(&bed.stranger()), 5);
}

#[test]
fn a_batch_is_bounded_by_count_and_by_time() {
    for (jobs, time) in [(2, Duration::from_mins(1)), (256, Duration::ZERO)] {
        let bed = Bed::new();
        let mut options = bed.options();
        options.tuning.writer = Bounds { jobs, time, ..options.tuning.writer };
        let store = SqliteStore::open(options).unwrap();
        let stranger = bed.stranger();
        let (release, _held) = hold(&store);
        let _first = queue(&store, join(1));
        let second = queue(&store, move |_| {
            assert_eq!(users(&stranger), 1, "{jobs} {time:?}");
            Ok(())
        });
        drop(release);
        wait(&second).unwrap();
    }
}

#[test]
fn a_failing_and_a_panicking_write_are_undone_alone() {
    let bed = Bed::new();
    let store = bed.store();
    let (release, _held) = hold(&store);
    let good = queue(&store, join(1));
    let failing = queue(&store, |tx| join(2)(tx).and(Err(StoreError::Overloaded)));
    let panicking = queue(&store, |tx| {
        join(3)(tx)?;
        panic!("as a test of panics")
    });
    let twice = queue(&store, join(1));
    let last = queue(&store, join(4));
    drop(release);
    assert_eq!(wait(&good), Ok(()));
    assert_eq!(wait(&failing), Err(StoreError::Overloaded));
    assert_eq!(wait(&panicking), Err(StoreError::Broken));
    assert_eq!(wait(&twice), Err(StoreError::Broken), "a phone has one user");
    assert_eq!(wait(&last), Ok(()));
    assert_eq!(users(&bed.stranger()), 2);
}

/// Writes before a failing one are undone with it and run again, and those after it run once; each happens once.
#[test]
fn what_was_written_before_a_failing_write_is_written_again_and_once() {
    static RUNS: AtomicUsize = AtomicUsize::new(0);
    let bed = Bed::new();
    let store = SqliteStore::open(one_batch(&bed)).unwrap();
    let counted = |number| {
        move |tx: &mut dyn Tx| {
            RUNS.fetch_add(1, Ordering::SeqCst);
            join(number)(tx)
        }
    };
    let (release, held) = hold(&store);
    let before = [queue(&store, counted(1)), queue(&store, counted(2))];
    let failing =
        [3, 4].map(|number| queue(&store, move |tx| counted(number)(tx).and(Err(StoreError::Overloaded))));
    let after = [queue(&store, counted(5)), queue(&store, counted(6))];
    drop(release);
    for answer in before.iter().chain(&after).chain([&held]) {
        assert_eq!(wait(answer), Ok(()));
    }
    for answer in &failing {
        assert_eq!(wait(answer), Err(StoreError::Overloaded));
    }
    assert_eq!(
        RUNS.load(Ordering::SeqCst),
        8,
        "the two before the first failure ran twice, the failing ones once"
    );
    assert_eq!(users(&bed.stranger()), 4);
}

/// What a write gives may be a place that others could have: nobody has one twice, nor keeps one that another could have again.
#[tokio::test]
async fn what_the_first_runs_gave_is_let_go_of_before_any_runs_again() {
    let bed = Bed::new();
    let engine = SqliteStore::open(one_batch(&bed)).unwrap();
    let store = Store::new(Arc::clone(&engine) as Arc<dyn Engine>);
    let (release, _held) = hold(&engine);
    let place = Arc::new(());
    let mut asked: Vec<_> = (0..3)
        .map(|_| {
            let place = Arc::clone(&place);
            Box::pin(store.write(Locks::none(), move |_| Ok((Arc::strong_count(&place), Arc::clone(&place)))))
        })
        .collect();
    for write in &mut asked {
        assert!(futures_util::poll!(write).is_pending());
    }
    let failing = queue(&engine, |_| Err(StoreError::Broken));
    drop(release);
    assert_eq!(wait(&failing), Err(StoreError::Broken));
    let mut seen = Vec::new();
    for write in asked {
        seen.push(write.await.unwrap().0);
    }
    // The place itself, three closures, and what those before have given since.
    assert_eq!(seen, [4, 5, 6]);
}

/// A write may fail when it runs again, for what it saw at first may be gone.
#[test]
fn a_write_that_fails_when_it_runs_again_is_undone_alone() {
    let bed = Bed::new();
    let store = SqliteStore::open(one_batch(&bed)).unwrap();
    let has_run = AtomicBool::new(false);
    let (release, held) = hold(&store);
    let good = queue(&store, join(1));
    let once = queue(&store, move |tx| {
        join(2)(tx)?;
        if has_run.swap(true, Ordering::SeqCst) { Err(StoreError::Broken) } else { Ok(()) }
    });
    let failing = queue(&store, |_| Err(StoreError::Overloaded));
    let last = queue(&store, join(3));
    drop(release);
    for (answer, expected) in [
        (held, Ok(())),
        (good, Ok(())),
        (once, Err(StoreError::Broken)),
        (failing, Err(StoreError::Overloaded)),
        (last, Ok(())),
    ] {
        assert_eq!(wait(&answer), expected);
    }
    assert_eq!(users(&bed.stranger()), 2);
}

/// A disk that is full when writes run again ends their transaction; what would run after that would be one of its own.
#[test]
fn s36_a_transaction_that_ends_while_writes_run_again_acknowledges_none_of_them() {
    let bed = Bed::new();
    let limit = PageLimit::default();
    let options = OpenOptions { page_limit: Some(limit.clone()), ..one_batch(&bed) };
    let store = SqliteStore::open(options).unwrap();
    let fills = AtomicBool::new(false);
    limit.set(1);
    let (release, held) = hold(&store);
    let large = queue(&store, move |tx| {
        let line = Arc::new(Actor::system(START))
            .did(AuditEvent::Startup)
            .detail(AuditDetail::SmsRefused("x".repeat(3000)));
        while fills.swap(true, Ordering::SeqCst) {
            if tx.audit(std::slice::from_ref(&line)).is_err() {
                break;
            }
        }
        Ok(())
    });
    let small = queue(&store, join(1));
    let failing = queue(&store, |_| Err(StoreError::Overloaded));
    let last = queue(&store, join(2));
    drop(release);
    for (answer, expected) in [
        (held, Err(StoreError::Unavailable)),
        (large, Err(StoreError::Unavailable)),
        (small, Err(StoreError::Unavailable)),
        (failing, Err(StoreError::Overloaded)),
    ] {
        assert_eq!(wait(&answer), expected);
    }
    limit.set(0);
    wait(&last).unwrap();
    assert_eq!(users(&bed.stranger()), 1);
    assert_eq!(wait(&queue(&store, join(3))), Ok(()));
    assert_eq!(users(&bed.stranger()), 2);
}

/// `SQLite` needs no locks; that they are declared is held in debug builds alone, so that engines that need them can rely on it.
#[test]
fn a_change_without_its_lock_is_refused_in_debug_builds() {
    let bed = Bed::new();
    let store = bed.store();
    let of = phone(1);
    let spend = move |tx: &mut dyn Tx| tx.spend(Quota::User(Mode::Production), of.as_str(), START).map(drop);
    let (unlocked, without) = job(spend.clone());
    store.submit(unlocked).unwrap();
    assert_eq!(wait(&without), if cfg!(debug_assertions) { Err(StoreError::Broken) } else { Ok(()) });
    let (locked, with) = job_under(Locks::none().phone(&phone(1)), spend);
    store.submit(locked).unwrap();
    assert_eq!(wait(&with), Ok(()));
}

#[test]
fn s30_s36_a_full_disk_ends_the_batch_acknowledges_none_and_recovers() {
    static SMALL_WRITE_RAN: AtomicBool = AtomicBool::new(false);
    let bed = Bed::new();
    let limit = PageLimit::default();
    let options = OpenOptions { page_limit: Some(limit.clone()), ..one_batch(&bed) };
    let store = SqliteStore::open(options).unwrap();
    limit.set(1);
    let (release, held) = hold(&store);
    let small = queue(&store, |tx| {
        join(1)(tx)?;
        SMALL_WRITE_RAN.store(true, Ordering::SeqCst);
        Ok(())
    });
    let large = queue(&store, |tx| {
        let line = Arc::new(Actor::system(START))
            .did(AuditEvent::Startup)
            .detail(AuditDetail::SmsRefused("x".repeat(3000)));
        while tx.audit(std::slice::from_ref(&line)).is_ok() {}
        // The transaction is gone: what came now would be one of its own.
        assert_eq!(join(2)(tx), Err(StoreError::Unavailable));
        assert_eq!(tx.user_by_phone(&phone(1)), Err(StoreError::Unavailable));
        Ok(())
    });
    drop(release);
    assert_eq!(wait(&held), Err(StoreError::Unavailable));
    assert_eq!(wait(&small), Err(StoreError::Unavailable));
    assert_eq!(wait(&large), Err(StoreError::Unavailable));
    assert!(SMALL_WRITE_RAN.load(Ordering::SeqCst));
    assert_eq!(users(&bed.stranger()), 0);
    limit.set(0);
    assert_eq!(wait(&queue(&store, join(3))), Ok(()));
    assert_eq!(users(&bed.stranger()), 1);
}

#[test]
fn a_failing_commit_is_rolled_back_and_everybody_hears_of_it() {
    let bed = Bed::new();
    let store = SqliteStore::open(one_batch(&bed)).unwrap();
    bed.stranger()
        .execute_batch(
            "CREATE TABLE late (user_id INTEGER REFERENCES users (id) DEFERRABLE INITIALLY DEFERRED);
             CREATE TRIGGER too_late AFTER INSERT ON users WHEN new.role = 'late'
             BEGIN INSERT INTO late VALUES (-1); END;",
        )
        .unwrap();
    let (release, held) = hold(&store);
    let good = queue(&store, join(1));
    let late = queue(&store, |tx| tx.insert_user(&phone(2), "late", START).map(drop));
    drop(release);
    for answer in [held, good, late] {
        assert_eq!(wait(&answer), Err(StoreError::Broken));
    }
    assert_eq!(users(&bed.stranger()), 0);
    assert_eq!(wait(&queue(&store, join(3))), Ok(()));
}

#[test]
fn while_another_process_writes_too_long_all_that_wait_are_refused() {
    let bed = Bed::new();
    let mut options = bed.options();
    options.tuning.busy = Duration::ZERO;
    let store = SqliteStore::open(options).unwrap();
    let stranger = bed.stranger();
    stranger.execute_batch("BEGIN IMMEDIATE").unwrap();
    let answers: Vec<_> = (0..3).map(|n| queue(&store, join(n))).collect();
    for answer in &answers {
        assert_eq!(wait(answer), Err(StoreError::Unavailable));
    }
    stranger.execute_batch("ROLLBACK").unwrap();
    assert_eq!(wait(&queue(&store, join(4))), Ok(()));
    assert_eq!(users(&stranger), 1);
}

#[test]
fn a_full_queue_refuses_at_once() {
    let bed = Bed::new();
    let mut options = bed.options();
    options.tuning.writer.queue = 1;
    let store = SqliteStore::open(options).unwrap();
    let (release, _held) = hold(&store);
    let queued = queue(&store, join(1));
    assert_eq!(store.submit(job(join(2)).0), Err(StoreError::Overloaded));
    drop(release);
    assert_eq!(wait(&queued), Ok(()));
    assert_eq!(users(&bed.stranger()), 1);
}

/// Another process might keep the file for longer than the writer waits, and what had been written would be refused for the sake of
/// the one that failed.
#[test]
fn nobody_else_writes_between_what_is_undone_and_what_runs_again() {
    let bed = Bed::new();
    let options = bed.options();
    let (writer, _queue) = writer(&options);
    let stranger = bed.stranger();
    stranger.busy_timeout(Duration::ZERO).unwrap();
    writer.begin().unwrap();
    stranger.execute_batch("BEGIN IMMEDIATE").unwrap_err();
    let mut tx = SqliteTx::new(&writer.conn);
    join(1)(&mut tx).unwrap();
    // It goes with the transaction.
    writer.conn.pragma_update(None, "defer_foreign_keys", true).unwrap();
    writer.run_again(&mut [], &mut tx);
    let is_set = |name| writer.conn.pragma_query_value(None, name, |row| row.get::<_, bool>(0)).unwrap();
    assert!(is_set("defer_foreign_keys"), "it is the same transaction");
    stranger.execute_batch("BEGIN IMMEDIATE").unwrap_err();
    join(2)(&mut tx).unwrap();
    writer.commit().unwrap();
    assert_eq!(users(&stranger), 1);
    stranger.execute_batch("BEGIN IMMEDIATE").unwrap();
}

/// A writer that nobody has started.
fn writer(options: &OpenOptions) -> (Writer, SyncSender<Task>) {
    let (conn, _) = open::open(options).unwrap();
    let (queue, tasks) = sync_channel(1);
    let writer = Writer {
        conn,
        files: Arc::new(FileWatch::begin(&options.path).unwrap()),
        rescue: Rescue::NotMine,
        tasks,
        bounds: options.tuning.writer,
        cache: Arc::new(PrincipalCache::new(1)),
        page_limit: None,
        commits: Arc::default(),
        growth: Growth::new(i64::MAX, Arc::default()),
        version: None,
    };
    (writer, queue)
}

/// With the interval of production and a wait that costs no time: what another process wrote is seen after each.
#[test]
fn s17_an_idle_writer_looks_for_foreign_writes_four_times_a_second() {
    let bed = Bed::new();
    let options = bed.options();
    let (mut writer, _queue) = writer(&options);
    let (stranger, cached) = (bed.stranger(), Arc::clone(&writer.cache));
    writer.watch();
    let mut waits = 0;
    writer.run(|_, wait| {
        assert!(wait <= Duration::from_millis(250), "{wait:?}");
        assert_eq!(cached.foreign_writes(), waits);
        if waits == 3 {
            return Err(RecvTimeoutError::Disconnected);
        }
        waits += 1;
        stranger.execute_batch("UPDATE audit_retention SET before = before + 1").unwrap();
        Err(RecvTimeoutError::Timeout)
    });
    assert_eq!(waits, 3);
}
