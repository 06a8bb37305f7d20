//! Rows of `budgets`.

use rusqlite::{Connection, OptionalExtension as _, params};

use super::tx::SqliteTx;
use crate::domain::Timestamp;
use crate::domain::budget::BudgetWindow;
use crate::storage::StoreResult;
use crate::storage::budgets::{ReadBudgets, WriteBudgets};
use crate::storage::columns::units;

const USED: &str = "SELECT used FROM budgets WHERE budget = ?1 AND share = ?2 AND since = ?3";

const SPEND: &str = "INSERT INTO budgets (budget, share, since, used) SELECT ?1, ?2, ?3, ?4 WHERE ?4 <= ?5 \
     ON CONFLICT (budget, share, since) DO UPDATE SET used = used + excluded.used \
     WHERE used + excluded.used <= ?5 RETURNING used";

const UNSPEND: &str =
    "UPDATE budgets SET used = max(used - ?4, 0) WHERE budget = ?1 AND share = ?2 AND since = ?3";

const WARN: &str =
    "UPDATE budgets SET warned = 1 WHERE budget = ?1 AND share = ?2 AND since = ?3 AND warned = 0";

const PURGE: &str = "DELETE FROM budgets WHERE since <= ?1";

impl ReadBudgets for SqliteTx<'_> {
    fn budget_used(&self, window: BudgetWindow) -> StoreResult<u64> {
        let BudgetWindow { budget, share, since } = window;
        let of = params![budget, share, since];
        let used: Option<i64> =
            self.run(|conn| conn.prepare_cached(USED)?.query_row(of, |row| row.get(0)).optional())?;
        Ok(used.map(i64::unsigned_abs).unwrap_or_default())
    }
}

impl WriteBudgets for SqliteTx<'_> {
    fn spend_budget(&mut self, window: BudgetWindow, amount: u64, limit: u64) -> StoreResult<Option<u64>> {
        let BudgetWindow { budget, share, since } = window;
        let values = params![budget, share, since, units(amount), units(limit)];
        let used: Option<i64> =
            self.run(|conn| conn.prepare_cached(SPEND)?.query_row(values, |row| row.get(0)).optional())?;
        Ok(used.map(i64::unsigned_abs))
    }

    fn unspend_budget(&mut self, window: BudgetWindow, amount: u64) -> StoreResult<()> {
        let BudgetWindow { budget, share, since } = window;
        let values = params![budget, share, since, units(amount)];
        self.run(|conn| conn.prepare_cached(UNSPEND)?.execute(values).map(drop))
    }

    fn warn_of_budget(&mut self, window: BudgetWindow) -> StoreResult<bool> {
        let BudgetWindow { budget, share, since } = window;
        let of = params![budget, share, since];
        self.run(|conn| Ok(conn.prepare_cached(WARN)?.execute(of)? > 0))
    }
}

/// Deletes windows that began at `before` or earlier.
pub(super) fn purge(conn: &Connection, before: Timestamp) -> rusqlite::Result<()> {
    conn.prepare_cached(PURGE)?.execute([before]).map(drop)
}
