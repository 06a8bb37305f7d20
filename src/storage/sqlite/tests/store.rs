use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::sync::Arc;

use futures_util::FutureExt as _;

use super::*;
use crate::domain::User;
use crate::domain::audit::{Actor, AuditEvent};
use crate::domain::session::EndReason;
use crate::files::beside;
use crate::storage::sqlite::SqliteStore;
use crate::storage::sqlite::checkpoint::LogBounds;
use crate::storage::sqlite::connect::{self, Role};
use crate::storage::sqlite::tests::{hold, queue, wait};
use crate::storage::{Locks, Store, StoreError};

/// Waits until something has become true, though not for ever.
async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    for _ in 0..6000 {
        if holds() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("not within a minute: {what}");
}

/// A user who is logged in.
async fn login(store: &Store, number: u32) -> (User, Session) {
    let insert = move |tx: &mut dyn Tx| {
        let user = tx.insert_user(&phone(number), "retailer", START)?;
        let session = session(u8::try_from(number).unwrap(), user.id);
        tx.insert_session(&session)?;
        Ok((user, session))
    };
    store.write(Locks::none(), insert).await.unwrap()
}

#[tokio::test]
async fn s17_an_own_write_is_seen_by_the_next_look() {
    let bed = Bed::new();
    let engine = bed.store();
    let store = Store::new(engine.clone());
    assert!(store.principal(&session(1, UserId(1)).id, |_| true).await.unwrap().is_none());
    let (user, session) = login(&store, 1).await;
    for round in 0..10 {
        let seen = store.principal(&session.id, |_| true).await.unwrap().unwrap();
        assert_eq!((seen.user.is_active, seen.session.ended.is_some()), (round % 2 == 0, false));
        assert!(engine.cache.principal(&session.id).is_some(), "not kept");
        let changed = User { is_active: !seen.user.is_active, ..User::clone(&seen.user) };
        store
            .write(Locks::none().user(user.id), move |tx| tx.update_user(&mut changed.clone()))
            .await
            .unwrap();
    }
    let ended = session.clone().ended(after(1), EndReason::Logout);
    store.write(Locks::none().user(user.id), move |tx| tx.update_session(&mut ended.clone())).await.unwrap();
    let seen = store.principal(&session.id, |_| true).await.unwrap().unwrap();
    assert!(seen.session.ended.is_some());
    assert_eq!(store.foreign_writes(), 0);
}

/// The first look for foreign writes must not come after the first reading.
#[tokio::test]
async fn s17_what_another_process_wrote_before_the_first_own_write_is_seen() {
    let bed = Bed::new();
    let earlier = Store::new(bed.store());
    let (_, session) = login(&earlier, 1).await;
    earlier.close().await;
    let mut options = bed.options();
    // It looks before an own write, and not by itself.
    options.tuning.writer.watch = Duration::from_hours(1);
    let store = Store::new(SqliteStore::open(options).unwrap());
    assert!(store.principal(&session.id, |_| true).await.unwrap().unwrap().user.is_active);
    bed.stranger().execute_batch("UPDATE users SET is_active = 0").unwrap();
    store.write(Locks::none(), join(2)).await.unwrap();
    assert!(!store.principal(&session.id, |_| true).await.unwrap().unwrap().user.is_active);
}

/// The lines before the one that fails would stay.
#[test]
fn a_write_fails_that_makes_nothing_of_lines_which_could_not_be_written() {
    let bed = Bed::new();
    let engine = bed.store();
    bed.stranger()
        .execute_batch(
            "CREATE TRIGGER odd BEFORE INSERT ON audit WHEN new.user_id = 7 BEGIN SELECT raise(FAIL, 'odd'); END",
        )
        .unwrap();
    let actor = Arc::new(Actor::system(START));
    let lines: Vec<_> = (5..9).map(|user| actor.did(AuditEvent::UserUpdated).user(UserId(user))).collect();
    let (release, _held) = hold(&engine);
    let before = queue(&engine, join(1));
    let torn = queue(&engine, move |tx| {
        assert!(tx.audit(&lines).is_err());
        join(2)(tx)
    });
    let after = queue(&engine, join(3));
    drop(release);
    assert_eq!(wait(&torn), Err(StoreError::Broken));
    wait(&before).unwrap();
    wait(&after).unwrap();
    let written = |sql| bed.stranger().query_row(sql, [], |row| row.get::<_, i64>(0)).unwrap();
    assert_eq!(written("SELECT count(*) FROM audit"), 0);
    assert_eq!(users(&bed.stranger()), 2);
}

