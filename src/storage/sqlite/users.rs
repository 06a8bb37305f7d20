//! Rows of `users`.

use rusqlite::{Connection, OptionalExtension as _, Row, params};

use super::fault::one_row;
use super::tx::SqliteTx;
use crate::domain::user::usernames_for;
use crate::domain::{PhoneNumber, Registration, SessionId, Timestamp, User, UserId};
use crate::storage::StoreResult;
use crate::storage::columns::count;
use crate::storage::users::{ImportedUser, ReadUsers, UserSearch, WriteUsers};

macro_rules! columns {
    () => {
        "id, username, phone, role, is_active, phone_verified, joined_at, foreign_tokens, \
         testing_only, version, attributes, deletes_at"
    };
}

const BY_ID: &str = concat!("SELECT ", columns!(), " FROM users WHERE id = ?1");

pub(super) const BY_PHONE: &str = concat!("SELECT ", columns!(), " FROM users WHERE phone = ?1");

const BY_USERNAME: &str = concat!("SELECT ", columns!(), " FROM users WHERE username = ?1");

pub(super) const SEEN: &str =
    "UPDATE users SET last_seen_at = max(ifnull(last_seen_at, ?2), ?2) WHERE id = ?1";

const LAST_SEEN: &str = "SELECT max(joined_at, ifnull(imported_at, 0), ifnull(last_seen_at, 0), \
     ifnull((SELECT max(last_used_at) FROM sessions WHERE user_id = users.id), 0)) FROM users WHERE id = ?1";

const HAVE_ATTRIBUTES: &str = "SELECT EXISTS (SELECT 1 FROM users WHERE attributes IS NOT NULL)";

/// The users who are wanted.
macro_rules! wanted {
    () => {
        " FROM users WHERE (?1 IS NULL OR role = ?1) AND NOT (?2 AND is_active) \
         AND (?3 IS NULL OR instr(phone, ?3) > 0 OR instr(username, ?3) > 0)"
    };
}

const SEARCH: &str = concat!("SELECT ", columns!(), wanted!(), " AND id > ?4 ORDER BY id LIMIT ?5");

const COUNT: &str = concat!("SELECT count(*)", wanted!());

/// Without a condition `SQLite` counts the entries of an index, and looks at no row.
const COUNT_ALL: &str = "SELECT count(*) FROM users";

const INSERT: &str = "INSERT INTO users (username, phone, role, joined_at) VALUES (?1, ?2, ?3, ?4) \
     ON CONFLICT DO NOTHING";

const UPDATE: &str = "UPDATE users SET username = ?2, phone = ?3, role = ?4, is_active = ?5, \
     phone_verified = ?6, joined_at = ?7, foreign_tokens = ?8, testing_only = ?9, \
     deletes_at = ?10, attributes = ?12, version = version + 1 WHERE id = ?1 AND version = ?11";

/// Of version 1: the row is not as a registration writes it.
const IMPORT: &str = "INSERT INTO users (id, username, phone, role, is_active, phone_verified, joined_at, \
     imported_at, foreign_tokens, attributes, version) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?1 IS NOT NULL, ?9, 1) \
     ON CONFLICT DO NOTHING RETURNING id";

const SESSIONS: &str = "SELECT id FROM sessions WHERE user_id = ?1";

/// Sessions and exchanges go with the row.
const DELETE: &str = "DELETE FROM users WHERE id = ?1";

/// Nobody who was imported: another system knows the person by that id.
macro_rules! registrations {
    ($condition:literal) => {
        concat!(
            "SELECT ",
            columns!(),
            ", EXISTS (SELECT 1 FROM sessions WHERE sessions.user_id = users.id), \
             (SELECT max(expires_at) FROM challenges WHERE challenges.phone = users.phone \
             AND state IN ('sending', 'live', 'unknown')) \
             FROM users WHERE phone_verified = 0 AND imported_at IS NULL AND ",
            $condition
        )
    };
}

pub(super) const REGISTRATIONS: &str =
    registrations!("(joined_at, id) > (?1, ?2) AND joined_at < ?3 ORDER BY joined_at, id LIMIT ?4");

const REGISTRATION: &str = registrations!("id = ?1");

pub(super) const TO_DELETE: &str =
    concat!("SELECT ", columns!(), " FROM users WHERE deletes_at <= ?1 ORDER BY deletes_at, id LIMIT ?2");

