//! Rows of `users`.

use rusqlite::{Connection, OptionalExtension as _, Row, params};

use super::fault::one_row;
use crate::domain::user::username_for;
use crate::domain::{PhoneNumber, Timestamp, User, UserId};

macro_rules! columns {
    () => {
        "id, username, phone, role, is_active, phone_verified, joined_at, foreign_tokens, \
         testing_only"
    };
}

const BY_ID: &str = concat!("SELECT ", columns!(), " FROM users WHERE id = ?1");

pub(super) const BY_PHONE: &str = concat!("SELECT ", columns!(), " FROM users WHERE phone = ?1");

const BY_USERNAME: &str = concat!("SELECT ", columns!(), " FROM users WHERE username = ?1");

const AFTER: &str = concat!("SELECT ", columns!(), " FROM users WHERE id > ?1 ORDER BY id LIMIT ?2");

const INSERT: &str = "INSERT INTO users (username, phone, role, joined_at) VALUES (?1, ?2, ?3, ?4) \
     ON CONFLICT (username) DO NOTHING RETURNING id";

const UPDATE: &str = "UPDATE users SET username = ?2, phone = ?3, role = ?4, is_active = ?5, \
     phone_verified = ?6, joined_at = ?7, foreign_tokens = ?8, testing_only = ?9 WHERE id = ?1";

const LAST_ID: &str = "SELECT seq FROM sqlite_sequence WHERE name = 'users' AND seq > 0";

pub(super) fn by_id(conn: &Connection, id: UserId) -> rusqlite::Result<Option<User>> {
    conn.prepare_cached(BY_ID)?.query_row([id], user).optional()
}

pub(super) fn by_phone(conn: &Connection, phone: &PhoneNumber) -> rusqlite::Result<Option<User>> {
    conn.prepare_cached(BY_PHONE)?.query_row([phone], user).optional()
}

pub(super) fn by_username(conn: &Connection, username: &str) -> rusqlite::Result<Option<User>> {
    conn.prepare_cached(BY_USERNAME)?.query_row([username], user).optional()
}

pub(super) fn after(conn: &Connection, after: UserId, rows: i64) -> rusqlite::Result<Vec<User>> {
    conn.prepare_cached(AFTER)?.query_map(params![after, rows], user)?.collect()
}

/// The highest id that was ever given, or kept from being given.
pub(super) fn last_id(conn: &Connection) -> rusqlite::Result<Option<UserId>> {
    conn.prepare_cached(LAST_ID)?.query_row([], |row| row.get(0)).optional()
}

/// The name of a new user is its phone's; one that an import or a change of phone took gets a number.
pub(super) fn insert(
    conn: &Connection,
    phone: &PhoneNumber,
    role: &str,
    joined_at: Timestamp,
) -> rusqlite::Result<User> {
    let derived = username_for(phone);
    let mut insert = conn.prepare_cached(INSERT)?;
    let mut username = derived.clone();
    let mut number = 1;
    loop {
        let id = insert.query_row(params![username, phone, role, joined_at], |row| row.get(0)).optional()?;
        if let Some(id) = id {
            return Ok(User {
                id,
                username,
                phone: phone.clone(),
                role: role.to_owned(),
                is_active: true,
                phone_verified: false,
                joined_at,
                has_foreign_tokens: false,
                is_testing_only: false,
            });
        }
        number += 1;
        username = format!("{derived}_{number}");
    }
}

pub(super) fn update(conn: &Connection, user: &User) -> rusqlite::Result<()> {
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
        is_testing_only
    ])?;
    one_row(changed)
}

fn user(row: &Row<'_>) -> rusqlite::Result<User> {
    Ok(User {
        id: row.get(0)?,
        username: row.get(1)?,
        phone: row.get(2)?,
        role: row.get(3)?,
        is_active: row.get(4)?,
        phone_verified: row.get(5)?,
        joined_at: row.get(6)?,
        has_foreign_tokens: row.get(7)?,
        is_testing_only: row.get(8)?,
    })
}
