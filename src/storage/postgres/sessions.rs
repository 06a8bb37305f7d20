//! Rows of `sessions` and `rotations`.

use std::sync::Arc;

use super::row::{Row, RowError};

use super::columns::Number;
use super::connection::Params;
use super::tx::{PostgresTx, Witness, first};
use super::users::user_from;
use crate::domain::{Session, SessionId, Timestamp, UserId};
use crate::storage::cache::Use;
use crate::storage::columns::count;
use crate::storage::sessions::{ReadSessions, WriteSessions};
use crate::storage::{Principal, StoreResult};

macro_rules! columns {
    () => {
        "id, user_id, generation, jti, generation_used, issued_at, refresh_expires_at, created_at, expires_at, \
         last_used_at, ended_at, end_reason, device, ip, shared_key_until, \
         repeated_elsewhere, replays_told_at, replays_untold, version, device_id"
    };
}

pub(super) const BY_ID: &str = concat!("SELECT ", columns!(), " FROM sessions WHERE id = $1");

/// A session and its user, in one statement and so on one snapshot.
const PRINCIPAL: &str = "SELECT s.id, user_id, generation, jti, generation_used, issued_at, refresh_expires_at, \
     created_at, expires_at, last_used_at, ended_at, end_reason, device, ip, shared_key_until, repeated_elsewhere, \
     replays_told_at, replays_untold, s.version, device_id, u.id, username, phone, role, is_active, phone_verified, joined_at, \
     foreign_tokens, testing_only, u.version, attributes, u.deletes_at FROM sessions AS s JOIN users AS u ON u.id = user_id \
     WHERE s.id = $1";

pub(super) const LIVE: &str = concat!(
    "SELECT ",
    columns!(),
    " FROM sessions WHERE user_id = $1 AND ended_at IS NULL AND refresh_expires_at > $2 ORDER BY created_at, id"
);

const OF_USER: &str = concat!(
    "SELECT ",
    columns!(),
    " FROM sessions WHERE user_id = $1 ORDER BY created_at DESC, id DESC LIMIT $2"
);

const AFTER: &str = concat!("SELECT ", columns!(), " FROM sessions WHERE id > $1 ORDER BY id LIMIT $2");

const ROTATED_AT: &str = "SELECT rotated_at FROM rotations WHERE session_id = $1 AND generation = $2";

/// Forgets the session's old ones, too.
const NOTE_ROTATION: &str = "WITH forgotten AS (DELETE FROM rotations WHERE session_id = $1 AND rotated_at < $4) \
     INSERT INTO rotations (session_id, generation, rotated_at) VALUES ($1, $2, $3)";

const PURGE_ROTATIONS: &str = "DELETE FROM rotations WHERE (session_id, generation) IN \
     (SELECT session_id, generation FROM rotations WHERE rotated_at < $1 LIMIT $2)";

const INSERT: &str = "INSERT INTO sessions (id, user_id, generation, jti, generation_used, issued_at, \
     refresh_expires_at, created_at, expires_at, last_used_at, ended_at, end_reason, device, ip, \
     shared_key_until, repeated_elsewhere, replays_told_at, replays_untold, version, device_id) \
     VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20)";

/// When a session is over, as the index has it.
macro_rules! over {
    () => {
        "(CASE WHEN end_reason = 'deactivated' THEN refresh_expires_at \
         ELSE coalesce(ended_at, refresh_expires_at) END)"
    };
}

const COUNT_LIVE: &str =
    concat!("SELECT count(*) FROM sessions WHERE ", over!(), " > $1 AND ended_at IS NULL");

/// Deletes those that were over before an instant; their rotations go with them. Their users were seen by then: those
/// rows come first, as where a user is deleted, so that neither waits for the other.
const PURGE: &str = concat!(
    "WITH gone AS (SELECT id, user_id, last_used_at FROM sessions WHERE ",
    over!(),
    " < $1 LIMIT $2), seen AS (UPDATE users SET last_seen_at = greatest(last_seen_at, latest) FROM \
     (SELECT user_id, max(last_used_at) AS latest FROM gone GROUP BY user_id) AS of_user WHERE users.id = user_id RETURNING 1) \
     DELETE FROM sessions WHERE id IN (SELECT id FROM gone) AND (SELECT count(*) FROM seen) >= 0 RETURNING id"
);

/// What was noted of the current generation's use since the row was read stays.
const UPDATE: &str = "UPDATE sessions SET generation = $3, jti = $4, \
     generation_used = ($5 OR (generation = $3 AND generation_used)), \
     issued_at = $6, refresh_expires_at = $7, created_at = $8, expires_at = $9, \
     last_used_at = CASE WHEN generation = $3 THEN greatest(last_used_at, $10) ELSE $10 END, \
     ended_at = $11, end_reason = $12, device = $13, ip = $14, shared_key_until = $15, \
     repeated_elsewhere = $16, replays_told_at = $17, replays_untold = $18, device_id = $20, \
     version = version + 1 WHERE id = $1 AND user_id = $2 AND version = $19";

const TOUCH: &str = "UPDATE sessions SET generation_used = generation_used OR generation = $2, \
     last_used_at = greatest(last_used_at, $3) WHERE id = $1 AND ended_at IS NULL \
     AND (last_used_at < $3 OR (generation = $2 AND NOT generation_used))";

