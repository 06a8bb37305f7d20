//! Tells providers which codes were used: they route later messages by it.

use std::sync::Arc;

use super::Auth;
use crate::domain::{Mode, PhoneNumber, Purpose, SessionId};

/// How many of a phone's latest codes can be the one that was used.
const LATEST: usize = 8;

impl Auth {
    /// Tells the provider of the message whose code opened a session, where it wants to know. Nothing waits for it, and its
    /// failure is nobody's.
    pub(super) fn confirm(self: &Arc<Self>, mode: Mode, phone: PhoneNumber, session: SessionId) {
        if !self.senders(mode).want_confirmation() {
            return;
        }
        let auth = self.clone();
        tokio::spawn(async move {
            let found = auth.parts.store.read(move |view| {
                let codes = view.challenges(mode, &phone, Purpose::Login, LATEST)?;
                let used = codes.iter().find(|challenge| {
                    challenge.used.as_ref().is_some_and(|used| used.session.as_ref() == Some(&session))
                });
                used.map_or(Ok(Vec::new()), |challenge| view.messages_of(challenge.id))
            });
            // Which of two the person has read, nobody knows.
            if let Ok(messages) = found.await
                && let [message] = &messages[..]
                && let Some(sid) = &message.sid
            {
                auth.senders(mode).confirm(&message.via, sid);
            }
        });
    }
}
