//! What is asked of the audit trail.

use std::ops::Range;

use super::error::StoreResult;
use crate::domain::audit::{AuditEvent, AuditRecord};
use crate::domain::tally::{Span, Tally};
use crate::domain::{Timestamp, UserId};

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

/// Which lines of the audit trail are wanted: those for which all of this holds.
#[derive(Clone, Debug)]
pub struct AuditSearch {
    /// About whom.
    pub of: AuditOf,
    /// What.
    pub event: Option<AuditEvent>,
    /// From where.
    pub ip: Option<String>,
    /// Of which request.
    pub request: Option<String>,
    /// Not before.
    pub since: Option<Timestamp>,
}

impl AuditSearch {
    /// Every line of these.
    pub fn all(of: &AuditOf) -> Self {
        Self { of: of.clone(), event: None, ip: None, request: None, since: None }
    }
}

/// Which of the lines come first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AuditOrder {
    /// The newest.
    NewestFirst,
    /// The oldest.
    OldestFirst,
}

/// Reads the audit trail.
#[expect(clippy::missing_errors_doc, reason = "a read fails where the database does, and nowhere else")]
pub trait ReadAudit {
    /// Lines with ids below `before`, the newest first, at most `rows`.
    fn audit_before(&self, of: &AuditOf, before: i64, rows: usize) -> StoreResult<Vec<AuditLine>> {
        self.search_audit(&AuditSearch::all(of), i64::MIN..before, AuditOrder::NewestFirst, rows)
    }
    /// Lines with ids above `after`, the oldest first, at most `rows`.
    fn audit_after(&self, of: &AuditOf, after: i64, rows: usize) -> StoreResult<Vec<AuditLine>> {
        let ids = after.saturating_add(1)..i64::MAX;
        self.search_audit(&AuditSearch::all(of), ids, AuditOrder::OldestFirst, rows)
    }
    /// Lines that are wanted, with ids in a range, at most `rows`.
    fn search_audit(
        &self,
        wanted: &AuditSearch,
        ids: Range<i64>,
        order: AuditOrder,
        rows: usize,
    ) -> StoreResult<Vec<AuditLine>>;
    /// How many lines are wanted, with ids in a range.
    fn count_audit(&self, wanted: &AuditSearch, ids: Range<i64>) -> StoreResult<usize>;
    /// What lines with ids in a range tell of a span.
    fn tally_audit(&self, span: Span, ids: Range<i64>) -> StoreResult<Tally>;
}

/// Writes the audit trail.
pub trait WriteAudit: ReadAudit {
    /// Appends lines, in one statement where they are few.
    ///
    /// # Errors
    /// Those of the database alone.
    fn audit(&mut self, records: &[AuditRecord]) -> StoreResult<()>;
    /// Takes the phone out of the lines of `user`, of those under `hashes`, and of those without a hash that sum refusals up and
    /// have it `masked`, if that is given, be it this phone or another that is masked alike; gives how many lines those were. The numbers that the
    /// user had before stand in the user's own lines: lines of nobody that name one, up to the user's last with it, are cleared
    /// as well.
    ///
    /// # Errors
    /// Those of the database alone.
    fn forget_phone(&mut self, user: UserId, hashes: &[[u8; 16]], masked: Option<&str>)
    -> StoreResult<usize>;
}
