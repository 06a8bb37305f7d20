//! Memory over `PostgreSQL`: what takes rights away is heard of, whoever has done it, and what gives rights is not told.

use std::io::{BufRead as _, BufReader, Write as _};

use freshk::domain::quota::DAY;
use freshk::domain::session::EndReason;
use freshk::domain::{Session, SessionId, User};
use freshk::storage::{Principal, Store};

use crate::maintenance::horizon;
use crate::support::{Bed, Fixture as _, START, after, everything, phone, session, until};
use crate::{Postgres, postgres};

/// A user who is logged in, and known to memory.
struct Login {
    bed: Bed<Postgres>,
    user: User,
    open: Session,
}

/// What memory has, whether it may be believed or not having been read.
async fn known(store: &Store, id: &SessionId) -> Option<Principal> {
    let mut known = None;
    let suffices = |found: &Principal| {
        known = Some(found.clone());
        true
    };
    store.principal(id, suffices).await.unwrap();
    known
}

impl Login {
    async fn new() -> Self {
        let bed = Bed::<Postgres>::new().await;
        let (user, open) = bed
            .write(|tx| {
                let mut user = tx.insert_user(&phone(1), "retailer", START)?;
                user.phone_verified = true;
                tx.update_user(&mut user)?;
                let session = session(1, user.id);
                tx.insert_session(&session)?;
                Ok((user, session))
            })
            .await;
        let login = Self { bed, user, open };
        login.is_known().await;
        login
    }

    /// Waits until memory has them.
    async fn is_known(&self) {
        until("memory is filled", async || known(&self.bed.store, &self.open.id).await.is_some()).await;
    }

    /// Waits until what is answered has become so.
    async fn is_seen(&self, what: &str, is_so: impl Fn(Option<Principal>) -> bool) {
        until(what, async || is_so(self.bed.store.principal(&self.open.id, |_| true).await.unwrap())).await;
    }
}

