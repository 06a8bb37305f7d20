//! Rows of `test_numbers`: a handful.

use rusqlite::{Connection, OptionalExtension as _, Row, params};

use crate::domain::{CodeHash, PhoneNumber, TestNumber, Timestamp};

const BY_PHONE: &str =
    "SELECT phone, key_number, code_hmac, until, source FROM test_numbers WHERE phone = ?1";

const ALL: &str = "SELECT phone, key_number, code_hmac, until, source FROM test_numbers ORDER BY phone";

const KEEP: &str = "INSERT OR REPLACE INTO test_numbers (phone, key_number, code_hmac, until, source) \
     VALUES (?1, ?2, ?3, ?4, ?5)";

pub(super) fn by_phone(conn: &Connection, phone: &PhoneNumber) -> rusqlite::Result<Option<TestNumber>> {
    conn.prepare_cached(BY_PHONE)?.query_row([phone], test_number).optional()
}

pub(super) fn all(conn: &Connection) -> rusqlite::Result<Vec<TestNumber>> {
    conn.prepare_cached(ALL)?.query_map([], test_number)?.collect()
}

pub(super) fn keep(conn: &Connection, number: &TestNumber) -> rusqlite::Result<()> {
    let TestNumber { phone, hash, until, source } = number;
    conn.prepare_cached(KEEP)?.execute(params![phone, hash.key, hash.tag, until, source]).map(drop)
}

pub(super) fn forget(conn: &Connection, phone: &PhoneNumber) -> rusqlite::Result<()> {
    conn.prepare_cached("DELETE FROM test_numbers WHERE phone = ?1")?.execute([phone]).map(drop)
}

/// Deletes those that ended before `before`.
pub(super) fn purge(conn: &Connection, before: Timestamp) -> rusqlite::Result<()> {
    conn.prepare_cached("DELETE FROM test_numbers WHERE until < ?1")?.execute([before]).map(drop)
}

fn test_number(row: &Row<'_>) -> rusqlite::Result<TestNumber> {
    Ok(TestNumber {
        phone: row.get(0)?,
        hash: CodeHash { key: row.get(1)?, tag: row.get(2)? },
        until: row.get(3)?,
        source: row.get(4)?,
    })
}