/// A store whose log is too long past `bounds`, and where that log is.
fn with_log(bed: &Bed, bounds: LogBounds) -> (Store, PathBuf) {
    let mut options = bed.options();
    options.tuning.log = bounds;
    let engine = SqliteStore::open(options).unwrap();
    let log = beside(engine.path(), "-wal");
    (Store::new(engine), log)
}

#[tokio::test]
async fn a_checkpoint_empties_a_log_that_has_grown() {
    let bed = Bed::new();
    let (store, log) = with_log(&bed, LogBounds { frames: i64::MAX, bytes: 1 });
    store.write(Locks::none(), join(1)).await.unwrap();
    assert!(log.metadata().unwrap().len() > 0);
    store.checkpoint().await.unwrap();
    assert_eq!(log.metadata().unwrap().len(), 0);
    store.write(Locks::none(), join(2)).await.unwrap();
    assert_eq!(users(&bed.stranger()), 2);
}

#[tokio::test]
async fn a_checkpoint_has_the_writer_begin_a_long_log_anew() {
    let bed = Bed::new();
    let (store, log) = with_log(&bed, LogBounds { frames: 0, bytes: u64::MAX });
    let mut sizes = Vec::new();
    for n in 1..=3 {
        store.write(Locks::none(), join(n)).await.unwrap();
        sizes.push(log.metadata().unwrap().len());
        store.checkpoint().await.unwrap();
    }
    assert_eq!(sizes[1..], [sizes[0]; 2], "written over, not after");
    assert_eq!(users(&bed.stranger()), 3);
}

/// Whether somebody would be told now that the log is long. What a write makes of it is known once the next one is answered.
async fn is_long(store: &Store) -> bool {
    store.write(Locks::none(), |_| Ok(())).await.unwrap();
    store.long_log().now_or_never().is_some()
}

#[tokio::test]
async fn a_log_is_long_once_for_each_so_many_frames() {
    let bed = Bed::new();
    let store = with_log(&bed, LogBounds { frames: 12, bytes: u64::MAX }).0;
    let mut grown = Vec::new();
    for round in 0..4 {
        if round == 3 {
            // Begun anew, it is long when it has grown as far again, and not when it is longer than ever.
            store.checkpoint().await.unwrap();
        }
        let mut writes = 0;
        while !is_long(&store).await {
            store.write(Locks::none(), join(100 * round + writes)).await.unwrap();
            writes += 1;
        }
        assert!(!is_long(&store).await, "told twice");
        grown.push(writes);
    }
    // A user takes a few pages, none of which is written more than once a commit.
    assert!(grown.iter().all(|writes| (2..=7).contains(writes)), "{grown:?}");
}

#[tokio::test]
async fn a_log_that_a_reader_uses_is_left_for_the_next_checkpoint() {
    let bed = Bed::new();
    let (store, log) = with_log(&bed, LogBounds { frames: i64::MAX, bytes: 1 });
    store.write(Locks::none(), join(1)).await.unwrap();
    let stranger = bed.stranger();
    stranger.execute_batch("BEGIN").unwrap();
    assert_eq!(users(&stranger), 1);
    store.write(Locks::none(), join(2)).await.unwrap();
    store.checkpoint().await.unwrap();
    assert!(log.metadata().unwrap().len() > 0);
    assert_eq!(users(&stranger), 1, "the snapshot stands");
    stranger.execute_batch("COMMIT").unwrap();
    store.checkpoint().await.unwrap();
    assert_eq!(log.metadata().unwrap().len(), 0);
    assert_eq!(users(&stranger), 2);
}

#[tokio::test]
async fn a_checkpoint_empties_a_log_in_which_another_process_may_have_erased_somebody() {
    let bed = Bed::new();
    let (store, log) = with_log(&bed, LogBounds { frames: i64::MAX, bytes: u64::MAX });
    store.write(Locks::none(), join(1)).await.unwrap();
    store.checkpoint().await.unwrap();
    assert!(log.metadata().unwrap().len() > 0, "nobody was erased");
    bed.stranger().execute_batch("DELETE FROM users").unwrap();
    store.write(Locks::none(), join(2)).await.unwrap();
    store.checkpoint().await.unwrap();
    assert_eq!(log.metadata().unwrap().len(), 0);
}

