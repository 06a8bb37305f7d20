//! What is told of a write once it is durable: its lines in the log, and the webhooks that something waits for them.

use std::io::Write;
use std::sync::Mutex;

use super::*;
use crate::domain::EventKind;
use crate::sync::lock;

/// What is logged, as lines of JSON.
#[derive(Clone, Default)]
pub(super) struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        lock(&self.0).extend(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Log {
    /// Begins to catch what this thread logs, until what is given beside it is dropped.
    pub(super) fn catch() -> (Self, Catching) {
        // Beside one subscriber alone, a test in another thread that has none decides what is logged.
        let other = tracing::Dispatch::new(tracing::subscriber::NoSubscriber::new());
        let log = Self::default();
        let writer = log.clone();
        let lines = tracing_subscriber::fmt().json().with_max_level(tracing::Level::DEBUG);
        let lines = lines.with_writer(move || writer.clone()).finish();
        (log, Catching { _logging: tracing::subscriber::set_default(lines), _other: other })
    }

    /// How many lines have some words.
    pub(super) fn count(&self, words: &str) -> usize {
        std::str::from_utf8(&lock(&self.0)).unwrap().lines().filter(|line| line.contains(words)).count()
    }

    /// The messages of its lines that name an event, and their levels.
    fn take(&self) -> Vec<(String, String)> {
        let bytes = std::mem::take(&mut *lock(&self.0));
        let lines =
            std::str::from_utf8(&bytes).unwrap().lines().map(|line| serde_json::from_str(line).unwrap());
        let events = lines.filter(|line: &serde_json::Value| line["fields"]["event"].is_string());
        let word = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
        events.map(|line| (word(&line["level"]), word(&line["fields"]["message"]))).collect()
    }
}

/// Catches as long as it lives.
pub(super) struct Catching {
    _logging: tracing::subscriber::DefaultGuard,
    _other: tracing::Dispatch,
}

#[tokio::test]
async fn each_line_of_the_trail_is_logged_and_so_is_a_refresh_that_leaves_none_there() {
    let (log, _logging) = Log::catch();
    let bed = Bed::new().await;
    let login = bed.log_in(1).await;
    let expected = [
        ("DEBUG", "a code was requested"),
        ("DEBUG", "a user was created"),
        ("INFO", "the provider accepted an SMS"),
        ("INFO", "the right code was given"),
        ("DEBUG", "a session began"),
        ("DEBUG", "tokens were issued"),
    ];
    assert_eq!(log.take(), expected.map(|(level, message)| (level.to_owned(), message.to_owned())));
    let rows = bed.told(AuditEvent::TokenCreated).await.len();
    super::refresh::refresh(&bed, &login.tokens.refresh).await.unwrap();
    assert_eq!(log.take(), [("DEBUG".to_owned(), "tokens were issued".to_owned())]);
    assert_eq!(bed.told(AuditEvent::TokenCreated).await.len(), rows);
}

#[tokio::test]
async fn the_webhooks_are_woken_by_a_write_that_tells_them_something_and_by_no_other() {
    let bed = Bed::new().await;
    let mut written = bed.means.outbox.watch();
    bed.request(1).await.result.unwrap();
    assert!(!written.has_changed().unwrap());
    bed.verify(1, &bed.code()).await.result.unwrap();
    assert!(written.has_changed().unwrap());
    written.mark_unchanged();
    bed.request(1).await.result.unwrap();
    assert!(!written.has_changed().unwrap());
}

#[test]
fn a_webhook_is_told_of_what_it_wants_alone() {
    let [webhook] = webhooks();
    let webhook = Webhook { kinds: Some(vec![EventKind::UserCreated]), ..webhook };
    let wants = |webhooks: &[Webhook], kind| {
        Outbox::new(webhooks, Arc::new(SeededRandom::new(1))).begin().wants(kind)
    };
    let webhooks = [webhook];
    assert!(wants(&webhooks, EventKind::UserCreated));
    assert!(!wants(&webhooks, EventKind::UserDeleted));
    assert!(!wants(&[], EventKind::UserCreated));
}
