//! An open transaction. What is read and written through it stands beside the SQL of each table.

use std::cell::{Cell, RefCell};

use postgres_types::FromSqlOwned;

use super::connection::{Connection, Params};
use super::fault::{Failure, fault};
use super::ids::{self, Drawn, Sequence};
use super::row::{Row, RowError};
use crate::domain::{ChallengeId, Session, SessionId, Timestamp};
use crate::storage::cache::Touched;
use crate::storage::columns::count;
use crate::storage::{StoreError, StoreResult};

/// How a row is read.
pub(super) type Read<T> = fn(&Row) -> Result<T, RowError>;

/// A row that this transaction wrote and no other can have: where it is found, the transaction was committed.
#[derive(Clone, Debug)]
pub(super) enum Witness {
    /// A challenge, by the hash of its code.
    Challenge(ChallengeId, Vec<u8>),
    /// A session at a generation, by the `jti` of its refresh token.
    Session(SessionId, String),
    /// A line of the audit trail.
    Audit(i64, Timestamp, Option<String>),
}

/// One connection's open transaction; implements the traits of the seam.
pub(super) struct PostgresTx<'c> {
    conn: &'c Connection,
    /// An error aborts a transaction of `PostgreSQL`: from then on nothing in it counts.
    failed: Cell<Option<StoreError>>,
    /// Whether it may succeed in another run.
    may_pass: Cell<bool>,
    wrote: Cell<bool>,
    witness: RefCell<Option<Witness>>,
    /// The session that was replaced last: a witness only if its refresh token is a new one.
    replaced: RefCell<Option<Witness>>,
    rotated: Cell<bool>,
    /// Rows changed so far that memory may hold.
    touched: Touched,
    /// The highest id that an import brought; new users' ids are above it once this is committed.
    imported: Cell<i64>,
    drawn: RefCell<Drawn>,
}

impl<'c> PostgresTx<'c> {
    /// On a connection whose transaction has begun.
    pub(super) fn new(conn: &'c Connection) -> Self {
        Self {
            conn,
            failed: Cell::new(None),
            may_pass: Cell::new(false),
            wrote: Cell::new(false),
            witness: RefCell::new(None),
            replaced: RefCell::new(None),
            rotated: Cell::new(false),
            touched: Touched::default(),
            imported: Cell::new(0),
            drawn: RefCell::default(),
        }
    }

    /// What kept the transaction from going on, whatever the closure made of it.
    pub(super) fn failure(&self) -> Option<StoreError> {
        self.failed.get()
    }

    /// Whether that was for another transaction's sake, or the connection's fault.
    pub(super) fn may_pass(&self) -> bool {
        self.may_pass.get()
    }

    /// Whether anything was written.
    pub(super) fn wrote(&self) -> bool {
        self.wrote.get()
    }

    /// What to look for where the answer to the commit is lost.
    pub(super) fn witness(&self) -> Option<Witness> {
        let rotated = self.replaced.borrow().clone().filter(|_| self.rotated.get());
        rotated.or_else(|| self.witness.borrow().clone())
    }

    /// The rows changed so far that memory may hold.
    pub(super) fn touched(&mut self) -> &mut Touched {
        &mut self.touched
    }

    /// What memory must learn once this is committed.
    pub(super) fn into_touched(self) -> Touched {
        self.touched
    }

    /// Notes that a session was replaced.
    pub(super) fn note_replaced(&self, session: &Session) {
        *self.replaced.borrow_mut() = Some(Witness::Session(session.id.clone(), session.jti.clone()));
    }

    /// Notes that the session that is replaced in this transaction gets a new refresh token.
    pub(super) fn note_rotated(&self) {
        self.rotated.set(true);
    }

    /// Notes a row to look for; a line of the audit trail only where there is nothing better.
    pub(super) fn note_witness(&self, witness: Witness) {
        let mut noted = self.witness.borrow_mut();
        if noted.is_none() || !matches!(witness, Witness::Audit(..)) {
            *noted = Some(witness);
        }
    }

    /// The highest id of a user that this transaction brought.
    pub(super) fn imported(&self) -> i64 {
        self.imported.get()
    }

    /// Notes that a user has an id of its own.
    pub(super) fn note_imported(&self, id: i64) {
        self.imported.set(self.imported.get().max(id));
    }

    /// Asks the connection, unless an earlier statement has failed.
    pub(super) fn run<T>(&self, act: impl FnOnce(&Connection) -> Result<T, Failure>) -> StoreResult<T> {
        if let Some(fault) = self.failed.get() {
            return Err(fault);
        }
        act(self.conn).map_err(|failure| {
            let fault = fault(&failure);
            self.failed.set(Some(fault));
            self.may_pass.set(failure.may_pass());
            fault
        })
    }

    /// Reads rows.
    pub(super) fn rows<T>(
        &self,
        sql: &'static str,
        params: Params<'_>,
        read: Read<T>,
    ) -> StoreResult<Vec<T>> {
        self.run(|conn| {
            let rows = conn.rows(sql, params)?;
            rows.iter().map(read).collect::<Result<_, _>>().map_err(Failure::Row)
        })
    }

