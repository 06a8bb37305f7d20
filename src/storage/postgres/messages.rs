//! Rows of `messages`, and of `unsent`: codes that found no sender, counted by the minute.

use super::row::{Row, RowError};

use super::columns::Number;
use super::connection::Params;
use super::ids::Sequence;
use super::tx::{PostgresTx, first};
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

pub(super) const BY_ID: &str = concat!("SELECT ", columns!(), " FROM messages WHERE id = $1");

const BY_SID: &str = concat!("SELECT ", columns!(), " FROM messages WHERE sid = $1");

const BY_CHALLENGE: &str =
    concat!("SELECT ", columns!(), " FROM messages WHERE challenge_id = $1 ORDER BY id");

const BEFORE: &str = "SELECT m.id, challenge_id, m.phone, sid, m.state, error_code, segments, m.created_at, updated_at, \
     m.version, sender, via_channel, c.state = 'used' FROM messages AS m JOIN challenges AS c ON c.id = challenge_id \
     WHERE m.id < $1 ORDER BY m.id DESC LIMIT $2";

const TO_PHONE: &str = "SELECT m.id, challenge_id, m.phone, sid, m.state, error_code, segments, m.created_at, updated_at, \
     m.version, sender, via_channel FROM challenges AS c JOIN messages AS m ON m.challenge_id = c.id \
     WHERE c.phone = $1 ORDER BY m.id DESC LIMIT $2";

const INSERT: &str = "INSERT INTO messages (id, challenge_id, phone, state, segments, created_at, updated_at, sender, \
     via_channel) VALUES ($1, $2, $3, $4, $5, $6, $6, $7, $8)";

const UPDATE: &str = "UPDATE messages SET sid = $2, state = $3, error_code = $4, segments = $5, \
     updated_at = $6, sender = $8, via_channel = $9, version = version + 1 WHERE id = $1 AND version = $7";

const MINUTE: i64 = 60_000;

const COUNT_UNSENT: &str = "INSERT INTO unsent (minute, why, count) VALUES ($1, $2, 1) \
     ON CONFLICT (minute, why) DO UPDATE SET count = unsent.count + 1 RETURNING count";

const UNSENT_SINCE: &str = "SELECT minute, why, count FROM unsent WHERE minute >= $1 ORDER BY minute, why";

const PURGE_UNSENT: &str = "DELETE FROM unsent WHERE minute < $1";

impl ReadMessages for PostgresTx<'_> {
    fn message_by_sid(&self, sid: &str) -> StoreResult<Option<Message>> {
        self.row(BY_SID, &[&sid], message)
    }

    fn message(&self, id: MessageId) -> StoreResult<Option<Message>> {
        self.row(BY_ID, &[&id], message)
    }

    fn messages_of(&self, challenge: ChallengeId) -> StoreResult<Vec<Message>> {
        self.rows(BY_CHALLENGE, &[&challenge], message)
    }

    fn messages_to(&self, phone: &PhoneNumber, rows: usize) -> StoreResult<Vec<Message>> {
        self.rows(TO_PHONE, &[phone, &count(rows)], message)
    }

    fn messages_before(&self, before: MessageId, rows: usize) -> StoreResult<Vec<(Message, bool)>> {
        self.rows(BEFORE, &[&before, &count(rows)], |row| Ok((message(row)?, row.try_get(12)?)))
    }

    /// Those of the minute of `since` and of all after it.
    fn unsent_since(&self, since: Timestamp) -> StoreResult<Vec<UnsentCount>> {
        self.rows(UNSENT_SINCE, &[&minute(since)], unsent)
    }
}

impl WriteMessages for PostgresTx<'_> {
    fn insert_message(&mut self, new: NewMessage) -> StoreResult<MessageId> {
        let NewMessage { challenge, to, via, segments, created_at } = new;
        let (state, segments) = (MessageState::Intended, Number(segments));
        let id = MessageId(self.next_id(Sequence::Messages)?);
        let params: Params<'_> =
            &[&id, &challenge, &to, &state, &segments, &created_at, &via.sender, &via.channel];
        self.append(INSERT, params)?;
        Ok(id)
    }

    fn update_message(&mut self, message: &mut Message) -> StoreResult<()> {
        let (error, segments) = (message.error_code.map(Number), Number(message.segments));
        self.write_one(
            UPDATE,
            &[
                &message.id,
                &message.sid,
                &message.state,
                &error,
                &segments,
                &message.updated_at,
                &Number(message.version),
                &message.via.sender,
                &message.via.channel,
            ],
        )?;
        message.version += 1;
        Ok(())
    }

    fn count_unsent(&mut self, why: Unsent, at: Timestamp) -> StoreResult<bool> {
        Ok(self.returning(COUNT_UNSENT, &[&minute(at), &why], first::<i64>)? == [1])
    }
}

impl PostgresTx<'_> {
    /// Deletes the counts of codes without a sender from before `before`. They are two rows a minute at most, so that one
    /// slice takes all of them.
    pub(super) fn purge_unsent(&self, before: Timestamp) -> StoreResult<()> {
        self.write(PURGE_UNSENT, &[&minute(before)]).map(drop)
    }
}

fn message(row: &Row) -> Result<Message, RowError> {
    Ok(Message {
        id: row.try_get(0)?,
        challenge: row.try_get(1)?,
        to: row.try_get(2)?,
        via: Via { sender: row.try_get(10)?, channel: row.try_get(11)? },
        sid: row.try_get(3)?,
        state: row.try_get(4)?,
        error_code: row.try_get::<Option<Number<_>>>(5)?.map(|code| code.0),
        segments: row.try_get::<Number<_>>(6)?.0,
        created_at: row.try_get(7)?,
        updated_at: row.try_get(8)?,
        version: row.try_get::<Number<u32>>(9)?.0,
    })
}

fn unsent(row: &Row) -> Result<UnsentCount, RowError> {
    let minute: i64 = row.try_get(0)?;
    Ok(UnsentCount {
        minute: Timestamp::from_millis(minute * MINUTE),
        why: row.try_get(1)?,
        count: row.try_get::<Number<_>>(2)?.0,
    })
}

fn minute(at: Timestamp) -> i64 {
    at.as_millis().div_euclid(MINUTE)
}
