//! Rows of `phone_changes`.

use rusqlite::{OptionalExtension as _, Row, params};

use super::tx::SqliteTx;
use crate::domain::{CodeHash, PhoneChange, PhoneNumber, Timestamp, UserId};
use crate::storage::StoreResult;
use crate::storage::columns::count;
use crate::storage::phone_changes::{ReadPhoneChanges, WritePhoneChanges};

macro_rules! columns {
    () => {
        "user_id, phone, effective_at, session_id, key_number, cancel_hmac, wrong_cancels"
    };
}

const OF_USER: &str = concat!("SELECT ", columns!(), " FROM phone_changes WHERE user_id = ?1");

pub(super) const TO_PHONE: &str = concat!("SELECT ", columns!(), " FROM phone_changes WHERE phone = ?1");

/// Those to a number, and that of the user who has it.
pub(super) const ABOUT: &str = concat!(
    "SELECT ",
    columns!(),
    " FROM phone_changes WHERE phone = ?1 UNION ALL SELECT ",
    columns!(),
    " FROM phone_changes WHERE user_id = (SELECT id FROM users WHERE users.phone = ?1) AND phone <> ?1"
);

pub(super) const DUE: &str = concat!(
    "SELECT ",
    columns!(),
    " FROM phone_changes WHERE (effective_at, user_id) > (?1, ?2) AND effective_at <= ?3 \
     ORDER BY effective_at, user_id LIMIT ?4"
);

const KEEP: &str = concat!(
    "INSERT INTO phone_changes (",
    columns!(),
    ") VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7) ON CONFLICT (user_id) DO UPDATE SET phone = excluded.phone, \
     effective_at = excluded.effective_at, session_id = excluded.session_id, key_number = excluded.key_number, \
     cancel_hmac = excluded.cancel_hmac, wrong_cancels = excluded.wrong_cancels"
);

const COUNT: &str = "UPDATE phone_changes SET wrong_cancels = ?1 WHERE user_id = ?2 AND phone = ?3";

const DELETE: &str = "DELETE FROM phone_changes WHERE user_id = ?1 AND phone = ifnull(?2, phone)";

impl ReadPhoneChanges for SqliteTx<'_> {
    fn phone_change(&self, user: UserId) -> StoreResult<Option<PhoneChange>> {
        self.run(|conn| conn.prepare_cached(OF_USER)?.query_row([user], change).optional())
    }

    fn phone_change_to(&self, phone: &PhoneNumber) -> StoreResult<Option<PhoneChange>> {
        self.run(|conn| conn.prepare_cached(TO_PHONE)?.query_row([phone], change).optional())
    }

    fn phone_changes_about(&self, phone: &PhoneNumber) -> StoreResult<Vec<PhoneChange>> {
        self.run(|conn| conn.prepare_cached(ABOUT)?.query_map([phone], change)?.collect())
    }

    fn phone_changes_due(
        &self,
        at: Timestamp,
        after: Option<(Timestamp, UserId)>,
        rows: usize,
    ) -> StoreResult<Vec<PhoneChange>> {
        let (due, user) = after.unwrap_or((Timestamp::from_millis(i64::MIN), UserId(0)));
        let of = params![due, user, at, count(rows)];
        self.run(|conn| conn.prepare_cached(DUE)?.query_map(of, change)?.collect())
    }
}

impl WritePhoneChanges for SqliteTx<'_> {
    fn keep_phone_change(&mut self, change: &PhoneChange) -> StoreResult<()> {
        let PhoneChange { user, phone, effective_at, session, cancel, wrong_cancels } = change;
        let row = params![user, phone, effective_at, session, cancel.key, cancel.tag, wrong_cancels];
        self.run(|conn| conn.prepare_cached(KEEP)?.execute(row).map(drop))
    }

    fn count_wrong_cancel(&mut self, change: &PhoneChange) -> StoreResult<bool> {
        let row = params![change.wrong_cancels, change.user, change.phone];
        Ok(self.run(|conn| conn.prepare_cached(COUNT)?.execute(row))? > 0)
    }

    fn delete_phone_change(&mut self, user: UserId, phone: Option<&PhoneNumber>) -> StoreResult<bool> {
        Ok(self.run(|conn| conn.prepare_cached(DELETE)?.execute(params![user, phone]))? > 0)
    }
}

fn change(row: &Row<'_>) -> rusqlite::Result<PhoneChange> {
    Ok(PhoneChange {
        user: row.get(0)?,
        phone: row.get(1)?,
        effective_at: row.get(2)?,
        session: row.get(3)?,
        cancel: CodeHash { key: row.get(4)?, tag: row.get(5)? },
        wrong_cancels: row.get(6)?,
    })
}
