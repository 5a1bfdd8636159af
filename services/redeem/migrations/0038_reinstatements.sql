-- Expired points that one person brought back: they count, with what was adjusted, towards what one person may do alone.

CREATE TABLE reinstatements (
    posting_id uuid PRIMARY KEY,
    wallet_id uuid NOT NULL,
    lot_id uuid NOT NULL,
    points bigint NOT NULL,
    reason text NOT NULL,
    programme_version integer NOT NULL,
    second_person_above bigint NOT NULL,
    requested_by text NOT NULL,
    requested_at timestamptz NOT NULL,
    CONSTRAINT reinstatements_points_positive CHECK (points > 0),
    CONSTRAINT reinstatements_within_threshold CHECK (points <= second_person_above)
);

CREATE INDEX reinstatements_of_wallet ON reinstatements (wallet_id, requested_at);

SELECT make_append_only('reinstatements');

GRANT SELECT, INSERT ON reinstatements TO {{service_role}};
