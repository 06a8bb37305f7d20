//! The audit trail of one flow: every line is written in the transaction of what it tells, and logged after its commit.

use crate::domain::audit::{AuditEvent, AuditRecord};
use crate::storage::{StoreResult, Tx};

/// The lines of one flow, in order; most are rows too.
#[derive(Debug, Default)]
pub(super) struct Trail(Vec<AuditRecord>);

impl Trail {
    /// Writes a line within the transaction.
    pub(super) fn add(&mut self, tx: &mut dyn Tx, record: AuditRecord) -> StoreResult<()> {
        self.0.push(record.clone());
        tx.audit(record)
    }

    /// Adds a line to the log alone.
    pub(super) fn only_log(&mut self, record: AuditRecord) {
        self.0.push(record);
    }

    /// Logs the lines, once they are durable: what an operator should see at `info` or `warn`, the steps between at
    /// `debug`.
    pub(super) fn log(self) {
        for record in self.0 {
            log(&record);
        }
    }
}

fn log(record: &AuditRecord) {
    macro_rules! line {
        ($level:ident) => {
            tracing::$level!(
                event = record.event.as_str(),
                channel = record.mode.map(tracing::field::display),
                user_id = record.user.map(|user| user.0),
                phone = record.phone.as_ref().map(|(masked, _)| masked.as_str()),
                ip = record.ip.as_deref(),
                session = record.session.as_ref().map(tracing::field::display),
                request_id = record.request_id.as_deref(),
                detail = record.detail.as_deref(),
                "{}",
                sentence(record.event)
            )
        };
    }
    match record.event {
        AuditEvent::LoginFailMax | AuditEvent::LimitExceeded | AuditEvent::TokenReuse => {
            line!(warn);
        }
        AuditEvent::LoginFail
        | AuditEvent::SmsFailed
        | AuditEvent::SmsUndelivered
        | AuditEvent::TokenRevoked
        | AuditEvent::UserUpdated
        | AuditEvent::RoleChanged
        | AuditEvent::UserDeleted
        | AuditEvent::UsersImported
        | AuditEvent::LimitReset
        | AuditEvent::CodesPurged
        | AuditEvent::TestSent
        | AuditEvent::TestNumberAdded
        | AuditEvent::TestNumberRemoved
        | AuditEvent::LoginSuccess
        | AuditEvent::SmsSent
        | AuditEvent::Startup
        | AuditEvent::Shutdown => line!(info),
        AuditEvent::CodeRequested
        | AuditEvent::TokenCreated
        | AuditEvent::SessionCreated
        | AuditEvent::UserCreated => line!(debug),
    }
}

fn sentence(event: AuditEvent) -> &'static str {
    match event {
        AuditEvent::CodeRequested => "a code was requested",
        AuditEvent::LoginSuccess => "the right code was given",
        AuditEvent::LoginFail => "a login was refused",
        AuditEvent::LoginFailMax => "too many wrong codes",
        AuditEvent::TokenCreated => "tokens were issued",
        AuditEvent::TokenRevoked => "tokens were revoked",
        AuditEvent::TokenReuse => "a refresh token was presented again",
        AuditEvent::LimitExceeded => "a limit refused",
        AuditEvent::SessionCreated => "a session began",
        AuditEvent::UserCreated => "a user was created",
        AuditEvent::UserUpdated => "a user was changed",
        AuditEvent::RoleChanged => "a user has another role",
        AuditEvent::UserDeleted => "a user was deleted",
        AuditEvent::UsersImported => "users were imported",
        AuditEvent::LimitReset => "a limit was reset",
        AuditEvent::CodesPurged => "old codes were deleted",
        AuditEvent::TestSent => "a test message was sent",
        AuditEvent::TestNumberAdded => "a number became a test number",
        AuditEvent::TestNumberRemoved => "a test number is one no longer",
        AuditEvent::SmsSent => "the provider accepted an SMS",
        AuditEvent::SmsFailed => "an SMS failed",
        AuditEvent::SmsUndelivered => "an SMS was not delivered",
        AuditEvent::Startup => "the server started",
        AuditEvent::Shutdown => "the server stopped",
    }
}
