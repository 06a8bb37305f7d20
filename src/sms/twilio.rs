//! Twilio Programmable Messaging, called synchronously on a pool of blocking threads.
//!
//! Creating a message is not idempotent: whoever asks twice may pay twice, and a person gets two codes. So a request is
//! repeated only if it surely was not processed, and everything that is not sure is reported as such.

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;

use super::admission::Bounds;
use super::provider::BoundedSender;
use crate::clock::Clock;
use crate::domain::Channel;
use crate::domain::message::DeliveryReport;
use crate::sms::{Slot, SmsSender, Unavailable};

mod answer;
pub mod callback;
mod client;
mod exchange;
mod feedback;
mod form;
mod progress;
mod settings;
pub mod signature;
mod spoken;

pub use settings::{CALLBACK_PATH, Credentials, Medium, Sender, Sid, TwilioSettings};

#[cfg(any(test, fuzzing))]
pub(crate) use answer::judge_answer;
use exchange::Twilio;
use feedback::Feedback;
use progress::Progress;

/// Sends through Twilio.
pub struct TwilioSender {
    sender: BoundedSender<Twilio>,
    feedback: Option<Feedback>,
    /// Where it cannot report what becomes of messages.
    progress: Option<Progress>,
}

impl TwilioSender {
    /// Prepares the sending; nothing is connected.
    pub fn new(settings: TwilioSettings, clock: Arc<dyn Clock>) -> Self {
        let bounds = Bounds {
            breaker_failures: settings.breaker_failures,
            breaker_cooldown: settings.breaker_cooldown,
            max_in_flight: settings.max_in_flight,
            segments_per_second: settings.segments_per_second,
            max_wait: settings.max_wait,
            timeout: settings.timeout,
        };
        let feedback = (settings.feedback && settings.medium.channel() == Channel::Sms)
            .then(|| Feedback::new(&settings));
        let progress = settings.status_callback.is_none().then(|| Progress::new(&settings));
        let twilio = Twilio::new(settings, Arc::clone(&clock));
        Self { sender: BoundedSender::new(twilio, bounds, clock), feedback, progress }
    }
}

impl SmsSender for TwilioSender {
    fn reserve(&self, segments: u32) -> Result<Box<dyn Slot>, Unavailable> {
        self.sender.reserve(segments)
    }

    fn deadline(&self) -> Duration {
        self.sender.deadline()
    }

    fn is_breaker_open(&self) -> bool {
        self.sender.is_breaker_open()
    }

    fn share(&self, among: u32) {
        self.sender.share(among);
    }

    fn is_asked(&self) -> bool {
        self.progress.is_some()
    }

    fn ask<'a>(&'a self, sid: &'a str) -> BoxFuture<'a, Option<DeliveryReport>> {
        let progress = self.progress.as_ref();
        async move { progress?.ask(sid.to_owned()).await }.boxed()
    }

    fn wants_confirmation(&self) -> bool {
        self.feedback.is_some()
    }

    fn confirm(&self, sid: &str) {
        if let Some(feedback) = &self.feedback {
            feedback.confirm(sid);
        }
    }
}
