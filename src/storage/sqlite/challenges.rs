//! Rows of `challenges`.

use rusqlite::{Connection, OptionalExtension as _, Row, params};

use super::fault::one_row;
use super::tx::SqliteTx;
use crate::domain::challenge::Use;
use crate::domain::code::CodeHash;
use crate::domain::settled::Settled;
use crate::domain::{
    Challenge, ChallengeId, ChallengeState, DeliveryId, DeviceId, Mode, NewChallenge, PhoneNumber, Purpose,
    RunId, SessionId, SpendId, Timestamp,
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

const BY_ID: &str = concat!("SELECT ", columns!(), " FROM challenges WHERE id = ?1");

const BY_DELIVERY: &str = concat!("SELECT ", columns!(), " FROM challenges WHERE delivery_id = ?1");

pub(super) const NEWEST: &str = concat!(
    "SELECT ",
    columns!(),
    " FROM challenges WHERE phone = ?1 AND channel = ?2 AND change_of IS ?3 ORDER BY id DESC LIMIT ?4"
);

pub(super) const NEWEST_OF_SIDE: &str = concat!(
    "SELECT ",
    columns!(),
    " FROM challenges WHERE phone = ?1 AND channel = ?2 AND change_of IS ?3 AND (device_id IS NOT NULL) = ?4 \
     ORDER BY id DESC LIMIT 1"
);

pub(super) const HAS_LIVE: &str = "SELECT 1 FROM challenges WHERE phone = ?1 AND channel = ?2 \
     AND state IN ('sending', 'live', 'unknown') AND expires_at > ?3 LIMIT 1";

pub(super) const UNSETTLED: &str = concat!(
    "SELECT ",
    columns!(),
    " FROM challenges WHERE settled_at IS NULL AND created_at < ?1 ORDER BY created_at, id"
);

const BEFORE: &str =
    concat!("SELECT ", columns!(), " FROM challenges WHERE id < ?1 ORDER BY id DESC LIMIT ?2");

const AGES: &str =
    "SELECT id, state, created_at, expires_at FROM challenges WHERE id > ?1 ORDER BY id LIMIT ?2";

/// A challenge as far as it matters whether its time is over: number, state, made, expires.
type Age = (ChallengeId, ChallengeState, Timestamp, Timestamp);

/// The number that AUTOINCREMENT will give: the hash of the code holds it, so it is needed before the row is there.
const NEXT_ID: &str = "SELECT 1 + max(ifnull((SELECT seq FROM sqlite_sequence WHERE name = 'challenges'), 0), \
     ifnull((SELECT max(id) FROM challenges), 0))";

const INSERT: &str = "INSERT INTO challenges (id, channel, phone, key_number, code_hmac, state, created_at, \
     expires_at, spend_id, leader, device_id, device_spend_id, change_of, delivery_id, asked_channel) \
     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15)";

/// Deletes at most so many of the oldest that were created before an instant. Only the oldest rows are looked at, so that a slice stays
/// a slice; messages go with their challenge.
const PURGE: &str = "DELETE FROM challenges WHERE id IN (SELECT id FROM (SELECT id, created_at FROM challenges \
     WHERE created_at <= ?3 ORDER BY id LIMIT ?4) WHERE created_at < ?1 LIMIT ?2)";

const DELETE: &str = "DELETE FROM challenges WHERE id = ?1";

const DELETE_OF_PHONE: &str = "DELETE FROM challenges WHERE phone = ?1 \
     AND (?2 IS NULL OR expires_at <= ?2 OR state NOT IN ('sending', 'live', 'unknown'))";

const UPDATE: &str = "UPDATE challenges SET state = ?2, attempts = ?3, used_at = ?4, session_id = ?5, \
     idempotency = ?6, settled_at = ?7, result = ?8, retry_after = ?9, \
     version = version + 1 WHERE id = ?1 AND version = ?10";

impl ReadChallenges for SqliteTx<'_> {
    fn challenges(
        &self,
        mode: Mode,
        phone: &PhoneNumber,
        purpose: Purpose,
        limit: usize,
    ) -> StoreResult<Vec<Challenge>> {
        let of = params![phone, mode, purpose.change_of(), count(limit)];
        self.run(|conn| conn.prepare_cached(NEWEST)?.query_map(of, challenge)?.collect())
    }

    fn newest_challenge(
        &self,
        mode: Mode,
        phone: &PhoneNumber,
        purpose: Purpose,
        by_device: bool,
    ) -> StoreResult<Option<Challenge>> {
        let of = params![phone, mode, purpose.change_of(), by_device];
        self.run(|conn| conn.prepare_cached(NEWEST_OF_SIDE)?.query_row(of, challenge).optional())
    }

    fn has_live_code(&self, mode: Mode, phone: &PhoneNumber, at: Timestamp) -> StoreResult<bool> {
        let of = params![phone, mode, at];
        self.run(|conn| conn.prepare_cached(HAS_LIVE)?.exists(of))
    }

    fn challenge(&self, id: ChallengeId) -> StoreResult<Option<Challenge>> {
        self.run(|conn| conn.prepare_cached(BY_ID)?.query_row([id], challenge).optional())
    }

    fn challenge_by_delivery(&self, id: &DeliveryId) -> StoreResult<Option<Challenge>> {
        self.run(|conn| conn.prepare_cached(BY_DELIVERY)?.query_row([id], challenge).optional())
    }

    fn unsettled_before(
        &self,
        before: Timestamp,
        spared: &[RunId],
        limit: usize,
    ) -> StoreResult<Vec<Challenge>> {
        let is_left = |found: &rusqlite::Result<Challenge>| {
            found.as_ref().map_or(true, |challenge| !spared.contains(&challenge.leader))
        };
        self.run(|conn| {
            let mut statement = conn.prepare_cached(UNSETTLED)?;
            statement.query_map([before], challenge)?.filter(is_left).take(limit).collect()
        })
    }

    fn challenges_before(&self, before: ChallengeId, rows: usize) -> StoreResult<Vec<Challenge>> {
        let of = params![before, count(rows)];
        self.run(|conn| conn.prepare_cached(BEFORE)?.query_map(of, challenge)?.collect())
    }
}

