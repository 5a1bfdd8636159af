-- What was decided where PostgreSQL lost commits whose events had left (docs/decisions/0090). An administrator writes it.

-- `head_n` and `head_hash`: how far the stream was published when it was judged, and under which hash ('' where Redis had lost it too).
-- Up to `agreed_through` both told the same. What PostgreSQL had planned from there to `voided_through` was never published, and its
-- ids may have been heard as others': it is told again above. No id is used twice.
CREATE TABLE adoptions (
    epoch int PRIMARY KEY CHECK (epoch >= 1),
    head_n bigint NOT NULL CHECK (head_n >= 0),
    head_hash text NOT NULL,
    agreed_through bigint NOT NULL CHECK (agreed_through >= 0),
    voided_through bigint NOT NULL,
    actor text NOT NULL,
    reason text NOT NULL,
    at timestamptz NOT NULL DEFAULT clock_timestamp(),
    CONSTRAINT adoptions_once UNIQUE (head_n, head_hash),
    CONSTRAINT adoptions_in_order CHECK (voided_through >= agreed_through)
);

SELECT make_append_only('adoptions');

-- Events that left and whose facts are gone: id and content where the stream still had them, and who had applied them.
CREATE TABLE orphans (
    epoch int NOT NULL REFERENCES adoptions,
    n bigint NOT NULL CHECK (n >= 1),
    event_id text,
    type text,
    subject text,
    payload bytea,
    heard_by text[] NOT NULL,
    PRIMARY KEY (epoch, n)
);

SELECT make_append_only('orphans');
