//! The events of the audit trail, in the words of the OWASP logging vocabulary where it has one.

use std::fmt;
use std::sync::Arc;

use crate::domain::quota::Quota;
use crate::domain::{Mode, PhoneNumber, SessionId, Timestamp, UserId};

mod detail;

pub use detail::{AuditDetail, OperatorAct};

macro_rules! events {
    ($($(#[$doc:meta])* $name:ident = $word:literal,)+) => {
        /// Something that happened and is worth remembering.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum AuditEvent { $($(#[$doc])* $name,)+ }

        impl AuditEvent {
            /// Every event, for filters and completions.
            pub const ALL: &'static [Self] = &[$(Self::$name,)+];

            /// The stable word in rows and logs.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $word,)+ }
            }
        }
    };
}

events! {
    /// A code was asked for and its SMS is about to go out.
    CodeRequested = "authn_code_requested",
    /// The right code was given.
    LoginSuccess = "authn_login_success",
    /// A call of `verify/` was refused; the detail is a [`LoginFailure`].
    LoginFail = "authn_login_fail",
    /// A code took its last wrong guess, or a phone its last of the day.
    LoginFailMax = "authn_login_fail_max",
    /// Tokens were issued.
    TokenCreated = "authn_token_created",
    /// Tokens were revoked.
    TokenRevoked = "authn_token_revoked",
    /// A refresh token was presented again.
    TokenReuse = "authn_token_reuse",
    /// A quota refused: the first of a key and window, then a count.
    LimitExceeded = "excess_rate_limit_exceeded",
    /// A session began.
    SessionCreated = "session_created",
    /// A user row was written.
    UserCreated = "user_created",
    /// The operator changed a user: activated, deactivated, gave another phone.
    UserUpdated = "user_updated",
    /// A user has proven a new number, and the change waits.
    PhoneChangePending = "user_phone_change_pending",
    /// A change of number that waited will not be done.
    PhoneChangeCancelled = "user_phone_change_cancelled",
    /// A user has another number: a line for each of the two.
    PhoneChanged = "user_phone_changed",
    /// The operator gave a user another role.
    RoleChanged = "authz_change",
    /// A user was given all that is kept about the account.
    Exported = "user_exported",
    /// A user is to be deleted when the grace is over; all sessions have ended.
    DeletionRequested = "user_deletion_requested",
    /// A user who was to be deleted stays.
    UserRestored = "user_restored",
    /// A login after a long time gave the number of a user to somebody else.
    UserRecycled = "user_recycled",
    /// A user was deleted.
    UserDeleted = "user_deleted",
    /// The operator brought users from elsewhere, or took back what was begun.
    UsersImported = "users_imported",
    /// The operator gave a key its quotas back.
    LimitReset = "excess_rate_limit_reset",
    /// The operator deleted codes that could not be given any more.
    CodesPurged = "codes_purged",
    /// The operator sent a test message.
    TestSent = "sms_test_sent",
    /// A number logs in with a code of its own from now on, without an SMS.
    TestNumberAdded = "test_number_added",
    /// A test number is a number like any other again.
    TestNumberRemoved = "test_number_removed",
    /// The provider accepted an SMS.
    SmsSent = "sms_sent",
    /// An SMS failed, or its fate is unknown.
    SmsFailed = "sms_failed",
    /// The carrier reported an SMS undelivered.
    SmsUndelivered = "sms_undelivered",
    /// The guard begins to hold messages back, or would.
    SmsBlocked = "sms_blocked",
    /// Most of a budget for messages is spent.
    SmsBudget = "sms_budget_warning",
    /// The operator switched a webhook on again.
    WebhookEnabled = "webhook_enabled",
    /// The operator had webhooks told of events again.
    EventsReplayed = "events_replayed",
    /// The server read its configuration again, and works by it.
    Reloaded = "sys_reload",
    /// The server started.
    Startup = "sys_startup",
    /// The server stopped.
    Shutdown = "sys_shutdown",
}

/// Why a call of `verify/` opened no session: the detail of [`AuditEvent::LoginFail`]. The client learns less.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LoginFailure {
    /// A code that was none of those alive.
    Wrong,
    /// What was given can be no code.
    NotACode,
    /// The code was good until its time was over.
    Expired,
    /// The code was good and has opened a session before.
    Used,
    /// The phone's code has taken all its wrong guesses; this one was not compared.
    OverTried,
    /// The code was good until a newer one was sent.
    Superseded,
    /// No code of the phone is alive.
    NoCode,
    /// The number has neither a user nor a code.
    UnknownNumber,
    /// The right code of a deactivated user.
    Disabled,
    /// The right code of the testing mode, for a user who was verified in production.
    VerifiedInProduction,
    /// The phone has made all its wrong guesses of the day; this one was not compared.
    DaySpent,
    /// A code that does not take the change of number back.
    WrongCancelCode,
}