const RAISE: &str = "UPDATE sqlite_sequence SET seq = max(seq, ?1) WHERE name = 'users'";

const BEGIN_IDS: &str = "INSERT INTO sqlite_sequence (name, seq) VALUES ('users', ?1)";

const LAST_ID: &str = "SELECT seq FROM sqlite_sequence WHERE name = 'users' AND seq > 0";

impl ReadUsers for SqliteTx<'_> {
    fn user(&self, id: UserId) -> StoreResult<Option<User>> {
        self.run(|conn| by_id(conn, id))
    }

    fn user_by_phone(&self, phone: &PhoneNumber) -> StoreResult<Option<User>> {
        self.run(|conn| by_phone(conn, phone))
    }

    fn user_by_username(&self, username: &str) -> StoreResult<Option<User>> {
        self.run(|conn| conn.prepare_cached(BY_USERNAME)?.query_row([username], user).optional())
    }

    fn have_attributes(&self) -> StoreResult<bool> {
        self.run(|conn| conn.prepare_cached(HAVE_ATTRIBUTES)?.query_row([], |row| row.get(0)))
    }

    fn search_users(&self, wanted: &UserSearch, after: UserId, rows: usize) -> StoreResult<Vec<User>> {
        let UserSearch { role, is_inactive, text } = wanted;
        let of = params![role, is_inactive, text, after, count(rows)];
        self.run(|conn| conn.prepare_cached(SEARCH)?.query_map(of, user)?.collect())
    }

    fn count_users(&self, wanted: &UserSearch) -> StoreResult<usize> {
        let UserSearch { role, is_inactive, text } = wanted;
        let counted: i64 = self.run(|conn| {
            if *wanted == UserSearch::default() {
                return conn.prepare_cached(COUNT_ALL)?.query_row([], |row| row.get(0));
            }
            conn.prepare_cached(COUNT)?.query_row(params![role, is_inactive, text], |row| row.get(0))
        })?;
        Ok(usize::try_from(counted).unwrap_or_default())
    }

    fn registrations_after(
        &self,
        after: Option<(Timestamp, UserId)>,
        before: Timestamp,
        rows: usize,
    ) -> StoreResult<Vec<Registration>> {
        let (joined_at, id) = after.unwrap_or((Timestamp::from_millis(i64::MIN), UserId(0)));
        let of = params![joined_at, id, before, count(rows)];
        self.run(|conn| conn.prepare_cached(REGISTRATIONS)?.query_map(of, registration)?.collect())
    }

    fn registration(&self, id: UserId) -> StoreResult<Option<Registration>> {
        self.run(|conn| conn.prepare_cached(REGISTRATION)?.query_row([id], registration).optional())
    }

    fn users_to_delete(&self, due: Timestamp, rows: usize) -> StoreResult<Vec<User>> {
        let of = params![due, count(rows)];
        self.run(|conn| conn.prepare_cached(TO_DELETE)?.query_map(of, user)?.collect())
    }

    fn last_seen(&self, id: UserId) -> StoreResult<Option<Timestamp>> {
        self.run(|conn| conn.prepare_cached(LAST_SEEN)?.query_row([id], |row| row.get(0)).optional())
    }

    fn last_user_id(&self) -> StoreResult<Option<UserId>> {
        self.run(last_id)
    }
}

impl WriteUsers for SqliteTx<'_> {
    fn insert_user(&mut self, phone: &PhoneNumber, role: &str, joined_at: Timestamp) -> StoreResult<User> {
        self.run(|conn| insert(conn, phone, role, joined_at))
    }

    fn update_user(&mut self, user: &mut User) -> StoreResult<()> {
        self.assert_locked("a user", |locks| {
            // One who gives the number up is locked by it.
            let before = || self.user(user.id).ok().flatten().and_then(|before| before.phone);
            locks.cover_user(user.id, user.phone.clone().or_else(before).as_ref())
        });
        self.touched().users.push(user.id);
        self.run(|conn| update(conn, user))?;
        user.version += 1;
        Ok(())
    }

    fn note_seen(&mut self, id: UserId, at: Timestamp) -> StoreResult<()> {
        self.run(|conn| conn.prepare_cached(SEEN)?.execute(params![id, at]).map(drop))
    }

    fn import_user(&mut self, user: &ImportedUser, at: Timestamp) -> StoreResult<Option<UserId>> {
        let ImportedUser { id, username: _, phone, role, is_active, phone_verified, joined_at, attributes } =
            user;
        let username = user.username();
        let values = params![id, username, phone, role, is_active, phone_verified, joined_at, at, attributes];
        self.run(|conn| conn.prepare_cached(IMPORT)?.query_row(values, |row| row.get(0)).optional())
    }

    fn raise_user_ids(&mut self, id: UserId) -> StoreResult<()> {
        self.run(|conn| raise_ids(conn, id))
    }

    fn delete_user(&mut self, id: UserId) -> StoreResult<Option<usize>> {
        let sessions: Vec<SessionId> =
            self.run(|conn| conn.prepare_cached(SESSIONS)?.query_map([id], |row| row.get(0))?.collect())?;
        let ended = sessions.len();
        self.touched().users.push(id);
        self.touched().sessions.extend(sessions);
        let deleted = self.run(|conn| conn.prepare_cached(DELETE)?.execute([id]))?;
        Ok((deleted == 1).then_some(ended))
    }
}