impl ReadSessions for PostgresTx<'_> {
    fn session(&self, id: &SessionId) -> StoreResult<Option<Session>> {
        self.row(BY_ID, &[id], session)
    }

    fn live_sessions(&self, user: UserId, now: Timestamp) -> StoreResult<Vec<Session>> {
        self.rows(LIVE, &[&user, &now], session)
    }

    fn sessions_of(&self, user: UserId, rows: usize) -> StoreResult<Vec<Session>> {
        self.rows(OF_USER, &[&user, &count(rows)], session)
    }

    fn count_live_sessions(&self, now: Timestamp) -> StoreResult<u64> {
        let counted = self.row(COUNT_LIVE, &[&now], first::<i64>)?.unwrap_or_default();
        Ok(u64::try_from(counted).unwrap_or_default())
    }

    fn rotated_at(&self, session: &SessionId, generation: u32) -> StoreResult<Option<Timestamp>> {
        self.row(ROTATED_AT, &[session, &Number(generation)], first)
    }

    fn sessions_after(&self, after: Option<&SessionId>, rows: usize) -> StoreResult<Vec<Session>> {
        self.rows(AFTER, &[&after.map_or("", SessionId::as_str), &count(rows)], session)
    }
}

impl WriteSessions for PostgresTx<'_> {
    fn insert_session(&mut self, session: &Session) -> StoreResult<()> {
        self.note_witness(Witness::Session(session.id.clone(), session.jti.clone()));
        self.write_session(session, |tx, params| tx.append(INSERT, params))
    }

    fn update_session(&mut self, session: &mut Session) -> StoreResult<()> {
        self.note_replaced(session);
        self.touched().sessions.push(session.id.clone());
        self.write_session(session, |tx, params| tx.write_one(UPDATE, params))?;
        session.version += 1;
        Ok(())
    }

    fn touch_session(&mut self, id: &SessionId, generation: u32, at: Timestamp) -> StoreResult<()> {
        self.touched().uses.push(Use { session: id.clone(), generation, at });
        self.append(TOUCH, &[id, &Number(generation), &at])
    }

    fn note_rotation(
        &mut self,
        session: &SessionId,
        generation: u32,
        at: Timestamp,
        forget: Timestamp,
    ) -> StoreResult<()> {
        self.note_rotated();
        self.append(NOTE_ROTATION, &[session, &Number(generation), &at, &forget])
    }
}

impl PostgresTx<'_> {
    /// A session and its user.
    pub(super) fn principal(&self, id: &SessionId) -> StoreResult<Option<Principal>> {
        const COLUMNS_OF_SESSION: usize = 20;
        self.row(PRINCIPAL, &[id], |row| {
            let user = user_from(row, COLUMNS_OF_SESSION)?;
            Ok(Principal { session: Arc::new(session(row)?.status()), user: Arc::new(user) })
        })
    }

    /// Deletes at most `limit` sessions that were over before `before`; gives how many.
    pub(super) fn purge_sessions(&mut self, before: Timestamp, limit: i64) -> StoreResult<usize> {
        let gone = self.returning(PURGE, &[&before, &limit], first::<SessionId>)?;
        let count = gone.len();
        self.touched().sessions.extend(gone);
        Ok(count)
    }

    /// Deletes at most `limit` rotations from before `before`; gives how many.
    pub(super) fn purge_rotations(&self, before: Timestamp, limit: i64) -> StoreResult<usize> {
        self.write(PURGE_ROTATIONS, &[&before, &limit])
    }

    fn write_session(
        &self,
        session: &Session,
        write: impl FnOnce(&Self, Params<'_>) -> StoreResult<()>,
    ) -> StoreResult<()> {
        write(
            self,
            &[
                &session.id,
                &session.user,
                &Number(session.generation),
                &session.jti,
                &session.generation_used,
                &session.issued_at,
                &session.refresh_expires_at,
                &session.created_at,
                &session.expires_at,
                &session.last_used_at,
                &session.ended.map(|(at, _)| at),
                &session.ended.map(|(_, reason)| reason),
                &session.device,
                &session.ip,
                &session.shared_key_until.map(Number),
                &session.repeated_elsewhere.map(Number),
                &session.replays_told_at,
                &Number(session.replays_untold),
                &Number(session.version),
                &session.device_id,
            ],
        )
    }
}

fn session(row: &Row) -> Result<Session, RowError> {
    let number = |at: usize| row.try_get::<Number<u32>>(at).map(|number| number.0);
    let optional = |at: usize| row.try_get::<Option<Number<u32>>>(at).map(|number| number.map(|n| n.0));
    let ended = match row.try_get(10)? {
        Some(at) => Some((at, row.try_get(11)?)),
        None => None,
    };
    Ok(Session {
        id: row.try_get(0)?,
        user: row.try_get(1)?,
        generation: number(2)?,
        jti: row.try_get(3)?,
        generation_used: row.try_get(4)?,
        issued_at: row.try_get(5)?,
        refresh_expires_at: row.try_get(6)?,
        created_at: row.try_get(7)?,
        expires_at: row.try_get(8)?,
        last_used_at: row.try_get(9)?,
        ended,
        device: row.try_get(12)?,
        ip: row.try_get(13)?,
        shared_key_until: optional(14)?,
        repeated_elsewhere: optional(15)?,
        replays_told_at: row.try_get(16)?,
        replays_untold: number(17)?,
        version: number(18)?,
        device_id: row.try_get(19)?,
    })
}
