-- From the fifth schema to the sixth. Each change stands in schema.sql too.

-- Checks name words one by one: for IN with more than two of them SQLite builds a table in memory at every write of a row.

CREATE TABLE challenges_6 (
    id          INTEGER PRIMARY KEY AUTOINCREMENT,
    channel     TEXT    NOT NULL CHECK (channel IN ('production', 'testing')),
    phone       TEXT    NOT NULL,
    key_number  INTEGER NOT NULL, -- which secret's key made the HMAC
    code_hmac   BLOB    NOT NULL, -- HMAC-SHA-256(key, id || phone || 0 || code); of a change, "change" || user before the code
    state       TEXT    NOT NULL CHECK (state = 'sending' OR state = 'live' OR state = 'unknown' OR state = 'used'
        OR state = 'void'),
    attempts    INTEGER NOT NULL DEFAULT 0, -- wrong guesses
    created_at  INTEGER NOT NULL,
    expires_at  INTEGER NOT NULL,
    spend_id    INTEGER, -- the unit of the phone's quota that it cost
    device_id   TEXT, -- the device that asked for it; none where the call had no token of one
    device_spend_id INTEGER, -- the unit of that device's quota that it cost
    change_of   INTEGER REFERENCES users (id) ON DELETE CASCADE, -- the user who wants the number; none for a login
    used_at     INTEGER,
    session_id  TEXT, -- the session that its use opened
    idempotency BLOB, -- HMAC of the Idempotency-Key that came with its use
    leader      TEXT    NOT NULL DEFAULT '', -- the run of the server whose call sends it
    settled_at  INTEGER, -- when it was written what came of the sending
    result      TEXT CHECK (result = 'accepted' OR result = 'unknown' OR result = 'refused' OR result = 'invalid_number'
        OR result = 'country_not_allowed' OR result = 'opted_out'),
    retry_after INTEGER, -- milliseconds after which the call was told to try again
    delivery_id TEXT, -- what finds the state of its delivery
    asked_channel TEXT, -- what the code was asked for by; none where the order of the senders decides
    version     INTEGER NOT NULL DEFAULT 0 -- how often the row was replaced
) STRICT;
INSERT INTO challenges_6 (id, channel, phone, key_number, code_hmac, state, attempts, created_at, expires_at, spend_id,
        device_id, device_spend_id, change_of, used_at, session_id, idempotency, leader, settled_at, result,
        retry_after, delivery_id, asked_channel, version)
    SELECT id, channel, phone, key_number, code_hmac, state, attempts, created_at, expires_at, spend_id, device_id,
        device_spend_id, change_of, used_at, session_id, idempotency, leader, settled_at, result, retry_after,
        delivery_id, asked_channel, version FROM challenges;
-- Ids of rows that are gone are not given again.
INSERT INTO sqlite_sequence (name, seq) SELECT 'challenges_6', 0
    WHERE NOT EXISTS (SELECT 1 FROM sqlite_sequence WHERE name = 'challenges_6');
UPDATE sqlite_sequence SET seq = (SELECT max(seq) FROM sqlite_sequence WHERE name IN ('challenges', 'challenges_6'))
    WHERE name = 'challenges_6';
DROP TABLE challenges;
ALTER TABLE challenges_6 RENAME TO challenges;
CREATE INDEX challenges_phone ON challenges (phone, channel, id);
CREATE INDEX challenges_unsettled ON challenges (created_at) WHERE settled_at IS NULL;
CREATE UNIQUE INDEX challenges_delivery ON challenges (delivery_id) WHERE delivery_id IS NOT NULL;
CREATE INDEX challenges_change ON challenges (change_of) WHERE change_of IS NOT NULL;

