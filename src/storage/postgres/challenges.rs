//! Rows of `challenges`.

use super::row::{Row, RowError};

use super::columns::Number;
use super::ids::Sequence;
use super::tx::{PostgresTx, Witness, first};
use crate::domain::challenge::Use;
use crate::domain::code::CodeHash;
use crate::domain::settled::Settled;
use crate::domain::{
    Challenge, ChallengeId, ChallengeState, DeliveryId, DeviceId, Mode, NewChallenge, PhoneNumber, Purpose,
    RunId, Timestamp,
};
use crate::storage::challenges::{ReadChallenges, WriteChallenges};
use crate::storage::columns::{count, length, millis};
use crate::storage::maintenance::OLDEST;
use crate::storage::{PurgeHorizon, StoreResult};

macro_rules! columns {
    () => {
        "id, channel, phone, key_number, code_hmac, state, attempts, created_at, expires_at, spend_id, used_at, \
         session_id, idempotency, leader, settled_at, result, retry_after, version, device_id, device_spend_id, change_of, \
         delivery_id, asked_channel"
    };
}

pub(super) const BY_ID: &str = concat!("SELECT ", columns!(), " FROM challenges WHERE id = $1");

const BY_DELIVERY: &str = concat!("SELECT ", columns!(), " FROM challenges WHERE delivery_id = $1");

pub(super) const NEWEST: &str = concat!(
    "SELECT ",
    columns!(),
    " FROM challenges WHERE phone = $1 AND channel = $2 AND change_of IS NOT DISTINCT FROM $3 ORDER BY id DESC LIMIT $4"
);

pub(super) const NEWEST_OF_SIDE: &str = concat!(
    "SELECT ",
    columns!(),
    " FROM challenges WHERE phone = $1 AND channel = $2 AND change_of IS NOT DISTINCT FROM $3 AND (device_id IS NOT NULL) = $4 \
     ORDER BY id DESC LIMIT 1"
);

const HAS_LIVE: &str = "SELECT EXISTS (SELECT 1 FROM challenges WHERE phone = $1 AND channel = $2 \
     AND state IN ('sending', 'live', 'unknown') AND expires_at > $3)";

const UNSETTLED: &str = concat!(
    "SELECT ",
    columns!(),
    " FROM challenges WHERE settled_at IS NULL AND created_at < $1 AND leader <> ALL ($3) \
     ORDER BY created_at, id LIMIT $2"
);

const BEFORE: &str =
    concat!("SELECT ", columns!(), " FROM challenges WHERE id < $1 ORDER BY id DESC LIMIT $2");

const AGES: &str =
    "SELECT id, state, created_at, expires_at FROM challenges WHERE id > $1 ORDER BY id LIMIT $2";

const INSERT: &str = "INSERT INTO challenges (id, channel, phone, key_number, code_hmac, state, created_at, \
     expires_at, spend_id, leader, device_id, device_spend_id, change_of, delivery_id, asked_channel) \
     VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15)";

/// Deletes at most so many of the oldest that were created before an instant. Only the oldest rows are looked at, so that a slice stays
/// a slice; messages go with their challenge.
const PURGE: &str = "DELETE FROM challenges WHERE id IN (SELECT id FROM (SELECT id, created_at FROM challenges \
     WHERE created_at <= $3 ORDER BY id LIMIT $4) AS oldest WHERE created_at < $1 LIMIT $2)";

const DELETE: &str = "DELETE FROM challenges WHERE id = $1";

const DELETE_OF_PHONE: &str = "DELETE FROM challenges WHERE phone = $1 \
     AND ($2::BIGINT IS NULL OR expires_at <= $2 OR state NOT IN ('sending', 'live', 'unknown'))";

const UPDATE: &str = "UPDATE challenges SET state = $2, attempts = $3, used_at = $4, session_id = $5, \
     idempotency = $6, settled_at = $7, result = $8, retry_after = $9, version = version + 1 \
     WHERE id = $1 AND version = $10";

impl ReadChallenges for PostgresTx<'_> {
    fn challenges(
        &self,
        mode: Mode,
        phone: &PhoneNumber,
        purpose: Purpose,
        limit: usize,
    ) -> StoreResult<Vec<Challenge>> {
        self.rows(NEWEST, &[phone, &mode, &purpose.change_of(), &count(limit)], challenge)
    }

    fn newest_challenge(
        &self,
        mode: Mode,
        phone: &PhoneNumber,
        purpose: Purpose,
        by_device: bool,
    ) -> StoreResult<Option<Challenge>> {
        self.row(NEWEST_OF_SIDE, &[phone, &mode, &purpose.change_of(), &by_device], challenge)
    }

    fn has_live_code(&self, mode: Mode, phone: &PhoneNumber, at: Timestamp) -> StoreResult<bool> {
        Ok(self.row(HAS_LIVE, &[phone, &mode, &at], first)?.unwrap_or_default())
    }

    fn challenge(&self, id: ChallengeId) -> StoreResult<Option<Challenge>> {
        self.row(BY_ID, &[&id], challenge)
    }

    fn challenge_by_delivery(&self, id: &DeliveryId) -> StoreResult<Option<Challenge>> {
        self.row(BY_DELIVERY, &[id], challenge)
    }

    fn unsettled_before(
        &self,
        before: Timestamp,
        spared: &[RunId],
        limit: usize,
    ) -> StoreResult<Vec<Challenge>> {
        let spared: Vec<_> = spared.iter().map(RunId::as_str).collect();
        self.rows(UNSETTLED, &[&before, &count(limit), &spared], challenge)
    }

    fn challenges_before(&self, before: ChallengeId, rows: usize) -> StoreResult<Vec<Challenge>> {
        self.rows(BEFORE, &[&before, &count(rows)], challenge)
    }
}

