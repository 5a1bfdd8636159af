-- Points that are held: the plan of each rule's share of an accrual, what was activated, and what was asked to be released.

-- Written with the decision. `points` of the accrual are this rule's; `released` of them are by now. `next_at`: when more of
-- them are due; null where no day releases them, where all are released, and where a refund took them back (`cancelled`).
CREATE TABLE hold_plans (
    accrual_id uuid NOT NULL,
    rule text NOT NULL,
    bill_id uuid NOT NULL,
    wallet_id uuid NOT NULL,
    programme text NOT NULL,
    currency text NOT NULL,
    point_value text NOT NULL,
    points bigint NOT NULL CHECK (points >= 1),
    until text NOT NULL CHECK (until IN ('activation', 'date', 'day_by_day')),
    billed_on date NOT NULL,
    days int NOT NULL CHECK (days >= 0),
    last_on date,
    zone text NOT NULL,
    released bigint NOT NULL DEFAULT 0,
    next_at timestamptz,
    cancelled boolean NOT NULL DEFAULT false,
    CONSTRAINT hold_plans_release_what_they_hold CHECK (released BETWEEN 0 AND points),
    CHECK ((until = 'activation') = (last_on IS NULL)),
    PRIMARY KEY (accrual_id, rule)
) WITH (fillfactor = 80);

CREATE INDEX hold_plans_bill ON hold_plans (bill_id);
CREATE INDEX hold_plans_due ON hold_plans (next_at) WHERE next_at IS NOT NULL;
GRANT SELECT, INSERT, UPDATE (released, next_at, cancelled) ON hold_plans TO {{service_role}};

-- What was bought with this bill is activated, or delivered: said once. Not `applied` while the bill is not judged.
CREATE TABLE activations (
    bill_id uuid PRIMARY KEY,
    activated_at timestamptz NOT NULL,
    applied boolean NOT NULL DEFAULT false
);

CREATE INDEX activations_waiting ON activations (bill_id) WHERE NOT applied;
GRANT SELECT, INSERT, UPDATE (applied) ON activations TO {{service_role}};

-- Each points.release_requested: `release_through` of the accrual in all; `sequence` is its place among the events about the
-- bill.
CREATE TABLE hold_releases (
    request_id uuid PRIMARY KEY,
    bill_id uuid NOT NULL,
    accrual_id uuid NOT NULL,
    release_through bigint NOT NULL CHECK (release_through >= 1),
    sequence int NOT NULL CHECK (sequence >= 1),
    effective_at timestamptz NOT NULL,
    decided_at timestamptz NOT NULL,
    UNIQUE (accrual_id, release_through),
    UNIQUE (bill_id, sequence)
);

SELECT make_append_only('hold_releases');
GRANT INSERT ON hold_releases TO {{service_role}};
