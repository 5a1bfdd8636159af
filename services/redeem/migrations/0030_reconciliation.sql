-- Reconciliation: what does not agree becomes a row that somebody has to deal with; nothing is repaired by itself.

CREATE TABLE reconciliations (
    no bigint PRIMARY KEY,
    from_seal bigint NOT NULL,
    to_seal bigint NOT NULL,
    at_seal bigint NOT NULL,
    at_position bigint NOT NULL,
    wallets bigint NOT NULL DEFAULT 0,
    differences bigint NOT NULL DEFAULT 0,
    begun_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    finished_at timestamptz,
    CONSTRAINT reconciliations_go_forward CHECK (to_seal >= from_seal AND at_seal >= from_seal AND at_seal <= to_seal)
);

CREATE TABLE reconciliation_differences (
    difference_id uuid PRIMARY KEY,
    kind text NOT NULL,
    subject text NOT NULL,
    expected text NOT NULL,
    found text NOT NULL,
    first_seen timestamptz NOT NULL,
    last_seen timestamptz NOT NULL,
    owner text,
    state text NOT NULL DEFAULT 'open',
    reason text,
    CONSTRAINT reconciliation_differences_kind_known CHECK (kind IN ('lines', 'buckets', 'lots')),
    CONSTRAINT reconciliation_differences_state_known CHECK (state IN ('open', 'explained', 'closed')),
    CONSTRAINT reconciliation_differences_have_a_reason CHECK (state = 'open' OR reason IS NOT NULL)
);

CREATE UNIQUE INDEX reconciliation_differences_once
ON reconciliation_differences (kind, subject) WHERE state <> 'closed';

GRANT SELECT, INSERT ON reconciliations, reconciliation_differences TO {{service_role}};
GRANT UPDATE (at_seal, at_position, wallets, differences, finished_at) ON reconciliations TO {{service_role}};
GRANT UPDATE (expected, found, last_seen, owner, state, reason) ON reconciliation_differences TO {{service_role}};
