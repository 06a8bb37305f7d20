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

/// How many bytes of what a challenge keeps are the MAC of the `Idempotency-Key`.
const MAC_BYTES: usize = 32;

/// What a login says of its user, besides who that is. A later state of the user does not tell it, so the challenge keeps it for
/// the repetition: as one byte behind the MAC, which is left out where nothing is said.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Said {
    /// Whether the number had never been verified before.
    pub(super) is_new_user: bool,
    /// Whether the account was to be deleted until this login.
    pub(super) is_restored: bool,
    /// Whether the number was a dormant account's until this login.
    pub(super) is_recycled: bool,
}

/// A login that may be repeated.
pub(super) struct Repeatable<'c> {
    /// What it was made with.
    pub(super) challenge: &'c Challenge,
    /// What it said of its user.
    pub(super) said: Said,
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
            let Some((stored, said)) = stored.split_at_checked(MAC_BYTES) else { continue };
            let same_key = mac(self.key, self.keys, challenge).is_some_and(|mac| mac.ct_eq(stored).into());
            let (true, Some(said)) = (same_key && now < *at + REPEATABLE, Said::read(said)) else { continue };
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
            return Ok(Some(Repeatable { challenge, said, session }));
        }
        Ok(None)
    }
}

impl Said {
    /// What is said of whoever had the number before the login; `None` where nobody had, or a dormant account.
    pub(super) fn of(user: Option<&User>, is_recycled: bool) -> Self {
        Self {
            is_new_user: user.is_none_or(|user| !user.phone_verified),
            is_restored: user.is_some_and(|user| user.deletes_at.is_some()),
            is_recycled,
        }
    }

    /// What the byte that is kept says; `None` where it is none of ours.
    fn read(kept: &[u8]) -> Option<Self> {
        let bits = match kept {
            [] => 0,
            [bits @ 1..8] => *bits,
            _ => return None,
        };
        let [is_new_user, is_restored, is_recycled] = [1, 2, 4].map(|bit| bits & bit != 0);
        Some(Self { is_new_user, is_restored, is_recycled })
    }

    fn kept(self) -> Option<u8> {
        let Self { is_new_user, is_restored, is_recycled } = self;
        let bits = u8::from(is_new_user) | u8::from(is_restored) << 1 | u8::from(is_recycled) << 2;
        (bits != 0).then_some(bits)
    }
}

/// What a challenge keeps of a login that came with an `Idempotency-Key`.
pub(super) fn keep(key: &Secret, keys: &KeyRing, challenge: &Challenge, said: Said) -> Option<Vec<u8>> {
    let mut kept = mac(key, keys, challenge)?;
    kept.extend(said.kept());
    Some(kept)
}

fn mac(key: &Secret, keys: &KeyRing, challenge: &Challenge) -> Option<Vec<u8>> {
    let mac = keys.numbered(challenge.hash.key)?.code_mac();
    let mac = mac.chain_update(b"idempotency").chain_update(challenge.id.0.to_be_bytes());
    Some(mac.chain_update(key.expose()).finalize().into_bytes().to_vec())
}
