//! Takes events to the webhooks: at least once, those of one user in their order, those of several side by side.
//!
//! Events are rows that the flows wrote; here they are read, sent, and noted as delivered, in small writes of their own. What is
//! slow here delays nobody there. Of several servers of one database the oldest that lives sends.

use std::fmt;
use std::sync::Arc;

use crate::clock::Clock;
use crate::domain::webhook::WebhookUrl;
use crate::domain::{RunId, Timestamp, Webhook};
use crate::metrics::Metrics;
use crate::storage::Store;

mod dispatcher;
pub mod http;
mod outlet;

pub use dispatcher::Dispatcher;

/// What the sending is made of; wiring fills it in.
pub struct Parts {
    /// The database.
    pub store: Store,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Posts.
    pub transport: Arc<dyn Transport>,
    /// Counts.
    pub metrics: Metrics,
    /// This run of the server.
    pub run: RunId,
}

/// Posts to a webhook.
pub trait Transport: Send + Sync + 'static {
    /// Sends, and waits for the answer, for [`DEADLINE`](crate::domain::webhook::DEADLINE) at most. Blocks its thread.
    fn post(&self, posting: &Posting) -> Answer;
}

/// A message to a webhook, signed.
#[derive(Clone, Debug)]
pub struct Posting {
    /// Where it goes.
    pub url: WebhookUrl,
    /// `webhook-id`
    pub id: String,
    /// `webhook-timestamp`, in whole seconds.
    pub at: Timestamp,
    /// `webhook-signature`
    pub signature: String,
    /// JSON.
    pub body: String,
}

impl Posting {
    /// Signs a body; `wall` is what the wall clock says, which the receiver compares with its own.
    pub fn new(webhook: &Webhook, id: &str, body: String, wall: Timestamp) -> Self {
        let signature = webhook.secret.sign(id, wall, &body);
        Self { url: webhook.url.clone(), id: id.to_owned(), at: wall, signature, body }
    }
}

/// What came of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The webhook answered with this status.
    Status(u16),
    /// It did not; why, in words of ours.
    Silent(String),
}

impl Answer {
    /// Whether the webhook has taken it.
    pub fn is_taken(&self) -> bool {
        matches!(self, Self::Status(200..=299))
    }

    /// Whether the webhook wants nothing more.
    pub fn is_gone(&self) -> bool {
        *self == Self::Status(410)
    }

    /// Whether the webhook works and refuses this message.
    pub fn is_refusal(&self) -> bool {
        matches!(self, Self::Status(status @ 400..=499) if ![408, 425, 429].contains(status))
    }
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Status(status) => status.fmt(f),
            Self::Silent(why) => why.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests;
