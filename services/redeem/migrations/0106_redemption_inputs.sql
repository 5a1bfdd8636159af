-- What decided a redemption beside its version, as it was then: standings, bills and counters go on. Only of what was held against
-- something: a redemption whose programme sets no limit, and of whose bill nothing was said, has no row. Those of before have none.
CREATE TABLE redemption_inputs (
    subject_id uuid NOT NULL, -- the redemption; of an allowance, the allowance
    step text NOT NULL,
    tier text, -- the member's that counted; null: no tier was asked for, or the programme has none
    told_tier text, -- what tiers had told last; null: nothing
    told_until timestamptz,
    told_sequence bigint, -- of the event that told it
    bill_ref text,
    bill_total_minor bigint,
    bill_categories jsonb, -- {category: minor units}
    most_minor bigint, -- what points may pay of the bill at most, whoever pays; null: nothing was said of it
    paid_minor bigint, -- what they had paid of it before; null: it was not named
    counted jsonb NOT NULL DEFAULT '[]', -- [{since, points, redemptions}]: spent before, for each limit and each cap of the version in its order
    had bigint, -- of the reward that is bought, within the period of its limit; null: it has none
    CONSTRAINT redemption_inputs_pkey PRIMARY KEY (subject_id, step),
    CONSTRAINT redemption_inputs_step_known CHECK (step IN ('redeem', 'capture', 'allowance')),
    CONSTRAINT redemption_inputs_told_is_whole CHECK (
        (told_tier IS NULL) = (told_sequence IS NULL) AND (told_until IS NULL OR told_tier IS NOT NULL)
    ),
    CONSTRAINT redemption_inputs_never_negative CHECK (
        bill_total_minor >= 0 AND most_minor >= 0 AND paid_minor >= 0 AND had >= 0
    ),
    CONSTRAINT redemption_inputs_are_json CHECK (
        jsonb_typeof(counted) = 'array' AND jsonb_typeof(bill_categories) = 'object'
    )
);

SELECT make_append_only('redemption_inputs');

GRANT SELECT, INSERT ON redemption_inputs TO {{service_role}};
