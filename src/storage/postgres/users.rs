//! Rows of `users`.

use super::row::{Row, RowError};

use super::columns::Number;
use super::tx::{PostgresTx, first};
use crate::domain::user::usernames_for;
use crate::domain::{Attributes, PhoneNumber, Registration, Timestamp, User, UserId};
use crate::storage::columns::count;
use crate::storage::users::{ImportedUser, ReadUsers, UserSearch, WriteUsers};
use crate::storage::{StoreError, StoreResult};

/// How many ids in a row an import may have brought before a new user gets one.
const IDS: u32 = 1000;

macro_rules! columns {
    () => {
        "id, username, phone, role, is_active, phone_verified, joined_at, foreign_tokens, testing_only, \
         version, attributes, deletes_at"
    };
}

pub(super) const BY_ID: &str = concat!("SELECT ", columns!(), " FROM users WHERE id = $1");

pub(super) const BY_PHONE: &str = concat!("SELECT ", columns!(), " FROM users WHERE phone = $1");

const BY_USERNAME: &str = concat!("SELECT ", columns!(), " FROM users WHERE username = $1");

const SEEN: &str = "UPDATE users SET last_seen_at = greatest(last_seen_at, $2) WHERE id = $1";

const LAST_SEEN: &str = "SELECT greatest(joined_at, imported_at, last_seen_at, \
     (SELECT max(last_used_at) FROM sessions WHERE user_id = users.id)) FROM users WHERE id = $1";

const HAVE_ATTRIBUTES: &str = "SELECT EXISTS (SELECT 1 FROM users WHERE attributes IS NOT NULL)";

/// The users who are wanted.
macro_rules! wanted {
    () => {
        " FROM users WHERE ($1::text IS NULL OR role = $1) AND NOT ($2 AND is_active) \
         AND ($3::text IS NULL OR strpos(phone, $3) > 0 OR strpos(username, $3) > 0)"
    };
}

const SEARCH: &str = concat!("SELECT ", columns!(), wanted!(), " AND id > $4 ORDER BY id LIMIT $5");

const COUNT: &str = concat!("SELECT count(*)", wanted!());

const COUNT_ALL: &str = "SELECT count(*) FROM users";

/// Any conflict: an error would abort the transaction.
const INSERT: &str = "INSERT INTO users (username, phone, role, joined_at) VALUES ($1, $2, $3, $4) \
     ON CONFLICT DO NOTHING RETURNING id";

const TAKEN: &str =
    "SELECT EXISTS (SELECT FROM users WHERE phone = $1), EXISTS (SELECT FROM users WHERE username = $2)";

const UPDATE: &str = "UPDATE users SET username = $2, phone = $3, role = $4, is_active = $5, \
     phone_verified = $6, joined_at = $7, foreign_tokens = $8, testing_only = $9, \
     deletes_at = $10, attributes = $12, version = version + 1 WHERE id = $1 AND version = $11";

/// Of version 1: the row is not as a registration writes it.
const IMPORT: &str = "INSERT INTO users (id, username, phone, role, is_active, phone_verified, joined_at, \
     imported_at, foreign_tokens, attributes, version) VALUES (coalesce($1, nextval('users_id_seq')), $2, $3, $4, $5, \
     $6, $7, $8, $1 IS NOT NULL, $9, 1) ON CONFLICT DO NOTHING RETURNING id";

const SESSIONS: &str = "SELECT count(*) FROM sessions WHERE user_id = $1";

/// Sessions and exchanges go with the row.
const DELETE: &str = "DELETE FROM users WHERE id = $1";

/// Nobody who was imported: another system knows the person by that id.
macro_rules! registrations {
    ($condition:literal) => {
        concat!(
            "SELECT ",
            columns!(),
            ", EXISTS (SELECT FROM sessions WHERE sessions.user_id = users.id), \
             (SELECT max(expires_at) FROM challenges WHERE challenges.phone = users.phone \
             AND state IN ('sending', 'live', 'unknown')) \
             FROM users WHERE NOT phone_verified AND imported_at IS NULL AND ",
            $condition
        )
    };
}

