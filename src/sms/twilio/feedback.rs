//! Message Feedback: Twilio is told which codes were used, and routes later messages by it.

use std::sync::Arc;

use tokio::sync::Semaphore;

use super::client::{Client, Reply};
use super::settings::TwilioSettings;

/// Calls at once; what comes beyond is not told.
const IN_FLIGHT: usize = 4;

/// Tells Twilio of used codes, in the background.
pub(super) struct Feedback {
    client: Arc<Client>,
    slots: Arc<Semaphore>,
}

impl Feedback {
    /// Prepares the calls; nothing is connected.
    pub(super) fn new(settings: &TwilioSettings) -> Self {
        Self { client: Arc::new(Client::new(settings)), slots: Arc::new(Semaphore::new(IN_FLIGHT)) }
    }

    /// Tells that the code of this message was used; returns at once.
    pub(super) fn confirm(&self, sid: &str) {
        let Ok(slot) = Arc::clone(&self.slots).try_acquire_owned() else { return };
        let (client, resource) = (Arc::clone(&self.client), format!("Messages/{sid}/Feedback"));
        drop(tokio::task::spawn_blocking(move || {
            let reply = client.post(&resource, "Outcome=confirmed", None);
            if !is_taken(&reply) {
                tracing::debug!(target: "freshk::sms", "Twilio was not told that a code was used");
            }
            drop(slot);
        }));
    }
}

/// Whether Twilio took it: its description says 200, its reference 201.
fn is_taken(reply: &Reply) -> bool {
    matches!(reply, Reply::Answered(answer) if (200..300).contains(&answer.status))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sms::twilio::client::Answer;

    #[test]
    fn it_is_taken_whichever_success_twilio_answers() {
        for (status, expected) in [(200, true), (201, true), (302, false), (404, false), (500, false)] {
            let answer = Answer { status, retry_after: None, body: Vec::new() };
            assert_eq!(is_taken(&Reply::Answered(answer)), expected, "{status}");
        }
        assert!(!is_taken(&Reply::Lost(String::new())));
    }
}
