//! What a closure holds: the seam's `View` and `Tx` over one connection's open transaction.

use rusqlite::Connection;

use super::cache::Touched;
use super::fault::fault;
use super::{
    audit, challenges, clock, exchanges, ledger, messages, sessions, test_numbers, token_names, unsent,
    upkeep, users,
};
use crate::domain::audit::AuditRecord;
use crate::domain::clock::StoredClock;
use crate::domain::code::CodeHash;
use crate::domain::message::{Message, Unsent};
use crate::domain::quota::Quota;
use crate::domain::{
    Challenge, ChallengeId, Exchange, MessageId, Mode, NameClaim, NewChallenge, PhoneNumber, Session,
    SessionId, SpendId, TestNumber, Timestamp, User, UserId,
};
use crate::storage::operator::{OperatorTx, OperatorView};
use crate::storage::{PurgeHorizon, StoreError, StoreResult, Tx, View};

/// An open transaction.
pub(super) struct SqliteTx<'c> {
    conn: &'c Connection,
    touched: Touched,
}

impl<'c> SqliteTx<'c> {
    /// On a connection whose transaction has begun.
    pub(super) fn new(conn: &'c Connection) -> Self {
        Self { conn, touched: Touched::default() }
    }

    /// What the cache must forget once this is committed.
    pub(super) fn into_touched(self) -> Touched {
        self.touched
    }

    /// Notes that a user and its sessions are gone.
    pub(super) fn touch(&mut self, user: UserId, sessions: Vec<SessionId>) {
        self.touched.users.push(user);
        self.touched.sessions.extend(sessions);
    }

    /// Reads or writes, while the transaction stands.
    pub(super) fn run<T>(&self, act: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> StoreResult<T> {
        standing(self.conn)?;
        act(self.conn).map_err(|error| fault(&error))
    }
}

/// A full disk ends the whole transaction under a closure's feet; what it did next would be a transaction of its own.
fn standing(conn: &Connection) -> StoreResult<()> {
    if conn.is_autocommit() { Err(StoreError::Unavailable) } else { Ok(()) }
}

impl View for SqliteTx<'_> {
    fn user(&self, id: UserId) -> StoreResult<Option<User>> {
        self.run(|conn| users::by_id(conn, id))
    }

    fn user_by_phone(&self, phone: &PhoneNumber) -> StoreResult<Option<User>> {
        self.run(|conn| users::by_phone(conn, phone))
    }

    fn session(&self, id: &SessionId) -> StoreResult<Option<Session>> {
        self.run(|conn| sessions::by_id(conn, id))
    }

    fn live_sessions(&self, user: UserId, now: Timestamp) -> StoreResult<Vec<Session>> {
        self.run(|conn| sessions::live(conn, user, now))
    }

    fn count_live_sessions(&self, now: Timestamp) -> StoreResult<u64> {
        self.run(|conn| sessions::count_live(conn, now))
    }

    fn rotated_at(&self, session: &SessionId, generation: u32) -> StoreResult<Option<Timestamp>> {
        self.run(|conn| sessions::rotated_at(conn, session, generation))
    }

    fn exchange(&self, jti: &str) -> StoreResult<Option<Exchange>> {
        self.run(|conn| exchanges::by_jti(conn, jti))
    }

    fn challenges(&self, mode: Mode, phone: &PhoneNumber, limit: usize) -> StoreResult<Vec<Challenge>> {
        self.run(|conn| challenges::newest(conn, mode, phone, limit))
    }

    fn latest_challenge(&self) -> StoreResult<Option<ChallengeId>> {
        self.run(challenges::latest)
    }

    fn challenge(&self, id: ChallengeId) -> StoreResult<Option<Challenge>> {
        self.run(|conn| challenges::by_id(conn, id))
    }

    fn spends(&self, quota: Quota, subject: &str, since: Timestamp) -> StoreResult<Vec<Timestamp>> {
        self.run(|conn| ledger::spent_since(conn, quota, subject, since))
    }

    fn message_by_sid(&self, sid: &str) -> StoreResult<Option<Message>> {
        self.run(|conn| messages::by_sid(conn, sid))
    }

    fn message(&self, id: MessageId) -> StoreResult<Option<Message>> {
        self.run(|conn| messages::by_id(conn, id))
    }

    fn messages_of(&self, challenge: ChallengeId) -> StoreResult<Vec<Message>> {
        self.run(|conn| messages::by_challenge(conn, challenge))
    }

    fn sending_before(&self, before: Timestamp, limit: usize) -> StoreResult<Vec<Challenge>> {
        self.run(|conn| challenges::sending_before(conn, before, limit))
    }

