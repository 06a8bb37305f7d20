//! Rows of `token_names`.

use super::tx::PostgresTx;
use crate::domain::{NameClaim, Timestamp};
use crate::storage::StoreResult;
use crate::storage::token_names::{ReadTokenNames, WriteTokenNames};

const READ: &str = "SELECT name, since FROM token_names WHERE claim = $1";

const WRITE: &str = "INSERT INTO token_names (claim, name, since) VALUES ($1, $2, $3) \
     ON CONFLICT (claim) DO UPDATE SET name = excluded.name, since = excluded.since";

const FORGET: &str = "DELETE FROM token_names WHERE claim = $1";

impl ReadTokenNames for PostgresTx<'_> {
    fn token_name(&self, claim: NameClaim) -> StoreResult<Option<(String, Timestamp)>> {
        self.row(READ, &[&claim.as_str()], |row| Ok((row.try_get(0)?, row.try_get(1)?)))
    }
}

impl WriteTokenNames for PostgresTx<'_> {
    fn store_token_name(
        &mut self,
        claim: NameClaim,
        name: Option<&str>,
        since: Timestamp,
    ) -> StoreResult<()> {
        match name {
            Some(name) => self.write_one(WRITE, &[&claim.as_str(), &name, &since]),
            None => self.write(FORGET, &[&claim.as_str()]).map(drop),
        }
    }
}