pub(super) fn by_id(conn: &Connection, id: UserId) -> rusqlite::Result<Option<User>> {
    conn.prepare_cached(BY_ID)?.query_row([id], user).optional()
}

fn by_phone(conn: &Connection, phone: &PhoneNumber) -> rusqlite::Result<Option<User>> {
    conn.prepare_cached(BY_PHONE)?.query_row([phone], user).optional()
}

/// The highest id that was ever given, or kept from being given.
pub(super) fn last_id(conn: &Connection) -> rusqlite::Result<Option<UserId>> {
    conn.prepare_cached(LAST_ID)?.query_row([], |row| row.get(0)).optional()
}

/// Raises the number from which AUTOINCREMENT counts; it never goes back.
pub(super) fn raise_ids(conn: &Connection, id: UserId) -> rusqlite::Result<()> {
    if conn.prepare_cached(RAISE)?.execute([id])? == 0 {
        conn.prepare_cached(BEGIN_IDS)?.execute([id])?;
    }
    Ok(())
}

/// The name of a new user is the first of its phone's that is free.
fn insert(
    conn: &Connection,
    phone: &PhoneNumber,
    role: &str,
    joined_at: Timestamp,
) -> rusqlite::Result<User> {
    let mut insert = conn.prepare_cached(INSERT)?;
    for username in usernames_for(phone) {
        if insert.execute(params![username, phone, role, joined_at])? == 1 {
            let id = UserId(conn.last_insert_rowid());
            return Ok(User::new(id, username, phone.clone(), role, joined_at));
        }
        // No name helps where it is the phone that is taken.
        if by_phone(conn, phone)?.is_some() {
            break;
        }
    }
    Err(rusqlite::Error::StatementChangedRows(0))
}

fn update(conn: &Connection, user: &User) -> rusqlite::Result<()> {
    let User {
        id,
        username,
        phone,
        role,
        is_active,
        phone_verified,
        joined_at,
        has_foreign_tokens,
        is_testing_only,
        deletes_at,
        version,
        attributes,
    } = user;
    let changed = conn.prepare_cached(UPDATE)?.execute(params![
        id,
        username,
        phone,
        role,
        is_active,
        phone_verified,
        joined_at,
        has_foreign_tokens,
        is_testing_only,
        deletes_at,
        version,
        attributes
    ])?;
    one_row(changed)
}

/// A user from the columns from `first` on.
pub(super) fn user_from(row: &Row<'_>, first: usize) -> rusqlite::Result<User> {
    Ok(User {
        id: row.get(first)?,
        username: row.get(first + 1)?,
        phone: row.get(first + 2)?,
        role: row.get(first + 3)?,
        is_active: row.get(first + 4)?,
        phone_verified: row.get(first + 5)?,
        joined_at: row.get(first + 6)?,
        has_foreign_tokens: row.get(first + 7)?,
        is_testing_only: row.get(first + 8)?,
        version: row.get(first + 9)?,
        attributes: row.get(first + 10)?,
        deletes_at: row.get(first + 11)?,
    })
}

fn user(row: &Row<'_>) -> rusqlite::Result<User> {
    user_from(row, 0)
}

fn registration(row: &Row<'_>) -> rusqlite::Result<Registration> {
    Ok(Registration { user: user(row)?, has_sessions: row.get(12)?, code_until: row.get(13)? })
}