const REGISTRATIONS: &str =
    registrations!("(joined_at, id) > ($1, $2) AND joined_at < $3 ORDER BY joined_at, id LIMIT $4");

const REGISTRATION: &str = registrations!("id = $1");

const TO_DELETE: &str =
    concat!("SELECT ", columns!(), " FROM users WHERE deletes_at <= $1 ORDER BY deletes_at, id LIMIT $2");

/// The highest id that was ever given, or is kept from being given.
const LAST_ID: &str = "SELECT CASE WHEN is_called THEN last_value ELSE last_value - 1 END FROM users_id_seq";

impl ReadUsers for PostgresTx<'_> {
    fn user(&self, id: UserId) -> StoreResult<Option<User>> {
        self.row(BY_ID, &[&id], user)
    }

    fn user_by_phone(&self, phone: &PhoneNumber) -> StoreResult<Option<User>> {
        self.row(BY_PHONE, &[phone], user)
    }

    fn user_by_username(&self, username: &str) -> StoreResult<Option<User>> {
        self.row(BY_USERNAME, &[&username], user)
    }

    fn have_attributes(&self) -> StoreResult<bool> {
        Ok(self.row(HAVE_ATTRIBUTES, &[], first)?.unwrap_or_default())
    }

    fn search_users(&self, wanted: &UserSearch, after: UserId, rows: usize) -> StoreResult<Vec<User>> {
        let UserSearch { role, is_inactive, text } = wanted;
        self.rows(SEARCH, &[role, is_inactive, text, &after, &count(rows)], user)
    }

    fn count_users(&self, wanted: &UserSearch) -> StoreResult<usize> {
        let UserSearch { role, is_inactive, text } = wanted;
        let counted = if *wanted == UserSearch::default() {
            self.row(COUNT_ALL, &[], first::<i64>)?
        } else {
            self.row(COUNT, &[role, is_inactive, text], first::<i64>)?
        };
        Ok(usize::try_from(counted.unwrap_or_default()).unwrap_or_default())
    }

    fn registrations_after(
        &self,
        after: Option<(Timestamp, UserId)>,
        before: Timestamp,
        rows: usize,
    ) -> StoreResult<Vec<Registration>> {
        let (joined_at, id) = after.unwrap_or((Timestamp::from_millis(i64::MIN), UserId(0)));
        self.rows(REGISTRATIONS, &[&joined_at, &id, &before, &count(rows)], registration)
    }

    fn registration(&self, id: UserId) -> StoreResult<Option<Registration>> {
        self.row(REGISTRATION, &[&id], registration)
    }

    fn users_to_delete(&self, due: Timestamp, rows: usize) -> StoreResult<Vec<User>> {
        self.rows(TO_DELETE, &[&due, &count(rows)], user)
    }

    fn last_seen(&self, id: UserId) -> StoreResult<Option<Timestamp>> {
        self.row(LAST_SEEN, &[&id], |row| row.try_get(0))
    }

    fn last_user_id(&self) -> StoreResult<Option<UserId>> {
        let given = self.row(LAST_ID, &[], first::<i64>)?.unwrap_or_default().max(self.imported());
        Ok((given > 0).then_some(UserId(given)))
    }
}

