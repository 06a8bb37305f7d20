//! Rows of `test_numbers`: a handful.

use super::row::{Row, RowError};

use super::columns::Number;
use super::tx::PostgresTx;
use crate::domain::{CodeHash, PhoneNumber, TestNumber, Timestamp};
use crate::storage::StoreResult;
use crate::storage::test_numbers::{ReadTestNumbers, WriteTestNumbers};

pub(super) const BY_PHONE: &str =
    "SELECT phone, key_number, code_hmac, until, source FROM test_numbers WHERE phone = $1";

const ALL: &str = "SELECT phone, key_number, code_hmac, until, source FROM test_numbers ORDER BY phone";

const KEEP: &str = "INSERT INTO test_numbers (phone, key_number, code_hmac, until, source) \
     VALUES ($1, $2, $3, $4, $5) ON CONFLICT (phone) DO UPDATE SET key_number = excluded.key_number, \
     code_hmac = excluded.code_hmac, until = excluded.until, source = excluded.source";

const FORGET: &str = "DELETE FROM test_numbers WHERE phone = $1";

const PURGE: &str = "DELETE FROM test_numbers WHERE until < $1";

impl ReadTestNumbers for PostgresTx<'_> {
    fn test_number(&self, phone: &PhoneNumber) -> StoreResult<Option<TestNumber>> {
        self.row(BY_PHONE, &[phone], test_number)
    }

    fn test_numbers(&self) -> StoreResult<Vec<TestNumber>> {
        self.rows(ALL, &[], test_number)
    }
}

impl WriteTestNumbers for PostgresTx<'_> {
    fn keep_test_number(&mut self, number: &TestNumber) -> StoreResult<()> {
        let TestNumber { phone, hash, until, source } = number;
        self.write_one(KEEP, &[phone, &Number(hash.key), &hash.tag, until, source])
    }

    fn forget_test_number(&mut self, phone: &PhoneNumber) -> StoreResult<()> {
        self.write(FORGET, &[phone]).map(drop)
    }
}

impl PostgresTx<'_> {
    /// Deletes test numbers that ended before `before`.
    pub(super) fn purge_test_numbers(&self, before: Timestamp) -> StoreResult<()> {
        self.write(PURGE, &[&before]).map(drop)
    }
}

fn test_number(row: &Row) -> Result<TestNumber, RowError> {
    Ok(TestNumber {
        phone: row.try_get(0)?,
        hash: CodeHash { key: row.try_get::<Number<_>>(1)?.0, tag: row.try_get(2)? },
        until: row.try_get(3)?,
        source: row.try_get(4)?,
    })
}
