//! Codes by several senders: by another where nothing good is reported, by a call, and asked after where none reports.

use std::sync::Mutex;

use futures_util::future::BoxFuture;
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};

use super::*;
use crate::auth::AuthError;
use crate::domain::message::{DeliveryReport, MessageState};
use crate::domain::{Country, MessageId};
use crate::sms::route::Member;
use crate::sms::{Accepted, Slot, SmsSender, Unavailable};
use crate::sync::lock;

/// One that is asked what became of its messages, knows that they arrived, and wants to know whose codes were used.
struct Asked {
    inner: MemorySender,
    questions: Arc<Mutex<Vec<String>>>,
    used: UnboundedSender<String>,
}

impl SmsSender for Asked {
    fn reserve(&self, segments: u32) -> Result<Box<dyn Slot>, Unavailable> {
        self.inner.reserve(segments)
    }

    fn deadline(&self) -> Duration {
        self.inner.deadline()
    }

    fn is_asked(&self) -> bool {
        true
    }

    fn wants_confirmation(&self) -> bool {
        true
    }

    fn confirm(&self, sid: &str) {
        let _ = self.used.send(sid.to_owned());
    }

    fn ask<'a>(&'a self, sid: &'a str) -> BoxFuture<'a, Option<DeliveryReport>> {
        lock(&self.questions).push(sid.to_owned());
        let (sid, state) = (Some(sid.to_owned()), MessageState::Delivered);
        Box::pin(std::future::ready(Some(DeliveryReport {
            sender: None,
            sid,
            message: None,
            state,
            error_code: None,
        })))
    }
}

pub(super) fn member(name: &str, channel: Channel, sender: &MemorySender, after: Option<Duration>) -> Member {
    Member { via: Via::new(name, channel), sender: Arc::new(sender.clone()), countries: None, after }
}

/// A bed whose codes, of both modes, go by these members.
pub(super) async fn by(members: &[Member], change: impl FnOnce(&mut Policy)) -> Bed {
    let route = Route::new(members.iter().cloned());
    Bed::of(
        |parts| (parts.production, parts.testing) = (route.clone(), route),
        |policy| {
            policy.limits.ip = 0;
            change(policy);
        },
    )
    .await
}

fn testing(number: u32) -> CodeRequest {
    CodeRequest { mode: Mode::Testing, ..code_request(number) }
}

fn call(number: u32) -> CodeRequest {
    CodeRequest { channel: Some(Channel::Voice), ..code_request(number) }
}

#[tokio::test]
async fn a_code_of_which_nothing_is_reported_goes_out_by_the_next_sender_too() {
    let (first, second) = (MemorySender::new(), MemorySender::new());
    let members = [
        member("first", Channel::Sms, &first, None),
        member("second", Channel::Sms, &second, Some(30 * SECOND)),
    ];
    let bed = by(&members, |_| {}).await;
    bed.ask(testing(2)).await.result.unwrap();
    bed.request(1).await.result.unwrap();
    bed.clock.advance(29 * SECOND);
    bed.auth.send_again().await;
    assert_eq!(second.messages().len(), 0);
    bed.clock.advance(SECOND);
    bed.auth.send_again().await;
    let (one, other) = (first.messages().remove(1), second.messages());
    assert_eq!(other.len(), 1, "none of the testing mode");
    assert_eq!((&other[0].to, &other[0].code), (&phone(1), &one.code));
    assert_eq!(one.expires_at, bed.clock.now() + Duration::from_mins(10) - 30 * SECOND);
    let bought = bed.counted("sms_bought_total");
    assert!(bought.len() == 1 && bought[0].ends_with(" 2"), "{bought:?}");
    assert_eq!(bed.counted("sms_deliveries_total{state=\"queued\"}"), [" 3"]);
    bed.verify(1, &one.code).await.result.unwrap();
}

#[tokio::test]
async fn a_code_is_not_sent_again_to_a_country_that_was_closed_meanwhile() {
    let (first, second) = (MemorySender::new(), MemorySender::new());
    let members = [
        member("first", Channel::Sms, &first, None),
        member("second", Channel::Sms, &second, Some(30 * SECOND)),
    ];
    let bed = by(&members, |_| {}).await;
    bed.request(1).await.result.unwrap();
    let mut closed = policy();
    closed.phones.denied = Country::of(&phone(1)).into_iter().collect();
    bed.auth.adopt(settings(&Secret::new(SECRET), &bed.means.keys, closed));
    bed.clock.advance(30 * SECOND);
    bed.auth.send_again().await;
    assert_eq!((first.messages().len(), second.messages().len()), (1, 0));
}

