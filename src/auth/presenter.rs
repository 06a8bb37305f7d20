//! Whoever presents a refresh token, and what is done about one that was presented before.

use std::time::Duration;

use super::AuthError;
use super::audited::AuditedTx;
use super::ending::end;
use crate::domain::audit::{AuditDetail, AuditEvent, AuditRecord};
use crate::domain::clock::Times;
use crate::domain::session::{EndReason, Evidence, Presentation, RefreshDecision, Repetition};
use crate::domain::{ClientAddress, Session, User};
use crate::storage::{StoreResult, View};
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

/// Where and when a refresh token is presented.
pub(super) struct Presenter {
    pub(super) address: ClientAddress,
    pub(super) times: Times,
    /// How long after its rotation a token may come again.
    pub(super) grace: Duration,
}

/// The session whose current pair is the answer, and its user.
pub(super) struct Answer {
    pub(super) session: Session,
    pub(super) user: User,
    /// Whether it was given before.
    pub(super) is_repeated: bool,
}

/// What a refresh came to.
pub(super) struct Refreshed {
    pub(super) answer: Result<Answer, AuthError>,
    /// How the token was reused, in the word of the metrics, where it was.
    pub(super) reuse: Option<&'static str>,
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
}

/// Notes a repetition, and audits it unless it is as when an answer is lost. One who repeats an old token over and over
/// leaves a line an hour; the rest are counted, and the session's next line has the count.
pub(super) fn repeat(
    tx: &mut AuditedTx<'_>,
    reuse: &mut Option<&'static str>,
    session: Session,
    repetition: Repetition,
) -> StoreResult<Session> {
    let elsewhere = match repetition {
        Repetition::Prompt => return Ok(session),
        Repetition::Late => false,
        Repetition::PromptElsewhere | Repetition::LateElsewhere => true,
    };
    *reuse = Some(repetition.as_str());
    let (mut session, unlisted) = session.repeated(repetition, tx.at());
    tx.update_session(&mut session)?;
    if let Some(unlisted) = unlisted {
        let detail = AuditDetail::Repeated { elsewhere, unlisted };
        tx.record(line(tx, AuditEvent::TokenReuse, &session).detail(detail));
    }
    Ok(session)
}

/// Ends a session of which a token was presented outside the rules; gives what to answer.
pub(super) fn end_reused(
    tx: &mut AuditedTx<'_>,
    reuse: &mut Option<&'static str>,
    session: Session,
    evidence: Evidence,
) -> StoreResult<AuthError> {
    *reuse = Some(ENDED);
    let detail = AuditDetail::Reused { evidence, unlisted: session.replays_untold };
    tx.record(line(tx, AuditEvent::TokenReuse, &session).detail(detail));
    end(tx, Session { replays_untold: 0, ..session }, EndReason::Reuse)?;
    Ok(AuthError::TokenReused)
}

/// The beginning of a line about a session.
pub(super) fn line(tx: &AuditedTx<'_>, event: AuditEvent, session: &Session) -> AuditRecord {
    tx.did(event).user(session.user).session(&session.id)
}

/// Judges a refresh token by the session's row and what is known of its earlier generations.
pub(super) fn judge(
    view: &dyn View,
    session: &Session,
    claims: &Claims,
    presentation: &Presentation,
) -> StoreResult<RefreshDecision> {
    // The current one is still there.
    let is_older = claims.generation < session.generation;
    let away = if is_older { view.rotated_at(&session.id, claims.generation)? } else { None };
    Ok(session.present(claims.generation, &claims.jti, away, presentation))
}