impl LoginFailure {
    /// The stable words in rows and logs.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Wrong => "wrong",
            Self::NotACode => "not a code",
            Self::Expired => "expired",
            Self::Used => "used",
            Self::OverTried => "over-tried",
            Self::Superseded => "superseded",
            Self::NoCode => "no code",
            Self::UnknownNumber => "unknown number",
            Self::Disabled => "disabled",
            Self::VerifiedInProduction => "verified in production",
            Self::DaySpent => "day spent",
            Self::WrongCancelCode => "wrong cancel code",
        }
    }
}

/// How often a quota refused a key in a window that has closed: the detail of the line that sums the window up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RefusalSummary {
    /// Which quota.
    pub quota: Quota,
    /// All refusals of the window, the first one included, which has a line of its own.
    pub count: u64,
}

impl RefusalSummary {
    /// Reads the detail of a line back; `None` for one that sums nothing up.
    pub fn parse(detail: &str) -> Option<Self> {
        let (quota, count) = detail.strip_suffix(" times")?.split_once(" refused ")?;
        Some(Self { quota: Quota::parse(quota)?, count: count.parse().ok()? })
    }
}

/// The line that sums a window of refusals up. The keys that hash phones are not where it is written: the line of the
/// window's first refusal has the hash, this one only the masked phone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RefusalLine {
    /// In which mode, where the quota has one.
    pub mode: Option<Mode>,
    /// The masked phone, where one was refused.
    pub phone: Option<String>,
    /// The address, where one was refused.
    pub ip: Option<String>,
    /// What it says.
    pub detail: AuditDetail,
}

impl RefusalLine {
    /// Of what a quota refused `subject`; `None` where the first refusal, which was told when it happened, was the only one.
    pub fn of(quota: Quota, subject: &str, counted: i64) -> Option<Self> {
        let count = u64::try_from(counted).ok().filter(|count| *count > 1)?;
        Some(Self {
            mode: quota.mode(),
            phone: PhoneNumber::parse(subject, 1).ok().map(|phone| phone.masked()),
            ip: quota.mode().is_none().then(|| subject.to_owned()),
            detail: AuditDetail::RefusalSummary(RefusalSummary { quota, count }),
        })
    }
}

impl fmt::Display for RefusalSummary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} refused {} times", self.quota.as_str(), self.count)
    }
}

impl AuditEvent {
    /// Reads the word back.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|event| event.as_str() == word)
    }

    /// How often it happened, as a line with this detail tells beyond all lines before. The first refusal of a window has a line of its own; the
    /// line that sums the window up counts it again.
    pub fn times(self, detail: Option<&str>) -> u64 {
        let summary = detail.filter(|_| self == Self::LimitExceeded).and_then(RefusalSummary::parse);
        summary.map_or(1, |summary| summary.count.saturating_sub(1))
    }
}

/// One line of the audit trail.
#[derive(Clone, Debug)]
pub struct AuditRecord {
    /// Who did it, when and from where.
    pub actor: Arc<Actor>,
    /// What.
    pub event: AuditEvent,
    /// Whom it concerns.
    pub user: Option<UserId>,
    /// Which session.
    pub session: Option<SessionId>,
    /// More.
    pub detail: Option<AuditDetail>,
}

