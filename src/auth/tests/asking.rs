//! Providers that are asked what became of messages, and that are told which codes were used.

use std::sync::Mutex;

use futures_util::future::BoxFuture;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use super::senders::{by, member};
use super::*;
use crate::domain::SessionId;
use crate::domain::message::{DeliveryReport, MessageState};
use crate::sms::route::Member;
use crate::sms::{Accepted, Slot, SmsSender, Unavailable};
use crate::sync::lock;

/// What a provider was asked and told.
#[derive(Clone, Default)]
struct Heard(Arc<Mutex<Vec<String>>>);

/// A sender whose provider answers with a state of its messages whether or not it is to be asked.
struct Provider {
    inner: MemorySender,
    is_asked: bool,
    state: MessageState,
    asked: Heard,
    used: UnboundedSender<String>,
}

impl SmsSender for Provider {
    fn reserve(&self, segments: u32) -> Result<Box<dyn Slot>, Unavailable> {
        self.inner.reserve(segments)
    }

    fn deadline(&self) -> Duration {
        self.inner.deadline()
    }

    fn is_asked(&self) -> bool {
        self.is_asked
    }

    fn ask<'a>(&'a self, sid: &'a str) -> BoxFuture<'a, Option<DeliveryReport>> {
        lock(&self.asked.0).push(sid.to_owned());
        let (sid, state) = (Some(sid.to_owned()), self.state);
        let report = DeliveryReport { sender: None, sid, message: None, state, error_code: None };
        Box::pin(std::future::ready(Some(report)))
    }

    fn wants_confirmation(&self) -> bool {
        true
    }

    fn confirm(&self, sid: &str) {
        let _ = self.used.send(sid.to_owned());
    }
}

impl Heard {
    fn take(&self) -> Vec<String> {
        std::mem::take(&mut *lock(&self.0))
    }
}

/// A member, what its provider is asked, and what it is told.
fn provider(
    name: &str,
    sender: &MemorySender,
    (is_asked, state): (bool, MessageState),
) -> (Member, Heard, UnboundedReceiver<String>) {
    let (used, told) = unbounded_channel();
    let asked = Heard::default();
    let provider = Provider { inner: sender.clone(), is_asked, state, asked: asked.clone(), used };
    let via = Via::new(name, Channel::Sms);
    (Member { via, sender: Arc::new(provider), countries: None, after: None }, asked, told)
}

#[tokio::test]
async fn what_an_ended_server_had_in_mind_to_ask_the_next_one_asks_and_nobody_who_reports() {
    let (first, second) = (MemorySender::new(), MemorySender::new());
    let (mute, asked, _mute) = provider("mute", &first, (true, MessageState::Sent));
    let (reporting, unasked, _reporting) = provider("reporting", &second, (false, MessageState::Sent));
    let members = [mute, reporting];
    let bed = by(&members, |_| {}).await;
    bed.request(1).await.result.unwrap();
    let sid = bed.message().await.sid.unwrap();
    first.refuse([Unavailable::NoSender]);
    // Of two messages with one name the later is kept without it.
    let name = Some(format!("SM{}", "2".repeat(32)));
    let accepted = Accepted { sid: name.clone(), state: MessageState::Queued, segments: None };
    second.script([SendOutcome::Accepted(accepted)]);
    bed.request(2).await.result.unwrap();
    assert_eq!((second.messages().len(), bed.message().await.sid), (1, name));
    bed.clock.advance(2 * SECOND);
    bed.auth.ask().await;
    assert_eq!((asked.take(), unasked.take()), (vec![sid.clone()], vec![]));

    let mut parts = parts(&bed.store, &bed.clock, &bed.sms, (2, RunId::new([2; 8])));
    parts.production = Route::new(members);
    let (next, _) = start(parts, policy());
    next.settle_after_restart().await.unwrap();
    next.ask().await;
    assert_eq!((asked.take(), unasked.take()), (vec![sid], vec![]));
}

#[tokio::test]
async fn before_a_second_message_a_provider_is_asked_that_reports_nothing_and_has_not_told_the_end() {
    for (is_asked, state, questions) in [
        (true, MessageState::Sent, 1),
        (true, MessageState::Undelivered, 0),
        (false, MessageState::Undelivered, 0),
    ] {
        let (first, second) = (MemorySender::new(), MemorySender::new());
        let (member_asked, asked, _told) = provider("first", &first, (is_asked, state));
        let members = [member_asked, member("second", Channel::Sms, &second, Some(30 * SECOND))];
        let bed = by(&members, |_| {}).await;
        bed.request(1).await.result.unwrap();
        bed.clock.advance(2 * SECOND);
        bed.auth.ask().await;
        assert_eq!(asked.take().len(), usize::from(is_asked));
        bed.clock.advance(28 * SECOND);
        bed.auth.send_again().await;
        assert_eq!((asked.take().len(), second.messages().len()), (questions, 1), "{is_asked} {state:?}");
    }
}

#[tokio::test]
async fn a_provider_is_told_of_the_code_that_opened_the_session_whichever_was_used_since() {
    let sender = MemorySender::new();
    let (member, _asked, mut told) = provider("first", &sender, (false, MessageState::Sent));
    let bed = by(&[member], |_| {}).await;
    let mut opened = Vec::new();
    for _ in 0..2 {
        bed.request(1).await.result.unwrap();
        let code = sender.messages().last().unwrap().code.clone();
        let login = bed.verify(1, &code).await.result.unwrap();
        let session = bed.bearer(&login).await.session.unwrap();
        opened.push((session, bed.message().await.sid.unwrap()));
        assert_eq!(told.recv().await.as_ref(), Some(&opened.last().unwrap().1));
    }
    let (session, sid): &(SessionId, String) = &opened[0];
    bed.auth.confirm(Mode::Production, phone(1), session.clone());
    assert_eq!(told.recv().await.as_ref(), Some(sid));
}
