//! What becomes of a code, for the app that asked for it.

use super::{Auth, AuthError};
use crate::domain::delivery::{self, Arrival};
use crate::domain::{Channel, DeliveryId, Mode};
use crate::sms::route::Need;

impl Auth {
    /// How far the code of a request has come; `None` where no request has this id, or its challenge is gone.
    ///
    /// # Errors
    /// [`AuthError::Unavailable`] and its like without a database.
    pub async fn arrival(&self, id: DeliveryId) -> Result<Option<(Arrival, Channel)>, AuthError> {
        let found = self.parts.store.read(move |view| {
            let Some(challenge) = view.challenge_by_delivery(&id)? else { return Ok(None) };
            let messages = view.messages_of(challenge.id)?;
            Ok(Some((challenge, messages)))
        });
        let Some((challenge, messages)) = found.await? else { return Ok(None) };
        let (policy, now) = (self.policy(), self.parts.clock.now());
        let cooldown = policy.otp.resend_cooldown;
        let arrival = delivery::arrival(&challenge, &messages, policy.conceal_accounts, (now, cooldown));
        let need = Need { to: &challenge.phone, segments: 1, channel: challenge.asked };
        let usual = self.senders(Mode::Production).first_via(need).channel;
        Ok(Some((arrival, arrival.channel.unwrap_or(usual))))
    }

    /// What a mode's codes can come by.
    pub fn channels(&self, mode: Mode) -> impl Iterator<Item = Channel> {
        self.senders(mode).channels().into_iter()
    }
}
