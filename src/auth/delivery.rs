//! What the provider reports of a message, after it was accepted.

use std::sync::Arc;

use super::audited::AuditedTx;
use super::purchase::release_call;
use super::settle::{accept, refund};
use super::{Auth, AuthError, happened};
use crate::domain::audit::{Actor, AuditDetail, AuditEvent};
use crate::domain::guard::Place;
use crate::domain::keys::KeyRing;
use crate::domain::message::{DeliveryReport, Message, MessageState};
use crate::domain::policy::Policy;
use crate::domain::quota::Quota;
use crate::domain::{ChallengeState, Channel, Via};
use crate::storage::{Locks, StoreError, StoreResult, View};

impl Auth {
    /// Moves a message on, for the request of this id; a report that is late, repeated, or of a message that is not ours
    /// changes nothing. Its signature was good.
    ///
    /// # Errors
    /// [`AuthError::Unavailable`] and its like without a database: the provider should try again.
    pub async fn report(
        self: &Arc<Self>,
        report: DeliveryReport,
        request_id: String,
    ) -> Result<(), AuthError> {
        self.note_report(report, Some(request_id)).await
    }

    /// The same, whoever said it; without a request where the provider was asked.
    pub(super) async fn note_report(
        self: &Arc<Self>,
        report: DeliveryReport,
        request_id: Option<String>,
    ) -> Result<(), AuthError> {
        let (state, error_code) = (report.state, report.error_code);
        let (now, settings) = (self.parts.clock.now(), self.settings());
        let of = report.clone();
        let Some(found) = self.parts.store.read(move |view| find(view, &of)).await? else { return Ok(()) };
        let (to, via) = (found.to, taken_by(&report, found.via));
        let country = Place::country_of(&to);
        let moved = self.write(Locks::none().phone(&to), Actor::system(now), move |tx| {
            let Some(message) = find(&**tx, &report)? else { return Ok(false) };
            let actor =
                Actor::system(now).with_phone(&message.to, settings.keys.current().audit_hash(&message.to));
            tx.set_actor(Actor { request_id: request_id.clone(), ..actor });
            advance(tx, &report, message, (&settings.keys, &settings.policy))?;
            Ok(true)
        });
        if moved.await? {
            self.parts.metrics.message_reached(state.as_str());
            if state == MessageState::Delivered {
                self.parts.metrics.sms_delivered(&country, &via.sender, via.channel.as_str());
            }
            if state.is_lost() {
                self.parts.metrics.message_failed(error_code);
            }
        }
        Ok(())
    }
}

/// The message that a report moves on.
fn find(view: &dyn View, report: &DeliveryReport) -> StoreResult<Option<Message>> {
    let by_id = |id| Ok(view.message(id)?.filter(|message| message.sid.is_none()));
    let named = report.sid.as_deref().map_or(Ok(None), |sid| view.message_by_sid(sid))?;
    let found = match named {
        Some(message) => Some(message),
        None => report.message.map_or(Ok(None), by_id)?,
    };
    // A sender that took over may report before the write that says so.
    let is_open = |message: &Message| message.state == MessageState::Intended;
    let is_its = |message: &Message| {
        report.sender.as_ref().is_none_or(|sender| message.via.sender == *sender || is_open(message))
    };
    Ok(found.filter(|message| is_its(message) && message.state.advances_to(report.state)))
}

/// Who has the message that a report is about.
fn taken_by(report: &DeliveryReport, via: Via) -> Via {
    match &report.sender {
        // Programs alone report under their name, and they send text messages.
        Some(sender) if via.sender != *sender => Via::new(sender.clone(), Channel::Sms),
        _ => via,
    }
}

fn advance(
    tx: &mut AuditedTx<'_>,
    report: &DeliveryReport,
    message: Message,
    (keys, policy): (&KeyRing, &Policy),
) -> StoreResult<()> {
    let now = tx.at();
    let challenge = tx.challenge(message.challenge)?.ok_or(StoreError::Broken)?;
    tx.set_actor(Actor::clone(tx.actor()).in_mode(challenge.mode));
    let was_call = message.via.channel == Channel::Voice;
    let mut message = Message {
        via: taken_by(report, message.via),
        sid: report.sid.clone().or(message.sid),
        state: report.state,
        error_code: report.error_code.or(message.error_code),
        updated_at: now,
        ..message
    };
    tx.update_message(&mut message)?;
    if was_call && message.via.channel != Channel::Voice {
        release_call(tx, challenge.id)?;
    }
    // The notice of a change of number goes to the number before, and carries no code of the challenge, which has been used.
    let carries_code = message.to == challenge.phone;
    if report.state.is_lost() {
        let line = tx.did(AuditEvent::SmsUndelivered);
        tx.record(line.detail(AuditDetail::Report(report.state, report.error_code)));
        let may_arrive = |other: &Message| other.to == message.to && !other.state.is_lost();
        if tx.messages_of(challenge.id)?.iter().any(may_arrive) {
            return Ok(());
        }
        // A unit that has returned by itself is not given back: that would cost the phone one of its day's refunds.
        if carries_code && now < challenge.created_at + policy.limits.window_of(Quota::User(challenge.mode)) {
            refund(tx, &challenge, keys)?;
        }
        happened::undelivered(tx, &message)?;
    } else if challenge.state == ChallengeState::Unknown {
        accept(tx, challenge, policy.otp.live_codes)?;
    }
    Ok(())
}
