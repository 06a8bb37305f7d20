//! Twilio's status callbacks: whether one is signed, and what it reports.
//!
//! Source: Twilio, "Track the Message Status of Outbound Messages".

use serde_json::Value;

use super::signature;
use crate::domain::message::{DeliveryReport, MessageState};
use crate::domain::{MessageId, Secret};

/// A request to the callback URL.
#[derive(Debug)]
pub struct Callback<'a> {
    /// The configured public address with the request's path and query; never made from its `Host`.
    pub url: &'a str,
    /// `X-Twilio-Signature`; empty where it is missing.
    pub signature: &'a str,
    /// `Content-Type`; empty where it is missing.
    pub content_type: &'a str,
    /// The body as it came: a form, or JSON.
    pub body: &'a [u8],
}

impl Callback<'_> {
    /// Whether Twilio signed it with one of these Auth Tokens.
    pub fn is_signed<'t>(&self, auth_tokens: impl IntoIterator<Item = &'t Secret>) -> bool {
        auth_tokens.into_iter().any(|token| self.is_signed_with(token))
    }

    fn is_signed_with(&self, auth_token: &Secret) -> bool {
        if self.is_json() {
            return signature::verify_body(auth_token, self.url, self.body, self.signature);
        }
        let params: Vec<_> = form_urlencoded::parse(self.body).into_owned().collect();
        signature::verify(auth_token, self.url, &params, self.signature)
    }

    /// What it reports; `None` where a field is missing or the status is not known.
    pub fn report(&self) -> Option<DeliveryReport> {
        let fields = self.fields()?;
        let field =
            |name: &str| fields.iter().find(|(found, _)| found == name).map(|(_, value)| value.as_str());
        let query = self.url.split_once('?').map_or("", |(_, query)| query);
        let message = form_urlencoded::parse(query.as_bytes()).find(|(name, _)| name == "message");
        let (sid, state) = match field("CallSid") {
            Some(call) => (call, call_state(field("CallStatus")?)?),
            None => (field("MessageSid")?, state(field("MessageStatus")?)?),
        };
        Some(DeliveryReport {
            sender: None,
            sid: Some(sid.to_owned()),
            message: message.and_then(|(_, id)| id.parse().ok()).map(MessageId),
            state,
            error_code: field("ErrorCode").and_then(|code| code.parse().ok()),
        })
    }

    fn is_json(&self) -> bool {
        self.content_type.to_ascii_lowercase().starts_with("application/json")
    }

    /// Its fields, a number of JSON as its digits; `None` for JSON that is no object.
    fn fields(&self) -> Option<Vec<(String, String)>> {
        if !self.is_json() {
            return Some(form_urlencoded::parse(self.body).into_owned().collect());
        }
        let Value::Object(members) = serde_json::from_slice(self.body).ok()? else { return None };
        let text = |value: Value| match value {
            Value::String(text) => Some(text),
            other => other.as_i64().map(|number| number.to_string()),
        };
        Some(members.into_iter().filter_map(|(name, value)| Some((name, text(value)?))).collect())
    }
}

/// Reads a message's status as Twilio writes it; `None` for one that is not documented.
pub(super) fn state(status: &str) -> Option<MessageState> {
    Some(match status {
        "queued" | "accepted" | "scheduled" => MessageState::Queued,
        "sending" => MessageState::Sending,
        "sent" | "partially_delivered" => MessageState::Sent,
        "delivered" | "read" => MessageState::Delivered,
        "undelivered" => MessageState::Undelivered,
        "failed" | "canceled" => MessageState::Failed,
        _ => return None,
    })
}

/// Reads a call's status as Twilio writes it. Of a call that was answered the person has heard the code.
pub(super) fn call_state(status: &str) -> Option<MessageState> {
    Some(match status {
        "queued" => MessageState::Queued,
        "initiated" | "ringing" => MessageState::Sending,
        "in-progress" => MessageState::Sent,
        "completed" => MessageState::Delivered,
        "busy" | "no-answer" => MessageState::Undelivered,
        "failed" | "canceled" => MessageState::Failed,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(url: &str, content_type: &str, body: &str) -> Option<DeliveryReport> {
        Callback { url, signature: "", content_type, body: body.as_bytes() }.report()
    }

    #[test]
    fn a_form_and_a_json_document_report_the_same() {
        let url = "https://api.example.com/status/?message=7";
        let form = report(
            url,
            "application/x-www-form-urlencoded",
            "MessageSid=SM1&MessageStatus=undelivered&ErrorCode=30003",
        );
        let json = report(
            url,
            "application/json; charset=utf-8",
            r#"{"MessageSid":"SM1","MessageStatus":"undelivered","ErrorCode":30003}"#,
        );
        let expected = DeliveryReport {
            sender: None,
            sid: Some("SM1".to_owned()),
            message: Some(MessageId(7)),
            state: MessageState::Undelivered,
            error_code: Some(30003),
        };
        assert_eq!((form, json), (Some(expected.clone()), Some(expected)));
    }

    #[test]
    fn a_call_that_was_answered_is_delivered_and_one_that_was_not_is_lost() {
        use MessageState::{Delivered, Failed, Queued, Sending, Sent, Undelivered};
        let of = |status: &str| {
            let body = format!("CallSid=CA1&CallStatus={status}&AccountSid=AC1");
            report("https://api.example.com/?message=7", "", &body).map(|report| report.state)
        };
        let states =
            ["queued", "ringing", "in-progress", "completed", "busy", "no-answer", "failed", "x"].map(of);
        let expected = [Queued, Sending, Sent, Delivered, Undelivered, Undelivered, Failed].map(Some);
        assert_eq!((&states[..7], states[7]), (&expected[..], None));
    }

    #[test]
    fn an_unknown_status_or_a_missing_field_reports_nothing() {
        for body in ["", "MessageSid=SM1", "MessageStatus=sent", "MessageSid=SM1&MessageStatus=dancing"] {
            assert_eq!(report("https://api.example.com/", "", body), None, "{body}");
        }
        assert_eq!(report("https://api.example.com/", "application/json", "{"), None);
    }
}
