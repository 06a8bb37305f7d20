//! The seam to the database: what the flows may ask of it, without a word of SQL.
//!
//! A flow hands the store a closure. A writing closure runs inside a transaction of the one writer, together with
//! others that wait; it is answered only after the commit that makes it durable. A refusal that must be remembered (a
//! wrong guess) is an `Ok` value and commits; `Err` is a fault and rolls the closure back alone.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use futures_util::future::BoxFuture;

use crate::domain::audit::AuditRecord;
use crate::domain::clock::StoredClock;
use crate::domain::code::CodeHash;
use crate::domain::message::{Message, Unsent};
use crate::domain::quota::Quota;
use crate::domain::session::SessionStatus;
use crate::domain::{
    Challenge, ChallengeId, Exchange, MessageId, Mode, NameClaim, NewChallenge, PhoneNumber, Session,
    SessionId, SpendId, TestNumber, Timestamp, User, UserId,
};

pub mod operator;
pub mod sqlite;

/// Why the store did not do what it was asked. The cause is logged where it happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// More writes wait than the queue holds; nothing was done.
    #[error("the write queue is full")]
    Overloaded,
    /// The database failed (full disk, I/O, lock); nothing was done.
    #[error("the database is not available")]
    Unavailable,
    /// A closure or a row broke a rule of ours; nothing was done.
    #[error("the database holds, or was asked, something impossible")]
    Broken,
}

/// What reading and writing closures give.
pub type StoreResult<T> = Result<T, StoreError>;

/// What the flows read.
pub trait View {
    /// The user with this id.
    fn user(&self, id: UserId) -> StoreResult<Option<User>>;
    /// The user with this phone.
    fn user_by_phone(&self, phone: &PhoneNumber) -> StoreResult<Option<User>>;
    /// The session with this id, ended or not.
    fn session(&self, id: &SessionId) -> StoreResult<Option<Session>>;
    /// The sessions of a user that have not ended and whose refresh token is good at `now`, oldest first.
    fn live_sessions(&self, user: UserId, now: Timestamp) -> StoreResult<Vec<Session>>;
    /// How many sessions, of all users, have not ended and can still be refreshed at `now`.
    fn count_live_sessions(&self, now: Timestamp) -> StoreResult<u64>;
    /// When a generation of a session was rotated away, while that is still known.
    fn rotated_at(&self, session: &SessionId, generation: u32) -> StoreResult<Option<Timestamp>>;
    /// What became of the foreign refresh token of this name, until it has expired.
    fn exchange(&self, jti: &str) -> StoreResult<Option<Exchange>>;
    /// The newest challenges of a phone in a mode, newest first, at most `limit`.
    fn challenges(&self, mode: Mode, phone: &PhoneNumber, limit: usize) -> StoreResult<Vec<Challenge>>;
    /// The number of the latest challenge of all.
    fn latest_challenge(&self) -> StoreResult<Option<ChallengeId>>;
    /// One challenge.
    fn challenge(&self, id: ChallengeId) -> StoreResult<Option<Challenge>>;
    /// When the units of `quota` that `subject` spent after `since` were spent, oldest first; instants in the future
    /// included.
    fn spends(&self, quota: Quota, subject: &str, since: Timestamp) -> StoreResult<Vec<Timestamp>>;
    /// The message that the provider calls `sid`.
    fn message_by_sid(&self, sid: &str) -> StoreResult<Option<Message>>;
    /// The message with this id.
    fn message(&self, id: MessageId) -> StoreResult<Option<Message>>;
    /// The messages that carry a challenge's code, oldest first.
    fn messages_of(&self, challenge: ChallengeId) -> StoreResult<Vec<Message>>;
    /// Challenges still *sending* that were created before `before`, oldest first, at most `limit`.
    fn sending_before(&self, before: Timestamp, limit: usize) -> StoreResult<Vec<Challenge>>;

    /// The test number with this phone, ended or not.
    fn test_number(&self, phone: &PhoneNumber) -> StoreResult<Option<TestNumber>>;

    /// What tokens said in a claim when a server last started, and since when they did.
    fn token_name(&self, claim: NameClaim) -> StoreResult<Option<(String, Timestamp)>>;
    /// What the server that last served the database stored of its clock.
    fn clock(&self) -> StoreResult<Option<StoredClock>>;

    /// What the operator reads, on the same snapshot.
    fn operator(&self) -> &dyn operator::OperatorView;
}

/// What the flows write; everything in one closure happens or nothing does.
pub trait Tx: View {
    /// Writes a new user and gives the id; the name is made unique by a number where it is taken.
    fn insert_user(&mut self, phone: &PhoneNumber, role: &str, joined_at: Timestamp) -> StoreResult<User>;
    /// Replaces the row of `user.id`.
    fn update_user(&mut self, user: &User) -> StoreResult<()>;

