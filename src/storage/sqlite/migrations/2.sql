-- From the first schema to the second. Each change stands in schema.sql too.

-- Refresh tokens have a key of their own. Those of the sessions that stand were signed with the key of access tokens, up to
-- the generation at which each session is now.
ALTER TABLE sessions ADD COLUMN shared_key_until INTEGER;
UPDATE sessions SET shared_key_until = generation;
