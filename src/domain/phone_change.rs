//! A change of number that waits: its user has proven the new number, and not the one before.

use crate::domain::code::Binding;
use crate::domain::keys::KeyRing;
use crate::domain::{Code, CodeHash, PhoneNumber, SessionId, Timestamp, UserId};

/// How many wrong cancel codes a change takes. The last one ends the change itself: otherwise whoever asked for it could spend
/// the guesses of the person who was told of it.
pub const CANCEL_GUESSES: u32 = 5;

/// A change of number that waits. The number before was told of it, with a code that takes it back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PhoneChange {
    /// Whose number changes.
    pub user: UserId,
    /// The new number.
    pub phone: PhoneNumber,
    /// When it is done, by the time of whatever deletes or ends.
    pub effective_at: Timestamp,
    /// The session that asked for it and outlives it; a foreign token has none.
    pub session: Option<SessionId>,
    /// The code that takes it back, hashed.
    pub cancel: CodeHash,
    /// Wrong codes that were given to take it back.
    pub wrong_cancels: u32,
}

/// Why a change of number that waited will not be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cancelled {
    /// A session of the user took it back.
    Bearer,
    /// The code that the number before was sent took it back.
    Code,
    /// There were too many wrong codes to take it back.
    WrongCodes,
    /// The user logged in with the number before.
    Login,
    /// A later change took its place.
    Replaced,
    /// Somebody else has proven the new number.
    NumberTaken,
    /// The numbering plan, which `phone.strict` goes by, gives the new number to no telephone.
    Unassigned,
    /// The user was deactivated.
    Deactivated,
    /// The user asked for the deletion of the account.
    Deletion,
    /// The session that asked for it was ended from elsewhere, or presented a token outside the rules.
    SessionEnded,
}

impl Cancelled {
    /// The words in rows and logs.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Bearer => "by the user",
            Self::Code => "by the cancel code",
            Self::WrongCodes => "too many wrong cancel codes",
            Self::Login => "login with the old number",
            Self::Replaced => "replaced by a later change",
            Self::NumberTaken => "the number is somebody else's",
            Self::Unassigned => "the new number is no telephone's",
            Self::Deactivated => "deactivated",
            Self::Deletion => "the account is to be deleted",
            Self::SessionEnded => "the session that asked was ended",
        }
    }
}

impl PhoneChange {
    /// What a cancel code is compared with where no change waits; no code takes it back.
    pub fn of_nobody(phone: &PhoneNumber, keys: &KeyRing) -> Self {
        let cancel = CodeHash { key: keys.current().number(), tag: vec![0; 32] };
        let effective_at = Timestamp::from_millis(0);
        Self { user: UserId(0), phone: phone.clone(), effective_at, session: None, cancel, wrong_cancels: 0 }
    }

    /// Whether it is to be done at `retention`.
    pub fn is_due(&self, retention: Timestamp) -> bool {
        self.effective_at <= retention
    }

    /// Whether `code` takes it back, in constant time.
    pub fn is_cancelled_by(&self, code: &Code, keys: &KeyRing) -> bool {
        self.cancel.matches(code, keys, Binding::CancelChange(self.user, &self.phone, self.effective_at))
    }

    /// A wrong cancel code, counted; none once there were too many.
    #[must_use]
    pub fn guessed_wrong(self) -> Option<Self> {
        let wrong_cancels = self.wrong_cancels.saturating_add(1);
        (wrong_cancels < CANCEL_GUESSES).then_some(Self { wrong_cancels, ..self })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Secret;

    fn change(code: &Code, keys: &KeyRing) -> PhoneChange {
        let (user, at) = (UserId(7), Timestamp::from_millis(1000));
        let phone = PhoneNumber::parse("+15550000002", 10).unwrap();
        let cancel = code.hash(keys.current(), Binding::CancelChange(user, &phone, at));
        PhoneChange { user, phone, effective_at: at, session: None, cancel, wrong_cancels: 0 }
    }

    #[test]
    fn it_is_due_from_its_instant_on() {
        let keys = KeyRing::new(&Secret::new("k".repeat(32)), &[]);
        let change = change(&Code::from_number(1, 6), &keys);
        assert!(!change.is_due(Timestamp::from_millis(999)));
        assert!(change.is_due(Timestamp::from_millis(1000)));
    }

    #[test]
    fn its_code_takes_back_this_change_and_no_other() {
        let keys = KeyRing::new(&Secret::new("k".repeat(32)), &[]);
        let code = Code::from_number(123_456, 6);
        let change = change(&code, &keys);
        assert!(change.is_cancelled_by(&code, &keys));
        assert!(!change.is_cancelled_by(&Code::from_number(123_457, 6), &keys));
        let later = PhoneChange { effective_at: Timestamp::from_millis(1001), ..change.clone() };
        assert!(!later.is_cancelled_by(&code, &keys));
        let of_another = PhoneChange { user: UserId(8), ..change };
        assert!(!of_another.is_cancelled_by(&code, &keys));
    }

    #[test]
    fn the_fifth_wrong_code_ends_it() {
        let keys = KeyRing::new(&Secret::new("k".repeat(32)), &[]);
        let mut change = Some(change(&Code::from_number(1, 6), &keys));
        for wrong in 1..CANCEL_GUESSES {
            change = change.and_then(PhoneChange::guessed_wrong);
            assert_eq!(change.as_ref().map(|change| change.wrong_cancels), Some(wrong));
        }
        assert_eq!(change.and_then(PhoneChange::guessed_wrong), None);
    }
}
