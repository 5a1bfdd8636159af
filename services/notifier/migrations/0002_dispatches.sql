-- Messages that were made together are sent together: they share a lease and a moment of delivery (schema.sql says how).
-- What was made before keeps its id and its delivery of its own.

CREATE TABLE dispatches (
    dispatch_id   uuid        PRIMARY KEY,
    claimed_until timestamptz,
    attempts      integer     NOT NULL CHECK (attempts >= 0),
    takeovers     integer     NOT NULL DEFAULT 0 CHECK (takeovers >= 0),
    settled_at    timestamptz
);

CREATE INDEX dispatches_open ON dispatches (dispatch_id) WHERE settled_at IS NULL;

ALTER TABLE messages
    DROP CONSTRAINT messages_once,
    DROP CONSTRAINT messages_pkey,
    ALTER COLUMN facts TYPE json USING facts::text::json,
    ADD COLUMN dispatch_id uuid,
    ADD COLUMN locale text,
    ADD CONSTRAINT messages_dispatched_known CHECK (dispatch_id IS NULL OR locale IS NOT NULL);

DROP INDEX messages_member;
ALTER TABLE messages ADD PRIMARY KEY (member_id, message_id);
CREATE INDEX messages_dispatch ON messages (dispatch_id) WHERE dispatch_id IS NOT NULL;

GRANT SELECT, INSERT, UPDATE ON dispatches TO {{service_role}};
