//! All that is kept about a user, for that user.

use std::sync::Arc;

use super::error::{FlowError, commit_refusal};
use super::quota::{QuotaState, Spent, Subject, WithQuotas, refuse, spend};
use super::{AuditedTx, Auth, AuthError, Authenticated, Origin};
use crate::domain::audit::AuditEvent;
use crate::domain::message::Message;
use crate::domain::quota::{EXPORTS, Quota};
use crate::domain::{Device, Session, Timestamp, User, UserId};
use crate::storage::audit::{AuditLine, AuditOf};
use crate::storage::{Locks, StoreResult, View};

/// The most rows of each kind that an export holds: some two megabytes.
const ROWS: usize = 5000;

/// All that is kept about a user.
#[derive(Clone, Debug)]
pub struct AccountExport {
    /// When it was put together.
    pub at: Timestamp,
    /// Whether it is all; else the oldest of some kind are left out.
    pub is_complete: bool,
    /// The user.
    pub user: User,
    /// Sessions, ended or not, the newest first.
    pub sessions: Vec<Session>,
    /// Devices, expired or not, the one whose token was issued first at the front.
    pub devices: Vec<Device>,
    /// Messages with codes for the number, the newest first.
    pub messages: Vec<Message>,
    /// Lines of the audit trail about the user, the newest first.
    pub events: Vec<AccountEvent>,
}

/// A line of the audit trail about a user.
#[derive(Clone, Debug)]
pub struct AccountEvent {
    /// When.
    pub at: Timestamp,
    /// What.
    pub event: AuditEvent,
    /// From where.
    pub ip: Option<String>,
    /// Which session.
    pub session: Option<String>,
    /// The request that did it.
    pub request_id: Option<String>,
    /// More, in a few words.
    pub detail: Option<String>,
}

impl Auth {
    /// All that is kept about the bearer, once an hour.
    pub async fn export(
        self: &Arc<Self>,
        bearer: &Authenticated,
        origin: Origin,
    ) -> WithQuotas<AccountExport> {
        let (auth, user) = (self.clone(), bearer.user.id);
        self.run(async move { auth.export_once(user, origin).await })
            .await
            .unwrap_or_else(|died| WithQuotas::none(Err(died)))
    }

    async fn export_once(&self, user: UserId, origin: Origin) -> WithQuotas<AccountExport> {
        let at = self.parts.clock.now();
        let spent = self.write(Locks::none().user(user), origin.actor(at), move |tx| {
            let mut state = None;
            let allowed = commit_refusal(allow(tx, user, &mut state))?;
            Ok((state, allowed))
        });
        let (state, result) = match spent.await {
            Ok((state, Ok(()))) => {
                let export = self.parts.store.read(move |view| collect(view, user, at)).await;
                let export = export.map_err(AuthError::from);
                (state, export.and_then(|export| export.ok_or(AuthError::TokenInvalid)))
            }
            Ok((state, Err(refusal))) => (state, Err(refusal)),
            Err(error) => (None, Err(error.into())),
        };
        WithQuotas { quotas: state.into_iter().collect(), result }
    }
}

/// Spends the one of the hour.
fn allow(tx: &mut AuditedTx<'_>, user: UserId, state: &mut Option<QuotaState>) -> Result<(), FlowError> {
    // The token was read with what memory knew.
    let found = tx.user(user)?.ok_or(AuthError::TokenInvalid)?;
    if !found.is_active {
        return Err(AuthError::AccountDisabled.into());
    }
    let subject = user.to_string();
    match spend(tx, Quota::Export, &Subject::plain(&subject), &[EXPORTS])? {
        Spent::Off => {}
        Spent::Unit(_, spent) => *state = Some(spent),
        Spent::Refused(refused) => {
            *state = Some(refused);
            return Err(refuse(tx, Quota::Export, &subject, refused.reset)?.into());
        }
    }
    tx.record(tx.did(AuditEvent::Exported).user(user));
    Ok(())
}

fn collect(view: &dyn View, user: UserId, at: Timestamp) -> StoreResult<Option<AccountExport>> {
    let Some(user) = view.user(user)? else { return Ok(None) };
    let sessions = view.sessions_of(user.id, ROWS)?;
    let messages = match &user.phone {
        Some(phone) => view.messages_to(phone, ROWS)?,
        None => Vec::new(),
    };
    let lines = view.audit_before(&AuditOf::User(user.id), i64::MAX, ROWS)?;
    let is_complete = [sessions.len(), messages.len(), lines.len()].into_iter().all(|rows| rows < ROWS);
    let devices = view.devices_of(user.id)?;
    let events = lines.into_iter().map(AccountEvent::from).collect();
    Ok(Some(AccountExport { at, is_complete, user, sessions, devices, messages, events }))
}

impl From<AuditLine> for AccountEvent {
    fn from(line: AuditLine) -> Self {
        let AuditLine { at, event, ip, session, request_id, detail, .. } = line;
        Self { at, event, ip, session, request_id, detail }
    }
}
