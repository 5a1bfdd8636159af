-- Opening balances that one person asked for over HTTP: they count, with what was adjusted, towards what one person may do alone.

CREATE TABLE openings (
    posting_id uuid PRIMARY KEY,
    wallet_id uuid NOT NULL,
    points bigint NOT NULL,
    programme_version integer NOT NULL,
    second_person_above bigint NOT NULL,
    requested_by text NOT NULL,
    requested_at timestamptz NOT NULL,
    CONSTRAINT openings_points_positive CHECK (points > 0),
    CONSTRAINT openings_within_threshold CHECK (points <= second_person_above)
);

CREATE INDEX openings_of_wallet ON openings (wallet_id, requested_at);

SELECT make_append_only('openings');

GRANT SELECT, INSERT ON openings TO {{service_role}};
