//! The operator's rows: pages of every table, import, erasure.

use rusqlite::{Connection, OptionalExtension as _, Row, params};

use super::columns::count;
use super::tx::SqliteTx;
use super::{challenges, messages, sessions, test_numbers, unsent, users};
use crate::domain::message::{Message, UnsentCount};
use crate::domain::user::username_for;
use crate::domain::{
    Challenge, ChallengeId, ChallengeState, MessageId, PhoneNumber, Session, SessionId, SpendId, TestNumber,
    Timestamp, User, UserId,
};
use crate::storage::StoreResult;
use crate::storage::operator::{AuditLine, AuditOf, Erased, ImportedUser, OperatorTx, OperatorView, Spend};

const UNTOLD: &str = "SELECT ifnull(sum(count - 1), 0) FROM refusals WHERE first >= ?1";

const SPENDS: &str = "SELECT id, quota, subject, at FROM spends WHERE id > ?1 ORDER BY id LIMIT ?2";

const IMPORT: &str = "INSERT INTO users (id, username, phone, role, is_active, phone_verified, joined_at, \
     imported_at, foreign_tokens) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?1 IS NOT NULL) ON CONFLICT DO NOTHING RETURNING id";

const RAISE: &str = "UPDATE sqlite_sequence SET seq = max(seq, ?1) WHERE name = 'users'";

const BEGIN_IDS: &str = "INSERT INTO sqlite_sequence (name, seq) VALUES ('users', ?1)";

const FORGET_USER_LINES: &str = "UPDATE audit SET phone = NULL, phone_hash = NULL WHERE user_id = ?1 \
     AND (phone IS NOT NULL OR phone_hash IS NOT NULL)";

const FORGET_PHONE_LINES: &str = "UPDATE audit SET phone = NULL, phone_hash = NULL WHERE phone_hash = ?1";

macro_rules! lines {
    ($condition:literal, $order:literal) => {
        concat!(
            "SELECT id, at, event, channel, user_id, phone, ip, session_id, request_id, detail FROM audit WHERE ",
            $condition,
            " ORDER BY id ",
            $order,
            " LIMIT ?2"
        )
    };
}

const OVER: &str = "DELETE FROM challenges WHERE id = ?1";

impl OperatorView for SqliteTx<'_> {
    fn user_by_username(&self, username: &str) -> StoreResult<Option<User>> {
        self.run(|conn| users::by_username(conn, username))
    }

    fn users_after(&self, after: UserId, rows: usize) -> StoreResult<Vec<User>> {
        self.run(|conn| users::after(conn, after, count(rows)))
    }

    fn last_user_id(&self) -> StoreResult<Option<UserId>> {
        self.run(users::last_id)
    }

    fn sessions_after(&self, after: Option<&SessionId>, rows: usize) -> StoreResult<Vec<Session>> {
        self.run(|conn| sessions::after(conn, after.map_or("", SessionId::as_str), count(rows)))
    }

    fn challenges_before(&self, before: ChallengeId, rows: usize) -> StoreResult<Vec<Challenge>> {
        self.run(|conn| challenges::before(conn, before, count(rows)))
    }

    fn messages_before(&self, before: MessageId, rows: usize) -> StoreResult<Vec<(Message, bool)>> {
        self.run(|conn| messages::before(conn, before, count(rows)))
    }

    fn unsent_since(&self, since: Timestamp) -> StoreResult<Vec<UnsentCount>> {
        self.run(|conn| unsent::since(conn, since))
    }

    fn audit_before(&self, of: &AuditOf, before: i64, rows: usize) -> StoreResult<Vec<AuditLine>> {
        self.run(|conn| match of {
            AuditOf::Everybody => read_lines(conn, lines!("id < ?1", "DESC"), params![before, count(rows)]),
            AuditOf::User(user) => read_lines(
                conn,
                lines!("user_id = ?3 AND id < ?1", "DESC"),
                params![before, count(rows), user],
            ),
            AuditOf::Phone(hash) => read_lines(
                conn,
                lines!("phone_hash = ?3 AND id < ?1", "DESC"),
                params![before, count(rows), hash],
            ),
        })
    }

    fn audit_after(&self, of: &AuditOf, after: i64, rows: usize) -> StoreResult<Vec<AuditLine>> {
        self.run(|conn| match of {
            AuditOf::Everybody => read_lines(conn, lines!("id > ?1", "ASC"), params![after, count(rows)]),
            AuditOf::User(user) => {
                read_lines(conn, lines!("user_id = ?3 AND id > ?1", "ASC"), params![after, count(rows), user])
            }
            AuditOf::Phone(hash) => read_lines(
                conn,
                lines!("phone_hash = ?3 AND id > ?1", "ASC"),
                params![after, count(rows), hash],
            ),
        })
    }

    fn spends_after(&self, after: SpendId, rows: usize) -> StoreResult<Vec<Spend>> {
        self.run(|conn| {
            let spend = |row: &Row<'_>| {
                Ok(Spend { id: row.get(0)?, quota: row.get(1)?, subject: row.get(2)?, at: row.get(3)? })
            };
            conn.prepare_cached(SPENDS)?.query_map(params![after, count(rows)], spend)?.collect()
        })
    }

    fn test_numbers(&self) -> StoreResult<Vec<TestNumber>> {
        self.run(test_numbers::all)
    }

    fn untold_refusals(&self, since: Timestamp) -> StoreResult<u64> {
        self.run(|conn| conn.prepare_cached(UNTOLD)?.query_row([since], |row| row.get::<_, i64>(0)))
            .map(|untold| u64::try_from(untold).unwrap_or(0))
    }
}