    fn test_number(&self, phone: &PhoneNumber) -> StoreResult<Option<TestNumber>> {
        self.run(|conn| test_numbers::by_phone(conn, phone))
    }

    fn token_name(&self, claim: NameClaim) -> StoreResult<Option<(String, Timestamp)>> {
        self.run(|conn| token_names::read(conn, claim))
    }

    fn clock(&self) -> StoreResult<Option<StoredClock>> {
        self.run(clock::read)
    }

    fn operator(&self) -> &dyn OperatorView {
        self
    }
}

impl Tx for SqliteTx<'_> {
    fn insert_user(&mut self, phone: &PhoneNumber, role: &str, joined_at: Timestamp) -> StoreResult<User> {
        self.run(|conn| users::insert(conn, phone, role, joined_at))
    }

    fn update_user(&mut self, user: &User) -> StoreResult<()> {
        self.touched.users.push(user.id);
        self.run(|conn| users::update(conn, user))
    }

    fn insert_challenge(
        &mut self,
        challenge: NewChallenge,
        hash: &dyn Fn(ChallengeId) -> CodeHash,
    ) -> StoreResult<Challenge> {
        self.run(|conn| challenges::insert(conn, challenge, hash))
    }

    fn update_challenge(&mut self, challenge: &Challenge) -> StoreResult<()> {
        self.run(|conn| challenges::update(conn, challenge))
    }

    fn insert_session(&mut self, session: &Session) -> StoreResult<()> {
        self.run(|conn| sessions::insert(conn, session))
    }

    fn update_session(&mut self, session: &Session) -> StoreResult<()> {
        self.touched.sessions.push(session.id.clone());
        self.run(|conn| sessions::update(conn, session))
    }

    fn note_rotation(
        &mut self,
        session: &SessionId,
        generation: u32,
        at: Timestamp,
        forget: Timestamp,
    ) -> StoreResult<()> {
        self.run(|conn| sessions::note_rotation(conn, session, generation, at, forget))
    }

    fn insert_exchange(&mut self, exchange: &Exchange) -> StoreResult<()> {
        self.run(|conn| exchanges::insert(conn, exchange))
    }

    fn spend(&mut self, quota: Quota, subject: &str, at: Timestamp) -> StoreResult<SpendId> {
        self.run(|conn| ledger::spend(conn, quota, subject, at))
    }

    fn unspend(&mut self, spend: SpendId) -> StoreResult<()> {
        self.run(|conn| ledger::unspend(conn, spend))
    }

    fn pull_spends_back(&mut self, quota: Quota, subject: &str, now: Timestamp) -> StoreResult<()> {
        self.run(|conn| ledger::pull_back(conn, quota, subject, now))
    }

    fn count_refusals(
        &mut self,
        quota: Quota,
        subject: &str,
        at: Timestamp,
        until: Timestamp,
        refusals: u64,
    ) -> StoreResult<bool> {
        let refusals = i64::try_from(refusals).unwrap_or(i64::MAX);
        self.run(|conn| ledger::count_refusals(conn, quota, subject, (at, until), refusals))
    }

    fn insert_message(
        &mut self,
        challenge: ChallengeId,
        to: &PhoneNumber,
        segments: u32,
        at: Timestamp,
    ) -> StoreResult<MessageId> {
        self.run(|conn| messages::insert(conn, challenge, to, segments, at))
    }

    fn count_unsent(&mut self, why: Unsent, at: Timestamp) -> StoreResult<bool> {
        self.run(|conn| unsent::count(conn, why, at))
    }

    fn update_message(&mut self, message: &Message) -> StoreResult<()> {
        self.run(|conn| messages::update(conn, message))
    }

    fn store_token_name(
        &mut self,
        claim: NameClaim,
        name: Option<&str>,
        since: Timestamp,
    ) -> StoreResult<()> {
        self.run(|conn| token_names::write(conn, claim, name, since))
    }

    fn store_clock(&mut self, clock: &StoredClock) -> StoreResult<()> {
        self.run(|conn| clock::write(conn, clock))
    }

    fn audit(&mut self, record: AuditRecord) -> StoreResult<()> {
        self.run(|conn| audit::append(conn, &record))
    }

    fn prove_room(&mut self) -> StoreResult<()> {
        self.run(upkeep::prove_room)
    }

    fn purge(&mut self, horizon: &PurgeHorizon, rows: usize) -> StoreResult<bool> {
        standing(self.conn)?;
        upkeep::purge(self.conn, horizon, rows, &mut self.touched).map_err(|error| fault(&error))
    }

    fn operator_mut(&mut self) -> &mut dyn OperatorTx {
        self
    }
}
