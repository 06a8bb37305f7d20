//! What is limited, for whom, and how much.

use std::time::Duration;

use crate::domain::Mode;

/// An endpoint whose calls cost an address a unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Endpoint {
    /// `request/`
    Request,
    /// `verify/`
    Verify,
    /// `resend/`
    Resend,
    /// `account/phone/`
    Phone,
    /// `account/phone/verify/`
    PhoneVerify,
    /// `account/phone/`, to take a change back with its cancel code.
    PhoneCancel,
    /// `account/delete/`
    AccountDelete,
}

/// One kind of limit; its name is the key in the ledger, in `limit show` and in the logs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Quota {
    /// Calls of one endpoint by one address.
    Ip(Endpoint),
    /// Calls of all of them by one address (`limits.ip_scope = "shared"`).
    IpShared,
    /// Codes sent to one phone, `request/` and `resend/` together.
    User(Mode),
    /// Wrong guesses for one phone in a day, over all its codes.
    Failures(Mode),
    /// Units of [`Quota::User`] given back to one phone in a day.
    Refunds(Mode),
    /// Codes that one user asked for to change the number; the subject is the user's id.
    PhoneChanges,
    /// Exports of one user; the subject is the user's id.
    Export,
}

impl Quota {
    /// Every kind, for lists and for reading names back.
    pub const ALL: [Self; 16] = [
        Self::Ip(Endpoint::Request),
        Self::Ip(Endpoint::Verify),
        Self::Ip(Endpoint::Resend),
        Self::Ip(Endpoint::Phone),
        Self::Ip(Endpoint::PhoneVerify),
        Self::Ip(Endpoint::PhoneCancel),
        Self::Ip(Endpoint::AccountDelete),
        Self::IpShared,
        Self::User(Mode::Production),
        Self::User(Mode::Testing),
        Self::Failures(Mode::Production),
        Self::Failures(Mode::Testing),
        Self::Refunds(Mode::Production),
        Self::Refunds(Mode::Testing),
        Self::PhoneChanges,
        Self::Export,
    ];

    /// The stable name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ip(Endpoint::Request) => "ip:request",
            Self::Ip(Endpoint::Verify) => "ip:verify",
            Self::Ip(Endpoint::Resend) => "ip:resend",
            Self::Ip(Endpoint::Phone) => "ip:account_phone",
            Self::Ip(Endpoint::PhoneVerify) => "ip:account_phone_verify",
            Self::Ip(Endpoint::PhoneCancel) => "ip:account_phone_cancel",
            Self::Ip(Endpoint::AccountDelete) => "ip:account_delete",
            Self::IpShared => "ip",
            Self::User(Mode::Production) => "user",
            Self::User(Mode::Testing) => "user:testing",
            Self::Failures(Mode::Production) => "failures",
            Self::Failures(Mode::Testing) => "failures:testing",
            Self::Refunds(Mode::Production) => "refunds",
            Self::Refunds(Mode::Testing) => "refunds:testing",
            Self::PhoneChanges => "phone_changes",
            Self::Export => "export",
        }
    }

    /// In which mode it holds; the quotas of addresses have none.
    pub const fn mode(self) -> Option<Mode> {
        match self {
            Self::Ip(_) | Self::IpShared => None,
            Self::User(mode) | Self::Failures(mode) | Self::Refunds(mode) => Some(mode),
            Self::PhoneChanges | Self::Export => Some(Mode::Production),
        }
    }

    /// Reads a name back.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|quota| quota.as_str() == name)
    }
}

/// How much, in how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit {
    /// Units that any window may hold; 0 turns the limit off.
    pub units: u32,
    /// The length of the sliding window.
    pub window: Duration,
}

/// A day, the window of failures and refunds.
pub const DAY: Duration = Duration::from_hours(24);

/// How often a day one phone gets a unit back for an SMS that failed.
pub const REFUNDS: Limit = Limit { units: 3, window: DAY };

/// How often a user may export what is kept about the account.
pub const EXPORTS: Limit = Limit { units: 1, window: Duration::from_hours(1) };

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_read_back() {
        for quota in Quota::ALL {
            assert_eq!(Quota::parse(quota.as_str()), Some(quota));
        }
    }
}
