//! Whoever presents a refresh token, and what is done about one that was presented before.

use std::time::Duration;

use super::AuthError;
use super::ending::{and_untold, end};
use super::trail::Trail;
use crate::domain::audit::{Actor, AuditEvent, AuditRecord};
use crate::domain::clock::Times;
use crate::domain::session::{EndReason, Evidence, Presentation, RefreshDecision, Repetition};
use crate::domain::{ClientAddress, Session, User};
use crate::metrics::Metrics;
use crate::storage::{StoreResult, Tx, View};
use crate::tokens::Claims;

/// The word in metrics for a token that ended its session; those of repetitions are their own.
const ENDED: &str = "ended";

/// Every kind of reuse that metrics count.
pub const TOKEN_REUSES: [&str; 4] = [
    Repetition::PromptElsewhere.as_str(),
    Repetition::Late.as_str(),
    Repetition::LateElsewhere.as_str(),
    ENDED,
];

/// Who presents a refresh token.
pub(super) struct Presenter {
    pub(super) actor: Actor,
    pub(super) address: ClientAddress,
    pub(super) times: Times,
    /// How long after its rotation a token may come again.
    pub(super) grace: Duration,
}

/// The session whose current pair is the answer, and its user.
pub(super) type Rotated = Result<(Session, User), AuthError>;

/// What is told of a presentation once its write is durable.
#[derive(Default)]
pub(super) struct Told {
    pub(super) trail: Trail,
    reuse: Option<&'static str>,
}

impl Told {
    /// Logs the lines and counts the reuse.
    pub(super) fn publish(self, metrics: &Metrics) {
        self.trail.log();
        if let Some(kind) = self.reuse {
            metrics.token_reused(kind);
        }
    }
}

impl Presenter {
    /// When and from where a token of `session` comes.
    pub(super) fn presentation(&self, session: &Session) -> Presentation {
        Presentation {
            now: self.times.now,
            grace: self.grace,
            from_elsewhere: session.is_elsewhere(self.address),
        }
    }

    /// Notes a repetition, and tells of it unless it is as when an answer is lost. One who repeats an old token over and
    /// over leaves a line an hour; the rest are counted, and told with the session's next line.
    pub(super) fn repeats(
        &self,
        tx: &mut dyn Tx,
        told: &mut Told,
        session: Session,
        repetition: Repetition,
    ) -> StoreResult<Session> {
        let detail = match repetition {
            Repetition::Prompt => return Ok(session),
            Repetition::Late => "repeated after the grace",
            Repetition::PromptElsewhere | Repetition::LateElsewhere => "repeated from another network",
        };
        told.reuse = Some(repetition.as_str());
        let (session, untold) = session.repeated(repetition, self.actor.at);
        tx.update_session(&session)?;
        if let Some(untold) = untold {
            let line = self.line(AuditEvent::TokenReuse, &session);
            told.trail.add(tx, line.detail(and_untold(detail, untold)))?;
        }
        Ok(session)
    }

    /// Ends a session of which a token was presented outside the rules; gives what to answer.
    pub(super) fn reuses(
        &self,
        tx: &mut dyn Tx,
        told: &mut Told,
        session: Session,
        evidence: Evidence,
    ) -> StoreResult<AuthError> {
        told.reuse = Some(ENDED);
        let detail = and_untold(evidence.as_str(), session.replays_untold);
        told.trail.add(tx, self.line(AuditEvent::TokenReuse, &session).detail(detail))?;
        let session = Session { replays_untold: 0, ..session };
        end(tx, &mut told.trail, &self.actor, session, EndReason::Reuse)?;
        Ok(AuthError::TokenReused)
    }

    pub(super) fn line(&self, event: AuditEvent, session: &Session) -> AuditRecord {
        self.actor.did(event).user(session.user).session(&session.id)
    }
}

/// Judges a refresh token by the session's row and what is known of its earlier generations.
pub(super) fn judge(
    view: &dyn View,
    session: &Session,
    claims: &Claims,
    presentation: &Presentation,
) -> StoreResult<RefreshDecision> {
    let away = view.rotated_at(&session.id, claims.generation)?;
    Ok(session.present(claims.generation, &claims.jti, away, presentation))
}