impl WriteChallenges for SqliteTx<'_> {
    fn insert_challenge(
        &mut self,
        challenge: NewChallenge,
        hash: &dyn Fn(ChallengeId) -> CodeHash,
    ) -> StoreResult<Challenge> {
        self.assert_locked("a challenge", |locks| locks.cover_phone(&challenge.phone));
        self.run(|conn| insert(conn, challenge, hash))
    }

    fn update_challenge(&mut self, challenge: &mut Challenge) -> StoreResult<()> {
        self.assert_locked("a challenge", |locks| locks.cover_phone(&challenge.phone));
        self.run(|conn| update(conn, challenge))?;
        challenge.version += 1;
        Ok(())
    }

    fn delete_challenges_of(
        &mut self,
        phone: &PhoneNumber,
        over_at: Option<Timestamp>,
    ) -> StoreResult<usize> {
        self.run(|conn| conn.prepare_cached(DELETE_OF_PHONE)?.execute(params![phone, over_at]))
    }

    fn purge_codes(
        &mut self,
        before: Timestamp,
        now: Timestamp,
        after: ChallengeId,
        rows: usize,
    ) -> StoreResult<(usize, Option<ChallengeId>)> {
        self.run(|conn| {
            let page = ages(conn, after, count(rows))?;
            let next = (page.len() == rows).then(|| page.last().map(|row| row.0)).flatten();
            let mut deleted = 0;
            for (id, state, created_at, expires_at) in page {
                if created_at < before && state.is_over(expires_at, now) {
                    deleted += conn.prepare_cached(DELETE)?.execute([id])?;
                }
            }
            Ok((deleted, next))
        })
    }
}

