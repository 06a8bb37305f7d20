-- The whole current schema of FreshK, embedded in the binary; a new database is made from it.
-- Instants are Unix milliseconds, UTC. Codes and tokens are never stored.
-- Checks name words one by one: for IN with more than two of them SQLite builds a table in memory at every write of a row.
PRAGMA application_id = 0x46724B31; -- 'FrK1'
PRAGMA user_version = 6;

-- People. The id is the user_id of tokens: never reused, hence AUTOINCREMENT.
CREATE TABLE users (
    id             INTEGER PRIMARY KEY AUTOINCREMENT,
    username       TEXT    NOT NULL UNIQUE,
    phone          TEXT    UNIQUE, -- none where the number went to somebody else while the account lay dormant
    role           TEXT    NOT NULL,
    is_active      INTEGER NOT NULL DEFAULT 1 CHECK (is_active IN (0, 1)),
    phone_verified INTEGER NOT NULL DEFAULT 0 CHECK (phone_verified IN (0, 1)),
    joined_at      INTEGER NOT NULL, -- may be long ago where the row was imported
    imported_at    INTEGER, -- when an import wrote the row
    -- Whether tokens that the system before issued under this id are good for this user: an import brought the id, and
    -- nobody has ended all of the user's sessions since.
    foreign_tokens INTEGER NOT NULL DEFAULT 0 CHECK (foreign_tokens IN (0, 1)),
    -- Whether the number was only ever verified in the testing channel, which proves nothing.
    testing_only   INTEGER NOT NULL DEFAULT 0 CHECK (testing_only IN (0, 1)),
    version        INTEGER NOT NULL DEFAULT 0, -- how often the row was replaced
    attributes     TEXT, -- a JSON object that tokens may carry members of; none where it is empty
    deletes_at     INTEGER, -- when maintenance deletes a user who asked for it
    last_seen_at   INTEGER -- the latest use of sessions that are no longer here; none before the first of them went
) STRICT;

-- Maintenance looks for users who registered here and never verified.
CREATE INDEX users_unverified ON users (joined_at) WHERE phone_verified = 0 AND imported_at IS NULL;

CREATE INDEX users_to_delete ON users (deletes_at) WHERE deletes_at IS NOT NULL;

