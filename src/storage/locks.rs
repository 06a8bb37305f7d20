//! Which rows a write reads and then replaces, declared before it begins.
//!
//! A closure that reads a row, judges it and writes it back is right only while nobody else does the same with that row. An
//! engine that runs one write at a time needs no more than that; one that runs several takes the locks of each before its
//! closure, in their order, and gives them back after its commit. A closure can neither take another lock nor strengthen one:
//! so no two writes wait for each other in a circle.

use std::collections::BTreeMap;

use crate::domain::device::is_device;
use crate::domain::keys::is_erased;
use crate::domain::quota::Quota;
use crate::domain::{PhoneNumber, Session, SessionId, UserId};

/// What one lock covers. Locks are taken in the order of the variants.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Lock {
    /// Which numbers are test numbers.
    TestNumbers,
    /// The quotas of one address, as the ledger names it.
    Address(String),
    /// The challenges, messages and quotas of one phone and of its user's devices, in both modes, and whether it has a user.
    Phone(PhoneNumber),
    /// A user with its sessions, exchanges and change of number, and what it spends under its id.
    User(UserId),
    /// The same of whoever has a phone; found once the lock of the phone is held. Never beside [`Lock::User`]: nobody knows
    /// which of the two comes first.
    UserOf(PhoneNumber),
    /// One session, beside a shared lock of its user.
    Session(SessionId),
}

/// Who may hold a lock at the same time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Hold {
    /// Others who share it too.
    Shared,
    /// Nobody else.
    Exclusive,
}

/// The locks of one write.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Locks(BTreeMap<Lock, Hold>);

impl Locks {
    /// None: for a write that inserts, appends, counts or deletes in single statements, and replaces nothing that it has read.
    pub const fn none() -> Self {
        Self(BTreeMap::new())
    }

    /// And which numbers are test numbers.
    #[must_use]
    pub fn test_numbers(self) -> Self {
        self.with(Lock::TestNumbers, Hold::Exclusive)
    }

    /// And the quotas of an address, as the ledger names it.
    #[must_use]
    pub fn address(self, subject: impl Into<String>) -> Self {
        self.with(Lock::Address(subject.into()), Hold::Exclusive)
    }

    /// And a phone.
    #[must_use]
    pub fn phone(self, phone: &PhoneNumber) -> Self {
        self.with(Lock::Phone(phone.clone()), Hold::Exclusive)
    }

