//! Rows of `token_names`.

use rusqlite::{OptionalExtension as _, Row, params};

use super::tx::SqliteTx;
use crate::domain::{NameClaim, Timestamp};
use crate::storage::StoreResult;
use crate::storage::token_names::{ReadTokenNames, WriteTokenNames};

const READ: &str = "SELECT name, since FROM token_names WHERE claim = ?1";

const WRITE: &str = "INSERT INTO token_names (claim, name, since) VALUES (?1, ?2, ?3) \
     ON CONFLICT (claim) DO UPDATE SET name = excluded.name, since = excluded.since";

const FORGET: &str = "DELETE FROM token_names WHERE claim = ?1";

impl ReadTokenNames for SqliteTx<'_> {
    fn token_name(&self, claim: NameClaim) -> StoreResult<Option<(String, Timestamp)>> {
        let named = |row: &Row<'_>| Ok((row.get(0)?, row.get(1)?));
        self.run(|conn| conn.prepare_cached(READ)?.query_row([claim.as_str()], named).optional())
    }
}

impl WriteTokenNames for SqliteTx<'_> {
    fn store_token_name(
        &mut self,
        claim: NameClaim,
        name: Option<&str>,
        since: Timestamp,
    ) -> StoreResult<()> {
        self.run(|conn| {
            let written = match name {
                Some(name) => conn.prepare_cached(WRITE)?.execute(params![claim.as_str(), name, since]),
                None => conn.prepare_cached(FORGET)?.execute([claim.as_str()]),
            };
            written.map(drop)
        })
    }
}
