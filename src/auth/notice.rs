//! The text message that tells a number of a change that will replace it.

use super::Auth;
use super::settle::{Outcome, note_outcome};
use crate::domain::audit::{Actor, AuditDetail};
use crate::domain::{Channel, Code, MessageId, Mode, PhoneNumber, Timestamp, UserId};
use crate::sms::route::{Always, Need};
use crate::sms::{SendOutcome, TextKind, TextMessage};
use crate::storage::Locks;

/// A notice that is to be sent; its message is written already.
pub(super) struct Notice {
    pub(super) message: MessageId,
    /// The number before.
    pub(super) to: PhoneNumber,
    pub(super) user: UserId,
    /// What takes the change back.
    pub(super) code: Code,
    /// When the change is done.
    pub(super) expires_at: Timestamp,
}

impl Auth {
    /// Sends a notice and notes what became of it. A failure stops nothing: the change waits all the same, and a login with the
    /// number before ends it.
    pub(super) async fn send_notice(&self, notice: Notice, actor: Actor) {
        let Notice { message, to, user, code, expires_at } = notice;
        let (text, segments) = self.settings().notice();
        // Other channels carry codes alone.
        let need = Need { to: &to, segments, channel: Some(Channel::Sms) };
        let place = self.senders(Mode::Production).reserve(need);
        let text = TextMessage {
            id: message,
            to: to.clone(),
            code,
            text,
            kind: TextKind::PhoneChange,
            expires_at,
            patience: None,
        };
        let Outcome::Sent(routed) = self.send(place, Some(text), &to, &Always).await else { return };
        let state = routed.outcome.state();
        let actor = Actor { at: self.parts.clock.now(), ..actor };
        let noted = self.write(Locks::none().phone(&to), actor, move |tx| {
            let is_accepted = matches!(routed.outcome, SendOutcome::Accepted(_));
            let line = note_outcome(tx, message, routed.clone())?;
            let line = if is_accepted { line.detail(AuditDetail::PhoneChange) } else { line };
            tx.record(line.user(user));
            Ok(())
        });
        match noted.await {
            Ok(()) => self.parts.metrics.message_reached(state.as_str()),
            Err(error) => {
                tracing::error!(%error, message_id = message.0, "what became of a notice could not be written");
            }
        }
    }
}
