//! The sender of tests: keeps messages, and does what the test tells it to.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use tokio::sync::watch;

use crate::domain::message::MessageState;
use crate::sms::{Accepted, SendOutcome, Slot, SmsSender, TextMessage, Unavailable};
use crate::sync::lock;

/// Keeps every message and, unless told otherwise, accepts it. Clones share one memory.
#[derive(Clone)]
pub struct MemorySender(Arc<Memory>);

struct Memory {
    book: Mutex<Book>,
    /// How many messages have been handed over.
    arrivals: watch::Sender<usize>,
    held: watch::Sender<bool>,
}

#[derive(Default)]
struct Book {
    messages: Vec<TextMessage>,
    outcomes: VecDeque<SendOutcome>,
    refusals: VecDeque<Unavailable>,
}

struct MemorySlot(Arc<Memory>);

impl MemorySender {
    /// Empty, and willing.
    pub fn new() -> Self {
        Self(Arc::new(Memory {
            book: Mutex::default(),
            arrivals: watch::Sender::new(0),
            held: watch::Sender::new(false),
        }))
    }

    /// All messages in the order in which they were handed over, whatever became of them.
    pub fn messages(&self) -> Vec<TextMessage> {
        self.0.book().messages.clone()
    }

    /// The latest message of which this is so.
    pub fn latest(&self, is_so: impl Fn(&TextMessage) -> bool) -> Option<TextMessage> {
        self.0.book().messages.iter().rev().find(|message| is_so(message)).cloned()
    }

    /// Gives the coming sends these outcomes, one each; after them it accepts again.
    pub fn script(&self, outcomes: impl IntoIterator<Item = SendOutcome>) {
        self.0.book().outcomes.extend(outcomes);
    }

    /// Forgets the outcomes that no send has had.
    pub fn unscript(&self) {
        self.0.book().outcomes.clear();
    }

    /// Refuses the coming reservations so, one each; after them it grants them again.
    pub fn refuse(&self, refusals: impl IntoIterator<Item = Unavailable>) {
        self.0.book().refusals.extend(refusals);
    }

    /// Holds the coming sends back, their messages already kept, until [`Self::release`].
    pub fn hold(&self) {
        self.0.held.send_replace(true);
    }

    /// Lets all held sends end, and no longer holds any.
    pub fn release(&self) {
        self.0.held.send_replace(false);
    }

    /// Waits until `count` messages in all have been handed over.
    pub async fn arrived(&self, count: usize) {
        // The sending half lives in `self`, so that waiting cannot fail.
        let _ = self.0.arrivals.subscribe().wait_for(|arrivals| *arrivals >= count).await;
    }
}

impl Default for MemorySender {
    fn default() -> Self {
        Self::new()
    }
}

impl SmsSender for MemorySender {
    fn reserve(&self, _: u32) -> Result<Box<dyn Slot>, Unavailable> {
        match self.0.book().refusals.pop_front() {
            Some(refusal) => Err(refusal),
            None => Ok(Box::new(MemorySlot(Arc::clone(&self.0)))),
        }
    }

    fn deadline(&self) -> Duration {
        Duration::from_secs(10)
    }
}

impl Slot for MemorySlot {
    fn send(self: Box<Self>, message: TextMessage) -> BoxFuture<'static, SendOutcome> {
        async move { self.0.keep(message).await }.boxed()
    }
}

impl Memory {
    async fn keep(&self, message: TextMessage) -> SendOutcome {
        let (number, scripted) = {
            let mut book = self.book();
            book.messages.push(message);
            (book.messages.len(), book.outcomes.pop_front())
        };
        self.arrivals.send_modify(|arrivals| *arrivals += 1);
        let _ = self.held.subscribe().wait_for(|held| !held).await;
        scripted.unwrap_or_else(|| {
            SendOutcome::Accepted(Accepted {
                sid: Some(format!("SM{number:032x}")),
                state: MessageState::Queued,
                segments: Some(1),
            })
        })
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        lock(&self.book)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{Code, MessageId, PhoneNumber, Timestamp};
    use crate::sms::template::Template;
    use crate::sms::{Failure, TextKind};

    fn message(number: u32) -> TextMessage {
        TextMessage {
            id: MessageId(1),
            to: PhoneNumber::parse("+1234567890", 10).unwrap(),
            code: Code::from_number(number, 6),
            text: Template::default(),
            kind: TextKind::Code,
            expires_at: Timestamp::from_millis(0),
            patience: None,
        }
    }

    fn slot(sender: &MemorySender) -> Box<dyn Slot> {
        sender.reserve(1).ok().unwrap()
    }

    #[tokio::test]
    async fn it_keeps_messages_and_follows_the_script() {
        let sender = MemorySender::new();
        let lost = SendOutcome::Unknown(Failure::delivery("lost"));
        sender.script([lost.clone()]);
        assert_eq!(slot(&sender).send(message(1)).await, lost);
        assert!(matches!(slot(&sender).send(message(2)).await, SendOutcome::Accepted(_)));
        let codes: Vec<_> = sender.messages().iter().map(|m| m.code.digits().to_owned()).collect();
        assert_eq!(codes, ["000001", "000002"]);
    }

    #[tokio::test]
    async fn a_held_send_ends_when_released() {
        let sender = MemorySender::new();
        sender.hold();
        let sending = tokio::spawn(slot(&sender).send(message(1)));
        sender.arrived(1).await;
        assert!(!sending.is_finished());
        sender.release();
        assert!(matches!(sending.await.unwrap(), SendOutcome::Accepted(_)));
    }

    #[tokio::test]
    async fn reservations_are_refused_as_told() {
        let sender = MemorySender::new();
        sender.refuse([Unavailable::Overloaded(Duration::from_secs(1))]);
        assert_eq!(sender.reserve(1).err(), Some(Unavailable::Overloaded(Duration::from_secs(1))));
        assert!(sender.reserve(1).is_ok());
    }
}
