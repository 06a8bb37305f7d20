-- From the third schema to the fourth. Each change stands in schema.sql too.

-- A dormant account gives its number up, and is known by when its sessions that are gone were last used. Of those that are gone
-- by now nobody knows: whoever is here counts as seen.
CREATE TABLE users_4 (
    id             INTEGER PRIMARY KEY AUTOINCREMENT,
    username       TEXT    NOT NULL UNIQUE,
    phone          TEXT    UNIQUE,
    role           TEXT    NOT NULL,
    is_active      INTEGER NOT NULL DEFAULT 1 CHECK (is_active IN (0, 1)),
    phone_verified INTEGER NOT NULL DEFAULT 0 CHECK (phone_verified IN (0, 1)),
    joined_at      INTEGER NOT NULL,
    imported_at    INTEGER,
    foreign_tokens INTEGER NOT NULL DEFAULT 0 CHECK (foreign_tokens IN (0, 1)),
    testing_only   INTEGER NOT NULL DEFAULT 0 CHECK (testing_only IN (0, 1)),
    version        INTEGER NOT NULL DEFAULT 0,
    attributes     TEXT,
    deletes_at     INTEGER,
    last_seen_at   INTEGER
) STRICT;
INSERT INTO users_4 (id, username, phone, role, is_active, phone_verified, joined_at, imported_at, foreign_tokens,
        testing_only, version, attributes, deletes_at, last_seen_at)
    SELECT id, username, phone, role, is_active, phone_verified, joined_at, imported_at, foreign_tokens,
        testing_only, version, attributes, deletes_at, unixepoch() * 1000 FROM users;
-- Ids of users who are gone are not given again.
INSERT INTO sqlite_sequence (name, seq) SELECT 'users_4', 0
    WHERE NOT EXISTS (SELECT 1 FROM sqlite_sequence WHERE name = 'users_4');
UPDATE sqlite_sequence SET seq = (SELECT max(seq) FROM sqlite_sequence WHERE name IN ('users', 'users_4'))
    WHERE name = 'users_4';
DROP TABLE users;
ALTER TABLE users_4 RENAME TO users;
CREATE INDEX users_unverified ON users (joined_at) WHERE phone_verified = 0 AND imported_at IS NULL;
CREATE INDEX users_to_delete ON users (deletes_at) WHERE deletes_at IS NOT NULL;

-- A code says how it travels, and the app that asked for it may ask how far it has come.
ALTER TABLE challenges ADD COLUMN delivery_id TEXT;
ALTER TABLE challenges ADD COLUMN asked_channel TEXT;
CREATE UNIQUE INDEX challenges_delivery ON challenges (delivery_id) WHERE delivery_id IS NOT NULL;
ALTER TABLE messages ADD COLUMN sender TEXT NOT NULL DEFAULT 'twilio';
ALTER TABLE messages ADD COLUMN via_channel TEXT NOT NULL DEFAULT 'sms';

-- Text messages with codes, as they were bought in production: what they cost, from which budgets, and what the guard counts.
-- They outlive their challenges. Network and range are there for numbers that had never been verified, the range for a day.
CREATE TABLE purchases (
    challenge_id INTEGER PRIMARY KEY,
    at           INTEGER NOT NULL,
    country      TEXT    NOT NULL, -- ISO code; ZZ where no country has the number
    standing     TEXT    NOT NULL CHECK (standing IN ('known', 'trusted', 'stranger')),
    network      TEXT, -- of the address that asked: a /24, or a /48 of IPv6
    range        TEXT, -- the number without its last three digits
    cost         INTEGER NOT NULL, -- in millionths
    charges      TEXT    NOT NULL, -- from which windows of budgets: budget share since units, with commas between
    converted_at INTEGER -- when the code was the first to verify its number
) STRICT;

CREATE INDEX purchases_network ON purchases (network, at) WHERE network IS NOT NULL;
CREATE INDEX purchases_range ON purchases (range, at) WHERE range IS NOT NULL;
CREATE INDEX purchases_country ON purchases (country, at, converted_at) WHERE standing = 'stranger';
CREATE INDEX purchases_stranger ON purchases (at, converted_at) WHERE standing = 'stranger';
CREATE INDEX purchases_converted ON purchases (converted_at, country) WHERE converted_at IS NOT NULL;

-- Attempts that a block of the guard refused, for a day.
CREATE TABLE refused_attempts (
    id    INTEGER PRIMARY KEY AUTOINCREMENT,
    scope TEXT    NOT NULL CHECK (scope IN ('network', 'range', 'country', 'world')),
    key   TEXT    NOT NULL, -- which network, range or country; nothing where all is held back
    at    INTEGER NOT NULL
) STRICT;

CREATE INDEX refused_attempts_key ON refused_attempts (scope, key, at);

-- The latest block of each network, range and country, and of all.
CREATE TABLE blocks (
    scope    TEXT    NOT NULL CHECK (scope IN ('network', 'range', 'country', 'world')),
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

-- What is spent of the budgets for text messages.
CREATE TABLE budgets (
    budget TEXT    NOT NULL CHECK (budget IN ('hour', 'day', 'money')),
    share  TEXT    NOT NULL CHECK (share IN ('all', 'verified')),
    since  INTEGER NOT NULL, -- when the hour or the day begins
    used   INTEGER NOT NULL, -- messages, or millionths
    warned INTEGER NOT NULL DEFAULT 0 CHECK (warned IN (0, 1)), -- whether somebody was told that most is spent
    PRIMARY KEY (budget, share, since)
) STRICT, WITHOUT ROWID;
