//! Rows of `token_names`.

use rusqlite::{Connection, OptionalExtension as _, params};

use crate::domain::{NameClaim, Timestamp};

const READ: &str = "SELECT name, since FROM token_names WHERE claim = ?1";

const WRITE: &str = "INSERT OR REPLACE INTO token_names (claim, name, since) VALUES (?1, ?2, ?3)";

const FORGET: &str = "DELETE FROM token_names WHERE claim = ?1";

pub(super) fn read(conn: &Connection, claim: NameClaim) -> rusqlite::Result<Option<(String, Timestamp)>> {
    let named = |row: &rusqlite::Row<'_>| Ok((row.get(0)?, row.get(1)?));
    conn.prepare_cached(READ)?.query_row([claim.as_str()], named).optional()
}

pub(super) fn write(
    conn: &Connection,
    claim: NameClaim,
    name: Option<&str>,
    since: Timestamp,
) -> rusqlite::Result<()> {
    let written = match name {
        Some(name) => conn.prepare_cached(WRITE)?.execute(params![claim.as_str(), name, since]),
        None => conn.prepare_cached(FORGET)?.execute([claim.as_str()]),
    };
    written.map(drop)
}