/// Deletes at most `limit` of those that were created before `before`, the oldest; gives how many.
pub(super) fn purge(conn: &Connection, horizon: &PurgeHorizon, limit: i64) -> rusqlite::Result<usize> {
    conn.prepare_cached(PURGE)?.execute(params![horizon.challenges, limit, horizon.now, OLDEST])
}

fn ages(conn: &Connection, after: ChallengeId, rows: i64) -> rusqlite::Result<Vec<Age>> {
    let age = |row: &Row<'_>| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?));
    conn.prepare_cached(AGES)?.query_map(params![after, rows], age)?.collect()
}

fn insert(
    conn: &Connection,
    new: NewChallenge,
    hash: &dyn Fn(ChallengeId) -> CodeHash,
) -> rusqlite::Result<Challenge> {
    let id = conn.prepare_cached(NEXT_ID)?.query_row([], |row| row.get(0))?;
    let challenge = new.sending(id, hash(id));
    conn.prepare_cached(INSERT)?.execute(params![
        challenge.id,
        challenge.mode,
        challenge.phone,
        challenge.hash.key,
        challenge.hash.tag,
        challenge.state,
        challenge.created_at,
        challenge.expires_at,
        challenge.spend,
        challenge.leader,
        challenge.device_id(),
        challenge.device_spend(),
        challenge.purpose.change_of(),
        challenge.delivery,
        challenge.asked
    ])?;
    Ok(challenge)
}

fn update(conn: &Connection, challenge: &Challenge) -> rusqlite::Result<()> {
    let (used, settled) = (challenge.used.as_ref(), challenge.settled.as_ref());
    let changed = conn.prepare_cached(UPDATE)?.execute(params![
        challenge.id,
        challenge.state,
        challenge.attempts,
        used.map(|used| used.at),
        used.and_then(|used| used.session.as_ref()),
        used.and_then(|used| used.idempotency.as_ref()),
        settled.map(|settled| settled.at),
        settled.map(|settled| settled.result),
        settled.and_then(|settled| settled.retry_after).map(millis),
        challenge.version
    ])?;
    one_row(changed)
}

fn challenge(row: &Row<'_>) -> rusqlite::Result<Challenge> {
    Ok(Challenge {
        id: row.get(0)?,
        mode: row.get(1)?,
        purpose: Purpose::of(row.get(20)?),
        phone: row.get(2)?,
        hash: CodeHash { key: row.get(3)?, tag: row.get(4)? },
        state: row.get(5)?,
        attempts: row.get(6)?,
        created_at: row.get(7)?,
        expires_at: row.get(8)?,
        spend: row.get(9)?,
        device: device(row, row.get(18)?)?,
        used: used(row, row.get(10)?, row.get(11)?)?,
        leader: row.get(13)?,
        delivery: row.get(21)?,
        asked: row.get(22)?,
        settled: settled(row, row.get(14)?)?,
        version: row.get(17)?,
    })
}

fn used(row: &Row<'_>, at: Option<Timestamp>, session: Option<SessionId>) -> rusqlite::Result<Option<Use>> {
    at.map(|at| Ok(Use { at, session, idempotency: row.get(12)? })).transpose()
}

fn device(row: &Row<'_>, id: Option<DeviceId>) -> rusqlite::Result<Option<(DeviceId, Option<SpendId>)>> {
    id.map(|id| Ok((id, row.get(19)?))).transpose()
}

fn settled(row: &Row<'_>, at: Option<Timestamp>) -> rusqlite::Result<Option<Settled>> {
    let Some(at) = at else { return Ok(None) };
    let retry_after = row.get::<_, Option<i64>>(16)?.map(length);
    Ok(Some(Settled { at, result: row.get(15)?, retry_after }))
}