#[tokio::test]
async fn the_second_message_of_a_code_is_asked_after_too() {
    let (first, second, asked) = (MemorySender::new(), MemorySender::new(), Arc::default());
    let sender =
        Arc::new(Asked { inner: second.clone(), questions: Arc::clone(&asked), used: unbounded_channel().0 });
    let via = Via::new("asked", Channel::Sms);
    let members = [
        member("first", Channel::Sms, &first, None),
        Member { via, sender, countries: None, after: Some(30 * SECOND) },
    ];
    let bed = by(&members, |_| {}).await;
    let sid = format!("SM{}", "2".repeat(32));
    let accepted = Accepted { sid: Some(sid.clone()), state: MessageState::Queued, segments: None };
    second.script([SendOutcome::Accepted(accepted)]);
    bed.request(1).await.result.unwrap();
    bed.clock.advance(30 * SECOND);
    bed.auth.send_again().await;
    bed.clock.advance(2 * SECOND);
    bed.auth.ask().await;
    assert_eq!(*lock(&asked), [sid.as_str()]);
    let message = bed.message().await;
    assert_eq!((message.sid, message.state), (Some(sid), MessageState::Delivered));
}

#[tokio::test]
async fn what_became_of_a_second_message_is_noted_also_where_it_was_not_sent() {
    for (outcome, state) in
        [(lost(), MessageState::Unknown), (refused(FailureReason::Delivery), MessageState::Failed)]
    {
        let (first, second) = (MemorySender::new(), MemorySender::new());
        let members = [
            member("first", Channel::Sms, &first, None),
            member("second", Channel::Sms, &second, Some(30 * SECOND)),
        ];
        let bed = by(&members, |_| {}).await;
        second.script([outcome]);
        bed.request(1).await.result.unwrap();
        bed.clock.advance(30 * SECOND);
        bed.auth.send_again().await;
        let message = bed.message().await;
        assert_eq!((message.sid, message.state), (None, state));
        assert_eq!(bed.told(AuditEvent::SmsFailed).await.len(), 1);
    }
}

#[tokio::test]
async fn a_second_message_with_the_name_of_another_is_kept_without_it() {
    let (first, second) = (MemorySender::new(), MemorySender::new());
    let members = [
        member("first", Channel::Sms, &first, None),
        member("second", Channel::Sms, &second, Some(30 * SECOND)),
    ];
    let bed = by(&members, |_| {}).await;
    bed.request(1).await.result.unwrap();
    bed.clock.advance(30 * SECOND);
    bed.auth.send_again().await;
    let messages = bed.read(|view| view.messages_before(MessageId(i64::MAX), 9)).await;
    let kept: Vec<_> = messages.into_iter().map(|(message, _)| (message.sid, message.state)).collect();
    let sid = format!("SM{:032x}", 1);
    assert_eq!(kept, [(None, MessageState::Queued), (Some(sid), MessageState::Queued)]);
}

#[tokio::test]
async fn a_provider_that_reports_nothing_is_asked_after_the_messages_of_production_and_told_which_were_used()
{
    let (sms, asked, (used, mut told)) = (MemorySender::new(), Arc::default(), unbounded_channel());
    let sender = Arc::new(Asked { inner: sms.clone(), questions: Arc::clone(&asked), used });
    let via = Via::new("asked", Channel::Sms);
    let bed = by(&[Member { via, sender, countries: None, after: None }], |_| {}).await;
    bed.ask(testing(2)).await.result.unwrap();
    bed.request(1).await.result.unwrap();
    bed.clock.advance(2 * SECOND);
    bed.auth.ask().await;
    assert_eq!(lock(&asked).len(), 1);
    let states = bed.read(|view| view.messages_before(MessageId(i64::MAX), 9)).await;
    let delivered = states.iter().filter(|(message, _)| message.state == MessageState::Delivered).count();
    assert_eq!(delivered, 1);
    bed.verify(1, &sms.messages()[1].code).await.result.unwrap();
    let told = tokio::time::timeout(Duration::from_mins(1), told.recv()).await;
    assert_eq!(told.unwrap().as_ref(), lock(&asked).first());
}

/// A sender of text messages, and one that calls.
async fn with_calls(change: impl FnOnce(&mut Policy)) -> (Bed, MemorySender, MemorySender) {
    let (text, voice) = (MemorySender::new(), MemorySender::new());
    let members = [member("text", Channel::Sms, &text, None), member("voice", Channel::Voice, &voice, None)];
    (by(&members, change).await, text, voice)
}

