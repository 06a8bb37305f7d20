//! Rows of `sessions`.

use std::sync::Arc;

use rusqlite::{Connection, OptionalExtension as _, Row, params};

use super::fault::one_row;
use super::tx::SqliteTx;
use super::users;
use crate::domain::session::SessionStatus;
use crate::domain::{Session, SessionId, Timestamp, UserId};
use crate::storage::cache::Use;
use crate::storage::columns::count;
use crate::storage::sessions::{ReadSessions, WriteSessions};
use crate::storage::users::ReadUsers as _;
use crate::storage::{Principal, StoreResult};

macro_rules! columns {
    () => {
        "id, user_id, generation, jti, generation_used, issued_at, refresh_expires_at, created_at, expires_at, \
         last_used_at, ended_at, end_reason, device, ip, shared_key_until, \
         repeated_elsewhere, replays_told_at, replays_untold, version, device_id"
    };
}

pub(super) const BY_ID: &str = concat!("SELECT ", columns!(), " FROM sessions WHERE id = ?1");

/// What requests must know of a session, and its user: one statement takes one snapshot, and half the locks of two.
pub(super) const PRINCIPAL: &str = "SELECT user_id, generation, generation_used, refresh_expires_at, last_used_at, ended_at, \
     end_reason, u.id, username, phone, role, is_active, phone_verified, joined_at, foreign_tokens, testing_only, u.version, \
     attributes, deletes_at FROM sessions AS s JOIN users AS u ON u.id = user_id WHERE s.id = ?1";

pub(super) const LIVE: &str = concat!(
    "SELECT ",
    columns!(),
    " FROM sessions WHERE user_id = ?1 AND ended_at IS NULL AND refresh_expires_at > ?2 ORDER BY created_at, id"
);

pub(super) const OF_USER: &str = concat!(
    "SELECT ",
    columns!(),
    " FROM sessions WHERE user_id = ?1 ORDER BY created_at DESC, id DESC LIMIT ?2"
);

const AFTER: &str = concat!("SELECT ", columns!(), " FROM sessions WHERE id > ?1 ORDER BY id LIMIT ?2");

const ROTATED_AT: &str = "SELECT rotated_at FROM rotations WHERE session_id = ?1 AND generation = ?2";

const NOTE_ROTATION: &str = "INSERT INTO rotations (session_id, generation, rotated_at) VALUES (?1, ?2, ?3) \
     ON CONFLICT DO NOTHING";

const FORGET_ROTATIONS: &str = "DELETE FROM rotations WHERE session_id = ?1 AND rotated_at < ?2";

pub(super) const PURGE_ROTATIONS: &str = "DELETE FROM rotations WHERE (session_id, generation) IN \
     (SELECT session_id, generation FROM rotations WHERE rotated_at < ?1 LIMIT ?2)";

const INSERT: &str = "INSERT INTO sessions (id, user_id, generation, jti, generation_used, issued_at, \
     refresh_expires_at, created_at, expires_at, last_used_at, ended_at, end_reason, device, ip, \
     shared_key_until, repeated_elsewhere, replays_told_at, replays_untold, version, device_id) \
     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, ?20) \
     ON CONFLICT DO NOTHING";

/// When a session is over, as the index has it.
macro_rules! over {
    () => {
        "CASE WHEN end_reason = 'deactivated' THEN refresh_expires_at ELSE ifnull(ended_at, refresh_expires_at) END"
    };
}

pub(super) const COUNT_LIVE: &str =
    concat!("SELECT count(*) FROM sessions WHERE ", over!(), " > ?1 AND ended_at IS NULL");

/// Deletes those that were over before an instant; their rotations go with them.
pub(super) const PURGE: &str = concat!(
    "DELETE FROM sessions WHERE id IN (SELECT id FROM sessions WHERE ",
    over!(),
    " < ?1 LIMIT ?2) RETURNING id, user_id, last_used_at"
);

