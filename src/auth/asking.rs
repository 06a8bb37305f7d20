//! Asking providers what became of messages, where they cannot report it: without a public address for their callbacks.
//!
//! The server that sent a message asks, and no other one. What an ended server had in mind its next start takes over.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::Semaphore;

use super::lookup::living;
use super::settle::Outcome;
use super::{Auth, AuthError};
use crate::domain::message::{DeliveryReport, Message};
use crate::domain::{MessageId, Mode, RunId, Timestamp, Via};
use crate::sms::SendOutcome;
use crate::sms::route::Routed;
use crate::storage::{StoreResult, View};
use crate::sync::lock;

/// The first pause; each further one is twice as long.
const FIRST_PAUSE: Duration = Duration::from_secs(2);

/// The longest pause.
const LONGEST_PAUSE: Duration = Duration::from_mins(1);

/// After this time a message is asked after no more.
const PATIENCE: Duration = Duration::from_mins(10);

/// Messages that are asked after at once, and in a round.
pub const ASKED_AT_ONCE: usize = 10;

/// How long a question waits for its place among [`ASKED_AT_ONCE`].
const SLOT_PATIENCE: Duration = Duration::from_secs(10);

/// How many messages are asked after at most; of further ones nothing is known.
const MOST: usize = 10_000;

/// Rows that one read takes.
const PAGE: usize = 200;

/// Messages to ask after, by when and the number of the message.
pub(super) struct Questions {
    waiting: Mutex<BTreeMap<(Timestamp, MessageId), Question>>,
    slots: Arc<Semaphore>,
}

/// A message to ask after.
#[derive(Clone, Debug)]
struct Question {
    via: Via,
    sid: String,
    /// When nobody asks any more.
    until: Timestamp,
    /// The pause before this time.
    pause: Duration,
}

impl Default for Questions {
    fn default() -> Self {
        Self { waiting: Mutex::default(), slots: Arc::new(Semaphore::new(ASKED_AT_ONCE)) }
    }
}

impl Questions {
    fn add(&self, at: Timestamp, message: MessageId, question: Question) {
        let mut waiting = lock(&self.waiting);
        if waiting.len() < MOST && at <= question.until {
            waiting.insert((at, message), question);
        }
    }

    /// Takes the next one whose time has come.
    fn take(&self, now: Timestamp) -> Option<(MessageId, Question)> {
        let mut waiting = lock(&self.waiting);
        let first = waiting.first_entry().filter(|first| first.key().0 <= now)?;
        let ((_, message), question) = first.remove_entry();
        Some((message, question))
    }
}

impl Question {
    fn new(via: Via, sid: String, sent_at: Timestamp) -> Self {
        Self { via, sid, until: sent_at + PATIENCE, pause: FIRST_PAUSE }
    }
}

impl Auth {
    /// Has a message be asked after, where its provider took it and cannot report what becomes of it.
    pub(super) fn ask_after(&self, message: Option<MessageId>, outcome: &Outcome) {
        let Outcome::Sent(Routed { outcome: SendOutcome::Accepted(accepted), via }) = outcome else { return };
        let (Some(message), Some(sid)) = (message, &accepted.sid) else { return };
        if self.senders(Mode::Production).is_asked(via) {
            let now = self.parts.clock.now();
            let question = Question::new(via.clone(), sid.clone(), now);
            self.questions.add(now + FIRST_PAUSE, message, question);
        }
    }

    /// Asks after the messages whose time has come, at most [`ASKED_AT_ONCE`], each in a task of its own. What is given waits for
    /// all of them, and need not be waited for.
    pub fn ask(self: &Arc<Self>) -> impl Future<Output = ()> + use<> {
        let now = self.parts.clock.now();
        let mut asking = Vec::new();
        for _ in 0..ASKED_AT_ONCE {
            let Ok(slot) = Arc::clone(&self.questions.slots).try_acquire_owned() else { break };
            let Some((message, question)) = self.questions.take(now) else { break };
            let auth = self.clone();
            asking.push(self.tasks.spawn(async move {
                auth.ask_once(message, question).await;
                drop(slot);
            }));
        }
        async move {
            for one in asking {
                // One that died has told of it.
                drop(one.await);
            }
        }
    }