impl WriteUsers for PostgresTx<'_> {
    /// The name of a new user is the first of its phone's that is free.
    fn insert_user(&mut self, phone: &PhoneNumber, role: &str, joined_at: Timestamp) -> StoreResult<User> {
        for username in usernames_for(phone) {
            let mut inserted = None;
            // What is taken may be the id, which an import under way brings: the next one is free.
            for _ in 0..IDS {
                inserted =
                    self.returning(INSERT, &[&username, phone, &role, &joined_at], first)?.into_iter().next();
                if inserted.is_some() || self.is_name_taken(&username, phone)? {
                    break;
                }
            }
            if let Some(id) = inserted {
                return Ok(User::new(id, username, phone.clone(), role, joined_at));
            }
        }
        Err(StoreError::Broken)
    }

    fn update_user(&mut self, user: &mut User) -> StoreResult<()> {
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
        self.write_one(
            UPDATE,
            &[
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
                &Number(*version),
                attributes,
            ],
        )?;
        *version += 1;
        self.touched().users.push(user.id);
        Ok(())
    }

    fn note_seen(&mut self, id: UserId, at: Timestamp) -> StoreResult<()> {
        self.append(SEEN, &[&id, &at])
    }

    fn import_user(&mut self, user: &ImportedUser, at: Timestamp) -> StoreResult<Option<UserId>> {
        let ImportedUser { id, username: _, phone, role, is_active, phone_verified, joined_at, attributes } =
            user;
        let username = user.username();
        let written = self.returning(
            IMPORT,
            &[id, &username, phone, role, is_active, phone_verified, joined_at, &at, attributes],
            first::<UserId>,
        )?;
        let written = written.into_iter().next();
        if let (Some(UserId(id)), Some(_)) = (id, written) {
            self.note_imported(*id);
        }
        Ok(written)
    }

    fn raise_user_ids(&mut self, id: UserId) -> StoreResult<()> {
        self.note_imported(id.0);
        Ok(())
    }

    fn delete_user(&mut self, id: UserId) -> StoreResult<Option<usize>> {
        let sessions = self.row(SESSIONS, &[&id], first::<i64>)?.unwrap_or_default();
        let deleted = self.write(DELETE, &[&id])?;
        self.touched().users.push(id);
        Ok((deleted == 1).then(|| usize::try_from(sessions).unwrap_or_default()))
    }
}

impl PostgresTx<'_> {
    /// Raises the number from which new users' ids are counted above what an import brought; the last act before the
    /// commit. It is undone with the transaction, as `setval` would not be.
    pub(super) fn raise_ids(&self) -> StoreResult<()> {
        if self.imported() == 0 {
            return Ok(());
        }
        let given = self.row(LAST_ID, &[], first::<i64>)?.unwrap_or_default();
        if given >= self.imported() {
            return Ok(());
        }
        let next = self.imported().saturating_add(1);
        self.batch(&format!("ALTER SEQUENCE users_id_seq RESTART WITH {next}"))
    }

    /// Whether it is the name that keeps a user from being written, and not the id.
    ///
    /// # Errors
    /// [`StoreError::Broken`] if it is the phone: no name helps there.
    fn is_name_taken(&self, username: &str, phone: &PhoneNumber) -> StoreResult<bool> {
        let taken = |row: &Row| Ok((row.try_get(0)?, row.try_get(1)?));
        match self.row(TAKEN, &[phone, &username], taken)? {
            Some((false, name)) => Ok(name),
            Some((true, _)) | None => Err(StoreError::Broken),
        }
    }
}

/// A user from the columns after `from`.
pub(super) fn user_from(row: &Row, from: usize) -> Result<User, RowError> {
    Ok(User {
        id: row.try_get(from)?,
        username: row.try_get(from + 1)?,
        phone: row.try_get(from + 2)?,
        role: row.try_get(from + 3)?,
        is_active: row.try_get(from + 4)?,
        phone_verified: row.try_get(from + 5)?,
        joined_at: row.try_get(from + 6)?,
        has_foreign_tokens: row.try_get(from + 7)?,
        is_testing_only: row.try_get(from + 8)?,
        version: row.try_get::<Number<u32>>(from + 9)?.0,
        attributes: row.try_get::<Option<Attributes>>(from + 10)?.unwrap_or_default(),
        deletes_at: row.try_get(from + 11)?,
    })
}

fn user(row: &Row) -> Result<User, RowError> {
    user_from(row, 0)
}

fn registration(row: &Row) -> Result<Registration, RowError> {
    Ok(Registration { user: user(row)?, has_sessions: row.try_get(12)?, code_until: row.try_get(13)? })
}
