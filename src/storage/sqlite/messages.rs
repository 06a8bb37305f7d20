//! Rows of `messages`.

use rusqlite::{Connection, OptionalExtension as _, Row, params};

use super::fault::one_row;
use crate::domain::message::{Message, MessageState};
use crate::domain::{ChallengeId, MessageId, PhoneNumber, Timestamp};

macro_rules! columns {
    () => {
        "id, challenge_id, phone, sid, state, error_code, segments, created_at, updated_at"
    };
}

const BY_ID: &str = concat!("SELECT ", columns!(), " FROM messages WHERE id = ?1");

pub(super) const BY_SID: &str = concat!("SELECT ", columns!(), " FROM messages WHERE sid = ?1");

const BY_CHALLENGE: &str =
    concat!("SELECT ", columns!(), " FROM messages WHERE challenge_id = ?1 ORDER BY id");

const BEFORE: &str = "SELECT m.id, challenge_id, m.phone, sid, m.state, error_code, segments, m.created_at, updated_at, \
     c.state = 'used' FROM messages AS m JOIN challenges AS c ON c.id = challenge_id \
     WHERE m.id < ?1 ORDER BY m.id DESC LIMIT ?2";

const INSERT: &str = "INSERT INTO messages (challenge_id, phone, state, segments, created_at, updated_at) \
     VALUES (?1, ?2, ?3, ?4, ?5, ?5)";

const UPDATE: &str = "UPDATE messages SET sid = ?2, state = ?3, error_code = ?4, segments = ?5, \
     updated_at = ?6 WHERE id = ?1";

pub(super) fn by_id(conn: &Connection, id: MessageId) -> rusqlite::Result<Option<Message>> {
    conn.prepare_cached(BY_ID)?.query_row([id], message).optional()
}

pub(super) fn by_sid(conn: &Connection, sid: &str) -> rusqlite::Result<Option<Message>> {
    conn.prepare_cached(BY_SID)?.query_row([sid], message).optional()
}

/// The oldest first.
pub(super) fn by_challenge(conn: &Connection, challenge: ChallengeId) -> rusqlite::Result<Vec<Message>> {
    conn.prepare_cached(BY_CHALLENGE)?.query_map([challenge], message)?.collect()
}

/// The newest first, each with whether its code was used.
pub(super) fn before(
    conn: &Connection,
    before: MessageId,
    rows: i64,
) -> rusqlite::Result<Vec<(Message, bool)>> {
    let told = |row: &Row<'_>| Ok((message(row)?, row.get(9)?));
    conn.prepare_cached(BEFORE)?.query_map(params![before, rows], told)?.collect()
}

pub(super) fn insert(
    conn: &Connection,
    challenge: ChallengeId,
    to: &PhoneNumber,
    segments: u32,
    at: Timestamp,
) -> rusqlite::Result<MessageId> {
    let state = MessageState::Intended;
    let id = conn.prepare_cached(INSERT)?.insert(params![challenge, to, state, segments, at])?;
    Ok(MessageId(id))
}

/// The segments too: the provider may count them otherwise than the template did.
pub(super) fn update(conn: &Connection, message: &Message) -> rusqlite::Result<()> {
    let changed = conn.prepare_cached(UPDATE)?.execute(params![
        message.id,
        message.sid,
        message.state,
        message.error_code,
        message.segments,
        message.updated_at
    ])?;
    one_row(changed)
}

fn message(row: &Row<'_>) -> rusqlite::Result<Message> {
    Ok(Message {
        id: row.get(0)?,
        challenge: row.get(1)?,
        to: row.get(2)?,
        sid: row.get(3)?,
        state: row.get(4)?,
        error_code: row.get(5)?,
        segments: row.get(6)?,
        created_at: row.get(7)?,
        updated_at: row.get(8)?,
    })
}
