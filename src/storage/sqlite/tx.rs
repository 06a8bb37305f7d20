//! An open transaction. What is read and written through it stands beside the SQL of each table.

use rusqlite::Connection;

use super::fault::fault;
use crate::storage::ahead::{ReadAhead, Wanted};
use crate::storage::cache::Touched;
use crate::storage::{Locks, StoreError, StoreResult};

/// One connection's open transaction; implements the traits of the seam.
pub(super) struct SqliteTx<'c> {
    conn: &'c Connection,
    touched: Touched,
    /// Whether a statement of the write that runs may have been done by half.
    is_torn: bool,
    /// The locks of the write that runs, in debug builds: one write runs at a time, so that they are held against what it
    /// replaces and nothing else.
    declared: Option<Locks>,
}

impl<'c> SqliteTx<'c> {
    /// On a connection whose transaction has begun.
    pub(super) fn new(conn: &'c Connection) -> Self {
        Self { conn, touched: Touched::default(), is_torn: false, declared: None }
    }

    /// Another write begins.
    pub(super) fn begin(&mut self, locks: &Locks) {
        self.is_torn = false;
        if cfg!(debug_assertions) {
            self.declared = Some(locks.clone());
        }
    }

    /// Runs a statement of which some may stay where it fails: the write that it belongs to must fail then.
    pub(super) fn run_torn(
        &mut self,
        act: impl FnOnce(&Connection) -> rusqlite::Result<()>,
    ) -> StoreResult<()> {
        let done = self.run(act);
        self.is_torn |= done.is_err();
        done
    }

    /// A fault where the write that runs must fail, whatever it says itself.
    pub(super) const fn wholeness(&self) -> StoreResult<()> {
        if self.is_torn { Err(StoreError::Broken) } else { Ok(()) }
    }

    /// Holds a change against the locks of the write that makes it.
    pub(super) fn assert_locked(&self, what: &str, covers: impl FnOnce(&Locks) -> bool) {
        debug_assert!(self.declared.as_ref().is_none_or(covers), "{what} is changed without its lock");
    }

    /// What the cache must learn once this is committed.
    pub(super) fn into_touched(self) -> Touched {
        self.touched
    }

    /// The rows changed so far that the cache may hold.
    pub(super) fn touched(&mut self) -> &mut Touched {
        &mut self.touched
    }

    /// Reads or writes, unless the transaction is gone: a full disk ends it in the middle of a closure, and what the
    /// closure did next would be a transaction of its own.
    pub(super) fn run<T>(&self, act: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> StoreResult<T> {
        if self.conn.is_autocommit() {
            return Err(StoreError::Unavailable);
        }
        act(self.conn).map_err(|error| fault(&error))
    }
}

/// The file is at hand: to ask later costs no more.
impl ReadAhead for SqliteTx<'_> {
    fn read_ahead<'w>(&self, _: &dyn Fn() -> Vec<Wanted<'w>>) -> StoreResult<()> {
        Ok(())
    }
}