    /// Asks, and has the message be asked after again unless it has come to its end.
    async fn ask_once(self: &Arc<Self>, message: MessageId, question: Question) {
        let report = self.senders(Mode::Production).ask(&question.via, &question.sid).await;
        if let Some(report) = report {
            // By its number it is found before the write that says what the provider calls it.
            let report = DeliveryReport { message: Some(message), ..report };
            let is_over = report.state.is_end();
            match self.note_report(report, None).await {
                Ok(()) if is_over => return,
                Ok(()) => {}
                Err(error) => {
                    tracing::warn!(%error, message_id = message.0, "what became of a message could not be written");
                }
            }
        }
        let now = self.parts.clock.now();
        let again = Question { pause: (2 * question.pause).min(LONGEST_PAUSE), ..question };
        self.questions.add(now + again.pause, message, again);
    }

    /// Asks after a message before anything is decided by what is known of it, where its provider cannot report it.
    pub(super) async fn ask_now(self: &Arc<Self>, message: &Message) -> Result<(), AuthError> {
        let senders = self.senders(Mode::Production);
        let Some(sid) = message.sid.as_ref().filter(|_| senders.is_asked(&message.via)) else {
            return Ok(());
        };
        if message.state.is_end() {
            return Ok(());
        }
        let slot = Arc::clone(&self.questions.slots).acquire_owned();
        let Ok(Ok(_slot)) = tokio::time::timeout(SLOT_PATIENCE, slot).await else { return Ok(()) };
        match senders.ask(&message.via, sid).await {
            Some(report) => self.note_report(report, None).await,
            None => Ok(()),
        }
    }

    /// Takes the messages over that an ended server would have asked after; those of living ones are their own.
    pub(super) async fn take_questions_over(&self) -> StoreResult<()> {
        if !self.senders(Mode::Production).asks() {
            return Ok(());
        }
        let now = self.parts.clock.now();
        let left = self.parts.store.read(move |view| left_since(view, now - PATIENCE)).await?;
        for message in left {
            let (via, Some(sid)) = (message.via, message.sid) else { continue };
            if self.senders(Mode::Production).is_asked(&via) {
                self.questions.add(now, message.id, Question::new(via, sid, message.created_at));
            }
        }
        Ok(())
    }
}

/// Messages since `since` that have not come to their end, and that no living server leads.
fn left_since(view: &dyn View, since: Timestamp) -> StoreResult<Vec<Message>> {
    let living = living(view)?;
    let page = |before| {
        let page = view.messages_before(before, PAGE)?;
        Ok(page.into_iter().map(|(message, _)| message).collect())
    };
    let leader = |message: &Message| Ok(view.challenge(message.challenge)?.map(|challenge| challenge.leader));
    collect(since, &living, page, leader)
}