#[tokio::test]
async fn a_call_is_made_for_whoever_has_a_code_that_is_still_good() {
    let (bed, text, voice) = with_calls(|_| {}).await;
    assert_eq!(bed.ask(call(1)).await.result, Err(AuthError::NoFirstCode));
    bed.request(1).await.result.unwrap();
    bed.ask(call(1)).await.result.unwrap();
    assert_eq!((text.messages().len(), voice.messages().len()), (1, 1));
    assert_ne!(text.messages()[0].code, voice.messages()[0].code);
    bed.verify(1, &voice.messages()[0].code).await.result.unwrap();
    bed.clock.advance(HOUR);
    assert_eq!(bed.ask(call(1)).await.result, Err(AuthError::NoFirstCode), "that one was used");
}

#[tokio::test]
async fn a_call_and_a_text_message_at_once_are_two_and_two_calls_at_once_are_one() {
    let (bed, text, voice) = with_calls(|_| {}).await;
    bed.request(1).await.result.unwrap();
    voice.hold();
    let (auth, other) = (bed.auth.clone(), bed.auth.clone());
    let first = tokio::spawn(async move { auth.request(call(1)).await.result });
    voice.arrived(1).await;
    bed.request(1).await.result.unwrap();
    assert_eq!(text.messages().len(), 2);
    let again = tokio::spawn(async move { other.request(call(1)).await.result });
    for _ in 0..10 {
        // Its flow goes on up to its write.
        tokio::task::yield_now().await;
    }
    voice.release();
    assert_eq!(first.await.unwrap(), again.await.unwrap());
    assert_eq!(voice.messages().len(), 1);
}

#[tokio::test]
async fn where_the_calls_of_the_day_are_spent_a_code_comes_as_text_and_one_asked_for_by_call_not_at_all() {
    let one = |policy: &mut Policy| policy.budgets.calls_per_day = 1;
    let (text, voice) = (MemorySender::new(), MemorySender::new());
    let members = [member("voice", Channel::Voice, &voice, None), member("text", Channel::Sms, &text, None)];
    let bed = by(&members, one).await;
    bed.request(1).await.result.unwrap();
    bed.request(2).await.result.unwrap();
    assert_eq!((voice.messages().len(), text.messages().len()), (1, 1));
    assert!(matches!(bed.ask(call(2)).await.result, Err(AuthError::SmsBudgetExhausted(_))));
    text.refuse([Unavailable::Overloaded(SECOND), Unavailable::NoSender]);
    assert_eq!(bed.request(3).await.result, Err(AuthError::Overloaded(SECOND)));
    assert!(matches!(bed.request(3).await.result, Err(AuthError::SmsBudgetExhausted(_))));
    assert_eq!(bed.counted("sms_unpaid_total"), ["{budget=\"voice\"} 2"]);
    assert_eq!(bed.counted("sms_deliveries_total{state=\"refused\"}"), [" 1"]);
    // A text message in place of a call is paid for as one.
    let bed = by(&members, |policy| {
        one(policy);
        policy.budgets.per_day = 2;
    })
    .await;
    for number in 1..=2 {
        bed.request(number).await.result.unwrap();
    }
    text.refuse([Unavailable::Overloaded(SECOND)]);
    for _ in 0..2 {
        assert!(matches!(bed.request(3).await.result, Err(AuthError::SmsBudgetExhausted(_))));
    }
}

#[tokio::test]
async fn a_call_for_a_device_and_one_for_whoever_has_none_are_two() {
    let (bed, text, voice) = with_calls(|policy| policy.limits.user = 0).await;
    bed.request(1).await.result.unwrap();
    let device_token = bed.verify(1, &text.messages()[0].code).await.result.unwrap().device_token;
    let with_device = |request| CodeRequest { device_token: device_token.clone(), ..request };
    for (first, between, second) in [
        (with_device(call(1)), code_request(1), call(1)),
        (call(1), with_device(code_request(1)), with_device(call(1))),
    ] {
        bed.clock.advance(HOUR);
        bed.ask(CodeRequest { channel: None, ..first.clone() }).await.result.unwrap();
        let before = voice.messages().len();
        voice.hold();
        let auth = bed.auth.clone();
        let one = tokio::spawn(async move { auth.request(first).await.result });
        voice.arrived(before + 1).await;
        bed.ask(between).await.result.unwrap();
        let auth = bed.auth.clone();
        let other = tokio::spawn(async move { auth.request(second).await.result });
        voice.arrived(before + 2).await;
        voice.release();
        one.await.unwrap().unwrap();
        other.await.unwrap().unwrap();
    }
}
