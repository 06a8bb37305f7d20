-- From the third schema to the fourth. A server of the version before goes on beside it, and what it ends is told as well.

-- What takes rights away is told to all servers, whose memory may hold the row as it was: `s` and the id of a session, `u` and the id of
-- a user, on the channel that has the schema's name. What gives rights is not told, since whoever is to be refused is read again; so
-- logins and refreshes need not wait for the lock that a commit with notices takes.
CREATE FUNCTION session_is_told() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_notify(TG_TABLE_SCHEMA, 's' || old.id);
    RETURN NULL;
END $$;

CREATE TRIGGER session_end_is_told AFTER UPDATE ON sessions FOR EACH ROW
WHEN (old.ended_at IS NULL AND (
    new.ended_at IS NOT NULL OR new.user_id <> old.user_id OR new.refresh_expires_at < old.refresh_expires_at
)) EXECUTE FUNCTION session_is_told();

CREATE TRIGGER session_deletion_is_told AFTER DELETE ON sessions FOR EACH ROW
WHEN (old.ended_at IS NULL) EXECUTE FUNCTION session_is_told();

CREATE FUNCTION user_is_told() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_notify(TG_TABLE_SCHEMA, 'u' || old.id);
    RETURN NULL;
END $$;

CREATE TRIGGER user_change_is_told AFTER UPDATE ON users FOR EACH ROW
WHEN ((new.id, new.username, new.phone, new.role, new.attributes)
    IS DISTINCT FROM (old.id, old.username, old.phone, old.role, old.attributes)
    OR (old.is_active AND NOT new.is_active) OR (old.phone_verified AND NOT new.phone_verified)
    OR (old.foreign_tokens AND NOT new.foreign_tokens) OR (new.testing_only AND NOT old.testing_only)
    OR (new.deletes_at IS NOT NULL AND new.deletes_at IS DISTINCT FROM old.deletes_at)
) EXECUTE FUNCTION user_is_told();

CREATE TRIGGER user_deletion_is_told AFTER DELETE ON users FOR EACH ROW EXECUTE FUNCTION user_is_told();
