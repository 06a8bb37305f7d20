//! Since when tokens have the names that the configuration gives them, and until when they are good without.

use std::sync::OnceLock;
use std::time::Duration;

use super::{Auth, AuthError};
use crate::domain::{NameClaim, Timestamp};
use crate::storage::{Locks, StoreResult, Tx};

/// Since when each configured name is known to this database; empty until the start has looked.
#[derive(Default)]
pub(super) struct NamesSince(OnceLock<Vec<(NameClaim, Timestamp)>>);

impl Auth {
    /// Notes at the start which names tokens have from now on.
    pub(super) async fn note_names(&self) -> Result<(), AuthError> {
        let at = self.parts.clock.read().retention;
        let name = |claim| (claim, self.settings().tokens.name(claim).map(str::to_owned));
        let names = NameClaim::ALL.map(name);
        let since = self.parts.store.write(Locks::none(), move |tx| since(tx, &names, at)).await?;
        drop(self.names_since.0.set(since));
        self.require_names(at);
        Ok(())
    }

    /// Refuses tokens without a name once it is known for as long as a refresh token lives: those of before have expired.
    /// `at` is the time of whatever deletes or ends, which no clock that is wrong for a moment moves.
    pub(super) fn require_names(&self, at: Timestamp) {
        let lifetime: Duration = self.policy().lifetimes.refresh;
        for (claim, since) in self.names_since.0.get().into_iter().flatten() {
            self.settings().tokens.require(*claim, at >= *since + lifetime);
        }
    }
}

/// Stores names that have changed at `at`; gives since when those that are set are known.
fn since(
    tx: &mut dyn Tx,
    names: &[(NameClaim, Option<String>); 2],
    at: Timestamp,
) -> StoreResult<Vec<(NameClaim, Timestamp)>> {
    let mut since = Vec::new();
    for &(claim, ref name) in names {
        let known = match tx.token_name(claim)? {
            Some((known, at)) if Some(&known) == name.as_ref() => at,
            None if name.is_none() => continue,
            _ => {
                tx.store_token_name(claim, name.as_deref(), at)?;
                at
            }
        };
        if name.is_some() {
            since.push((claim, known));
        }
    }
    Ok(since)
}
