-- From the second schema to the third. A server of the version before goes on beside it.

-- Calls have a budget of their own.
ALTER TABLE budgets DROP CONSTRAINT budgets_budget_check;
ALTER TABLE budgets ADD CONSTRAINT budgets_budget_check CHECK (budget IN ('hour', 'day', 'money', 'voice'));
