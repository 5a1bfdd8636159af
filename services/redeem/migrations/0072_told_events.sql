-- Which seals' postings were held against the events that tell of them. Those of before are the oracle's.

CREATE TABLE compared_seals (
    no bigint PRIMARY KEY,
    postings bigint NOT NULL, -- that were sealed by it
    differences bigint NOT NULL,
    compared_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    CONSTRAINT compared_seals_counts_never_negative CHECK (postings >= 0 AND differences >= 0)
);

SELECT make_append_only('compared_seals');

INSERT INTO compared_seals (no, postings, differences)
SELECT s.no, 0, 0 FROM seals AS s ORDER BY s.no DESC LIMIT 1;

GRANT SELECT, INSERT ON compared_seals TO {{service_role}};
GRANT SELECT ON adoptions TO {{service_role}};

ALTER TABLE reconciliation_differences
DROP CONSTRAINT reconciliation_differences_kind_known,
ADD CONSTRAINT reconciliation_differences_kind_known CHECK (kind IN ('lines', 'buckets', 'lots', 'accruals', 'stock', 'events'));