    /// Writes a challenge as *sending*; `hash` gets its number and gives the hash of its code.
    fn insert_challenge(
        &mut self,
        challenge: NewChallenge,
        hash: &dyn Fn(ChallengeId) -> CodeHash,
    ) -> StoreResult<Challenge>;
    /// Replaces state, attempts and use.
    fn update_challenge(&mut self, challenge: &Challenge) -> StoreResult<()>;

    /// Writes a new session.
    fn insert_session(&mut self, session: &Session) -> StoreResult<()>;
    /// Replaces the row of `session.id`.
    fn update_session(&mut self, session: &Session) -> StoreResult<()>;
    /// Notes that a generation was rotated away, and forgets those of the session that were before `forget`.
    fn note_rotation(
        &mut self,
        session: &SessionId,
        generation: u32,
        at: Timestamp,
        forget: Timestamp,
    ) -> StoreResult<()>;

    /// Writes what became of a foreign refresh token, once.
    fn insert_exchange(&mut self, exchange: &Exchange) -> StoreResult<()>;

    /// Spends a unit now.
    fn spend(&mut self, quota: Quota, subject: &str, at: Timestamp) -> StoreResult<SpendId>;
    /// Gives a unit back.
    fn unspend(&mut self, spend: SpendId) -> StoreResult<()>;
    /// Moves units of a subject that lie after `now` (a clock stepped back across a restart) to `now`.
    fn pull_spends_back(&mut self, quota: Quota, subject: &str, now: Timestamp) -> StoreResult<()>;
    /// Counts `refusals` of a key; true for the first of its window, which the caller then audits.
    fn count_refusals(
        &mut self,
        quota: Quota,
        subject: &str,
        at: Timestamp,
        until: Timestamp,
        refusals: u64,
    ) -> StoreResult<bool>;

    /// Writes a message as *intended*.
    fn insert_message(
        &mut self,
        challenge: ChallengeId,
        to: &PhoneNumber,
        segments: u32,
        at: Timestamp,
    ) -> StoreResult<MessageId>;
    /// Counts a code that found no sender; true for the first of its minute, which the caller then audits.
    fn count_unsent(&mut self, why: Unsent, at: Timestamp) -> StoreResult<bool>;
    /// Replaces SID, state, error and time of a message.
    fn update_message(&mut self, message: &Message) -> StoreResult<()>;

    /// Stores what tokens say in a claim since `since`.
    fn store_token_name(&mut self, claim: NameClaim, name: Option<&str>, since: Timestamp)
    -> StoreResult<()>;
    /// Stores the clock for the next start.
    fn store_clock(&mut self, clock: &StoredClock) -> StoreResult<()>;

    /// Appends a line to the audit trail.
    fn audit(&mut self, record: AuditRecord) -> StoreResult<()>;
    /// Writes more than a page holds and takes it back: fails where the disk is full.
    fn prove_room(&mut self) -> StoreResult<()>;
    /// Deletes one slice (at most `rows` rows of each kind) of what is no longer needed at `now`; true if there is more.
    fn purge(&mut self, horizon: &PurgeHorizon, rows: usize) -> StoreResult<bool>;

    /// What the operator writes, in the same transaction.
    fn operator_mut(&mut self) -> &mut dyn operator::OperatorTx;
}

/// Before which instants rows are no longer needed.
#[derive(Clone, Copy, Debug)]
pub struct PurgeHorizon {
    /// Which windows of refusals have closed, and which codes have expired.
    pub now: Timestamp,
    /// Spends, each quota's by its own window.
    pub spends: [(Quota, Timestamp); Quota::ALL.len()],
    /// Challenges and their messages, and test numbers that ended.
    pub challenges: Timestamp,
    /// Sessions that ended or expired, and foreign refresh tokens that were exchanged and have expired.
    pub sessions: Timestamp,
    /// Audit rows.
    pub audit: Timestamp,
    /// Users who never verified.
    pub unverified: Timestamp,
}

/// A session and its user, as the hot path sees them.
#[derive(Clone, Debug)]
pub struct Principal {
    /// The session of the token, as far as a request must know it.
    pub session: Arc<SessionStatus>,
    /// Its user.
    pub user: Arc<User>,
}

/// A write on its way to the writer: it runs once, and is told once what came of it.
pub trait WriteJob: Send {
    /// Runs the closure; an error rolls back what it wrote.
    fn run(&mut self, tx: &mut dyn Tx) -> StoreResult<()>;
    /// Answers the flow, after the commit or instead of it.
    fn finish(self: Box<Self>, committed: StoreResult<()>);
}