    /// Reads the first row.
    pub(super) fn row<T>(
        &self,
        sql: &'static str,
        params: Params<'_>,
        read: Read<T>,
    ) -> StoreResult<Option<T>> {
        self.run(|conn| {
            let rows = conn.rows(sql, params)?;
            rows.first().map(read).transpose().map_err(Failure::Row)
        })
    }

    /// Writes, and gives what the statement returns.
    pub(super) fn returning<T>(
        &self,
        sql: &'static str,
        params: Params<'_>,
        read: Read<T>,
    ) -> StoreResult<Vec<T>> {
        self.note_write(sql);
        self.rows(sql, params, read)
    }

    /// Writes with each of several sets of parameters, and gives what the statement returns.
    pub(super) fn write_all<T>(
        &self,
        sql: &'static str,
        params: &[Params<'_>],
        read: Read<T>,
    ) -> StoreResult<Vec<T>> {
        self.note_write(sql);
        self.rows_of_all(sql, params, read)
    }

    /// Reads rows with each of several sets of parameters.
    pub(super) fn rows_of_all<T>(
        &self,
        sql: &'static str,
        params: &[Params<'_>],
        read: Read<T>,
    ) -> StoreResult<Vec<T>> {
        self.run(|conn| {
            let rows = conn.rows_of_all(sql, params)?;
            rows.iter().map(read).collect::<Result<_, _>>().map_err(Failure::Row)
        })
    }

    /// Takes the lock of whoever deletes what is no longer needed; not where another node has it.
    pub(super) fn try_lock_maintenance(&self) -> StoreResult<bool> {
        const TRY_LOCK: &str = "SELECT pg_try_advisory_xact_lock($1)";
        Ok(self.row(TRY_LOCK, &[&self.conn.keys().maintenance()], first)?.unwrap_or_default())
    }

    /// Writes; gives how many rows were.
    pub(super) fn write(&self, sql: &'static str, params: Params<'_>) -> StoreResult<usize> {
        self.note_write(sql);
        let changed = self.run(|conn| conn.execute(sql, params))?;
        Ok(usize::try_from(changed).unwrap_or(usize::MAX))
    }

    /// Writes, and asks nothing of it: it travels with what comes next, the end of the transaction perhaps, which fails if
    /// this does.
    pub(super) fn append(&self, sql: &'static str, params: Params<'_>) -> StoreResult<()> {
        self.note_write(sql);
        self.run(|conn| conn.queue(sql, params))
    }

    /// The same for a row that must be there, and only it.
    pub(super) fn write_one(&self, sql: &'static str, params: Params<'_>) -> StoreResult<()> {
        self.note_write(sql);
        self.run(|conn| conn.queue_one(sql, params))
    }

    /// Whether there is a row to look for that tells more than a line of the audit trail.
    pub(super) fn has_witness(&self) -> bool {
        !matches!(&*self.witness.borrow(), None | Some(Witness::Audit(..))) || self.rotated.get()
    }

    /// The same for a row of one subject, which changes nothing that was asked ahead about others.
    pub(super) fn append_of(&self, subject: &str, sql: &'static str, params: Params<'_>) -> StoreResult<()> {
        self.wrote.set(true);
        self.conn.note_change(sql, Some(subject));
        self.run(|conn| conn.queue(sql, params))
    }

    /// The id of a row that will be written.
    pub(super) fn next_id(&self, sequence: Sequence) -> StoreResult<i64> {
        if let Some(drawn) = self.drawn.borrow_mut().take(sequence) {
            return Ok(drawn);
        }
        self.row(sequence.next(), &[], first)?.ok_or(StoreError::Broken)
    }

    /// Draws ids that [`Self::next_id`] gives.
    pub(super) fn draw_ids(&self, units: usize, of_code: bool) -> StoreResult<()> {
        type Ids = (Vec<i64>, Option<i64>, Option<i64>);
        let read =
            |row: &Row| -> Result<Ids, RowError> { Ok((row.try_get(0)?, row.try_get(1)?, row.try_get(2)?)) };
        let (units, challenge, message) =
            self.row(ids::DRAW, &[&count(units), &of_code], read)?.ok_or(StoreError::Broken)?;
        let mut drawn = self.drawn.borrow_mut();
        drawn.add(Sequence::Spends, units);
        drawn.add(Sequence::Challenges, challenge);
        drawn.add(Sequence::Messages, message);
        Ok(())
    }

    /// Draws an id that [`Self::drawn_line`] gives.
    pub(super) fn draw_line(&self) -> StoreResult<()> {
        let line = self.row(Sequence::Audit.next(), &[], first)?;
        self.drawn.borrow_mut().add(Sequence::Audit, line);
        Ok(())
    }

    /// The id for a line of the audit trail that was drawn for it.
    pub(super) fn drawn_line(&self) -> Option<i64> {
        self.drawn.borrow_mut().take(Sequence::Audit)
    }

    fn note_write(&self, sql: &str) {
        self.wrote.set(true);
        self.conn.note_change(sql, None);
    }

    /// Runs statements without parameters.
    pub(super) fn batch(&self, sql: &str) -> StoreResult<()> {
        self.note_write(sql);
        self.run(|conn| conn.batch(sql))
    }
}

/// The first column.
pub(super) fn first<T: FromSqlOwned>(row: &Row) -> Result<T, RowError> {
    row.try_get(0)
}
