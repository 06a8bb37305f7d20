//! Opening a session, within the number that a user may have; the audit trail has a line about it.

use std::sync::Arc;

use super::audited::AuditedTx;
use super::ending::end;
use super::{Auth, Origin, happened};
use crate::domain::audit::{AuditDetail, AuditEvent};
use crate::domain::clock::Times;
use crate::domain::policy::Policy;
use crate::domain::session::{EndReason, Login};
use crate::domain::{DeviceId, EventKind, Session, SessionId, Timestamp, UserId};
use crate::random;
use crate::storage::StoreResult;

/// What opens a session.
#[derive(Clone, Copy, Debug)]
pub(super) enum OpenedBy {
    /// The code that was sent to the number.
    Code,
    /// The code of a test number; what it opens ends when that does.
    TestNumber {
        /// The end.
        until: Timestamp,
    },
    /// A foreign refresh token.
    Exchange,
}

impl OpenedBy {
    /// The detail of its lines in the audit trail; none for a code that was sent.
    pub(super) fn detail(self) -> Option<AuditDetail> {
        match self {
            Self::Code => None,
            Self::TestNumber { .. } => Some(AuditDetail::TestNumber),
            Self::Exchange => Some(AuditDetail::Exchanged),
        }
    }
}

/// A session that a write may open; drawn and derived beforehand.
pub(super) struct NewSession {
    /// Its name.
    pub(super) id: SessionId,
    jti: String,
    device: String,
    ip: String,
    /// What time it was when it was drawn.
    pub(super) times: Times,
    policy: Arc<Policy>,
}

impl Auth {
    /// Draws a session for whoever calls from `origin` with a device of this name.
    pub(super) fn new_session(&self, device: String, origin: &Origin, times: Times) -> NewSession {
        let random = &*self.parts.random;
        NewSession {
            id: random::session_id(random, times.now),
            jti: random::jti(random),
            device,
            ip: origin.address.to_string(),
            times,
            policy: self.policy(),
        }
    }
}

impl NewSession {
    /// Opens it for a user on a device, and audits what opened it.
    pub(super) fn open(
        &self,
        tx: &mut AuditedTx<'_>,
        user: UserId,
        by: OpenedBy,
        device_id: Option<DeviceId>,
    ) -> StoreResult<Session> {
        let login = Login { user, device: self.device.clone(), ip: self.ip.clone() };
        let lifetimes = &self.policy.lifetimes;
        let mut session = Session::open(self.id.clone(), self.jti.clone(), login, &self.times, lifetimes);
        if let OpenedBy::TestNumber { until } = by {
            session = session.bounded(until);
        }
        let session = Session { device_id, ..session };
        self.end_surplus(tx, user)?;
        tx.insert_session(&session)?;
        for event in [AuditEvent::SessionCreated, AuditEvent::TokenCreated] {
            let mut line = tx.did(event).user(user).session(&session.id);
            line.detail = by.detail();
            tx.record(line);
        }
        happened::to_session(tx, EventKind::SessionCreated, &session)?;
        Ok(session)
    }

    /// Ends the user's oldest sessions, so that one more stays within the most that a user may have.
    fn end_surplus(&self, tx: &mut AuditedTx<'_>, user: UserId) -> StoreResult<()> {
        let sessions = tx.live_sessions(user, self.times.earlier())?;
        let surplus = (sessions.len() + 1).saturating_sub(self.policy.max_sessions);
        for oldest in sessions.into_iter().take(surplus) {
            end(tx, oldest, EndReason::Displaced)?;
        }
        Ok(())
    }
}
