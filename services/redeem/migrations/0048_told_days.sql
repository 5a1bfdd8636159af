-- What earn told of the accruals of each day, and whether the ledger was held against it (docs/decisions/0135).

CREATE TABLE told_days (
    day date PRIMARY KEY, -- UTC, of the accruals' ids
    sequence integer NOT NULL, -- of the newest telling
    n bigint NOT NULL, -- its place in earn's stream: everything that it counts was told before it
    programmes jsonb NOT NULL, -- [{programme, accruals, points, digest}]
    compared integer NOT NULL DEFAULT 0, -- the sequence that the ledger was last held against
    compared_at timestamptz,
    CONSTRAINT told_days_compared_what_was_told CHECK (compared BETWEEN 0 AND sequence)
);

CREATE INDEX told_days_to_compare ON told_days (day) WHERE compared < sequence;
GRANT SELECT, INSERT ON told_days TO {{service_role}};
GRANT UPDATE (sequence, n, programmes, compared, compared_at) ON told_days TO {{service_role}};

ALTER TABLE reconciliation_differences
DROP CONSTRAINT reconciliation_differences_kind_known,
ADD CONSTRAINT reconciliation_differences_kind_known CHECK (kind IN ('lines', 'buckets', 'lots', 'accruals'));