impl OperatorTx for SqliteTx<'_> {
    fn import_user(&mut self, user: &ImportedUser, at: Timestamp) -> StoreResult<Option<UserId>> {
        self.run(|conn| {
            let ImportedUser { id, username, phone, role, is_active, phone_verified, joined_at } = user;
            let derived = username.is_none().then(|| username_for(phone));
            let username = username.as_ref().or(derived.as_ref());
            conn.prepare_cached(IMPORT)?
                .query_row(
                    params![id, username, phone, role, is_active, phone_verified, joined_at, at],
                    |row| row.get(0),
                )
                .optional()
        })
    }

    fn raise_user_ids(&mut self, id: UserId) -> StoreResult<()> {
        self.run(|conn| {
            if conn.prepare_cached(RAISE)?.execute([id])? == 0 {
                conn.prepare_cached(BEGIN_IDS)?.execute([id])?;
            }
            Ok(())
        })
    }

    fn delete_user(&mut self, id: UserId) -> StoreResult<Option<usize>> {
        let gone: Vec<SessionId> = self.run(|conn| {
            let mut sessions = conn.prepare_cached("SELECT id FROM sessions WHERE user_id = ?1")?;
            sessions.query_map([id], |row| row.get(0))?.collect()
        })?;
        let sessions = gone.len();
        self.touch(id, gone);
        let deleted =
            self.run(|conn| conn.prepare_cached("DELETE FROM users WHERE id = ?1")?.execute([id]))?;
        Ok((deleted == 1).then_some(sessions))
    }

    fn erase_phone(&mut self, user: UserId, phone: &PhoneNumber, hashes: &[[u8; 16]]) -> StoreResult<Erased> {
        self.run(|conn| {
            let delete = |sql: &str| conn.prepare_cached(sql)?.execute([phone]);
            let challenges = delete("DELETE FROM challenges WHERE phone = ?1")?;
            let spends = delete("DELETE FROM spends WHERE subject = ?1")?;
            delete("DELETE FROM refusals WHERE subject = ?1")?;
            let mut audit = conn.prepare_cached(FORGET_USER_LINES)?.execute([user])?;
            for hash in hashes {
                audit += conn.prepare_cached(FORGET_PHONE_LINES)?.execute([hash])?;
            }
            Ok(Erased { sessions: 0, challenges, spends, audit })
        })
    }

    fn reset_limits(&mut self, subject: &str) -> StoreResult<(usize, usize)> {
        self.run(|conn| {
            let units = conn.prepare_cached("DELETE FROM spends WHERE subject = ?1")?.execute([subject])?;
            let refusals =
                conn.prepare_cached("DELETE FROM refusals WHERE subject = ?1")?.execute([subject])?;
            Ok((units, refusals))
        })
    }

    fn keep_test_number(&mut self, number: &TestNumber) -> StoreResult<()> {
        self.run(|conn| test_numbers::keep(conn, number))
    }

    fn forget_test_number(&mut self, phone: &PhoneNumber) -> StoreResult<()> {
        self.run(|conn| test_numbers::forget(conn, phone))
    }

    fn purge_codes(
        &mut self,
        before: Timestamp,
        now: Timestamp,
        after: ChallengeId,
        rows: usize,
    ) -> StoreResult<(usize, Option<ChallengeId>)> {
        self.run(|conn| {
            let page = challenges::over(conn, after, count(rows))?;
            let next = (page.len() == rows).then(|| page.last().map(|row| row.0)).flatten();
            let mut gone = 0;
            for (id, state, created_at, expires_at) in page {
                let over = matches!(state, ChallengeState::Used | ChallengeState::Void) || expires_at <= now;
                if over && created_at < before {
                    gone += conn.prepare_cached(OVER)?.execute([id])?;
                }
            }
            Ok((gone, next))
        })
    }
}

fn read_lines(
    conn: &Connection,
    sql: &str,
    params: &[&dyn rusqlite::ToSql],
) -> rusqlite::Result<Vec<AuditLine>> {
    let line = |row: &Row<'_>| {
        Ok(AuditLine {
            id: row.get(0)?,
            at: row.get(1)?,
            event: row.get(2)?,
            mode: row.get(3)?,
            user: row.get(4)?,
            phone: row.get(5)?,
            ip: row.get(6)?,
            session: row.get(7)?,
            request_id: row.get(8)?,
            detail: row.get(9)?,
        })
    };
    conn.prepare_cached(sql)?.query_map(params, line)?.collect()
}
