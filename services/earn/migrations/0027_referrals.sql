-- Who told whom of a programme, as it was heard with the enrolment; and the first bill of the referred member in it, which decides
-- once whether both get something. It is written when that bill is judged, and never changes after.

CREATE TABLE referrals (
    member_id uuid NOT NULL,
    programme text COLLATE "C" NOT NULL,
    referrer_id uuid NOT NULL CONSTRAINT referrals_not_of_oneself CHECK (referrer_id <> member_id),
    outcome text CHECK (outcome IN ('reached', 'below', 'not_first', 'not_declared')),
    bill_id uuid,
    occurred_at timestamptz,
    version int CHECK (version >= 1),
    amount_minor bigint CHECK (amount_minor >= 0),
    minimum_minor bigint CHECK (minimum_minor >= 0),
    due boolean NOT NULL DEFAULT false, -- both acts are still to be recorded
    PRIMARY KEY (member_id, programme),
    CHECK (num_nulls(outcome, bill_id, occurred_at, version, amount_minor) IN (0, 5)),
    CHECK ((outcome IN ('reached', 'below')) IS NOT DISTINCT FROM (minimum_minor IS NOT NULL) OR outcome IS NULL),
    CHECK (outcome <> 'reached' OR amount_minor >= minimum_minor),
    CHECK (outcome <> 'below' OR amount_minor < minimum_minor),
    CHECK (NOT due OR coalesce(outcome = 'reached', false))
) WITH (fillfactor = 80);

CREATE INDEX referrals_due ON referrals (member_id) WHERE due;
CREATE INDEX referrals_bill ON referrals (bill_id) WHERE outcome = 'reached';
GRANT
SELECT,
INSERT (member_id, programme, referrer_id),
UPDATE (outcome, bill_id, occurred_at, version, amount_minor, minimum_minor, due)
ON referrals TO {{service_role}};
