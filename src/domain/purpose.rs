//! What a code is for.

use crate::domain::code::Binding;
use crate::domain::{ChallengeId, PhoneNumber, UserId};

/// What a code is for; it is good for nothing else.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Purpose {
    /// To log in with the number, or to prove it as one's own.
    Login,
    /// To give the number to a user who has another one.
    PhoneChange(UserId),
}

impl Purpose {
    /// Reads the column back: the user who wants the number, none for a login.
    pub fn of(change_of: Option<UserId>) -> Self {
        change_of.map_or(Self::Login, Self::PhoneChange)
    }

    /// The user who wants the number, for a change of it.
    pub const fn change_of(self) -> Option<UserId> {
        match self {
            Self::Login => None,
            Self::PhoneChange(user) => Some(user),
        }
    }

    /// What the code of a challenge with this purpose is bound to.
    pub const fn bind(self, challenge: ChallengeId, phone: &PhoneNumber) -> Binding<'_> {
        match self {
            Self::Login => Binding::Login(challenge, phone),
            Self::PhoneChange(user) => Binding::PhoneChange(challenge, phone, user),
        }
    }
}