/// A reading closure, its answer boxed away inside.
pub type ReadJob = Box<dyn FnOnce(&dyn View) + Send>;

/// A database: one adapter implements it.
pub trait Engine: Send + Sync + 'static {
    /// Queues a write.
    ///
    /// # Errors
    /// [`StoreError::Overloaded`] at once when the queue is full.
    fn submit(&self, job: Box<dyn WriteJob>) -> StoreResult<()>;
    /// Runs a read on a pooled connection, off the async threads.
    fn query(&self, job: ReadJob) -> BoxFuture<'_, StoreResult<()>>;
    /// A live or ended session and its user; from memory where it is known there.
    fn principal<'a>(&'a self, session: &'a SessionId) -> BoxFuture<'a, StoreResult<Option<Principal>>>;
    /// Grows by one whenever another process has written.
    fn foreign_writes(&self) -> u64;
    /// Moves the write-ahead log into the database.
    fn checkpoint(&self) -> BoxFuture<'_, StoreResult<()>>;
    /// Waits for the queued writes, then closes; writes that come later are refused.
    fn close(&self) -> BoxFuture<'_, ()>;
}

/// The store, as the flows hold it.
#[derive(Clone)]
pub struct Store {
    engine: Arc<dyn Engine>,
    failed_writes: Arc<AtomicU64>,
}

impl Store {
    /// Puts the seam before an engine.
    pub fn new(engine: Arc<dyn Engine>) -> Self {
        Self { engine, failed_writes: Arc::default() }
    }

    /// Runs `closure` in a transaction and answers after its commit. Once queued it runs even if the caller goes away.
    ///
    /// # Errors
    /// Any [`StoreError`]; then nothing that the closure wrote remains.
    pub async fn write<T, F>(&self, closure: F) -> StoreResult<T>
    where
        T: Send + 'static,
        F: FnOnce(&mut dyn Tx) -> StoreResult<T> + Send + 'static,
    {
        let (reply, answer) = tokio::sync::oneshot::channel();
        self.engine.submit(Box::new(Write { closure: Some(closure), outcome: None, reply }))?;
        let written = answer.await.unwrap_or(Err(StoreError::Unavailable));
        if matches!(written, Err(StoreError::Unavailable)) {
            self.failed_writes.fetch_add(1, Ordering::Relaxed);
        }
        written
    }

    /// Grows by one whenever a write finds the database unavailable.
    pub fn failed_writes(&self) -> u64 {
        self.failed_writes.load(Ordering::Relaxed)
    }

    /// Runs `closure` on a snapshot.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] if no connection can be had or the read fails.
    pub async fn read<T, F>(&self, closure: F) -> StoreResult<T>
    where
        T: Send + 'static,
        F: FnOnce(&dyn View) -> StoreResult<T> + Send + 'static,
    {
        let (reply, answer) = tokio::sync::oneshot::channel();
        self.engine.query(Box::new(move |view| drop(reply.send(closure(view))))).await?;
        answer.await.unwrap_or(Err(StoreError::Unavailable))
    }

    /// See [`Engine::principal`].
    pub async fn principal(&self, session: &SessionId) -> StoreResult<Option<Principal>> {
        self.engine.principal(session).await
    }

    /// See [`Engine::foreign_writes`].
    pub fn foreign_writes(&self) -> u64 {
        self.engine.foreign_writes()
    }

    /// See [`Engine::checkpoint`].
    pub async fn checkpoint(&self) -> StoreResult<()> {
        self.engine.checkpoint().await
    }

    /// See [`Engine::close`].
    pub async fn close(&self) {
        self.engine.close().await;
    }
}

struct Write<F, T> {
    closure: Option<F>,
    outcome: Option<T>,
    reply: tokio::sync::oneshot::Sender<StoreResult<T>>,
}

impl<F, T> WriteJob for Write<F, T>
where
    T: Send,
    F: FnOnce(&mut dyn Tx) -> StoreResult<T> + Send,
{
    fn run(&mut self, tx: &mut dyn Tx) -> StoreResult<()> {
        let closure = self.closure.take().ok_or(StoreError::Broken)?;
        self.outcome = Some(closure(tx)?);
        Ok(())
    }

    fn finish(self: Box<Self>, committed: StoreResult<()>) {
        let Self { outcome, reply, .. } = *self;
        // The flow may have gone away; the write stands all the same.
        drop(reply.send(committed.and_then(|()| outcome.ok_or(StoreError::Broken))));
    }
}
