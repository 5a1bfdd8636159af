-- Points that come back after the refund that was to take them: what was short is taken back then, and what was captured for a
-- refunded bill comes back.

CREATE TABLE recoveries (
    posting_id uuid PRIMARY KEY,
    request_id uuid NOT NULL REFERENCES asked,
    accrual_id uuid NOT NULL,
    wallet_id uuid NOT NULL,
    points bigint NOT NULL,
    CONSTRAINT recoveries_points_positive CHECK (points > 0)
);

CREATE INDEX recoveries_of_accrual ON recoveries (accrual_id);

-- Which refunds a bill has had, where points are captured for it later.
CREATE INDEX return_requests_of_bill ON return_requests (merchant, bill_ref);

SELECT make_append_only('recoveries');

GRANT SELECT, INSERT ON recoveries TO {{service_role}};
GRANT SELECT (request_id, refund_id, bill_id, merchant, bill_ref, returned_minor, total_minor, decided_at) ON return_requests TO {{service_role}};
