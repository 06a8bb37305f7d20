//! Rows of `phone_changes`.

use super::columns::Number;
use super::row::{Row, RowError};
use super::tx::PostgresTx;
use crate::domain::{CodeHash, PhoneChange, PhoneNumber, Timestamp, UserId};
use crate::storage::StoreResult;
use crate::storage::columns::count;
use crate::storage::phone_changes::{ReadPhoneChanges, WritePhoneChanges};

macro_rules! columns {
    () => {
        "user_id, phone, effective_at, session_id, key_number, cancel_hmac, wrong_cancels"
    };
}

const OF_USER: &str = concat!("SELECT ", columns!(), " FROM phone_changes WHERE user_id = $1");

const TO_PHONE: &str = concat!("SELECT ", columns!(), " FROM phone_changes WHERE phone = $1");

/// Those to a number, and that of the user who has it.
pub(super) const ABOUT: &str = concat!(
    "SELECT ",
    columns!(),
    " FROM phone_changes WHERE phone = $1 UNION ALL SELECT ",
    columns!(),
    " FROM phone_changes WHERE user_id = (SELECT id FROM users WHERE users.phone = $1) AND phone <> $1"
);

const DUE: &str = concat!(
    "SELECT ",
    columns!(),
    " FROM phone_changes WHERE (effective_at, user_id) > ($1, $2) AND effective_at <= $3 \
     ORDER BY effective_at, user_id LIMIT $4"
);

const KEEP: &str = concat!(
    "INSERT INTO phone_changes (",
    columns!(),
    ") VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (user_id) DO UPDATE SET phone = excluded.phone, \
     effective_at = excluded.effective_at, session_id = excluded.session_id, key_number = excluded.key_number, \
     cancel_hmac = excluded.cancel_hmac, wrong_cancels = excluded.wrong_cancels"
);

const COUNT: &str = "UPDATE phone_changes SET wrong_cancels = $1 WHERE user_id = $2 AND phone = $3";

const DELETE: &str = "DELETE FROM phone_changes WHERE user_id = $1 AND phone = coalesce($2, phone)";

impl ReadPhoneChanges for PostgresTx<'_> {
    fn phone_change(&self, user: UserId) -> StoreResult<Option<PhoneChange>> {
        self.row(OF_USER, &[&user], change)
    }

    fn phone_change_to(&self, phone: &PhoneNumber) -> StoreResult<Option<PhoneChange>> {
        self.row(TO_PHONE, &[phone], change)
    }

    fn phone_changes_about(&self, phone: &PhoneNumber) -> StoreResult<Vec<PhoneChange>> {
        self.rows(ABOUT, &[phone], change)
    }

    fn phone_changes_due(
        &self,
        at: Timestamp,
        after: Option<(Timestamp, UserId)>,
        rows: usize,
    ) -> StoreResult<Vec<PhoneChange>> {
        let (due, user) = after.unwrap_or((Timestamp::from_millis(i64::MIN), UserId(0)));
        self.rows(DUE, &[&due, &user, &at, &count(rows)], change)
    }
}

impl WritePhoneChanges for PostgresTx<'_> {
    fn keep_phone_change(&mut self, change: &PhoneChange) -> StoreResult<()> {
        let PhoneChange { user, phone, effective_at, session, cancel, wrong_cancels } = change;
        let (key, wrong_cancels) = (Number(cancel.key), Number(*wrong_cancels));
        self.write_one(KEEP, &[user, phone, effective_at, session, &key, &cancel.tag, &wrong_cancels])
    }

    fn count_wrong_cancel(&mut self, change: &PhoneChange) -> StoreResult<bool> {
        let wrong_cancels = Number(change.wrong_cancels);
        Ok(self.write(COUNT, &[&wrong_cancels, &change.user, &change.phone])? > 0)
    }

    fn delete_phone_change(&mut self, user: UserId, phone: Option<&PhoneNumber>) -> StoreResult<bool> {
        Ok(self.write(DELETE, &[&user, &phone])? > 0)
    }
}

fn change(row: &Row) -> Result<PhoneChange, RowError> {
    let key: Number<u32> = row.try_get(4)?;
    let wrong_cancels: Number<u32> = row.try_get(6)?;
    Ok(PhoneChange {
        user: row.try_get(0)?,
        phone: row.try_get(1)?,
        effective_at: row.try_get(2)?,
        session: row.try_get(3)?,
        cancel: CodeHash { key: key.0, tag: row.try_get(5)? },
        wrong_cancels: wrong_cancels.0,
    })
}
