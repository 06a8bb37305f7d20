//! What is told of a write once it is durable: its lines in the log, and the webhooks that something waits for them.

use super::*;
use crate::domain::EventKind;
use crate::telemetry::caught::Log;

/// The messages of lines that name an event, and their levels.
fn events(log: &Log) -> Vec<(String, String)> {
    let lines = log.take();
    let lines = lines.iter().map(|line| serde_json::from_str(line).unwrap());
    let events = lines.filter(|line: &serde_json::Value| line["fields"]["event"].is_string());
    let word = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
    events.map(|line| (word(&line["level"]), word(&line["fields"]["message"]))).collect()
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
    assert_eq!(events(&log), expected.map(|(level, message)| (level.to_owned(), message.to_owned())));
    let rows = bed.told(AuditEvent::TokenCreated).await.len();
    super::refresh::refresh(&bed, &login.tokens.refresh).await.unwrap();
    assert_eq!(events(&log), [("DEBUG".to_owned(), "tokens were issued".to_owned())]);
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
