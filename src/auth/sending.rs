//! Handing a message to its sender, and what is learnt from how that went.

use std::time::Duration;

use super::Auth;
use super::settle::Outcome;
use crate::clock::Stopwatch;
use crate::domain::PhoneNumber;
use crate::domain::message::MessageState;
use crate::sms::{Failure, FailureReason, SendOutcome, Slot, TextMessage, Unavailable};

impl Auth {
    /// Sends a message to a phone. Without one, waits for as long as a send to it would take.
    pub(super) async fn send(
        &self,
        slot: Result<Box<dyn Slot>, Unavailable>,
        text: Option<TextMessage>,
        phone: &PhoneNumber,
    ) -> Outcome {
        match (text, slot) {
            (None, _) => {
                let expected = self.sends.expect(phone, &*self.parts.random);
                tokio::time::sleep(expected.took).await;
                Outcome::Withheld(expected.outcome)
            }
            (Some(text), Ok(slot)) => {
                self.parts.metrics.message_reached(MessageState::Intended.as_str());
                let watch = Stopwatch::start();
                let outcome = slot.send(text).await;
                let took = watch.elapsed();
                self.sends.note(phone, took, &outcome);
                self.count_send(&outcome, took);
                Outcome::Sent(outcome)
            }
            (Some(_), Err(_)) => Outcome::Sent(SendOutcome::Refused(Failure {
                reason: FailureReason::Delivery,
                code: None,
                detail: "there was no place at the sender".to_owned(),
            })),
        }
    }

    fn count_send(&self, outcome: &SendOutcome, took: Duration) {
        let metrics = &self.parts.metrics;
        metrics.message_sent(took);
        match outcome {
            SendOutcome::Accepted(accepted) => metrics.segments_bought(accepted.segments.unwrap_or(1)),
            SendOutcome::Unknown(failure) | SendOutcome::Refused(failure) => {
                metrics.message_failed(failure.code);
            }
        }
    }
}