#[tokio::test]
async fn closing_writes_what_is_queued_and_refuses_what_comes_later() {
    let bed = Bed::new();
    let engine = bed.store();
    let store = Store::new(engine.clone());
    let (release, _held) = hold(&engine);
    let queued = queue(&engine, join(1));
    let closing = tokio::spawn({
        let store = store.clone();
        async move { store.close().await }
    });
    until("the queue is closed", || engine.queue.read().unwrap().is_none()).await;
    assert_eq!(store.write(Locks::none(), join(2)).await, Err(StoreError::Unavailable));
    drop(release);
    closing.await.unwrap();
    assert_eq!(wait(&queued), Ok(()));
    assert_eq!(users(&bed.stranger()), 1);
    let log = beside(engine.path(), "-wal");
    assert!(!log.exists() || log.metadata().unwrap().len() == 0);
    store.close().await;
}

#[tokio::test]
async fn dropping_the_store_ends_its_writer_and_writes_what_is_queued() {
    let bed = Bed::new();
    let engine = bed.store();
    let queued = queue(&engine, join(1));
    let writers = Arc::downgrade(&engine.cache);
    drop(engine);
    assert_eq!(wait(&queued), Ok(()));
    until("the writer has ended", || writers.strong_count() == 0).await;
}

#[tokio::test]
async fn s31_all_files_are_their_owners_alone() {
    let bed = Bed::new();
    let store = Store::new(bed.store());
    store.write(Locks::none(), join(1)).await.unwrap();
    let files: Vec<_> = bed.dir.path().read_dir().unwrap().map(|entry| entry.unwrap()).collect();
    assert_eq!(files.len(), 3, "{files:?}");
    for file in files {
        assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600, "{file:?}");
    }
}

#[tokio::test]
async fn s28_every_connection_reports_its_pragmas_back() {
    fn report(conn: &Connection) -> rusqlite::Result<Vec<String>> {
        let pragmas = ["journal_mode", "synchronous", "busy_timeout", "foreign_keys", "trusted_schema"];
        let value = |name| conn.pragma_query_value(None, name, |row| row.get::<_, rusqlite::types::Value>(0));
        pragmas.into_iter().map(|name| Ok(format!("{name}={:?}", value(name)?))).collect()
    }
    const EXPECTED: [&str; 5] = [
        "journal_mode=Text(\"wal\")",
        "synchronous=Integer(2)",
        "busy_timeout=Integer(5000)",
        "foreign_keys=Integer(1)",
        "trusted_schema=Integer(0)",
    ];
    let bed = Bed::new();
    let (writer, _) = open::open(&bed.options()).unwrap();
    assert_eq!(report(&writer).unwrap(), EXPECTED);
    let checkpoints: i64 = writer.pragma_query_value(None, "wal_autocheckpoint", |row| row.get(0)).unwrap();
    assert_eq!(checkpoints, 0);
    let checkpoint = connect::open(&bed.options().path, Role::Checkpoint, Duration::from_secs(5)).unwrap();
    assert_eq!(report(&checkpoint).unwrap(), EXPECTED);

    let engine = bed.store();
    // All at once, so that each has a connection of its own.
    let all = Arc::new(std::sync::Barrier::new(4));
    let readers = (0..4).map(|_| {
        let all = Arc::clone(&all);
        engine.readers.run(move |conn| {
            all.wait();
            assert!(conn.execute_batch("DELETE FROM users").is_err(), "a reader could write");
            report(conn)
        })
    });
    for reported in futures_util::future::join_all(readers).await {
        assert_eq!(reported.unwrap(), EXPECTED);
    }
}

#[tokio::test]
async fn a_checkpoint_under_way_does_not_keep_the_writer_of_a_closed_store() {
    let bed = Bed::new();
    let engine = bed.store();
    // What a checkpoint has.
    let writer = engine.queue.read().unwrap().as_ref().map(Arc::downgrade).unwrap();
    engine.close().await;
    assert!(writer.upgrade().is_none());
}
