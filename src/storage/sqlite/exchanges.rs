//! Rows of `exchanges`.

use rusqlite::{Connection, OptionalExtension as _, Row, params};

use super::fault::one_row;
use super::tx::SqliteTx;
use crate::domain::{Exchange, Timestamp};
use crate::storage::StoreResult;
use crate::storage::exchanges::{ReadExchanges, WriteExchanges};

const BY_JTI: &str =
    "SELECT jti, user_id, session_id, exchanged_at, expires_at FROM exchanges WHERE jti = ?1";

const INSERT: &str = "INSERT INTO exchanges (jti, user_id, session_id, exchanged_at, expires_at) \
     VALUES (?1, ?2, ?3, ?4, ?5) ON CONFLICT DO NOTHING";

pub(super) const PURGE: &str = "DELETE FROM exchanges WHERE jti IN \
     (SELECT jti FROM exchanges WHERE expires_at < ?1 LIMIT ?2)";

impl ReadExchanges for SqliteTx<'_> {
    fn exchange(&self, jti: &str) -> StoreResult<Option<Exchange>> {
        self.run(|conn| conn.prepare_cached(BY_JTI)?.query_row([jti], exchange).optional())
    }
}

impl WriteExchanges for SqliteTx<'_> {
    fn insert_exchange(&mut self, exchange: &Exchange) -> StoreResult<()> {
        let Exchange { jti, user, session, at, expires_at } = exchange;
        let values = params![jti, user, session, at, expires_at];
        self.run(|conn| one_row(conn.prepare_cached(INSERT)?.execute(values)?))
    }
}

/// Deletes at most `limit` of tokens that expired before `before`; gives how many.
pub(super) fn purge(conn: &Connection, before: Timestamp, limit: i64) -> rusqlite::Result<usize> {
    conn.prepare_cached(PURGE)?.execute(params![before, limit])
}

fn exchange(row: &Row<'_>) -> rusqlite::Result<Exchange> {
    Ok(Exchange {
        jti: row.get(0)?,
        user: row.get(1)?,
        session: row.get(2)?,
        at: row.get(3)?,
        expires_at: row.get(4)?,
    })
}
