-- When the member of a balance that was brought along was last active elsewhere, where whoever opened it said so: where silence ends a
-- balance, its points live on from then and not from when they were earned.

CREATE TABLE opening_activities (
    posting_id uuid PRIMARY KEY,
    wallet_id uuid NOT NULL,
    last_active_at timestamptz NOT NULL
);

SELECT make_append_only('opening_activities');

GRANT INSERT ON opening_activities TO {{service_role}};
