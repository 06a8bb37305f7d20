//! What the operator asks of the store, beside the flows: reads that page, so that none holds a snapshot for long, and
//! writes of one slice each.
//!
//! Pages are filtered by whoever reads them: a page is a bounded piece of work, whatever is looked for.

use crate::domain::audit::AuditEvent;
use crate::domain::message::{Message, UnsentCount};
use crate::domain::quota::Quota;
use crate::domain::{
    Challenge, ChallengeId, MessageId, PhoneNumber, Session, SessionId, SpendId, TestNumber, Timestamp, User,
    UserId,
};
use crate::storage::StoreResult;

/// A line of the audit trail, read back.
#[derive(Clone, Debug)]
pub struct AuditLine {
    /// Ascending in the order of writing.
    pub id: i64,
    /// When.
    pub at: Timestamp,
    /// What.
    pub event: AuditEvent,
    /// `production` or `testing`, where that means something.
    pub mode: Option<String>,
    /// Whom it concerns.
    pub user: Option<UserId>,
    /// The masked phone.
    pub phone: Option<String>,
    /// From where.
    pub ip: Option<String>,
    /// Which session.
    pub session: Option<String>,
    /// The request that did it.
    pub request_id: Option<String>,
    /// More, in a few words.
    pub detail: Option<String>,
}

/// Which lines of the audit trail; each is found by an index.
#[derive(Clone, Debug)]
pub enum AuditOf {
    /// All.
    Everybody,
    /// Those about a user.
    User(UserId),
    /// Those about a phone, by its keyed hash.
    Phone([u8; 16]),
}

/// A unit in the ledger.
#[derive(Clone, Debug)]
pub struct Spend {
    /// Ascending in the order of spending.
    pub id: SpendId,
    /// Of which quota.
    pub quota: Quota,
    /// By whom: an address or a phone.
    pub subject: String,
    /// When.
    pub at: Timestamp,
}

/// A user as another system had it.
#[derive(Clone, Debug)]
pub struct ImportedUser {
    /// Kept; where there is none, one above the highest is given.
    pub id: Option<UserId>,
    /// Unique; derived from the phone where there is none.
    pub username: Option<String>,
    /// Unique.
    pub phone: PhoneNumber,
    /// One of `users.roles`.
    pub role: String,
    /// Whether the user may log in.
    pub is_active: bool,
    /// Whether the number was proven there.
    pub phone_verified: bool,
    /// When the user joined there.
    pub joined_at: Timestamp,
}

/// How many rows went.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Erased {
    /// Sessions.
    pub sessions: usize,
    /// Codes, and with them their messages.
    pub challenges: usize,
    /// Units in the ledger.
    pub spends: usize,
    /// Lines of the audit trail that no longer name the phone.
    pub audit: usize,
}

/// What the operator reads. A page holds at most `rows` rows; the next begins after (or before) its last.
pub trait OperatorView {
    /// The user with this name.
    fn user_by_username(&self, username: &str) -> StoreResult<Option<User>>;
    /// Users in the order of their ids.
    fn users_after(&self, after: UserId, rows: usize) -> StoreResult<Vec<User>>;
    /// The highest id that a user was ever given, or that is kept from being given: new ones are above it.
    fn last_user_id(&self) -> StoreResult<Option<UserId>>;
    /// Sessions in the order of their ids, ended or not.
    fn sessions_after(&self, after: Option<&SessionId>, rows: usize) -> StoreResult<Vec<Session>>;
    /// Challenges, the newest first.
    fn challenges_before(&self, before: ChallengeId, rows: usize) -> StoreResult<Vec<Challenge>>;
    /// Messages, the newest first, each with whether its code was used.
    fn messages_before(&self, before: MessageId, rows: usize) -> StoreResult<Vec<(Message, bool)>>;
    /// How often codes found no sender since `since`, by minute and reason, the oldest first.
    fn unsent_since(&self, since: Timestamp) -> StoreResult<Vec<UnsentCount>>;
    /// Lines of the audit trail, the newest first.
    fn audit_before(&self, of: &AuditOf, before: i64, rows: usize) -> StoreResult<Vec<AuditLine>>;
    /// Lines of the audit trail, the oldest first.
    fn audit_after(&self, of: &AuditOf, after: i64, rows: usize) -> StoreResult<Vec<AuditLine>>;
    /// Units in the ledger, in the order of spending.
    fn spends_after(&self, after: SpendId, rows: usize) -> StoreResult<Vec<Spend>>;
    /// Every test number, in the order of the phones.
    fn test_numbers(&self) -> StoreResult<Vec<TestNumber>>;
    /// Refusals since `since` that are counted, but not yet told by a line of the audit trail.
    fn untold_refusals(&self, since: Timestamp) -> StoreResult<u64>;
}

/// What the operator writes.
pub trait OperatorTx: OperatorView {
    /// Writes a user as another system had it; `None` if its id, name or phone is taken. Upkeep counts from `at`
    /// how long it stays unverified.
    fn import_user(&mut self, user: &ImportedUser, at: Timestamp) -> StoreResult<Option<UserId>>;
    /// New users' ids are above `id` from now on.
    fn raise_user_ids(&mut self, id: UserId) -> StoreResult<()>;
    /// Deletes a user and its sessions; gives how many sessions those were, `None` without such a user.
    fn delete_user(&mut self, id: UserId) -> StoreResult<Option<usize>>;
    /// Deletes what is known of a phone, and takes it out of the audit lines of `user` and of those under `hashes`.
    fn erase_phone(&mut self, user: UserId, phone: &PhoneNumber, hashes: &[[u8; 16]]) -> StoreResult<Erased>;
    /// Forgets what a subject has spent and was refused; gives the units and the refusals.
    fn reset_limits(&mut self, subject: &str) -> StoreResult<(usize, usize)>;
    /// Keeps a test number, in the place of an earlier one with its phone.
    fn keep_test_number(&mut self, number: &TestNumber) -> StoreResult<()>;
    /// Deletes a test number.
    fn forget_test_number(&mut self, phone: &PhoneNumber) -> StoreResult<()>;
    /// Deletes codes made before `before` that cannot be given any more at `now`, and their messages; looks at `rows`
    /// after `after` at most. Gives how many went, and where to go on.
    fn purge_codes(
        &mut self,
        before: Timestamp,
        now: Timestamp,
        after: ChallengeId,
        rows: usize,
    ) -> StoreResult<(usize, Option<ChallengeId>)>;
}