impl WriteChallenges for PostgresTx<'_> {
    fn insert_challenge(
        &mut self,
        challenge: NewChallenge,
        hash: &dyn Fn(ChallengeId) -> CodeHash,
    ) -> StoreResult<Challenge> {
        // The hash of the code holds the number, so it is needed before the row is there.
        let id = ChallengeId(self.next_id(Sequence::Challenges)?);
        let challenge = challenge.sending(id, hash(id));
        self.append(
            INSERT,
            &[
                &id,
                &challenge.mode,
                &challenge.phone,
                &Number(challenge.hash.key),
                &challenge.hash.tag,
                &challenge.state,
                &challenge.created_at,
                &challenge.expires_at,
                &challenge.spend,
                &challenge.leader,
                &challenge.device_id(),
                &challenge.device_spend(),
                &challenge.purpose.change_of(),
                &challenge.delivery,
                &challenge.asked,
            ],
        )?;
        self.note_witness(Witness::Challenge(id, challenge.hash.tag.clone()));
        Ok(challenge)
    }

    fn update_challenge(&mut self, challenge: &mut Challenge) -> StoreResult<()> {
        let (used, settled) = (challenge.used.as_ref(), challenge.settled.as_ref());
        let (at, session) = (used.map(|used| used.at), used.and_then(|used| used.session.as_ref()));
        let idempotency = used.and_then(|used| used.idempotency.as_ref());
        let attempts = Number(challenge.attempts);
        self.write_one(
            UPDATE,
            &[
                &challenge.id,
                &challenge.state,
                &attempts,
                &at,
                &session,
                &idempotency,
                &settled.map(|settled| settled.at),
                &settled.map(|settled| settled.result),
                &settled.and_then(|settled| settled.retry_after).map(millis),
                &Number(challenge.version),
            ],
        )?;
        challenge.version += 1;
        Ok(())
    }

    fn delete_challenges_of(
        &mut self,
        phone: &PhoneNumber,
        over_at: Option<Timestamp>,
    ) -> StoreResult<usize> {
        self.write(DELETE_OF_PHONE, &[phone, &over_at])
    }

    fn purge_codes(
        &mut self,
        before: Timestamp,
        now: Timestamp,
        after: ChallengeId,
        rows: usize,
    ) -> StoreResult<(usize, Option<ChallengeId>)> {
        type Age = (ChallengeId, ChallengeState, Timestamp, Timestamp);
        let age = |row: &Row| -> Result<Age, RowError> {
            Ok((row.try_get(0)?, row.try_get(1)?, row.try_get(2)?, row.try_get(3)?))
        };
        let page = self.rows(AGES, &[&after, &count(rows)], age)?;
        let next = (page.len() == rows).then(|| page.last().map(|row| row.0)).flatten();
        let mut deleted = 0;
        for (id, state, created_at, expires_at) in page {
            if created_at < before && state.is_over(expires_at, now) {
                deleted += self.write(DELETE, &[&id])?;
            }
        }
        Ok((deleted, next))
    }
}

impl PostgresTx<'_> {
    /// Deletes at most `limit` challenges that were created before `before`, the oldest; gives how many.
    pub(super) fn purge_challenges(&self, horizon: &PurgeHorizon, limit: i64) -> StoreResult<usize> {
        self.write(PURGE, &[&horizon.challenges, &limit, &horizon.now, &OLDEST])
    }
}

fn challenge(row: &Row) -> Result<Challenge, RowError> {
    let key: Number<u32> = row.try_get(3)?;
    let attempts: Number<u32> = row.try_get(6)?;
    let used = row.try_get::<Option<Timestamp>>(10)?;
    let used = used
        .map(|at| -> Result<Use, RowError> {
            Ok(Use { at, session: row.try_get(11)?, idempotency: row.try_get(12)? })
        })
        .transpose()?;
    let settled = row.try_get::<Option<Timestamp>>(14)?;
    let settled = settled
        .map(|at| -> Result<Settled, RowError> {
            let retry_after = row.try_get::<Option<i64>>(16)?.map(length);
            Ok(Settled { at, result: row.try_get(15)?, retry_after })
        })
        .transpose()?;
    let version: Number<u32> = row.try_get(17)?;
    let device = row.try_get::<Option<DeviceId>>(18)?;
    let device = device.map(|id| -> Result<_, RowError> { Ok((id, row.try_get(19)?)) }).transpose()?;
    Ok(Challenge {
        id: row.try_get(0)?,
        mode: row.try_get(1)?,
        purpose: Purpose::of(row.try_get(20)?),
        phone: row.try_get(2)?,
        hash: CodeHash { key: key.0, tag: row.try_get(4)? },
        state: row.try_get(5)?,
        attempts: attempts.0,
        created_at: row.try_get(7)?,
        expires_at: row.try_get(8)?,
        spend: row.try_get(9)?,
        device,
        used,
        leader: row.try_get(13)?,
        delivery: row.try_get(21)?,
        asked: row.try_get(22)?,
        settled,
        version: version.0,
    })
}
