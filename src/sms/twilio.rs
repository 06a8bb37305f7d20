//! Twilio Programmable Messaging, called synchronously on the blocking pool.
//!
//! Creating a message is not idempotent: whoever asks twice may pay twice, and a person gets two codes. So a request is
//! repeated only if it surely was not processed, and everything that is not sure is reported as such.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;

use crate::clock::Clock;
use crate::sms::{Slot, SmsSender, Unavailable};

mod answer;
mod breaker;
pub mod callback;
mod client;
mod countries;
mod pace;
mod settings;
pub mod signature;
mod slot;

pub use settings::{CALLBACK_PATH, Credentials, Sender, Sid, TwilioSettings};

use breaker::Breaker;
use client::Client;
use countries::Countries;
use pace::Pace;
use slot::TwilioSlot;

/// What a refused caller waits for a free slot: most sends take less.
const UNTIL_A_SLOT: Duration = Duration::from_secs(1);

/// For threads and timers that come late; a deadline that is too long only delays maintenance.
const SLACK: Duration = Duration::from_secs(2);

/// Sends through Twilio.
pub struct TwilioSender {
    shared: Arc<Shared>,
    breaker: Arc<Breaker>,
    slots: Arc<Semaphore>,
    pace: Option<Arc<Pace>>,
    deadline: Duration,
}

struct Shared {
    settings: TwilioSettings,
    client: Arc<Client>,
    clock: Arc<dyn Clock>,
    countries: Countries,
}

impl TwilioSender {
    /// Prepares the sending; nothing is connected.
    pub fn new(settings: TwilioSettings, clock: Arc<dyn Clock>) -> Self {
        let pace = Pace::new(settings.segments_per_second, settings.max_wait, Arc::clone(&clock));
        let waiting = if pace.is_some() { settings.max_wait } else { Duration::ZERO };
        let deadline = waiting + settings.timeout + SLACK;
        let (failures, cooldown) = (settings.breaker_failures, settings.breaker_cooldown);
        Self {
            breaker: Arc::new(Breaker::new(failures, cooldown, deadline, Arc::clone(&clock))),
            slots: Arc::new(Semaphore::new(settings.max_in_flight.min(Semaphore::MAX_PERMITS))),
            pace,
            deadline,
            shared: Arc::new(Shared {
                client: Arc::new(Client::new(&settings)),
                settings,
                clock,
                countries: Countries::default(),
            }),
        }
    }

    /// Whether Twilio is left alone after failures, until a message goes through.
    pub fn is_breaker_open(&self) -> bool {
        self.breaker.is_open()
    }
}

impl SmsSender for TwilioSender {
    fn reserve(&self, segments: u32) -> Result<Box<dyn Slot>, Unavailable> {
        let permit = self.breaker.admit().map_err(Unavailable::BreakerOpen)?;
        let in_flight =
            Arc::clone(&self.slots).try_acquire_owned().map_err(|_| Unavailable::Overloaded(UNTIL_A_SLOT))?;
        let turn = self.pace.as_ref().map(|pace| pace.reserve(segments)).transpose();
        let turn = turn.map_err(Unavailable::Overloaded)?;
        Ok(Box::new(TwilioSlot { shared: Arc::clone(&self.shared), permit, in_flight, turn }))
    }

    fn deadline(&self) -> Duration {
        self.deadline
    }
}