-- One code for one phone; only its HMAC is here, under a key that is not.
CREATE TABLE challenges (
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

CREATE INDEX challenges_phone ON challenges (phone, channel, id);
CREATE INDEX challenges_unsettled ON challenges (created_at) WHERE settled_at IS NULL;
CREATE UNIQUE INDEX challenges_delivery ON challenges (delivery_id) WHERE delivery_id IS NOT NULL;
CREATE INDEX challenges_change ON challenges (change_of) WHERE change_of IS NOT NULL;

-- One login on one device. The jti is worthless without the signing key.
CREATE TABLE sessions (
    id                 TEXT    PRIMARY KEY, -- the sid of its tokens
    user_id            INTEGER NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    generation         INTEGER NOT NULL, -- of the refresh token; one more with each rotation
    jti                TEXT    NOT NULL, -- of the current generation's refresh token
    generation_used    INTEGER NOT NULL CHECK (generation_used IN (0, 1)),
    issued_at          INTEGER NOT NULL, -- of the current refresh token
    refresh_expires_at INTEGER NOT NULL,
    created_at         INTEGER NOT NULL,
    expires_at         INTEGER NOT NULL,
    last_used_at       INTEGER NOT NULL,
    ended_at           INTEGER,
    end_reason         TEXT,
    device             TEXT    NOT NULL,
    ip                 TEXT    NOT NULL,
    -- The last generation whose refresh token may be under the key of access tokens; none for a session that was opened
    -- since refresh tokens have a key of their own.
    shared_key_until   INTEGER,
    -- The latest generation at which the one before was repeated after the grace from another network than rotated it away.
    repeated_elsewhere INTEGER,
    -- Repetitions of old tokens: when the audit trail last told of one, and how many were counted since.
    replays_told_at    INTEGER,
    replays_untold     INTEGER NOT NULL DEFAULT 0,
    device_id          TEXT, -- the device on which it was opened; none where it has not been given one yet
    version            INTEGER NOT NULL DEFAULT 0 -- how often the row was replaced
) STRICT, WITHOUT ROWID;

CREATE INDEX sessions_user ON sessions (user_id, created_at);
-- Maintenance looks for those that are over. The expiry of the refresh token ascends, so an insert appends. A session that
-- ended with its user's deactivation stays until it would have expired: its tokens are told why they are refused.
CREATE INDEX sessions_over ON sessions (
    CASE WHEN end_reason = 'deactivated' THEN refresh_expires_at ELSE ifnull(ended_at, refresh_expires_at) END,
    ended_at
);

-- When generations were rotated away; kept for the grace that lost answers have.
CREATE TABLE rotations (
    session_id TEXT    NOT NULL REFERENCES sessions (id) ON DELETE CASCADE,
    generation INTEGER NOT NULL,
    rotated_at INTEGER NOT NULL,
    PRIMARY KEY (session_id, generation)
) STRICT, WITHOUT ROWID;

CREATE INDEX rotations_at ON rotations (rotated_at);

-- Refresh tokens of the system before that were exchanged or logged out, until they expire: none is good twice. The jti
-- is worthless without the key, and the row outlives the session.
CREATE TABLE exchanges (
    jti          TEXT    PRIMARY KEY,
    user_id      INTEGER NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    session_id   TEXT, -- the session that it opened; none where it was logged out instead
    exchanged_at INTEGER NOT NULL,
    expires_at   INTEGER NOT NULL -- its exp
) STRICT, WITHOUT ROWID;

CREATE INDEX exchanges_user ON exchanges (user_id);
CREATE INDEX exchanges_over ON exchanges (expires_at);

-- Devices on which somebody has logged in: with its token a device asks for codes and guesses by quotas of its own. The token is
-- not here, and the id is worthless without the key.
CREATE TABLE devices (
    id         TEXT    PRIMARY KEY, -- the jti of its token
    user_id    INTEGER NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    issued_at  INTEGER NOT NULL, -- its iat: the latest login that brought it
    expires_at INTEGER NOT NULL -- its exp
) STRICT, WITHOUT ROWID;

CREATE INDEX devices_user ON devices (user_id, issued_at);
CREATE INDEX devices_over ON devices (expires_at);

-- Wrong guesses of devices at a code; those without a device are counted at the code itself.
CREATE TABLE device_guesses (
    challenge_id INTEGER NOT NULL REFERENCES challenges (id) ON DELETE CASCADE,
    device_id    TEXT    NOT NULL,
    count        INTEGER NOT NULL,
    PRIMARY KEY (challenge_id, device_id)
) STRICT, WITHOUT ROWID;

-- Changes of number that wait: the new number is proven, the one before was told, with a code that takes it back.
CREATE TABLE phone_changes (
    user_id       INTEGER PRIMARY KEY REFERENCES users (id) ON DELETE CASCADE,
    phone         TEXT    NOT NULL UNIQUE, -- the new number
    effective_at  INTEGER NOT NULL, -- when it is done, by the retention time of the clock
    session_id    TEXT, -- the session that asked for it, and outlives it
    key_number    INTEGER NOT NULL,
    cancel_hmac   BLOB    NOT NULL, -- HMAC-SHA-256(key, user_id || phone || 0 || "cancel" || effective_at || code)
    wrong_cancels INTEGER NOT NULL DEFAULT 0 -- wrong codes that were given to take it back
) STRICT;

CREATE INDEX phone_changes_due ON phone_changes (effective_at, user_id);

-- The ledger of quotas: a sliding-window log, one row per unit spent.
CREATE TABLE spends (
    id      INTEGER PRIMARY KEY AUTOINCREMENT,
    quota   TEXT    NOT NULL,
    subject TEXT    NOT NULL, -- an address (IPv6 by /64), a phone, a device, or the hash of a phone whose user was deleted
    at      INTEGER NOT NULL
) STRICT;

CREATE INDEX spends_subject ON spends (subject, quota, at);
-- Maintenance looks for those that no window reaches any more.
CREATE INDEX spends_at ON spends (quota, at);

-- Refusals of a key in its current window: the first is audited, the rest are counted here.
CREATE TABLE refusals (
    quota   TEXT    NOT NULL,
    subject TEXT    NOT NULL,
    first   INTEGER NOT NULL,
    until   INTEGER NOT NULL, -- the window of the first closes
    count   INTEGER NOT NULL,
    PRIMARY KEY (subject, quota)
) STRICT, WITHOUT ROWID;

-- Maintenance looks for windows that have closed.
CREATE INDEX refusals_until ON refusals (until);

-- Text messages, from the intent to send on.
CREATE TABLE messages (
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

CREATE UNIQUE INDEX messages_sid ON messages (sid) WHERE sid IS NOT NULL;
CREATE INDEX messages_challenge ON messages (challenge_id);

-- Codes that were asked for and found no sender: its breaker was open, or no place was free. There is no message of them.
CREATE TABLE unsent (
    minute INTEGER NOT NULL, -- minutes since 1970
    why    TEXT    NOT NULL CHECK (why IN ('breaker_open', 'overloaded')),
    count  INTEGER NOT NULL,
    PRIMARY KEY (minute, why)
) STRICT, WITHOUT ROWID;

-- Text messages with codes, as they were bought in production: what they cost, from which budgets, and what the guard counts.
-- They outlive their challenges. Network and range are there for numbers that had never been verified, the range for a day.
CREATE TABLE purchases (
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

CREATE INDEX purchases_network ON purchases (network, at) WHERE network IS NOT NULL;
CREATE INDEX purchases_range ON purchases (range, at) WHERE range IS NOT NULL;
CREATE INDEX purchases_country ON purchases (country, at, converted_at) WHERE standing = 'stranger';
CREATE INDEX purchases_stranger ON purchases (at, converted_at) WHERE standing = 'stranger';
CREATE INDEX purchases_converted ON purchases (converted_at, country) WHERE converted_at IS NOT NULL;

-- Attempts that a block of the guard refused, for a day.
CREATE TABLE refused_attempts (
    id    INTEGER PRIMARY KEY AUTOINCREMENT,
    scope TEXT    NOT NULL CHECK (scope = 'network' OR scope = 'range' OR scope = 'country' OR scope = 'world'),
    key   TEXT    NOT NULL, -- which network, range or country; nothing where all is held back
    at    INTEGER NOT NULL
) STRICT;

CREATE INDEX refused_attempts_key ON refused_attempts (scope, key, at);

-- The latest block of each network, range and country, and of all.
CREATE TABLE blocks (
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

-- What is spent of the budgets for text messages.
CREATE TABLE budgets (
    budget TEXT    NOT NULL CHECK (budget = 'hour' OR budget = 'day' OR budget = 'money' OR budget = 'voice'),
    share  TEXT    NOT NULL CHECK (share IN ('all', 'verified')),
    since  INTEGER NOT NULL, -- when the hour or the day begins
    used   INTEGER NOT NULL, -- messages, calls, or millionths
    warned INTEGER NOT NULL DEFAULT 0 CHECK (warned IN (0, 1)), -- whether somebody was told that most is spent
    PRIMARY KEY (budget, share, since)
) STRICT, WITHOUT ROWID;

-- Numbers that log in with a code of their own, without an SMS: for app-store review and CI.
CREATE TABLE test_numbers (
    phone      TEXT    PRIMARY KEY,
    key_number INTEGER NOT NULL,
    code_hmac  BLOB    NOT NULL, -- as in challenges, under the id 0
    until      INTEGER NOT NULL,
    source     TEXT    NOT NULL CHECK (source IN ('configuration', 'command'))
) STRICT, WITHOUT ROWID;

-- What tokens say in iss and aud, and since when: those without are good for as long as a refresh token lives after that.
CREATE TABLE token_names (
    claim TEXT    PRIMARY KEY CHECK (claim IN ('iss', 'aud')),
    name  TEXT    NOT NULL,
    since INTEGER NOT NULL -- by the retention time of the clock
) STRICT, WITHOUT ROWID;

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
    state      TEXT    NOT NULL DEFAULT 'waiting' CHECK (state = 'waiting' OR state = 'delivered' OR state = 'dropped'),
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

-- The clock, as the server that serves the database has it; stored each minute.
CREATE TABLE clock (
    id        INTEGER PRIMARY KEY CHECK (id = 1),
    wall      INTEGER NOT NULL, -- the wall clock, as far as it was believed
    retention INTEGER NOT NULL, -- what is over before this instant may be deleted
    quiet     INTEGER NOT NULL -- milliseconds that the wall clock has gone right, of the ten minutes that are counted
) STRICT;

-- The audit trail, written in the transaction of what it tells. Phones are masked; a keyed hash finds them.
CREATE TABLE audit (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    at         INTEGER NOT NULL,
    event      TEXT    NOT NULL,
    channel    TEXT,
    user_id    INTEGER,
    phone      TEXT,
    phone_hash BLOB,
    ip         TEXT,
    session_id TEXT,
    request_id TEXT,
    detail     TEXT
) STRICT;

CREATE INDEX audit_phone ON audit (phone_hash) WHERE phone_hash IS NOT NULL;
-- Erasing a person finds the lines that sum refusals up.
CREATE INDEX audit_masked ON audit (phone) WHERE phone IS NOT NULL AND phone_hash IS NULL;
CREATE INDEX audit_user ON audit (user_id) WHERE user_id IS NOT NULL;

-- Append-only: a row goes only by retention, which names its horizon here first, within the same transaction.
CREATE TABLE audit_retention (
    id     INTEGER PRIMARY KEY CHECK (id = 1),
    before INTEGER NOT NULL -- rows at or after this instant cannot be deleted
) STRICT;

INSERT INTO audit_retention VALUES (1, 0);

CREATE TRIGGER audit_is_append_only BEFORE UPDATE ON audit
-- The one update let through: erasing a person clears the hash of the phone (and the masked phone with it).
WHEN NOT (
    new.phone_hash IS NULL AND new.phone IS NULL
    AND new.id IS old.id AND new.at IS old.at AND new.event IS old.event AND new.channel IS old.channel
    AND new.user_id IS old.user_id AND new.ip IS old.ip AND new.session_id IS old.session_id
    AND new.request_id IS old.request_id AND new.detail IS old.detail
)
BEGIN
    SELECT raise(ABORT, 'the audit trail is append-only');
END;

CREATE TRIGGER audit_is_kept BEFORE DELETE ON audit
WHEN old.at >= (SELECT before FROM audit_retention)
BEGIN
    SELECT raise(ABORT, 'the audit trail is kept until its retention ends');
END;
