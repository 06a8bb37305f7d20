//! What is told of a write once it is durable: its lines in the log, and the webhooks that something waits for them.

use std::io::Write;
use std::sync::Mutex;

use super::*;
use crate::sync::lock;

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

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

#[tokio::test]
async fn each_line_of_the_trail_is_logged_and_so_is_a_refresh_that_leaves_none_there() {
    // Beside one subscriber alone, a test in another thread that has none decides what is logged.
    let _other = tracing::Dispatch::new(tracing::subscriber::NoSubscriber::new());
    let log = Log::default();
    let writer = log.clone();
    let lines = tracing_subscriber::fmt().json().with_max_level(tracing::Level::DEBUG);
    let _logging = tracing::subscriber::set_default(lines.with_writer(move || writer.clone()).finish());
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
