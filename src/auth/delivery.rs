//! What the provider reports of a message, after it was accepted.

use std::sync::Arc;
use std::time::Duration;

use super::settle::{accept, refund};
use super::trail::Trail;
use super::{Auth, AuthError};
use crate::domain::audit::{Actor, AuditEvent};
use crate::domain::message::{DeliveryReport, Message};
use crate::domain::{ChallengeState, Timestamp};
use crate::storage::{StoreError, StoreResult, Tx};

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
        let (state, error_code) = (report.state, report.error_code);
        let (now, live_codes) = (self.parts.clock.now(), self.policy().otp.live_codes);
        let keys = self.parts.keys.current().clone();
        let window = self.policy().limits.window;
        let moved = self
            .parts
            .store
            .write(move |tx| {
                let Some(message) = find(tx, &report)?.filter(|found| found.state.advances_to(report.state))
                else {
                    return Ok(None);
                };
                let mut trail = Trail::default();
                let mut actor = Actor::system(now).with_phone(&message.to, keys.audit_hash(&message.to));
                actor.request_id = Some(request_id);
                advance(tx, &mut trail, &actor, &report, message, (live_codes, window))?;
                Ok(Some(trail))
            })
            .await?;
        if let Some(trail) = moved {
            trail.log();
            self.parts.metrics.message_reached(state.as_str());
            if state.is_lost() {
                self.parts.metrics.message_failed(error_code);
            }
        }
        Ok(())
    }
}

fn find(tx: &mut dyn Tx, report: &DeliveryReport) -> StoreResult<Option<Message>> {
    if let Some(message) = tx.message_by_sid(&report.sid)? {
        return Ok(Some(message));
    }
    let Some(id) = report.message else { return Ok(None) };
    Ok(tx.message(id)?.filter(|message| message.sid.is_none()))
}

fn advance(
    tx: &mut dyn Tx,
    trail: &mut Trail,
    actor: &Actor,
    report: &DeliveryReport,
    message: Message,
    (live_codes, window): (usize, Duration),
) -> StoreResult<()> {
    let now: Timestamp = actor.at;
    let challenge = tx.challenge(message.challenge)?.ok_or(StoreError::Broken)?;
    let actor = Actor { mode: Some(challenge.mode), ..actor.clone() };
    let message = Message {
        sid: Some(report.sid.clone()),
        state: report.state,
        error_code: report.error_code.or(message.error_code),
        updated_at: now,
        ..message
    };
    tx.update_message(&message)?;
    if report.state.is_lost() {
        // A unit that has returned by itself is not given back: that would cost the phone one of its day's refunds.
        if now < challenge.created_at + window {
            refund(tx, &challenge, now)?;
        }
        let what = report.error_code.map_or_else(String::new, |code| format!(" {code}"));
        trail.add(
            tx,
            actor.did(AuditEvent::SmsUndelivered).detail(format!("{}{what}", report.state.as_str())),
        )?;
    } else if challenge.state == ChallengeState::Unknown {
        accept(tx, challenge, live_codes)?;
    }
    Ok(())
}
