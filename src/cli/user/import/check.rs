//! The first reading of a file: every line is judged before anything is written.

use std::collections::HashMap;
use std::collections::HashSet;
use std::hash::Hash;

use serde::Serialize;

use crate::domain::{Timestamp, User};
use crate::storage::users::ImportedUser;
use crate::storage::{StoreResult, View};

/// What the lines before have taken, so that a file cannot contradict itself.
#[derive(Default)]
pub(super) struct Seen {
    ids: HashMap<i64, u64>,
    phones: HashMap<u64, u64>,
    names: HashMap<Name, u64>,
}

/// A username; one made of digits alone after `user_` takes a fraction of the room.
#[derive(PartialEq, Eq, Hash)]
enum Name {
    Digits(u64),
    Text(Box<str>),
}

impl Seen {
    /// Takes what a line has, or says which line has it already.
    pub(super) fn take(&mut self, user: &ImportedUser, line: u64) -> Result<(), String> {
        let username = user.username();
        // A phone has at most 15 digits, of which the first is not zero: the number tells it apart from all others.
        let phone = user.phone.digits().parse().unwrap_or(0);
        let first = |what: &str, line: Option<u64>| match line {
            Some(line) => Err(format!("{what} is that of line {line} too")),
            None => Ok(()),
        };
        if let Some(id) = user.id {
            first("id", self.ids.get(&id.0).copied())?;
        }
        first("phone_number", self.phones.get(&phone).copied())?;
        let name = Name::new(&username);
        first("username", self.names.get(&name).copied())?;
        if let Some(id) = user.id {
            self.ids.insert(id.0, line);
        }
        self.phones.insert(phone, line);
        self.names.insert(name, line);
        Ok(())
    }
}

impl Name {
    fn new(username: &str) -> Self {
        let digits = username.strip_prefix("user_").filter(|rest| !rest.starts_with(['0', '+']));
        match digits.and_then(|digits| digits.parse().ok()) {
            Some(number) => Self::Digits(number),
            None => Self::Text(username.into()),
        }
    }
}

/// What a line meets in the database.
pub(super) enum Met {
    /// Nobody.
    Nobody,
    /// The same user as it says, from an earlier import.
    Same,
    /// Somebody else, who has what it wants.
    Taken(&'static str),
}

/// Looks up what the lines of a slice meet.
pub(super) fn meet(view: &dyn View, users: &[ImportedUser], now: Timestamp) -> StoreResult<Vec<Met>> {
    users.iter().map(|user| meet_one(view, user, now)).collect()
}

fn meet_one(view: &dyn View, user: &ImportedUser, now: Timestamp) -> StoreResult<Met> {
    let by_phone = view.user_by_phone(&user.phone)?;
    if by_phone.as_ref().is_some_and(|found| is_same(found, user, now)) {
        return Ok(Met::Same);
    }
    if by_phone.is_some() {
        return Ok(Met::Taken("phone_number belongs to a user already"));
    }
    if view.test_number(&user.phone)?.is_some_and(|number| number.is_good(now)) {
        return Ok(Met::Taken("phone_number is a test number"));
    }
    if let Some(id) = user.id
        && view.user(id)?.is_some()
    {
        return Ok(Met::Taken("id belongs to a user already"));
    }
    let username = user.username();
    Ok(match view.user_by_username(&username)? {
        Some(_) => Met::Taken("username belongs to a user already"),
        None => Met::Nobody,
    })
}

/// A line that leaves id, name, date or attributes open is the same whatever they became.
fn is_same(found: &User, user: &ImportedUser, now: Timestamp) -> bool {
    user.id.is_none_or(|id| id == found.id)
        && user.username.as_ref().is_none_or(|name| *name == found.username)
        && user.role == found.role
        && user.is_active == found.is_active
        && user.phone_verified == found.phone_verified
        && (user.joined_at == now || user.joined_at == found.joined_at)
        && (user.attributes.is_empty() || user.attributes == found.attributes)
}

/// A line that is refused.
#[derive(Serialize)]
pub(super) struct Refused {
    /// Its number.
    pub(super) line: u64,
    /// Why.
    pub(super) reason: String,
}

/// Lines that are not to be written.
#[derive(Default)]
pub(super) struct Verdicts {
    /// How many lines there are.
    pub(super) lines: u64,
    /// Refused, with the reason, in the order of the file.
    pub(super) refused: Vec<Refused>,
    /// There already.
    pub(super) same: HashSet<u64>,
    /// The highest id that a good line has.
    pub(super) highest: Option<i64>,
}

impl Verdicts {
    /// Notes what a slice met.
    pub(super) fn note(&mut self, met: &Met, line: u64, user: &ImportedUser) {
        match met {
            Met::Nobody => self.highest = self.highest.max(user.id.map(|id| id.0)),
            Met::Same => {
                self.same.insert(line);
            }
            Met::Taken(reason) => self.refused.push(Refused { line, reason: (*reason).to_owned() }),
        }
    }
}
