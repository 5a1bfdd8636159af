-- What people put right: who asked for it and why, who agreed, and what it posts.

CREATE TABLE adjustments (
    adjustment_id uuid PRIMARY KEY,
    programme text NOT NULL,
    programme_version integer NOT NULL,
    second_person_above bigint NOT NULL,
    state text NOT NULL,
    reason text NOT NULL,
    evidence text NOT NULL,
    evidence_sha256 bytea,
    requested_by text NOT NULL,
    requested_at timestamptz NOT NULL,
    decided_by text,
    decided_at timestamptz,
    note text,
    CONSTRAINT adjustments_state_known CHECK (state IN ('posted', 'pending', 'rejected')),
    CONSTRAINT adjustments_threshold_never_negative CHECK (second_person_above >= 0),
    CONSTRAINT adjustments_evidence_is_sha256 CHECK (octet_length(evidence_sha256) = 32),
    CONSTRAINT adjustments_decision_is_whole CHECK (
        (decided_by IS NULL) = (decided_at IS NULL)
        AND CASE state WHEN 'pending' THEN decided_by IS NULL WHEN 'rejected' THEN decided_by IS NOT NULL ELSE TRUE END
    ),
    CONSTRAINT adjustments_decided_by_another CHECK (decided_by <> requested_by)
);

CREATE INDEX adjustments_pending ON adjustments (adjustment_id) WHERE state = 'pending';

CREATE TABLE adjustment_parts (
    posting_id uuid PRIMARY KEY,
    adjustment_id uuid NOT NULL REFERENCES adjustments,
    wallet_id uuid NOT NULL,
    points bigint NOT NULL,
    expires_at timestamptz,
    CONSTRAINT adjustment_parts_wallet_once UNIQUE (adjustment_id, wallet_id),
    CONSTRAINT adjustment_parts_move_something CHECK (points <> 0)
);

-- What was posted to a wallet lately.
CREATE INDEX adjustment_parts_of_wallet ON adjustment_parts (wallet_id);

SELECT make_append_only('adjustment_parts');

GRANT SELECT, INSERT ON adjustments, adjustment_parts TO {{service_role}};
GRANT UPDATE (state, decided_by, decided_at, note) ON adjustments TO {{service_role}};