CREATE TABLE messages_6 (
    id           INTEGER PRIMARY KEY AUTOINCREMENT,
    challenge_id INTEGER NOT NULL REFERENCES challenges (id) ON DELETE CASCADE,
    phone        TEXT    NOT NULL,
    sid          TEXT, -- the provider's name for it
    state        TEXT    NOT NULL CHECK (state = 'intended' OR state = 'unknown' OR state = 'queued' OR state = 'sending'
        OR state = 'sent' OR state = 'delivered' OR state = 'undelivered' OR state = 'failed'),
    error_code   INTEGER,
    segments     INTEGER NOT NULL,
    created_at   INTEGER NOT NULL,
    updated_at   INTEGER NOT NULL,
    version      INTEGER NOT NULL DEFAULT 0, -- how often the row was replaced
    sender       TEXT    NOT NULL DEFAULT 'twilio', -- whose name the configuration has
    via_channel  TEXT    NOT NULL DEFAULT 'sms' -- what it comes by
) STRICT;
INSERT INTO messages_6 (id, challenge_id, phone, sid, state, error_code, segments, created_at, updated_at, version,
        sender, via_channel)
    SELECT id, challenge_id, phone, sid, state, error_code, segments, created_at, updated_at, version, sender,
        via_channel FROM messages;
-- Ids of rows that are gone are not given again.
INSERT INTO sqlite_sequence (name, seq) SELECT 'messages_6', 0
    WHERE NOT EXISTS (SELECT 1 FROM sqlite_sequence WHERE name = 'messages_6');
UPDATE sqlite_sequence SET seq = (SELECT max(seq) FROM sqlite_sequence WHERE name IN ('messages', 'messages_6'))
    WHERE name = 'messages_6';
DROP TABLE messages;
ALTER TABLE messages_6 RENAME TO messages;
CREATE UNIQUE INDEX messages_sid ON messages (sid) WHERE sid IS NOT NULL;
CREATE INDEX messages_challenge ON messages (challenge_id);

CREATE TABLE purchases_6 (
    challenge_id INTEGER PRIMARY KEY,
    at           INTEGER NOT NULL,
    country      TEXT    NOT NULL, -- ISO code; ZZ where no country has the number
    standing     TEXT    NOT NULL CHECK (standing = 'known' OR standing = 'trusted' OR standing = 'stranger'),
    network      TEXT, -- of the address that asked: a /24, or a /48 of IPv6
    range        TEXT, -- the number without its last three digits
    cost         INTEGER NOT NULL, -- in millionths
    charges      TEXT    NOT NULL, -- from which windows of budgets: budget share since units, with commas between
    converted_at INTEGER -- when the code was the first to verify its number
) STRICT;
INSERT INTO purchases_6 (challenge_id, at, country, standing, network, range, cost, charges, converted_at)
    SELECT challenge_id, at, country, standing, network, range, cost, charges, converted_at FROM purchases;
DROP TABLE purchases;
ALTER TABLE purchases_6 RENAME TO purchases;
CREATE INDEX purchases_network ON purchases (network, at) WHERE network IS NOT NULL;
CREATE INDEX purchases_range ON purchases (range, at) WHERE range IS NOT NULL;
CREATE INDEX purchases_country ON purchases (country, at, converted_at) WHERE standing = 'stranger';
CREATE INDEX purchases_stranger ON purchases (at, converted_at) WHERE standing = 'stranger';
CREATE INDEX purchases_converted ON purchases (converted_at, country) WHERE converted_at IS NOT NULL;

CREATE TABLE refused_attempts_6 (
    id    INTEGER PRIMARY KEY AUTOINCREMENT,
    scope TEXT    NOT NULL CHECK (scope = 'network' OR scope = 'range' OR scope = 'country' OR scope = 'world'),
    key   TEXT    NOT NULL, -- which network, range or country; nothing where all is held back
    at    INTEGER NOT NULL
) STRICT;
INSERT INTO refused_attempts_6 (id, scope, key, at)
    SELECT id, scope, key, at FROM refused_attempts;
