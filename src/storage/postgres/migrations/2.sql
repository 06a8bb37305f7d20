-- From the first schema to the second. A server of the version before goes on beside it: it knows none of the columns, and
-- each has a default.

-- A dormant account gives its number up, and is known by when its sessions that are gone were last used.
ALTER TABLE users ALTER COLUMN phone DROP NOT NULL;
ALTER TABLE users ADD COLUMN last_seen_at BIGINT;
