-- From the fourth schema to the fifth. Each change stands in schema.sql too.

-- Calls have a budget of their own.
CREATE TABLE budgets_5 (
    budget TEXT    NOT NULL CHECK (budget IN ('hour', 'day', 'money', 'voice')),
    share  TEXT    NOT NULL CHECK (share IN ('all', 'verified')),
    since  INTEGER NOT NULL, -- when the hour or the day begins
    used   INTEGER NOT NULL, -- messages, calls, or millionths
    warned INTEGER NOT NULL DEFAULT 0 CHECK (warned IN (0, 1)), -- whether somebody was told that most is spent
    PRIMARY KEY (budget, share, since)
) STRICT, WITHOUT ROWID;
INSERT INTO budgets_5 (budget, share, since, used, warned) SELECT budget, share, since, used, warned FROM budgets;
DROP TABLE budgets;
ALTER TABLE budgets_5 RENAME TO budgets;
