//! The detail of a line of the audit trail: more, in a few stable words; never a code, a token or input as it came.

use std::fmt;

use super::{LoginFailure, RefusalSummary};
use crate::domain::Timestamp;
use crate::domain::budget::{BudgetWarning, Share};
use crate::domain::guard::GuardMode;
use crate::domain::message::{MessageState, Unsent};
use crate::domain::phone_change::Cancelled;
use crate::domain::quota::Quota;
use crate::domain::session::{EndReason, Evidence};
use crate::domain::test_number::Source;

/// What more there is to an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AuditDetail {
    /// Why a call of `verify/` opened no session.
    LoginFailure(LoginFailure),
    /// So many more attempts of an hour were refused without a line of their own.
    MoreAttempts(u64),
    /// A code has taken its last wrong guess.
    CodeOverTried,
    /// A phone has made its last wrong guess of the day.
    DaySpent,
    /// The code is for a change of number.
    PhoneChange,
    /// A change of number; the line has the number before.
    OldPhone,
    /// The same; the line has the new one.
    NewPhone,
    /// Why a change of number will not be done.
    PhoneChangeCancelled(Cancelled),
    /// A test number made it possible.
    TestNumber,
    /// A session was opened by a foreign refresh token.
    Exchanged,
    /// A verify was repeated, and answered the same.
    RepeatedVerify,
    /// A foreign refresh token was logged out.
    ForeignLogout,
    /// All foreign tokens of a user were logged out.
    ForeignTokens,
    /// Which quota refused.
    Refused(Quota),
    /// How often a quota refused in a window that has closed.
    RefusalSummary(RefusalSummary),
    /// A refresh token was presented again.
    Repeated {
        /// From another network, or after the grace.
        elsewhere: bool,
        /// How many repetitions were counted since the session's last line about them.
        unlisted: u32,
    },
    /// A refresh token was presented outside the rules.
    Reused {
        /// What tells so.
        evidence: Evidence,
        /// How many repetitions were counted since the session's last line about them.
        unlisted: u32,
    },
    /// A session ended.
    Ended {
        /// Why.
        reason: EndReason,
        /// Whether the operator ended it.
        by_operator: bool,
        /// How many repetitions were counted since the session's last line about them.
        unlisted: u32,
    },
    /// A code found no sender.
    Unsent(Unsent),
    /// The provider refused a message.
    SmsRefused(String),
    /// The provider's answer was lost.
    SmsUnknown(String),
    /// The provider's answer was lost, and a report of the message had come before.
    SmsReported(String),
    /// What a report said of a message.
    Report(MessageState, Option<i64>),
    /// The guard begins to hold messages back, or would.
    Blocked {
        /// What, and why, in words.
        what: String,
        /// Until when, as far as is known.
        until: Timestamp,
        /// Whether it does.
        mode: GuardMode,
    },
    /// Most of a budget is spent.
    BudgetWarning(BudgetWarning),
    /// A user did it to the own account, and proved the number.
    ByOwner,
    /// The time was over in which a login restores the account.
    GraceOver,
    /// What the operator did.
    Operator(OperatorAct),
}

/// What the operator did, beside ending sessions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OperatorAct {
    /// Wrote a user.
    Created,
    /// Gave a user another role.
    Role {
        /// The one before.
        from: String,
        /// The one since.
        to: String,
    },
    /// Noted something else about a user.
    Attributes,
    /// Activated a user.
    Activated,
    /// Deactivated a user.
    Deactivated,
    /// Gave a user another phone; the line has the old one.
    OldPhone,
    /// The same; the line has the new one.
    NewPhone,
    /// Took a change of number back.
    PhoneChangeCancelled,
    /// Made a user's foreign tokens worthless.
    ForeignRevoked,
    /// Deleted a user.
    Deleted,
    /// Kept a user who was to be deleted.
    Restored,
    /// Gave units of quotas back.
    UnitsReturned(usize),
    /// Deleted codes.
    CodesDeleted(usize),
    /// Imported users.
    Imported(usize),
    /// Removed imported users again.
    ImportUndone(usize),
    /// Sent a test message; what came of it.
    TestMessage(&'static str),
    /// Added or removed a test number.
    TestNumber(Source),
    /// Switched a webhook of this name on.
    WebhookEnabled(String),
    /// Had a webhook told of events again.
    EventsReplayed {
        /// Its name.
        webhook: String,
        /// How many.
        events: usize,
    },
}

/// How many repetitions a line sums up; nothing where there are none.
struct Unlisted(u32);

impl fmt::Display for Unlisted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            0 => Ok(()),
            unlisted => write!(f, "; {unlisted} repetitions before it"),
        }
    }
}

