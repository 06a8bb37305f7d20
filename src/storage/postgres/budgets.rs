//! Rows of `budgets`.

use super::tx::{PostgresTx, first};
use crate::domain::Timestamp;
use crate::domain::budget::BudgetWindow;
use crate::storage::StoreResult;
use crate::storage::budgets::{ReadBudgets, WriteBudgets};
use crate::storage::columns::units;

const USED: &str = "SELECT used FROM budgets WHERE budget = $1 AND share = $2 AND since = $3";

const SPEND: &str = "INSERT INTO budgets (budget, share, since, used) SELECT $1, $2, $3::BIGINT, $4::BIGINT WHERE $4::BIGINT <= $5::BIGINT \
     ON CONFLICT (budget, share, since) DO UPDATE SET used = budgets.used + excluded.used \
     WHERE budgets.used + excluded.used <= $5::BIGINT RETURNING used";

const UNSPEND: &str =
    "UPDATE budgets SET used = greatest(used - $4, 0) WHERE budget = $1 AND share = $2 AND since = $3";

const WARN: &str =
    "UPDATE budgets SET warned = true WHERE budget = $1 AND share = $2 AND since = $3 AND NOT warned";

const PURGE: &str = "DELETE FROM budgets WHERE since <= $1";

impl ReadBudgets for PostgresTx<'_> {
    fn budget_used(&self, window: BudgetWindow) -> StoreResult<u64> {
        let BudgetWindow { budget, share, since } = window;
        let used = self.row(USED, &[&budget, &share, &since], first::<i64>)?;
        Ok(used.map(i64::unsigned_abs).unwrap_or_default())
    }
}

impl WriteBudgets for PostgresTx<'_> {
    fn spend_budget(&mut self, window: BudgetWindow, amount: u64, limit: u64) -> StoreResult<Option<u64>> {
        let BudgetWindow { budget, share, since } = window;
        let values = (units(amount), units(limit));
        let used = self.returning(SPEND, &[&budget, &share, &since, &values.0, &values.1], first::<i64>)?;
        Ok(used.first().copied().map(i64::unsigned_abs))
    }

    fn unspend_budget(&mut self, window: BudgetWindow, amount: u64) -> StoreResult<()> {
        let BudgetWindow { budget, share, since } = window;
        self.append(UNSPEND, &[&budget, &share, &since, &units(amount)])
    }

    fn warn_of_budget(&mut self, window: BudgetWindow) -> StoreResult<bool> {
        let BudgetWindow { budget, share, since } = window;
        Ok(self.write(WARN, &[&budget, &share, &since])? > 0)
    }
}

impl PostgresTx<'_> {
    /// Deletes windows that began at `before` or earlier.
    pub(super) fn purge_budgets(&self, before: Timestamp) -> StoreResult<()> {
        self.write(PURGE, &[&before]).map(drop)
    }
}
