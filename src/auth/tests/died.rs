//! A flow that dies while its message is under way.

use futures_util::future::BoxFuture;

use super::*;
use crate::auth::AuthError;
use crate::sms::route::Member;
use crate::sms::{Slot, SmsSender, TextMessage, Unavailable};

/// A sender whose flows die of their first message.
struct Deadly(MemorySender);

impl SmsSender for Deadly {
    fn reserve(&self, segments: u32) -> Result<Box<dyn Slot>, Unavailable> {
        let slot = self.0.reserve(segments)?;
        Ok(if self.0.messages().is_empty() { Box::new(DeadlySlot(slot)) } else { slot })
    }

    fn deadline(&self) -> Duration {
        Duration::from_millis(1)
    }
}

struct DeadlySlot(Box<dyn Slot>);

impl Slot for DeadlySlot {
    fn send(self: Box<Self>, message: TextMessage) -> BoxFuture<'static, SendOutcome> {
        Box::pin(async move {
            self.0.send(message).await;
            panic!("the flow dies with its message");
        })
    }
}

#[tokio::test]
async fn no_second_message_is_bought_while_that_of_a_flow_that_died_may_still_be_under_way() {
    let sms = MemorySender::new();
    let via = Via::new("deadly", Channel::Sms);
    let members = [Member { via, sender: Arc::new(Deadly(sms.clone())), countries: None, after: None }];
    let bed = super::senders::by(&members, |_| {}).await;
    assert_eq!(bed.request(1).await.result, Err(AuthError::Internal));
    let followed = bed.request(1).await.result;
    assert!(matches!(followed, Err(AuthError::SmsDeliveryFailed { delivery: Some(_), .. })), "{followed:?}");
    assert_eq!(sms.messages().len(), 1);
    bed.clock.advance(Duration::from_millis(1));
    bed.request(1).await.result.unwrap();
    assert_eq!(sms.messages().len(), 2);
}
