//! What is asked of the users.

use std::borrow::Cow;

use super::error::StoreResult;
use crate::domain::user::username_for;
use crate::domain::{Attributes, PhoneNumber, Registration, Timestamp, User, UserId};

/// A user as another system had it.
#[derive(Clone, Debug)]
pub struct ImportedUser {
    /// Kept; where there is none, one above the highest is given.
    pub id: Option<UserId>,
    /// Unique; derived from the phone where there is none.
    pub username: Option<String>,
    /// Unique.
    pub phone: PhoneNumber,
    /// One of `users.roles`.
    pub role: String,
    /// Whether the user may log in.
    pub is_active: bool,
    /// Whether the number was proven there.
    pub phone_verified: bool,
    /// When the user joined there.
    pub joined_at: Timestamp,
    /// What is noted about the user.
    pub attributes: Attributes,
}

impl ImportedUser {
    /// The username: its own, or the one of a number that has just registered.
    pub fn username(&self) -> Cow<'_, str> {
        self.username.as_deref().map_or_else(|| username_for(&self.phone).into(), Cow::Borrowed)
    }
}

/// From where new users' ids count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FirstId {
    /// They start here (`users.first_id`), or above the highest ever given.
    pub id: i64,
    /// Whether a database that has had users counts on from `id` too, where that is higher.
    pub raises: bool,
}

impl FirstId {
    /// The id of the next new user, where `last` is the highest that was ever given.
    pub fn next(self, last: Option<UserId>) -> UserId {
        UserId(match last {
            Some(UserId(last)) if last > 0 && self.raises => self.id.max(last + 1),
            Some(UserId(last)) if last > 0 => last + 1,
            _ => self.id,
        })
    }

    /// What the highest id is to be taken for where `last` is it; `None` where ids count on from there.
    pub fn raise_to(self, last: Option<UserId>) -> Option<UserId> {
        let before = self.next(last).0.saturating_sub(1);
        (before > last.map_or(0, |id| id.0)).then_some(UserId(before))
    }
}

/// Which users are wanted: those of whom all of this holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UserSearch {
    /// They have this role.
    pub role: Option<String>,
    /// They are deactivated.
    pub is_inactive: bool,
    /// Their phone or username holds this, to the letter.
    pub text: Option<String>,
}

/// Reads users.
#[expect(clippy::missing_errors_doc, reason = "a read fails where the database does, and nowhere else")]
pub trait ReadUsers {
    /// The user with this id.
    fn user(&self, id: UserId) -> StoreResult<Option<User>>;
    /// The user with this phone.
    fn user_by_phone(&self, phone: &PhoneNumber) -> StoreResult<Option<User>>;
    /// The user with this name.
    fn user_by_username(&self, username: &str) -> StoreResult<Option<User>>;
    /// Whether any user has attributes.
    fn have_attributes(&self) -> StoreResult<bool>;
    /// Users in the order of their ids.
    fn users_after(&self, after: UserId, rows: usize) -> StoreResult<Vec<User>> {
        self.search_users(&UserSearch::default(), after, rows)
    }
    /// Users who are wanted, in the order of their ids, at most `rows` with ids above `after`.
    fn search_users(&self, wanted: &UserSearch, after: UserId, rows: usize) -> StoreResult<Vec<User>>;
    /// How many users are wanted.
    fn count_users(&self, wanted: &UserSearch) -> StoreResult<usize>;
    /// The users who registered here before `before` and were never verified, in the order in which they joined, at most `rows`
    /// after the one who joined then and has this id.
    fn registrations_after(
        &self,
        after: Option<(Timestamp, UserId)>,
        before: Timestamp,
        rows: usize,
    ) -> StoreResult<Vec<Registration>>;
    /// One of them.
    fn registration(&self, id: UserId) -> StoreResult<Option<Registration>>;
    /// The users who are to be deleted at `due` or earlier, the longest due first, at most `rows`.
    fn users_to_delete(&self, due: Timestamp, rows: usize) -> StoreResult<Vec<User>>;
    /// When a user was last seen: wrote the row, was imported, or used a session; `None` without such a user.
    fn last_seen(&self, id: UserId) -> StoreResult<Option<Timestamp>>;
    /// The highest id that a user was ever given, or that is kept from being given: new ones are above it.
    fn last_user_id(&self) -> StoreResult<Option<UserId>>;
}

/// Writes users.
pub trait WriteUsers: ReadUsers {
    /// Writes a new user and gives the id; the name is made unique by a number where it is taken.
    ///
    /// # Errors
    /// [`StoreError::Broken`](super::StoreError::Broken) where the phone has a user.
    fn insert_user(&mut self, phone: &PhoneNumber, role: &str, joined_at: Timestamp) -> StoreResult<User>;
    /// Replaces the row of `user.id`, and counts its version on.
    ///
    /// # Errors
    /// [`StoreError::Broken`](super::StoreError::Broken) where the row is not there, or was replaced since it was read.
    fn update_user(&mut self, user: &mut User) -> StoreResult<()>;
    /// Notes that a user was seen at `at`; an earlier instant than what is noted changes nothing.
    ///
    /// # Errors
    /// Those of the database alone.
    fn note_seen(&mut self, id: UserId, at: Timestamp) -> StoreResult<()>;
    /// Writes a user as another system had it; `None` if its id, name or phone is taken. Maintenance counts from `at`
    /// how long it stays unverified.
    ///
    /// # Errors
    /// Those of the database alone.
    fn import_user(&mut self, user: &ImportedUser, at: Timestamp) -> StoreResult<Option<UserId>>;
    /// New users' ids are above `id` from now on.
    ///
    /// # Errors
    /// Those of the database alone.
    fn raise_user_ids(&mut self, id: UserId) -> StoreResult<()>;
    /// Deletes a user with its sessions and exchanges; gives how many sessions those were, `None` without such a user.
    ///
    /// # Errors
    /// Those of the database alone.
    fn delete_user(&mut self, id: UserId) -> StoreResult<Option<usize>>;
}
