//! Rows of `exchanges`.

use super::row::{Row, RowError};

use super::tx::PostgresTx;
use crate::domain::{Exchange, Timestamp};
use crate::storage::StoreResult;
use crate::storage::exchanges::{ReadExchanges, WriteExchanges};

const BY_JTI: &str =
    "SELECT jti, user_id, session_id, exchanged_at, expires_at FROM exchanges WHERE jti = $1";

const INSERT: &str = "INSERT INTO exchanges (jti, user_id, session_id, exchanged_at, expires_at) \
     VALUES ($1, $2, $3, $4, $5)";

const PURGE: &str =
    "DELETE FROM exchanges WHERE jti IN (SELECT jti FROM exchanges WHERE expires_at < $1 LIMIT $2)";

impl ReadExchanges for PostgresTx<'_> {
    fn exchange(&self, jti: &str) -> StoreResult<Option<Exchange>> {
        self.row(BY_JTI, &[&jti], exchange)
    }
}

impl WriteExchanges for PostgresTx<'_> {
    fn insert_exchange(&mut self, exchange: &Exchange) -> StoreResult<()> {
        let Exchange { jti, user, session, at, expires_at } = exchange;
        self.append(INSERT, &[jti, user, session, at, expires_at])
    }
}

impl PostgresTx<'_> {
    /// Deletes at most `limit` exchanges of tokens that expired before `before`; gives how many.
    pub(super) fn purge_exchanges(&self, before: Timestamp, limit: i64) -> StoreResult<usize> {
        self.write(PURGE, &[&before, &limit])
    }
}

fn exchange(row: &Row) -> Result<Exchange, RowError> {
    Ok(Exchange {
        jti: row.try_get(0)?,
        user: row.try_get(1)?,
        session: row.try_get(2)?,
        at: row.try_get(3)?,
        expires_at: row.try_get(4)?,
    })
}
