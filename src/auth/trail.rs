//! The lines of the audit trail that one transaction writes, and how they are logged after its commit.

use crate::domain::audit::{AuditEvent, AuditRecord};

/// The lines of one transaction, in order.
#[derive(Debug, Default)]
pub(super) struct Trail {
    rows: Vec<AuditRecord>,
    /// How many of them are written.
    written: usize,
    /// Lines of the log alone.
    log_only: Vec<AuditRecord>,
}

impl Trail {
    /// Adds a line.
    pub(super) fn add(&mut self, record: AuditRecord) {
        self.rows.push(record);
    }

    /// Adds a line to the log alone.
    pub(super) fn only_log(&mut self, record: AuditRecord) {
        self.log_only.push(record);
    }

    /// The lines that are yet to be written; they count as written from now on.
    pub(super) fn take_unwritten(&mut self) -> &[AuditRecord] {
        let begin = std::mem::replace(&mut self.written, self.rows.len());
        &self.rows[begin..]
    }

    /// Logs the lines, once they are durable: what an operator should see at `info` or `warn`, the steps between at
    /// `debug`.
    pub(super) fn log(&self) {
        self.rows.iter().chain(&self.log_only).for_each(log);
    }
}

fn log(record: &AuditRecord) {
    macro_rules! line {
        ($level:ident) => {
            tracing::$level!(
                event = record.event.as_str(),
                channel = record.actor.mode.map(tracing::field::display),
                user_id = record.user.map(|user| user.0),
                phone = record.actor.phone.as_ref().map(|(masked, _)| masked.as_str()),
                ip = record.actor.ip.as_deref(),
                session = record.session.as_ref().map(tracing::field::display),
                request_id = record.actor.request_id.as_deref(),
                detail = record.detail.as_ref().map(tracing::field::display),
                "{}",
                sentence(record.event)
            )
        };
    }
    match record.event {
        AuditEvent::LoginFailMax
        | AuditEvent::LimitExceeded
        | AuditEvent::TokenReuse
        | AuditEvent::SmsBlocked
        | AuditEvent::SmsBudget => {
            line!(warn);
        }
        AuditEvent::LoginFail
        | AuditEvent::SmsFailed
        | AuditEvent::SmsUndelivered
        | AuditEvent::TokenRevoked
        | AuditEvent::UserUpdated
        | AuditEvent::PhoneChangePending
        | AuditEvent::PhoneChangeCancelled
        | AuditEvent::PhoneChanged
        | AuditEvent::RoleChanged
        | AuditEvent::Exported
        | AuditEvent::DeletionRequested
        | AuditEvent::UserRestored
        | AuditEvent::UserRecycled
        | AuditEvent::UserDeleted
        | AuditEvent::UsersImported
        | AuditEvent::LimitReset
        | AuditEvent::CodesPurged
        | AuditEvent::TestSent
        | AuditEvent::TestNumberAdded
        | AuditEvent::TestNumberRemoved
        | AuditEvent::LoginSuccess
        | AuditEvent::SmsSent
        | AuditEvent::WebhookEnabled
        | AuditEvent::EventsReplayed
        | AuditEvent::Reloaded
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
        AuditEvent::PhoneChangePending => "a change of number waits",
        AuditEvent::PhoneChangeCancelled => "a change of number was cancelled",
        AuditEvent::PhoneChanged => "a user has another number",
        AuditEvent::RoleChanged => "a user has another role",
        AuditEvent::Exported => "a user was given all that is kept about the account",
        AuditEvent::DeletionRequested => "a user asked for the deletion of the account",
        AuditEvent::UserRestored => "a user who was to be deleted stays",
        AuditEvent::UserRecycled => "the number of a dormant account went to somebody else",
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
        AuditEvent::SmsBlocked => "messages to new numbers are held back",
        AuditEvent::SmsBudget => "most of a budget for messages is spent",
        AuditEvent::WebhookEnabled => "a webhook was switched on",
        AuditEvent::EventsReplayed => "events are sent again",
        AuditEvent::Reloaded => "the server works by its configuration as it is now",
        AuditEvent::Startup => "the server started",
        AuditEvent::Shutdown => "the server stopped",
    }
}
