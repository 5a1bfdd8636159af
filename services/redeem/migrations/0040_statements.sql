-- What a merchant accepted on a day, by when we wrote it: a day that is over changes no more, however late a refund comes.

ALTER TABLE redemptions ADD COLUMN recorded_at timestamptz;
UPDATE redemptions AS r
SET recorded_at = coalesce((SELECT p.recorded_at FROM postings AS p WHERE p.posting_id = r.posting_id), r.effective_at);
ALTER TABLE redemptions
ALTER COLUMN recorded_at SET DEFAULT clock_timestamp(),
ALTER COLUMN recorded_at SET NOT NULL;

ALTER TABLE reservations ADD COLUMN settled_at timestamptz; -- when we wrote its end; `ended_at` is when it ended
UPDATE reservations AS s
SET settled_at = coalesce(
    (SELECT p.recorded_at FROM postings AS p WHERE p.posting_id = coalesce(s.capture_posting, s.void_posting)), s.ended_at
)
WHERE s.ended IS NOT NULL;
ALTER TABLE reservations ADD CONSTRAINT reservations_settled_when_ended CHECK ((ended IS NULL) = (settled_at IS NULL));

ALTER TABLE returns ADD COLUMN recorded_at timestamptz;
UPDATE returns AS o
SET recorded_at = coalesce((SELECT p.recorded_at FROM postings AS p WHERE p.posting_id = o.posting_id), o.effective_at);
ALTER TABLE returns
ALTER COLUMN recorded_at SET DEFAULT clock_timestamp(),
ALTER COLUMN recorded_at SET NOT NULL;

-- Rows are written in the order of these times: a day is found without reading the years, and a redemption pays next to nothing.
CREATE INDEX redemptions_recorded ON redemptions USING brin (recorded_at) WITH (pages_per_range = 32, autosummarize = on);
CREATE INDEX reservations_settled ON reservations USING brin (settled_at) WITH (pages_per_range = 32, autosummarize = on);
CREATE INDEX returns_recorded ON returns USING brin (recorded_at) WITH (pages_per_range = 32, autosummarize = on);

GRANT UPDATE (settled_at) ON reservations TO {{service_role}};
