-- From the first schema to the second. A server of the version before goes on beside it: it knows none of the columns, and
-- each has a default.

-- A dormant account gives its number up, and is known by when its sessions that are gone were last used.
ALTER TABLE users ALTER COLUMN phone DROP NOT NULL;
ALTER TABLE users ADD COLUMN last_seen_at BIGINT;

-- A code says how it travels, and the app that asked for it may ask how far it has come.
ALTER TABLE challenges ADD COLUMN delivery_id TEXT;
ALTER TABLE challenges ADD COLUMN asked_channel TEXT;
CREATE UNIQUE INDEX challenges_delivery ON challenges (delivery_id) WHERE delivery_id IS NOT NULL;
ALTER TABLE messages ADD COLUMN sender TEXT NOT NULL DEFAULT 'twilio';
ALTER TABLE messages ADD COLUMN via_channel TEXT NOT NULL DEFAULT 'sms';
