//! What people and the operator do, and what they are answered.

use std::fmt;

use crate::auth::AuthError;
use crate::domain::{DeviceId, SessionId, Timestamp, UserId};

/// A token of a session, as somebody has kept it.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Token {
    pub(super) text: String,
    /// What it says, but the role, which is that of the moment.
    pub(super) claims: String,
    pub(super) session: SessionId,
    pub(super) generation: u32,
    /// Its `exp`.
    pub(super) expires_at: Timestamp,
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of generation {}", self.session, self.generation)
    }
}

/// What the sender says of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    Accepted,
    Refused,
    Lost,
}

/// What the operator does to whoever has a number.
#[derive(Clone, Copy, Debug)]
pub(super) enum Deed {
    Activate,
    Deactivate,
    SetRole,
    LogOut,
    Restore,
    Delete,
    SetPhone(usize),
    ResetLimits,
}

/// One call, or one act of the operator's.
#[derive(Clone, Debug)]
pub(super) enum Act {
    Request { number: usize, device: Option<DeviceId>, fate: Fate },
    Resend { access: Token, device: Option<DeviceId>, fate: Fate },
    Verify { number: usize, digits: String, device: Option<DeviceId>, key: u32 },
    Refresh { token: Token },
    Status { access: Token },
    LogOut { token: Token },
    LogOutEverywhere { access: Token, device: Option<DeviceId> },
    EndSession { access: Token, session: SessionId },
    AskChange { access: Token, number: usize, fate: Fate },
    Prove { access: Token, number: usize, new: String, current: Option<String> },
    CancelByCode { number: usize, digits: String },
    KeepPhone { access: Token },
    Delete { access: Token, digits: String, device: Option<DeviceId> },
    Operate { number: usize, deed: Deed },
    Maintain,
}

impl Act {
    /// Whether a message may be sent by it.
    pub(super) const fn fate(&self) -> Option<Fate> {
        match self {
            Self::Request { fate, .. } | Self::Resend { fate, .. } | Self::AskChange { fate, .. } => {
                Some(*fate)
            }
            _ => None,
        }
    }

    /// Whether it may be done at the same moment as another: in one write, so that one of the two orders explains both.
    pub(super) const fn is_one_write(&self) -> bool {
        matches!(
            self,
            Self::Verify { .. }
                | Self::Refresh { .. }
                | Self::Status { .. }
                | Self::LogOut { .. }
                | Self::Operate { .. }
        )
    }
}

/// An act, from where, and at which node.
#[derive(Clone, Debug)]
pub(super) struct Call {
    pub(super) act: Act,
    pub(super) address: usize,
    pub(super) node: usize,
}

/// What came of an act.
#[derive(Clone, Debug)]
pub(super) enum Outcome {
    Sent { is_new: bool },
    LoggedIn { user: UserId, pair: Pair, is_new: bool, is_restored: bool, device: Option<DeviceId> },
    Refreshed { pair: Pair, device: Option<DeviceId> },
    Known { user: UserId, is_active: bool, role: String },
    Waits(Timestamp),
    Changed,
    Deleted(Option<Timestamp>),
    Done,
    Refused(AuthError),
}

/// Tokens that were given.
#[derive(Clone, Debug)]
pub(super) struct Pair {
    pub(super) access: Token,
    pub(super) refresh: Token,
}
