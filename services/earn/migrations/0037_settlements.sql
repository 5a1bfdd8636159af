-- What merchants and banks say a day came to, and where that is not what the bills say.

CREATE TABLE settlement_lines (
    merchant text COLLATE "C" NOT NULL,
    day date NOT NULL,
    kind text COLLATE "C" NOT NULL CHECK (kind IN ('total', 'deposit')),
    reference text COLLATE "C" NOT NULL CHECK (char_length(reference) <= 128),
    currency text NOT NULL,
    amount_minor numeric NOT NULL,
    zone text NOT NULL,
    file_hash bytea NOT NULL CHECK (octet_length(file_hash) = 32),
    imported_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (merchant, day, kind, reference)
);

CREATE INDEX settlement_lines_day ON settlement_lines (day);
SELECT make_append_only('settlement_lines');
GRANT SELECT, INSERT ON settlement_lines TO {{service_role}};

CREATE TABLE settlement_variances (
    variance_id uuid PRIMARY KEY,
    merchant text COLLATE "C" NOT NULL,
    day date NOT NULL,
    kind text COLLATE "C" NOT NULL CHECK (kind IN ('total', 'deposit')),
    currency text NOT NULL,
    zone text NOT NULL,
    expected_minor bigint NOT NULL,
    found_minor numeric NOT NULL,
    first_seen timestamptz NOT NULL,
    last_seen timestamptz NOT NULL,
    checked_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    owner text,
    state text NOT NULL DEFAULT 'open' CHECK (state IN ('open', 'explained', 'closed')),
    reason text,
    CHECK (abs(found_minor - expected_minor) > 0.5),
    CHECK (state = 'open' OR reason IS NOT NULL)
) WITH (fillfactor = 80);

CREATE UNIQUE INDEX settlement_variances_once ON settlement_variances (merchant, day, kind) WHERE state <> 'closed';
GRANT SELECT, INSERT, UPDATE (expected_minor, found_minor, last_seen, checked_at, owner, state, reason) ON settlement_variances TO {{service_role}};
