//! Numbers of advisory locks. They are the whole database's, other programs' and other schemas' included, so that each is
//! made from what nobody else takes.

use postgres_types::ToSql;
use sha2::{Digest as _, Sha256};

use crate::domain::RunId;
use crate::storage::Locks;
use crate::storage::locks::{Hold, Lock};

/// The numbers of the locks of one schema.
#[derive(Clone, Debug)]
pub(super) struct Keys {
    schema: String,
}

/// A lock as it is taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Taken {
    /// A number, and whether others may have it too.
    Key(i64, Hold),
    /// The number of the phone's user, found once the lock of the phone is held.
    UserOf(String),
}

impl Keys {
    /// Those of a schema.
    pub(super) fn new(schema: &str) -> Self {
        Self { schema: schema.to_owned() }
    }

    /// Of the schema, while it is changed.
    pub(super) fn schema(&self) -> i64 {
        self.number("schema", "")
    }

    /// Of a node, for as long as it lives.
    pub(super) fn node(&self, run: &RunId) -> i64 {
        self.number("node", run.as_str())
    }

    /// Of the nodes, while one enters.
    pub(super) fn entrance(&self) -> i64 {
        self.number("entrance", "")
    }

    /// Of maintenance.
    pub(super) fn maintenance(&self) -> i64 {
        self.number("maintenance", "")
    }

    /// What is xored with the id of a user, here and in SQL.
    pub(super) fn users(&self) -> i64 {
        self.number("user", "")
    }

    /// A lock of a write, as it is taken.
    pub(super) fn of(&self, lock: &Lock, hold: Hold) -> Taken {
        let number = match lock {
            Lock::TestNumbers => self.number("test numbers", ""),
            Lock::Address(address) => self.number("address", address),
            Lock::Phone(phone) => self.number("phone", phone.as_str()),
            Lock::User(id) => self.users() ^ id.0,
            Lock::UserOf(phone) => return Taken::UserOf(phone.as_str().to_owned()),
            Lock::Session(id) => self.number("session", id.as_str()),
        };
        Taken::Key(number, hold)
    }

    /// The locks of a write, in their order.
    pub(super) fn taken(&self, locks: &Locks) -> Vec<Taken> {
        locks.iter().map(|(lock, hold)| self.of(lock, hold)).collect()
    }

    /// The first eight bytes of a hash over all that tells one lock from another.
    fn number(&self, what: &str, which: &str) -> i64 {
        let mut hash = Sha256::new();
        for part in ["freshk", &self.schema, what, which] {
            hash.update(part);
            hash.update([0]);
        }
        let hash: [u8; 32] = hash.finalize().into();
        hash.first_chunk().map_or(0, |first| i64::from_be_bytes(*first))
    }
}

/// How many keys one statement takes at most: each number of them is a statement of its own.
const AT_ONCE: usize = 4;

/// A statement with what it gets.
pub(super) type Statement<'l> = (String, Vec<&'l (dyn ToSql + Sync)>);

/// The statements that take locks in their order: what a `SELECT` names is computed from left to right. Of a user who is found by a
/// phone only once that is locked, since the snapshot of a statement is older than a lock that it waits for. `users` is
/// [`Keys::users`].
pub(super) fn statements<'l>(locks: &'l [Taken], users: &'l i64) -> Vec<Statement<'l>> {
    let are_keys = |one: &Taken, next: &Taken| matches!((one, next), (Taken::Key(..), Taken::Key(..)));
    let groups = locks.chunk_by(are_keys).flat_map(|alike| alike.chunks(AT_ONCE));
    groups.map(|group| statement(group, users)).collect()
}

fn statement<'l>(group: &'l [Taken], users: &'l i64) -> Statement<'l> {
    const USER_OF: &str = "SELECT pg_advisory_xact_lock($2 # id) FROM users WHERE phone = $1";
    let (mut sql, mut params) = ("SELECT ".to_owned(), Vec::<&(dyn ToSql + Sync)>::new());
    for lock in group {
        match lock {
            Taken::UserOf(phone) => return (USER_OF.to_owned(), vec![phone, users]),
            Taken::Key(key, hold) => {
                if !params.is_empty() {
                    sql.push_str(", ");
                }
                params.push(key);
                sql.push_str(match hold {
                    Hold::Exclusive => "pg_advisory_xact_lock($",
                    Hold::Shared => "pg_advisory_xact_lock_shared($",
                });
                sql.push_str(&params.len().to_string());
                sql.push(')');
            }
        }
    }
    (sql, params)
}

impl Taken {
    /// The number, if nobody else may have it: writes of one process with one in common need not wait in the server.
    pub(super) fn exclusive(&self) -> Option<i64> {
        match self {
            Self::Key(key, Hold::Exclusive) => Some(*key),
            Self::Key(_, Hold::Shared) | Self::UserOf(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{PhoneNumber, UserId};

    #[test]
    fn every_lock_of_every_schema_has_a_number_of_its_own() {
        let phone = |text: &str| PhoneNumber::parse(text, 10).unwrap();
        let mut numbers = std::collections::HashSet::new();
        for keys in [Keys::new("freshk"), Keys::new("other")] {
            let locks = [
                Lock::TestNumbers,
                Lock::Address("+15550000001".into()),
                Lock::Phone(phone("+15550000001")),
                Lock::Phone(phone("+15550000002")),
                Lock::User(UserId(1)),
                Lock::User(UserId(2)),
            ];
            let of_locks = locks.iter().filter_map(|lock| keys.of(lock, Hold::Exclusive).exclusive());
            let own = [keys.schema(), keys.entrance(), keys.maintenance(), keys.users()];
            for number in of_locks.chain(own) {
                assert!(numbers.insert(number));
            }
        }
        assert_eq!(numbers.len(), 20);
    }

    #[test]
    fn the_user_of_a_phone_is_found_after_the_phone_is_locked() {
        let phone = PhoneNumber::parse("+15550000001", 10).unwrap();
        let keys = Keys::new("freshk");
        let taken = keys.taken(&Locks::none().user_of(&phone).address("203.0.113.7"));
        assert_eq!(taken.len(), 3);
        assert_eq!(taken[1].exclusive(), keys.of(&Lock::Phone(phone.clone()), Hold::Exclusive).exclusive());
        assert_eq!(taken[2], Taken::UserOf(phone.as_str().to_owned()));
        let users = keys.users();
        let taking: Vec<_> = statements(&taken, &users).into_iter().map(|(sql, _)| sql).collect();
        assert_eq!(
            taking,
            [
                "SELECT pg_advisory_xact_lock($1), pg_advisory_xact_lock($2)",
                "SELECT pg_advisory_xact_lock($2 # id) FROM users WHERE phone = $1",
            ]
        );
    }
}
