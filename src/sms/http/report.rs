//! What the operator's program reports of a message that it took: a signed JSON POST.

use serde_json::Value;

use crate::domain::MessageId;
use crate::domain::message::{DeliveryReport, MessageState};

/// Reads a report of the sender's from its body, `{"message_id", "status", "error_code"?}`; `None` where a field is missing or
/// the status is not known.
pub fn read(sender: &str, body: &[u8]) -> Option<DeliveryReport> {
    let report: Value = serde_json::from_slice(body).ok()?;
    let id = report.get("message_id")?;
    let id = id.as_i64().or_else(|| id.as_str()?.parse().ok())?;
    let state = match report.get("status")?.as_str()? {
        "sent" => MessageState::Sent,
        "delivered" => MessageState::Delivered,
        "undelivered" => MessageState::Undelivered,
        "failed" => MessageState::Failed,
        _ => return None,
    };
    let error_code = report.get("error_code").and_then(Value::as_i64);
    let (sender, message) = (Some(sender.to_owned()), Some(MessageId(id)));
    Some(DeliveryReport { sender, sid: None, message, state, error_code })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_names_the_message_and_how_far_it_has_come() {
        let expected = DeliveryReport {
            sender: Some("local".to_owned()),
            sid: None,
            message: Some(MessageId(7)),
            state: MessageState::Undelivered,
            error_code: Some(3),
        };
        for id in ["7", "\"7\""] {
            let body = format!(r#"{{"message_id":{id},"status":"undelivered","error_code":3}}"#);
            assert_eq!(read("local", body.as_bytes()), Some(expected.clone()));
        }
        for bad in [
            "",
            "[]",
            "{}",
            r#"{"message_id":"x","status":"sent"}"#,
            r#"{"message_id":1}"#,
            r#"{"message_id":1,"status":"queued up"}"#,
        ] {
            assert_eq!(read("local", bad.as_bytes()), None, "{bad}");
        }
    }
}
