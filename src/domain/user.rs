//! People who log in.

use crate::domain::{PhoneNumber, Timestamp, UserId};

/// One person, known by one phone number.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a column of its own, and any two can hold together"
)]
pub struct User {
    /// Never reused.
    pub id: UserId,
    /// Unique; derived from the phone unless it was imported.
    pub username: String,
    /// Unique.
    pub phone: PhoneNumber,
    /// One of `users.roles`.
    pub role: String,
    /// A deactivated user gets no code and no token.
    pub is_active: bool,
    /// Whether the number was ever proven by a code.
    pub phone_verified: bool,
    /// When the row was written, or what an import said.
    pub joined_at: Timestamp,
    /// Whether tokens that the system before this one issued under this id are good for this user: an import brought the
    /// id, and nobody has ended all of the user's sessions since.
    pub has_foreign_tokens: bool,
    /// Whether the number was only ever verified in the testing mode, where whoever reads the console has every code.
    pub is_testing_only: bool,
}

impl User {
    /// Whether the username was made from the phone, with a number after it or without.
    pub fn has_derived_name(&self) -> bool {
        self.username.strip_prefix(&username_for(&self.phone)).is_some_and(|rest| {
            rest.is_empty()
                || rest
                    .strip_prefix('_')
                    .is_some_and(|n| !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit()))
        })
    }
}

/// The username of a number that has just registered: `user_` and its digits.
pub fn username_for(phone: &PhoneNumber) -> String {
    format!("user_{}", phone.digits())
}