/// The same of the messages before a number that `page` gives, the newest first, each with its `leader`.
fn collect(
    since: Timestamp,
    living: &[RunId],
    page: impl Fn(MessageId) -> StoreResult<Vec<Message>>,
    leader: impl Fn(&Message) -> StoreResult<Option<RunId>>,
) -> StoreResult<Vec<Message>> {
    let (mut left, mut before) = (Vec::new(), MessageId(i64::MAX));
    loop {
        let page = page(before)?;
        let Some(last) = page.last() else { return Ok(left) };
        before = last.id;
        let is_last = last.created_at <= since || left.len() >= MOST;
        for message in page {
            let is_under_way = message.created_at > since && message.sid.is_some() && !message.state.is_end();
            let leader = if is_under_way { leader(&message)? } else { None };
            if leader.is_some_and(|leader| !living.contains(&leader)) {
                left.push(message);
            }
        }
        if is_last {
            return Ok(left);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;
    use crate::domain::message::MessageState;
    use crate::domain::{ChallengeId, Channel, PhoneNumber};

    const SINCE: Timestamp = Timestamp::from_millis(1_700_000_000_000);
    const LATER: Timestamp = Timestamp::from_millis(1_700_000_000_001);

    fn via() -> Via {
        Via::new("memory", Channel::Sms)
    }

    fn message(id: i64, created_at: Timestamp) -> Message {
        Message {
            id: MessageId(id),
            challenge: ChallengeId(id),
            to: PhoneNumber::parse("+15550000001", 10).unwrap(),
            via: via(),
            sid: Some(format!("SM{id}")),
            state: MessageState::Queued,
            error_code: None,
            segments: 1,
            created_at,
            updated_at: created_at,
            version: 0,
        }
    }

    fn run(number: u8) -> RunId {
        RunId::new([number; 8])
    }

    /// Which messages are left of these, the newest first, by pages of so many; and how many pages were read.
    fn left(messages: &[Message], rows: usize, leader: u8) -> (Vec<i64>, usize) {
        let read = RefCell::new(0);
        let page = |before: MessageId| {
            *read.borrow_mut() += 1;
            Ok(messages.iter().filter(|message| message.id < before).take(rows).cloned().collect())
        };
        let left = collect(SINCE, &[run(1)], page, |_| Ok(Some(run(leader)))).unwrap();
        (left.into_iter().map(|message| message.id.0).collect(), read.into_inner())
    }

    #[test]
    fn what_is_left_of_an_ended_server_are_messages_that_have_a_name_and_no_end_yet() {
        let messages = [
            message(6, LATER),
            Message { sid: None, ..message(5, LATER) },
            Message { state: MessageState::Delivered, ..message(4, LATER) },
            message(3, LATER),
            message(2, SINCE),
            message(1, SINCE),
        ];
        assert_eq!(left(&messages, 9, 2).0, [6, 3]);
        assert_eq!(left(&messages, 9, 1).0, [0; 0], "a living one asks after its own");
    }

    #[test]
    fn no_more_pages_are_read_than_there_may_be_messages_on() {
        let messages = [message(4, LATER), message(3, LATER), message(2, SINCE), message(1, SINCE)];
        assert_eq!(left(&messages, 1, 2), (vec![4, 3], 3));
        assert_eq!(left(&messages, 2, 2), (vec![4, 3], 2));
        let most = i64::try_from(MOST).unwrap();
        let many: Vec<_> = (0..2 * most).rev().map(|id| message(id, LATER)).collect();
        // The page after the last one that is needed is read to see that it is the last.
        assert_eq!(left(&many, MOST, 2).1, 2);
    }

    /// What is asked after of a message that nobody asks after later than `until`, at that time and a moment later.
    fn waits(questions: &Questions, at: Timestamp, id: i64, until: Timestamp) -> bool {
        let question = Question { until, ..Question::new(via(), format!("SM{id}"), SINCE) };
        questions.add(at, MessageId(id), question);
        questions.take(at).is_some()
    }

    #[test]
    fn a_message_is_asked_after_until_patience_ends_and_not_a_moment_longer() {
        let questions = Questions::default();
        assert!(waits(&questions, SINCE, 1, LATER));
        assert!(waits(&questions, LATER, 1, LATER));
        assert!(!waits(&questions, LATER, 1, SINCE));
    }

    #[test]
    fn so_many_messages_are_asked_after_at_most() {
        let questions = Questions::default();
        for id in 0..=i64::try_from(MOST).unwrap() {
            questions.add(LATER, MessageId(id), Question::new(via(), String::new(), SINCE));
        }
        assert_eq!(std::iter::from_fn(|| questions.take(LATER)).count(), MOST);
    }
}
