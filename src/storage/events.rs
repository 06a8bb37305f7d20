//! What is asked of the events, and of the queues in which they wait for webhooks.
//!
//! For each webhook the events of one user stand in a queue of their own, in the order in which they happened; its first one is
//! tried, the others wait behind it. An event that concerns nobody known is a queue by itself.

use super::error::StoreResult;
use crate::domain::{Event, EventNumber, Timestamp, UserId};

/// A queue of a webhook: a user's id, or the number of an event that concerns nobody known, made negative.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct QueueId(pub i64);

impl QueueId {
    /// Where an event stands.
    pub fn of(number: EventNumber, event: &Event) -> Self {
        Self(event.user.map_or(-number.0, |UserId(id)| id))
    }
}

/// The first event of a queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Waiting {
    /// Its queue.
    pub queue: QueueId,
    /// Its number.
    pub number: EventNumber,
    /// The event.
    pub event: Event,
    /// How often it was tried.
    pub attempts: u32,
}

/// Which first events are wanted, due or not: those that were last tried before these instants.
#[derive(Clone, Copy, Debug)]
pub struct Failed {
    /// Of those that were tried [`FEW`](crate::domain::webhook::FEW) times at most.
    pub few: Timestamp,
    /// Of those that were tried more often; not later than `few`.
    pub many: Timestamp,
}

/// What came of an attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tried {
    /// When it ended.
    pub at: Timestamp,
    /// What the webhook answered, or why it did not, in a few words of ours.
    pub answer: String,
    /// When it is tried again; `None` where it was delivered.
    pub again: Option<Timestamp>,
}

/// How an event stands with a webhook.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivery {
    /// The webhook.
    pub webhook: String,
    /// How far it has come.
    pub state: DeliveryState,
    /// How often it was tried.
    pub attempts: u32,
    /// What came of the last attempt; `None` before the first.
    pub answer: Option<String>,
    /// When it was delivered or dropped.
    pub settled_at: Option<Timestamp>,
}

/// How far an event has come on its way to a webhook.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeliveryState {
    /// It is tried, or waits behind others.
    Waiting,
    /// The webhook has taken it.
    Delivered,
    /// It waited for too long, or too many waited.
    Dropped,
}

impl DeliveryState {
    /// The word in rows.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Delivered => "delivered",
            Self::Dropped => "dropped",
        }
    }

    /// Reads the word back.
    pub fn parse(word: &str) -> Option<Self> {
        [Self::Waiting, Self::Delivered, Self::Dropped].into_iter().find(|state| state.as_str() == word)
    }
}

/// What waits for a webhook.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Backlog {
    /// The webhook.
    pub webhook: String,
    /// How many events.
    pub waiting: u64,
    /// Since when the oldest does.
    pub since: Timestamp,
}

/// Reads events.
#[expect(clippy::missing_errors_doc, reason = "a read fails where the database does, and nowhere else")]
pub trait ReadEvents {
    /// The first events of a webhook's queues that are due at `now`, those that have been for the longest first, at most `rows`.
    fn due_events(&self, webhook: &str, now: Timestamp, rows: usize) -> StoreResult<Vec<Waiting>>;
    /// The first events of a webhook's queues that have failed so long ago, those that were tried the longest ago first, at most `rows`.
    fn failed_events(&self, webhook: &str, failed: &Failed, rows: usize) -> StoreResult<Vec<Waiting>>;
    /// When a webhook's next event is due; `None` where none waits.
    fn next_due(&self, webhook: &str) -> StoreResult<Option<Timestamp>>;
    /// Events with numbers below `before`, the newest first, at most `rows`; of this user alone where one is named.
    fn events_before(
        &self,
        before: EventNumber,
        of: Option<UserId>,
        rows: usize,
    ) -> StoreResult<Vec<(EventNumber, Event)>>;
    /// How an event stands with each webhook that is told of it, in the order of their names.
    fn deliveries_of(&self, event: EventNumber) -> StoreResult<Vec<Delivery>>;
    /// What waits, by webhook.
    fn backlogs(&self) -> StoreResult<Vec<Backlog>>;
    /// Since when a webhook is switched off; `None` where it is not.
    fn webhook_off(&self, webhook: &str) -> StoreResult<Option<Timestamp>>;
}

/// Writes events.
#[expect(clippy::missing_errors_doc, reason = "a write fails where the database does, and nowhere else")]
pub trait WriteEvents: ReadEvents {
    /// Writes an event, and has it wait for these webhooks.
    fn insert_event(&mut self, event: &Event, webhooks: &[&str]) -> StoreResult<EventNumber>;
    /// Notes an attempt at the first event of a queue. Where it was delivered, the next one of the queue is due.
    fn settle_event(&mut self, webhook: &str, waiting: &Waiting, tried: &Tried) -> StoreResult<()>;
    /// Has an event wait for a webhook again, or for the first time; it is due at `at`, unless others of its queue come first.
    fn replay_event(&mut self, webhook: &str, number: EventNumber, at: Timestamp) -> StoreResult<()>;
    /// Drops events that have waited for a webhook since before `before`, the oldest first, at most `rows`; gives how many.
    fn drop_events(
        &mut self,
        webhook: &str,
        before: Timestamp,
        at: Timestamp,
        rows: usize,
    ) -> StoreResult<usize>;
    /// Leaves of a user's events nothing but what happened, when, and the id.
    fn scrub_events(&mut self, user: UserId) -> StoreResult<()>;
    /// Switches a webhook off at an instant, or on again.
    fn switch_webhook(&mut self, webhook: &str, off: Option<Timestamp>) -> StoreResult<()>;
}