-- Ids of rows that are gone are not given again.
INSERT INTO sqlite_sequence (name, seq) SELECT 'refused_attempts_6', 0
    WHERE NOT EXISTS (SELECT 1 FROM sqlite_sequence WHERE name = 'refused_attempts_6');
UPDATE sqlite_sequence SET seq = (SELECT max(seq) FROM sqlite_sequence WHERE name IN ('refused_attempts', 'refused_attempts_6'))
    WHERE name = 'refused_attempts_6';
DROP TABLE refused_attempts;
ALTER TABLE refused_attempts_6 RENAME TO refused_attempts;
CREATE INDEX refused_attempts_key ON refused_attempts (scope, key, at);

CREATE TABLE blocks_6 (
    scope    TEXT    NOT NULL CHECK (scope = 'network' OR scope = 'range' OR scope = 'country' OR scope = 'world'),
    key      TEXT    NOT NULL,
    since    INTEGER NOT NULL,
    until    INTEGER NOT NULL,
    probe_at INTEGER NOT NULL, -- when the next message is let through to see whether it is answered
    times    INTEGER NOT NULL, -- the how manyth block of a row, or wait for such a message
    rule     TEXT    NOT NULL,
    counted  INTEGER NOT NULL, -- what broke the rule
    allowed  INTEGER NOT NULL, -- and what does not
    PRIMARY KEY (scope, key)
) STRICT, WITHOUT ROWID;
INSERT INTO blocks_6 (scope, key, since, until, probe_at, times, rule, counted, allowed)
    SELECT scope, key, since, until, probe_at, times, rule, counted, allowed FROM blocks;
DROP TABLE blocks;
ALTER TABLE blocks_6 RENAME TO blocks;

CREATE TABLE budgets_6 (
    budget TEXT    NOT NULL CHECK (budget = 'hour' OR budget = 'day' OR budget = 'money' OR budget = 'voice'),
    share  TEXT    NOT NULL CHECK (share IN ('all', 'verified')),
    since  INTEGER NOT NULL, -- when the hour or the day begins
    used   INTEGER NOT NULL, -- messages, calls, or millionths
    warned INTEGER NOT NULL DEFAULT 0 CHECK (warned IN (0, 1)), -- whether somebody was told that most is spent
    PRIMARY KEY (budget, share, since)
) STRICT, WITHOUT ROWID;
INSERT INTO budgets_6 (budget, share, since, used, warned)
    SELECT budget, share, since, used, warned FROM budgets;
DROP TABLE budgets;
ALTER TABLE budgets_6 RENAME TO budgets;

CREATE TABLE deliveries_6 (
    event_id   INTEGER NOT NULL REFERENCES events (id) ON DELETE CASCADE,
    webhook    TEXT    NOT NULL,
    queue      INTEGER NOT NULL, -- the user's id, or the event's made negative
    state      TEXT    NOT NULL DEFAULT 'waiting' CHECK (state = 'waiting' OR state = 'delivered' OR state = 'dropped'),
    since      INTEGER NOT NULL, -- it waits since then
    attempts   INTEGER NOT NULL DEFAULT 0,
    answer     TEXT, -- what came of the last attempt
    settled_at INTEGER, -- when it was delivered or dropped
    PRIMARY KEY (event_id, webhook)
) STRICT, WITHOUT ROWID;
INSERT INTO deliveries_6 (event_id, webhook, queue, state, since, attempts, answer, settled_at)
    SELECT event_id, webhook, queue, state, since, attempts, answer, settled_at FROM deliveries;
DROP TABLE deliveries;
ALTER TABLE deliveries_6 RENAME TO deliveries;
CREATE INDEX deliveries_queue ON deliveries (webhook, queue, event_id) WHERE state = 'waiting';
CREATE INDEX deliveries_since ON deliveries (webhook, since, event_id) WHERE state = 'waiting';
CREATE INDEX deliveries_over ON deliveries (settled_at) WHERE state <> 'waiting';
