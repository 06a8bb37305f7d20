//! Handing a message to its sender, and what is learnt from how that went.

use std::time::Duration;

use super::Auth;
use super::settle::Outcome;
use crate::clock::Stopwatch;
use crate::domain::message::MessageState;
use crate::domain::{Channel, Mode, PhoneNumber};
use crate::sms::route::{Need, Passing, Reservation, Routed};
use crate::sms::{Failure, SendOutcome, TextMessage, Unavailable};

impl Auth {
    /// Sends a message to a phone; `passing` is asked before another sender than the first takes it. Without one, waits for as long as a send to it would take.
    pub(super) async fn send(
        &self,
        place: Result<Reservation, Unavailable>,
        text: Option<TextMessage>,
        phone: &PhoneNumber,
        passing: &dyn Passing,
    ) -> Outcome {
        match (text, place) {
            (None, _) => {
                let expected = self.sends.expect(phone, &*self.parts.random);
                tokio::time::sleep(expected.took).await;
                Outcome::Withheld(expected.outcome)
            }
            (Some(text), Ok(place)) => {
                self.parts.metrics.message_reached(MessageState::Intended.as_str());
                let watch = Stopwatch::start();
                let routed = place.send(text, passing).await;
                let took = watch.elapsed();
                self.sends.note(phone, took, &routed.outcome);
                self.count_send(&routed, took);
                Outcome::Sent(routed)
            }
            (Some(_), Err(_)) => {
                // A code without a place is refused before; what remains is a notice, which goes by text message.
                let need = Need { to: phone, segments: 1, channel: Some(Channel::Sms) };
                let via = self.senders(Mode::Production).first_via(need);
                let outcome = SendOutcome::Refused(Failure::delivery("there was no place at a sender"));
                Outcome::Sent(Routed { outcome, via })
            }
        }
    }

    fn count_send(&self, Routed { outcome, via }: &Routed, took: Duration) {
        let metrics = &self.parts.metrics;
        metrics.message_sent(took);
        metrics.sender_answered(&via.sender, via.channel.as_str(), outcome.as_str());
        match outcome {
            SendOutcome::Accepted(accepted) => metrics.segments_bought(accepted.segments.unwrap_or(1)),
            SendOutcome::Unknown(failure) | SendOutcome::Refused(failure) => {
                metrics.message_failed(failure.code);
            }
        }
    }
}
