-- A wallet that was merged: whatever is heard of it counts for its heir, through every merge.
ALTER TABLE standings
    ADD COLUMN heir uuid,
    ADD CONSTRAINT standings_heir_is_another CHECK (heir <> wallet_id);

CREATE INDEX standings_of_heir ON standings (heir) WHERE heir IS NOT NULL;

GRANT DELETE ON qualifications TO {{service_role}};
