-- Benefits that nobody bought: asked for by earn, or issued by themselves at a number of points; and how each benefit ends.

ALTER TABLE benefits
ALTER COLUMN redemption_id DROP NOT NULL,
DROP CONSTRAINT benefits_points_positive,
DROP CONSTRAINT benefits_used_in_time,
ADD COLUMN origin text NOT NULL DEFAULT 'redemption',
ADD COLUMN asked_by uuid, -- the effect_id of earn's request
ADD COLUMN withdrawn_at timestamptz, -- taken back unused
ADD COLUMN restocked boolean NOT NULL DEFAULT false, -- and on stock again
ADD COLUMN lapsed_at timestamptz, -- when the job saw that it had expired unused
ADD CONSTRAINT benefits_origin_known CHECK (
    CASE origin
        WHEN 'redemption' THEN redemption_id IS NOT NULL AND asked_by IS NULL AND points > 0
        WHEN 'asked' THEN redemption_id IS NULL AND asked_by IS NOT NULL AND points = 0
        WHEN 'threshold' THEN redemption_id IS NULL AND asked_by IS NULL AND points = 0
        ELSE false
    END
),
ADD CONSTRAINT benefits_end_once CHECK (num_nonnulls(consumed_at, withdrawn_at, lapsed_at) <= 1),
ADD CONSTRAINT benefits_used_in_time CHECK (
    expires_at IS NULL OR (coalesce(consumed_at < expires_at, true) AND coalesce(lapsed_at >= expires_at, true))
),
ADD CONSTRAINT benefits_lapse_has_an_end CHECK (lapsed_at IS NULL OR expires_at IS NOT NULL),
ADD CONSTRAINT benefits_restocked_when_withdrawn CHECK (withdrawn_at IS NOT NULL OR NOT restocked);

-- A reward issues itself once to a member; what was asked under an id is issued once.
CREATE UNIQUE INDEX benefits_threshold_once ON benefits (wallet_id, programme, reward) WHERE origin = 'threshold';
CREATE UNIQUE INDEX benefits_asked_once ON benefits (asked_by) WHERE asked_by IS NOT NULL;

-- What the job looks for: those that can still expire.
CREATE INDEX benefits_lapsing ON benefits (expires_at, benefit_id)
WHERE consumed_at IS NULL AND withdrawn_at IS NULL AND lapsed_at IS NULL AND expires_at IS NOT NULL;

-- What earn asked to be issued, each id once for ever. Also a row for one that was withdrawn before it came: to be locked by both.
CREATE TABLE benefit_asks (
    effect_id uuid PRIMARY KEY,
    wallet_id uuid,
    member_id uuid,
    programme text,
    reward text,
    source_kind text,
    source_code text,
    bill_id uuid,
    effective_at timestamptz,
    outcome text, -- null: it did not come yet
    benefit_id uuid,
    code text, -- why it was refused
    withdrawn_first boolean NOT NULL DEFAULT false,
    CONSTRAINT benefit_asks_outcome_known CHECK (outcome IN ('issued', 'refused')),
    CONSTRAINT benefit_asks_outcome_is_whole CHECK (
        coalesce(outcome = 'issued', false) = (benefit_id IS NOT NULL)
        AND coalesce(outcome = 'refused', false) = (code IS NOT NULL)
        AND (outcome IS NULL) = (wallet_id IS NULL)
    ),
    CONSTRAINT benefit_asks_withdrawn_first_is_refused CHECK (NOT withdrawn_first OR coalesce(outcome = 'refused', true))
);

-- What earn asked to be taken back, each id once for ever.
CREATE TABLE benefit_withdrawals (
    effect_id uuid PRIMARY KEY,
    issued_by uuid NOT NULL REFERENCES benefit_asks,
    outcome text NOT NULL,
    benefit_id uuid,
    CONSTRAINT benefit_withdrawals_outcome_known CHECK (outcome IN ('withdrawn', 'used_already', 'nothing')),
    CONSTRAINT benefit_withdrawals_name_what_was_issued CHECK (outcome = 'nothing' OR benefit_id IS NOT NULL)
);

-- A benefit is withdrawn by one request.
CREATE UNIQUE INDEX benefit_withdrawals_once ON benefit_withdrawals (issued_by) WHERE outcome = 'withdrawn';

GRANT SELECT, INSERT ON benefit_asks, benefit_withdrawals TO {{service_role}};
GRANT UPDATE (
    wallet_id, member_id, programme, reward, source_kind, source_code, bill_id, effective_at, outcome, benefit_id, code,
    withdrawn_first
) ON benefit_asks TO {{service_role}};
GRANT UPDATE (withdrawn_at, restocked, lapsed_at) ON benefits TO {{service_role}};
