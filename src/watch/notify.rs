//! Telling of alarms: a URL that each is posted to, and one that is asked while all is well.

use std::time::Duration;

use serde_json::json;
use ureq::Agent;
use ureq::http::header;

use super::alarms::{Change, Turn};
use crate::domain::webhook::WebhookUrl;
use crate::outgoing;

/// For the lookup of the name, and again for connecting with TLS.
const CONNECT: Duration = Duration::from_secs(3);

/// For a whole call.
const DEADLINE: Duration = Duration::from_secs(10);

/// Where alarms go.
pub struct Notifier {
    agent: Agent,
    alerts: Option<WebhookUrl>,
    heartbeat: Option<WebhookUrl>,
}

impl Notifier {
    /// Prepares the client; nothing is connected.
    pub fn new(alerts: Option<WebhookUrl>, heartbeat: Option<WebhookUrl>) -> Self {
        Self { agent: outgoing::client(outgoing::settings(CONNECT, DEADLINE).build()), alerts, heartbeat }
    }

    /// Whether alarms are posted anywhere.
    pub const fn posts(&self) -> bool {
        self.alerts.is_some()
    }

    /// Whether anybody is told that all is well.
    pub const fn beats(&self) -> bool {
        self.heartbeat.is_some()
    }

    /// Posts an alarm; it waits for the answer.
    ///
    /// # Errors
    /// Why it was not taken, in words for the log; it can be told again.
    pub fn tell(&self, change: &Change) -> Result<(), String> {
        let Some(url) = &self.alerts else { return Ok(()) };
        let request = self.agent.post(url.as_str()).header(header::CONTENT_TYPE, "application/json");
        judge(request.send(document(change)))
    }

    /// Says that all is well; it waits for the answer.
    ///
    /// # Errors
    /// Why it was not heard, in words for the log.
    pub fn beat(&self) -> Result<(), String> {
        let Some(url) = &self.heartbeat else { return Ok(()) };
        judge(self.agent.get(url.as_str()).call())
    }
}

fn judge(answered: Result<ureq::http::Response<ureq::Body>, ureq::Error>) -> Result<(), String> {
    match answered {
        Ok(response) if response.status().is_success() => Ok(()),
        Ok(response) => Err(format!("it answered {}", response.status().as_u16())),
        Err(error) => Err(outgoing::words(&error)),
    }
}

/// An alarm in a sentence or two.
pub fn text(change: &Change) -> String {
    let rule = change.rule;
    match change.turn {
        Turn::Opened => format!("FreshK: {} ({}). {}", rule.summary, rule.name, rule.description),
        Turn::Closed => format!("FreshK: over: {} ({})", rule.summary, rule.name),
    }
}

/// What is posted: its `text` is what chat programs show.
fn document(change: &Change) -> String {
    let Change { rule, turn, since } = change;
    json!({
        "alert": rule.name,
        "state": turn.as_str(),
        "severity": rule.severity.as_str(),
        "summary": rule.summary,
        "description": rule.description,
        "since": since.iso(),
        "text": text(change),
    })
    .to_string()
}