/// What was noted of the current generation's use since the row was read stays. Its user never changes: to write a column with a
/// foreign key, `SQLite` copies each page first, so as to undo the statement alone.
const UPDATE: &str = "UPDATE sessions SET generation = ?3, jti = ?4, \
     generation_used = (?5 OR (generation = ?3 AND generation_used)), \
     issued_at = ?6, refresh_expires_at = ?7, created_at = ?8, expires_at = ?9, \
     last_used_at = iif(generation = ?3, max(last_used_at, ?10), ?10), \
     ended_at = ?11, end_reason = ?12, device = ?13, ip = ?14, shared_key_until = ?15, \
     repeated_elsewhere = ?16, replays_told_at = ?17, replays_untold = ?18, device_id = ?20, \
     version = version + 1 WHERE id = ?1 AND user_id = ?2 AND version = ?19";

const TOUCH: &str = "UPDATE sessions SET generation_used = generation_used OR generation = ?2, \
     last_used_at = max(last_used_at, ?3) WHERE id = ?1 AND ended_at IS NULL \
     AND (last_used_at < ?3 OR (generation = ?2 AND NOT generation_used))";

impl ReadSessions for SqliteTx<'_> {
    fn session(&self, id: &SessionId) -> StoreResult<Option<Session>> {
        self.run(|conn| by_id(conn, id))
    }

    fn live_sessions(&self, user: UserId, now: Timestamp) -> StoreResult<Vec<Session>> {
        self.run(|conn| conn.prepare_cached(LIVE)?.query_map(params![user, now], session)?.collect())
    }

    fn sessions_of(&self, user: UserId, rows: usize) -> StoreResult<Vec<Session>> {
        let of = params![user, count(rows)];
        self.run(|conn| conn.prepare_cached(OF_USER)?.query_map(of, session)?.collect())
    }

    fn count_live_sessions(&self, now: Timestamp) -> StoreResult<u64> {
        let counted: i64 =
            self.run(|conn| conn.prepare_cached(COUNT_LIVE)?.query_row([now], |row| row.get(0)))?;
        Ok(u64::try_from(counted).unwrap_or_default())
    }

    fn rotated_at(&self, session: &SessionId, generation: u32) -> StoreResult<Option<Timestamp>> {
        let of = params![session, generation];
        self.run(|conn| conn.prepare_cached(ROTATED_AT)?.query_row(of, |row| row.get(0)).optional())
    }

    fn sessions_after(&self, after: Option<&SessionId>, rows: usize) -> StoreResult<Vec<Session>> {
        let of = params![after.map_or("", SessionId::as_str), count(rows)];
        self.run(|conn| conn.prepare_cached(AFTER)?.query_map(of, session)?.collect())
    }
}

impl WriteSessions for SqliteTx<'_> {
    fn insert_session(&mut self, session: &Session) -> StoreResult<()> {
        self.run(|conn| write(conn, INSERT, session))
    }

    fn update_session(&mut self, session: &mut Session) -> StoreResult<()> {
        self.assert_locked("a session", |locks| {
            locks
                .cover_session(session, || self.user(session.user).ok().flatten().and_then(|user| user.phone))
        });
        self.touched().sessions.push(session.id.clone());
        self.run(|conn| write(conn, UPDATE, session))?;
        session.version += 1;
        Ok(())
    }

    fn touch_session(&mut self, id: &SessionId, generation: u32, at: Timestamp) -> StoreResult<()> {
        self.touched().uses.push(Use { session: id.clone(), generation, at });
        self.run(|conn| conn.prepare_cached(TOUCH)?.execute(params![id, generation, at]).map(drop))
    }

    fn note_rotation(
        &mut self,
        session: &SessionId,
        generation: u32,
        at: Timestamp,
        forget: Timestamp,
    ) -> StoreResult<()> {
        self.run(|conn| {
            conn.prepare_cached(FORGET_ROTATIONS)?.execute(params![session, forget])?;
            one_row(conn.prepare_cached(NOTE_ROTATION)?.execute(params![session, generation, at])?)
        })
    }
}

