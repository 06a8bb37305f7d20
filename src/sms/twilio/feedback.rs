//! Message Feedback: Twilio is told which codes were used, and routes later messages by it.

use std::sync::Arc;

use tokio::sync::Semaphore;

use super::client::{Client, Reply};
use super::settings::TwilioSettings;

/// Calls at once; what comes beyond is not told.
const IN_FLIGHT: usize = 4;

/// Tells Twilio of used codes, in the background.
pub(super) struct Feedback {
    settings: TwilioSettings,
    slots: Arc<Semaphore>,
}

impl Feedback {
    /// Prepares the calls; nothing is connected.
    pub(super) fn new(settings: &TwilioSettings) -> Self {
        Self { settings: settings.clone(), slots: Arc::new(Semaphore::new(IN_FLIGHT)) }
    }

    /// Tells that the code of this message was used; returns at once.
    pub(super) fn confirm(&self, sid: &str) {
        let Ok(slot) = Arc::clone(&self.slots).try_acquire_owned() else { return };
        let (settings, resource) = (self.settings.clone(), format!("Messages/{sid}/Feedback"));
        drop(tokio::task::spawn_blocking(move || {
            let reply = Client::of(&settings, &resource).post("Outcome=confirmed", None);
            if !matches!(&reply, Reply::Answered(answer) if answer.status == 201) {
                tracing::debug!(target: "freshk::sms", "Twilio was not told that a code was used");
            }
            drop(slot);
        }));
    }
}
