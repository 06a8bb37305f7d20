-- From the second schema to the third. A server of the version before goes on beside it.

-- Calls have a budget of their own.
ALTER TABLE budgets DROP CONSTRAINT budgets_budget_check;
ALTER TABLE budgets ADD CONSTRAINT budgets_budget_check CHECK (budget IN ('hour', 'day', 'money', 'voice'));

-- When somebody last said that a backup was made (`freshk db backup-stamp`): the host of the database makes them.
CREATE TABLE backup_stamp (
    id BIGINT PRIMARY KEY CHECK (id = 1),
    at BIGINT NOT NULL
);

-- What an ACME client keeps for all servers: certificate and key, account, attempts, open questions; and who may order until when.
CREATE TABLE acme (
    name  TEXT   COLLATE "C" PRIMARY KEY,
    text  TEXT   NOT NULL,
    until BIGINT NOT NULL DEFAULT 0 -- of the lease
);
