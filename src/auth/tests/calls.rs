//! Calls, and the budget that they are paid from, where a code goes by one or would.

use std::sync::atomic::{AtomicUsize, Ordering};

use super::senders::{by, member};
use super::*;
use crate::auth::AuthError;
use crate::domain::message::{DeliveryReport, MessageState};
use crate::sms::route::Member;
use crate::sms::{Slot, SmsSender, Unavailable};

#[tokio::test]
async fn what_was_reported_of_a_message_stays_where_the_call_that_it_would_go_on_to_is_not_paid_for() {
    let (text, voice) = (MemorySender::new(), MemorySender::new());
    let members = [member("text", Channel::Sms, &text, None), member("voice", Channel::Voice, &voice, None)];
    let bed = by(&members, |policy| policy.budgets.calls_per_day = 1).await;
    text.script([refused(FailureReason::Delivery), refused(FailureReason::Delivery)]);
    bed.request(2).await.result.unwrap();
    text.hold();
    let auth = bed.auth.clone();
    let flow = tokio::spawn(async move { auth.request(code_request(1)).await.result });
    text.arrived(2).await;
    let report = DeliveryReport {
        sender: Some("text".to_owned()),
        sid: None,
        message: Some(bed.message().await.id),
        state: MessageState::Undelivered,
        error_code: Some(30_003),
    };
    bed.auth.report(report, "r".to_owned()).await.unwrap();
    text.release();
    flow.await.unwrap().unwrap_err();
    let known = bed.message().await;
    assert_eq!((known.via.sender.as_str(), known.state), ("text", MessageState::Undelivered));
    assert_eq!((known.error_code, voice.messages().len()), (Some(30_003), 1));
}

#[tokio::test]
async fn a_call_that_no_budget_bounds_waits_for_no_write() {
    let (text, voice) = (MemorySender::new(), MemorySender::new());
    let members = [member("text", Channel::Sms, &text, None), member("voice", Channel::Voice, &voice, None)];
    let bed = by(&members, |_| {}).await;
    text.script([refused(FailureReason::Delivery)]);
    bed.faults.plan(1, 1);
    bed.request(1).await.result.unwrap();
    assert!(bed.faults.are_over(), "what became of it could not be written");
    assert_eq!(voice.messages().len(), 1);
}

/// A sender that counts how often it was asked for a place.
struct Counting(MemorySender, Arc<AtomicUsize>);

impl SmsSender for Counting {
    fn reserve(&self, segments: u32) -> Result<Box<dyn Slot>, Unavailable> {
        self.1.fetch_add(1, Ordering::SeqCst);
        self.0.reserve(segments)
    }

    fn deadline(&self) -> Duration {
        self.0.deadline()
    }
}

#[tokio::test]
async fn a_text_message_that_no_budget_pays_for_is_not_tried_without_calls() {
    let asked = Arc::new(AtomicUsize::new(0));
    let sender = Arc::new(Counting(MemorySender::new(), Arc::clone(&asked)));
    let via = Via::new("counting", Channel::Sms);
    let members = [Member { via, sender, countries: None, after: None }];
    let bed = by(&members, |policy| policy.budgets.per_day = 1).await;
    bed.request(1).await.result.unwrap();
    assert_eq!(asked.load(Ordering::SeqCst), 1);
    assert!(matches!(bed.request(2).await.result, Err(AuthError::SmsBudgetExhausted(_))));
    assert_eq!(asked.load(Ordering::SeqCst), 2);
}
