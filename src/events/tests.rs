//! Events on their way to a webhook in memory, over a database in a temporary file.

use std::sync::{Condvar, Mutex};

use rusqlite::Connection;
use tempfile::TempDir;
use tokio::sync::watch;

use super::*;
use crate::clock::ManualClock;
use crate::domain::webhook::WebhookSecret;
use crate::domain::{Event, EventId, EventKind, UserId};
use crate::storage::Locks;
use crate::storage::events::{Tried, Waiting};
use crate::storage::sqlite::{OpenOptions, SqliteStore};
use crate::sync::lock;

/// How the webhook is called.
pub(super) const SHOP: &str = "shop";

/// A webhook that takes whatever it is sent, at once or when it is released.
#[derive(Default)]
pub(super) struct Sink {
    received: watch::Sender<usize>,
    is_held: Mutex<bool>,
    released: Condvar,
}

impl Sink {
    /// Holds the answers back.
    pub(super) fn hold(&self) {
        *lock(&self.is_held) = true;
    }

    /// Gives all answers.
    pub(super) fn release(&self) {
        *lock(&self.is_held) = false;
        self.released.notify_all();
    }

    /// Waits until so many have come.
    pub(super) async fn received(&self, count: usize) {
        // The sending half lives in `self`, so that waiting cannot fail.
        let _ = self.received.subscribe().wait_for(|received| *received >= count).await;
    }
}

impl Transport for Sink {
    fn post(&self, _: &Posting) -> Answer {
        self.received.send_modify(|received| *received += 1);
        drop(self.released.wait_while(lock(&self.is_held), |is_held| *is_held));
        Answer::Status(200)
    }
}

/// What sends, and what is around it.
pub(super) struct Bed {
    pub(super) store: Store,
    pub(super) clock: Arc<ManualClock>,
    pub(super) sink: Arc<Sink>,
    pub(super) metrics: Metrics,
    dir: TempDir,
}

impl Drop for Bed {
    fn drop(&mut self) {
        // A thread that waits would keep a test that fails from its end.
        self.sink.release();
    }
}

impl Bed {
    pub(super) fn new() -> Self {
        let (dir, clock) = (tempfile::tempdir().unwrap(), Arc::new(ManualClock::new()));
        let options = OpenOptions::new(dir.path().join("freshk.db"), clock.now());
        let engine = SqliteStore::open(options.with_read_wait(std::time::Duration::from_mins(1))).unwrap();
        Self { store: Store::new(engine), clock, sink: Arc::default(), metrics: Metrics::new(), dir }
    }

    pub(super) fn parts(&self) -> Parts {
        Parts {
            store: self.store.clone(),
            clock: self.clock.clone(),
            transport: self.sink.clone(),
            metrics: self.metrics.clone(),
            run: RunId::new([1; 8]),
        }
    }

    /// The database, beside the store.
    pub(super) fn raw(&self) -> Connection {
        Connection::open(self.dir.path().join("freshk.db")).unwrap()
    }

    /// Has an event of each of these users wait since an instant.
    pub(super) async fn tell(&self, users: impl IntoIterator<Item = u16>, at: Timestamp) {
        let events: Vec<_> = users.into_iter().map(|user| event(user, at)).collect();
        let write = self.store.write(Locks::none(), move |tx| {
            events.iter().try_for_each(|event| tx.insert_event(event, &[SHOP]).map(drop))
        });
        write.await.unwrap();
    }

    /// What is due now, by user.
    pub(super) async fn due(&self) -> Vec<Waiting> {
        let now = self.clock.now();
        let mut due = self.store.read(move |view| view.due_events(SHOP, now, 100)).await.unwrap();
        due.sort_by_key(|waiting| waiting.queue);
        due
    }

    /// Has all that is due fail now, so that it is due again at an instant.
    pub(super) async fn fail(&self, again: Timestamp) {
        let (due, at) = (self.due().await, self.clock.now());
        let write = self.store.write(Locks::none(), move |tx| {
            let tried = Tried { at, answer: "503".to_owned(), again: Some(again) };
            due.iter().try_for_each(|waiting| tx.settle_event(SHOP, waiting, &tried))
        });
        write.await.unwrap();
    }

    /// How many wait.
    pub(super) async fn waiting(&self) -> u64 {
        let backlogs = self.store.read(|view| view.backlogs()).await.unwrap();
        backlogs.first().map_or(0, |backlog| backlog.waiting)
    }
}

/// One that is told of everything.
pub(super) fn webhook() -> Webhook {
    let url = WebhookUrl::parse("https://api.example.com/freshk/").unwrap();
    let secret = WebhookSecret::parse("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
    Webhook { name: SHOP.to_owned(), url, secret, kinds: None }
}

fn event(user: u16, at: Timestamp) -> Event {
    let id = EventId::new([7; 16], user.into());
    Event { id, kind: EventKind::UserUpdated, at, user: Some(UserId(user.into())), data: None }
}

/// Lets whatever can go on do so.
pub(super) async fn rest() {
    for _ in 0..10 {
        tokio::task::yield_now().await;
    }
}

#[test]
fn only_2xx_is_taken_and_only_410_ends() {
    for (status, taken, gone, refused) in [
        (200, true, false, false),
        (204, true, false, false),
        (299, true, false, false),
        (301, false, false, false),
        (400, false, false, true),
        (404, false, false, true),
        (410, false, true, true),
        (429, false, false, false),
        (500, false, false, false),
        (503, false, false, false),
    ] {
        let answer = Answer::Status(status);
        let judged = (answer.is_taken(), answer.is_gone(), answer.is_refusal());
        assert_eq!(judged, (taken, gone, refused), "{status}");
    }
    let silent = Answer::Silent("TLS failed".to_owned());
    assert!(!silent.is_taken() && !silent.is_gone() && !silent.is_refusal());
}
