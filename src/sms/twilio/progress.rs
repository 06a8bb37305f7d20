//! What became of a message, asked of Twilio where it cannot report it.

use std::sync::Arc;

use serde_json::Value;

use super::callback;
use super::client::Client;
use super::settings::TwilioSettings;
use crate::domain::message::{DeliveryReport, MessageState};

/// Asks Twilio.
pub(super) struct Progress {
    client: Arc<Client>,
    resource: &'static str,
}

impl Progress {
    /// Prepares the calls; nothing is connected.
    pub(super) fn new(settings: &TwilioSettings) -> Self {
        Self { client: Arc::new(Client::new(settings)), resource: settings.medium.resource() }
    }

    /// How far the message has come that Twilio calls `sid`; `None` where it does not say.
    pub(super) async fn ask(&self, sid: String) -> Option<DeliveryReport> {
        let (client, resource) = (Arc::clone(&self.client), format!("{}/{sid}", self.resource));
        let asked = tokio::task::spawn_blocking(move || client.get(&resource)).await.ok()?;
        let document = match asked {
            Ok((200, body)) => serde_json::from_slice(&body).unwrap_or_default(),
            Ok((status, _)) => {
                tracing::debug!(target: "freshk::sms", status, "Twilio does not say what became of a message");
                return None;
            }
            Err(error) => {
                tracing::debug!(target: "freshk::sms", error, "Twilio could not be asked what became of a message");
                return None;
            }
        };
        let (state, error_code) = read(&document, self.resource)?;
        Some(DeliveryReport { sender: None, sid: Some(sid), message: None, state, error_code })
    }
}

/// State and error code of a message or a call; `None` where its status is not documented.
fn read(document: &Value, resource: &str) -> Option<(MessageState, Option<i64>)> {
    let status = document.get("status")?.as_str()?;
    let state = if resource == "Calls" { callback::call_state(status) } else { callback::state(status) };
    Some((state?, document.get("error_code").and_then(Value::as_i64)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn messages_and_calls_say_how_far_they_have_come() {
        for (resource, document, expected) in [
            (
                "Messages",
                json!({ "status": "delivered", "error_code": null }),
                Some((MessageState::Delivered, None)),
            ),
            (
                "Messages",
                json!({ "status": "undelivered", "error_code": 30003 }),
                Some((MessageState::Undelivered, Some(30003))),
            ),
            ("Calls", json!({ "status": "no-answer" }), Some((MessageState::Undelivered, None))),
            ("Calls", json!({ "status": "completed" }), Some((MessageState::Delivered, None))),
            ("Messages", json!({ "status": "dancing" }), None),
            ("Messages", json!({ "status": 7 }), None),
            ("Messages", json!([]), None),
            ("Messages", Value::Null, None),
        ] {
            assert_eq!(read(&document, resource), expected, "{document}");
        }
    }
}
