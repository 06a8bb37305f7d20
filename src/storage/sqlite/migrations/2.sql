-- From the first schema to the second. Each change stands in schema.sql too.

-- Refresh tokens have a key of their own. Those of the sessions that stand were signed with the key of access tokens, up to
-- the generation at which each session is now.
ALTER TABLE sessions ADD COLUMN shared_key_until INTEGER;
UPDATE sessions SET shared_key_until = generation;

-- The clock. The newest line of the audit trail is of about the time at which the server last ran.
CREATE TABLE clock (
    id        INTEGER PRIMARY KEY CHECK (id = 1),
    wall      INTEGER NOT NULL,
    retention INTEGER NOT NULL,
    quiet     INTEGER NOT NULL
) STRICT;
INSERT INTO clock SELECT 1, at, at, 0 FROM audit ORDER BY id DESC LIMIT 1;

-- A unit of a quota is deleted once no window reaches it, not after a day.
CREATE INDEX spends_at ON spends (quota, at);

-- Deactivation ends sessions for good: those of users who are deactivated now would come back with them.
UPDATE sessions SET ended_at = last_used_at, end_reason = 'deactivated'
WHERE ended_at IS NULL AND user_id IN (SELECT id FROM users WHERE is_active = 0);
DROP INDEX sessions_over;
CREATE INDEX sessions_over ON sessions (
    CASE WHEN end_reason = 'deactivated' THEN refresh_expires_at ELSE ifnull(ended_at, refresh_expires_at) END,
    ended_at
);

-- Repetitions of old refresh tokens: from where, and how many are told.
ALTER TABLE sessions ADD COLUMN repeated_elsewhere INTEGER;
ALTER TABLE sessions ADD COLUMN replays_told_at INTEGER;
ALTER TABLE sessions ADD COLUMN replays_untold INTEGER NOT NULL DEFAULT 0;

-- Tokens without the configured iss and aud are good for as long as a refresh token lives after these were first seen.
CREATE TABLE token_names (
    claim TEXT    PRIMARY KEY CHECK (claim IN ('iss', 'aud')),
    name  TEXT    NOT NULL,
    since INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- Codes that were asked for and found no sender: its breaker was open, or no place was free. There is no message of them.
CREATE TABLE unsent (
    minute INTEGER NOT NULL, -- minutes since 1970
    why    TEXT    NOT NULL CHECK (why IN ('breaker_open', 'overloaded')),
    count  INTEGER NOT NULL,
    PRIMARY KEY (minute, why)
) STRICT, WITHOUT ROWID;

-- Who was only ever verified in the testing channel: registered there, and never logged in in production since.
ALTER TABLE users ADD COLUMN testing_only INTEGER NOT NULL DEFAULT 0 CHECK (testing_only IN (0, 1));
UPDATE users SET testing_only = 1
WHERE id IN (SELECT user_id FROM audit WHERE event = 'user_created' AND channel = 'testing')
AND id NOT IN (SELECT user_id FROM audit
    WHERE event = 'authn_login_success' AND channel = 'production' AND user_id IS NOT NULL);