    /// And several phones.
    #[must_use]
    pub fn phones<'a>(self, phones: impl IntoIterator<Item = &'a PhoneNumber>) -> Self {
        phones.into_iter().fold(self, Self::phone)
    }

    /// And a phone with its user.
    #[must_use]
    pub fn user_of(self, phone: &PhoneNumber) -> Self {
        self.phone(phone).with(Lock::UserOf(phone.clone()), Hold::Exclusive)
    }

    /// And a user with all its sessions.
    #[must_use]
    pub fn user(self, user: UserId) -> Self {
        self.with(Lock::User(user), Hold::Exclusive)
    }

    /// And several users.
    #[must_use]
    pub fn users<'a>(self, users: impl IntoIterator<Item = &'a UserId>) -> Self {
        users.into_iter().fold(self, |locks, user| locks.user(*user))
    }

    /// And one session of a user.
    #[must_use]
    pub fn session(self, user: UserId, session: &SessionId) -> Self {
        self.with(Lock::User(user), Hold::Shared).with(Lock::Session(session.clone()), Hold::Exclusive)
    }

    /// And those of `other`.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        other.0.into_iter().fold(self, |locks, (lock, hold)| locks.with(lock, hold))
    }

    /// All of them, in the order in which they are taken.
    pub fn iter(&self) -> impl Iterator<Item = (&Lock, Hold)> {
        self.0.iter().map(|(lock, hold)| (lock, *hold))
    }

    /// Whether the test numbers may be changed.
    pub fn cover_test_numbers(&self) -> bool {
        self.holds(&Lock::TestNumbers)
    }

    /// Whether what belongs to a phone may be replaced.
    pub fn cover_phone(&self, phone: &PhoneNumber) -> bool {
        self.holds(&Lock::Phone(phone.clone()))
    }

    /// Whether units of a quota may be judged and spent.
    pub fn cover_quota(&self, quota: Quota, subject: &str) -> bool {
        self.0.keys().any(|lock| match lock {
            Lock::Address(address) => quota.mode().is_none() && address == subject,
            Lock::Phone(phone) => {
                let is_its_own = phone.as_str() == subject || is_device(subject) || is_erased(subject);
                quota.mode().is_some() && is_its_own
            }
            Lock::User(user) => {
                matches!(quota, Quota::PhoneChanges | Quota::Export) && user.to_string() == subject
            }
            _ => false,
        })
    }

    /// Whether a user, known by a phone before, may be replaced.
    pub fn cover_user(&self, user: UserId, phone: Option<&PhoneNumber>) -> bool {
        self.holds(&Lock::User(user)) || phone.is_some_and(|phone| self.holds(&Lock::UserOf(phone.clone())))
    }

    /// Whether a session may be replaced; `phone` finds that of its user.
    pub fn cover_session(&self, session: &Session, phone: impl FnOnce() -> Option<PhoneNumber>) -> bool {
        self.holds(&Lock::Session(session.id.clone()))
            || self.holds(&Lock::User(session.user))
            || phone().is_some_and(|phone| self.holds(&Lock::UserOf(phone)))
    }

    fn with(mut self, lock: Lock, hold: Hold) -> Self {
        let declared = self.0.entry(lock).or_insert(hold);
        *declared = (*declared).max(hold);
        self
    }

    fn holds(&self, lock: &Lock) -> bool {
        self.0.get(lock) == Some(&Hold::Exclusive)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Mode;
    use crate::domain::quota::Endpoint;

    fn phone(number: u32) -> PhoneNumber {
        PhoneNumber::parse(&format!("+1555{number:07}"), 10).unwrap()
    }

    fn session(chance: u8) -> SessionId {
        SessionId::new(crate::domain::Timestamp::from_millis(0), [chance; 10])
    }

    #[test]
    fn locks_are_taken_in_one_order_however_they_are_declared() {
        let one = Locks::none().session(UserId(7), &session(2)).phones([&phone(2), &phone(1)]).address("a");
        let other =
            Locks::none().address("a").phone(&phone(1)).session(UserId(7), &session(2)).phone(&phone(2));
        assert_eq!(one, other);
        let order: Vec<_> = one.test_numbers().iter().map(|(lock, hold)| (lock.clone(), hold)).collect();
        assert_eq!(
            order,
            [
                (Lock::TestNumbers, Hold::Exclusive),
                (Lock::Address("a".into()), Hold::Exclusive),
                (Lock::Phone(phone(1)), Hold::Exclusive),
                (Lock::Phone(phone(2)), Hold::Exclusive),
                (Lock::User(UserId(7)), Hold::Shared),
                (Lock::Session(session(2)), Hold::Exclusive),
            ]
        );
    }

    #[test]
    fn the_strongest_hold_counts() {
        let locks = Locks::none().user(UserId(7)).session(UserId(7), &session(1));
        assert!(locks.cover_user(UserId(7), Some(&phone(1))));
        let locks = Locks::none().session(UserId(7), &session(1));
        assert!(!locks.cover_user(UserId(7), Some(&phone(1))), "shared with other sessions of the user");
    }

    #[test]
    fn a_quota_is_covered_by_the_lock_of_its_own_subject() {
        let locks = Locks::none().address("203.0.113.7").user_of(&phone(1));
        let (ip, user) = (Quota::Ip(Endpoint::Verify), Quota::User(Mode::Testing));
        assert!(locks.cover_quota(ip, "203.0.113.7") && locks.cover_quota(user, phone(1).as_str()));
        assert!(!locks.cover_quota(ip, "203.0.113.8") && !locks.cover_quota(user, phone(2).as_str()));
        assert!(!locks.cover_quota(ip, phone(1).as_str()) && !locks.cover_quota(user, "203.0.113.7"));
        assert!(
            locks.cover_user(UserId(3), Some(&phone(1))) && !locks.cover_user(UserId(3), Some(&phone(2)))
        );
        let locks = Locks::none().user(UserId(7));
        for quota in [Quota::PhoneChanges, Quota::Export] {
            assert!(locks.cover_quota(quota, "7") && !locks.cover_quota(quota, "8"));
        }
    }
}
