//! Rows of `test_numbers`: a handful.

use rusqlite::{Connection, OptionalExtension as _, Row, params};

use super::tx::SqliteTx;
use crate::domain::{CodeHash, PhoneNumber, TestNumber, Timestamp};
use crate::storage::test_numbers::{ReadTestNumbers, WriteTestNumbers};
use crate::storage::{Locks, StoreResult};

const BY_PHONE: &str =
    "SELECT phone, key_number, code_hmac, until, source FROM test_numbers WHERE phone = ?1";

const ALL: &str = "SELECT phone, key_number, code_hmac, until, source FROM test_numbers ORDER BY phone";

const KEEP: &str = "INSERT INTO test_numbers (phone, key_number, code_hmac, until, source) \
     VALUES (?1, ?2, ?3, ?4, ?5) ON CONFLICT (phone) DO UPDATE SET key_number = excluded.key_number, \
     code_hmac = excluded.code_hmac, until = excluded.until, source = excluded.source";

const FORGET: &str = "DELETE FROM test_numbers WHERE phone = ?1";

const PURGE: &str = "DELETE FROM test_numbers WHERE until < ?1";

impl ReadTestNumbers for SqliteTx<'_> {
    fn test_number(&self, phone: &PhoneNumber) -> StoreResult<Option<TestNumber>> {
        self.run(|conn| conn.prepare_cached(BY_PHONE)?.query_row([phone], test_number).optional())
    }

    fn test_numbers(&self) -> StoreResult<Vec<TestNumber>> {
        self.run(|conn| conn.prepare_cached(ALL)?.query_map([], test_number)?.collect())
    }
}

impl WriteTestNumbers for SqliteTx<'_> {
    fn keep_test_number(&mut self, number: &TestNumber) -> StoreResult<()> {
        self.assert_locked("a test number", Locks::cover_test_numbers);
        let TestNumber { phone, hash, until, source } = number;
        let values = params![phone, hash.key, hash.tag, until, source];
        self.run(|conn| conn.prepare_cached(KEEP)?.execute(values).map(drop))
    }

    fn forget_test_number(&mut self, phone: &PhoneNumber) -> StoreResult<()> {
        self.assert_locked("a test number", Locks::cover_test_numbers);
        self.run(|conn| conn.prepare_cached(FORGET)?.execute([phone]).map(drop))
    }
}

/// Deletes those that ended before `before`.
pub(super) fn purge(conn: &Connection, before: Timestamp) -> rusqlite::Result<()> {
    conn.prepare_cached(PURGE)?.execute([before]).map(drop)
}

fn test_number(row: &Row<'_>) -> rusqlite::Result<TestNumber> {
    Ok(TestNumber {
        phone: row.get(0)?,
        hash: CodeHash { key: row.get(1)?, tag: row.get(2)? },
        until: row.get(3)?,
        source: row.get(4)?,
    })
}
