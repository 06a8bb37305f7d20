-- From the second schema to the third. Each change stands in schema.sql too.

-- A row that was replaced since it was read is not replaced again.
ALTER TABLE users ADD COLUMN version INTEGER NOT NULL DEFAULT 0;
ALTER TABLE sessions ADD COLUMN version INTEGER NOT NULL DEFAULT 0;
ALTER TABLE messages ADD COLUMN version INTEGER NOT NULL DEFAULT 0;
ALTER TABLE challenges ADD COLUMN version INTEGER NOT NULL DEFAULT 0;

-- Who sends a code, and what came of it. What is still being sent was sent by a run of the server that has ended.
ALTER TABLE challenges ADD COLUMN leader TEXT NOT NULL DEFAULT '';
ALTER TABLE challenges ADD COLUMN settled_at INTEGER;
ALTER TABLE challenges ADD COLUMN result TEXT CHECK (result IN
    ('accepted', 'unknown', 'refused', 'invalid_number', 'country_not_allowed', 'opted_out'));
ALTER TABLE challenges ADD COLUMN retry_after INTEGER;
UPDATE challenges SET settled_at = created_at,
    result = CASE state WHEN 'live' THEN 'accepted' WHEN 'used' THEN 'accepted' ELSE 'unknown' END
WHERE state <> 'sending';
DROP INDEX challenges_sending;
CREATE INDEX challenges_unsettled ON challenges (created_at) WHERE settled_at IS NULL;

-- Devices on which somebody has logged in ask for codes and guess by quotas of their own.
CREATE TABLE devices (
    id         TEXT    PRIMARY KEY,
    user_id    INTEGER NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    issued_at  INTEGER NOT NULL,
    expires_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX devices_user ON devices (user_id, issued_at);
CREATE INDEX devices_over ON devices (expires_at);
CREATE TABLE device_guesses (
    challenge_id INTEGER NOT NULL REFERENCES challenges (id) ON DELETE CASCADE,
    device_id    TEXT    NOT NULL,
    count        INTEGER NOT NULL,
    PRIMARY KEY (challenge_id, device_id)
) STRICT, WITHOUT ROWID;
ALTER TABLE sessions ADD COLUMN device_id TEXT;
ALTER TABLE challenges ADD COLUMN device_id TEXT;
ALTER TABLE challenges ADD COLUMN device_spend_id INTEGER;

-- What an app's own people note about a user.
ALTER TABLE users ADD COLUMN attributes TEXT;

-- A code for a change of number is bound to the user who wants the number; a change that is not proven by both numbers waits.
ALTER TABLE challenges ADD COLUMN change_of INTEGER REFERENCES users (id) ON DELETE CASCADE;
CREATE INDEX challenges_change ON challenges (change_of) WHERE change_of IS NOT NULL;
CREATE TABLE phone_changes (
    user_id       INTEGER PRIMARY KEY REFERENCES users (id) ON DELETE CASCADE,
    phone         TEXT    NOT NULL UNIQUE,
    effective_at  INTEGER NOT NULL,
    session_id    TEXT,
    key_number    INTEGER NOT NULL,
    cancel_hmac   BLOB    NOT NULL,
    wrong_cancels INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE INDEX phone_changes_due ON phone_changes (effective_at, user_id);

-- Users who asked for their deletion, until it is done; and what erasing a person looks for.
ALTER TABLE users ADD COLUMN deletes_at INTEGER;
CREATE INDEX users_to_delete ON users (deletes_at) WHERE deletes_at IS NOT NULL;
CREATE INDEX audit_masked ON audit (phone) WHERE phone IS NOT NULL AND phone_hash IS NULL;

-- What happened to users, for the webhooks; written in the transaction of the act, where a webhook is told of it.
CREATE TABLE events (
    id      INTEGER PRIMARY KEY AUTOINCREMENT, -- ascends as things happened
    name    TEXT    NOT NULL UNIQUE, -- the webhook-id
    kind    TEXT    NOT NULL,
    at      INTEGER NOT NULL,
    user_id INTEGER, -- whom it concerns, also when that user is gone; none where nobody knows
    data    TEXT -- what is told, as JSON; none where the user's id is all that is told, or left
) STRICT;

CREATE INDEX events_user ON events (user_id, id) WHERE user_id IS NOT NULL;

-- How each event stands with each webhook that is told of it.
CREATE TABLE deliveries (
    event_id   INTEGER NOT NULL REFERENCES events (id) ON DELETE CASCADE,
    webhook    TEXT    NOT NULL,
    queue      INTEGER NOT NULL, -- the user's id, or the event's made negative
    state      TEXT    NOT NULL DEFAULT 'waiting' CHECK (state IN ('waiting', 'delivered', 'dropped')),
    since      INTEGER NOT NULL, -- it waits since then
    attempts   INTEGER NOT NULL DEFAULT 0,
    answer     TEXT, -- what came of the last attempt
    settled_at INTEGER, -- when it was delivered or dropped
    PRIMARY KEY (event_id, webhook)
) STRICT, WITHOUT ROWID;

CREATE INDEX deliveries_queue ON deliveries (webhook, queue, event_id) WHERE state = 'waiting';
CREATE INDEX deliveries_since ON deliveries (webhook, since, event_id) WHERE state = 'waiting';
-- Maintenance looks for those that are over.
CREATE INDEX deliveries_over ON deliveries (settled_at) WHERE state <> 'waiting';

-- The queues in which events wait: for each webhook those of one user, of which the first is tried.
CREATE TABLE delivery_queues (
    webhook  TEXT    NOT NULL,
    queue    INTEGER NOT NULL,
    attempts INTEGER NOT NULL DEFAULT 0, -- at its first event
    due_at   INTEGER NOT NULL,
    tried_at INTEGER, -- when its first event was last tried
    PRIMARY KEY (webhook, queue)
) STRICT, WITHOUT ROWID;

CREATE INDEX delivery_queues_due ON delivery_queues (webhook, due_at);
CREATE INDEX delivery_queues_tried ON delivery_queues (webhook, tried_at) WHERE tried_at IS NOT NULL;

-- Webhooks that answered that they are gone.
CREATE TABLE webhooks_off (
    name  TEXT    PRIMARY KEY,
    since INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
