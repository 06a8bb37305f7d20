-- From the third schema to the fourth. Each change stands in schema.sql too.

-- A dormant account gives its number up, and is known by when its sessions that are gone were last used.
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
        testing_only, version, attributes, deletes_at)
    SELECT id, username, phone, role, is_active, phone_verified, joined_at, imported_at, foreign_tokens,
        testing_only, version, attributes, deletes_at FROM users;
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
