//! People who log in.

use std::iter;

use crate::domain::{Attributes, PhoneNumber, Timestamp, UserId};

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
    /// Unique; none where the number went to somebody else while the account lay dormant.
    pub phone: Option<PhoneNumber>,
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
    /// What the app's own people note about the user.
    pub attributes: Attributes,
    /// When maintenance deletes the user, who asked for it; until then a login restores the account.
    pub deletes_at: Option<Timestamp>,
    /// How often the row was replaced since it was written; a replacement of an older version is refused.
    pub version: u32,
}

impl User {
    /// One who has just registered: active, and with nothing proven yet.
    pub fn new(id: UserId, username: String, phone: PhoneNumber, role: &str, joined_at: Timestamp) -> Self {
        Self {
            id,
            username,
            phone: Some(phone),
            role: role.to_owned(),
            is_active: true,
            phone_verified: false,
            joined_at,
            has_foreign_tokens: false,
            is_testing_only: false,
            attributes: Attributes::default(),
            deletes_at: None,
            version: 0,
        }
    }

    /// Whether the row is as the registration wrote it: nobody has proven the number, and no event tells of the user yet.
    pub fn is_new(&self) -> bool {
        self.version == 0 && !self.phone_verified
    }

    /// The phone as it is written; empty where there is none.
    pub fn phone_text(&self) -> &str {
        self.phone.as_ref().map_or("", PhoneNumber::as_str)
    }

    /// Whether the username was made from the phone, with a number after it or without.
    pub fn has_derived_name(&self) -> bool {
        let Some(phone) = &self.phone else { return false };
        self.username.strip_prefix(&username_for(phone)).is_some_and(|rest| {
            rest.is_empty()
                || rest
                    .strip_prefix('_')
                    .is_some_and(|n| !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit()))
        })
    }

    /// The user when the number has gone to somebody else; `username` is one of [`recycled_usernames`].
    #[must_use]
    pub fn recycled(self, username: String) -> Self {
        Self { username, phone: None, is_active: false, deletes_at: None, ..self }
    }
}

/// A user who registered here and has never proven the number, with what still belongs to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Registration {
    /// The user.
    pub user: User,
    /// Whether there are sessions, ended or not: another way than a code opened them.
    pub has_sessions: bool,
    /// Until when a code that was sent to the number can be given.
    pub code_until: Option<Timestamp>,
}

impl Registration {
    /// Whether the row can be deleted at `now`: nobody is logged in, and nobody can log in with a code on its way. One whom the
    /// operator shut out stays, for the number would come back as a new user.
    pub fn is_abandoned(&self, now: Timestamp) -> bool {
        let Self { user, has_sessions, code_until } = self;
        let has_code = code_until.is_some_and(|until| now < until);
        !user.phone_verified && user.is_active && !has_sessions && !has_code
    }

    /// Whether the row makes way for a user who has proven the number: nobody ever logged in with it, and the operator did not shut
    /// it out.
    pub const fn makes_way(&self) -> bool {
        !self.user.phone_verified && self.user.is_active && !self.has_sessions
    }
}

/// The username of a number that has just registered: `user_` and its digits.
pub fn username_for(phone: &PhoneNumber) -> String {
    format!("user_{}", phone.digits())
}

/// The usernames that a number may get, in the order in which they are tried: its own, then numbered ones, where an import or a
/// change of phone took it. There is no last one.
pub fn usernames_for(phone: &PhoneNumber) -> impl Iterator<Item = String> {
    numbered(username_for(phone))
}

/// The usernames that a user without a number may get, in the order in which they are tried: an import may have taken the first.
pub fn recycled_usernames(id: UserId) -> impl Iterator<Item = String> {
    numbered(format!("user_recycled_{id}"))
}

fn numbered(name: String) -> impl Iterator<Item = String> {
    let first = name.clone();
    iter::once(first).chain((2u64..).map(move |number| format!("{name}_{number}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_registration_is_abandoned_when_nothing_is_left_of_it() {
        let at = Timestamp::from_millis;
        let phone = PhoneNumber::parse("+15550000001", 10).unwrap();
        let user = User::new(UserId(1), "user_15550000001".into(), phone, "retailer", at(0));
        let abandoned = Registration { user, has_sessions: false, code_until: Some(at(10)) };
        assert!(abandoned.is_abandoned(at(10)));
        assert!(!abandoned.is_abandoned(at(9)), "a code is on its way");
        let of = |change: fn(&mut Registration)| {
            let mut other = abandoned.clone();
            change(&mut other);
            other.is_abandoned(at(10))
        };
        assert!(of(|other| other.code_until = None));
        assert!(!of(|other| other.has_sessions = true));
        assert!(!of(|other| other.user.phone_verified = true));
        assert!(!of(|other| other.user.is_active = false));
    }

    #[test]
    fn a_registration_that_nobody_logged_in_with_makes_way() {
        let phone = PhoneNumber::parse("+15550000001", 10).unwrap();
        let at = Timestamp::from_millis;
        let user = User::new(UserId(1), "user_15550000001".into(), phone, "retailer", at(0));
        let registration = Registration { user, has_sessions: false, code_until: Some(at(10)) };
        assert!(registration.makes_way(), "a code on its way logs in whoever has the number then");
        let shut_out = User { is_active: false, ..registration.user.clone() };
        assert!(!Registration { user: shut_out, ..registration.clone() }.makes_way());
        let proven = User { phone_verified: true, ..registration.user.clone() };
        assert!(!Registration { user: proven, ..registration.clone() }.makes_way());
        assert!(!Registration { has_sessions: true, ..registration }.makes_way());
    }

    #[test]
    fn the_names_of_a_number_are_derived_names_and_none_comes_twice() {
        let phone = PhoneNumber::parse("+15550000001", 10).unwrap();
        let names: Vec<_> = usernames_for(&phone).take(4).collect();
        assert_eq!(
            names,
            ["user_15550000001", "user_15550000001_2", "user_15550000001_3", "user_15550000001_4"]
        );
    }

    #[test]
    fn a_row_is_new_until_it_is_replaced_or_its_number_proven() {
        let phone = PhoneNumber::parse("+15550000001", 10).unwrap();
        let new =
            User::new(UserId(1), "user_15550000001".into(), phone, "retailer", Timestamp::from_millis(0));
        assert!(new.is_new() && !new.has_foreign_tokens && !new.is_testing_only);
        assert!(!User { version: 1, ..new.clone() }.is_new());
        assert!(!User { phone_verified: true, ..new.clone() }.is_new());
        assert_eq!(new.phone_text(), "+15550000001");
        let gone = new.recycled("user_recycled_1".into());
        assert_eq!((gone.phone_text(), gone.is_active), ("", false));
    }

    #[test]
    fn a_name_is_derived_where_it_is_the_number_s_with_digits_after_it_or_none() {
        let phone = PhoneNumber::parse("+15550000001", 10).unwrap();
        let user = User::new(UserId(1), String::new(), phone, "retailer", Timestamp::from_millis(0));
        for (name, is_derived) in [
            ("user_15550000001", true),
            ("user_15550000001_12", true),
            ("user_15550000001_", false),
            ("user_15550000001_2a", false),
            ("user_155500000012", false),
            ("user_15550000002", false),
            ("anna", false),
        ] {
            let named = User { username: name.into(), ..user.clone() };
            assert_eq!(named.has_derived_name(), is_derived, "{name}");
            assert!(!User { phone: None, ..named }.has_derived_name(), "{name}, without a number");
        }
    }
}
