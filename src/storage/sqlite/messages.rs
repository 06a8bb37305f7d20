//! Rows of `messages`, and of `unsent`: codes that found no sender, counted by the minute.

use rusqlite::{Connection, OptionalExtension as _, Row, params};

use super::fault::one_row;
use super::tx::SqliteTx;
use crate::domain::message::{Message, MessageState, NewMessage, Unsent, UnsentCount};
use crate::domain::{ChallengeId, MessageId, PhoneNumber, Timestamp, Via};
use crate::storage::StoreResult;
use crate::storage::columns::count;
use crate::storage::messages::{ReadMessages, WriteMessages};

macro_rules! columns {
    () => {
        "id, challenge_id, phone, sid, state, error_code, segments, created_at, updated_at, version, sender, via_channel"
    };
}

const BY_ID: &str = concat!("SELECT ", columns!(), " FROM messages WHERE id = ?1");

pub(super) const BY_SID: &str = concat!("SELECT ", columns!(), " FROM messages WHERE sid = ?1");

const BY_CHALLENGE: &str =
    concat!("SELECT ", columns!(), " FROM messages WHERE challenge_id = ?1 ORDER BY id");

const BEFORE: &str = "SELECT m.id, challenge_id, m.phone, sid, m.state, error_code, segments, m.created_at, updated_at, \
     m.version, sender, via_channel, c.state = 'used' FROM messages AS m JOIN challenges AS c ON c.id = challenge_id \
     WHERE m.id < ?1 ORDER BY m.id DESC LIMIT ?2";

const TO_PHONE: &str = "SELECT m.id, challenge_id, m.phone, sid, m.state, error_code, segments, m.created_at, updated_at, \
     m.version, sender, via_channel FROM challenges AS c JOIN messages AS m ON m.challenge_id = c.id \
     WHERE c.phone = ?1 ORDER BY m.id DESC LIMIT ?2";

const INSERT: &str = "INSERT INTO messages (challenge_id, phone, state, segments, created_at, updated_at, sender, via_channel) \
     VALUES (?1, ?2, ?3, ?4, ?5, ?5, ?6, ?7)";

const UPDATE: &str = "UPDATE messages SET sid = ?2, state = ?3, error_code = ?4, segments = ?5, \
     updated_at = ?6, sender = ?8, via_channel = ?9, version = version + 1 WHERE id = ?1 AND version = ?7";

const MINUTE: i64 = 60_000;

const COUNT_UNSENT: &str = "INSERT INTO unsent (minute, why, count) VALUES (?1, ?2, 1) \
     ON CONFLICT (minute, why) DO UPDATE SET count = count + 1 RETURNING count";

const UNSENT_SINCE: &str = "SELECT minute, why, count FROM unsent WHERE minute >= ?1 ORDER BY minute, why";

const PURGE_UNSENT: &str = "DELETE FROM unsent WHERE minute < ?1";

impl ReadMessages for SqliteTx<'_> {
    fn message_by_sid(&self, sid: &str) -> StoreResult<Option<Message>> {
        self.run(|conn| conn.prepare_cached(BY_SID)?.query_row([sid], message).optional())
    }

    fn message(&self, id: MessageId) -> StoreResult<Option<Message>> {
        self.run(|conn| conn.prepare_cached(BY_ID)?.query_row([id], message).optional())
    }

    fn messages_of(&self, challenge: ChallengeId) -> StoreResult<Vec<Message>> {
        self.run(|conn| conn.prepare_cached(BY_CHALLENGE)?.query_map([challenge], message)?.collect())
    }

    fn messages_to(&self, phone: &PhoneNumber, rows: usize) -> StoreResult<Vec<Message>> {
        let of = params![phone, count(rows)];
        self.run(|conn| conn.prepare_cached(TO_PHONE)?.query_map(of, message)?.collect())
    }

    fn messages_before(&self, before: MessageId, rows: usize) -> StoreResult<Vec<(Message, bool)>> {
        let with_use = |row: &Row<'_>| Ok((message(row)?, row.get(12)?));
        let of = params![before, count(rows)];
        self.run(|conn| conn.prepare_cached(BEFORE)?.query_map(of, with_use)?.collect())
    }

    /// Those of the minute of `since` and of all after it.
    fn unsent_since(&self, since: Timestamp) -> StoreResult<Vec<UnsentCount>> {
        let of = [minute(since)];
        self.run(|conn| conn.prepare_cached(UNSENT_SINCE)?.query_map(of, unsent)?.collect())
    }
}

impl WriteMessages for SqliteTx<'_> {
    fn insert_message(&mut self, new: NewMessage) -> StoreResult<MessageId> {
        let NewMessage { challenge, to, via, segments, created_at } = new;
        let values =
            params![challenge, to, MessageState::Intended, segments, created_at, via.sender, via.channel];
        self.run(|conn| conn.prepare_cached(INSERT)?.insert(values)).map(MessageId)
    }

    fn update_message(&mut self, message: &mut Message) -> StoreResult<()> {
        self.assert_locked("a message", |locks| locks.cover_phone(&message.to));
        let values = params![
            message.id,
            message.sid,
            message.state,
            message.error_code,
            message.segments,
            message.updated_at,
            message.version,
            message.via.sender,
            message.via.channel
        ];
        self.run(|conn| one_row(conn.prepare_cached(UPDATE)?.execute(values)?))?;
        message.version += 1;
        Ok(())
    }

    fn count_unsent(&mut self, why: Unsent, at: Timestamp) -> StoreResult<bool> {
        let of = params![minute(at), why];
        let counted: i64 =
            self.run(|conn| conn.prepare_cached(COUNT_UNSENT)?.query_row(of, |row| row.get(0)))?;
        Ok(counted == 1)
    }
}

/// Deletes the counts of codes without a sender from before `before`. They are two rows a minute at most, so that one
/// slice takes all of them.
pub(super) fn purge_unsent(conn: &Connection, before: Timestamp) -> rusqlite::Result<()> {
    conn.prepare_cached(PURGE_UNSENT)?.execute([minute(before)]).map(drop)
}

fn message(row: &Row<'_>) -> rusqlite::Result<Message> {
    Ok(Message {
        id: row.get(0)?,
        challenge: row.get(1)?,
        to: row.get(2)?,
        via: Via { sender: row.get(10)?, channel: row.get(11)? },
        sid: row.get(3)?,
        state: row.get(4)?,
        error_code: row.get(5)?,
        segments: row.get(6)?,
        created_at: row.get(7)?,
        updated_at: row.get(8)?,
        version: row.get(9)?,
    })
}

fn unsent(row: &Row<'_>) -> rusqlite::Result<UnsentCount> {
    let count: i64 = row.get(2)?;
    Ok(UnsentCount {
        minute: Timestamp::from_millis(row.get::<_, i64>(0)? * MINUTE),
        why: row.get(1)?,
        count: u64::try_from(count).unwrap_or_default(),
    })
}

fn minute(at: Timestamp) -> i64 {
    at.as_millis().div_euclid(MINUTE)
}
