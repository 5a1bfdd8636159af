-- Disputes of postings: what somebody holds to be wrong, and what somebody else found.

CREATE TABLE disputes (
    dispute_id uuid PRIMARY KEY,
    posting_id uuid NOT NULL,
    wallet_id uuid NOT NULL,
    programme text NOT NULL,
    points bigint NOT NULL,
    reason text NOT NULL,
    evidence text,
    evidence_sha256 bytea,
    state text NOT NULL DEFAULT 'open',
    opened_by text NOT NULL,
    opened_at timestamptz NOT NULL,
    decided_by text,
    decided_at timestamptz,
    note text,
    adjustment_id uuid REFERENCES adjustments,
    CONSTRAINT disputes_state_known CHECK (state IN ('open', 'upheld', 'rejected')),
    CONSTRAINT disputes_correct_something CHECK (points <> 0),
    CONSTRAINT disputes_evidence_is_sha256 CHECK (
        octet_length(evidence_sha256) = 32 AND (evidence_sha256 IS NULL OR evidence IS NOT NULL)
    ),
    CONSTRAINT disputes_decision_is_whole CHECK (
        (state = 'open') = (decided_by IS NULL) AND (state = 'open') = (decided_at IS NULL)
    ),
    CONSTRAINT disputes_decided_by_another CHECK (decided_by <> opened_by),
    CONSTRAINT disputes_upheld_have_evidence CHECK (state <> 'upheld' OR evidence_sha256 IS NOT NULL),
    CONSTRAINT disputes_upheld_are_corrected CHECK ((state = 'upheld') = (adjustment_id IS NOT NULL)),
    CONSTRAINT disputes_correction_once UNIQUE (adjustment_id)
);

CREATE UNIQUE INDEX disputes_once ON disputes (posting_id) WHERE state <> 'rejected';

GRANT SELECT, INSERT ON disputes TO {{service_role}};
GRANT UPDATE (state, evidence, evidence_sha256, decided_by, decided_at, note, adjustment_id) ON disputes TO {{service_role}};