fn by_id(conn: &Connection, id: &SessionId) -> rusqlite::Result<Option<Session>> {
    conn.prepare_cached(BY_ID)?.query_row([id], session).optional()
}

/// A session as requests must know it, and its user.
pub(super) fn principal(conn: &Connection, id: &SessionId) -> rusqlite::Result<Option<Principal>> {
    conn.prepare_cached(PRINCIPAL)?.query_row([id], principal_from).optional()
}

/// Deletes at most `limit` sessions that were over before `before`; gives their ids.
pub(super) fn purge(conn: &Connection, before: Timestamp, limit: i64) -> rusqlite::Result<Vec<SessionId>> {
    let mut statement = conn.prepare_cached(PURGE)?;
    let gone = statement.query_map(params![before, limit], |row| {
        Ok((row.get(0)?, row.get::<_, UserId>(1)?, row.get::<_, Timestamp>(2)?))
    })?;
    let gone: Vec<(SessionId, UserId, Timestamp)> = gone.collect::<rusqlite::Result<_>>()?;
    let mut seen = conn.prepare_cached(users::SEEN)?;
    for (_, user, at) in &gone {
        seen.execute(params![user, at])?;
    }
    Ok(gone.into_iter().map(|(id, ..)| id).collect())
}

/// Deletes at most `limit` rotations from before `before`; gives how many.
pub(super) fn purge_rotations(conn: &Connection, before: Timestamp, limit: i64) -> rusqlite::Result<usize> {
    conn.prepare_cached(PURGE_ROTATIONS)?.execute(params![before, limit])
}

fn write(conn: &Connection, sql: &str, session: &Session) -> rusqlite::Result<()> {
    let changed = conn.prepare_cached(sql)?.execute(params![
        session.id,
        session.user,
        session.generation,
        session.jti,
        session.generation_used,
        session.issued_at,
        session.refresh_expires_at,
        session.created_at,
        session.expires_at,
        session.last_used_at,
        session.ended.map(|(at, _)| at),
        session.ended.map(|(_, reason)| reason),
        session.device,
        session.ip,
        session.shared_key_until,
        session.repeated_elsewhere,
        session.replays_told_at,
        session.replays_untold,
        session.version,
        session.device_id
    ])?;
    one_row(changed)
}

fn principal_from(row: &Row<'_>) -> rusqlite::Result<Principal> {
    const COLUMNS_OF_SESSION: usize = 7;
    let ended_at: Option<Timestamp> = row.get(5)?;
    let session = SessionStatus {
        user: row.get(0)?,
        generation: row.get(1)?,
        generation_used: row.get(2)?,
        refresh_expires_at: row.get(3)?,
        last_used_at: row.get(4)?,
        ended: ended_at.map(|_| row.get(6)).transpose()?,
    };
    let user = users::user_from(row, COLUMNS_OF_SESSION)?;
    Ok(Principal { session: Arc::new(session), user: Arc::new(user) })
}

fn session(row: &Row<'_>) -> rusqlite::Result<Session> {
    let ended = match row.get(10)? {
        Some(at) => Some((at, row.get(11)?)),
        None => None,
    };
    Ok(Session {
        id: row.get(0)?,
        user: row.get(1)?,
        generation: row.get(2)?,
        jti: row.get(3)?,
        generation_used: row.get(4)?,
        issued_at: row.get(5)?,
        refresh_expires_at: row.get(6)?,
        created_at: row.get(7)?,
        expires_at: row.get(8)?,
        last_used_at: row.get(9)?,
        ended,
        device: row.get(12)?,
        ip: row.get(13)?,
        shared_key_until: row.get(14)?,
        repeated_elsewhere: row.get(15)?,
        replays_told_at: row.get(16)?,
        replays_untold: row.get(17)?,
        version: row.get(18)?,
        device_id: row.get(19)?,
    })
}