/// What is done to a user.
type Change = fn(&mut User);

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn s17_what_another_server_takes_away_is_heard() {
    if postgres::server().is_none() {
        return;
    }
    let login = Login::new().await;
    let other = login.bed.fixture.open().await;
    let mut user = login.user.clone();
    let changes: [(&str, Change); 6] = [
        ("role", |user| user.role = "wholesaler".to_owned()),
        ("number", |user| user.phone = Some(phone(2))),
        ("name", |user| user.username = "user_2".to_owned()),
        ("deletion", |user| user.deletes_at = Some(after(9))),
        ("proof", |user| user.phone_verified = false),
        ("deactivation", |user| user.is_active = false),
    ];
    for (what, change) in changes {
        login.is_known().await;
        change(&mut user);
        let next = user.clone();
        let write = other.write(everything(), move |tx| {
            let mut next = next.clone();
            tx.update_user(&mut next).map(|()| next)
        });
        user = write.await.unwrap();
        let now = user.clone();
        login.is_seen(what, move |seen| *seen.unwrap().user == now).await;
    }
    login.is_known().await;
    let ended = login.open.clone().ended(after(8), EndReason::Logout);
    other.write(everything(), move |tx| tx.update_session(&mut ended.clone())).await.unwrap();
    login.is_seen("the end", |seen| seen.unwrap().session.ended.is_some()).await;
    login.is_known().await;
    let id = user.id;
    other.write(everything(), move |tx| tx.delete_user(id)).await.unwrap();
    login.is_seen("the erasure", |seen| seen.is_none()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn s17_what_is_changed_by_sql_is_heard_and_a_table_that_was_emptied_at_once_is_noticed() {
    if postgres::server().is_none() {
        return;
    }
    let login = Login::new().await;
    let schema = &login.bed.fixture.schema;
    schema.execute("UPDATE users SET is_active = false");
    login.is_seen("the deactivation", |seen| !seen.unwrap().user.is_active).await;
    login.is_known().await;
    schema.sql("TRUNCATE sessions CASCADE").unwrap();
    login.is_seen("that no session is there", |seen| seen.is_none()).await;
}

/// What is told while `act` runs, without the words that servers send to themselves.
async fn told(schema: &postgres::Schema, act: impl Future<Output = ()>) -> Vec<String> {
    let mut listener = schema.session();
    let mut input = listener.stdin.take().unwrap();
    let mut lines = BufReader::new(listener.stdout.take().unwrap()).lines();
    writeln!(input, "LISTEN {}; SELECT 'listening';", schema.name()).unwrap();
    assert_eq!(lines.next().unwrap().unwrap(), "listening");
    act.await;
    writeln!(input, "SELECT 'done';").unwrap();
    drop(input);
    let told = lines.map(Result::unwrap).filter_map(|line| {
        let (_, word) = line.split_once("with payload \"")?;
        word.split_once('"').map(|(word, _)| word.to_owned()).filter(|word| !word.starts_with('='))
    });
    let told = told.collect();
    listener.wait().unwrap();
    told
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn logins_and_refreshes_tell_nobody_and_each_end_is_told_once() {
    if postgres::server().is_none() {
        return;
    }
    let bed = Bed::<Postgres>::new().await;
    let schema = bed.fixture.schema.clone();
    let mut logged_in = None;
    let login = async {
        let (user, open) = bed
            .write(|tx| {
                let mut user = tx.insert_user(&phone(1), "retailer", START)?;
                user.phone_verified = true;
                tx.update_user(&mut user)?;
                let mut open = session(1, user.id);
                tx.insert_session(&open)?;
                tx.touch_session(&open.id, 0, after(1))?;
                open.generation = 1;
                open.refresh_expires_at = open.refresh_expires_at + DAY;
                tx.update_session(&mut open)?;
                tx.note_seen(user.id, after(2))?;
                Ok((user, open))
            })
            .await;
        logged_in = Some((user, open));
    };
    assert_eq!(told(&schema, login).await, Vec::<String>::new());
    let (user, open) = logged_in.unwrap();
    let name = open.id.clone();
    let end = async {
        let mut ended = open.ended(after(8), EndReason::Logout);
        bed.write(move |tx| tx.update_session(&mut ended)).await;
    };
    assert_eq!(told(&schema, end).await, [format!("s{name}")]);
    let id = user.id;
    let off = async {
        let mut off = User { is_active: false, ..user.clone() };
        let mut on = bed.write(move |tx| tx.update_user(&mut off).map(|()| off)).await;
        on.is_active = true;
        bed.write(move |tx| tx.update_user(&mut on)).await;
    };
    assert_eq!(told(&schema, off).await, [format!("u{id}")]);
    while bed.write(|tx| tx.purge(&horizon(START + 40 * DAY), 9)).await {}
    let erased = async { assert_eq!(bed.write(move |tx| tx.delete_user(id)).await, Some(0)) };
    assert_eq!(told(&schema, erased).await, [format!("u{id}")]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn s17_what_ended_while_nobody_listened_is_not_believed_afterwards() {
    if postgres::server().is_none() {
        return;
    }
    let login = Login::new().await;
    let schema = &login.bed.fixture.schema;
    // The end is not told, and the connection that would not have heard of it is gone by then.
    let cut = format!(
        "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity \
         WHERE query LIKE '%pg_notify(''{}''%' AND pid <> pg_backend_pid(); \
         SET session_replication_role = replica; UPDATE sessions SET ended_at = 1, end_reason = 'logout'",
        schema.name()
    );
    assert_eq!(schema.sql(&cut).unwrap(), ["t"]);
    login.is_seen("the end", |seen| seen.unwrap().session.ended.is_some()).await;
    login.is_known().await;
    let seen = known(&login.bed.store, &login.open.id).await.unwrap();
    assert!(seen.session.ended.is_some(), "memory was filled anew");
}
