-- A refund, and points spent for its bill that nobody had told of, meet at a row: who comes second finds who came first.

CREATE TABLE met_bills (
    merchant text NOT NULL,
    bill_ref text NOT NULL,
    PRIMARY KEY (merchant, bill_ref)
);

-- When the refund happened. Null in rows of before: of those it counts when earn decided.
ALTER TABLE return_requests ADD COLUMN effective_at timestamptz;

GRANT SELECT, INSERT ON met_bills TO {{service_role}};
GRANT UPDATE (merchant) ON met_bills TO {{service_role}};
GRANT SELECT (effective_at) ON return_requests TO {{service_role}};