impl fmt::Display for AuditDetail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::LoginFailure(failure) => f.write_str(failure.as_str()),
            Self::MoreAttempts(count) => write!(f, "{count} more"),
            Self::CodeOverTried => f.write_str("code"),
            Self::DaySpent => f.write_str("day"),
            Self::PhoneChange => f.write_str("change of number"),
            Self::OldPhone => f.write_str("the old number"),
            Self::NewPhone => f.write_str("the new number"),
            Self::PhoneChangeCancelled(why) => f.write_str(why.as_str()),
            Self::TestNumber => f.write_str("test number"),
            Self::Exchanged => f.write_str("exchanged a foreign refresh token"),
            Self::RepeatedVerify => f.write_str("repeated verify"),
            Self::ForeignLogout => f.write_str("logout: a foreign refresh token"),
            Self::ForeignTokens => f.write_str("logout: foreign tokens"),
            Self::Refused(quota) => f.write_str(quota.as_str()),
            Self::RefusalSummary(summary) => summary.fmt(f),
            Self::Repeated { elsewhere, unlisted } => {
                let how = if *elsewhere { "from another network" } else { "after the grace" };
                write!(f, "repeated {how}{}", Unlisted(*unlisted))
            }
            Self::Reused { evidence, unlisted } => write!(f, "{}{}", evidence.as_str(), Unlisted(*unlisted)),
            Self::Ended { reason, by_operator, unlisted } => {
                let by = if *by_operator { "operator: " } else { "" };
                write!(f, "{by}{}{}", reason.as_str(), Unlisted(*unlisted))
            }
            Self::Unsent(Unsent::BreakerOpen) => {
                f.write_str("not sent: the provider is left alone after failures")
            }
            Self::Unsent(Unsent::Overloaded) => f.write_str("not sent: no place was free at the provider"),
            Self::SmsRefused(how) => write!(f, "refused: {how}"),
            Self::SmsUnknown(how) => write!(f, "unknown: {how}"),
            Self::SmsReported(how) => write!(f, "reported: {how}"),
            Self::Report(state, None) => f.write_str(state.as_str()),
            Self::Report(state, Some(code)) => write!(f, "{} {code}", state.as_str()),
            Self::Blocked { what, until, mode } => {
                let only = if *mode == GuardMode::Monitor {
                    " (sms.guard is monitor: nothing is refused)"
                } else {
                    ""
                };
                write!(f, "{what}; held back until {} or longer{only}", until.iso())
            }
            Self::BudgetWarning(BudgetWarning { window, used, limit }) => {
                let (budget, until) = (window.budget, window.until().iso());
                let whose = match window.share {
                    Share::All => "",
                    Share::Verified => ", second share of numbers verified before",
                };
                let (used, limit) = (budget.amount(*used), budget.amount(*limit));
                write!(f, "{}{whose}: {used} of {limit} are spent, until {until}", budget.key())
            }
            Self::ByOwner => f.write_str("by its owner"),
            Self::GraceOver => f.write_str("the grace is over"),
            Self::Operator(act) => write!(f, "operator: {act}"),
        }
    }
}

impl fmt::Display for OperatorAct {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Created => f.write_str("created"),
            Self::Role { from, to } => write!(f, "role {from} to {to}"),
            Self::Attributes => f.write_str("attributes changed"),
            Self::Activated => f.write_str("activated"),
            Self::Deactivated => f.write_str("deactivated"),
            Self::OldPhone => f.write_str("phone changed: the old one"),
            Self::NewPhone => f.write_str("phone changed: the new one"),
            Self::PhoneChangeCancelled => f.write_str("change of number taken back"),
            Self::ForeignRevoked => f.write_str("foreign tokens revoked"),
            Self::Deleted => f.write_str("deleted"),
            Self::Restored => f.write_str("restored"),
            Self::UnitsReturned(units) => write!(f, "{units} units given back"),
            Self::CodesDeleted(codes) => write!(f, "{codes} codes deleted"),
            Self::Imported(users) => write!(f, "{users} users"),
            Self::ImportUndone(users) => write!(f, "import undone: {users} users removed"),
            Self::TestMessage(outcome) => f.write_str(outcome),
            Self::TestNumber(source) => write!(f, "by {}", source.as_str()),
            Self::WebhookEnabled(webhook) => write!(f, "{webhook} switched on"),
            Self::EventsReplayed { webhook, events } => write!(f, "{events} events to {webhook} again"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_tells_how_many_repetitions_it_sums_up_unless_there_are_none() {
        let repeated = |unlisted| AuditDetail::Repeated { elsewhere: true, unlisted }.to_string();
        assert_eq!(repeated(0), "repeated from another network");
        assert_eq!(repeated(3), "repeated from another network; 3 repetitions before it");
    }

    #[test]
    fn what_the_operator_did_begins_with_who_did_it() {
        for (detail, words) in [
            (AuditDetail::Operator(OperatorAct::Deleted), "operator: deleted"),
            (AuditDetail::Operator(OperatorAct::TestNumber(Source::Command)), "operator: by command"),
            (
                AuditDetail::Ended { reason: EndReason::Revoked, by_operator: true, unlisted: 1 },
                "operator: revoked; 1 repetitions before it",
            ),
        ] {
            assert_eq!(detail.to_string(), words);
        }
    }
}