/// Who acts, as audit rows have it: the same for every line of one request. Phones are masked; the keyed hash finds all lines
/// of one number.
#[derive(Clone, Debug)]
pub struct Actor {
    /// The instant of the act.
    pub at: Timestamp,
    /// In which mode, where that means something.
    pub mode: Option<Mode>,
    /// The masked phone and its keyed hash.
    pub phone: Option<(String, [u8; 16])>,
    /// From where.
    pub ip: Option<String>,
    /// The request.
    pub request_id: Option<String>,
}

impl Actor {
    /// Somebody of whom only the instant is known, such as the server itself.
    pub const fn system(at: Timestamp) -> Self {
        Self { at, mode: None, phone: None, ip: None, request_id: None }
    }

    /// With a phone, masked and hashed under the current key.
    #[must_use]
    pub fn with_phone(self, phone: &PhoneNumber, hash: [u8; 16]) -> Self {
        Self { phone: Some((phone.masked(), hash)), ..self }
    }

    /// In a mode.
    #[must_use]
    pub fn in_mode(self, mode: Mode) -> Self {
        Self { mode: Some(mode), ..self }
    }

    /// A line about `event`, to be completed with user, session and detail.
    pub fn did(self: &Arc<Self>, event: AuditEvent) -> AuditRecord {
        AuditRecord { actor: self.clone(), event, user: None, session: None, detail: None }
    }
}

impl AuditRecord {
    /// Names the user, if there is one.
    #[must_use]
    pub fn user(self, user: impl Into<Option<UserId>>) -> Self {
        Self { user: user.into(), ..self }
    }

    /// Names the session.
    #[must_use]
    pub fn session(self, session: &SessionId) -> Self {
        Self { session: Some(session.clone()), ..self }
    }

    /// Says more, if there is more to say.
    #[must_use]
    pub fn detail(self, detail: impl Into<Option<AuditDetail>>) -> Self {
        Self { detail: detail.into(), ..self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_summary_of_refusals_reads_back_and_no_other_detail_does() {
        for quota in Quota::ALL {
            let summary = RefusalSummary { quota, count: 17 };
            assert_eq!(RefusalSummary::parse(&summary.to_string()), Some(summary));
        }
        for other in ["ip:request", "nothing refused 3 times", "ip refused many times", "ip refused 3"] {
            assert_eq!(RefusalSummary::parse(other), None, "{other}");
        }
    }

    #[test]
    fn a_window_of_refusals_is_summed_up_from_the_second_on() {
        let user = Quota::User(Mode::Production);
        for counted in [-1, 0, 1] {
            assert_eq!(RefusalLine::of(user, "+15550000001", counted), None, "{counted}");
        }
        let of_phone = RefusalLine::of(user, "+15550000001", 2).unwrap();
        assert_eq!((of_phone.mode, of_phone.ip), (Some(Mode::Production), None));
        assert!(of_phone.phone.is_some_and(|phone| phone.contains('*')));
        assert_eq!(of_phone.detail, AuditDetail::RefusalSummary(RefusalSummary { quota: user, count: 2 }));
        let of_address = RefusalLine::of(Quota::IpShared, "203.0.113.7", 2).unwrap();
        assert_eq!((of_address.mode, of_address.phone), (None, None));
        assert_eq!(of_address.ip.as_deref(), Some("203.0.113.7"));
    }

    #[test]
    fn a_summary_counts_for_refusals_alone() {
        let summary = RefusalSummary { quota: Quota::IpShared, count: 17 }.to_string();
        assert_eq!(AuditEvent::LimitExceeded.times(Some(&summary)), 16);
        assert_eq!(AuditEvent::LimitExceeded.times(None), 1);
        assert_eq!(AuditEvent::LoginFail.times(Some(&summary)), 1);
    }
}
