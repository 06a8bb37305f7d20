//! What is asked of the budgets: how much of each hour and day is spent.

use super::error::StoreResult;
use crate::domain::budget::BudgetWindow;

/// Reads budgets.
#[expect(clippy::missing_errors_doc, reason = "a read fails where the database does, and nowhere else")]
pub trait ReadBudgets {
    /// How much of a window is spent.
    fn budget_used(&self, window: BudgetWindow) -> StoreResult<u64>;
}

/// Writes budgets. A window belongs to nobody, so no lock covers it: each method is one statement, and exact. With several
/// connections that write, whoever spends from a window waits for the commit of whoever did before.
#[expect(clippy::missing_errors_doc, reason = "a write fails where the database does, and nowhere else")]
pub trait WriteBudgets: ReadBudgets {
    /// Spends so much, unless that would be more than `limit` in all; gives how much is spent then.
    fn spend_budget(&mut self, window: BudgetWindow, units: u64, limit: u64) -> StoreResult<Option<u64>>;
    /// Gives so much back.
    fn unspend_budget(&mut self, window: BudgetWindow, units: u64) -> StoreResult<()>;
    /// Notes that a warning about a window is given; false where one was before.
    fn warn_of_budget(&mut self, window: BudgetWindow) -> StoreResult<bool>;
}
