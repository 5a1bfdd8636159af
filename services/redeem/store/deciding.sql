-- Why redemptions were allowed. The search path is redeem's schema.

-- name: keep_inputs!
-- What decided redemptions, captures and allowances that this transaction makes.
INSERT INTO redemption_inputs (
    subject_id, step, tier, told_tier, told_until, told_sequence, bill_ref, bill_total_minor, bill_categories, most_minor,
    paid_minor, counted, had
)
SELECT
    t.subject_id,
    t.step,
    t.tier,
    t.told_tier,
    t.told_until,
    t.told_sequence,
    t.bill_ref,
    t.bill_total_minor,
    t.bill_categories::jsonb,
    t.most_minor,
    t.paid_minor,
    t.counted::jsonb,
    t.had
FROM unnest(
    :subject_ids::uuid[], :steps::text[], :tiers::text[], :told_tiers::text[], :told_untils::timestamptz[],
    :told_sequences::bigint[], :bill_refs::text[], :bill_totals::bigint[], :bill_categories::text[], :mosts::bigint[],
    :paids::bigint[], :counteds::text[], :hads::bigint[]
) AS t (
    subject_id, step, tier, told_tier, told_until, told_sequence, bill_ref, bill_total_minor, bill_categories, most_minor,
    paid_minor, counted, had
);

-- name: explained^
-- A redemption as it was asked, with the reward that it bought or holds, and the allowance that it was spent on.
SELECT
    r.redemption_id,
    r.status,
    r.programme,
    r.programme_version,
    r.wallet_id,
    r.merchant,
    r.terminal,
    r.channel,
    r.bill_ref,
    r.effective_at,
    r.points,
    r.money_minor,
    coalesce(b.reward, h.reward) AS reward,
    o.allowance_id
FROM redemptions AS r
LEFT JOIN benefits AS b ON r.redemption_id = b.redemption_id
LEFT JOIN reward_holds AS h ON r.redemption_id = h.redemption_id
LEFT JOIN offline_redemptions AS o ON r.redemption_id = o.redemption_id
WHERE r.redemption_id = :redemption_id::uuid;

-- name: inputs_of
-- What decided a redemption, its capture and its allowance, in that order of time.
SELECT
    i.subject_id,
    i.step,
    i.tier,
    i.told_tier,
    i.told_until,
    i.told_sequence,
    i.bill_ref,
    i.bill_total_minor,
    i.bill_categories::text AS bill_categories,
    i.most_minor,
    i.paid_minor,
    i.counted::text AS counted,
    i.had
FROM redemption_inputs AS i
WHERE i.subject_id = ANY(:subject_ids::uuid[])
ORDER BY i.step = 'capture', i.step;
