//! A login whose answer may have been lost: the same call with the same `Idempotency-Key` gives its session again.

use std::time::Duration;

use hmac::Mac;
use subtle::ConstantTimeEq;

use super::AuthError;
use super::audited::AuditedTx;
use super::devices::guesses;
use super::lookup::find_session;
use crate::domain::challenge::Use;
use crate::domain::keys::KeyRing;
use crate::domain::{Challenge, Device, Secret, Session, Timestamp, User};
use crate::storage::StoreResult;

/// How long a login may be repeated.
const REPEATABLE: Duration = Duration::from_mins(1);

/// A login that may be repeated.
pub(super) struct Repeatable<'c> {
    /// What it was made with.
    pub(super) challenge: &'c Challenge,
    /// The session to give again, or why the right code gets none.
    pub(super) session: Result<Session, AuthError>,
}

/// An `Idempotency-Key`, and what it is judged by.
pub(super) struct Repetition<'a> {
    pub(super) key: &'a Secret,
    pub(super) keys: &'a KeyRing,
    /// The device that the call comes from.
    pub(super) device: Option<&'a Device>,
    /// Wrong guesses that one code takes.
    pub(super) max_attempts: u32,
    /// When the session must be live.
    pub(super) live_at: Timestamp,
}

impl Repetition<'_> {
    /// The latest login of a user whose answer may have been lost, if it was made with this key. The code that it was made
    /// with is guessed against like any other, or a key that others can know would let them try all codes.
    pub(super) fn find<'c>(
        &self,
        tx: &AuditedTx<'_>,
        latest: &'c [Challenge],
        user: &User,
    ) -> StoreResult<Option<Repeatable<'c>>> {
        let now = tx.at();
        for challenge in latest {
            let Some(Use { at, session: Some(session), idempotency: Some(stored) }) = &challenge.used else {
                continue;
            };
            let same_key = mac(self.key, self.keys, challenge).is_some_and(|mac| mac.ct_eq(stored).into());
            if !same_key || now >= *at + REPEATABLE {
                continue;
            }
            if guesses(&**tx, challenge, self.device)? >= self.max_attempts {
                return Ok(None);
            }
            let session = match find_session(&**tx, session, user, self.live_at)? {
                // A phone that has refreshed has had its answer.
                Ok(session) if session.generation > 0 => return Ok(None),
                Ok(_) if !user.is_active => Err(AuthError::AccountDisabled),
                Err(AuthError::TokenInvalid) => return Ok(None),
                found => found,
            };
            return Ok(Some(Repeatable { challenge, session }));
        }
        Ok(None)
    }
}

/// The MAC of an `Idempotency-Key`, as the challenge that it came with keeps it.
pub(super) fn mac(key: &Secret, keys: &KeyRing, challenge: &Challenge) -> Option<Vec<u8>> {
    let mac = keys.numbered(challenge.hash.key)?.code_mac();
    let mac = mac.chain_update(b"idempotency").chain_update(challenge.id.0.to_be_bytes());
    Some(mac.chain_update(key.expose()).finalize().into_bytes().to_vec())
}
