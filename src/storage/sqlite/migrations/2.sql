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
