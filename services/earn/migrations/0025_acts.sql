-- Acts besides bills that earn: each recorded once, judged once, waiting for what is not known yet, as bills are.

-- The net against repeats: one act per (source, act_ref), by whatever way it came. `content_hash` is SHA-256 of the act's
-- canonical bytes, which stand in README.md.
CREATE TABLE act_keys (
    source text COLLATE "C" NOT NULL CHECK (char_length(source) BETWEEN 1 AND 600),
    act_ref text COLLATE "C" NOT NULL CHECK (char_length(act_ref) BETWEEN 1 AND 255),
    content_hash bytea NOT NULL CHECK (octet_length(content_hash) = 32),
    act_id uuid NOT NULL UNIQUE,
    PRIMARY KEY (source, act_ref)
);

SELECT make_append_only('act_keys');
GRANT SELECT, INSERT ON act_keys TO {{service_role}};

-- `data` is json, not jsonb: the bytes that were hashed are the bytes that are kept. stream_id, event_source, event_id name the
-- entry that told of it, null where it came by HTTP or of itself.
CREATE TABLE acts (
    act_id uuid PRIMARY KEY,
    source text COLLATE "C" NOT NULL,
    act_ref text COLLATE "C" NOT NULL,
    act text NOT NULL,
    occurred_at timestamptz NOT NULL,
    merchant text,
    programme text,
    identity_kind text NOT NULL,
    identity bytea NOT NULL CHECK (octet_length(identity) = 16),
    data json NOT NULL,
    recorded_event_id uuid NOT NULL,
    stream_id text,
    event_source text,
    event_id text,
    recorded_at timestamptz NOT NULL DEFAULT now(),
    CHECK (num_nulls(stream_id, event_source, event_id) IN (0, 3))
);

SELECT make_append_only('acts');
GRANT SELECT, INSERT ON acts TO {{service_role}};

-- The judgements of an act, numbered from 1, as those of a bill; `decision` is services/earn/domain/acts' ActDecision.
CREATE TABLE act_decisions (
    act_id uuid NOT NULL REFERENCES acts,
    n smallint NOT NULL CHECK (n >= 1),
    status text NOT NULL CHECK (status IN ('earned', 'nothing', 'waiting', 'unclaimed')),
    decided_at timestamptz NOT NULL,
    sequence int NOT NULL CHECK (sequence >= 1),
    decision json NOT NULL,
    PRIMARY KEY (act_id, n)
);

SELECT make_append_only('act_decisions');
GRANT SELECT, INSERT ON act_decisions TO {{service_role}};

-- What an act is worth in a wallet, once for ever.
CREATE TABLE act_accruals (
    act_id uuid NOT NULL REFERENCES acts,
    wallet_id uuid NOT NULL,
    accrual_id uuid NOT NULL UNIQUE,
    points bigint NOT NULL CHECK (points >= 1),
    PRIMARY KEY (act_id, wallet_id)
);

SELECT make_append_only('act_accruals');
GRANT INSERT ON act_accruals TO {{service_role}};

-- Acts that wait, as bills do in `waiting`; gone once settled.
CREATE TABLE act_waiting (
    act_id uuid PRIMARY KEY REFERENCES acts,
    kind text NOT NULL CHECK (kind IN ('merchant', 'programme', 'identity', 'member')),
    key text NOT NULL,
    taken_at timestamptz NOT NULL,
    since_ms bigint NOT NULL,
    unclaimed boolean NOT NULL DEFAULT false,
    ready boolean NOT NULL DEFAULT false,
    n smallint NOT NULL CHECK (n >= 1),
    sequence int NOT NULL CHECK (sequence >= 1),
    request_id text NOT NULL,
    traceparent text
);

CREATE INDEX act_waiting_for ON act_waiting (kind, key);
CREATE INDEX act_waiting_ready ON act_waiting (act_id) WHERE ready;
CREATE INDEX act_waiting_since ON act_waiting (since_ms) WHERE NOT unclaimed;
GRANT SELECT, INSERT, DELETE, UPDATE (kind, key, ready, unclaimed, n, sequence) ON act_waiting TO {{service_role}};
