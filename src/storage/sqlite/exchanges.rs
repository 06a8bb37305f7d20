//! Rows of `exchanges`.

use rusqlite::{Connection, OptionalExtension as _, Row, params};

use super::fault::one_row;
use crate::domain::Exchange;

const BY_JTI: &str =
    "SELECT jti, user_id, session_id, exchanged_at, expires_at FROM exchanges WHERE jti = ?1";

const INSERT: &str = "INSERT INTO exchanges (jti, user_id, session_id, exchanged_at, expires_at) \
     VALUES (?1, ?2, ?3, ?4, ?5)";

pub(super) fn by_jti(conn: &Connection, jti: &str) -> rusqlite::Result<Option<Exchange>> {
    conn.prepare_cached(BY_JTI)?.query_row([jti], exchange).optional()
}

pub(super) fn insert(conn: &Connection, exchange: &Exchange) -> rusqlite::Result<()> {
    let Exchange { jti, user, session, at, expires_at } = exchange;
    one_row(conn.prepare_cached(INSERT)?.execute(params![jti, user, session, at, expires_at])?)
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
